"""Streams that break: noticed within seconds, said aloud, mended, and the engine is told that there was a gap."""

import asyncio
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiohttp import web

from athena.errors import AuthenticationFailed, BrokerUnavailable
from athena.live.brokers.alpaca import AlpacaBroker
from athena.live.brokers.alpaca_sockets import DataSocket, TradingSocket
from athena.live.brokers.base import (
    OrderUpdated,
    QuoteReceived,
    StateChanged,
    StreamRestored,
    TradeReceived,
    Unreadable,
)
from athena.live.brokers.mailbox import Mailbox
from athena.live.brokers.streams import Supervisor
from athena.model import BrokerState, Order, OrderStatus, OrderType, Quote, Side, TimeInForce
from athena.simulator.server import ServerOptions, SimulatorServer
from tests.support.broker import Events, approve, connected, settings_for
from tests.support.faulty_venue import wire_to
from tests.support.simulator import running_simulator

AT = datetime(2020, 3, 9, 14, tzinfo=UTC)


def quote(symbol, number=1):
    return QuoteReceived(Quote(symbol, Decimal(number), Decimal(number + 1), Decimal(1), Decimal(1), AT))


def update(number):
    order = Order(
        f"c{number}", f"b{number}", "A", Side.BUY, OrderType.MARKET, TimeInForce.DAY, OrderStatus.NEW, Decimal(1)
    )
    return OrderUpdated(order, "new", None, AT)


def test_when_the_engine_lags_quotes_are_conflated_and_orders_are_not():
    """Of ten thousand quotes of two symbols the last of each arrives; of a thousand orders all, in order."""

    async def drive():
        events = Events()
        mailbox = Mailbox(asyncio.get_running_loop(), events)

        def flood():
            for number in range(5000):
                mailbox.put(quote("A", number + 1))
                mailbox.put(quote("B", number + 1))
                if number % 5 == 0:
                    mailbox.put(update(number))

        thread = threading.Thread(target=flood)
        thread.start()
        thread.join()  # the loop stands still meanwhile: an engine that lags
        await events.wait(OrderUpdated, lambda event: event.order.client_order_id == "c4995")
        return events, mailbox.conflated

    events, conflated = asyncio.run(drive())
    assert [event.order.client_order_id for event in events.of(OrderUpdated)] == [f"c{n}" for n in range(0, 5000, 5)]
    assert sorted((e.quote.symbol, e.quote.bid) for e in events.of(QuoteReceived)) == [("A", 5000), ("B", 5000)]
    assert conflated == 9998


def test_a_handler_that_fails_is_told_and_the_next_event_still_comes():
    """An exception in the listener becomes a StateChanged of state error; nothing after it is lost."""

    async def drive():
        events = Events()

        def listener(event):
            events(event)
            if isinstance(event, OrderUpdated) and event.order.client_order_id == "c1":
                raise ValueError("a defect")

        mailbox = Mailbox(asyncio.get_running_loop(), listener)
        for number in range(3):
            mailbox.put(update(number))
        await events.wait(OrderUpdated, lambda event: event.order.client_order_id == "c2")
        return events

    told = asyncio.run(drive()).of(StateChanged)
    assert [event.state for event in told] == [BrokerState.ERROR]
    assert "a defect" in told[0].reason


def test_a_wrong_key_is_told_to_the_caller_within_seconds():
    """connect() raises AuthenticationFailed, and leaves no thread behind that goes on trying."""
    with running_simulator() as simulator:
        broker = AlpacaBroker(settings_for(simulator.url, secret="wrong"))
        begun = time.monotonic()
        with pytest.raises(AuthenticationFailed):
            asyncio.run(broker.connect(Events()))
        assert time.monotonic() - begun < 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream-")]


