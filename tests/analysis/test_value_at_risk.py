"""VaR and ES by hand and by oracle; Kupiec's test; n always known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from athena.analysis import value_at_risk as risk
from athena.analysis.assessment import Verdict
from athena.analysis.inputs import simple_returns
from tests.analysis import markets
from tests.analysis.oracles import HELD

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
R = simple_returns(markets.closes(), kind="prices")
HELD_NOW = pd.Series(HELD)


def test_var_and_es_agree_with_empyrical_and_skfolio_on_real_prices():
    """Present positions, shorts included, on all days: the oracles' figures to ten digits."""
    losses, dropped = risk.losses_of(R, HELD_NOW)
    assert dropped == 0
    assert risk.value_at_risk(losses, 0.95) == pytest.approx(GOLDEN["var_95_empyrical"], abs=1e-9)
    assert risk.expected_shortfall(losses, 0.975) == pytest.approx(GOLDEN["es_975_skfolio"], abs=1e-9)


def test_es_of_a_hundred_known_losses():
    """Losses 1 to 100: the worst 2.5 of them average (100 + 99 + 98/2) / 2.5."""
    losses = np.arange(1.0, 101.0)
    assert risk.expected_shortfall(losses, 0.975) == pytest.approx((100 + 99 + 49) / 2.5)
    assert risk.value_at_risk(losses, 0.95) == pytest.approx(95.05)


def test_too_few_days_have_no_figure():
    """The 99th per cent of 99 days is not known; under 60 days nothing is, and the verdict says so."""
    assert np.isnan(risk.value_at_risk(np.arange(99.0), 0.99))
    assert risk.value_at_risk(np.arange(100.0), 0.99) == pytest.approx(98.01)
    found = risk.assess(R.iloc[:40], kind="returns", held=HELD_NOW, equity=1e5)
    assert (found.verdict, "40 days" in found.reason) == (Verdict.UNKNOWN, True)


def test_a_day_without_a_return_is_dropped_and_counted():
    """One missing return takes its day out: neither zero nor NaN for all."""
    holes = R.copy()
    holes.loc[holes.index[3], "AAPL"] = np.nan
    losses, dropped = risk.losses_of(holes, HELD_NOW)
    assert (len(losses), dropped) == (len(R) - 1, 1)
    assert np.isfinite(losses).all()


def test_ewma_rescales_to_the_present():
    """Losses that doubled for good: the rescaled quiet half is about as large as the loud one."""
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0, 1, 250), rng.normal(0, 2, 250)])
    scaled = risk.rescaled(losses)
    assert scaled[50:250].std() / scaled[300:].std() == pytest.approx(1, abs=0.25)
    assert losses[50:250].std() / losses[300:].std() < 0.6


def test_kupiec_by_hand():
    """Ten losses past the VaR in 100 days at 95 %: LR = 4.131, p = 0.042; exactly five: 0 and 1; none: 10.26."""
    days = markets.days(100)
    var = pd.Series(1.0, days)
    profit = pd.Series(np.where(np.arange(100) < 10, -2.0, 0.5), days)
    found = risk.kupiec(profit, var, 0.95)
    by_hand = -2 * (90 * np.log(0.95 / 0.90) + 10 * np.log(0.05 / 0.10))
    assert (found.exceptions, found.statistic) == (10, pytest.approx(by_hand))
    assert found.p_value == pytest.approx(0.0421, abs=1e-4)
    five = pd.Series(np.where(np.arange(100) < 5, -2.0, 0.5), days)
    assert risk.kupiec(five, var, 0.95).p_value == pytest.approx(1)
    assert risk.kupiec(abs(five), var, 0.95).statistic == pytest.approx(-200 * np.log(0.95))


def test_forecasts_use_only_what_was_known_before_the_day():
    """A crash on a day is not in that day's forecast; a day without history has none."""
    held = pd.DataFrame({"AAPL": 1000.0}, R.index)
    var = risk.forecasts(R, held)
    assert var.iloc[:60].isna().all()
    assert var.iloc[60:].notna().all()
    spoiled = R.copy()
    spoiled.iloc[80] = -0.9
    assert risk.forecasts(spoiled, held).iloc[80] == var.iloc[80]


def test_the_verdict_names_the_limit_and_the_test():
    """A VaR above the daily loss limit needs attention, as does a past that passed it too often."""
    past = pd.Series(np.random.default_rng(0).normal(0, 1000, 200), markets.days(200))
    found = risk.assess(R, kind="returns", held=HELD_NOW, equity=1e5, limit_usd=100.0, past_profit=past,
                        past_var=pd.Series(100.0, past.index))  # fmt: skip
    assert [f.verdict for f in found.findings] == [Verdict.ATTENTION] * 2
    assert found.numbers["days"] == len(R)
    assert risk.assess(R, kind="returns", held=HELD_NOW, equity=0.0).verdict is Verdict.UNKNOWN
