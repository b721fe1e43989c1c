"""A symbol's trading day as arrays, and the way from them to the model's facts.

Inside, times are int microseconds since 1970 and prices int ten-thousandths of a dollar (`UNIT`); outside, Decimals and
aware UTC datetimes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.errors import SimulatorError
from athena.model import NEW_YORK, Bar, Quote, Trade

Ints = NDArray[Any]
UNIT = 10_000
DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D)")


@dataclass(frozen=True, slots=True)
class SymbolDay:
    """One symbol's trading day as parallel arrays, each group sorted by time."""

    quote_at: Ints
    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints
    trade_at: Ints
    price: Ints
    size: Ints
    count: Ints  # trades summed in the print


def quote_at(symbol: str, day: SymbolDay, row: int) -> Quote:
    """The quote in a row."""
    bid, ask = dollars(int(day.bid[row])), dollars(int(day.ask[row]))
    sizes = Decimal(int(day.bid_size[row])), Decimal(int(day.ask_size[row]))
    return Quote(symbol, bid, ask, *sizes, moment(int(day.quote_at[row])))


def trade_at(symbol: str, day: SymbolDay, row: int) -> Trade:
    """The print in a row."""
    return Trade(symbol, dollars(int(day.price[row])), Decimal(int(day.size[row])), moment(int(day.trade_at[row])))


def bars_of(symbol: str, day: SymbolDay, low: int, high: int, origin: int, width: timedelta) -> list[Bar]:
    """Bars of prints [low, high), on a grid of `width` from `origin`."""
    if low >= high:
        return []
    step = width // _MICROSECOND
    price, size = day.price[low:high].astype(np.int64), day.size[low:high].astype(np.int64)
    slots = (day.trade_at[low:high] - origin) // step
    edges = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
    ends = np.append(edges[1:], len(price)) - 1
    volume = np.add.reduceat(size, edges)
    # Dollar volume in float: a vwap is a statistic, and the product of a year's shares and prices overflows an int.
    vwap = np.add.reduceat(price * size.astype(float), edges) / np.maximum(volume, 1)
    columns = (
        slots[edges] * step + origin,
        price[edges],
        np.maximum.reduceat(price, edges),
        np.minimum.reduceat(price, edges),
        price[ends],
        volume,
        np.add.reduceat(day.count[low:high].astype(np.int64), edges),
        np.rint(vwap).astype(np.int64),
    )
    return [
        Bar(
            symbol,
            dollars(o),
            dollars(h),
            dollars(least),
            dollars(c),
            Decimal(v),
            moment(at),
            n,
            dollars(w) if v else None,
        )
        for at, o, h, least, c, v, n, w in zip(*(column.tolist() for column in columns), strict=True)
    ]


def as_timeframe(timeframe: timedelta | str) -> timedelta:
    """'1Min', '15Min', '1Hour', '1Day' (Alpaca's words) or a timedelta of whole minutes; SimulatorError for others."""
    width = timeframe
    if isinstance(width, str):
        found = _TIMEFRAME.fullmatch(width)
        unit = {"M": timedelta(minutes=1), "T": timedelta(minutes=1), "H": timedelta(hours=1), "D": DAY}
        width = int(found[1]) * unit[found[2][0]] if found else timedelta(0)
    if width <= timedelta(0) or width % timedelta(minutes=1) or width > DAY:
        raise SimulatorError(f"The tape makes no bars of '{timeframe}'.", "Ask for whole minutes, hours, or 1Day.")
    return width


def tick_of(price: Ints) -> Ints:
    """The smallest step of each price: a cent from one dollar on, a hundredth of a cent below."""
    tick: Ints = np.where(price >= UNIT, 100, 1)
    return tick


def on_tick(price: Ints) -> Ints:
    """Prices rounded to their tick, one tick at least."""
    tick = tick_of(price)
    rounded: Ints = np.maximum(np.rint(price / tick) * tick, tick).astype(np.int64)
    return rounded


def micros(at: datetime) -> int:
    """Microseconds since 1970 of an aware time; SimulatorError for a naive one."""
    if at.tzinfo is None:
        raise SimulatorError(f"A market time needs a zone, got {at}.")
    gap = at - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def moment(at: int) -> datetime:
    """The UTC time of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at)


def midnight(day: date) -> datetime:
    """New York's midnight at which a date begins."""
    return datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)


def dollars(units: int) -> Decimal:
    """Ten-thousandths of a dollar as dollars, in cents where they are whole."""
    cents, rest = divmod(units, 100)
    return Decimal(units).scaleb(-4) if rest else Decimal(cents).scaleb(-2)
