"""What the engine does, as transcripts of sessions on the in-process exchange: real matching, journal and guard."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from athena.core.curve import rebuild_curve
from athena.errors import OrderRejected
from athena.journal.journal import Journal
from athena.live import command_desk
from athena.live.backfill import run_days
from athena.live.brokers.base import OrderUpdated
from athena.live.brokers.paper import PaperBroker
from athena.live.events import CommandRequested
from athena.live.startup import fail_stale_commands
from athena.model import BrokerState, Order, OrderStatus, OrderType, Side, TimeInForce
from athena.simulator import sessions
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.orders import OrderRequest
from athena.simulator.synthetic import SyntheticTape
from tests.engine.session import START, SYMBOLS, Flaky, Trading


@pytest.fixture
def trading(tmp_path):
    made = Trading(tmp_path)
    yield made
    made.close()


def test_a_morning_of_orders_fills_a_halt_an_exit_and_a_resume(trading):
    """The whole life: halted at the start, trades after the resume, halted again, exits pass, agrees with the venue."""
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    assert trading.orders() == [("scripted", "AAPL", "refused")]
    assert trading.broker.sent == 0
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None), "MSFT": (-5, None)}
    trading.go(10)
    assert {row[2] for row in trading.orders()[1:]} == {"filled"}
    assert trading.engine.held() == {"AAPL": Decimal(10), "MSFT": Decimal(-5)}
    assert [fill.symbol for fill in trading.strategy.fills] == ["AAPL", "MSFT"]
    trading.guard.halt("test")
    trading.strategy.wants = {"AAPL": (10, None)}
    sent = trading.broker.sent
    trading.go(10)
    assert trading.broker.sent == sent
    trading.exit("AAPL", 10)
    assert trading.orders()[-1] == ("operator", "AAPL", "filled")
    assert trading.engine.deciders.holdings.lot("scripted", "AAPL").quantity == 0
    assert trading.look().ok
    account = trading.exchange.accounts()[0].summary()
    assert trading.engine.portfolio.cash == account.cash
    assert trading.journal.verify().ok


def test_a_halt_cancels_what_strategies_have_open_but_not_an_operators_exit(trading):
    """Open strategy orders are cancelled by a halt; what an operator is closing goes on."""
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    trading.strategy.wants = {"MSFT": (10, trading.resting("MSFT"))}
    trading.go(10)
    assert trading.orders()[-1] == ("scripted", "MSFT", "new")
    trading.guard.halt("test")
    trading.go(10)
    assert trading.orders()[-1] == ("scripted", "MSFT", "canceled")


def test_a_strategys_order_that_nobody_takes_is_cancelled_after_its_patience(trading):
    """No order of a strategy waits longer than it said."""
    trading.resume().go(5)
    trading.strategy.wants = {"MSFT": (10, trading.resting("MSFT"))}
    trading.go(100)
    assert trading.orders() == [("scripted", "MSFT", "new")]
    trading.go(60)
    assert trading.orders() == [("scripted", "MSFT", "canceled")]


def test_a_strategy_that_crashes_halts_everything_once_and_exits_still_pass(trading):
    """A crash is a halt with the exception as its reason, not a storm of them; after a resume it is asked again."""
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    trading.strategy.error = ZeroDivisionError("spread is zero")
    trading.go(30)
    assert trading.halts() == [("global", "", "guard")]
    assert "scripted failed: ZeroDivisionError: spread is zero" in trading.guard.halts()[0].reason
    trading.exit("AAPL", 10)
    assert trading.engine.held() == {}
    trading.strategy.error = None
    trading.resume().go(10)
    count = len(trading.strategy.contexts)
    trading.go(10)
    assert len(trading.strategy.contexts) > count


def test_a_handler_that_fails_halts_and_the_engine_goes_on(trading):
    """An event that cannot be handled halts trading; the next ones are served."""
    trading.resume()
    trading.engine.market.on_quote = None  # a defect
    trading.go(10)
    assert trading.halts() == [("global", "", "guard")]
    trading.engine.process(CommandRequested("c1", "ping", {}, "test"))
    trading.go(5)
    assert [command.name for command in trading.commands] == ["ping"]


def test_a_lost_answer_leaves_the_order_unknown_until_it_is_looked_up_and_is_never_resent(trading):
    """Sent once, adopted by its client id, its fill taken in."""
    trading.resume()
    trading.broker.lose_answers = True
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(20)
    assert trading.broker.sent == 1
    assert trading.orders() == [("scripted", "AAPL", "filled")]
    statuses = [event.payload["status"] for event in trading.journal.events(kinds=["order.updated"])]
    assert "unknown" in statuses
    assert trading.look().ok


def test_a_refused_connection_is_proof_that_nothing_was_sent(trading):
    """NOT_SENT is final: the strategy decides anew, with another id."""
    trading.resume()
    trading.broker.refuse_connection = True
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    trading.broker.refuse_connection = False
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    assert [row[2] for row in trading.orders()] == ["not_sent", "filled"]


@pytest.mark.parametrize("way", ["answer", "stream"])
def test_a_refusal_pauses_its_strategy_longer_each_time_whichever_way_it_is_told(trading, way):
    """Asked at each quote for 40 seconds it orders six times; the request answered with 200 is not at work yet."""
    trading.resume().go(5)
    sent, waiting = [], []

    async def submit(approved):
        sent.append(intent := approved.intent)
        if way == "answer":
            raise OrderRejected("insufficient buying power")
        facts = intent.symbol, intent.side, intent.type, intent.time_in_force, OrderStatus.ACCEPTED, intent.quantity
        waiting.append(Order(intent.client_order_id, f"b{len(sent)}", *facts, updated_at=trading.clock.now()))
        return waiting[-1]

    taken, trading.broker.submit = trading.broker.submit, submit
    looks = trading.engine.reconciler.count
    for shares in range(10, 50):
        trading.strategy.wants = {"AAPL": (shares, None)}
        trading.go(1, step=1)
        for order in waiting:
            rejected = replace(order, status=OrderStatus.REJECTED)
            trading.engine.process(OrderUpdated(rejected, "rejected", None, trading.clock.now()))
        waiting.clear()
    assert len(sent) == 6  # at 0, 1, 3, 7, 15 and 31 seconds
    assert trading.engine.reconciler.count - looks == 3, "the venue is looked at after one, at most every ten seconds"
    trading.broker.submit = taken
    trading.go(30)
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(5)
    assert trading.orders()[-1][2] == "filled"
    assert not trading.engine.deciders.paused("scripted", "AAPL", 0.0), "what works begins the pauses anew"


def test_a_difference_that_persists_halts_its_symbol_and_only_that_is_lifted_when_it_is_gone(trading):
    """Seen once it is watched, seen twice its symbol halts, gone it is lifted; an operator's halt stays."""
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    trading.guard.halt("an operator's own")
    trading.broker.phantom_shares = Decimal(3)
    assert trading.look().breaks[0].kind == "quantity"
    assert ("symbol", "AAPL", "reconciliation") not in trading.halts()
    outcome = trading.look()
    assert outcome.breaks[0].action == "AAPL is halted"
    assert ("symbol", "AAPL", "reconciliation") in trading.halts()
    trading.broker.phantom_shares = Decimal(0)
    assert trading.look().ok
    assert trading.halts() == [("global", "", "operator")]


