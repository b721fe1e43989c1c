"""The control room's plain Python: what is read, how cheaply, and what is said when it cannot be read."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from athena.core.alerts import Alert, AlertState
from athena.journal.journal import Journal
from athena.model import Mode, Scope, Side
from athena.widgets.header import header
from athena.widgets.reading import Reader
from athena.widgets.source import Jobs, Source
from tests.engine.processes import wait_for
from tests.guard.conftest import NOON, make_journal, settings_in
from tests.playbooks.situations import age, beat
from tests.support.counting import Counting


@pytest.fixture
def reader(settings):
    made = Counting(settings)
    yield made
    made.close()


def test_a_look_where_nothing_was_committed_is_one_statement(reader, settings):
    """The second look asks whether anything changed, and takes the first one's answer over as it is."""
    first = reader.read()
    cost, second = reader.cost()
    assert cost == 1
    assert second is first


def test_a_heartbeat_costs_a_bounded_few_statements_whatever_the_journal_holds(reader, settings):
    """Telemetry alone rereads no list: as many statements with a thousand orders as with none."""
    reader.read()
    beat(settings.journal_path)
    few, _ = reader.cost()
    with Journal.open(settings.journal_path, "test") as journal, journal.transaction() as tx:
        for number in range(1000):
            tx.append("order.refused", order(number, code="HALTED", message="halted"), NOON)
    reader.read()
    beat(settings.journal_path)
    many, found = reader.cost()
    assert many == few <= 40
    assert len(found.lists.violations) == 200


def order(number, **more):
    facts = {"client_order_id": f"o{number}", "strategy": "s", "symbol": "AAPL", "side": "buy", "type": "market"}
    return facts | {"time_in_force": "day", "quantity": "1", "decided_at": NOON} | more


def fill(number, quantity, price):
    facts = {"execution_id": f"x{number}", "client_order_id": f"o{number}", "broker_order_id": "b", "strategy": "s"}
    facts |= {"symbol": "AAPL", "side": "buy" if quantity > 0 else "sell", "quantity": str(abs(quantity))}
    return facts | {"price": price, "fee": "0", "at": NOON, "bid": None, "ask": None, "source": "test"}


def test_positions_follow_the_fills_without_folding_the_journal_again(reader, settings):
    """What the reader keeps agrees with a fold from nothing, deposits and corrections included."""
    from athena.core.portfolio import Portfolio

    reader.read()
    with Journal.open(settings.journal_path, "test") as journal:
        for number, (quantity, price) in enumerate([(10, "100"), (-4, "110"), (7, "90.5")]):
            journal.append("order.intended", order(number), NOON)
            journal.append("fill", fill(number, quantity, price), NOON)
            reader.read()
        journal.append("cash_flow", {"id": "d", "kind": "CSD", "amount": "500", "at": NOON + timedelta(1)}, NOON)
        found = reader.read().status
        whole = Portfolio.from_journal(journal)
    assert [(p["symbol"], D(p["quantity"])) for p in found.positions] == [("AAPL", D(13))]
    assert D(found.equity) == round(whole.equity, 2)


def test_a_halt_and_a_limit_set_elsewhere_are_seen_at_the_next_look(reader, handle):
    """Owner, reason and the new value, without asking anybody."""
    reader.read()
    handle.halt("spread", scope=Scope.SYMBOL, target="AAPL")
    handle.set_limit("max_order_quantity", 77, reason="small day")
    found = reader.read()
    (halt,) = found.status.guard.halts
    assert (halt.target, halt.owner, halt.reason) == ("AAPL", "tester", "spread")
    (change,) = found.lists.limit_changes
    assert (change["name"], change["value"], change["reason"]) == ("max_order_quantity", "77", "small day")


def test_the_flag_alone_is_seen_though_the_journal_did_not_change(reader, started):
    """A halt in shared memory whose row could not be written still shows."""
    started.resume(reason="test", override=True)
    reader.read()
    started.flag.halt()
    assert reader.read().status.guard.mode is Mode.HALTED


def test_an_engine_that_falls_silent_is_said_to_be_dead_without_any_commit(reader, settings, monkeypatch):
    """Only time has passed: the next look says NOT RUNNING, and positions are what was last known."""
    beat(settings.journal_path)
    assert "NOT RUNNING" not in header(reader.read())
    later = datetime.now(UTC) + timedelta(seconds=6)
    assert "NOT RUNNING" in header(reader.read(), later)
    age(settings.journal_path, 30)
    assert reader.read().status.positions_unsure_since is not None


