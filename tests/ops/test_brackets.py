"""Free text on the screens: a reason may hold brackets, which are markup to the library that prints the tables."""

import os
from datetime import date
from pathlib import Path

import pytest

from athena.cli import main
from athena.core.trading_days import TradingDays
from athena.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import flag_path
from athena.ops import reports, schedule
from athena.playbooks.batch import Outcome
from athena.playbooks.runner import PlaybookRun
from tests.guard.conftest import NOON, make_journal, settings_in

REASON = "see [/x] of [y]"  # a closing tag that closes nothing, which is an error, and an opening one, which vanishes


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A live system whose halt and reconciliation speak in brackets."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("ATHENA_", "APCA_"))]:
            patch.delenv(name)
        patch.setenv("ATHENA_HOME", str(folder))
        patch.setenv("ATHENA_OPERATOR", "tester")
        patch.setenv("COLUMNS", "300")
        settings = settings_in(folder)
        make_journal(settings)
        with Journal.open(settings.journal_path, "test") as journal:
            journal.append("reconciliation", {"trigger": "test", "ok": False, "breaks": [REASON], "checked": {}}, NOON)
        assert main(["limits", "max_order_quantity", "50", "--reason", REASON]) == 0
        assert main(["halt", REASON]) == 0
        yield settings
        ExecutionGuard.get_instance(settings).close()
        flag_path(settings.journal_path).unlink(missing_ok=True)


SCREENS = ["audit", "status", "decision-matrices", "guard-state-check", "review-guard-config"]


@pytest.mark.parametrize("command", SCREENS)
def test_a_screen_shows_a_reason_with_brackets_as_it_was_written(command, home, capsys):
    """No word is lost, and none makes the command fail."""
    main([command])
    told = capsys.readouterr()
    assert REASON in told.out, told
    assert "failed unexpectedly" not in told.err


def test_a_run_and_what_came_of_it_are_shown_as_they_were_written(home, capsys):
    """One playbook's answer, the table of all, and the schedule's list: a halt's reason is in all three."""
    page = Path("page.html")
    run = PlaybookRun("trading_halt", "STOP", f"halted: {REASON}", "Act.", True, date(2020, 3, 9), page, page, page, 1)
    reports._show(run)
    reports._verdicts([Outcome("trading_halt", run), Outcome("drawdown", None, f"broke: {REASON}")], home)
    due = {"job": "pre_market", "status": "done", "due_at": NOON.isoformat(), "result": f'{{"told": "STOP: {REASON}"}}'}
    schedule._show(NOON, [], [due], TradingDays.load(home))
    told = capsys.readouterr().out
    assert told.count(f"halted: {REASON}") == 2
    assert f"broke: {REASON}" in told
    assert f"STOP: {REASON}" in told
