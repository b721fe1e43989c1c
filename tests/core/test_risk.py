from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athena.core.risk import RiskManager

NAN = float("nan")


def curve(*values: float, flows: list[tuple[int, float]] | None = None) -> pd.Series[float]:
    """Equity on successive days from 1 March 2020; flows as (day number, dollars)."""
    start = datetime(2020, 3, 1, tzinfo=UTC)
    series = pd.Series(values, pd.date_range(start, periods=len(values), freq="D", name="at"), dtype=float)
    series.attrs["flows"] = [(pd.Timestamp(start + timedelta(days=day)), amount) for day, amount in flows or []]
    return series


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        ((100,), 0.0),
        ((100, 90, 95), -0.1),  # a first-day loss that never recovers
        ((100, 120, 90, 130, 117), -0.25),
        ((100, 101, 102), 0.0),
        ((100, NAN, 80, NAN), -0.2),
        ((NAN, 100, 80), -0.2),
    ],
)
def test_the_deepest_fall_is_found(equity: tuple[float, ...], expected: float) -> None:
    """The maximum drawdown is a fraction <= 0 from the running peak, the first point a peak, gaps carried forward."""
    assert RiskManager().calculate_max_drawdown(curve(*equity)) == pytest.approx(expected)
    assert f"{RiskManager().calculate_max_drawdown(curve(100, 90)):.2%}" == "-10.00%"


def test_the_fall_is_located_and_gaps_are_counted() -> None:
    """Peak and valley are named, and how many points were missing."""
    found = RiskManager().drawdown(curve(100, 120, NAN, 90, 125))
    assert (found.peak_at.day, found.valley_at.day, found.missing, found.points) == (2, 4, 1, 5)
    assert str(found).endswith("1 of 5 points missing")


def test_money_moved_is_neither_loss_nor_gain() -> None:
    """A withdrawal is no drawdown, and a deposit does not hide one."""
    risk = RiskManager()
    assert risk.calculate_max_drawdown(curve(100, 50, 50, flows=[(1, -50)])) == 0
    assert risk.calculate_max_drawdown(curve(100, 80, 180, flows=[(2, 100)])) == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="withdrawal took all"):
        risk.calculate_max_drawdown(curve(100, 10, flows=[(1, -100)]))


@pytest.mark.parametrize(
    ("equity", "message"),
    [
        (curve(), "no value"),
        (curve(NAN, NAN), "2 points, all missing"),
        (curve(100, 0, 50), "equity is 0.0 at 2020-03-02"),
        (curve(100, -5), "equity is -5.0"),
        (curve(100, math.inf), "equity is inf"),
        (curve(100, 90)[::-1], "unsorted"),
        (pd.concat([curve(100), curve(90)]), "repeated"),
    ],
)
def test_a_curve_that_has_no_drawdown_is_refused(equity: pd.Series[float], message: str) -> None:
    """No value, no positive equity, disordered times: an error that says which, never a quiet zero."""
    with pytest.raises(ValueError, match=message):
        RiskManager().calculate_max_drawdown(equity)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=40), st.floats(0.01, 100))
def test_drawdown_agrees_with_every_pair_of_points(values: list[float], scale: float) -> None:
    """The figure is the worst of all later/earlier pairs, and does not depend on the unit of money."""
    worst = min(later / earlier - 1 for i, earlier in enumerate(values) for later in values[i:])
    assert RiskManager().calculate_max_drawdown(values) == pytest.approx(worst, abs=1e-9)
    assert RiskManager().calculate_max_drawdown([v * scale for v in values]) == pytest.approx(worst, abs=1e-9)
