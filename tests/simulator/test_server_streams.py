"""Both WebSockets: what alpaca-py's streams receive from them, and their protocol message by message."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest
from alpaca.data.enums import DataFeed
from alpaca.data.live import StockDataStream
from alpaca.data.models import TradingStatus
from alpaca.trading.enums import TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from athena.simulator.synthetic import SyntheticTape
from tests.simulator.conftest import Rest, eventually, running
from tests.support.simulator import KEY, SECRET, RunningSimulator, running_simulator

MSGPACK = {"Content-Type": "application/msgpack"}
AUTH = {"action": "auth", "key": KEY, "secret": SECRET}
CONNECTED, AUTHENTICATED = [{"T": "success", "msg": "connected"}], [{"T": "success", "msg": "authenticated"}]


class Market:
    """A bare client of the market-data stream, in msgpack."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, message: Any) -> None:
        self.socket.send(msgpack.packb(message))

    def receive(self, seconds: float = 5) -> Any:
        frame = self.socket.recv(timeout=seconds)
        assert isinstance(frame, bytes)
        return msgpack.unpackb(frame, timestamp=3)

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.receive()


@contextmanager
def market(simulator: RunningSimulator, feed: str = "iex", *, login: bool = True, **options: Any) -> Iterator[Market]:
    """A connection to the market-data stream, authenticated unless said otherwise."""
    options.setdefault("additional_headers", MSGPACK)
    with connect(f"{simulator.ws}/v2/{feed}", proxy=None, **options) as websocket:
        client = Market(websocket)
        assert client.receive() == CONNECTED
        if login:
            assert client.ask(AUTH) == AUTHENTICATED
        yield client


@contextmanager
def trading(simulator: RunningSimulator, key: str = KEY, secret: str = SECRET, **options: Any) -> Iterator[Any]:
    """A connection to the trading stream that listens to trade_updates; yields a function for the next message."""
    with connect(f"{simulator.ws}/stream", proxy=None, **options) as websocket:
        data = {"key_id": key, "secret_key": secret}
        websocket.send(json.dumps({"action": "authenticate", "data": data}))
        authorization = json.loads(websocket.recv(timeout=5))["data"]
        assert authorization == {"status": "authorized", "action": "authenticate"}
        websocket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert json.loads(websocket.recv(timeout=5)) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}

        def receive(seconds: float = 5) -> Any:
            frame = websocket.recv(timeout=seconds)
            assert isinstance(frame, bytes)  # Alpaca's paper stream sends binary frames
            return json.loads(frame)["data"]

        yield receive


@pytest.fixture
def manual(tape: SyntheticTape) -> Iterator[RunningSimulator]:
    """10:00 in New York, and time stands still until a test moves it."""
    with running_simulator(tape=tape, manual=True) as simulator:
        yield simulator


# alpaca-py's own streams


def test_trading_stream_of_alpaca_py(simulator: RunningSimulator) -> None:
    """TradingStream receives `new` and then `fill` of a market order, with price, quantity and position."""
    updates: list[TradeUpdate] = []

    async def take(update: TradeUpdate) -> None:
        updates.append(update)

    stream = TradingStream(KEY, SECRET, url_override=f"{simulator.ws}/stream")
    stream.subscribe_trade_updates(take)
    rest = Rest(simulator.url)
    with running(stream):
        eventually(lambda: simulator.server.trade_stream.connections, "the stream did not authenticate")
        eventually(lambda: next(iter(simulator.server.trade_stream.connections.values())).streams, "not listening")
        order = rest.order(qty="3").json()
        eventually(lambda: len(updates) >= 2, f"too few updates: {updates}")
    assert [update.event for update in updates] == [TradeEvent.NEW, TradeEvent.FILL]
    fill = updates[1]
    assert (str(fill.order.id), fill.qty, fill.position_qty) == (order["id"], 3, 3)
    assert fill.price is not None
    assert fill.execution_id is not None
    [activity] = rest.get("/v2/account/activities/FILL").json()
    assert activity["id"].endswith(str(fill.execution_id))


