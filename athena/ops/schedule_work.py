"""What the schedule runs: a playbook before the open and at it; after the close the day's work, report and page.

Nothing here trades, changes a limit or lifts a halt: playbooks run read-only, tomorrow's limits are only proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from athena.config import Settings
from athena.core.message import link
from athena.core.notifications import notify
from athena.core.schedule import Due
from athena.journal.journal import Journal
from athena.model import NEW_YORK
from athena.ops.scheduler import Work
from athena.playbooks import after_close
from athena.playbooks.runner import PlaybookRun, run_playbook

WHO = "schedule"
_SEVERITY = {"OK": "info", "ATTENTION": "warning"}  # STOP and UNKNOWN wake people


Render = Callable[[str, Due], PlaybookRun]
Steps = Callable[[Due], Iterable[after_close.Done]]


def work(
    settings: Settings, journal: Journal, *, render: Render | None = None, steps: Steps | None = None
) -> dict[str, Work]:
    """What each job does. render: runs a playbook by name; steps: the work after the close, its report left out."""

    def rendered(playbook: str, due: Due) -> PlaybookRun:
        return run_playbook(playbook, reports=settings.reports, settings=settings, who=WHO, why=_why(due), email=True)

    def stepped(due: Due) -> Iterable[after_close.Done]:
        others = [name for name in after_close.STEPS if name != "report"]
        return after_close.run(settings, who=WHO, why=_why(due), only=others)

    render, steps = render or rendered, steps or stepped

    def page(due: Due) -> Mapping[str, Any]:
        return _tell(settings, journal, due, render(due.job, due))

    def after(due: Due) -> Mapping[str, Any]:
        report = render("daily_report", due)
        done = list(steps(due))
        return _after_close(settings, journal, due, report, done, render("post_market", due))

    return {"pre_market": page, "market_open": page, "post_market": after}


def severity(run: PlaybookRun) -> str:
    """How loudly a run is told."""
    return _SEVERITY.get(run.verdict, "critical") if run.succeeded else "critical"


def _why(due: Due) -> str:
    at = f"{due.at.astimezone(NEW_YORK):%H:%M} New York"
    return f"asked for by {due.by_hand} at {at}" if due.by_hand else f"due at {at}"


def _tell(settings: Settings, journal: Journal, due: Due, run: PlaybookRun, body: str = "") -> dict[str, Any]:
    """Queues the message of a run, once a run, and returns what is journaled of it."""
    name = due.job.replace("_", "-").capitalize()
    word = run.verdict if run.succeeded else "FAILED"
    notify(
        settings, severity=severity(run), title=f"{name} {due.trading_date}: {word}", body=body,
        dedup_key=f"schedule {due.id}", run=run, journal=journal,
    )  # fmt: skip
    told = f"{word}: {run.reason if run.succeeded else run.error}"
    return {"verdict": run.verdict, "page": str(run.html), "told": told, "failed": not run.succeeded}


def _after_close(
    settings: Settings, journal: Journal, due: Due, report: PlaybookRun, steps: list[after_close.Done],
    checklist: PlaybookRun,
) -> dict[str, Any]:  # fmt: skip
    """Tells of the day's report and of every step; the checklist's page, made last, ticks them by looking."""
    lines = [f"· {one.state} {one.step}: {one.told}" for one in steps]
    lines.append(f"· Checklist {checklist.verdict}: {link(str(checklist.html), settings)}")
    result = _tell(settings, journal, due, report, "\n".join(lines))
    failed = [one.step for one in steps if one.state is after_close.State.FAILED]
    if failed or not checklist.succeeded:
        what = ", ".join([*failed, *([] if checklist.succeeded else ["checklist"])])
        notify(
            settings, severity="critical", title=f"Post-market {due.trading_date}: {what} failed",
            body="\n".join(lines), dedup_key=f"schedule {due.id} failed", journal=journal,
        )  # fmt: skip
    return result | {
        "checklist": str(checklist.html),
        "steps": {one.step: one.state.value for one in steps},
        "failed": bool(result["failed"] or failed or not checklist.succeeded),
        "told": f"{result['told']}; {sum(one.state is after_close.State.DONE for one in steps)} of {len(steps)} steps"
        + (f"; FAILED: {', '.join(failed)}" if failed else ""),
    }
