"""Risk figures an operator asks for by name. A figure is right, or an error says why it cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a peak: a fraction <= 0, between which points, and how much of the curve was missing.

    `now_fraction` is the fall at the curve's last known point: what the drawdown's tiers are held against.
    """

    fraction: float
    peak_at: Any
    valley_at: Any
    points: int
    missing: int
    now_fraction: float = 0.0

    def __str__(self) -> str:
        gaps = f", {self.missing} of {self.points} points missing" if self.missing else ""
        return f"{self.fraction:.2%} from {self.peak_at} to {self.valley_at}{gaps}"


class RiskManager:
    """Figures of the account's risk, from curves that are given to it."""

    def calculate_max_drawdown(self, equity: pd.Series[float] | Sequence[float]) -> float:
        """The maximum drawdown as a fraction <= 0 (-0.1 is ten per cent below the peak); see `drawdown`."""
        return self.drawdown(equity).fraction

    def calculate_current_drawdown(self, equity: pd.Series[float] | Sequence[float]) -> float:
        """How far the last point lies below the peak so far, as a fraction <= 0; see `drawdown`."""
        return self.drawdown(equity).now_fraction

    def drawdown(self, equity: pd.Series[float] | Sequence[float]) -> Drawdown:
        """The deepest fall of equity from its running peak, the first point being a peak.

        equity: dollars in time's order; a Series' `.attrs['flows']`, (time, signed dollars), is taken out, as flows at
        the start of their interval: W_t / W_{t-1} = E_t / (E_{t-1} + F_t). Missing values take the one before and are
        counted. Raises ValueError: no value, equity not positive or infinite, times unsorted or repeated.
        """
        curve = equity if isinstance(equity, pd.Series) else pd.Series(list(equity), dtype=float)
        if not curve.index.is_monotonic_increasing or not curve.index.is_unique:
            raise ValueError("the equity curve's times are unsorted or repeated; sort them and drop repeats first")
        values = curve.to_numpy(dtype=float, na_value=np.nan)
        known, missing = curve, 0
        if not (len(values) and np.isfinite(values.sum()) and values.min() > 0):
            gaps = np.isnan(values)
            if gaps.all():
                raise ValueError(f"the equity curve has no value ({len(values)} points, all missing)")
            wrong = ~gaps & ~(np.isfinite(values) & (values > 0))
            if wrong.any():
                at = int(wrong.argmax())
                raise ValueError(
                    f"equity is {values[at]} at {curve.index[at]}; a fraction of it has no meaning. Use dollars."
                )
            known, missing = curve[~gaps], int(gaps.sum())
        wealth = _wealth(known)
        fall = wealth / np.maximum.accumulate(wealth)
        fall -= 1
        valley = int(fall.argmin())
        peak = int(wealth[: valley + 1].argmax())
        return Drawdown(
            float(fall[valley]), known.index[peak], known.index[valley], len(values), missing, float(fall[-1])
        )


def _wealth(curve: pd.Series[float]) -> Curve:
    """What one dollar became, deposits and withdrawals taken out."""
    values = curve.to_numpy(dtype=float)
    flows = [(at, amount) for at, amount in curve.attrs.get("flows", ()) if curve.index[0] < at <= curve.index[-1]]
    if not flows:
        return np.asarray(values)  # only ratios matter
    before = values[:-1].copy()
    for at, amount in flows:
        before[curve.index.searchsorted(at, side="left") - 1] += amount
    if (before <= 0).any():
        raise ValueError("a withdrawal took all the equity; a fraction of nothing has no meaning. Use dollars.")
    return np.concatenate([[1.0], np.cumprod(values[1:] / before)])
