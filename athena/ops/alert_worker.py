"""What is done about an alert: halt if its rule says so, run its playbook, tell people. One thing after the other.

Each step is journaled before the next, so that whoever comes after a crash goes on where it stopped: a run whose page
is in the archive is not run again, a message has a key and is queued once. Alerts that want the same playbook are
answered by one run that names them all.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import Alert, AlertState, unfinished_alerts
from athena.core.notifications import notify
from athena.errors import AthenaError, JournalError, PlaybookError
from athena.journal.journal import Journal
from athena.live.vitals import beat
from athena.ops.alert_acting import act
from athena.ops.alert_message import ended, found, names, without_page
from athena.playbooks.runner import PlaybookRun, published, reserve, run_playbook
from athena.playbooks.workers import Worker

log = logging.getLogger("athena.alerts")
Run = Callable[..., PlaybookRun]  # run_playbook, or in tests what stands for it
POLL_SECONDS, RETRY_SECONDS = 1.0, 2.0
FIRST_WORD_AFTER = timedelta(minutes=1)
_RANK = {"critical": 0, "warning": 1}


class AlertWorker:
    """Works off unfinished alerts until stopped; holds a worker in reserve, so that a page takes seconds."""

    def __init__(self, settings: Settings, journal: Journal, run: Run = run_playbook) -> None:
        self._settings, self._journal, self._run_playbook = settings, journal, run
        self._stop, self._arrived, self._asked = threading.Event(), threading.Event(), threading.Event()
        self._acting = threading.Lock()
        self._spare: Worker | None = None
        self._aside: set[str] = set()  # alerts that could not be answered: tried again once the others are
        self._first_told: set[str] = set()
        self.problem = ""

    def arrived(self) -> None:
        """Something new is in the journal."""
        self._arrived.set()
        self._asked.set()

    def stop(self) -> None:
        self._stop.set()
        self.arrived()

    def work(self) -> None:
        """Until `stop`. What goes wrong is told, and tried again: nothing of an alert is given up."""
        acting = threading.Thread(target=self._act_at_once, name="alerts-act", daemon=True)
        acting.start()
        try:
            while not self._stop.is_set():
                try:
                    self._keep_spare()
                    self._arrived.wait(POLL_SECONDS)
                    self._arrived.clear()
                    while not self._stop.is_set() and self.step():
                        pass
                    if not self._aside:
                        self.problem = ""
                    self._aside.clear()
                except Exception as error:
                    self._wrong(error)
                    self._stop.wait(RETRY_SECONDS)
        finally:
            acting.join(RETRY_SECONDS)
            if self._spare is not None:
                self._spare.end()

    def act(self) -> bool:
        """Halt what one alert's rule says; False when none asks. Raises JournalError."""
        with self._acting:
            for alert in unfinished_alerts(self._journal):
                if alert.action and not alert.acted and alert.firing:
                    outcome = act(self._settings, alert)
                    self._journal.append("alert.acted", {"id": alert.id, "outcome": outcome})
                    return True
        return False

    def step(self) -> bool:
        """Do the most urgent thing there is; False when there is none. Raises JournalError, and then lost nothing.

        Alerts whose answer fails otherwise are set aside before that is raised, so that they hold up no others.
        """
        if self.act():
            return True
        alerts = [alert for alert in unfinished_alerts(self._journal) if alert.id not in self._aside]
        group, do = _next(alerts)
        if not group:
            return False
        try:
            {"end": self._tell_end, "tell": self._tell, "answer": self._answer}[do](group)
        except JournalError:
            raise
        except Exception:
            self._aside.update(alert.id for alert in group)
            raise
        return True

    def _act_at_once(self) -> None:
        """What an alert's rule asks for never waits for another alert's playbook, and people not for one that hangs."""
        while not self._stop.is_set():
            self._asked.wait(POLL_SECONDS)
            self._asked.clear()
            try:
                while not self._stop.is_set() and self.act():
                    pass
                self.first_word(datetime.now(UTC) - FIRST_WORD_AFTER)
            except Exception as error:
                self._wrong(error)
                self._stop.wait(RETRY_SECONDS)

    def first_word(self, oldest: datetime) -> None:
        """Tell, without their page and once, of critical alerts that came before `oldest` and wait for it still."""
        waiting = [
            alert for alert in unfinished_alerts(self._journal)
            if alert.severity == "critical" and alert.firing and alert.received_at < oldest
            and alert.state in (AlertState.RECEIVED, AlertState.RUNNING) and alert.id not in self._first_told
        ]  # fmt: skip
        if waiting:
            key = f"alert {waiting[0].id} waits"
            notify(self._settings, **without_page(waiting), dedup_key=key, journal=self._journal)
            self._first_told.update(alert.id for alert in waiting)

    def _wrong(self, error: Exception) -> None:
        self.problem = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        log.error("an alert waits", exc_info=error)

    # ------------------------------------------------------------------------------------------------------- one group

    def _answer(self, group: Sequence[Alert]) -> None:
        """Run the group's playbook, or take up the run that was under way, and journal its page."""
        run = group[0].run
        made = self._made(run, group[0]) if run else None
        if not run:
            run = secrets.token_hex(6)
            self._journal.append("alert.running", {"ids": [alert.id for alert in group], "run": run})
        if made is not None:
            self._paged(group, run, made)
        elif group[0].playbook and not all(_came_too_late(alert) for alert in group):
            try:
                self._run(group, run)
            except JournalError:
                raise
            except AthenaError as error:
                log.error("%s: %s", group[0].playbook, error)
                self._paged(group, run, None, error.message, error.hint)
        else:
            over = all(_came_too_late(alert) for alert in group)
            why = "It was over before it could be looked at." if over else f"No playbook was run: {group[0].problem}."
            self._paged(group, run, None, why)

    def _run(self, group: Sequence[Alert], run: str) -> None:
        """Run it; its page is journaled at once, and the mail's pictures are drawn then, unless another alert waits."""
        spare, self._spare = self._spare, None
        done = False

        def told(made: PlaybookRun) -> bool:
            nonlocal done
            self._paged(group, run, made)
            done = True
            if spare is not None:
                self._keep_spare()  # the next alert may come while pictures are drawn
            return not _most_urgent(unfinished_alerts(self._journal))

        try:
            self._run_playbook(
                group[0].playbook,
                common_parameters(group),
                reports=self._settings.reports,
                settings=self._settings,
                who="alerts",
                why=f"alert run {run}: {names(group)}",
                worker=spare,
                email=bool(self._settings.notifications.smtp_host and self._settings.notifications.email_to),
                told=told,
            )
        except PlaybookError as error:
            if not done:
                raise
            log.warning("the mail goes without pictures: %s", error)

    def _paged(
        self, group: Sequence[Alert], run: str, made: PlaybookRun | None, reason: str = "", hint: str = ""
    ) -> None:
        """Journal what a run came to, or why there is none."""
        told = {"verdict": "UNKNOWN", "reason": reason, "next_action": hint or "athena status", "page": ""}
        if made is not None:
            told = {
                "verdict": made.verdict,
                "reason": made.reason,
                "next_action": made.action,
                "page": str(made.html.resolve()),
            }
        with self._journal.transaction() as tx:
            if group[0].playbook and (made is not None or hint):
                succeeded = made is not None and made.succeeded
                ran = {"playbook": group[0].playbook, "succeeded": succeeded, "verdict": told["verdict"], "run": run}
                tx.append("playbook.ran", ran)
            tx.append("alert.page", {"ids": [alert.id for alert in group], **told})

    def _made(self, run: str, alert: Alert) -> PlaybookRun | None:
        """The page of a run that was under way when this process's predecessor ended, if it came to one."""
        for path in self._results(alert):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if record["run"]["why"].startswith(f"alert run {run}:"):
                    return published(path, record["run"]["seconds"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # torn or pruned; then it is run again
        return None

    def _results(self, alert: Alert) -> list[Path]:
        """Results of the alert's playbook that were written since it came."""
        since = alert.received_at.timestamp() - 1
        found = self._settings.reports.resolve().glob(f"????-??-??/{alert.playbook}.*Z.json")
        return [path for path in found if path.stat().st_mtime >= since] if alert.playbook else []

    # ---------------------------------------------------------------------------------------------------------- telling

    def _tell(self, group: Sequence[Alert]) -> None:
        """Queue the message and say that it is queued, in one transaction."""
        message = found(group, self._settings)
        with self._journal.transaction() as tx:
            notify(self._settings, **message, dedup_key=f"alert run {group[0].run}", tx=tx)
            tx.append("alert.notified", {"ids": [alert.id for alert in group]})

    def _tell_end(self, group: Sequence[Alert]) -> None:
        """Tell an alert's end. Metrics end with the engine, and then nobody knows whether what they told of is over."""
        (alert,) = group
        engine = beat(self._journal)
        if engine is not None and engine.alive and alert.resolved_at is not None and engine.at < alert.resolved_at:
            self._aside.add(alert.id)  # it has not said since that it lives: look again in a moment
            return
        message = ended(alert, "" if engine is None or engine.alive else engine.silence)
        with self._journal.transaction() as tx:
            notify(self._settings, **message, dedup_key=f"alert {alert.id} ended", tx=tx)
            tx.append("alert.told_resolved", {"ids": [alert.id]})

    def _keep_spare(self) -> None:
        if self._spare is not None and self._spare.fit:
            return
        if self._spare is not None:
            self._spare.end()
        self._spare = reserve(self._settings, self._settings.reports)


def common_parameters(group: Sequence[Alert]) -> dict[str, Any]:
    """Those on which all alerts of the group agree; the others are left at the playbook's defaults, which are wider."""
    first = dict(group[0].parameters)
    return {name: value for name, value in first.items() if all(a.parameters.get(name) == value for a in group)}


def _next(alerts: Sequence[Alert]) -> tuple[list[Alert], str]:
    """Which alerts are next, and what is to be done: tell their end, tell their page, or answer them."""
    for alert in alerts:
        if alert.state is AlertState.NOTIFIED:
            return [alert], "end"
    paged = [alert for alert in alerts if alert.state is AlertState.PAGE]
    if paged:
        return [alert for alert in paged if alert.run == paged[0].run], "tell"
    return _most_urgent(alerts), "answer"


def _most_urgent(alerts: Sequence[Alert]) -> list[Alert]:
    """A run to take up again; else all alerts that wait for the playbook the most urgent one wants."""
    running = [alert for alert in alerts if alert.state is AlertState.RUNNING]
    if running:
        return [alert for alert in running if alert.run == running[0].run]
    waiting = [alert for alert in alerts if alert.state is AlertState.RECEIVED]
    if not waiting:
        return []
    first = min(waiting, key=lambda a: _RANK.get(a.severity, 2))
    return [a for a in waiting if (a.playbook, a.drill) == (first.playbook, first.drill)]


def _came_too_late(alert: Alert) -> bool:
    """Whether it was over when it was first heard of: then its playbook would show another moment."""
    return alert.resolved_at is not None and alert.resolved_at <= alert.received_at