def test_a_key_the_stream_alone_refuses_is_told_too():
    """A stream that says unauthorized tells whoever waits for it at once, and shows it as its state."""
    with running_simulator() as simulator:

        async def drive(make_socket):
            events, settings = Events(), settings_for(simulator.url, secret="wrong")
            stream = Supervisor("one", lambda ready: make_socket(settings, events, ready), events, 2.0)
            stream.start()
            with pytest.raises(AuthenticationFailed, match="stream"):
                await stream.wait_ready(2.0)
            assert stream.state is BrokerState.ERROR
            await stream.stop()
            assert events.of(StateChanged)[-1].state is BrokerState.DISCONNECTED

        begun = time.monotonic()
        asyncio.run(drive(TradingSocket))
        asyncio.run(drive(lambda s, emit, ready: DataSocket(s, lambda: frozenset(["AAPL"]), emit, ready)))
        assert time.monotonic() - begun < 3


class Deaf:
    """A connection whose reading and pinging each lose the first cancellation, as `wait_for` may before Python 3.12."""

    waiting = threading.Semaphore(0)

    def __init__(self, ready):
        self.heard, self.ready = time.monotonic(), ready

    async def open(self):
        self.ready()

    async def consume(self):
        await self.ping()

    async def ping(self):
        self.waiting.release()
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def drop(self):
        pass


def test_a_restart_that_a_connection_does_not_hear_is_told_to_it_again(monkeypatch):
    """The stream comes back though its tasks swallowed the first word: it hung for ever, and looked connected."""
    monkeypatch.setattr("athena.live.brokers.streams.PING_SECONDS", 0.01)

    async def drive():
        events = Events()
        stream = Supervisor("one", Deaf, events, 2.0)
        stream.start()
        await stream.wait_ready(5)
        for _ in ("reading", "pinging"):
            assert await asyncio.to_thread(Deaf.waiting.acquire, timeout=5)
        stream.restart()
        await stream.wait_ready(5)
        await stream.stop()
        assert events.of(StreamRestored) == [StreamRestored("one")]

    asyncio.run(drive())


def test_a_taken_slot_is_waited_for_with_its_reason_shown():
    """A second broker on the account is refused with 429, says so, backs off, and gets in when the first leaves."""
    with running_simulator() as simulator:

        async def drive():
            settings = settings_for(simulator.url)
            async with connected(settings):
                second = AlpacaBroker(settings)
                with pytest.raises(BrokerUnavailable, match="429"):
                    await second.connect(Events())

        asyncio.run(drive())


def test_streams_come_back_after_the_venue_restarts():
    """The venue goes and returns on its port: both streams return, say restored, and quotes and fills flow again."""
    with running_simulator() as simulator:

        async def drive():
            async with connected(settings_for(simulator.url), ["AAPL"]) as (broker, events):
                await events.wait(QuoteReceived)
                run = asyncio.run_coroutine_threadsafe
                gone = time.monotonic()
                await asyncio.wrap_future(run(simulator.server.stop(), simulator.loop))
                await events.wait(StateChanged, lambda e: (e.stream, e.state.number) == ("broker", 3), since=gone)
                noticed = time.monotonic() - gone
                assert broker.state is BrokerState.RECONNECTING
                assert broker.get_uptime() == 0
                again = SimulatorServer(
                    simulator.tape, simulator.clock, ServerOptions(port=simulator.port, requests_per_minute=100_000)
                )
                await asyncio.wrap_future(run(again.start(), simulator.loop))
                back = time.monotonic()
                try:
                    await events.wait(StreamRestored, lambda e: e.stream == "trading", since=gone)
                    await events.wait(StreamRestored, lambda e: e.stream == "data", since=gone)
                    restored = time.monotonic() - back
                    await events.wait(QuoteReceived, since=back)
                    await broker.submit(approve())
                    await events.wait(OrderUpdated, lambda e: e.fill is not None)
                    assert broker.state is BrokerState.CONNECTED
                finally:
                    await broker.close()
                    await asyncio.wrap_future(run(again.stop(), simulator.loop))
                return noticed, restored

        noticed, restored = asyncio.run(drive())
    assert noticed < 3
    assert restored < 8


