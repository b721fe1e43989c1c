"""What the market-data stream tells at each tick: quotes, prints, finished minutes, halts and resumptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta

from athena.model import NEW_YORK, Quote, Trade, trading_date
from athena.simulator import market_wire
from athena.simulator.clock import Now
from athena.simulator.market_data import MINUTE, TICK
from athena.simulator.market_stream import MarketStream
from athena.simulator.tape import Tape
from athena.simulator.wire import Json

ROWS_MAX = 1000  # per symbol and tick, where a clock set by hand leaps
BARS_BACK_MAX = timedelta(minutes=30)

Message = tuple[str, Json]


class Publisher:
    """Tells a stream's subscribers what happened since the last tick.

    In real time that is every quote and print of the tape; where the clock is accelerated, only the latest of each: no
    client could follow.
    """

    def __init__(self, stream: MarketStream, tape: Tape, clock: Now) -> None:
        self._stream = stream
        self._tape = tape
        self._accelerated = clock.speed > 1
        self._told_until = clock.now()
        self._halted = self._halts(self._told_until)

    def publish(self, now: datetime) -> int:
        """Tells what happened up to `now`; how many messages were queued."""
        since, self._told_until = self._told_until, now
        if not self._stream.connections:
            self._halted = self._halts(now)
        if not self._stream.connections or now <= since:  # what changed while time stood still is told when it goes on
            return 0
        return self._stream.publish([*self._ticks(since, now), *self._bars(since, now), *self._statuses(now)])

    def _wanted(self, *channels: str) -> Sequence[str]:
        return sorted(self._stream.wanted(channels, self._tape.symbols))

    def _ticks(self, since: datetime, now: datetime) -> Iterator[Message]:
        for symbol in self._wanted("quotes"):
            for quote in self._quotes(symbol, since, now):
                yield "quotes", {"T": "q", "S": symbol, **market_wire.quote(quote, market_wire.as_is)}
        for symbol in self._wanted("trades"):
            for trade in self._trades(symbol, since, now):
                yield "trades", {"T": "t", "S": symbol, **market_wire.trade(trade, market_wire.as_is)}

    def _quotes(self, symbol: str, since: datetime, now: datetime) -> list[Quote]:
        if not self._accelerated:
            return self._tape.quotes(symbol, since, now, ROWS_MAX)
        latest = self._tape.quote(symbol, now)
        return [latest] if latest is not None and latest.at > since else []

    def _trades(self, symbol: str, since: datetime, now: datetime) -> list[Trade]:
        if not self._accelerated:
            return self._tape.trades(symbol, since, now, ROWS_MAX)
        latest = self._tape.trade(symbol, now)
        return [latest] if latest is not None and latest.at > since else []

    def _bars(self, since: datetime, now: datetime) -> Iterator[Message]:
        """When a minute is over: its bar, and the day's bar so far."""
        finished = now.replace(second=0, microsecond=0)
        begin = max(since.replace(second=0, microsecond=0), finished - BARS_BACK_MAX)
        if finished <= begin:
            return
        for symbol in self._wanted("bars"):
            for bar in self._tape.bars(symbol, begin, finished - TICK, MINUTE):
                yield "bars", {"T": "b", "S": symbol, **market_wire.bar(bar, market_wire.as_is)}
        midnight = datetime.combine(trading_date(now), time(), NEW_YORK)
        for symbol in self._wanted("dailyBars"):
            for bar in self._tape.bars(symbol, midnight, now, "1Day"):
                yield "dailyBars", {"T": "d", "S": symbol, **market_wire.bar(bar, market_wire.as_is)}

    def _statuses(self, now: datetime) -> Iterator[Message]:
        before, self._halted = self._halted, self._halts(now)
        for symbol in sorted(before ^ self._halted):
            yield "statuses", market_wire.status(symbol, symbol in self._halted, now)

    def _halts(self, now: datetime) -> frozenset[str]:
        return frozenset(symbol for symbol in self._tape.symbols if self._tape.halted(symbol, now))
