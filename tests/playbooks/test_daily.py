"""The daily report's verdict on journals written through athena.journal."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from athena.analysis import daily
from athena.analysis.assessment import Verdict
from athena.core.sessions import not_over
from athena.errors import SettingsError
from athena.journal import Journal
from athena.playbooks.books import closing, data_recovery
from athena.playbooks.sources import day
from tests.playbooks.days import DAY, DAYS, Story, busy
from tests.playbooks.situations import look, place


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return daily.assess(day("", str(busy(tmp_path_factory.mktemp("busy") / "j.sqlite3"))))


def fired(report):
    return {finding.check for finding in report.findings if finding.fired}


def test_a_busy_day_reconciles_to_the_cent_with_a_deposit_in_it(report):
    """Equity change less the deposit is explained by realised, unrealised and fees, kept independently by the test."""
    assert report.numbers["unexplained_usd"] == 0
    assert report.numbers["equity_end_usd"] - report.numbers["equity_start_usd"] - 5000 == report.numbers["profit_usd"]
    lines = report["pnl"].tables[2].frame.set_index("line")["amount"]
    assert lines["Deposits and withdrawals"] == 5000


def test_the_verdict_names_its_reasons_and_the_next_step(report):
    """A standing halt, 38 bps in one symbol and a rejection make ATTENTION, with what to do."""
    assert report.verdict is Verdict.ATTENTION
    assert {"Is trading free of halts?", "What did XOM cost?", "Did the venue take the orders?"} <= fired(report)
    assert report.action


def test_a_halt_from_a_process_without_the_venues_clock_is_placed_in_the_day(report):
    """Both halts show with their owners; the cleared one lasted its forty venue minutes."""
    halts = report["guard"].tables[0].frame.set_index("what")
    assert halts.loc["all trading", "owner"] == "operator alice"
    assert halts.loc["all trading", "lasted"].total_seconds() == 40 * 60
    assert halts.loc["XOM", "ended"] == "still in force"


@pytest.mark.parametrize(("off", "verdict"), [(D("0.50"), Verdict.ATTENTION), (D("-40"), Verdict.STOP)])
def test_money_that_nothing_explains_is_shown_and_judged(tmp_path, off, verdict):
    """Half a dollar needs attention; past a basis point of equity the report says STOP."""
    found = daily.assess(day("", str(busy(tmp_path / "j.sqlite3", unexplained=off))))
    row = next(finding for finding in found.findings if finding.check == "Do the books close?")
    assert (row.verdict, found.numbers["unexplained_usd"]) == (verdict, off)


def test_a_break_with_the_broker_stops(tmp_path):
    """The last reconciliation found a break: STOP, whatever else is well."""
    found = daily.assess(day("", str(busy(tmp_path / "j.sqlite3", reconciled=False))))
    assert found.verdict is Verdict.STOP
    assert "disagree" in found.reason


def test_a_record_that_ends_early_is_unknown_or_still_running(tmp_path):
    """With the engine silent it says when the record ends; with it alive, that the day still runs. Never OK."""
    path = busy(tmp_path / "j.sqlite3", upto=250)
    silent = daily.assess(day("", str(path)))
    assert silent.verdict is Verdict.UNKNOWN
    assert "13:40:00" in silent.reason
    with Journal.open(path, "engine") as journal:
        journal.heartbeat("engine", {}, datetime(2020, 3, 9, 17, 41, tzinfo=UTC))
    running = daily.assess(day("", str(path)))
    assert running.verdict is Verdict.UNKNOWN
    assert "still running" in running.reason


def test_an_own_calendar_counts_wherever_a_day_is_judged(tmp_path):
    """A close and a closed day that only calendar.toml knows: the report, the archive, the pages obey it."""
    (tmp_path / "calendar.toml").write_text('[closed]\n2020-03-09 = "mourning"\n[early_close]\n2020-03-10 = "12:00"')
    path = place(tmp_path)
    story = Story(path)
    for text, hour in (("2020-03-06", 16), ("2020-03-10", 12)):
        story.journal.append("equity", {"equity": "100000", "cash": "100000", "marks": {}}, story.at(text, hour, 0))
    story.journal.close()
    system = look(path)
    assert day("", str(path)).session_close == story.at("2020-03-10", 12, 0)
    assert str(not_over(system.journal, system.settings)[0]) == "2020-03-11"
    assert closing.closed(system).observed == "closed"
    assert data_recovery._days(system)[0].observed == "2 sessions"


def test_a_day_or_a_journal_that_is_not_there_is_unknown_and_says_so(tmp_path):
    """No file, an empty journal, another day: UNKNOWN with the reason, every section still answers."""
    empty = tmp_path / "empty.sqlite3"
    Journal.open(empty, "engine").close()
    path = busy(tmp_path / "j.sqlite3")
    for date, where, says in (
        ("", tmp_path / "none.sqlite3", "no journal"),
        ("", empty, "no trading day"),
        ("2020-03-12", path, DAYS[0]),
    ):
        found = daily.assess(day(date, str(where)))
        assert found.verdict is Verdict.UNKNOWN
        assert says in found.reason
        assert all("Not known" in found[key].reading for key in found.sections)
    assert daily.assess(day(DAY, str(path))).verdict is Verdict.ATTENTION


def test_a_first_day_starts_from_what_the_account_was_bound_with(tmp_path):
    """No day before it: the books close against the opening equity."""
    found = daily.assess(day(DAYS[0], str(busy(tmp_path / "j.sqlite3"))))
    assert found.numbers["equity_start_usd"] == 100_000
    assert found.numbers["unexplained_usd"] == 0


def test_text_from_the_journal_cannot_become_markup(tmp_path):
    """A halt's reason with a script in it is shown as text."""
    path = busy(tmp_path / "j.sqlite3")
    with Journal.open(path, "engine") as journal:
        halt = {
            "id": "h9",
            "scope": "global",
            "target": "",
            "mode": "halted",
            "origin": "operator",
            "owner": "<b>eve</b>",
        }
        journal.append(
            "halt.set",
            {**halt, "reason": "<script>alert(1)</script>", "nonce": 9},
            datetime(2020, 3, 9, 18, tzinfo=UTC),
        )
    found = daily.assess(day("", str(path)))
    html = found._repr_html_() + "".join(table._repr_html_() for table in found["guard"].tables)
    assert "<script" not in html
    assert "<b>eve" not in html


def test_a_date_that_is_none_is_refused():
    """The error names the value and the form."""
    with pytest.raises(SettingsError, match="YYYY-MM-DD"):
        day("9 March", "x")
