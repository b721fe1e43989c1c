"""HALT past the kernel: a Jupyter server extension under `/athena/`, which calls the guard in the server's process.

    POST /athena/halt            the flag at once, then the journal; answers within a second with what is proven
    GET  /athena/halt?key=...    the rest of that proof
    POST /athena/halt/reason     the reason, given after
    POST /athena/emergency-stop  halt, then cancel and suspend at the venue; or its rehearsal
    GET  /athena/status          mode, halts, engine, venue, account

Every request is authenticated and, where it changes something, checked against cross-site forgery, by Jupyter's own
means. Work runs in threads or in a process of its own: the server's loop never waits for a lock or a venue.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.widgets.asked import HaltAsked, read_texts
from athena.widgets.glance import Glance
from athena.widgets.halt_job import Halts, annotate, flag_of

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

BODY_MOST = 8_192
ANSWER_SECONDS = 0.7
STATUS_SECONDS = 2.0
EMERGENCY_SECONDS = 180.0  # it waits for a venue's rate limit to end; killed before, it would stop half-way
_SYSTEM = ("home", "account")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "athena.widgets.server"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Put the routes into a Jupyter server that starts; a broken setting is told at the first request, not here."""
    room = Room()
    routes = {
        "halt": HaltHandler, "halt/reason": ReasonHandler, "emergency-stop": EmergencyHandler, "status": StatusHandler,
    }  # fmt: skip
    base = app.web_app.settings["base_url"]
    app.web_app.add_handlers(  # type: ignore[no-untyped-call]
        ".*$", [(url_path_join(base, "athena", path), handler, {"room": room}) for path, handler in routes.items()]
    )
    app.log.info("Athena: HALT at %s works past a busy kernel", url_path_join(base, "athena", "halt"))


class Room:
    """What the handlers share: the halts asked for, a glance per live system, and the threads that look."""

    def __init__(self) -> None:
        self.halts = Halts()
        self._glances: dict[Path, Glance] = {}
        self._looking = ThreadPoolExecutor(4, thread_name_prefix="athena-status")
        self._reading: dict[Path, asyncio.Future[dict[str, Any]]] = {}

    async def look(self, settings: Settings) -> dict[str, Any]:
        """The facts of a live system; those who ask meanwhile share the reading. Late ones are told as a problem."""
        folder = settings.folder.absolute()
        reading = self._reading.get(folder)
        if reading is None or reading.done():
            glance = self._glances.setdefault(folder, Glance(settings))
            reading = asyncio.get_running_loop().run_in_executor(self._looking, glance.read)
            self._reading[folder] = reading
        try:
            return await asyncio.wait_for(asyncio.shield(reading), STATUS_SECONDS)
        except TimeoutError:
            return self._flag_alone(settings)

    def _flag_alone(self, settings: Settings) -> dict[str, Any]:
        with flag_of(settings) as flag:
            passes = flag.allows()
        facts = {"account": settings.account_name, "venue": settings.venue, "operator": settings.operator}
        problem = f"the journal did not answer within {STATUS_SECONDS:.0f} s; see who holds it: fuser -v"
        return facts | {
            "mode": "unknown" if passes else "halted", "passes": False, "why": "the journal does not answer",
            "halts": [], "halts_total": 0, "problem": f"{problem} {settings.journal_path}",
            "engine": {"running": False, "text": "unknown", "age_seconds": None},
        }  # fmt: skip


class Handler(APIHandler):
    """Jupyter's authentication and forgery check, a small JSON body, and errors in the operator's words."""

    _track_activity = False  # a page that polls keeps no idle server alive

    def initialize(self, room: Room) -> None:
        self.room = room

    def body(self) -> dict[str, Any]:
        """The request's JSON object; HTTPError 413 or 400 says what is wrong with it."""
        if len(self.request.body) > BODY_MOST:
            raise web.HTTPError(413, f"A request here has at most {BODY_MOST} bytes.")
        try:
            found = json.loads(self.request.body or b"{}")
        except ValueError as error:
            raise web.HTTPError(400, "The request is not JSON.") from error
        if not isinstance(found, dict):
            raise web.HTTPError(400, "The request is not a JSON object.")
        return found

    def settings_of(self, given: dict[str, Any]) -> Settings:
        """The live system that is meant: the server's own, or the one a notebook's kernel speaks of, which it names."""
        named = read_texts({name: given.pop(name) for name in _SYSTEM if name in given}, _SYSTEM)
        home = Path(named["home"]) if named["home"] else None
        return Settings.load(lenient=True, home=home, account=named["account"] or None)

    def tell(self, facts: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(facts, default=str))

    def refuse(self, error: AthenaError) -> None:
        status = 400 if isinstance(error, SettingsError) else 503
        self.tell({"error": type(error).__name__, "message": error.message, "next": error.hint}, status)


