"""Drawdown: the table by hand, invariance under scale and flows, the operators' tiers, inputs that cannot be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.analysis import drawdown
from athena.analysis.assessment import Verdict
from athena.analysis.drawdown_table import curve_of, drawdowns
from athena.core.risk import RiskManager
from tests.analysis import markets
from tests.analysis.markets import curve

VALUES = st.lists(st.floats(1, 1e6), min_size=1, max_size=40)


def table(data, kind="equity", **more):
    return drawdowns(curve_of(data, kind=kind, **more))


def test_a_table_has_every_date_length_and_status():
    """100, 120, 90, 120, 108: one recovered fall of a quarter, one open of a tenth, each date where it belongs."""
    found = table(curve(100, 120, 90, 120, 108))
    first, second = (found.iloc[i] for i in (0, 1))
    assert [first[c].day for c in ("peak", "start", "valley", "end", "recovery")] == [3, 4, 4, 4, 5]
    assert (first["depth_fraction"], first["depth_usd"], first["status"]) == (pytest.approx(-0.25), -30, "recovered")
    assert pd.isna(second["recovery"])
    assert (second["bars"], second["sessions"], second["status"]) == (1, 1, "open")


def test_a_loss_on_the_first_day_is_in_the_table_whatever_the_input():
    """−10 % on the first step is there from equity, from returns and from profits, open, with the base as its peak."""
    for data, kind in ((curve(100, 90), "equity"), (curve(-0.1, 0.0), "returns"), (curve(-10, 0), "pnl")):
        found = table(data, kind, **({} if kind == "equity" else {"capital": 100.0}))
        assert found["depth_fraction"].tolist() == [pytest.approx(-0.1)]
        assert found["depth_usd"].tolist() == [pytest.approx(-10)]
        assert found["status"].tolist() == ["open"]


def test_a_fall_within_a_day_counts_its_points_and_one_session():
    """Three points under water between 10 and 11 o'clock are three bars on one session, two past midnight on two."""
    hours = pd.DatetimeIndex(["2020-03-09 14:00", "2020-03-09 14:20", "2020-03-09 14:40", "2020-03-09 15:00",
                              "2020-03-09 15:20", "2020-03-10 14:00", "2020-03-10 15:00"], tz="UTC")  # fmt: skip
    found = table(pd.Series([100.0, 99, 98, 99, 100, 99, 101], hours))
    assert found[["bars", "sessions", "bars_to_valley"]].to_numpy().tolist() == [[3, 1, 2], [1, 1, 1]]
    assert table(pd.Series([100.0, 99, 99], hours[[0, 4, 5]]))["sessions"].tolist() == [2]


def test_deposits_and_withdrawals_are_neither_loss_nor_cure():
    """Half withdrawn is no drawdown; a deposit after a fall of a fifth leaves it a fifth."""
    at = curve(0, 0, 0).index
    assert table(curve(100, 50, 50), flows=pd.Series([-50.0], at[1:2])).empty
    found = table(curve(100, 80, 180), flows=pd.Series([100.0], at[2:]))
    assert found["depth_fraction"].tolist() == [pytest.approx(-0.2)]
    assert found["depth_usd"].tolist() == [-20]


def test_a_gap_is_left_out_and_counted_not_taken_for_a_loss():
    """A deposit during a gap belongs to the next known point; nothing falls."""
    at = curve(0, 0, 0, 0).index
    found = curve_of(curve(100, np.nan, 200, 200), kind="equity", flows=pd.Series([100.0], at[1:2]))
    assert found.missing == 1
    assert found.depth().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (curve(), "equity", "empty"),
        (curve(np.nan, np.nan), "equity", "missing"),
        (curve(0.1, np.nan), "returns", "1 of 2 values missing"),
        (curve(100, 0), "equity", "equity is 0"),
        (curve(100, -5), "equity", "equity is -5"),
        (curve(-1.0), "returns", "not positive"),
        (curve(100, np.inf), "equity", "infinite"),
        (curve(100, 90)[::-1], "equity", "unsorted"),
        (pd.concat([curve(100), curve(90)]), "equity", "repeated"),
        (curve(100, 90).tz_localize(None), "equity", "naive"),
        (pd.Series([100.0, 90.0]), "equity", "no times"),
    ],
)
def test_what_cannot_be_judged_is_named_and_the_verdict_is_unknown(data, kind, says):
    """Neither table nor verdict pretends: ValueError from the one, UNKNOWN with the same words from the other."""
    with pytest.raises(ValueError, match=says):
        table(data, kind)
    found = drawdown.assess(data, kind=kind)
    assert found.verdict is Verdict.UNKNOWN
    assert says.lower() in found.reason.lower()


