"""The network in front of a venue: cut, slow, late, half-open."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator

import pytest
import requests
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from athena.errors import SimulatorError
from athena.simulator.proxy import FaultProxy
from tests.faults.conftest import Venue, alpaca
from tests.simulator.conftest import eventually
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.simulator import KEY, SECRET, RunningSimulator


@pytest.fixture
def proxy(simulator: RunningSimulator) -> Iterator[RunningProxy]:
    with running_proxy(simulator.port) as running:
        yield running


def test_it_forwards_rest_and_streams(proxy: RunningProxy) -> None:
    """alpaca-py and a WebSocket work through it as if it were not there."""
    assert alpaca(proxy.url).get_clock().is_open
    with connect(f"{proxy.ws}/v2/iex", proxy=None) as websocket:
        assert "connected" in str(websocket.recv(timeout=5))


def test_a_cut_resets_what_stands(proxy: RunningProxy) -> None:
    """Every connection breaks without a close frame; new ones are served, unless it stays down until it heals."""
    with connect(f"{proxy.ws}/v2/iex", proxy=None) as websocket:
        websocket.recv(timeout=5)
        assert proxy.do(proxy.proxy.cut) == 1
        with pytest.raises(ConnectionClosedError) as caught:
            websocket.recv(timeout=5)
        assert caught.value.rcvd is None
    assert Venue(proxy.url).get("/v2/clock").ok
    proxy.do(proxy.proxy.cut, stay_down=True)
    with pytest.raises(requests.ConnectionError):
        Venue(proxy.url).get("/v2/clock")
    proxy.do(proxy.proxy.heal)
    assert Venue(proxy.url).get("/v2/clock").ok


def test_half_open_is_silence_without_an_end(simulator: RunningSimulator, proxy: RunningProxy) -> None:
    """A standing stream hears nothing, not even a pong or the venue's close; a new connection is accepted and hangs."""
    with connect(f"{proxy.ws}/v2/iex", proxy=None, close_timeout=0.1) as websocket:
        websocket.recv(timeout=5)
        proxy.do(proxy.proxy.half_open)
        assert websocket.ping().wait(0.3) is False
        simulator.call(simulator.server.market_stream.drop)
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.2)
        accepted = proxy.proxy.accepted
        with pytest.raises(requests.ReadTimeout):
            Venue(proxy.url).get("/v2/clock", timeout=0.3)
        assert proxy.proxy.accepted == accepted + 1
        proxy.do(proxy.proxy.heal)
        assert Venue(proxy.url).get("/v2/clock").ok


def test_a_dead_client_keeps_its_slot_until_the_network_heals(simulator: RunningSimulator, proxy: RunningProxy) -> None:
    """The venue does not hear of a client's end either: its only trading connection stays taken, and then is free."""
    slots = simulator.server.trade_stream.connections
    with connect(f"{proxy.ws}/stream", proxy=None, close_timeout=0.1) as websocket:
        websocket.send(json.dumps({"action": "auth", "key": KEY, "secret": SECRET}))
        websocket.recv(timeout=5)
        proxy.do(proxy.proxy.half_open)
        websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        websocket.socket.shutdown(socket.SHUT_RDWR)
        websocket.socket.close()
    with pytest.raises(InvalidStatus) as caught, connect(f"{simulator.ws}/stream", proxy=None):
        pass
    assert caught.value.response.status_code == 429
    assert len(slots) == 1
    proxy.do(proxy.proxy.heal)
    eventually(lambda: not slots, "the slot is still taken")


def test_requests_pass_and_answers_do_not(simulator: RunningSimulator, proxy: RunningProxy) -> None:
    """Half-open to the client only: the venue takes the order and its answer never arrives."""
    proxy.do(proxy.proxy.half_open, "to_client")
    body = {"symbol": "KO", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": "x"}
    with pytest.raises(requests.ReadTimeout):
        Venue(proxy.url).post("/v2/orders", json=body, timeout=0.3)
    direct = Venue(simulator.url)
    assert direct.get("/v2/orders:by_client_order_id?client_order_id=x").json()["status"] == "filled"


def test_what_was_on_its_way_arrives_when_it_heals(proxy: RunningProxy) -> None:
    """As in a short partition: a connection that waited long enough gets its answer."""
    with connect(f"{proxy.ws}/v2/iex", proxy=None) as websocket:
        websocket.recv(timeout=5)
        proxy.do(proxy.proxy.half_open)
        pong = websocket.ping()
        assert pong.wait(0.2) is False
        proxy.do(proxy.proxy.heal)
        assert pong.wait(5) is True


def test_latency_and_throttle(proxy: RunningProxy) -> None:
    """A late network takes its time each way; a slow one no less than bytes over rate."""
    session = Venue(proxy.url)

    def seconds(path: str) -> tuple[float, int]:
        begun = time.monotonic()
        answer = session.get(path)
        return time.monotonic() - begun, len(answer.content)

    assert seconds("/v2/clock")[0] < 0.3
    proxy.proxy.latency_seconds = 0.2
    assert 0.4 <= seconds("/v2/clock")[0] < 1.5
    proxy.do(proxy.proxy.heal)
    proxy.do(proxy.proxy.throttle, 20_000)
    took, size = seconds("/v2/assets")
    assert size > 5_000
    assert took >= size / 20_000 * 0.8


def test_a_venue_that_is_down_looks_down(proxy: RunningProxy) -> None:
    """Where nothing listens behind the proxy, connections are reset; on a taken port it does not start."""
    proxy.proxy.upstream = 1
    with pytest.raises(requests.ConnectionError):
        Venue(proxy.url).get("/v2/clock")

    with pytest.raises(SimulatorError, match=f"Port {proxy.proxy.port}"):
        asyncio.run(FaultProxy(1, proxy.proxy.port).start())
