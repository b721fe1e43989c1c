"""The lanes to Alpaca: alpaca-py's REST clients, a thread and a connection for each kind of request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from athena.config import Settings
from athena.live.brokers.alpaca_imports import pandas_later
from athena.live.brokers.http import Headroom, Lane, harness

with pandas_later():
    from alpaca.common.rest import RESTClient
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient

C = TypeVar("C", bound=RESTClient)


class Lanes:
    """Orders and exits (one at a time), urgent (cancels, the kill switch), reads (two at a time), market data.

    Threads and connections open at the first call. `headroom` is the trading API's; the data API counts on its own.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.headroom, self.data_headroom = Headroom(), Headroom()
        self.orders = self._lane("orders", self._trading_client)
        self.exits = self._lane("exits", self._trading_client)
        self.urgent = self._lane("urgent", self._trading_client)
        self.reads = self._lane("reads", self._trading_client, 2)
        self.data = self._lane("data", self._data_client)

    def close(self) -> None:
        for lane in (self.orders, self.exits, self.urgent, self.reads, self.data):
            lane.close()

    def _lane(self, name: str, open_client: Callable[[], RESTClient], workers: int = 1) -> Lane[Any]:
        s = self._settings
        return Lane(name, open_client, s.connect_timeout_seconds + s.read_timeout_seconds + 1.0, workers)

    def _trading_client(self) -> TradingClient:
        s = self._settings
        paper = s.venue != "live"
        client = TradingClient(s.key_id, s.secret_key, paper=paper, raw_data=True, url_override=s.trading_url)
        return self._harness(client, self.headroom)

    def _data_client(self) -> StockHistoricalDataClient:
        s = self._settings
        client = StockHistoricalDataClient(s.key_id, s.secret_key, raw_data=True, url_override=s.data_url)
        return self._harness(client, self.data_headroom)

    def _harness(self, client: C, headroom: Headroom) -> C:
        s = self._settings
        timeout = (s.connect_timeout_seconds, s.read_timeout_seconds)
        return harness(client, headroom, timeout, trust_env=s.venue != "simulator" and not s.window_url)