def test_data_stream_of_alpaca_py(tape: SyntheticTape) -> None:
    """StockDataStream receives quotes, trades and minute bars over compressed frames."""
    seen: dict[str, Any] = {}

    async def take(message: Any) -> None:
        seen.setdefault(type(message).__name__, message)

    with running_simulator(tape=tape, speed=60) as simulator:
        stream = StockDataStream(KEY, SECRET, feed=DataFeed.IEX, url_override=f"{simulator.ws}/v2/iex")
        stream.subscribe_quotes(take, "KO", "XOM")
        stream.subscribe_trades(take, "KO")
        stream.subscribe_bars(take, "KO")
        with running(stream):
            eventually(lambda: set(seen) == {"Quote", "Trade", "Bar"}, f"only {set(seen)} arrived")
            extensions = stream._ws.response_headers.get("Sec-WebSocket-Extensions", "")
    assert "permessage-deflate" in extensions
    assert seen["Quote"].bid_price < seen["Quote"].ask_price
    assert seen["Quote"].timestamp.tzinfo is not None
    assert seen["Bar"].timestamp.second == 0
    assert seen["Bar"].vwap > 0


def test_both_streams_of_alpaca_py_recover_from_a_restart_of_the_venue(tape: SyntheticTape) -> None:
    """A stream whose venue goes away and comes back on the same port reconnects and receives again."""
    quotes: list[Any] = []

    async def take(message: Any) -> None:
        quotes.append(message)

    with running_simulator(tape=tape) as first:
        port = first.port
        stream = StockDataStream(KEY, SECRET, url_override=f"{first.ws}/v2/iex")
        stream._reconnect_min_backoff = 0.1
        stream.subscribe_quotes(take, "KO")
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        eventually(lambda: quotes, "no quote from the first venue")
    quotes.clear()
    with running_simulator(tape=tape, port=port):
        eventually(lambda: quotes, "no quote from the second venue")
        stream.stop()
        thread.join(10)


# The market-data stream, message by message


def test_subscriptions_are_echoed_whole(simulator: RunningSimulator) -> None:
    """Each subscribe and unsubscribe is answered by every channel as it now stands."""
    with market(simulator) as client:
        [first] = client.ask({"action": "subscribe", "quotes": ["KO", "XOM"], "bars": ["*"]})
        assert first == {
            "T": "subscription",
            "quotes": ["KO", "XOM"],
            "bars": ["*"],
            **{name: [] for name in ("trades", "updatedBars", "dailyBars", "statuses", "lulds", "corrections")},
            "cancelErrors": [],
        }
        client.send({"action": "unsubscribe", "quotes": ["KO"]})
        second = next(message for frame in iter(client.receive, None) for message in frame if message["T"] != "q")
        assert (second["quotes"], second["bars"]) == (["XOM"], ["*"])


def test_a_fragmented_subscribe_is_one_message(simulator: RunningSimulator) -> None:
    """A message that arrives in single-byte fragments is understood (alpaca-py fragments its own)."""
    with market(simulator) as client:
        packed = msgpack.packb({"action": "subscribe", "trades": ["KO"]})
        client.socket.send(bytes([byte]) for byte in packed)
        assert client.receive()[0]["trades"] == ["KO"]


def test_real_time_tells_every_quote(manual: RunningSimulator) -> None:
    """In real time each quote and print of the tape arrives once, in order, with exact times."""
    start = manual.clock.now()
    with market(manual) as client:
        client.ask({"action": "subscribe", "quotes": ["KO"], "trades": ["KO"]})
        for second in range(1, 31):
            manual.set_time(start + timedelta(seconds=second))
        end = start + timedelta(seconds=30)
        quotes = [quote.at for quote in manual.tape.quotes("KO", start, end)]
        trades = [trade.at for trade in manual.tape.trades("KO", start, end)]
        received: dict[str, list[datetime]] = {"q": [], "t": []}
        while sum(map(len, received.values())) < len(quotes) + len(trades):
            for message in client.receive():
                received[message["T"]].append(message["t"])
    assert len(quotes) >= 25
    assert received == {"q": quotes, "t": trades}


def test_accelerated_time_tells_the_latest_only(tape: SyntheticTape) -> None:
    """Accelerated, a tick sends one quote for each symbol at most, whatever happened in between."""
    with running_simulator(tape=tape, speed=390) as simulator, market(simulator) as client:
        client.ask({"action": "subscribe", "quotes": ["KO", "XOM"]})
        frames = [client.receive() for _ in range(10)]
    assert all(len(frame) == len({message["S"] for message in frame}) for frame in frames)
    times = [message["t"] for frame in frames for message in frame if message["S"] == "KO"]
    assert times == sorted(set(times))
    assert times[-1] - times[0] > timedelta(seconds=60)