def test_a_failed_query_is_no_empty_answer(trading):
    """Positions that cannot be read do not look flat: nothing is concluded, nothing halts, it is asked again."""
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    trading.broker.reads_fail = True
    for _ in range(3):
        outcome = trading.look()
        assert [item.kind for item in outcome.breaks] == ["query"]
    assert trading.halts() == []


def test_a_fill_the_stream_lost_is_found_by_its_activity(trading):
    """Reconciliation takes the missing fill in as an event; the books agree afterwards."""
    trading.resume()
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(5)
    trading.broker._listener = lambda event: None  # the stream is mute from here on
    trading.exit("AAPL", 10)
    assert trading.engine.held() == {"AAPL": Decimal(10)}
    trading.look()
    assert trading.engine.held() == {}
    assert trading.journal.one("SELECT source FROM fills ORDER BY sequence DESC")["source"] == "reconciliation"
    assert trading.look().ok


def test_connectivity_halts_by_itself_and_only_a_clean_look_after_reconnecting_lifts_it(tmp_path):
    """The venue away too long halts; back and reconciled lifts that row, and the operator's stays."""
    from tests.engine.processes import wait_for

    trading = Trading(tmp_path, limits={"max_disconnect_seconds": "1"})
    try:
        trading.resume().go(5)
        trading.broker.state = BrokerState.RECONNECTING
        trading.go(5)
        wait_for(lambda: ("global", "", "connectivity") in trading.halts(), "the guardian's halt", 10)
        trading.guard.halt("mine too")
        assert trading.look().ok
        assert ("global", "", "connectivity") in trading.halts()  # the books agree, but the venue is still away
        trading.broker.state = BrokerState.CONNECTED
        trading.go(15)
        assert trading.halts() == [("global", "", "operator")]
    finally:
        trading.close()


