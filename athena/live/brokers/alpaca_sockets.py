"""alpaca-py's two stream clients, made to read one connection and hand every frame on as an event.

They override `_dispatch` and use `_start_ws` and `_consume`: private names, held by the pinned version and by tests
against a real server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.legacy.exceptions import InvalidStatusCode

from athena.config import Settings
from athena.errors import AuthenticationFailed
from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.alpaca_fields import Malformed, cut
from athena.live.brokers.alpaca_imports import pandas_later
from athena.live.brokers.base import BrokerEvent, QuoteReceived, StreamRestored, TradeReceived, Unreadable
from athena.live.brokers.streams import Refused

with pandas_later():
    from alpaca.data.live.stock import StockDataStream
    from alpaca.trading.stream import TradingStream

Emit = Callable[[BrokerEvent], None]

# Our own watch pings; the library's keepalive would be a second one with other ideas.
PARAMETERS = {"ping_interval": None, "close_timeout": 1.0, "max_queue": 1024}
KEY_HINT = "Check APCA_API_KEY_ID and APCA_API_SECRET_KEY: are they this venue's?"
SLOT_HINT = "another connection may hold this account's only slot"


class _Watched:
    """What both sockets share: when anything was last heard, a ping, and an end that does not wait for a dead peer."""

    _ws: Any
    heard: float

    async def ping(self) -> None:
        if self._ws is not None:
            pong = await self._ws.ping()
            pong.add_done_callback(self._pong)

    def _pong(self, pong: asyncio.Future[Any]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self.heard = time.monotonic()

    async def drop(self) -> None:
        ws = self._ws
        if ws is None:
            return
        with suppress(Exception):
            await asyncio.wait_for(ws.close(), 2.0)
        if ws.transport is not None:
            ws.transport.abort()


class TradingSocket(_Watched, TradingStream):
    """One connection to `trade_updates`."""

    def __init__(self, settings: Settings, emit: Emit, ready: Callable[[], None]) -> None:
        TradingStream.__init__(
            self,
            settings.key_id,
            settings.secret_key,
            paper=settings.venue != "live",
            raw_data=True,
            url_override=settings.trading_stream_url,
            websocket_params=dict(PARAMETERS),
        )
        self._emit = emit
        self._ready = ready
        self.heard = time.monotonic()
        self.subscribe_trade_updates(_unused)

    async def open(self) -> None:
        with _explained():
            await self._start_ws()  # type: ignore[no-untyped-call]
        self.heard = time.monotonic()

    async def consume(self) -> None:
        await self._consume()  # type: ignore[no-untyped-call]

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self.heard = time.monotonic()
        kind, data = msg.get("stream"), msg.get("data")
        if kind == "trade_updates":
            self._take_update(data)
        elif kind == "listening" and "trade_updates" in (data or {}).get("streams", ()):
            self._ready()
        elif kind == "listening":
            raise Refused(f"the venue does not stream trade_updates to this account: {cut(data)}")
        else:
            self._emit(Unreadable("trading stream", f"stream {kind!r} is not known", cut(msg)))

    def _take_update(self, data: Any) -> None:
        doubts: list[str] = []
        try:
            self._emit(wire.order_update(data, doubts))
        except Malformed as error:
            # Something happened to an order and we cannot say what: as good as a gap, so the engine reconciles.
            self._emit(Unreadable("trading stream", str(error), cut(data)))
            self._emit(StreamRestored("trading"))
        for doubt in wire.unreadable("trading stream", doubts, data):
            self._emit(doubt)


class DataSocket(_Watched, StockDataStream):
    """One connection to the market data of `symbols()`: quotes and trades."""

    def __init__(
        self, settings: Settings, symbols: Callable[[], frozenset[str]], emit: Emit, ready: Callable[[], None]
    ) -> None:
        StockDataStream.__init__(
            self,
            settings.key_id,
            settings.secret_key,
            raw_data=True,
            url_override=settings.data_stream_url,
            websocket_params=dict(PARAMETERS),
        )
        self._symbols = symbols
        self._emit = emit
        self._ready = ready
        self.heard = time.monotonic()

    async def open(self) -> None:
        with _explained():
            await self._start_ws()
        self.heard = time.monotonic()
        await self.follow_symbols()

    async def consume(self) -> None:
        await self._consume()

    async def follow_symbols(self) -> None:
        """Make the subscription what `symbols()` says; in the stream's own loop, where alpaca-py's verbs deadlock."""
        wanted = self._symbols()
        for channel in ("quotes", "trades"):
            gone = sorted(self._handlers[channel].keys() - wanted)
            self._handlers[channel] = dict.fromkeys(sorted(wanted), _unused)
            await self._send_unsubscribe_msg(channel, gone)
        await self._send_subscribe_msg()

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self.heard = time.monotonic()
        kind = msg.get("T")
        try:
            if kind == "q":
                if quote := wire.quote(msg["S"], msg):
                    self._emit(QuoteReceived(quote))
            elif kind == "t":
                self._emit(TradeReceived(wire.trade(msg["S"], msg)))
            elif kind == "subscription":
                self._ready()
            elif kind == "error":
                raise Refused(f"the data stream says: {msg.get('msg')} ({msg.get('code')})")
        except Malformed as error:
            self._emit(Unreadable("data stream", str(error), cut(msg)))


class _explained:
    """Turns what alpaca-py raises while connecting into AuthenticationFailed or Refused where it is one of them."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InvalidStatusCode):
            if error.status_code in {401, 403}:
                raise AuthenticationFailed(
                    f"the stream refuses the key (HTTP {error.status_code}).", KEY_HINT
                ) from error
            if error.status_code in {406, 429}:
                raise Refused(f"the stream refuses the connection (HTTP {error.status_code}): {SLOT_HINT}") from error
        if isinstance(error, ValueError):
            said = str(error).lower()
            if said in {"auth failed", "failed to authenticate", "not authenticated", "unauthorized"}:
                raise AuthenticationFailed("the stream does not accept the key.", KEY_HINT) from error
            if "limit" in said or "insufficient" in said:
                raise Refused(f"the stream refuses: {error}; {SLOT_HINT}") from error


async def _unused(_: Any) -> None:
    """alpaca-py wants a handler to subscribe; frames are taken in `_dispatch` before any handler."""
