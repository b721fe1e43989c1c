"""Analysis beside plain numpy: maximum drawdown and the complete table of 1e6 points, correlation with gaps."""

import time

import numpy as np
import pandas as pd

from athena.analysis.correlation import pearson
from athena.analysis.drawdown_table import curve_of, drawdowns
from athena.core.risk import RiskManager
from tests.benchmarks.rows import Row

POINTS, ASSETS, OBSERVATIONS = 1_000_000, 500, 10_000


def rows():
    rng = np.random.default_rng(1)
    values = 1e5 * np.cumprod(1 + rng.normal(2e-6, 1e-3, POINTS))
    equity = pd.Series(values, pd.date_range("2020-01-01", periods=POINTS, freq="min", tz="UTC"))
    deepest = RiskManager().calculate_max_drawdown(equity)
    table = drawdowns(curve_of(equity, kind="equity"))
    _must_agree(deepest, _plain_deepest(values))
    _must_agree(deepest, table["depth_fraction"].min())
    _must_agree(len(table), len(_plain_table(values)[0]))
    gaps = rng.normal(size=(OBSERVATIONS, ASSETS))
    gaps[rng.random(gaps.shape) < 0.05] = np.nan
    frame = pd.DataFrame(gaps, pd.date_range("2020-01-01", periods=OBSERVATIONS, freq="h", tz="UTC"))
    _must_agree(pearson(frame).matrix.to_numpy()[0, 1], _masked(gaps)[0, 1])
    pairs = (
        (
            "max drawdown, 1e6 points",
            lambda: RiskManager().calculate_max_drawdown(equity),
            "plain numpy",
            lambda: _plain_deepest(values),
            30,
            "≤ 1.3",
        ),
        (
            f"complete drawdown table, 1e6 points, {len(table):,} rows",
            lambda: drawdowns(curve_of(equity, kind="equity")),
            "the same columns in plain numpy",
            lambda: _plain_table(values),
            30,
            "≤ 1.5",
        ),
        (
            "correlation, 500 × 10,000, 5 % gaps",
            lambda: pearson(frame),
            "masked BLAS",
            lambda: _masked(gaps),
            3,
            "≤ 1.5",
        ),
    )
    found = []
    for name, ours, beside, plain, times, bound in pairs:
        value, yardstick = _best(ours, plain, times)
        found.append(Row(name, value, "ms", beside, yardstick, value / yardstick, bound))
    return found


def _best(ours, plain, times):
    """The fastest of several runs of each, taken in turn, in milliseconds."""
    best = [np.inf, np.inf]
    for _ in range(times):
        for number, run in enumerate((ours, plain)):
            began = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - began)
    return best[0] * 1000, best[1] * 1000


def _plain_deepest(values):
    return (values / np.maximum.accumulate(values) - 1).min()


def _plain_table(values):
    """Positions, depth and length of every drawdown, as one would write it for arrays without times."""
    depth = values / np.maximum.accumulate(values) - 1
    edges = np.flatnonzero(np.diff(depth < 0)) + 1
    starts, stops = edges[::2], edges[1::2]
    if len(edges) % 2:
        stops = np.append(stops, len(values))
    valleys = np.array([a + depth[a:b].argmin() for a, b in zip(starts, stops, strict=True)])
    return starts, valleys, stops, depth[valleys], stops - starts, values[valleys] - values[starts - 1]


def _masked(x):
    known = ~np.isnan(x)
    mask, z = known.astype(float), np.where(known, x, 0.0)
    n, sums, cross, squares = mask.T @ mask, z.T @ mask, z.T @ z, (z * z).T @ mask
    spread = squares - sums * sums / n
    return (cross - sums * sums.T / n) / np.sqrt(spread * spread.T)


def _must_agree(a, b):
    if not np.isclose(a, b, rtol=1e-9):
        raise ValueError(f"the figures to be compared differ: {a} and {b}")
