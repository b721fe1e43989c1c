"""A user's own market files, replayed as a tape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path

import numpy as np

from athena.errors import SimulatorError
from athena.simulator import sessions
from athena.simulator.assets import ASSETS, unlisted
from athena.simulator.market_files import MarketFile, Series, read
from athena.simulator.symbol_day import Ints, SymbolDay, micros, midnight, moment, on_tick, tick_of
from athena.simulator.tape import DayTape, Shock

_EMPTY = np.empty(0, dtype=np.int64)
_POINTS = 4  # a bar is replayed as open, then low and high (high and low when it fell), then close
_EVENING = timedelta(hours=16)  # rows up to 20:00


class ReplayTape(DayTape):
    """A market replayed from CSV or Parquet files of bars, of quotes, or of both.

    Columns of bars: symbol, timestamp, open, high, low, close, volume, optionally trade_count. `timestamp` is the
    bar's beginning; New York's midnight means the whole day. Columns of quotes: symbol, timestamp, bid, ask, bid_size,
    ask_size (or alpaca-py's bid_price, ask_price). What `BarSet.df` and `QuoteSet.df` hold can be written as it is:
    their other columns are accepted and not used. Timestamps are ISO 8601 with a zone, in 04:00 to 20:00 New York of
    trading days, ascending for each symbol; prices in dollars (kept to a hundredth of a cent), sizes in shares (rounded
    to whole ones).

    A symbol with bars only is quoted at its prints, `spread_bps` wide and at least a tick, a hundredth of the bar's
    volume and at least 100 shares on each side; a bar prints its open, its low and high (high first when it fell) and
    its close, each a third of the bar apart. A symbol with quotes only prints their mids with size 0. Raises
    SimulatorError.
    """

    def __init__(
        self,
        files: Sequence[MarketFile],
        *,
        spread_bps: Decimal = Decimal(2),
        shocks: Iterable[Shock] = (),
        cache_days: int = 64,
    ) -> None:
        if not (spread_bps.is_finite() and 0 <= spread_bps <= 1000):
            raise SimulatorError(f"The spread of derived quotes must lie from 0 to 1000 bps, got {spread_bps}.")
        self.spread_bps = spread_bps
        self._bars = _merge([file for file in files if file.kind == "bars"])
        self._quotes = _merge([file for file in files if file.kind == "quotes"])
        self._steps = {symbol: _interval(columns["at"]) for symbol, columns in self._bars.items()}
        symbols = sorted({*self._bars, *self._quotes})
        if not symbols:
            raise SimulatorError(
                "A replay needs at least one market file.", "Name a CSV or Parquet file of bars or quotes."
            )
        assets = ASSETS | {symbol: ASSETS.get(symbol) or unlisted(symbol) for symbol in symbols}
        super().__init__(assets, symbols, _sessions([*self._bars.values(), *self._quotes.values()]), shocks, cache_days)

    @classmethod
    def from_files(
        cls, paths: Iterable[str | Path], *, spread_bps: Decimal = Decimal(2), shocks: Iterable[Shock] = ()
    ) -> ReplayTape:
        """Reads and checks every file; SimulatorError names file, line and reason of the first bad row."""
        return cls([read(Path(path)) for path in paths], spread_bps=spread_bps, shocks=shocks)

    def _load(self, symbol: str, index: int) -> SymbolDay:
        session = self._days[index]
        bars = _slice(self._bars.get(symbol), midnight(session.date), session.extended_open + _EVENING)
        quotes = _slice(self._quotes.get(symbol), session.extended_open, session.extended_open + _EVENING)
        prints, shares = self._prints(symbol, bars, session) if bars else ((_EMPTY,) * 4, _EMPTY)
        if symbol in self._quotes:
            shown = tuple(quotes[name] for name in ("at", "bid", "ask", "bid_size", "ask_size"))
        else:
            shown = self._quotes_around(prints[0], prints[1], shares)
        if symbol not in self._bars:
            at, bid, ask = shown[:3]
            prints = (at, on_tick((bid + ask) / 2), np.zeros_like(at), np.zeros_like(at))
        return SymbolDay(*shown, *prints)

    def _prints(
        self, symbol: str, bars: Mapping[str, Ints], session: sessions.Session
    ) -> tuple[tuple[Ints, Ints, Ints, Ints], Ints]:
        """((times, prices, sizes, counts) of four prints a bar, the bar's volume for each)."""
        at, step = bars["at"], np.full(len(bars["at"]), self._steps[symbol])
        daily = at == micros(midnight(session.date))
        at = np.where(daily, micros(session.open), at)
        step = np.where(daily, micros(session.close) - micros(session.open), step)
        times = np.stack([at, at + step // 3, at + 2 * step // 3, at + step - 1], axis=1)
        rose = bars["close"] >= bars["open"]
        second, third = np.where(rose, bars["low"], bars["high"]), np.where(rose, bars["high"], bars["low"])
        prices = np.stack([bars["open"], second, third, bars["close"]], axis=1)
        counts = bars.get("trade_count", np.full(len(at), _POINTS))
        return (times.ravel(), prices.ravel(), _shared(bars["volume"]), _shared(counts)), bars["volume"].repeat(_POINTS)

    def _quotes_around(self, at: Ints, price: Ints, volume: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        half = price * float(self.spread_bps) / 20_000
        bid = on_tick(price - half)
        ask = np.maximum(on_tick(price + half), bid + tick_of(bid))
        size = np.maximum(volume // 100, 100)
        return at, bid, ask, size, size

    def __repr__(self) -> str:
        return f"<ReplayTape {len(self.symbols)} symbols, {self._days[0].date} to {self._days[-1].date}>"


def _shared(total: Ints) -> Ints:
    """Each total in four whole parts, the rest in the last."""
    parts = np.repeat((total // _POINTS)[:, None], _POINTS, axis=1)
    parts[:, -1] += total % _POINTS
    return parts.ravel()


def _slice(columns: Mapping[str, Ints] | None, start: datetime, end: datetime) -> dict[str, Ints]:
    if columns is None:
        return {}
    low = columns["at"].searchsorted(micros(start), "left")
    high = columns["at"].searchsorted(micros(end), "right")
    return {name: column[low:high] for name, column in columns.items()}


def _merge(files: Sequence[MarketFile]) -> dict[str, dict[str, Ints]]:
    """Each symbol's columns over all files, by time; two bars of one symbol at one time are refused."""
    found: dict[str, dict[str, Ints]] = {}
    for symbol in sorted(set(chain.from_iterable(file.series for file in files))):
        parts: list[Series] = [file.series[symbol] for file in files if symbol in file.series]
        common = set.intersection(*(set(part.columns) for part in parts))
        columns = {name: np.concatenate([piece for part in parts for piece in part.columns[name]]) for name in common}
        columns["at"] = np.concatenate([piece for part in parts for piece in part.at])
        if len(parts) > 1:
            order = np.argsort(columns["at"], kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
            twice = np.flatnonzero(np.diff(columns["at"]) == 0)
            if len(twice) and "close" in columns:
                names = ", ".join(str(file.path) for file in files if symbol in file.series)
                at = moment(int(columns["at"][twice[0]]))
                raise SimulatorError(f"{symbol} has two bars at {at:%Y-%m-%d %H:%M} UTC, in {names}.", "Drop one file.")
        found[symbol] = columns
    return found


def _interval(at: Ints) -> int:
    """The length of a symbol's bars in microseconds: the least distance between two; a minute for a single one."""
    return int(np.diff(at).min()) if len(at) > 1 else 60_000_000


def _sessions(series: Sequence[Mapping[str, Ints]]) -> list[sessions.Session]:
    """The trading days on which any symbol has a row."""
    first = moment(min(int(columns["at"][0]) for columns in series))
    last = moment(max(int(columns["at"][-1]) for columns in series))
    days = list(sessions.sessions_between(sessions.new_york_date(first), sessions.new_york_date(last)))
    starts = np.array([micros(midnight(day.date)) for day in days])
    used = {int(row) for columns in series for row in np.unique(starts.searchsorted(columns["at"], "right") - 1)}
    return [days[row] for row in sorted(used)]
