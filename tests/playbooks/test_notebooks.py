"""Playbooks end with a verdict in every situation; they act only on the phrase, and read the truth back."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from athena.analysis.assessment import Verdict
from athena.errors import SettingsError
from athena.journal import Journal
from athena.journal.codec import to_text
from athena.model import NEW_YORK, Bar, Clock
from athena.playbooks.books import asking, market
from athena.playbooks.books.system import connect
from tests.playbooks.days import DAY, Story, busy
from tests.playbooks.situations import ACTING, BOOKS, Dead, beat, book, look, place, situation

SITUATIONS = ("busy", "empty", "missing", "engine dead", "engine alive")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """One journal a situation, only read by the tests that share it."""
    return {name: situation(name, tmp_path_factory.mktemp(name.replace(" ", "-"))) for name in SITUATIONS}


@pytest.fixture
def path(tmp_path):
    """A busy journal of one's own, to be changed."""
    return busy(place(tmp_path))


def found(report, check):
    return next(finding for finding in report.findings if check in finding.check)


@pytest.mark.parametrize("name", BOOKS)
@pytest.mark.parametrize("state", SITUATIONS)
def test_a_playbook_ends_with_a_verdict_whatever_is_dead(paths, name, state):
    """With the venue dead: a verdict with reason and next step, every section in words, a result in JSON; never OK."""
    report = book(name).assess(look(paths[state]))
    assert report.verdict in Verdict
    assert report.reason
    assert report.action
    assert set(report.sections) >= set(book(name).QUESTIONS)
    for section in report.sections.values():
        assert section.reading or section.tables
        assert all("<table" in table._repr_html_() or table.frame.empty for table in section.tables)
        _ = section.figure
    assert json.loads(json.dumps(report.to_dict()))["facts"]["trading_date"]
    if state in ("missing", "empty"):
        assert report.verdict is not Verdict.OK
    if state == "missing":
        assert report.verdict is Verdict.UNKNOWN
        assert "no journal" in report.reason


@pytest.mark.parametrize("name", ACTING)
@pytest.mark.parametrize("state", SITUATIONS)
def test_acting_by_default_does_nothing_and_still_answers(paths, name, state):
    """A dry run shows the effect; the assessment at its end is the plain one; nothing is journaled."""
    before = paths[state].read_bytes() if paths[state].exists() else None
    plan = book(name).plan(look(paths[state]))
    outcome = plan.act(dry_run=True, confirm=plan.phrase)
    assert outcome.state == "SHOWN"
    assert outcome.report.verdict in Verdict
    assert (paths[state].read_bytes() if before else None) == before


# --- trading halt


def halt(path, name="h-loss", **more):
    with Journal.open(path, "engine") as journal:
        payload = {"id": name, "scope": "global", "target": "", "mode": "halted", "origin": "guard", "nonce": "9"}
        payload |= {"owner": "max_daily_loss_dollars", "reason": "the day's loss reached $2,000.00"}
        journal.append("halt.set", payload | more)


def test_a_halt_fires_its_row_of_the_matrix_and_says_what_to_do(path):
    """The daily loss limit: STOP, manual review; the fired row is marked, the others are not."""
    halt(path)
    report = book("trading_halt").assess(look(path))
    assert report.verdict is Verdict.STOP
    assert "loss" in report.reason
    assert "Review by hand" in found(report, "Why is everything").action
    frame = report["matrix"].tables[0].frame
    fired = frame.loc[frame["fired"] == "▶", "when"].tolist()
    assert "the day's loss reached its limit" in fired
    assert len(fired) == 2  # and the symbol's own halt


