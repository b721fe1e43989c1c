"""Every fall below a peak: a complete table, in per cent free of flows and in dollars, one pass of numpy.

    r_t = (E_t − E_{t−1} − F_t) / (E_{t−1} + F_t)     W_0 = 1     drawdown = W / max(W) − 1 ≤ 0
    dollars: profit so far − max(0, best profit so far) ≤ 0

The first point (or the base before the first return) is a peak, so a loss on the first day counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis.inputs import Floats, check_times, sessions

COLUMNS = [
    "peak", "start", "valley", "end", "recovery", "depth_fraction", "depth_usd", "bars", "sessions",
    "bars_to_valley", "status",
]  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """An account over time, its base included: wealth, of which only ratios matter, and profit in dollars, of which
    only differences do; either may be unknown.

    times: of each value; the base of returns or of profits has none (NaT). missing: points left out, without a value.
    """

    times: pd.DatetimeIndex
    wealth: Floats | None
    profit: Floats | None
    missing: int

    @property
    def points(self) -> int:
        return len(self.times)

    def depth(self) -> Floats:
        """Below the peak so far: fractions, or dollars where there is no wealth."""
        if self.wealth is not None:
            depth: Floats = self.wealth / np.maximum.accumulate(self.wealth)
            depth -= 1
            return depth
        if self.profit is None:
            raise ValueError("a curve needs wealth or profit; it has neither")
        return self.profit - np.maximum.accumulate(self.profit)


def curve_of(data: pd.Series, *, kind: str, flows: pd.Series | None = None, capital: float | None = None) -> Curve:
    """What an equity curve, returns or profits say of wealth and profit.

    data: by aware time. kind: 'equity' in dollars (gaps are left out and counted; `flows`, signed dollars by time, or
    `.attrs['flows']`, are taken out), 'returns' as simple fractions, 'pnl' as each interval's profit in dollars.
    capital: dollars at the base, which give returns dollars and profits per cent. Raises TypeError on another kind;
    ValueError on disordered times, no value, a missing return or profit, equity that is not positive.
    """
    if kind not in ("equity", "returns", "pnl"):
        raise TypeError(f"kind is {kind!r}; say kind='equity', 'returns' or 'pnl': nothing is guessed")
    index = check_times(data.index, f"the {kind}")
    values = np.asarray(data.to_numpy(dtype=float, na_value=np.nan))
    if not len(values):
        raise ValueError(f"the {kind} is empty: no row")
    if not np.isfinite(values.sum()):
        known = ~np.isnan(values)
        if not known.any() or np.isinf(values).any() or kind != "equity":
            what = "infinite values" if np.isinf(values).any() else f"{(~known).sum()} of {len(values)} values missing"
            raise ValueError(f"the {kind} has {what}; nothing can be concluded")
        index, values = index[known], values[known]
    if kind == "equity":
        return _of_equity(index, values, len(data) - len(values), _flows(data, flows))
    wealth = profit = None
    if kind == "returns":
        wealth = np.concatenate([[1.0], np.cumprod(1 + values)])
        _positive(wealth[1:], index, "wealth after the return")
        profit = None if capital is None else capital * (wealth - 1)
    else:
        profit = np.concatenate([[0.0], np.cumsum(values)])
        if capital is not None:
            wealth = 1 + profit / capital
            _positive(wealth[1:], index, "capital plus profit, per dollar,")
    return Curve(pd.DatetimeIndex(index.insert(0, pd.NaT)), wealth, profit, 0)


def drawdowns(curve: Curve) -> pd.DataFrame:
    """Every drawdown in time's order; columns COLUMNS.

    peak is the last point at the high, start the first under it, valley the lowest, end the last under it, recovery
    the first at or above the old high (NaT while open). bars counts points under water, sessions the New York dates
    they lie on. depth_usd is profit lost from peak to valley.
    """
    depth = curve.depth()
    under = depth < 0
    edges = np.flatnonzero(under[1:] != under[:-1]) + 1
    starts = edges[::2]
    last = len(depth)
    stops = edges[1::2] if len(edges) % 2 == 0 else np.append(edges[1::2], last)
    valleys = np.fromiter(
        (a + depth[a:b].argmin() for a, b in zip(starts, stops, strict=True)), dtype=np.int64, count=len(starts)
    )
    # no time is converted but those shown; dates are found by binary search
    base = int(curve.points > 0 and bool(pd.isna(curve.times[0])))
    days = sessions(curve.times[base:]) + base
    number = np.searchsorted(days, np.stack([starts, stops - 1]), side="right") if len(starts) else np.zeros((2, 0))
    recovered = stops < last
    dollars = np.full(len(starts), np.nan)
    if curve.profit is not None:
        dollars = curve.profit[valleys] - curve.profit[starts - 1]
    recovery: Any = curve.times.take(np.where(recovered, stops, 0))
    return pd.DataFrame(
        {
            "peak": curve.times.take(starts - 1),
            "start": curve.times.take(starts),
            "valley": curve.times.take(valleys),
            "end": curve.times.take(stops - 1),
            "recovery": recovery.where(recovered, pd.NaT),
            "depth_fraction": depth[valleys] if curve.wealth is not None else np.nan,
            "depth_usd": dollars,
            "bars": stops - starts,
            "sessions": number[1] - number[0] + 1,
            "bars_to_valley": valleys - starts + 1,
            "status": np.where(recovered, "recovered", "open").astype(object),
        },
        columns=COLUMNS,
    )


def _of_equity(index: pd.DatetimeIndex, values: Floats, missing: int, flows: pd.Series | None) -> Curve:
    _positive(values, index, "equity")
    if flows is None or not len(later := flows[(flows.index > index[0]) & (flows.index <= index[-1])]):
        return Curve(index, values, values, missing)
    paid = np.zeros(len(values))
    np.add.at(paid, index.searchsorted(later.index, side="left"), later.to_numpy(dtype=float))
    before = values[:-1] + paid[1:]
    if (before <= 0).any():
        at = int((before <= 0).argmax())
        raise ValueError(f"a withdrawal took all the equity at {index[at + 1]}; a fraction of nothing has no meaning")
    wealth = np.concatenate([[1.0], np.cumprod(values[1:] / before)])
    return Curve(index, wealth, values - values[0] - np.cumsum(paid), missing)


def _flows(data: pd.Series, flows: pd.Series | None) -> pd.Series | None:
    if flows is None and (told := data.attrs.get("flows")):
        flows = pd.Series([amount for _, amount in told], pd.DatetimeIndex([at for at, _ in told]), dtype=float)
    if flows is None or flows.empty:
        return None
    flows = flows.sort_index()
    check_times(flows.index, "the flows", unique=False)
    if not np.isfinite(flows.to_numpy(dtype=float)).all():
        raise ValueError("a deposit or withdrawal has no amount; nothing can be concluded")
    return flows


def _positive(values: Floats, index: pd.DatetimeIndex, what: str) -> None:
    if len(values) and not values.min() > 0:
        at = int((~(values > 0)).argmax())
        raise ValueError(
            f"{what} is {values[at]:g} at {index[at]}, not positive; a drawdown in per cent has no meaning"
        )
