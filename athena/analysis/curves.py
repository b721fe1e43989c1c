"""Equity curves: what flows of money do not distort, how deep under water, and fewer points for the eye."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd


def without_flows(equity: pd.Series, flows: pd.Series | None = None) -> pd.Series:
    """Equity in dollars less all deposits and withdrawals since its first point.

    equity: floats by aware time, sorted, no duplicates. flows: signed dollars by aware time; those at or before the
    first point are already in it. Raises ValueError on unsorted, duplicate or naive times.
    """
    check_curve(equity)
    if flows is None or flows.empty:
        return equity.copy()
    later = flows[flows.index > equity.index[0]].sort_index()
    paid = np.concatenate([[0.0], later.to_numpy(dtype=float).cumsum()])
    flat: pd.Series = equity - paid[later.index.searchsorted(equity.index, side="right")]
    return flat


def underwater(equity: pd.Series, flows: pd.Series | None = None) -> pd.Series:
    """Drawdown from the running peak, as fractions ≤ 0, of the compounded return free of flows.

    r = (E_t − E_{t−1} − F_t) / (E_{t−1} + F_t), flows taken at the start of their interval. Raises ValueError where
    equity (or equity after a withdrawal) is not positive: a return on nothing has no meaning.
    """
    check_curve(equity)
    flat = without_flows(equity, flows)
    before = equity.to_numpy(dtype=float)[:-1] + np.diff((equity - flat).to_numpy(dtype=float))
    if len(equity) and (equity.iloc[0] <= 0 or (before <= 0).any()):
        raise ValueError("equity is zero or negative; a drawdown in per cent has no meaning. Use dollars.")
    wealth = np.concatenate([[1.0], np.cumprod(1 + np.diff(flat.to_numpy(dtype=float)) / before)])[: len(equity)]
    return pd.Series(wealth / np.maximum.accumulate(wealth) - 1, index=equity.index)


def underwater_dollars(profit: pd.Series) -> pd.Series:
    """Dollars below the best profit so far, ≤ 0; profit is cumulative and starts from 0 before its first point."""
    values = profit.to_numpy(dtype=float)
    return pd.Series(values - np.maximum(0.0, np.maximum.accumulate(values)), index=profit.index)


def thin(curve: pd.Series, points: int = 1500) -> pd.Series:
    """At most about `points` points of the curve, every bucket's lowest and highest kept, so that no dip is lost."""
    if len(curve) <= points:
        return curve
    values = curve.to_numpy(dtype=float)
    edges = np.linspace(0, len(values), points // 2 + 1).astype(int)
    keep = {0, len(values) - 1}
    for start, end in pairwise(edges):
        keep |= {start + int(values[start:end].argmin()), start + int(values[start:end].argmax())}
    return curve.iloc[sorted(keep)]


def check_curve(curve: pd.Series) -> None:
    """Raises ValueError unless times are aware, sorted and unique, and every value is a number."""
    if curve.empty:
        return
    if not isinstance(curve.index, pd.DatetimeIndex) or curve.index.tz is None:
        raise ValueError("the curve's times are naive or not times; give them a time zone")
    if not curve.index.is_monotonic_increasing or not curve.index.is_unique:
        raise ValueError("the curve's times are unsorted or repeated; sort them and drop repeats first")
    if curve.isna().any():
        raise ValueError(f"the curve has {int(curve.isna().sum())} missing values; drop or fill them knowingly first")