def test_a_resume_needs_the_phrase_of_this_very_state_and_reads_the_truth_back(path):
    """No reason, a wrong phrase, a phrase of an earlier state: refused. The right one clears exactly what was shown."""
    halt(path)
    books = book("trading_halt")
    assert "reason is empty" in books.plan(look(path)).blocked
    old = books.plan(look(path), reason="reviewed")
    refused = old.act(dry_run=False, confirm="resume everything")
    assert (refused.state, refused.report.verdict) == ("REFUSED", Verdict.STOP)
    halt(path, "h-second", origin="operator", owner="bob", reason="not yet")
    plan = books.plan(look(path), reason="reviewed")
    assert plan.phrase != old.phrase
    assert plan.act(dry_run=False, confirm=old.phrase).state == "REFUSED"
    assert any(line.startswith("Remains: symbol XOM") for line in plan.effect)
    done = plan.act(dry_run=False, confirm=plan.phrase)
    assert done.state == "DONE", done
    assert any("Read back" in line for line in done.lines)
    assert done.report.facts["action"] == "DONE"
    assert [standing.id for standing in look(path).halts()] == ["h-xom"]
    again = books.plan(look(path), reason="reviewed").act(dry_run=False, confirm=plan.phrase)
    assert again.state == "REFUSED"


def test_a_copy_of_a_journal_is_only_read(tmp_path):
    """A file that is no live system's journal cannot be acted upon."""
    copy = busy(tmp_path / "copy.sqlite3")
    for name in ACTING:
        plan = book(name).plan(connect(str(copy), broker=Dead()))
        assert plan.act(dry_run=False, confirm=plan.phrase).state == "REFUSED"


# --- analyses' thresholds


def fall(path, percent):
    """A journal whose equity fell by so much from its peak."""
    story = Story(path)
    opens = story.at(DAY, 9, 30)
    story.journal.append("day.opened", {"trading_date": DAY, "opening_equity": D(100_000)}, opens)
    story.equity(opens)
    story.equity(story.at(DAY, 10, 0), off=D(-1000) * D(str(percent)))
    story.close()
    return path


@pytest.mark.parametrize(
    ("percent", "verdict", "when"),
    [
        (4.9, Verdict.OK, "below 5 %"),
        (5, Verdict.ATTENTION, "5 % to 10 %"),
        (12, Verdict.STOP, "10 % to 15 %"),
        (15, Verdict.STOP, "15 % and more"),
    ],
)
def test_a_drawdown_fires_the_operators_tier(tmp_path, percent, verdict, when):
    """5, 10 and 15 per cent, and what each asks for; the same row is marked in the matrix."""
    report = book("drawdown_assessment").assess(look(fall(place(tmp_path), percent)))
    assert found(report, "Drawdown now").verdict is verdict
    frame = report["matrix"].tables[0].frame
    assert frame.loc[frame["fired"] == "▶", "when"].tolist() == [when]


def test_the_split_of_a_loss_adds_up_to_the_change_of_equity(paths):
    """From the peak to the end, by the journal's own prices, the lines sum to the cent."""
    report = book("drawdown_assessment").assess(look(paths["busy"]))
    frame = report["cause"].tables[0].frame
    total = frame.loc[frame["line"] == "Total", "amount"].iloc[0]
    assert sum(frame.loc[frame["line"] != "Total", "amount"]) == total
    assert total == pytest.approx(D(str(report.numbers["now_usd"])), abs=D("0.02"))


def test_slippage_is_judged_by_symbol_and_by_the_single_worst_fill(paths):
    """XOM's one fill at 109 bps: its mean is in the first tier, the fill itself past the limit."""
    report = book("slippage_analysis").assess(look(paths["busy"]))
    assert found(report, "What did XOM cost?").verdict is Verdict.ATTENTION
    assert "XOM" in found(report, "single fill").observed
    only = book("slippage_analysis").assess(look(paths["busy"]), symbol="aapl")
    assert only.numbers["fills"] < report.numbers["fills"]
    assert "venue gave no bars" in report["expected"].reading


def test_rejections_name_their_cause_and_its_fix(paths):
    """Buying power: fewer than one in twenty is watched, and the matrix still shows the fix."""
    report = book("order_rejections").assess(look(paths["busy"]))
    frame = report["matrix"].tables[0].frame
    fired = frame[frame["fired"] == "▶"]
    assert "not enough buying power" in fired["when"].tolist()
    assert any("reduce-position-sizes" in text for text in fired["recommended"])
    assert report["guard"].tables[0].frame["code"].tolist() == ["HALTED", "max_slippage_bps"]
    late = book("order_rejections").assess(look(paths["busy"]), hours=0.1)
    assert late.numbers["orders"] < report.numbers["orders"]


