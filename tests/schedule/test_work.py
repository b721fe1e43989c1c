"""What the schedule tells of its runs: how loudly, once, with the page, and what failed after the close by name."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from athena.config import Settings
from athena.core.schedule import Due
from athena.journal import Journal
from athena.ops.schedule_work import work
from athena.playbooks.after_close import Done, State
from athena.playbooks.runner import PlaybookRun

AT = datetime(2020, 3, 9, 20, 0, tzinfo=UTC)
DUE = {job: Due(job, date(2020, 3, 9), AT, AT + timedelta(hours=1)) for job in ("pre_market", "post_market")}


def ran(name, verdict="OK", succeeded=True):
    page = Path(f"/reports/{name}.html")
    error = "" if succeeded else "the kernel died"
    return PlaybookRun(
        name, verdict, "a reason", "an action", succeeded, date(2020, 3, 9), page, page, page, 1.0, error
    )


@pytest.fixture
def journal(tmp_path):
    with Journal.open(Settings(home=tmp_path).journal_path, "test") as opened:
        yield opened


def messages(journal):
    rows = journal.query("SELECT severity, title, body, page FROM notifications ORDER BY sequence")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("verdict", "succeeded", "severity"),
    [("OK", True, "info"), ("ATTENTION", True, "warning"), ("STOP", True, "critical"), ("UNKNOWN", True, "critical"),
     ("UNKNOWN", False, "critical")],
)  # fmt: skip
def test_a_page_is_told_as_loudly_as_its_verdict(journal, tmp_path, verdict, succeeded, severity):
    """OK is for information, STOP, UNKNOWN and a failed run wake people; a second telling of the run is none."""
    done = work(Settings(home=tmp_path), journal, render=lambda name, due: ran(name, verdict, succeeded))
    for _ in range(2):
        result = done["pre_market"](DUE["pre_market"])
    [(told, title, body, page)] = messages(journal)
    assert (told, page) == (severity, "/reports/pre_market.html")
    assert title == f"Pre-market 2020-03-09: {verdict if succeeded else 'FAILED'}"
    assert ("kernel died" if not succeeded else "a reason") in body
    assert result["failed"] == (not succeeded)


def test_after_the_close_every_step_is_told_and_a_failed_one_wakes_people(journal, tmp_path):
    """The report first, then the steps, the checklist last; a failed snapshot is a failed run with its name."""
    order = []

    def render(name, due):
        order.append(name)
        return ran(name)

    def steps(due):
        order.append("steps")
        yield Done("trades", State.DONE, "1 closed day is archived")
        yield Done("limits", State.DONE, "max_daily_loss_dollars $2,000 → $1,000; nothing was changed")
        yield Done("snapshot", State.FAILED, "the disk is full", "Free the disk.")

    done = work(Settings(home=tmp_path), journal, render=render, steps=steps)
    result = done["post_market"](DUE["post_market"])
    assert order == ["daily_report", "steps", "post_market"]
    assert result["failed"]
    assert result["steps"] == {"trades": "DONE", "limits": "DONE", "snapshot": "FAILED"}
    assert json.loads(json.dumps(result)) == result
    first, second = messages(journal)
    assert first[:2] == ("info", "Post-market 2020-03-09: OK")
    assert first[3] == "/reports/daily_report.html"
    for words in ("trades: 1 closed day", "$2,000 → $1,000", "FAILED snapshot: the disk is full", "Checklist OK"):
        assert words in first[2]
    assert second[:2] == ("critical", "Post-market 2020-03-09: snapshot failed")
