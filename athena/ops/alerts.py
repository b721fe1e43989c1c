"""`athena alerts`: what fired and what came of it; `serve` is the webhook for Alertmanager, `drill` rehearses one."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from athena.config import Settings
from athena.core.alerts import REPEAT_INTERVAL, Alert, active_alerts, recent_alerts, unfinished_alerts
from athena.core.delivery import Courier, Delivered
from athena.core.notifications import notify
from athena.errors import AthenaError, JournalError, SettingsError
from athena.journal.journal import Journal
from athena.live.engine_lock import EngineLock
from athena.live.guard_halting import open_journal
from athena.live.vitals import beat
from athena.ops.alert_drill import drill
from athena.ops.alert_nursery import WarmWorkers
from athena.ops.alert_server import AlertServer, token_of, token_path
from athena.ops.alert_worker import AlertWorker
from athena.ops.health import COLOURS
from athena.ops.notifications import follow, warn_if_nobody_is_told

COMPONENT = "alerts"  # its heartbeat: {"url", "alertmanager_url", "problem", "unfinished"}
BEAT_SECONDS = 2.0
TROUBLE_SECONDS = 60.0  # what is wrong for longer is told
_COLOURS = {str(verdict): colour for verdict, colour in COLOURS.items()}
_SEVERITY_COLOURS = {"critical": "red", "warning": "yellow"}


def alerts(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show, serve or drill; raises SettingsError where the words do not fit together."""
    of_drill = arguments.name or arguments.symbol or ("--direct" if arguments.direct else "")
    if arguments.action != "drill" and of_drill:
        raise SettingsError(f"'{of_drill}' means nothing after '{arguments.action}'.", "athena alerts --help")
    if arguments.action == "serve":
        return serve(settings)
    if arguments.action == "drill":
        return drill(settings, arguments)
    with Journal.open(settings.journal_path, "alerts", read_only=True) as journal:
        found = active_alerts(journal) if arguments.firing else recent_alerts(journal, arguments.last)
        webhook = beat(journal, COMPONENT)
    running = webhook is not None and webhook.alive
    if arguments.json:
        told = [{**asdict(alert), "unknown": alert.unheard() is not None} for alert in found]
        print(json.dumps({"serving": running, "alerts": told}, default=str))
        return 0
    _show(found[: arguments.last], running, "no alert fires" if arguments.firing else "no alert has come in")
    return 0


def _show(found: list[Alert], running: bool, none: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for alert in found:
        until = alert.standing()
        name = f"{alert.name}{f' {alert.symbol}' if alert.symbol else ''}{' (drill)' if alert.drill else ''}"
        line = Text(f"{alert.starts_at:%m-%d %H:%M:%S}  ")
        line.append(f"{alert.severity:<8}  ", _SEVERITY_COLOURS.get(alert.severity, ""))
        line.append(name, "bold").append(f"  {until}, {alert.state}")
        console.print(line)
        if alert.verdict:
            verdict = Text("                ").append(alert.verdict, _COLOURS.get(alert.verdict, "magenta"))
            console.print(verdict.append(f": {alert.reason}"))
        for text in (alert.acted, alert.problem and f"refused: {alert.problem}", alert.page):
            if text:
                console.print(Text(f"                {text}"))
    if not found:
        console.print(none)
    if any(alert.unheard() for alert in found):
        console.print(
            f"UNKNOWN: Alertmanager says every {REPEAT_INTERVAL.total_seconds() / 60:.0f} min what fires and is neither"
            " silenced nor inhibited; of this it did not. next: look whether it runs and what it shows; athena status"
        )
    if not running:
        console.print("Alertmanager is not listened to. next: athena alerts serve, or make monitor")


def serve(settings: Settings) -> int:
    """Listen, work and deliver until told to stop; what is unfinished then is taken up by the next."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        stack.enter_context(EngineLock(settings.folder, "alerts.lock", "a webhook for alerts"))
        journals = [stack.enter_context(open_journal(settings.journal_path, "alerts")) for _ in range(3)]
        worker = AlertWorker(settings, journals[1], workers=WarmWorkers(settings))
        try:
            server = AlertServer(settings, journals[0], token_of(settings), worker.arrived)
        except OSError as error:
            raise SettingsError(
                f"port {settings.alerts_port} cannot be listened on: {error.strerror}.",
                "Set ATHENA_ALERTS_PORT to another, then write Alertmanager's configuration again.",
            ) from None
        server.problem = lambda: worker.problem
        stack.enter_context(server)
        courier = Courier(settings, journals[2], os.environ)
        threads = [
            threading.Thread(target=worker.work, name="alerts"),
            threading.Thread(target=follow, args=(courier, journals[2], stop, _tell), name="courier"),
        ]
        for thread in threads:
            thread.start()
        _tell(f"alerts are taken at {server.url}/alerts, token in {token_path(settings)}; Ctrl-C stops")
        warn_if_nobody_is_told(settings, _tell)
        trouble = Trouble(settings, journals[0])
        try:
            while not stop.is_set():
                _beat(journals[0], server, worker)
                trouble.look(worker.problem)
                if not all(thread.is_alive() for thread in threads):
                    raise RuntimeError("a thread of the webhook died; what it had not finished is in the journal")
                stop.wait(BEAT_SECONDS)
        finally:
            stop.set()
            worker.stop()
            for thread in threads:
                thread.join()
    return 0


class Trouble:
    """Tells people, once an hour, that alerts cannot be answered: no alert of that would be answered either."""

    def __init__(self, settings: Settings, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._journal, self._clock = settings, journal, clock
        self._since: float | None = None

    def look(self, problem: str) -> None:
        """`problem`: what keeps alerts from being answered now, in words; "" for nothing."""
        now = self._clock()
        self._since = (now if self._since is None else self._since) if problem else None
        if self._since is None or now - self._since < TROUBLE_SECONDS:
            return
        body = f"{problem}\nDecide by athena status and Alertmanager; then restart athena alerts serve."
        key = f"alerts cannot be answered {datetime.now(UTC):%Y%m%d%H}"
        title = "Alerts cannot be answered"
        with suppress(AthenaError):
            notify(self._settings, severity="critical", title=title, body=body, dedup_key=key, journal=self._journal)


def _beat(journal: Journal, server: AlertServer, worker: AlertWorker) -> None:
    try:
        details: dict[str, Any] = {"url": server.url, "problem": worker.problem}
        details["alertmanager_url"] = server.settings.alertmanager_url  # a drill finds it by this
        journal.heartbeat(COMPONENT, {**details, "unfinished": len(unfinished_alerts(journal))})
    except JournalError as error:
        _tell(f"alerts: {error}", sys.stderr)


def _tell(one: Delivered | str, stream: TextIO | None = None) -> None:
    """A line for whoever watches; a log on a full disk ends nothing."""
    with suppress(OSError):
        print(one, file=stream, flush=True)