def test_a_restart_uses_no_decision_number_twice_and_fails_old_commands(tmp_path):
    """After a restart on the same day the next decision has a fresh id; commands of before are not begun."""
    first = Trading(tmp_path)
    first.resume()
    first.strategy.wants = {"AAPL": (10, None)}
    first.go(10)
    asked = {"id": "c1", "name": "flatten", "arguments": {}, "expires_at": datetime.now(UTC) + timedelta(minutes=1)}
    first.journal.append("command.requested", asked)
    first.close()
    second = Trading(tmp_path, first)
    try:
        assert second.engine.deciders.holdings.lot("scripted", "AAPL").quantity == 10
        fail_stale_commands(second.journal)
        assert second.journal.one("SELECT status FROM commands")["status"] == "failed"
        second.strategy.wants = {"AAPL": (-10, None)}
        second.resume().go(10)
        assert [row[2] for row in second.orders()] == ["filled", "filled"]
        assert second.look().ok
    finally:
        second.close()


def test_the_first_day_on_an_account_with_positions_counts_its_loss_from_the_venues_prices(tmp_path):
    """What they cost long ago is neither a loss nor a gain of this day, before the first quote and after a restart."""
    clock = ManualClock(START)
    exchange = Exchange(SyntheticTape(3, SYMBOLS), clock)
    account = PaperBroker(exchange, "SIMULATOR", "simulator-secret").account
    for symbol, side, shares in (("AAPL", Side.BUY, 500), ("MSFT", Side.SELL, 200)):
        account.submit(OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, quantity=Decimal(shares)))
    for seconds in (5, 1200):
        clock.advance(seconds=seconds)
        exchange.advance()
    equity = account.summary().equity
    at_cost = account.summary().cash + sum(one.quantity * one.average_entry_price for one in account.positions())
    assert abs(at_cost - equity) > 50, "prices have moved, or this shows nothing"
    first = Trading(tmp_path, before=SimpleNamespace(clock=clock, exchange=exchange))
    assert Decimal(first.journal.one("SELECT opening_equity FROM trading_days")[0]) == equity
    assert first.engine.portfolio.equity == first.guard.gate.book.equity == equity
    assert first.guard.gate.book.daily_loss == first.guard.gate.book.drawdown_percent == 0
    first.engine.duties.write_equity(first.clock.now())
    first.close()
    second = Trading(tmp_path, before=first)
    try:
        assert second.guard.gate.book.daily_loss == second.guard.gate.book.drawdown_percent == 0
        assert not any(point.differs for point in rebuild_curve(second.journal))
        second.go(30)
        assert second.guard.gate.book.daily_loss == equity - second.guard.gate.book.equity
        assert second.guard.gate.book.daily_loss
    finally:
        second.close()


def test_safe_mode_asks_no_strategy_and_lets_exits_pass(tmp_path):
    """Everything but new orders."""
    trading = Trading(tmp_path, safe_mode=True)
    try:
        trading.resume()
        trading.strategy.wants = {"AAPL": (10, None)}
        trading.go(20)
        assert trading.orders() == []
        assert trading.look().ok
    finally:
        trading.close()


def test_an_expired_command_is_failed_and_not_begun(trading):
    """What nobody waits for any more is not done."""
    expires = datetime.now(UTC) - timedelta(seconds=1)
    asked = {"id": "old", "name": "flatten", "arguments": {}, "expires_at": expires}
    trading.journal.append("command.requested", asked)
    trading.engine.process(CommandRequested("old", "flatten", {}, "test", expired=True))
    trading.go(5)
    assert trading.commands == []
    assert "expired" in trading.journal.one("SELECT result FROM commands")["result"]


