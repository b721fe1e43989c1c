"""The webhook: takes Alertmanager's deliveries on loopback and answers 2xx only once they are in the journal.

POST /alerts (bearer token) · GET /runbook · GET /metrics · GET /-/healthy
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import UNFINISHED
from athena.core.notifications import notify
from athena.errors import AthenaError, JournalError, SettingsError
from athena.journal.codec import encode, from_text
from athena.journal.journal import Journal, Transaction
from athena.live.loopback import LoopbackServer, Page
from athena.ops.alert_message import left_out
from athena.ops.alert_metrics import page
from athena.ops.alert_payload import SIZE_MAX, Delivery, NotAPayload, read
from athena.ops.alert_rules import folder

log = logging.getLogger("athena.alerts")
ANEW_AFTER = timedelta(minutes=1)  # a firing told so long after its alert's end is no late delivery
HEARD_EVERY = timedelta(minutes=1)  # journaled no oftener; much oftener than Alertmanager repeats what has not changed
_KNOWN = "SELECT resolved_at, received_at, heard_at FROM alerts WHERE id = ?"
_EARLIER = f"SELECT id FROM alerts WHERE {UNFINISHED} AND resolved_at IS NULL AND labels = ? AND starts_at < ?"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class AlertServer(LoopbackServer):
    """The webhook on a loopback port (0: a free one), from `with` on. `arrived` is called when something new is in."""

    def __init__(self, settings: Settings, journal: Journal, token: str, arrived: Callable[[], None]) -> None:
        self.settings, self.journal, self.arrived = settings, journal, arrived
        self.expected = f"Bearer {token}".encode()
        self.problem: Callable[[], str] = lambda: ""
        self._telling = threading.Lock()
        self.refused = 0  # deliveries that were not taken
        super().__init__(settings.alerts_port, _Webhook)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, delivery: Delivery) -> int:
        """Journal what is new of a delivery, in one transaction; how much that was. Raises JournalError."""
        try:
            new = persist(self.journal, delivery, partial(self._tell_left_out, delivery))
        except JournalError as error:
            threading.Thread(target=self._tell_unrecorded, args=(delivery.alerts, error), daemon=True).start()
            raise
        if new:
            self.arrived()
        return new

    def _tell_left_out(self, delivery: Delivery, tx: Transaction) -> None:
        """Tell of alerts that nobody here knows: once an hour for a group, and when they are twice as many."""
        if delivery.left_out:
            now, size = datetime.now(UTC), delivery.left_out.bit_length()
            critical = any(alert["severity"] == "critical" for alert in delivery.alerts)
            message = left_out(delivery.left_out, critical, self.settings)
            notify(self.settings, **message, dedup_key=f"left out {delivery.group} {now:%Y%m%d%H} {size}", tx=tx)

    def _tell_unrecorded(self, alerts: list[dict[str, Any]], error: JournalError) -> None:
        """A critical alert that cannot be journaled is told at once, past the journal; its page comes when it can."""
        with self._telling:
            for alert in alerts:
                if alert["severity"] != "critical" or alert["status"] != "firing":
                    continue
                with suppress(AthenaError):
                    notify(
                        self.settings, severity="critical",
                        title=f"{alert['name']}: {alert['annotations'].get('summary', 'it fires')}",
                        body=f"It could not be recorded, and is assessed once it can be: {error.message}",
                        dedup_key=f"alert {alert['id']} unrecorded",
                    )  # fmt: skip


def token_path(settings: Settings) -> Path:
    """The file that holds the bearer token; Alertmanager's configuration names it and never repeats it."""
    return settings.folder.resolve() / "alerts.token"


def token_of(settings: Settings) -> str:
    """The bearer token, made where there is none; only its owner can read the file. Raises SettingsError."""
    path = token_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent
            ) as draft:  # its owner's alone, named once it is whole
                draft.write(secrets.token_urlsafe(32))
                draft.flush()
                with suppress(FileExistsError):
                    os.link(draft.name, path)
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}.", "Mend its rights.") from None
    if len(token) < 20:
        raise SettingsError(f"{path} holds no token.", "Delete it; a new one is made. Then restart Alertmanager.")
    return token


