"""Drawdowns on real prices agree with the libraries of the field where those are right (see oracles.py)."""

import json
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import chi2

from athena.analysis.drawdown_table import curve_of, drawdowns
from athena.core.risk import RiskManager
from tests.analysis import markets

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
P = markets.closes()


@pytest.mark.parametrize(
    ("symbol", "oracle"),
    [("AAPL", "max_drawdown_aapl_quantstats"), ("JPM", "max_drawdown_jpm_empyrical"), ("JPM", "max_drawdown_jpm_ffn"),
     ("XOM", "max_drawdown_xom_skfolio")],
)  # fmt: skip
def test_the_deepest_fall_is_that_of_four_libraries(symbol, oracle):
    """RiskManager and the table find the oracle's maximum drawdown, as a fraction at most zero."""
    assert RiskManager().calculate_max_drawdown(P[symbol]) == pytest.approx(-abs(GOLDEN[oracle]), abs=1e-9)
    found = drawdowns(curve_of(P[symbol], kind="equity"))
    assert found["depth_fraction"].min() == pytest.approx(-abs(GOLDEN[oracle]), abs=1e-9)


def test_the_table_has_ffns_rows():
    """As many drawdowns as ffn finds, the deepest from the same day on."""
    found = drawdowns(curve_of(P["JPM"], kind="equity"))
    deepest = found.sort_values("depth_fraction").iloc[0]
    assert len(found) == GOLDEN["drawdowns_jpm_ffn"]
    started = {pd.Timestamp(deepest[c]).date().isoformat() for c in ("peak", "start")}
    assert GOLDEN["deepest_start_jpm_ffn"] in started


def test_chi_squared_is_the_oracles():
    """Kupiec's distribution at 3, to ten digits."""
    assert chi2.sf(3.0, 1) == pytest.approx(GOLDEN["chi2_sf_of_3"], abs=1e-10)
