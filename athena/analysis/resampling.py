"""Resampling that respects dependence: blocks of time, days and the orders within them. Seeds are given."""

from __future__ import annotations

import numpy as np

from athena.analysis.inputs import Floats, Ints


def block_positions(n: int, length: int, runs: int, block: float, seed: int) -> Ints:
    """Positions into n observations, runs × length, by the stationary bootstrap (Politis and Romano 1994).

    A block starts anywhere, goes on with probability 1 − 1/block, and wraps round the end. Raises ValueError on n < 1.
    """
    if n < 1:
        raise ValueError("nothing to resample: no observation")
    rng = np.random.default_rng(seed)
    fresh = rng.random((runs, length)) < 1 / block
    fresh[:, 0] = True
    begins = rng.integers(0, n, (runs, length))
    steps = np.arange(length)
    last = np.maximum.accumulate(np.where(fresh, steps, 0), axis=1)
    return np.asarray((np.take_along_axis(begins, last, axis=1) + steps - last) % n)


def ratio_interval(
    cost: Floats, base: Floats, day: Ints, *, level: float = 0.95, runs: int = 500, seed: int = 0
) -> tuple[float, float]:
    """A confidence interval of Σcost/Σbase by resampling days, and within each its parent orders.

    One value per parent order, `day` its day's number. With a single day only orders are resampled. Fewer than five
    orders have no interval: (NaN, NaN).
    """
    if len(cost) < 5:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    order = np.argsort(day, kind="stable")
    cost, base, (_, starts) = cost[order], base[order], np.unique(day[order], return_index=True)
    drawn = rng.multinomial(len(starts), np.full(len(starts), 1 / len(starts)), size=runs)
    above, below = np.zeros(runs), np.zeros(runs)
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(cost)], strict=True)):
        size = end - start
        times = rng.multinomial(drawn[:, number] * size, np.full(size, 1 / size))
        above += times @ cost[start:end]
        below += times @ base[start:end]
    ratios = above[below > 0] / below[below > 0]
    if len(ratios) < runs / 2:
        return np.nan, np.nan
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rank_p(now: float, past: Floats) -> float:
    """The share of {past, now} at least as large as now: a one-sided p-value when they are exchangeable."""
    return float((1 + np.count_nonzero(past >= now)) / (1 + len(past)))