def test_the_quote_an_order_meets_is_told_before_its_fill(manual: RunningSimulator) -> None:
    """An order that arrives between two ticks fills at the quote that the stream then tells as the latest."""
    with market(manual) as client:
        client.ask({"action": "subscribe", "quotes": ["KO"]})
        later = manual.clock.now() + timedelta(seconds=40)
        manual.call(manual.clock.set, later)  # type: ignore[attr-defined]
        Rest(manual.url).order(qty="1")
        quote = client.receive()[-1]
        [fill] = Rest(manual.url).get("/v2/account/activities/FILL").json()
    assert quote["t"] <= later
    assert float(fill["price"]) == quote["ap"]


def test_bars_when_a_minute_is_over(manual: RunningSimulator) -> None:
    """A minute's bar arrives when the minute is over, once, equal to the historical one; the day's bar with it."""
    start = manual.clock.now()
    with market(manual) as client:
        client.ask({"action": "subscribe", "bars": ["KO"], "dailyBars": ["KO"]})
        manual.set_time(start + timedelta(seconds=59))
        manual.set_time(start + timedelta(seconds=61))
        bar, day = client.receive()
        manual.set_time(start + timedelta(seconds=119))
        with pytest.raises(TimeoutError):
            client.receive(0.3)
    [past] = Rest(manual.url).get("/v2/stocks/KO/bars?timeframe=1Min&start=2020-03-09T14:00:00Z").json()["bars"]
    assert (bar["T"], bar["t"]) == ("b", start)
    assert {name: bar[name] for name in past if name != "t"} == {name: past[name] for name in past if name != "t"}
    assert (day["T"], day["t"]) == ("d", datetime(2020, 3, 9, 4, tzinfo=UTC))


def test_halts_and_resumptions_are_statuses() -> None:
    """A symbol halted by a shock is told as H, and as T when it trades again."""
    with running_simulator(tape=SyntheticTape(7, ("KO",)), manual=True) as simulator, market(simulator) as client:
        client.ask({"action": "subscribe", "statuses": ["*"]})
        Rest(simulator.url).post("/simulator/shocks", json={"symbol": "KO", "seconds": 60, "halted": True})
        told = []
        for _ in range(2):
            simulator.set_time(simulator.clock.now() + timedelta(seconds=30))
        told += client.receive()
        told += client.receive()
    assert [(message["T"], message["S"], message["sc"]) for message in told] == [("s", "KO", "H"), ("s", "KO", "T")]
    assert TradingStatus("KO", told[0]).status_code == "H"  # alpaca-py reads it


def test_json_clients_are_served_text(simulator: RunningSimulator) -> None:
    """Without msgpack's content type the same messages arrive as JSON text, times written out."""
    with connect(f"{simulator.ws}/v2/sip", proxy=None) as websocket:
        assert json.loads(websocket.recv(timeout=5)) == CONNECTED
        websocket.send(json.dumps(AUTH))
        assert json.loads(websocket.recv(timeout=5)) == AUTHENTICATED
        websocket.send(json.dumps({"action": "subscribe", "quotes": ["KO"]}))
        websocket.recv(timeout=5)
        [quote] = json.loads(websocket.recv(timeout=5))
    assert (quote["S"], quote["t"][:10]) == ("KO", "2020-03-09")


def _error(client: Market, message: Any) -> int:
    [answer] = client.ask(message)
    assert answer["T"] == "error"
    return int(answer["code"])


def test_error_codes(simulator: RunningSimulator) -> None:
    """Each wrong message has Alpaca's code, and those that do not concern authentication leave the connection open."""
    with market(simulator) as client:
        assert _error(client, AUTH) == 403
        assert _error(client, {"action": "dance"}) == 400
        assert _error(client, ["subscribe"]) == 400
        assert _error(client, {"action": "subscribe", "quotes": "KO"}) == 400
        assert _error(client, {"action": "subscribe", "moods": ["KO"]}) == 400
        assert _error(client, {"action": "subscribe", "orderbooks": ["KO"]}) == 410
        assert _error(client, {"action": "subscribe", "quotes": [f"S{n}" for n in range(31)]}) == 405
        client.socket.send(b"\xc1")
        assert client.receive()[0]["code"] == 400
        assert client.ask({"action": "subscribe", "trades": ["KO"]})[0]["T"] == "subscription"
    with market(simulator, "sip") as client:
        many = [f"S{n}" for n in range(31)]
        assert len(client.ask({"action": "subscribe", "quotes": many})[0]["quotes"]) == 31