class HaltHandler(Handler):
    """The halt, and how far its proof is."""

    @web.authenticated
    async def post(self) -> None:
        given = self.body()
        try:
            settings = self.settings_of(given)
            job = self.room.halts.begin(settings, HaltAsked.read(given))
        except AthenaError as error:
            self.refuse(error)
            return
        await asyncio.wait([asyncio.wrap_future(job.finished)], timeout=ANSWER_SECONDS)
        self.tell(job.snapshot(), 500 if job.halted is False else 200)

    @web.authenticated
    async def get(self) -> None:
        job = self.room.halts.find(self.get_query_argument("key", ""))
        if job is None:
            raise web.HTTPError(404, "No halt of that key was asked for since this server started.")
        self.tell(job.snapshot())


class ReasonHandler(Handler):
    """The reason of a halt, given after it."""

    @web.authenticated
    async def post(self) -> None:
        given = self.body()
        try:
            settings = self.settings_of(given)
            texts = read_texts(given, ("halt", "reason", "notebook"))
            written = asyncio.to_thread(annotate, settings, texts["halt"], texts["reason"], texts["notebook"])
            self.tell({"sequence": await written, "halt": texts["halt"], "reason": texts["reason"]})
        except AthenaError as error:
            self.refuse(error)


class EmergencyHandler(Handler):
    """`athena emergency-stop` in a process of its own: what it imports is heavy, and it must not share our fate."""

    @web.authenticated
    async def post(self) -> None:
        given = self.body()
        rehearsal, flatten = given.pop("dry_run", True), given.pop("flatten", False)
        try:
            settings = self.settings_of(given)
            texts = read_texts(given, ("reason", "notebook"))
            if not (isinstance(rehearsal, bool) and isinstance(flatten, bool)):
                raise SettingsError("dry_run and flatten are true or false.")
            if not rehearsal:
                with flag_of(settings) as flag:  # before a process is even begun
                    flag.halt()
            await self._same_venue(settings)
            self.tell(await _emergency_stop(settings, texts["reason"], rehearsal=rehearsal, flatten=flatten))
        except AthenaError as error:
            self.refuse(error)

    async def _same_venue(self, settings: Settings) -> None:
        """Raises SettingsError where this server's keys are of another venue than that live system's."""
        bound = (await self.room.look(settings))["venue"]
        if bound != settings.venue:
            what = f"this server speaks to {settings.venue}, and {settings.account_name} is an account at {bound}"
            raise SettingsError(f"{what}: nothing was cancelled there.", _BY_HAND)


class StatusHandler(Handler):
    """The truth for a page whose kernel may be dead."""

    @web.authenticated
    async def get(self) -> None:
        try:
            named = {name: self.get_query_argument(name) for name in _SYSTEM if self.get_query_argument(name, "")}
            self.tell(await self.room.look(self.settings_of(dict(named))))
        except AthenaError as error:
            self.refuse(error)


async def _emergency_stop(settings: Settings, reason: str, *, rehearsal: bool, flatten: bool) -> dict[str, Any]:
    """Run the command and return its steps; raises AthenaError when it did not come to an end."""
    command = [sys.executable, "-m", "athena.cli", "emergency-stop", "--json", "--reason", reason or "emergency stop"]
    command += ["--dry-run"] * rehearsal + ["--flatten"] * flatten
    command += ["--home", str(settings.home), "--account", settings.account_name, "--operator", settings.operator]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), EMERGENCY_SECONDS)
    except TimeoutError:
        process.kill()
        raise AthenaError(f"the emergency stop did not end within {EMERGENCY_SECONDS:.0f} s.", _BY_HAND) from None
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        said = (err or out).decode(errors="replace").strip()[-300:]
        raise AthenaError(f"the emergency stop failed: {said or 'it said nothing'}", _BY_HAND) from None
    return found


_BY_HAND = "In a terminal now: athena emergency-stop. Else cancel in Alpaca's web page."
