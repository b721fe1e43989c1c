"""Faults of both streams, as bare WebSocket clients and alpaca-py's own streams meet them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgpack
import pytest
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from athena.simulator.synthetic import SyntheticTape
from tests.faults.conftest import Venue
from tests.simulator.conftest import eventually, running
from tests.simulator.test_server_streams import AUTH, MSGPACK, market, trading
from tests.support.simulator import KEY, SECRET, RunningSimulator, running_simulator


@pytest.fixture
def still(tape: SyntheticTape) -> Iterator[RunningSimulator]:
    """10:00 in New York, and venue time stands still until a test moves it."""
    with running_simulator(tape=tape, manual=True) as simulator:
        yield simulator


def events(receive: Any, number: int) -> list[str]:
    return [receive()["event"] for _ in range(number)]


def test_trade_updates_get_lost_or_come_twice(simulator: RunningSimulator, venue: Venue) -> None:
    """A dropped `new` never comes, a duplicated `fill` comes twice with one execution id."""
    venue.lay("message_drop", stream="trading", event="new")
    venue.lay("message_duplicate", stream="trading", event="fill", count=1)
    with trading(simulator) as receive:
        venue.order()
        first, second = receive(), receive()
        venue.order()
        third = receive()
    assert [first["event"], second["event"], third["event"]] == ["fill"] * 3
    assert first == second
    assert third["execution_id"] != first["execution_id"]


def test_trade_updates_change_places(simulator: RunningSimulator, venue: Venue) -> None:
    """A reordered `new` arrives after the fill that followed it."""
    venue.lay("message_reorder", event="new", stream="trading", count=1)
    with trading(simulator) as receive:
        venue.order()
        assert events(receive, 2) == ["fill", "new"]


def test_a_delayed_update_holds_up_those_behind_it(simulator: RunningSimulator, venue: Venue) -> None:
    """A delayed `new` arrives as late as said, and its fill after it."""
    venue.lay("message_delay", event="new", stream="trading", seconds=0.5, count=1)
    with trading(simulator) as receive:
        begun = time.monotonic()
        venue.order()
        assert events(receive, 2) == ["new", "fill"]
        assert time.monotonic() - begun >= 0.5


def test_words_no_client_knows(simulator: RunningSimulator, venue: Venue) -> None:
    """An unknown order status, or an unknown event, in an update that is otherwise true."""
    venue.lay("message_unknown", event="new", stream="trading", count=1)
    venue.lay("message_unknown", event="fill", stream="trading", word="event", count=1)
    with trading(simulator) as receive:
        venue.order()
        first, second = receive(), receive()
    assert (first["event"], first["order"]["status"]) == ("new", "held_for_compliance")
    assert (second["event"], second["order"]["status"]) == ("order_frozen", "filled")
    assert second["execution_id"]


def test_a_malformed_update_is_half_a_frame(simulator: RunningSimulator, venue: Venue) -> None:
    """A frame cut in half is no JSON: alpaca-py logs it, loses what it said, and reads on."""
    seen: list[Any] = []

    async def take(update: Any) -> None:
        seen.append(update["data"]["event"])

    venue.lay("message_malformed", stream="trading", event="new", count=1)
    stream = TradingStream(KEY, SECRET, url_override=f"{simulator.ws}/stream", raw_data=True)
    stream.subscribe_trade_updates(take)
    with running(stream):
        eventually(lambda: [c for c in simulator.server.trade_stream.connections.values() if c.streams], "no listener")
        venue.order()
        eventually(lambda: seen, "nothing was heard")
    assert seen == ["fill"]


def test_data_messages_are_harmed_alone(still: RunningSimulator) -> None:
    """Of two symbols, one's quotes get lost and one's become a type unknown; control messages are left alone."""
    venue = Venue(still.url)
    venue.lay("message_drop", stream="data", symbol="KO")
    venue.lay("message_unknown", stream="data", symbol="XOM", event="q", count=1)
    with market(still) as client:
        client.ask({"action": "subscribe", "quotes": ["KO", "XOM"]})
        still.set_time(still.clock.now() + timedelta(seconds=20))
        messages = [message for frame in [client.receive()] for message in frame]
        assert {message["S"] for message in messages} == {"XOM"}
        assert [message["T"] for message in messages].count("zz") == 1
        assert {message["T"] for message in messages} == {"zz", "q"}


def test_a_malformed_data_frame(still: RunningSimulator) -> None:
    """The frame is cut in half: msgpack cannot read it; the next one is whole."""
    Venue(still.url).lay("message_malformed", stream="data", count=1)
    with market(still) as client:
        client.ask({"action": "subscribe", "quotes": ["KO"]})
        still.set_time(still.clock.now() + timedelta(seconds=20))
        broken = client.socket.recv(timeout=5)
        with pytest.raises(ValueError, match="incomplete"):
            msgpack.unpackb(broken)
        assert client.receive()


@pytest.mark.parametrize("stream", ["trading", "data"])
def test_a_drop_resets_the_named_stream_only(simulator: RunningSimulator, venue: Venue, stream: str) -> None:
    """The connection breaks without a close frame, and the other stream's stands."""
    with trading(simulator) as receive, market(simulator) as client:
        client.ask({"action": "subscribe", "statuses": ["*"]})
        venue.lay("stream_drop", stream=stream)
        with pytest.raises(ConnectionClosedError) as caught:
            receive() if stream == "trading" else client.receive()
        assert caught.value.rcvd is None
        if stream == "trading":
            assert client.ask({"action": "subscribe", "statuses": ["KO"]})
        else:
            venue.order()
            assert receive()["event"] == "new"
    assert venue.log()[0]["done"] == "1 connections reset"


