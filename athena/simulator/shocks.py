"""Things that happen to a market: a spread that blows out, a fall, thin books, a trading halt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from athena.errors import SimulatorError
from athena.simulator.symbol_day import SymbolDay, micros, on_tick, tick_of


@dataclass(frozen=True, slots=True)
class Shock:
    """Something that happens to a symbol ('*' is all) in [start, end) of venue time.

    The spread and the displayed sizes are multiplied, prices moved by a fraction (-0.05 is five percent down, back when
    it ends). Halted: quotes stand with size zero, nothing prints. Shocks that overlap compose. Raises SimulatorError.
    """

    symbol: str
    start: datetime
    end: datetime
    spread_multiple: float = 1.0
    price_move: float = 0.0
    size_multiple: float = 1.0
    halted: bool = False

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise SimulatorError(f"A shock's times need a zone, got {self.start} to {self.end}.")
        if not self.start < self.end:
            raise SimulatorError(f"A shock must end after it starts, got {self.start} to {self.end}.")
        limits = {"spread_multiple": (0.01, 1000), "price_move": (-0.99, 10), "size_multiple": (0, 1000)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise SimulatorError(f"A shock's {name} must lie from {low} to {high}, got {value}.")

    def touches(self, symbol: str, start: datetime, end: datetime) -> bool:
        """True when it disturbs the symbol at any time from `start` to `end`, both included."""
        return self.symbol in ("*", symbol) and self.start <= end and start < self.end


def disturbed(day: SymbolDay, shock: Shock) -> SymbolDay:
    """The day as the shock makes it: a new quote at its start and its end, and what lies between changed."""
    start, end = micros(shock.start), micros(shock.end)
    day = _with_quote_at(_with_quote_at(day, start), end)
    low, high = (int(edge) for edge in day.quote_at.searchsorted([start, end]))
    first, last = (int(edge) for edge in day.trade_at.searchsorted([start, end]))
    bid, ask, bid_size, ask_size, price = (
        array.astype(np.int64) for array in (day.bid, day.ask, day.bid_size, day.ask_size, day.price)
    )
    if shock.halted and low < high:
        bid[low:high], ask[low:high] = bid[low], ask[low]
        bid_size[low:high] = ask_size[low:high] = 0
        gone = np.s_[first:last]
        prints = {name: np.delete(getattr(day, name), gone) for name in ("trade_at", "price", "size", "count")}
        return replace(day, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size, **prints)
    mid = (bid[low:high] + ask[low:high]) / 2 * (1 + shock.price_move)
    half = (ask[low:high] - bid[low:high]) / 2 * shock.spread_multiple
    bid[low:high] = on_tick(mid - half)
    ask[low:high] = np.maximum(on_tick(mid + half), bid[low:high] + tick_of(bid[low:high]))
    for size in (bid_size, ask_size):
        size[low:high] = np.rint(size[low:high] * shock.size_multiple)
    price[first:last] = on_tick(price[first:last] * (1 + shock.price_move))
    return replace(day, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size, price=price)


def _with_quote_at(day: SymbolDay, at: int) -> SymbolDay:
    """Repeats the standing quote at an instant, so that a change can begin there."""
    row = int(day.quote_at.searchsorted(at))
    if row == 0 or (row < len(day.quote_at) and day.quote_at[row] == at):
        return day
    columns = {name: getattr(day, name) for name in ("bid", "ask", "bid_size", "ask_size")}
    repeated = {name: np.insert(column, row, column[row - 1]) for name, column in columns.items()}
    return replace(day, quote_at=np.insert(day.quote_at, row, at), **repeated)