def test_a_dead_wire_is_noticed_within_five_seconds():
    """When nothing arrives any more, not even pongs, and nothing closes, the broker says so within 5 s."""
    with running_simulator() as simulator, wire_to(simulator.port) as wire:

        async def drive():
            settings = settings_for(f"http://127.0.0.1:{wire.port}")
            async with connected(settings) as (broker, events):
                await asyncio.sleep(1.2)  # a ping or two
                wire.freeze()
                frozen = time.monotonic()
                told = await events.wait(StateChanged, lambda e: e.state is not BrokerState.CONNECTED, since=frozen)
                took = time.monotonic() - frozen
                assert broker.state is not BrokerState.CONNECTED
                return told, took

        told, took = asyncio.run(drive())
    assert "nothing heard" in told.reason
    assert took < 5


def test_reconnect_opens_new_connections_and_follows_the_symbols():
    """reconnect() is True when connected again; subscribing to other symbols takes effect, also after it."""
    with running_simulator() as simulator, wire_to(simulator.port) as wire:

        async def drive():
            async with connected(settings_for(f"http://127.0.0.1:{wire.port}"), ["AAPL"]) as (broker, events):
                before = wire.connections
                await broker.subscribe(["MSFT", "JPM"])
                changed = time.monotonic()
                await events.wait(QuoteReceived, lambda e: e.quote.symbol == "MSFT")
                assert await broker.reconnect()
                assert wire.connections >= before + 1
                await events.wait(StreamRestored, lambda e: e.stream == "data")
                again = time.monotonic()
                await events.wait(QuoteReceived, lambda e: e.quote.symbol == "JPM", since=again)
                await events.wait(TradeReceived, since=again)
                late = [e for e in events.of(QuoteReceived, since=changed + 0.5) if e.quote.symbol == "AAPL"]
                assert late == []
                await broker.subscribe([])
                assert broker.streams == {"trading": "connected", "data": "disconnected"}

        asyncio.run(drive())


class Switch:
    """Faults that answer every REST request with 503 while on; streams are left alone."""

    on = False

    async def request(self, request, handler):
        if self.on and request.path not in {"/stream", "/v2/iex"}:
            return web.Response(status=503, text="maintenance")
        return await handler(request)

    def messages(self, stream, message):
        return (message,)


def test_requests_that_fail_take_the_state_down_and_their_return_takes_it_up():
    """With the streams up and REST failing the broker is not connected; it finds out by itself when REST is back."""
    switch = Switch()
    with running_simulator(faults=switch) as simulator:

        async def drive():
            async with connected(settings_for(simulator.url)) as (broker, events):
                switch.on = True
                with pytest.raises(BrokerUnavailable):
                    await broker.get_positions()
                assert broker.state is BrokerState.RECONNECTING
                switch.on = False
                back = time.monotonic()
                await events.wait(StateChanged, lambda e: (e.stream, e.state.number) == ("broker", 2), since=back)
                assert broker.state is BrokerState.CONNECTED

        asyncio.run(drive())


class Garbled:
    """Faults that spoil the first fill on the way out."""

    def __init__(self):
        self.done = False

    async def request(self, request, handler):
        return await handler(request)

    def messages(self, stream, message):
        if stream == "trade_updates" and message["data"]["event"] == "fill" and not self.done:
            self.done = True
            message["data"]["qty"] = "many"
        return (message,)


def test_an_order_update_that_cannot_be_read_counts_as_a_gap():
    """An unreadable update is reported, and the engine is asked to reconcile as after a reconnect."""
    with running_simulator(faults=Garbled()) as simulator:

        async def drive():
            async with connected(settings_for(simulator.url)) as (broker, events):
                await broker.submit(approve())
                await events.wait(Unreadable, lambda e: "qty" in e.reason)
                await events.wait(StreamRestored, lambda e: e.stream == "trading")
                health = await broker.health_check()
                assert not health.healthy
                assert "unreadable" in repr(health)
                assert len(await broker.get_fills(None)) == 1

        asyncio.run(drive())