@pytest.mark.parametrize(
    ("feed", "message", "code"),
    [
        ("iex", {"action": "auth", "key": KEY, "secret": "wrong"}, 402),
        ("iex", {"action": "auth"}, 402),
        ("iex", {"action": "subscribe", "quotes": ["KO"]}, 401),
        ("boats", AUTH, 409),
    ],
)
def test_refused_connections(simulator: RunningSimulator, feed: str, message: Any, code: int) -> None:
    """A wrong key, none, or a feed without a subscription: the code, then the end."""
    with market(simulator, feed, login=False) as client:
        assert _error(client, message) == code
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_one_connection_per_key(simulator: RunningSimulator) -> None:
    """A second connection of a key is told 406; when the first is gone, its slot is free."""
    with market(simulator) as first:
        with market(simulator, login=False) as second:
            assert _error(second, AUTH) == 406
        assert first.ask({"action": "subscribe", "trades": ["KO"]})[0]["T"] == "subscription"
    eventually(lambda: not simulator.server.market_stream.connections, "the slot was not freed")
    with market(simulator) as third:
        assert third.ask({"action": "subscribe", "trades": ["KO"]})[0]["T"] == "subscription"


def test_auth_timeout(tape: SyntheticTape) -> None:
    """A client that does not authenticate in time is told 404 and let go; the trading stream just lets go."""
    with running_simulator(tape=tape, auth_seconds=0.2) as simulator:
        with market(simulator, login=False) as client:
            assert client.receive()[0]["code"] == 404
        with connect(f"{simulator.ws}/stream", proxy=None) as websocket, pytest.raises(ConnectionClosed):
            websocket.recv(timeout=5)


def test_a_burst_beyond_the_bound_is_a_slow_client(tape: SyntheticTape) -> None:
    """A client with more frames waiting than allowed is told 407 and cut off, and another goes on undisturbed."""
    keys = {KEY: SECRET, "B": "b"}
    with (
        running_simulator(tape=tape, manual=True, frames_waiting_max=8, keys=keys) as simulator,
        market(simulator, login=False) as other,
        market(simulator) as slow,
    ):
        other.ask({"action": "auth", "key": "B", "secret": "b"})
        other.ask({"action": "subscribe", "quotes": ["XOM"]})
        slow.ask({"action": "subscribe", "quotes": ["KO"]})

        def burst() -> None:
            for number in range(9):
                simulator.server.market_stream.publish([("quotes", {"T": "q", "S": "KO", "n": number})])

        simulator.call(burst)
        assert slow.receive()[0]["code"] == 407
        with pytest.raises(ConnectionClosed):
            slow.receive()
        simulator.set_time(simulator.clock.now() + timedelta(seconds=3))
        assert other.receive()[0]["S"] == "XOM"


def test_a_client_that_reads_nothing_is_cut_off(tape: SyntheticTape) -> None:
    """A client whose buffers are full is dropped: memory stays bounded and the venue goes on."""
    with running_simulator(tape=tape, manual=True, frames_waiting_max=64) as simulator:
        with socket.create_connection(("127.0.0.1", simulator.port)) as dead:
            dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with market(simulator, sock=dead, compression=None, max_queue=1) as client:
                client.ask({"action": "subscribe", "quotes": ["KO"]})
                message = {"T": "q", "S": "KO", "pad": "x" * 100_000}

                def gone() -> bool:
                    simulator.call(simulator.server.market_stream.publish, [("quotes", message)])
                    return not simulator.server.market_stream.connections

                eventually(gone, "the client that reads nothing kept its connection")
        assert Rest(simulator.url).get("/v2/clock").status_code == 200


# The trading stream, message by message