def test_a_violation_of_no_symbol_does_not_stop_the_page(path):
    """Cash that differs belongs to no symbol: the row is shown with none."""
    with Journal.open(path, "engine") as journal:
        facts = {"code": "RECONCILIATION", "message": "cash differs", "symbol": None, "action": "reported"}
        journal.append("violation", facts | {"observed": "1", "limit_value": "2"}, datetime(2020, 3, 9, 18, tzinfo=UTC))
    frame = book("order_rejections").assess(look(path))["guard"].tables[0].frame
    assert frame.loc[frame["code"] == "RECONCILIATION", "symbols"].tolist() == [""]


def test_what_is_rejected_is_halted_at_its_source_and_read_back(path):
    """The strategy most rejections come from, by the phrase of this state; halted, there is nothing more to do."""
    books = book("order_rejections")
    plan = books.plan(look(path))
    assert plan.blocked == ""
    assert any("rejections in" in line for line in plan.effect)
    assert plan.act(dry_run=False, confirm="halt it").state == "REFUSED"
    before = {halt.id for halt in look(path).halts()}
    done = plan.act(dry_run=False, confirm=plan.phrase)
    assert done.state == "DONE", done
    (made,) = [halt for halt in look(path).halts() if halt.id not in before]
    assert plan.phrase.startswith(f"halt {made.target} ")
    assert "is halted already" in books.plan(look(path)).blocked


def test_prices_come_from_the_journal_when_the_venue_is_silent_and_no_return_crosses_a_night(paths):
    """The source is said in words; each day's first bar has no return."""
    returns = market.returns(look(paths["busy"]), ["AAPL", "MSFT"], minutes=30)
    assert "cannot connect" in returns.source
    local = returns.frame.index.tz_convert("America/New_York")
    assert all((at.hour, at.minute) != (9, 30) for at in local)


def test_a_what_if_replays_the_record_and_a_tight_limit_refuses_many(paths):
    """Shares of at most ten at a time would have stopped most orders; a limit that is none is refused by name."""
    playbook = book("limits_what_if")
    report = playbook.assess(look(paths["busy"]), "max_order_quantity=10")
    assert found(report, "max_order_quantity").verdict is Verdict.ATTENTION
    assert report["days"].figure is not None
    for changes in ("max_ordr_quantity=10", "max_order_quantity", "max_quote_age_seconds=3"):
        with pytest.raises(SettingsError):
            playbook.assess(look(paths["busy"]), changes)


# --- checklists


def test_answers_are_journaled_once_and_tick_the_list_of_their_day(path):
    """Yes ticks, no needs attention, the same answer again is not journaled again; the machine's lines stay its own."""
    playbook, text = book("pre_market"), "limits=yes; sizes=no: halve XOM"
    first = playbook.assess(look(path))
    assert (first.numbers["open_questions"], first.numbers["answers_recorded"]) == (3, 0)
    second = playbook.assess(look(path), text)
    assert (second.numbers["open_questions"], second.numbers["answers_recorded"]) == (1, 2)
    assert found(second, "daily loss limits").verdict is Verdict.OK
    assert "halve XOM" in found(second, "position limits fit").observed
    assert playbook.assess(look(path), text).numbers["answers_recorded"] == 0
    with Journal.open(path, "reader", read_only=True) as journal:
        notes = list(journal.events(kinds=("note",)))
    assert [(note.payload["question"], note.payload["answer"]) for note in notes] == [
        ("limits", True),
        ("sizes", False),
    ]
    assert notes[0].actor.startswith("operator")
    assert journal_still_holds(path)


def journal_still_holds(path):
    with Journal.open(path, "reader", read_only=True) as journal:
        return journal.verify().ok


