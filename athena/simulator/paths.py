"""One symbol's day made from its seed: path, spread, displayed sizes, prints.

The log price is a Brownian bridge, run on a clock of U-shaped variance, from the open to the day's real close; the open
gaps from the previous close; evenings and mornings are quieter bridges to and from them. One normal series a day is the
market's, shared by every symbol in proportion to its correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from athena.simulator.assets import Asset
from athena.simulator.sessions import Session
from athena.simulator.symbol_day import Ints, SymbolDay, micros

OVERNIGHT = 0.3  # share of a day's variance that falls between close and open
CENT = 100  # in units of a ten-thousandth of a dollar
_SHARES_PER_TRADE = 150
_USUAL_VOLATILITY = 0.015  # spreads, sizes and volumes are those of such a day, and scale from it


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a day is made from: closes in ten-thousandths of a dollar, volatility as a day's standard deviation."""

    asset: Asset
    session: Session
    previous_date: date
    previous_close: int
    close: int
    volatility: float
    correlation: float


@dataclass(frozen=True, slots=True)
class Shape:
    """How a day runs, second by second from the extended open: step deviations, share of volume, spread multiple.

    `open` and `close` are the rows of regular hours.
    """

    open: int
    close: int
    deviation: Ints
    volume: Ints
    spread: Ints


def make_day(seed: int, anchor: Anchor) -> SymbolDay:
    """The day of a symbol, a function of its arguments alone; about ten milliseconds."""
    session = anchor.session
    shape = _shape(
        int((session.open - session.extended_open).total_seconds()),
        int((session.close - session.extended_open).total_seconds()),
        int((session.extended_close - session.extended_open).total_seconds()),
    )
    random = _random(seed, anchor.asset.symbol, session.date)
    path = _path(seed, anchor, shape, random)
    price = np.exp(path) / CENT  # in cents
    busy = anchor.volatility / _USUAL_VOLATILITY
    seconds = len(price)

    dollar_volume = anchor.asset.average_volume * anchor.close / 10_000
    width = float(np.clip(60 / np.sqrt(dollar_volume / 1e6), 0.6, 15)) / 10_000 * float(np.clip(busy**0.6, 0.8, 4))
    noise = np.exp(random.standard_normal(seconds, dtype=np.float32) * 0.35)
    width_now = width * shape.spread * _agitation(path, shape, anchor.volatility) * noise
    spread = np.maximum(np.rint(price * width_now), 1).astype(np.int64)
    bid = np.maximum(np.rint(price - spread / 2).astype(np.int64), 1)
    ask = bid + spread

    lots = float(np.clip(anchor.asset.average_volume / 23_400 / 100 * 0.3, 1.5, 40)) / float(np.clip(busy**0.5, 0.7, 3))
    sizes = 100 + 100 * np.exp(random.standard_normal((2, seconds), dtype=np.float32) * 0.8 + np.log(lots)).astype(
        np.int64
    )

    # Outside regular hours a quote stands for about eight seconds; inside, until something changes.
    shown = random.random(seconds, dtype=np.float32) < 0.12
    shown[shape.open : shape.close + 1] = True
    shown[0] = True
    rows = np.flatnonzero(shown)
    start = micros(session.extended_open)
    moments, prices, shares, counts = _prints(anchor, shape, random, bid, ask, rows, busy)
    return SymbolDay(
        quote_at=start + rows * 1_000_000,
        bid=_small(bid[rows] * CENT),
        ask=_small(ask[rows] * CENT),
        bid_size=_small(sizes[0, rows]),
        ask_size=_small(sizes[1, rows]),
        trade_at=start + moments,
        price=_small(prices),
        size=_small(shares),
        count=_small(counts),
    )


def _path(seed: int, anchor: Anchor, shape: Shape, random: np.random.Generator) -> Ints:
    """The log price each second."""
    session, sigma, rho = anchor.session, anchor.volatility, anchor.correlation
    own = np.sqrt(1 - rho * rho)
    market, market_jumps, market_gap = _market(seed, session.date, len(shape.deviation))
    noise = rho * market + own * random.standard_normal(len(market))
    jumps = rho * market_jumps + own * _jumps(random, len(market), 1.5)
    steps = shape.deviation * noise * sigma * np.sqrt(1 - OVERNIGHT)
    # Jumps come in regular hours only; each is about a quarter of a day's move.
    steps[shape.open + 1 : shape.close + 1] += 0.25 * sigma * jumps[shape.open + 1 : shape.close + 1]

    before, close = np.log(anchor.previous_close), np.log(anchor.close)
    gap = rho * market_gap + own * random.standard_normal()
    # The open given both closes, were the log price a Brownian motion from one to the other.
    opening = before + OVERNIGHT * (close - before) + np.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * sigma * gap
    dawn = before + _evening(seed, anchor.asset.symbol, anchor.previous_date) * sigma
    dusk = close + _evening(seed, anchor.asset.symbol, session.date) * sigma
    path = np.empty(len(steps))
    for low, high, start, end in (
        (0, shape.open, dawn, opening),
        (shape.open, shape.close, opening, close),
        (shape.close, len(steps) - 1, close, dusk),
    ):
        variance = np.cumsum(shape.deviation[low + 1 : high + 1] ** 2)
        walk = np.cumsum(steps[low + 1 : high + 1])
        path[low] = start
        path[low + 1 : high + 1] = start + walk + (end - start - walk[-1]) * variance / variance[-1]
    return path


