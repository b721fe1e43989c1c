"""Correlations: blanks, repair, order, signs; how many bets; moving together at its promised false-alarm rate."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.analysis import correlation, exposure, positions
from athena.analysis.assessment import Verdict
from athena.analysis.inputs import simple_returns
from athena.analysis.moving_together import moving_together
from tests.analysis import markets

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
R = simple_returns(markets.closes(), kind="prices")


def test_pearson_and_ledoit_wolf_agree_with_numpy_and_scikit_learn():
    """The oracles' committed figures on real prices, to ten digits."""
    assert correlation.pearson(R).matrix.iloc[0, 1:4].tolist() == pytest.approx(GOLDEN["pearson_numpy"], abs=1e-10)
    shrunk = correlation.ledoit_wolf(R)
    assert shrunk.shrinkage == pytest.approx(GOLDEN["ledoit_wolf_shrinkage_sklearn"], abs=1e-10)
    assert shrunk.matrix.iloc[0, 1:4].tolist() == pytest.approx(GOLDEN["ledoit_wolf_sklearn"], abs=1e-10)


def test_with_gaps_every_pair_is_what_pandas_makes_of_their_common_days():
    """Pairwise complete observations by four matrix products equal pandas' loop over pairs."""
    holes = R.where(np.random.default_rng(1).random(R.shape) > 0.1)
    assert np.allclose(correlation.pearson(holes).matrix, holes.corr(min_periods=60), atol=1e-12)


def test_ewma_is_the_weighted_sum_of_its_definition():
    """Zero mean, weight 0.94 to the power of the age: by hand on three days, and a gap takes its day out."""
    frame = pd.DataFrame({"a": [0.01, 0.02, -0.01], "b": [0.02, 0.01, -0.02]}, markets.days(3))
    w, x = 0.94 ** np.array([2, 1, 0]), frame.to_numpy()
    expected = (w @ (x[:, 0] * x[:, 1])) / np.sqrt((w @ x[:, 0] ** 2) * (w @ x[:, 1] ** 2))
    assert correlation.ewma(frame, overlap_min=2).matrix.iloc[0, 1] == pytest.approx(expected)
    frame.iloc[0, 1] = np.nan
    w, x = w[1:], x[1:]
    expected = (w @ (x[:, 0] * x[:, 1])) / np.sqrt((w @ x[:, 0] ** 2) * (w @ x[:, 1] ** 2))
    assert correlation.ewma(frame, overlap_min=2).matrix.iloc[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("method", [correlation.pearson, correlation.ewma, correlation.ledoit_wolf])
def test_too_few_common_days_or_a_still_price_is_blank_never_zero(method):
    """Fifty-nine days together, or a price that never moves: no number; the diagonal of a still one neither."""
    few = R.iloc[:59, :3]
    assert method(few).matrix.isna().all().all()
    still = method(R.assign(AAPL=0.0)).matrix
    assert still["AAPL"].isna().all()
    assert method(R.iloc[:0]).matrix.isna().all().all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 25), st.floats(0.2, 0.7))
def test_a_repaired_matrix_is_a_correlation_matrix(seed, n, missing):
    """Whatever pairwise gaps do: no negative eigenvalue, ones on the diagonal, nothing beyond ±1, symmetric."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(40, n)), markets.days(40), [str(i) for i in range(n)])
    part, _ = correlation.complete(
        correlation.pearson(frame.where(rng.random(frame.shape) > missing), overlap_min=4).matrix
    )
    mended, _ = correlation.nearest_valid(part)
    values = mended.to_numpy()
    assert np.linalg.eigvalsh(values).min() > -1e-9
    assert np.allclose(np.diag(values), 1)
    assert np.abs(values).max() <= 1
    assert np.allclose(values, values.T)


def test_a_short_turns_the_sign_and_the_dendrogram_brings_clusters_together():
    """Two blocks shuffled among each other stand side by side; a short against its block is negative."""
    rng = np.random.default_rng(2)
    two = rng.normal(size=(300, 2))
    names = ["a1", "b1", "a2", "b2", "a3", "b3"]
    frame = pd.DataFrame({n: two[:, "ab".index(n[0])] + 0.3 * rng.normal(size=300) for n in names}, markets.days(300))
    order, _ = correlation.seriated(correlation.pearson(frame).matrix)
    letters = "".join(name[0] for name in order.columns)
    assert letters in ("aaabbb", "bbbaaa")
    turned = correlation.signed(correlation.pearson(frame).matrix, pd.Series([1, 1, -1, 1, 1, 1.0], names))
    assert turned.loc["a1", "a2"] < -0.8
    assert turned.loc["a1", "a3"] > 0.8


def test_diversification_by_hand():
    """Two equal independent bets: √2 and 2. The same bet twice: 1 and 1. Long and short of one: no risk."""
    held, vol, names = pd.Series({"a": 1.0, "b": 1.0}), pd.Series({"a": 0.01, "b": 0.01}), ["a", "b"]
    matrix = pd.DataFrame(np.eye(2), names, names)
    found = exposure.diversification(held, vol, matrix)
    assert (found.ratio, found.effective_bets, found.absorption) == pytest.approx((np.sqrt(2), 2, 0.5))
    one = exposure.diversification(held, vol, matrix * 0 + 1.0)
    assert (one.ratio, one.effective_bets, one.absorption) == pytest.approx((1, 1, 1))
    hedged = exposure.diversification(held * [1, -1], vol, matrix * 0 + 1.0)
    assert (hedged.ratio, hedged.volatility_usd) == (np.inf, pytest.approx(0, abs=1e-6))
    assert (hedged.effective_bets, np.isnan(hedged.principal_axes)) == (2, True)


def test_exposure_by_hand_and_an_unknown_beta_stays_unknown():
    """600 long and 200 short of 1,000: gross 80 %, net 40 %; a missing beta gives no market exposure, and is named."""
    found = exposure.exposure(pd.Series({"A": 600.0, "B": -200.0}), 1000.0, pd.Series({"A": 1.5, "B": 1.0}))
    assert (found.gross_fraction, found.net_fraction, found.beta_usd) == (0.8, 0.4, 700.0)
    assert (found.largest, found.largest_share, found.concentration) == ("A", 0.75, pytest.approx(0.625))
    unknown = exposure.exposure(pd.Series({"A": 600.0, "B": -200.0}), 1000.0, pd.Series({"A": 1.5}))
    assert (unknown.beta_usd, unknown.without_beta) == (None, ("B",))


def test_with_a_limit_of_market_exposure_a_flat_book_is_flat():
    """Nothing held is no division by nothing."""
    index = pd.date_range("2020-01-01", periods=3, tz="UTC")
    prices = pd.DataFrame({"A": [1.0, 2.0, 3.0]}, index)
    found = positions.assess(
        prices, kind="prices", held=pd.Series({"A": 0.0}), equity=1000.0, betas=pd.Series({"A": 1.0}),
        thresholds=positions.Thresholds(beta_fraction=1.0),
    )  # fmt: skip
    assert (found.verdict, found.numbers) == (Verdict.OK, {"positions": 0})


def test_beta_agrees_with_empyrical_and_needs_sixty_days():
    """The oracle's figure on real prices; with 59 common days there is none."""
    found = exposure.market_betas(R[["AAPL"]], R["JPM"])["AAPL"]
    assert found == pytest.approx(GOLDEN["beta_aapl_jpm_empyrical"], abs=1e-10)
    assert np.isnan(exposure.market_betas(R[["AAPL"]].iloc[:59], R["JPM"])["AAPL"])