def test_trade_updates_of_an_order_s_life(simulator: RunningSimulator) -> None:
    """new, canceled, replaced and fill arrive in order, each with the whole order; only fills carry an execution."""
    rest = Rest(simulator.url)
    with trading(simulator) as receive:
        resting = rest.order(type="limit", limit_price="20").json()
        replaced = rest.patch(f"/v2/orders/{resting['id']}", json={"limit_price": "21"}).json()
        rest.delete(f"/v2/orders/{replaced['id']}")
        bought = rest.order(qty="2").json()
        told = [receive() for _ in range(6)]
    assert [(update["event"], update["order"]["id"]) for update in told] == [
        ("new", resting["id"]),
        ("replaced", resting["id"]),
        ("new", replaced["id"]),
        ("canceled", replaced["id"]),
        ("new", bought["id"]),
        ("fill", bought["id"]),
    ]
    assert all(set(update["order"]) >= set(resting) - {"expires_at"} for update in told)
    assert [("execution_id" in update) for update in told] == [False] * 5 + [True]
    assert (told[-1]["qty"], told[-1]["position_qty"]) == ("2", "2")


def test_listen_replaces_the_streams(simulator: RunningSimulator) -> None:
    """An empty listen ends trade_updates; unknown streams are not listed."""
    with connect(f"{simulator.ws}/stream", proxy=None) as websocket:
        websocket.send(json.dumps({"action": "auth", "key": KEY, "secret": SECRET}))
        assert json.loads(websocket.recv(timeout=5))["data"]["status"] == "authorized"
        for asked, listed in ((["trade_updates", "gossip"], ["trade_updates"]), ([], [])):
            websocket.send(json.dumps({"action": "listen", "data": {"streams": asked}}).encode())
            assert json.loads(websocket.recv(timeout=5))["data"] == {"streams": listed}
        Rest(simulator.url).order()
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.3)


@pytest.mark.parametrize(
    "message", ["{", "[]", '{"action": "authenticate", "data": {"key_id": "x", "secret_key": "y"}}']
)
def test_unauthorized(simulator: RunningSimulator, message: str) -> None:
    """Nonsense and wrong keys are answered as unauthorized, and the right key may still follow."""
    with connect(f"{simulator.ws}/stream", proxy=None) as websocket:
        websocket.send(message)
        answer = json.loads(websocket.recv(timeout=5))
        assert (answer["stream"], answer["data"]["status"]) == ("authorization", "unauthorized")
        websocket.send(json.dumps({"action": "auth", "key": KEY, "secret": SECRET}))
        assert json.loads(websocket.recv(timeout=5))["data"]["status"] == "authorized"


def test_a_second_trading_connection_is_refused_at_the_handshake(simulator: RunningSimulator) -> None:
    """While an account is connected, another handshake gets HTTP 429; afterwards the slot is free."""
    with trading(simulator):
        with pytest.raises(InvalidStatus) as caught, trading(simulator):
            pass
        assert caught.value.response.status_code == 429
    eventually(lambda: not simulator.server.trade_stream.connections, "the slot was not freed")
    with trading(simulator):
        assert list(simulator.server.trade_stream.connections) == [KEY]


def test_with_several_accounts_only_the_connected_one_is_refused(tape: SyntheticTape) -> None:
    """A key given at the handshake is refused there; one given later ends the connection; another account gets in."""
    with running_simulator(tape=tape, keys={"A": "a", "B": "b"}) as simulator, trading(simulator, "A", "a"):
        headers = {"APCA-API-KEY-ID": "A", "APCA-API-SECRET-KEY": "a"}
        with pytest.raises(InvalidStatus), trading(simulator, "A", "a", additional_headers=headers):
            pass
        with pytest.raises(ConnectionClosed), trading(simulator, "A", "a"):
            pass
        with trading(simulator, "B", "b") as receive:
            Rest(simulator.url, "A", "a").order()
            Rest(simulator.url, "B", "b").order(client_order_id="b-order")
            assert receive()["order"]["client_order_id"] == "b-order"


class Doubled:
    """A fault for the test of the seam: every stream message twice, every clock a 504."""

    async def request(self, request: Any, handler: Any) -> Any:
        response = await handler(request)
        if request.path == "/v2/clock":
            response.set_status(504)
        return response

    def messages(self, stream: str, message: Any) -> Iterable[Any]:
        return (message, message) if stream == "trade_updates" else (message,)


def test_the_seam_for_faults(tape: SyntheticTape) -> None:
    """An object given as `faults` stands between the venue and its clients, on REST and on streams."""
    with running_simulator(tape=tape, faults=Doubled()) as simulator, trading(simulator) as receive:
        rest = Rest(simulator.url)
        rest.hooks["response"].clear()
        assert rest.get("/v2/clock").status_code == 504
        rest.order()
        assert [receive()["event"] for _ in range(4)] == ["new", "new", "fill", "fill"]