def persist(journal: Journal, delivery: Delivery, also: Callable[[Transaction], None] = lambda tx: None) -> int:
    """Append `alert.received` for each that was not told before: an alert is its fingerprint, start and status.

    Alertmanager that heard nothing for minutes (a machine asleep, Prometheus restarting) tells of an end, and then of
    the same alert with the same start again: it fires anew, as an alert of its own. One whose end it never told (its
    state was lost) is over at the latest when the same fires with a later start. `also`: in the same transaction.
    """
    new, heard, now = 0, [], datetime.now(UTC)
    with journal.transaction() as tx:
        also(tx)
        for alert in delivery.alerts:
            identity, ended = alert["id"], None
            while (row := tx.one(_KNOWN, (identity,))) and row["resolved_at"]:
                ended = from_text(row["resolved_at"])
                identity = hashlib.sha256(f"{identity} {row['resolved_at']}".encode()).hexdigest()[:24]
            firing = alert["status"] == "firing"
            if row is not None and firing:
                if now - from_text(row["heard_at"] or row["received_at"]) > HEARD_EVERY:
                    heard.append(identity)
                continue  # known
            if row is None and ended is not None and not (firing and now - ended > ANEW_AFTER):
                continue  # its end again, or a delivery that overtook another
            if row is None and firing:
                for before in tx.query(_EARLIER, (encode(alert["labels"]), alert["starts_at"])):
                    ends = {"id": before["id"], "status": "resolved", "ends_at": alert["starts_at"]}
                    tx.append("alert.received", alert | ends)
            tx.append("alert.received", alert | {"id": identity})
            new += 1
        if heard:
            tx.append("alert.heard", {"ids": heard})
    return new


class _Webhook(Page):
    server: AlertServer

    def do_GET(self) -> None:
        if not self.ours:
            return
        match self.path.partition("?")[0]:
            case "/runbook":
                html = folder().joinpath("runbook.html").read_bytes()
                self.answer(200, html, "text/html; charset=utf-8", Content_Security_Policy=_POLICY)
            case "/metrics":
                try:
                    self.answer(
                        200,
                        page(self.server.settings, self.server.journal, self.server.refused),
                        "text/plain; version=0.0.4",
                    )
                except JournalError as error:
                    self.answer(503, f"{error.message}\n")
            case "/-/healthy":
                problem = self.server.problem()
                self.answer(503 if problem else 200, f"{problem or 'healthy'}\n")
            case _:
                self.answer(404, "there are /runbook, /metrics and /-/healthy, and POST /alerts\n")

    def do_POST(self) -> None:
        if not self.ours:
            return
        status = 0
        try:
            status, words = self._post()
        finally:
            self.server.refused += status != 200
        self.close_connection = status != 200  # what is left of a refused body is not read
        self.answer(status, f"{words}\n")

    def _post(self) -> tuple[int, str]:
        if self.path != "/alerts":
            return 404, "alerts go to /alerts"
        if not hmac.compare_digest((self.headers.get("Authorization") or "").encode(), self.server.expected):
            return 401, "the bearer token is missing or wrong"
        length = self.headers.get("Content-Length") or ""
        if not length.isdecimal() or len(length) > 12:
            return 411, "say the length of the body"
        if int(length) > SIZE_MAX:
            return 413, f"{SIZE_MAX} bytes is the most"
        try:
            delivery = read(self.rfile.read(int(length)))
        except NotAPayload as error:
            log.warning("a delivery was refused: %s", error)
            return 400, str(error)
        except TimeoutError:
            return 408, "the body did not come"
        try:
            return 200, f"{self.server.take(delivery)} new of {len(delivery.alerts)}"
        except JournalError as error:
            log.error("a delivery was not taken: %s", error.message)
            return 503, "the journal cannot be written; send it again"
