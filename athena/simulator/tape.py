"""The tape: what a market showed (quotes) and did (prints, bars) at each venue time, and shocks laid over it.

`Tape` is the seam. `DayTape` answers its questions from one `SymbolDay` of arrays per symbol and trading day; the
synthetic and the replay tape differ only in where those come from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, Protocol

from athena.errors import SimulatorError
from athena.model import NEW_YORK, Bar, Quote, Trade
from athena.simulator import sessions
from athena.simulator.assets import Asset
from athena.simulator.sessions import Session
from athena.simulator.shocks import Shock, disturbed
from athena.simulator.symbol_day import (
    DAY,
    SymbolDay,
    as_timeframe,
    bars_of,
    dollars,
    micros,
    midnight,
    moment,
    quote_at,
    trade_at,
)

__all__ = ["DayTape", "Prices", "Shock", "Tape"]


class Prices(NamedTuple):
    """A symbol's market: dollars, shares, the quote's time; `last` is the mid before a day's first print."""

    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    last: Decimal
    at: datetime


class Tape(Protocol):
    """A market's record. Unknown symbols and times it does not cover raise SimulatorError.

    Point reads give the latest at or before `at`, from the session before when today's has not begun; None when there
    is none. Ranges are (start, end], oldest first, and give what of them the tape covers. Nothing after `end` or `at`
    enters an answer, so that a bar in progress is partial: callers pass the venue's now at most.
    """

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def assets(self) -> Mapping[str, Asset]: ...

    def prices(self, symbol: str, at: datetime) -> Prices | None: ...

    def quote(self, symbol: str, at: datetime) -> Quote | None: ...

    def trade(self, symbol: str, at: datetime) -> Trade | None: ...

    def quotes(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Quote]: ...

    def trades(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Trade]: ...

    def bars(self, symbol: str, start: datetime, end: datetime, timeframe: timedelta | str) -> list[Bar]: ...

    def previous_close(self, symbol: str, at: datetime) -> Decimal | None: ...

    def halted(self, symbol: str, at: datetime) -> bool: ...

    def add_shock(self, shock: Shock) -> None: ...


