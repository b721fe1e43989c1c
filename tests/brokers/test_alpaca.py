"""AlpacaBroker against the real simulator, over real sockets, with the unmodified alpaca-py: every verb and noun."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.errors import OrderRejected
from athena.live.brokers import BROKER_REGISTRY, make_broker
from athena.live.brokers.alpaca import AlpacaBroker
from athena.live.brokers.base import OrderUpdated, QuoteReceived, TradeReceived
from athena.model import BrokerState, OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.orders import OrderRequest
from tests.support.broker import Events, approve, connected, settings_for
from tests.support.simulator import SESSION_MORNING, running_simulator

FAR = Decimal("20.00")  # a limit far below any market: such an order rests


@pytest.fixture(scope="module")
def simulator():
    with running_simulator() as one:
        yield one


def drive(simulator, scenario, symbols=(), **options):
    """Run `scenario(broker, events)` on a connected broker with the account's orders cancelled before."""

    async def run():
        async with connected(settings_for(simulator.url, **options), symbols) as (broker, events):
            await broker.cancel_all()
            return await scenario(broker, events)

    return asyncio.run(run())


def resting(**more):
    return approve(type=OrderType.LIMIT, limit_price=FAR, **more)


def test_an_order_goes_out_and_its_life_comes_back(simulator):
    """Submit answers with the order; its fill arrives on the stream and is the same fill as among the activities."""

    async def scenario(broker, events):
        approved = approve(quantity=3)
        order = await broker.submit(approved)
        assert order.client_order_id == approved.client_order_id
        update = await events.wait(OrderUpdated, lambda e: e.fill is not None)
        assert update.order.status is OrderStatus.FILLED
        assert update.position_quantity is not None
        fills = await broker.get_fills(None)
        assert [fill for fill in fills if fill.client_order_id == approved.client_order_id] == [update.fill]
        found = await broker.get_order(approved.client_order_id)
        assert found.filled_quantity == 3
        assert found.average_fill_price == update.fill.price
        assert [p.quantity for p in await broker.get_positions() if p.symbol == "AAPL"] == [update.position_quantity]

    drive(simulator, scenario)


def test_orders_are_listed_cancelled_and_told_when_they_cannot_be(simulator):
    """Cancel one, cancel it again when it is final, cancel an unknown one, cancel all; each answer says what it was."""

    async def scenario(broker, events):
        first, second, third = [await broker.submit(resting(symbol=s)) for s in ("AAPL", "MSFT", "MSFT")]
        assert {o.broker_order_id for o in await broker.get_orders()} == {
            o.broker_order_id for o in (first, second, third)
        }
        assert [o.symbol for o in await broker.get_orders(symbols=["AAPL"])] == ["AAPL"]
        assert (await broker.cancel(first.broker_order_id)).accepted
        await events.wait(OrderUpdated, lambda e: e.event == "canceled")
        unknown = await broker.cancel("00000000-0000-0000-0000-000000000001")
        assert (unknown.accepted, unknown.status) == (False, 404)
        results = await broker.cancel_all()
        assert len(results) == 2
        assert all(result.accepted for result in results)
        assert await broker.get_orders() == ()
        filled = await broker.submit(approve(quantity=1))
        await events.wait(
            OrderUpdated, lambda e: e.event == "fill" and e.order.broker_order_id == filled.broker_order_id
        )
        late = await broker.cancel(filled.broker_order_id)
        assert (late.accepted, late.status) == (False, 422)

    drive(simulator, scenario)


def test_a_position_can_be_closed_by_the_venues_own_call(simulator):
    """close_position says which order closes it, and raises the refusal when there is nothing to close."""

    async def scenario(broker, events):
        await broker.submit(approve(symbol="KO", quantity=2))
        await events.wait(OrderUpdated, lambda e: e.fill is not None and e.order.symbol == "KO")
        assert "order" in await broker.close_position("KO")
        await events.wait(OrderUpdated, lambda e: e.fill is not None and e.fill.side is Side.SELL)
        assert "KO" not in {position.symbol for position in await broker.get_positions()}
        with pytest.raises(OrderRejected, match="position does not exist"):
            await broker.close_position("KO")

    drive(simulator, scenario)


def test_a_venues_refusal_has_its_code_and_reason(simulator):
    """An order the account cannot pay for is OrderRejected 403, an unknown symbol 422."""

    async def scenario(broker, _):
        with pytest.raises(OrderRejected, match="buying power") as poor:
            await broker.submit(approve(quantity=10_000_000))
        assert (poor.value.status, poor.value.code) == (403, 40310000)
        with pytest.raises(OrderRejected) as unknown:
            await broker.submit(approve(symbol="NOSUCH"))
        assert unknown.value.status == 422

    drive(simulator, scenario)


def test_the_account_the_clock_and_the_market_can_be_read(simulator):
    """Account, clock, quotes, assets and bars come as Athena's facts."""

    async def scenario(broker, _):
        account, clock = await broker.get_account(), await broker.get_clock()
        assert account.available_balance > 0
        assert account.venue == "simulator"
        assert clock.is_open
        assert clock.speed == 1
        quotes = await broker.get_quotes(["AAPL", "MSFT"])
        assert set(quotes) == {"AAPL", "MSFT"}
        assert quotes["AAPL"].bid < quotes["AAPL"].ask
        assert await broker.get_quotes([]) == {}
        assert (await broker.get_asset("AAPL")).tradable
        assert await broker.get_asset("NOSUCH") is None
        days = await broker.get_bars(
            ["AAPL", "JPM"], datetime(2020, 3, 2, tzinfo=UTC), datetime(2020, 3, 7, tzinfo=UTC)
        )
        assert {symbol: len(bars) for symbol, bars in days.items()} == {"AAPL": 5, "JPM": 5}
        minutes = await broker.get_bars(["AAPL"], clock.at - timedelta(minutes=10), clock.at, timedelta(minutes=1))
        assert len(minutes["AAPL"]) in {9, 10}

    drive(simulator, scenario, read_timeout_seconds=10.0)  # days are made when they are asked for


