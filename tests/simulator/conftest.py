"""A running simulator for each test, and clients whose every answer Alpaca's own description judges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from athena.simulator.synthetic import SyntheticTape
from tests.simulator import spec
from tests.support.simulator import KEY, SECRET, SYMBOLS, RunningSimulator, running_simulator


def judge(response: requests.Response, *args: Any, **kwargs: Any) -> None:
    """A response hook: the answer fits Alpaca's description (where that is found), and errors are JSON."""
    body = response.json() if response.content else None
    if response.status_code >= 400:
        assert isinstance(body, dict), response.text
        assert isinstance(body["message"], str), response.text
    description = spec.load()
    if description is not None:
        description.check(response.request.method or "", urlsplit(response.url).path, response.status_code, body)


class Rest(requests.Session):
    """A plain client of one simulator; paths instead of URLs."""

    def __init__(self, origin: str, key: str = KEY, secret: str = SECRET) -> None:
        super().__init__()
        self.trust_env = False
        self._origin = origin
        self.headers.update({"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret})
        self.hooks["response"].append(judge)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(method, self._origin + url, *args, timeout=10, **kwargs)

    def order(self, **fields: Any) -> requests.Response:
        """A market day order for 10 KO, unless said otherwise."""
        body = {"symbol": "KO", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day", **fields}
        return self.post("/v2/orders", json={name: value for name, value in body.items() if value is not None})


def trading_client(simulator: RunningSimulator, **options: Any) -> TradingClient:
    """The unmodified alpaca-py client with only its URL overridden (and its session watched)."""
    return _watched(TradingClient(KEY, SECRET, url_override=simulator.url, **options))


def data_client(simulator: RunningSimulator) -> StockHistoricalDataClient:
    return _watched(StockHistoricalDataClient(KEY, SECRET, url_override=simulator.url))


def _watched(client: Any) -> Any:
    client._session.trust_env = False
    client._session.hooks["response"].append(judge)
    return client


@contextmanager
def running(stream: Any) -> Iterator[Any]:
    """An alpaca-py stream in its own thread, stopped at the end."""
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    eventually(lambda: stream._running, "the stream did not start")
    try:
        yield stream
    finally:
        stream.stop()
        thread.join(10)


def eventually(condition: Callable[[], Any], otherwise: str, seconds: float = 10.0) -> Any:
    """Waits for a true value and returns it; fails with `otherwise` at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)
    return value


@pytest.fixture(scope="session")
def tape() -> SyntheticTape:
    """One market for all tests, so that its days are made once. Tests that disturb it make their own."""
    return SyntheticTape(7, (*SYMBOLS, "ZZHTB"))


@pytest.fixture
def simulator(tape: SyntheticTape) -> Iterator[RunningSimulator]:
    """10:00 in New York on 9 March 2020, real time."""
    with running_simulator(tape=tape) as running:
        yield running


@pytest.fixture
def rest(simulator: RunningSimulator) -> Rest:
    return Rest(simulator.url)