def test_the_kind_of_input_is_never_guessed():
    """A net asset value below 1 looks like returns: without its kind, or with a wrong one, there is no answer."""
    with pytest.raises(TypeError, match="nothing is guessed"):
        drawdown.assess(curve(1.0, 0.78), kind="nav")
    assert drawdown.assess(curve(1.0, 0.78), kind="equity").numbers["max_fraction"] == pytest.approx(-0.22)


@settings(max_examples=60)
@given(VALUES, st.floats(0.01, 100))
def test_the_table_agrees_with_every_pair_and_does_not_know_the_unit_of_money(values, scale):
    """The deepest row is the worst later/earlier pair, and RiskManager's figure; times a constant, nothing changes."""
    worst = min(later / earlier - 1 for i, earlier in enumerate(values) for later in values[i:])
    found, scaled = table(curve(*values)), table(curve(*(v * scale for v in values)))
    assert found["depth_fraction"].min(skipna=True) == pytest.approx(worst, abs=1e-9) or (found.empty and worst == 0)
    assert RiskManager().calculate_max_drawdown(curve(*values)) == pytest.approx(worst, abs=1e-9)
    assert np.allclose(scaled["depth_fraction"].min(), worst, atol=1e-9) or worst > -1e-9


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-0.2, 0.25), st.floats(-0.5, 2)), min_size=1, max_size=30))
def test_drawdown_does_not_see_flows(steps):
    """The same returns, whatever is paid in or out at each interval's start, are the same drawdowns."""
    plain, moved, flows = [1000.0], [1000.0], []
    for gain, flow in steps:
        plain.append(plain[-1] * (1 + gain))
        flows.append(flow * moved[-1])
        moved.append((moved[-1] + flows[-1]) * (1 + gain))
    index = curve(*plain).index
    without = curve_of(curve(*plain), kind="equity").depth()
    with_flows = curve_of(curve(*moved), kind="equity", flows=pd.Series(flows, index[1:])).depth()
    assert np.allclose(without, with_flows, atol=1e-9)


@pytest.mark.parametrize(
    ("fall", "verdict", "action"),
    [
        (0.049, "OK", "Monitor"),
        (0.05, "ATTENTION", "25 %"),
        (0.0999, "ATTENTION", "reduce-position-sizes --factor 0.75"),
        (0.10, "STOP", "--reduce-only"),
        (0.1499, "STOP", "No new entries"),
        (0.15, "STOP", "emergency-stop"),
    ],
)
def test_the_operators_tiers_apply_from_their_number_on(fall, verdict, action):
    """5, 10 and 15 per cent below the peak: the playbook's own action for each."""
    found = drawdown.assess(curve(1_000_000, 1_000_000 * (1 - fall)), kind="equity")
    assert found.verdict == verdict
    assert action in found.findings[0].action


def test_the_verdict_is_of_the_present_fall_not_of_the_deepest():
    """A fall of a fifth, recovered, needs nothing today; the table still has it."""
    found = drawdown.assess(curve(100, 80, 101), kind="equity")
    assert (found.verdict, found.numbers["max_fraction"]) == (Verdict.OK, pytest.approx(-0.2))
    assert found.to_dict()["tables"]["history"][0]["rows"][0]["status"] == "recovered"


def test_limits_are_breached_by_the_smallest_market_move_that_costs_their_headroom():
    """5,000 left and 50,000 of market held: −10 %; short the market: +10 %; hardly any market: no move does it."""
    left = {"daily loss": 5000.0}
    assert drawdown.breaches(left, beta_usd=50_000)["market_move_fraction"].tolist() == [pytest.approx(-0.1)]
    assert drawdown.breaches(left, beta_usd=-50_000)["market_move_fraction"].tolist() == [pytest.approx(0.1)]
    assert drawdown.breaches(left, beta_usd=100.0)["market_move_fraction"].isna().all()
    assert drawdown.breaches(left, losing_day_usd=1000)["losing_days"].tolist() == [5.0]


def test_an_account_like_its_past_stands_in_its_middle_and_a_crash_in_its_tail():
    """A quiet past that ends in a fall of a fifth is deeper than 95 % of resampled ones; under 60 days: no answer."""
    rng = np.random.default_rng(5)
    calm = np.cumprod(np.concatenate([[1.0], 1 + rng.normal(0.0005, 0.005, 200)]))
    assert drawdown.standing(calm).deeper_share > 0.05
    crashed = np.concatenate([calm, calm[-1] * np.cumprod(np.full(4, 0.945))])
    assert drawdown.standing(crashed).deeper_share < 0.05
    assert drawdown.standing(calm[:60]) is None
    index = markets.days(len(crashed))
    assert drawdown.assess(pd.Series(crashed * 1e5, index), kind="equity").findings[1].verdict is Verdict.ATTENTION