def test_moving_together_keeps_its_false_alarm_rate_at_constant_correlation():
    """Of 150 quiet accounts, long and short pasts, volatility wandering, the alarm sounds in 1 to 9 %."""
    alarms = 0
    for seed in range(150):
        frame = markets.returns((140, 270)[seed % 2], 12, 0.3, seed)
        alarms += moving_together(frame, pd.Series(1.0, frame.columns), runs=120, seed=seed).alarmed
    assert 2 <= alarms <= 13, alarms


def test_moving_together_sees_a_doubled_correlation():
    """From 0.3 to 0.75 in the last 20 days: at least 18 of 20 accounts alarm; a hedged book of half shorts does not."""
    seen = hedged = 0
    for seed in range(20):
        frame = markets.returns(250, 20, 0.3, seed, last=0.75)
        held = pd.Series(1.0, frame.columns)
        seen += moving_together(frame, held, runs=150, seed=seed).alarmed
        hedged += moving_together(frame, held.where(np.arange(20) % 2 == 0, -1.0), runs=150, seed=seed).alarmed
    assert seen >= 18
    assert hedged <= 4


def test_positions_are_judged_and_what_is_missing_is_said():
    """A full answer from enough history; without it, UNKNOWN with the reason; a symbol without prices is named."""
    frame = markets.returns(300, 6, 0.2, 4)
    held = pd.Series(dict.fromkeys(frame.columns, 1000.0))
    full = positions.assess(frame, kind="returns", held=held, equity=1e5)
    assert full.verdict in (Verdict.OK, Verdict.ATTENTION)
    assert 2 < full.numbers["effective_bets"] < 4
    assert full["correlation"].figure is not None
    short = positions.assess(frame.iloc[:50], kind="returns", held=held, equity=1e5)
    assert short.verdict is Verdict.UNKNOWN
    assert short.numbers["effective_bets"] is None
    lacking = positions.assess(frame, kind="returns", held=pd.concat([held, pd.Series({"ZZZ": 5.0})]), equity=1e5)
    assert "ZZZ" in lacking.reason
    assert positions.assess(frame, kind="returns", held=held * 0, equity=1e5).verdict is Verdict.OK
    assert positions.assess(frame, kind="returns", held=held, equity=-1.0).verdict is Verdict.UNKNOWN
    one = positions.assess(frame, kind="returns", held=held.iloc[:1], equity=1e5)
    assert one.verdict is Verdict.UNKNOWN
    with pytest.raises(TypeError, match="kind"):
        positions.assess(frame, kind="log", held=held, equity=1e5)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f[::-1], "unsorted"),
        (lambda f: f.tz_localize(None), "naive"),
        (lambda f: pd.concat([f, f.iloc[-1:]]), "repeated"),
        (lambda f: f.set_axis(["A"] * f.shape[1], axis=1), "twice"),
        (lambda f: f.replace(f.iloc[3, 0], 0.0), "AAPL is 0.0"),
    ],
)
def test_prices_that_cannot_be_are_refused_by_name(spoil, says):
    """Disorder, naive times, repeats and a price of zero: an error that says which."""
    with pytest.raises(ValueError, match=says):
        simple_returns(spoil(markets.closes()), kind="prices")


def test_a_missing_price_makes_missing_returns_not_a_crash_to_zero():
    """A gap of one day leaves two returns unknown."""
    holes = markets.closes()
    holes.iloc[5, 0] = np.nan
    found = simple_returns(holes, kind="prices")["AAPL"]
    assert found.isna().sum() == 2
    assert found.min() > -0.2