@pytest.mark.parametrize("text", ["limit=yes", "limits", "limits=maybe"])
def test_an_answer_that_is_none_is_refused(path, text):
    """The nearest question, or the form, is named; nothing is journaled."""
    with pytest.raises(SettingsError, match=r"limits|Write|question"):
        book("pre_market").assess(look(path), text)


def test_a_button_records_what_it_says_and_a_failure_is_told(path, tmp_path):
    """The widget's controller answers in words, whatever happens."""
    ask = book("post_market").ask(look(path))
    assert "tomorrow=yes" in repr(ask)
    assert ask.answer("tomorrow", True, "wider XOM").startswith("recorded")
    assert "tomorrow" not in [question.key for question in ask.open]
    path.unlink()
    assert "NOT recorded" in book("post_market").ask(connect(str(tmp_path / "none"))).answer("tomorrow", True)


def test_buttons_are_drawn_for_each_open_question(path):
    """By hand there are two buttons a question; a click journals."""
    ask = book("market_open").ask(look(path))
    row = asking._buttons(ask, ask.open[0])
    yes = next(child for child in row.children if getattr(child, "description", "") == "Yes")
    yes.click()
    assert "recorded: yes" in row.children[-1].value
    assert len(ask.open) == 2


@pytest.mark.parametrize("name", ["pre_market", "market_open"])
def test_the_halt_of_a_start_stops_nobody(tmp_path, name):
    """Started overnight: ATTENTION with what to do before the open, as the matrix says. Any other halt is a STOP."""
    check, journal = "free of halts", place(tmp_path)
    halt(journal, origin="startup", owner="engine", reason="the engine started")
    started = found(book(name).assess(look(journal)), check)
    assert (started.verdict, started.action) == (Verdict.ATTENTION, "Check positions, then `athena resume REASON`.")
    halt(journal, "h-second", scope="symbol", target="AAPL")
    assert "trading_halt" in found(book(name).assess(look(journal)), check).action
    halt(journal, "h-third")
    assert found(book(name).assess(look(journal)), check).verdict is Verdict.STOP


def test_the_loss_limit_off_or_out_of_proportion_is_said(path):
    """$2,000 of $105,000 is sane; $50,000 is not."""
    check = "daily loss limit a sane part"
    assert found(book("pre_market").assess(look(path)), check).verdict is Verdict.OK
    with Journal.open(path, "operator") as journal:
        journal.append("limit.set", {"name": "max_daily_loss_dollars", "target": "", "value": "50000", "by": "x"})
    assert found(book("pre_market").assess(look(path)), check).verdict is Verdict.ATTENTION


# --- incidents


@pytest.mark.parametrize(
    ("gone", "verdict"), [(None, Verdict.OK), (10, Verdict.ATTENTION), (45, Verdict.STOP)], ids=["up", "10s", "45s"]
)
def test_a_disconnection_is_judged_by_its_length_against_the_playbooks_30_seconds(path, gone, verdict):
    """Up to 30 s one waits; longer, with positions, they are closed by hand."""
    beat(path, state="connected" if gone is None else "reconnecting")
    if gone is not None:
        with Journal.open(path, "engine") as journal:
            told = {"broker": "alpaca", "state": "reconnecting", "previous": "connected", "reason": "reset"}
            journal.append("broker.state", told)
        connection = sqlite3.connect(path)
        with connection:
            at = to_text(datetime.now(UTC) - timedelta(seconds=gone))
            connection.execute("UPDATE broker_states SET at = ? WHERE state = 'reconnecting'", (at,))
        connection.close()
    report = book("broker_disconnection").assess(look(path))
    row = found(report, "Is the broker connected?")
    assert row.verdict is verdict
    assert verdict is not Verdict.STOP or "Close all positions" in row.action