def _prints(
    anchor: Anchor, shape: Shape, random: np.random.Generator, bid: Ints, ask: Ints, rows: Ints, busy: float
) -> tuple[Ints, Ints, Ints, Ints]:
    """(microseconds from the extended open, prices, shares, trades) of each second that trades, at bid or ask."""
    seconds = len(bid)
    activity = float(np.clip(busy**0.5, 0.6, 2.5)) * float(np.exp(0.15 * random.standard_normal()))
    shares = anchor.asset.average_volume * activity
    bursts = np.repeat(np.exp(0.35 * random.standard_normal(seconds // 60 + 1)), 60)[:seconds]
    count = random.poisson(shares / _SHARES_PER_TRADE * shape.volume * bursts)
    size = np.rint(count * _SHARES_PER_TRADE * np.exp(0.5 * random.standard_normal(seconds, dtype=np.float32))).astype(
        np.int64
    )
    standing = rows[np.searchsorted(rows, np.arange(seconds), "left") - 1]  # the quote shown before this second's end
    price = np.where(random.random(seconds, dtype=np.float32) < 0.5, bid[standing], ask[standing]) * CENT
    moment = random.integers(1, 999_999, seconds) - 1_000_000  # within the second that ends at the row

    for row, share in ((shape.open + 1, 0.01), (shape.close, 0.06)):  # the auctions
        count[row] += 1
        size[row] += int(shares * share)
    price[shape.open + 1] = (bid[shape.open] + ask[shape.open]) // 2 * CENT
    moment[shape.open + 1] = -999_999
    price[shape.close] = anchor.close
    moment[shape.close] = -1  # the last microsecond of regular hours, so that the day's last bar holds it
    count[1], size[1] = max(count[1], 1), max(size[1], 100)
    count[0] = 0
    traded = np.flatnonzero((count > 0) & (size > 0))
    return traded * 1_000_000 + moment[traded], price[traded], size[traded], count[traded]


def _agitation(path: Ints, shape: Shape, sigma: float) -> Ints:
    """How much more than usual the last minute moved, as a multiple of the spread: 0.7 to 5."""
    lag = 60
    moved = np.abs(path[lag:] - path[:-lag])
    usual = shape.deviation[lag:] * sigma * np.sqrt(lag * (1 - OVERNIGHT))
    return np.concatenate([np.ones(lag), np.clip(0.6 + 0.5 * moved / usual, 0.7, 5)])


@lru_cache(maxsize=8)
def _shape(opens: int, closes: int, ends: int) -> Shape:
    row = np.arange(ends + 1)
    regular = (row > opens) & (row <= closes)
    done = np.clip((row - opens) / (closes - opens), 0, 1)
    deviation = 0.75 + 1.8 * np.exp(-done / 0.07) + 0.45 * np.exp(-(1 - done) / 0.08)
    deviation /= np.sqrt(np.sum(deviation[regular] ** 2))
    deviation = np.where(regular, deviation, 0.002)  # a night's 34,200 quiet seconds: 0.14 of a day's variance
    volume = 0.65 + 1.9 * np.exp(-done / 0.05) + 1.6 * np.exp(-(1 - done) / 0.05)
    volume = np.where(regular, volume / volume[regular].sum() * 0.93, 0.03 / (~regular).sum())
    spread = np.where(regular, 1 + 3 * np.exp(-(row - opens).clip(0) / 600), 5.0)
    return Shape(opens, closes, deviation, volume, spread)


@lru_cache(maxsize=4)
def _market(seed: int, day: date, seconds: int) -> tuple[Ints, Ints, float]:
    """The market's own (noise, jumps, gap), shared by all symbols."""
    random = _random(seed, "market", day)
    return random.standard_normal(seconds), _jumps(random, seconds, 0.5), float(random.standard_normal())


def _jumps(random: np.random.Generator, seconds: int, expected: float) -> Ints:
    """Standard normal jumps at a Poisson number of seconds, zero elsewhere."""
    jumps = np.zeros(seconds)
    number = random.poisson(expected)
    jumps[random.integers(0, seconds, number)] = random.standard_normal(number)
    return jumps


def _small(column: Ints) -> Ints:
    """In 32 bits, for half the memory: enough for prices to 214,000 dollars and two billion shares."""
    return column.astype(np.int32)


def _evening(seed: int, symbol: str, day: date) -> float:
    """How far a symbol drifts after the close, in days' deviations: known to its evening and to the next morning."""
    return 0.12 * float(_random(seed, f"{symbol} evening", day).standard_normal())


def _random(seed: int, stream: str, day: date) -> np.random.Generator:
    digest = blake2b(f"{seed}|{stream}|{day}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big")))
