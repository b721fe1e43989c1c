"""The exchange in process as a broker: the same words as over the wire, and the same outcome each time."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from athena.errors import OrderRejected
from athena.live.brokers.base import OrderUpdated, QuoteReceived
from athena.live.brokers.paper import PaperBroker
from athena.model import BrokerState, OrderType
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.synthetic import SyntheticTape
from tests.support.broker import Events, approve
from tests.support.simulator import SESSION_MORNING


@pytest.fixture
def clock():
    return ManualClock(SESSION_MORNING)


@pytest.fixture
def paper(clock):
    broker = PaperBroker(Exchange(SyntheticTape(7, ("AAPL", "MSFT")), clock), cash=Decimal(50_000))
    yield broker
    asyncio.run(broker.close())


def test_an_in_process_day_needs_no_socket(paper, clock):
    """Submit, fill, position, account, cancel, suspend, deposit: all by calls, in Athena's facts."""

    async def scenario():
        events = Events()
        await paper.connect(events)
        await paper.subscribe(["AAPL"])
        assert paper.state is BrokerState.CONNECTED
        assert paper.pump() == 2
        assert paper.pump() == 0
        approved = approve(quantity=5)
        order = await paper.submit(approved)
        assert await paper.submit(approved) == await paper.get_order(approved.client_order_id)
        (fill,) = await paper.get_fills(None)
        assert [e.fill for e in events.of(OrderUpdated) if e.fill] == [fill]
        assert fill.broker_order_id == order.broker_order_id
        assert [(p.symbol, p.quantity) for p in await paper.get_positions()] == [("AAPL", 5)]
        account = await paper.get_account()
        assert account.cash == 50_000 - 5 * fill.price
        rests = await paper.submit(approve(type=OrderType.LIMIT, limit_price=Decimal(20)))
        assert [o.broker_order_id for o in await paper.get_orders()] == [rests.broker_order_id]
        assert (await paper.cancel(rests.broker_order_id)).accepted
        assert (await paper.cancel(order.broker_order_id)).status == 422
        assert await paper.cancel_all() == ()
        assert await paper.get_order("nobody") is None
        assert await paper.suspend_trading(True)
        with pytest.raises(OrderRejected, match="user request"):
            await paper.submit(approve())
        paper.account.deposit(Decimal(7))
        assert [flow.amount for flow in await paper.get_cash_flows(None)] == [7]
        clock.set(clock.now() + timedelta(minutes=5))
        assert paper.pump() >= 1
        assert (await paper.get_clock()).at == clock.now()
        assert set(await paper.get_quotes(["AAPL", "NOSUCH"])) == {"AAPL"}
        assert await paper.get_asset("NOSUCH") is None
        assert (await paper.get_asset("MSFT")).tradable
        bars = await paper.get_bars(
            ["AAPL"], clock.now() - timedelta(minutes=4), clock.now() + timedelta(hours=1), timedelta(minutes=1)
        )
        assert max(bar.at for bar in bars["AAPL"]) <= clock.now()
        assert (await paper.health_check()).problems == ("trading is suspended by the user",)

    asyncio.run(scenario())


def test_the_same_drive_gives_the_same_events():
    """Two drives of one seed tell the same quotes and fill at the same prices."""

    async def drive():
        clock, events = ManualClock(SESSION_MORNING), Events()
        broker = PaperBroker(Exchange(SyntheticTape(7, ("AAPL", "MSFT")), clock))
        await broker.connect(events)
        await broker.subscribe(["AAPL", "MSFT"])
        for minute in range(20):
            clock.set(SESSION_MORNING + timedelta(minutes=minute))
            broker.pump()
            if minute % 5 == 0:
                await broker.submit(approve(key=f"drive-{minute}", quantity=100))
        await broker.close()
        told = [(e.fill.price, e.fill.quantity, e.fill.at) for e in events.of(OrderUpdated) if e.fill]
        return [e.quote for e in events.of(QuoteReceived)], told

    first, second = asyncio.run(drive()), asyncio.run(drive())
    assert first == second
    assert len(first[0]) >= 30
    assert len(first[1]) >= 4


def test_there_is_no_instance_until_one_is_made():
    """PaperBroker.get_instance is None in a process that made none."""
    assert PaperBroker.get_instance() is None