def test_quotes_and_trades_stream(simulator):
    """Subscribed symbols, and only they, arrive as quotes and trades."""

    async def scenario(broker, events):
        await events.wait(QuoteReceived, lambda e: e.quote.symbol == "AAPL")
        await events.wait(TradeReceived)
        assert {e.quote.symbol for e in events.of(QuoteReceived)} <= {"AAPL", "JPM"}
        assert broker.streams == {"trading": "connected", "data": "connected"}

    drive(simulator, scenario, ["AAPL", "JPM"])


def test_trading_can_be_suspended_at_the_venue_itself(simulator):
    """suspend_trading is read back, new orders are then refused, cancels still pass, and it can be undone."""

    async def scenario(broker, _):
        order = await broker.submit(resting())
        assert await broker.suspend_trading(True) is True
        with pytest.raises(OrderRejected, match="user request"):
            await broker.submit(approve())
        assert (await broker.cancel(order.broker_order_id)).accepted
        health = await broker.health_check()
        assert "trading is suspended by the user" in health.problems
        assert await broker.suspend_trading(False) is False

    drive(simulator, scenario)


def test_health_says_how_fast_and_how_much_is_left(simulator):
    """A healthy broker's check has latency, headroom and account; its reprs show them."""

    async def scenario(broker, _):
        health = await broker.health_check()
        assert health.healthy, health
        assert health.latency_seconds < 1
        assert health.rate_limit_remaining < health.rate_limit
        assert health.clock_skew_seconds is None  # the simulator lives in 2020
        assert "healthy" in repr(health)
        assert "<table>" in health._repr_html_()
        assert broker.get_uptime() > 0
        assert broker.heartbeat()["state"] == "connected"
        assert "connected" in repr(broker)

    drive(simulator, scenario, ["AAPL"])


def test_in_the_engines_process_the_instance_is_the_live_broker(simulator):
    """get_instance gives the connected broker, and after close a handle."""

    async def scenario(broker, _):
        return AlpacaBroker.get_instance() is broker, AlpacaBroker.get_instance(broker.settings) is broker

    assert drive(simulator, scenario) == (True, True)
    assert AlpacaBroker._live is None
    assert BROKER_REGISTRY["alpaca"] is AlpacaBroker
    assert make_broker(settings_for(simulator.url)).state is BrokerState.DISCONNECTED


def test_lists_go_on_past_one_page():
    """More than 500 orders, several at one instant, and more than 100 fills all come back, once each, oldest first."""
    with running_simulator(manual=True) as simulator:
        exchange = simulator.server.exchange
        account = exchange.account(simulator.key, simulator.secret)

        def trade_a_lot(batch):
            kind, limit = (OrderType.LIMIT, FAR) if batch % 4 else (OrderType.MARKET, None)
            for _ in range(40):
                account.submit(OrderRequest("AAPL", Side.BUY, kind, TimeInForce.DAY, Decimal(1), limit_price=limit))

        for batch in range(14):
            simulator.set_time(SESSION_MORNING + timedelta(seconds=batch))
            simulator.call(trade_a_lot, batch)
        simulator.call(account.deposit, Decimal(500))

        async def run():
            async with connected(settings_for(simulator.url)) as (broker, _):
                before = broker.headroom.remaining
                fills = await broker.get_fills(None)
                assert before - broker.headroom.remaining < 10  # and not one request for each order
                return await broker.get_orders("all"), fills, await broker.get_cash_flows(None)

        orders, fills, flows = asyncio.run(run())
    assert [order.submitted_at for order in orders] == sorted(order.submitted_at for order in orders)
    assert len({order.broker_order_id for order in orders}) == len(orders) == 560
    assert len({fill.execution_id for fill in fills}) == len(fills) == 160
    assert all(fill.client_order_id for fill in fills)
    assert [(flow.kind, flow.amount) for flow in flows] == [("CSD", Decimal(500))]


def test_fills_of_many_partial_executions_keep_apart():
    """A large order that fills in pieces gives as many fills by stream as by activity, the same ones."""
    with running_simulator(speed=60) as simulator:

        async def run():
            async with connected(settings_for(simulator.url)) as (broker, events):
                approved = approve(quantity=4000)
                await broker.submit(approved)
                await events.wait(OrderUpdated, lambda e: e.order.status is OrderStatus.FILLED, seconds=20)
                heard = [e.fill for e in events.of(OrderUpdated) if e.fill]
                return heard, await broker.get_fills(None)

        heard, read = asyncio.run(run())
    assert sum(fill.quantity for fill in heard) == 4000
    assert len(heard) > 1
    assert set(heard) == set(read)


def test_connecting_twice_is_refused(simulator):
    """A second connect on the same broker says so instead of opening a second stream."""

    async def scenario(broker, _):
        with pytest.raises(Exception, match="already"):
            await broker.connect(Events())

    drive(simulator, scenario)