def rest(trading, symbol, name):
    """An order from outside, as from the account's owner's phone."""
    limit = trading.resting(symbol)
    trading.broker.account.submit(
        OrderRequest(symbol, Side.BUY, OrderType.LIMIT, TimeInForce.DAY, Decimal(1), None, limit, client_order_id=name)
    )


def test_orders_of_one_symbol_are_cancelled_and_no_others(trading):
    """The book's orders and an outsider's in that symbol end, other symbols' rest on; none there is said."""
    trading.go(10).resume()
    trading.strategy.wants = {symbol: (10, trading.resting(symbol)) for symbol in SYMBOLS}
    trading.go(10)
    for symbol in SYMBOLS:
        rest(trading, symbol, f"phone-{symbol}")
    ok, told = trading.ask("cancel_all", symbol="aapl")
    assert (ok, told["message"]) == (True, "2 order(s) in AAPL cancelled")
    assert "phone-AAPL" in told["cancelled"]
    assert [order.symbol for order in trading.broker.account.orders("open")] == ["MSFT", "MSFT"]
    ours = [row[1:] for row in trading.orders() if row[0] == "scripted"]
    assert sorted(ours) == [("AAPL", "canceled"), ("MSFT", "new")]
    nothing = "no order is open in AAPL; orders are open in MSFT"
    assert trading.ask("cancel_all", symbol="AAPL") == (True, {"message": nothing, "cancelled": []})
    ok, told = trading.ask("cancel_all", symbol="APPL")
    assert (ok, told["message"][:50]) == (False, "the venue knows no APPL; nothing was cancelled; or")
    assert len(trading.broker.account.orders("open")) == 2
    assert trading.ask("cancel_all")[0]
    assert trading.broker.account.orders("open") == ()


def test_what_the_book_does_not_follow_is_cancelled_too_or_told_as_open(trading, monkeypatch):
    """The venue's own list decides: an order only there is cancelled by its id, and none counts while it is listed."""
    monkeypatch.setattr(command_desk, "CANCELLED_SECONDS", 0.3)
    trading.go(10).resume()
    rest(trading, "AAPL", "phone")
    trading.engine.conclude("phone", OrderStatus.NOT_SENT, "as an orphan has it")
    trading.broker.ignores_cancels = True
    ok, told = trading.ask("cancel_all", symbol="AAPL")
    assert (ok, told["still_open"], told["cancelled"]) == (False, ["phone"], [])
    trading.broker.ignores_cancels = False
    ok, told = trading.ask("cancel_all", symbol="AAPL")
    assert (ok, told["still_open"], told["cancelled"]) == (True, [], ["phone"])
    assert trading.broker.account.orders("open") == ()


def test_earlier_days_are_traded_by_the_same_engine_and_agree_with_the_venue(tmp_path):
    """Two sessions: orders of both examples, equity to the close, books equal at every close, halted afterwards."""
    from athena.config import Settings
    from athena.simulator.clock import ManualClock
    from athena.simulator.exchange import Exchange
    from athena.simulator.synthetic import SyntheticTape

    settings = Settings(home=tmp_path, symbols=("AAPL", "MSFT"))
    days = [sessions.session_on(date(2020, 3, day)) for day in (5, 6)]
    clock = ManualClock(days[0].open - timedelta(minutes=5))
    exchange = Exchange(SyntheticTape(7, settings.symbols), clock, keys={"SIMULATOR": "simulator-secret"})
    broker = Flaky(exchange, "SIMULATOR", "simulator-secret")
    made = run_days(settings, broker, clock, [(day.open, day.close) for day in days])
    assert made.days == 2
    assert made.agreed
    assert made.fills > 10
    with Journal.open(settings.journal_path, "test", read_only=True) as journal:
        rows = journal.query("SELECT trading_date, max(venue_at) AS last FROM equity GROUP BY 1")
        assert [row["last"][:16] for row in rows] == ["2020-03-05T21:00", "2020-03-06T21:00"]
        assert {row["strategy"] for row in journal.query("SELECT DISTINCT strategy FROM fills")} == {
            "mean_reversion",
            "momentum",
        }
        assert journal.one("SELECT mode FROM guard")["mode"] == "halted"
        assert journal.verify().ok