@pytest.mark.parametrize("pings", [True, False])
def test_a_mute_stream_stays_open(simulator: RunningSimulator, venue: Venue, pings: bool) -> None:
    """Nothing comes while it lasts, and what would have come is lost; pings are answered or not, as said."""
    with connect(f"{simulator.ws}/stream", proxy=None) as websocket:
        data = {"key_id": KEY, "secret_key": SECRET}
        websocket.send(json.dumps({"action": "authenticate", "data": data}))
        websocket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert [json.loads(websocket.recv(timeout=5))["stream"] for _ in range(2)] == ["authorization", "listening"]
        fault = venue.lay("stream_mute", stream="trading", pings=pings)
        venue.order()
        assert websocket.ping().wait(0.3) is pings
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.2)
        venue.lift(fault)
        assert websocket.ping().wait(5)
        venue.order(client_order_id="after")
        assert json.loads(websocket.recv(timeout=5))["data"]["order"]["client_order_id"] == "after"


def test_a_mute_data_stream_does_not_even_welcome(simulator: RunningSimulator, venue: Venue) -> None:
    """The handshake succeeds and then nothing is said."""
    venue.lay("stream_mute", stream="data")
    with connect(f"{simulator.ws}/v2/iex", proxy=None, additional_headers=MSGPACK) as websocket:
        websocket.send(msgpack.packb(AUTH))
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.3)


def test_refusals_at_the_door(simulator: RunningSimulator, venue: Venue) -> None:
    """Trading refuses the handshake with 429, data answers authentication with 406; standing connections stand."""
    with trading(simulator) as receive:
        venue.lay("stream_refuse")
        with pytest.raises(InvalidStatus) as caught, connect(f"{simulator.ws}/stream", proxy=None):
            pass
        assert caught.value.response.status_code == 429
        with market(simulator, login=False) as client:
            assert client.ask(AUTH) == [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
        venue.order()
        assert receive()["event"] == "new"
    venue.lift()
    with market(simulator):
        pass


def test_a_restart_loses_every_stream_and_refuses_for_a_while(simulator: RunningSimulator, venue: Venue) -> None:
    """Both streams break, handshakes get 503 for the time said, REST goes on; then both are served again."""
    with trading(simulator) as receive, market(simulator) as client:
        venue.lay("stream_restart", lasts_seconds=0.5)
        for end in (receive, client.receive):
            with pytest.raises(ConnectionClosedError):
                end()
    for path in ("/stream", "/v2/iex"):
        with pytest.raises(InvalidStatus) as caught, connect(f"{simulator.ws}{path}", proxy=None):
            pass
        assert caught.value.response.status_code == 503
    assert venue.order().status_code == 200
    eventually(lambda: venue.fault("1")["state"] == "done", "it never ended")
    with trading(simulator), market(simulator):
        pass


def test_stale_trading_holds_updates_back(simulator: RunningSimulator, venue: Venue) -> None:
    """Updates wait while data flows and REST tells the truth; when it ends they all come, in order."""
    with trading(simulator) as receive, market(simulator) as client:
        fault = venue.lay("trading_stale")
        order = venue.order().json()
        assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "filled"
        assert client.ask({"action": "subscribe", "statuses": ["KO"]})
        with pytest.raises(TimeoutError):
            receive(0.3)
        venue.lift(fault)
        assert events(receive, 2) == ["new", "fill"]


def test_stale_data_stands_still_while_trading_works(still: RunningSimulator) -> None:
    """Stream and REST tell the quote of the fault's begin, whatever the market does; orders fill at today's prices."""
    venue = Venue(still.url)

    def latest() -> str:
        return str(venue.get("/v2/stocks/KO/quotes/latest").json()["quote"]["t"])

    with market(still) as client:
        client.ask({"action": "subscribe", "quotes": ["KO"]})
        fault = venue.lay("data_stale")
        before = latest()
        still.set_time(still.clock.now() + timedelta(minutes=5))
        assert latest() == before
        with pytest.raises(TimeoutError):
            client.receive(0.2)
        order = venue.order().json()
        filled = venue.get(f"/v2/orders/{order['id']}").json()
        assert filled["filled_avg_price"] == str(still.tape.quote("KO", still.clock.now()).ask.normalize())
        venue.lift(fault)
        still.call(still.server.tick)
        assert client.receive()[0]["T"] == "q"
        assert latest() > before


def test_a_schedule_by_venue_time(tape: SyntheticTape) -> None:
    """A fault `at` a venue time begins when the venue's clock gets there, whatever the machine's says."""
    with running_simulator(tape=tape, manual=True) as simulator:
        venue = Venue(simulator.url)
        begins = simulator.clock.now() + timedelta(hours=1)
        fault = venue.lay("stream_refuse", stream="trading", at=begins.isoformat(), lasts_seconds=60)
        assert venue.fault(fault)["state"] == "waiting"
        simulator.set_time(begins)
        assert venue.fault(fault)["state"] == "active"
        simulator.set_time(begins + timedelta(seconds=61))
        assert venue.fault(fault)["state"] == "done"