class DayTape:
    """Answers a tape's questions from days of arrays; a subclass says which (`_load`) and for which sessions.

    `cache_days` bounds how many symbol-days stay in memory, two megabytes at most each; three a symbol always do.
    """

    def __init__(
        self,
        assets: Mapping[str, Asset],
        symbols: Sequence[str],
        days: Sequence[Session],
        shocks: Iterable[Shock],
        cache_days: int,
    ) -> None:
        self.assets = assets
        self.symbols = tuple(symbols)
        self._known = frozenset(symbols)
        self._days = tuple(days)
        self._starts = [micros(day.extended_open) for day in days]
        cache_days = max(cache_days, 3 * len(self.symbols))  # today, yesterday and a spare
        self._base = lru_cache(cache_days)(self._load)
        self._day = lru_cache(cache_days)(self._shocked)
        self._daily = lru_cache(10_000)(self._day_bar)  # a bar is small, the day behind it is not
        self._covered_until = micros(sessions.next_session(days[-1].date).extended_open)
        self.shocks: tuple[Shock, ...] = ()
        for shock in shocks:
            self.add_shock(shock)

    def _load(self, symbol: str, index: int) -> SymbolDay:
        """The undisturbed day `self._days[index]` of a symbol."""
        raise NotImplementedError

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The trading days this tape covers."""
        return self._days

    def prices(self, symbol: str, at: datetime) -> Prices | None:
        """Quote and last print in one look: the fast read for streams and matching."""
        now = micros(at)
        index = self._find(symbol, now)
        while index >= 0:
            day = self._day(symbol, index)
            row = int(day.quote_at.searchsorted(now, "right")) - 1
            if row >= 0:
                bid, ask = int(day.bid[row]), int(day.ask[row])
                print_ = int(day.trade_at.searchsorted(now, "right")) - 1
                last = int(day.price[print_]) if print_ >= 0 else (bid + ask) // 200 * 100
                sizes = Decimal(int(day.bid_size[row])), Decimal(int(day.ask_size[row]))
                return Prices(dollars(bid), dollars(ask), *sizes, dollars(last), moment(int(day.quote_at[row])))
            index -= 1
        return None

    def quote(self, symbol: str, at: datetime) -> Quote | None:
        """The latest quote at or before `at`."""
        found = self.prices(symbol, at)
        return found and Quote(symbol, found.bid, found.ask, found.bid_size, found.ask_size, found.at)

    def trade(self, symbol: str, at: datetime) -> Trade | None:
        """The latest print at or before `at`."""
        now = micros(at)
        index = self._find(symbol, now)
        while index >= 0:
            day = self._day(symbol, index)
            row = int(day.trade_at.searchsorted(now, "right")) - 1
            if row >= 0:
                return trade_at(symbol, day, row)
            index -= 1
        return None

    def quotes(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Quote]:
        """Every change of the quote in (start, end], oldest first, at most `limit`."""
        found: list[Quote] = []
        for day in self._between(symbol, start, end):
            if limit is not None and len(found) >= limit:
                break
            low, high = day.quote_at.searchsorted([micros(start), micros(end)], "right")
            stop = high if limit is None else min(high, low + limit - len(found))
            found += [quote_at(symbol, day, row) for row in range(low, stop)]
        return found

    def trades(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Trade]:
        """Every print in (start, end], oldest first, at most `limit`."""
        found: list[Trade] = []
        for day in self._between(symbol, start, end):
            if limit is not None and len(found) >= limit:
                break
            low, high = day.trade_at.searchsorted([micros(start), micros(end)], "right")
            stop = high if limit is None else min(high, low + limit - len(found))
            found += [trade_at(symbol, day, row) for row in range(low, stop)]
        return found

    def bars(self, symbol: str, start: datetime, end: datetime, timeframe: timedelta | str) -> list[Bar]:
        """Bars that begin in [start, end], made of prints up to `end` only; intervals without a print have no bar.

        `timeframe` is whole minutes, aligned to New York's midnight, or one day: regular hours only, stamped with New
        York's midnight as Alpaca's are.
        """
        width = as_timeframe(timeframe)
        first, until = micros(start), micros(end)
        found: list[Bar] = []
        for index in self._indices(symbol, start, end):
            session = self._days[index]
            if width == DAY:
                found += self._daily(symbol, index, min(until, micros(session.close) - 1))
                continue
            day = self._day(symbol, index)
            high = int(day.trade_at.searchsorted(until, "right"))
            found += bars_of(symbol, day, 0, high, micros(midnight(session.date)), width)
        return [bar for bar in found if first <= micros(bar.at)]

    def _day_bar(self, symbol: str, index: int, until: int) -> list[Bar]:
        """The bar of regular hours up to `until`: none before the first print."""
        session, day = self._days[index], self._day(symbol, index)
        low = int(day.trade_at.searchsorted(micros(session.open)))
        high = int(day.trade_at.searchsorted(until, "right"))
        return bars_of(symbol, day, low, high, micros(midnight(session.date)), DAY)

    def previous_close(self, symbol: str, at: datetime) -> Decimal | None:
        """The close of the last session before the New York date of `at`; None when the tape holds none."""
        self._find(symbol, micros(at))
        day = at.astimezone(NEW_YORK).date()
        index = bisect_left(self._days, day, key=lambda session: session.date) - 1
        return next((close for i in range(index, -1, -1) if (close := self._close(symbol, i)) is not None), None)

    def _close(self, symbol: str, index: int) -> Decimal | None:
        """The last regular print of a day."""
        day = self._day(symbol, index)
        row = int(day.trade_at.searchsorted(micros(self._days[index].close), "left")) - 1
        return dollars(int(day.price[row])) if row >= 0 else None

    def halted(self, symbol: str, at: datetime) -> bool:
        """True while a shock halts trading in the symbol."""
        return any(shock.halted and shock.touches(symbol, at, at) for shock in self.shocks)

    def add_shock(self, shock: Shock) -> None:
        """Lays a shock over the tape, at once. SimulatorError when its symbol is not on the tape."""
        if shock.symbol != "*":
            self._check(shock.symbol)
        self.shocks = (*self.shocks, shock)
        self._day.cache_clear()
        self._daily.cache_clear()

    def _shocked(self, symbol: str, index: int) -> SymbolDay:
        day = self._base(symbol, index)
        session = self._days[index]
        for shock in self.shocks:
            if shock.touches(symbol, session.extended_open, session.extended_close):
                day = disturbed(day, shock)
        return day

    def _check(self, symbol: str) -> None:
        if symbol not in self._known:
            known = ", ".join(self.symbols[:30])
            raise SimulatorError(f"The tape has no market in '{symbol}'.", f"It has {known}.")

    def _find(self, symbol: str, now: int) -> int:
        """The index of the day that `now` lies in or after."""
        self._check(symbol)
        index = bisect_right(self._starts, now) - 1
        if index < 0 or now >= self._covered_until:
            raise self._outside(f"{moment(now):%Y-%m-%d %H:%M} UTC")
        return index

    def _outside(self, what: str) -> SimulatorError:
        first, last = self._days[0].date, self._days[-1].date
        return SimulatorError(
            f"The tape runs from {first} to {last} and does not cover {what}.",
            "Choose a time inside: athena simulator --start.",
        )

    def _indices(self, symbol: str, start: datetime, end: datetime) -> range:
        if start > end:
            raise SimulatorError(f"A range must not end before it starts, got {start} to {end}.")
        self._check(symbol)
        if micros(end) < self._starts[0] or micros(start) >= self._covered_until:
            raise self._outside(f"{start} to {end}")
        first = bisect_right(self._starts, micros(start)) - 1
        return range(max(first, 0), bisect_right(self._starts, micros(end)))

    def _between(self, symbol: str, start: datetime, end: datetime) -> Iterator[SymbolDay]:
        return (self._day(symbol, index) for index in self._indices(symbol, start, end))