def test_an_engine_that_never_said_it_stopped_has_crashed(path):
    """The arrow stands at the first step; reconciling waits for a running engine, and says how to start it."""
    with Journal.open(path, "engine") as journal:
        journal.append("engine.started", {"version": "1", "safe_mode": False, "speed": 1, "clean": True})
    beat(path, ago=90)
    report = book("crash_recovery").assess(look(path))
    assert found(report, "stop in good order").verdict is Verdict.STOP
    assert report["steps"].tables[0].frame["next"].tolist() == ["▶", "", ""]
    assert "--safe-mode" in book("crash_recovery").plan(look(path)).blocked


def test_the_phrase_to_reconcile_outlives_the_engines_own_reconciliations(path):
    """Each minute brings one: the phrase changes only when what they say does."""
    seen = []
    for ok, breaks in ((True, []), (True, []), (False, [{"kind": "quantity", "symbol": "AAPL"}])):
        with Journal.open(path, "engine") as journal:
            facts = {"trigger": "periodic", "ok": ok, "breaks": breaks, "checked": {}}
            journal.append("reconciliation", facts, datetime(2020, 3, 9, 18, tzinfo=UTC))
        seen.append(book("crash_recovery").plan(look(path)).phrase)
    assert seen[0] == seen[1]
    assert seen[2] != seen[1]