def test_what_cannot_be_read_is_said_with_the_last_known_figures_beside_it(reader, settings):
    """The trouble, what to do, since when; grey figures; and all is well again when the journal is."""
    before = reader.read()
    away = settings.journal_path.with_suffix(".away")
    settings.journal_path.rename(away)
    lost = reader.read()
    assert "no journal" in lost.trouble.what
    assert lost.status == before.status
    assert "CANNOT BE READ" in header(lost)
    assert "athena-old" in header(lost)
    assert reader.read().trouble.since == lost.trouble.since
    away.rename(settings.journal_path)
    assert reader.read().trouble is None


def test_a_room_opened_before_there_is_any_journal_shows_it_when_it_comes(tmp_path):
    """UNKNOWN first, then the system, with no restart of anything."""
    settings = settings_in(tmp_path / "later")
    reader = Reader(settings)
    assert ">UNKNOWN<" in header(reader.read())
    make_journal(settings)
    assert reader.read().status is not None
    reader.close()


def test_an_account_of_another_venue_is_only_looked_at(settings):
    """The header says whose account it is, that it cannot be acted upon, and why."""
    other = Reader(replace(settings, venue="paper", account="simulator"))
    found = other.read()
    assert found.venue == "simulator"
    assert "keys of paper" in found.readonly
    assert "READ ONLY" in header(found)
    other.close()


@pytest.mark.parametrize(("venue", "word"), [("simulator", "SIMULATOR"), ("paper", "PAPER"), ("live", "LIVE MONEY")])
def test_paper_and_live_are_told_apart_by_a_word_and_a_colour(reader, venue, word):
    """Neither depends on the other."""
    shown = header(replace(reader.read(), venue=venue))
    assert word in shown
    assert f"venue-{venue}" in shown


def test_everything_from_outside_is_escaped(reader, handle):
    """A reason, an owner or an account with markup stays text."""
    handle.halt("<img src=x onerror=alert(1)>")
    shown = header(replace(reader.read(), account="<b>"))
    assert "<img" not in shown
    assert "&lt;img" in shown
    assert "<b>&lt;b&gt;</b>" in shown


def test_an_alert_is_shown_with_its_verdict_and_the_way_to_its_page(reader, tmp_path):
    """Name, severity, age, what its playbook found; a drill is called one; its words stay text."""
    now = datetime.now(UTC)
    page = tmp_path / "drawdown.html"
    alert = Alert(
        "a1", "DrawdownHigh", "critical", AlertState.NOTIFIED, {}, {"summary": "<b>5 % down</b>"}, now, now, None,
        "drawdown_assessment", {}, "", "", True, "", "run", "STOP", "deep", "reduce", str(page), now, False,
    )  # fmt: skip
    shown = header(replace(reader.read(), alerts=(alert,)), now + timedelta(minutes=3))
    assert "DRILL ALERT DrawdownHigh" in shown
    assert "STOP: deep" in shown
    assert "3 min" in shown
    assert "&lt;b&gt;5 % down" in shown
    assert f'data-page="{page}"' in shown
    assert "1 firing" in shown
    doubtful = header(replace(reader.read(), alerts=(alert, replace(alert, heard_at=now))), now + timedelta(minutes=14))
    assert "2 UNKNOWN" in doubtful
    assert "UNKNOWN, not heard of for 14 min" in doubtful
    assert 'tone-stop"><b class="tag">DRILL ALERT' not in doubtful


def test_a_source_tells_its_listeners_and_leaves_no_thread_behind(settings):
    """Stopped, the thread is gone and the connection closed; stopping twice is harmless."""
    before = threading.active_count()
    source, heard = Source(Reader(settings), seconds=0.01), []
    source.subscribe(heard.append)
    source.start()
    wait_for(lambda: len(heard) > 3, "looks")
    source.stop()
    source.stop()
    assert threading.active_count() == before
    assert source.reader._journal is None


def test_a_job_asked_for_twice_runs_once_and_a_failure_is_told():
    """The second click gets the first one's job; an error ends as failed, with its words."""
    jobs, go, runs, told = Jobs(), threading.Event(), [], []

    def work(job):
        runs.append(job)
        go.wait(5)
        raise ValueError("boom")

    first = jobs.start("k", "t", work, told.append)
    assert jobs.start("k", "t", work, told.append) is first
    go.set()
    wait_for(lambda: first.state == "failed", "the job's end")
    assert len(runs) == 1
    assert "boom" in first.lines[-1]
    assert first.hint


def test_side_of_a_fill_is_read_back():
    """The fold's own types, so that a typo there fails here and not in a room."""
    from athena.widgets.reading import _fill

    taken = _fill({**fill(1, -3, "5"), "at": "2020-03-09T16:00:00Z"})
    assert (taken.side, taken.quantity) == (Side.SELL, D(3))
