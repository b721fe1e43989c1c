"""Answering alerts: their playbook is run once for all that want it, and its page, or why there is none, is journaled.

Each step is journaled before the next, so that whoever comes after a crash goes on where it stopped: a run whose page
is in the archive is not run again, and one that ended its process again and again is given up and told.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import Alert
from athena.errors import AthenaError, JournalError, PlaybookError
from athena.journal.journal import Journal
from athena.ops.alert_message import names
from athena.ops.alert_nursery import WarmWorkers
from athena.playbooks.runner import PlaybookRun, published

log = logging.getLogger("athena.alerts")
Run = Callable[..., PlaybookRun]  # run_playbook, or in tests what stands for it
ATTEMPTS_MAX = 3  # at one answer, crashes of the whole process included


class Answers:
    """Runs playbooks for alerts, several at once, each in processes of its own."""

    def __init__(self, settings: Settings, journal: Journal, run: Run, workers: WarmWorkers | None) -> None:
        self._settings, self._journal, self._run_playbook, self._workers = settings, journal, run, workers

    def answer(self, group: Sequence[Alert], paged: Callable[[], bool]) -> None:
        """Run the group's playbook, or take up the run that was under way, and journal its page.

        `paged` is called once the page is journaled, and says whether there is time for the mail's pictures. Raises
        JournalError, and whatever else goes wrong; then it is to be tried again.
        """
        first = group[0]
        if first.run and (made := self._made(first.run, first)) is not None:
            self._paged(group, first.run, made)
            return
        if first.attempts >= ATTEMPTS_MAX:
            why = f"{first.playbook} was begun {first.attempts} times and never came to an end; it is not begun again."
            self._paged(group, first.run, None, why, "athena status")
            return
        run, late = secrets.token_hex(6), all(_came_too_late(alert) for alert in group)
        self._journal.append("alert.running", {"ids": [alert.id for alert in group], "run": run})
        if late or not first.playbook:
            why = "It was over before it could be looked at." if late else f"No playbook was run: {first.problem}."
            self._paged(group, run, None, why)
            return
        try:
            self._run(group, run, paged)
        except JournalError:
            raise
        except AthenaError as error:
            log.error("%s: %s", first.playbook, error)
            self._paged(group, run, None, error.message, error.hint)

    def _run(self, group: Sequence[Alert], run: str, paged: Callable[[], bool]) -> None:
        """Run it; its page is journaled at once, and the mail's pictures are drawn then, unless another alert waits."""
        done = False

        def told(made: PlaybookRun) -> bool:
            nonlocal done
            self._paged(group, run, made)
            done = True
            return paged()

        try:
            self._run_playbook(
                group[0].playbook,
                common_parameters(group),
                reports=self._settings.reports,
                settings=self._settings,
                who="alerts",
                why=f"alert run {run}: {names(group)}",
                worker=self._workers.take() if self._workers is not None else None,
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


def common_parameters(group: Sequence[Alert]) -> dict[str, Any]:
    """Those on which all alerts of the group agree; the others are left at the playbook's defaults, which are wider."""
    first = dict(group[0].parameters)
    return {name: value for name, value in first.items() if all(a.parameters.get(name) == value for a in group)}


def _came_too_late(alert: Alert) -> bool:
    """Whether it was over when it was first heard of: then its playbook would show another moment."""
    return alert.resolved_at is not None and alert.resolved_at <= alert.received_at