def test_a_table_that_is_not_what_the_events_say_is_found_and_folded_again(path):
    """STOP with the row named; the rebuild shows its effect, acts on the phrase, and verifies afterwards."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE orders SET filled_quantity = '999' WHERE client_order_id = 'order-1'")
    connection.close()
    report = book("data_recovery").assess(look(path))
    assert found(report, "Does the journal hold?").verdict is Verdict.STOP
    plan = book("data_recovery").plan(look(path), "rebuild-tables")
    assert "999" in plan.effect[0]
    done = plan.act(dry_run=False, confirm=plan.phrase)
    assert done.state == "DONE", done
    assert found(done.report, "Does the journal hold?").verdict is Verdict.OK


def test_a_snapshot_is_taken_on_the_phrase_and_read_through(path):
    """Afterwards there is one to go back to."""
    assert found(book("data_recovery").assess(look(path)), "snapshot").verdict is Verdict.ATTENTION
    plan = book("data_recovery").plan(look(path))
    done = plan.act(dry_run=False, confirm=plan.phrase)
    assert done.state == "DONE", done
    assert found(done.report, "snapshot").verdict is Verdict.OK


def test_the_portfolio_of_an_earlier_time_is_shown_beside_the_present(paths):
    """As of 10:00 on the first day only AAPL was held; a time that is none is refused."""
    report = book("data_recovery").assess(look(paths["busy"]), "2020-03-04 10:30:00")
    frame = report["state"].tables[0].frame.set_index("what")
    assert frame.loc["AAPL", "then"] == 10
    assert frame.loc["JPM", "then"] == 0
    with pytest.raises(SettingsError, match="YYYY"):
        book("data_recovery").assess(look(paths["busy"]), "yesterday")


# --- a venue that answers


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """A busy journal whose account is the simulator's, and a handle to that simulator, at the close of the busy day."""
    from tests.support.simulator import running_simulator

    start = datetime(2020, 3, 9, 20, 0, tzinfo=UTC)
    with running_simulator(start=start, manual=True, symbols=("AAPL", "JPM", "MSFT", "XOM")) as simulator:
        path = busy(place(tmp_path_factory.mktemp("venue")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ATHENA_SIMULATOR_URL", simulator.url)
            patch.setenv("ATHENA_READ_TIMEOUT_SECONDS", "60")  # days are made when they are asked for
            yield path


class Closed(Dead):
    """A venue that is closed at a usual noon, with a bar in each hour of Thanksgiving week's last three days."""

    async def get_clock(self):
        noon = datetime(2026, 11, 25, 12, tzinfo=NEW_YORK)
        return Clock(noon, False, noon + timedelta(days=2), noon + timedelta(days=2, hours=3))

    async def get_bars(self, names, start, end, length):
        hours = [datetime(2026, 11, day, hour, 45, tzinfo=NEW_YORK) for day in (25, 26, 27) for hour in range(8, 20)]
        return {name: [Bar(name, *[D(100)] * 5, at) for at in hours] for name in names}


def test_a_holiday_and_the_afternoon_of_an_early_close_are_no_open_market(tmp_path):
    """By the venue's clock, else by the calendar; and no bar of then is one of a regular session."""
    path, volatility = place(tmp_path), book("market_volatility")
    with Journal.open(path, "engine") as journal:
        for day, hour, is_open in ((26, 11, False), (27, 12, True), (27, 14, False)):
            journal.append("equity", {"equity": "1", "cash": "1"}, datetime(2026, 11, day, hour, tzinfo=NEW_YORK))
            assert volatility._clock(look(path))[1] is is_open
    beat(path)
    assert volatility._clock(look(path, Closed()))[1] is False
    bars = market.bars(look(path, Closed()), ["AAPL"], sessions=3, minutes=60)
    assert [f"{at.tz_convert(NEW_YORK):%d %H}" for at in bars["at"]] == [
        *(f"25 {hour:02}" for hour in range(9, 16)), *(f"27 {hour:02}" for hour in range(9, 13)),
    ]  # fmt: skip


def test_with_a_venue_the_positions_are_correlated_on_its_prices(venue):
    """Every position has returns from the venue, the bets are counted, the source is in the record."""
    report = book("correlation_matrix").assess(connect(str(venue)), sessions=15)
    assert "from the venue" in report.facts["prices"]
    assert report.numbers["observations"] > 150
    assert found(report, "How many bets").verdict is not Verdict.UNKNOWN
    assert report["correlation"].figure is not None


def test_with_a_venue_the_market_is_held_against_its_usual(venue):
    """9 March 2020, the day of the first breaker: the whole market is down."""
    system = connect(str(venue))
    report = book("market_volatility").assess(system, sessions=8, minutes=10)
    assert report.verdict in (Verdict.ATTENTION, Verdict.STOP)
    assert report.numbers["symbols"] == 4


def test_another_accounts_answers_are_not_taken_for_ours(venue):
    """The simulator's account is not the journal's: nothing is concluded from its empty list of positions."""
    report = book("crash_recovery").assess(connect(str(venue)))
    row = found(report, "venue say the same")
    assert row.verdict is Verdict.UNKNOWN
    assert "SIM-1" in row.reason


# --- commands


@pytest.mark.parametrize(
    ("command", "title"),
    [
        (["drawdown"], "Drawdown"),
        (["position-correlation", "--method", "pearson"], "Position correlation"),
        (["slippage-analysis", "XOM", "--days", "2"], "Slippage"),
        (["market-volatility", "AAPL", "XOM"], "Market conditions"),
    ],
)
def test_a_command_of_the_playbooks_name_answers_in_the_terminal(paths, monkeypatch, capsys, command, title):
    """Verdict first, tables below, the exit code is the verdict's; with --json the whole assessment."""
    from athena.cli import main
    from athena.ops.health import EXIT_CODES

    monkeypatch.setenv("ATHENA_SIMULATOR_URL", "http://127.0.0.1:9")
    home = ["--home", str(paths["busy"].parent.parent)]
    code = main([*command, *home])
    shown = capsys.readouterr().out
    assert main([*command, *home, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["title"] == title
    assert EXIT_CODES[Verdict(told["verdict"])] == code
    assert shown.startswith(told["verdict"])
    assert "next " in shown


def test_without_keys_the_page_says_what_to_run_by_hand(tmp_path):
    """A journal of a paper account and no keys: the venue is not asked, and the page names the commands that do."""
    path = place(tmp_path)
    bound = {"venue": "paper", "account_number": "PA1", "cash": 100, "equity": 100, "positions": [], "last_equity": 100}
    with Journal.open(path, "engine") as journal:
        journal.append("account.bound", bound, datetime(2020, 3, 9, 14, tzinfo=UTC))
    system = connect(str(path))
    assert "<code>athena broker-reconciliation</code>" in system._repr_html_()
    report = book("broker_disconnection").assess(system)
    assert report.verdict is not Verdict.OK
    assert "athena broker-reconciliation" in report["truth"].reading
