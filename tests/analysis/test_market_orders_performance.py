"""Market conditions against usual; orders by end, cause, speed and age; performance recomputed from fills."""

from datetime import UTC, datetime
from decimal import Decimal as D

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.analysis import market_conditions, orders, performance
from athena.analysis.assessment import Verdict
from athena.analysis.volatility import against_usual, daily_moves, realised, spreads
from athena.core.rejections import rejection
from athena.lot import Book
from tests.analysis import markets

BARS = markets.bars(wild="S02")
NOW = BARS["at"].max()
SENT = pd.Timestamp("2020-03-09 14:00", tz="UTC")


def test_a_symbol_four_times_as_wild_stands_out_and_the_others_do_not():
    """The wild symbol's half hour is over twice its usual; the others' are not, each against six sessions."""
    found = against_usual(BARS, NOW).set_index("symbol")
    assert found.loc["S02", "volatility_ratio"] > 2.5
    assert (found.drop("S02")["volatility_ratio"] < 2).all()
    assert (found["sessions"] == 6).all()
    assert found["volume_ratio"].between(0.8, 1.2).all()
    assessed = market_conditions.assess(BARS, NOW.to_pydatetime())
    row = next(f for f in assessed.findings if f.check == "Volatility")
    assert (row.verdict, next(iter(row.inputs["symbols"]))) == (Verdict.ATTENTION, "S02")


def test_too_few_sessions_have_no_usual_and_say_so():
    """Four earlier sessions are too few: ratios blank, n said, the verdict UNKNOWN and not OK."""
    few = BARS[BARS["at"] >= pd.Timestamp("2020-03-04", tz="America/New_York")]
    found = against_usual(few, NOW)
    assert found["volatility_ratio"].isna().all()
    assert (found["sessions"] == 4).all()
    assert market_conditions.assess(few, NOW.to_pydatetime()).verdict is Verdict.UNKNOWN


def test_a_market_fall_of_seven_per_cent_is_a_stop():
    """The market symbol 8 % below its last close: STOP, and the next breaker is 13 %."""
    fallen = BARS.copy()
    today = fallen["at"] >= NOW.normalize()
    before = fallen.loc[(fallen["symbol"] == "S00") & ~today, "close"].iloc[-1]
    last = fallen.index[(fallen["symbol"] == "S00") & today][-1]
    fallen.loc[last, "close"] = before * 0.92
    found = market_conditions.assess(fallen, NOW.to_pydatetime(), market="S00")
    assert found.findings[0].verdict is Verdict.STOP
    assert found.findings[0].inputs["next_breaker"] == 0.13
    assert market_conditions.assess(fallen, NOW.to_pydatetime(), market="SPY").findings[0].verdict is Verdict.UNKNOWN


def test_a_halted_symbol_is_a_stop_and_a_silent_one_needs_attention():
    """Halted by the venue: STOP; no bar for ten minutes in an open market: look; a closed market is silent."""
    quiet = BARS[~((BARS["symbol"] == "S01") & (BARS["at"] > NOW - pd.Timedelta("10min")))]
    halts = {
        "told": market_conditions.assess(BARS, NOW.to_pydatetime(), halted=["S03"]),
        "silent": market_conditions.assess(quiet, NOW.to_pydatetime()),
        "closed": market_conditions.assess(quiet, NOW.to_pydatetime(), market_open=False),
    }
    rows = {key: next(f for f in a.findings if f.check == "Halted symbols") for key, a in halts.items()}
    assert [rows[key].verdict.value for key in halts] == ["STOP", "ATTENTION", "OK"]
    assert "S01 (silent)" in rows["silent"].observed


def test_a_gap_is_measured_in_its_own_usual_gaps():
    """An opening 5 % above the close before, after gaps of a tenth of a per cent, is many standard deviations."""
    gaps = BARS.copy()
    rng = np.random.default_rng(0)
    days = gaps["at"].dt.strftime("%Y%m%d")
    first = ~pd.Series(list(zip(gaps["symbol"], days, strict=True))).duplicated()
    gaps.loc[first.to_numpy(), "open"] *= 1 + rng.normal(0, 0.001, int(first.sum()))
    today = first.to_numpy() & (gaps["at"] >= NOW.normalize()).to_numpy() & (gaps["symbol"] == "S04").to_numpy()
    gaps.loc[today, "open"] *= 1.05
    found = daily_moves(gaps, NOW).set_index("symbol")
    assert found.loc["S04", "gap_fraction"] == pytest.approx(0.05, abs=0.005)
    assert found.loc["S04", "gap_z"] > 10


def test_spreads_now_against_usual_leave_crossed_quotes_out():
    """Ten bps now, two before: five times usual; a crossed quote is counted, not averaged."""
    rows = []
    for day in range(7):
        at = NOW - pd.Timedelta(days=6 - day)
        half = 0.05 if day == 6 else 0.01
        rows += [["A", at - pd.Timedelta(minutes=1), 100 - half, 100 + half], ["A", at, 100 - half, 100 + half]]
    rows.append(["A", NOW, 101.0, 99.0])
    found = spreads(pd.DataFrame(rows, columns=["symbol", "at", "bid", "ask"]), NOW).iloc[0]
    assert (found["spread_ratio"], found["quotes"], found["unusable"]) == (pytest.approx(5), 2, 1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: b[::-1], "unsorted"),
        (lambda b: b.assign(at=b["at"].dt.tz_localize(None)), "naive"),
        (lambda b: pd.concat([b, b.iloc[-1:]]), "two bars"),
        (lambda b: b.assign(close=b["close"].where(b.index != 7, np.nan)), "close is nan"),
        (lambda b: b.drop(columns="volume"), "volume"),
        (lambda b: b.iloc[:0], "no bar"),
    ],
)
def test_bars_that_cannot_be_judged_are_named(spoil, says):
    """Disorder, naive times, repeats, gaps inside a bar, no bars: UNKNOWN with the reason."""
    found = market_conditions.assess(spoil(BARS), NOW.to_pydatetime())
    assert found.verdict is Verdict.UNKNOWN
    assert says in found.reason


def test_realised_volatility_by_hand():
    """Returns +1 % and −1 %: sample deviation √2 %, times the root of the periods; two prices are too few."""
    assert realised(markets.curve(100, 101, 99.99), 252) == pytest.approx(np.sqrt(2) * 0.01 * np.sqrt(252))
    with pytest.raises(ValueError, match="at least 3"):
        realised(markets.curve(100, 101), 252)


def book_of(*states):
    rows = [
        [f"o{n}", "s", "A", kind, status, 10, done, error, SENT, SENT, SENT + pd.Timedelta(milliseconds=delay), "day"]
        for n, (status, kind, done, error, delay) in enumerate(states)
    ]
    return pd.DataFrame(rows, columns=[*orders.COLUMNS, "time_in_force"])


NO_VIOLATIONS = pd.DataFrame(columns=["code", "message", "symbol", "client_order_id"])


def judged(frame, **more):
    more = {"now": datetime(2020, 3, 9, 14, 5, tzinfo=UTC), "explain": lambda words: rejection(words).row, **more}
    return orders.assess(frame, NO_VIOLATIONS, **more)


def test_rejections_come_with_their_cause_and_fix():
    """Two of ten rejected for buying power: ATTENTION, and the fix is to reduce sizes."""
    frame = book_of(
        *[("filled", "limit", 10, None, 20)] * 8, *[("rejected", "limit", 0, "insufficient buying power", 30)] * 2
    )
    found = judged(frame)
    assert (found.verdict, found.numbers["rejected"]) == (Verdict.ATTENTION, 2)
    assert "reduce-position-sizes" in found.action
    assert found["causes"].tables[0].frame["means"].tolist() == ["not enough buying power"]
    assert set(judged(frame, failed_only=True).sections) == {"causes", "stuck"}


def test_orders_that_wait_too_long_are_stuck_with_the_reason():
    """An unanswered order is STOP; an open market order and an old day order are found, a resting limit is not."""
    frame = book_of(("unknown", "limit", 0, None, 20), ("new", "market", 0, None, 20), ("new", "limit", 0, None, 20))
    found = orders.stuck(frame, datetime(2020, 3, 9, 14, 5, tzinfo=UTC))
    assert found["why"].tolist() == ["no answer yet", "a market order still open"]
    assert judged(frame).verdict is Verdict.STOP
    later = orders.stuck(frame.iloc[2:], datetime(2020, 3, 11, 14, 5, tzinfo=UTC))
    assert later["why"].tolist() == ["a day order of an earlier day"]


def test_latency_percentiles_and_a_wrong_clock():
    """Of 1 to 100 ms the 95th per cent is 95.05; an answer before its question means a clock is wrong: UNKNOWN."""
    frame = book_of(*[("filled", "limit", 10, None, ms) for ms in range(1, 101)])
    assert judged(frame).numbers["latency_p95_ms"] == pytest.approx(95.05)
    assert judged(book_of(("filled", "limit", 10, None, -5))).verdict is Verdict.UNKNOWN


def test_few_orders_are_shown_and_not_judged_and_none_are_unknown():
    """One cancelled order of one is 100 %, and no verdict follows from it; no orders are UNKNOWN, a repeat is named."""
    one = judged(book_of(("canceled", "limit", 0, None, 5)))
    assert (one.verdict, one.numbers["cancelled"]) == (Verdict.OK, 1)
    assert judged(book_of()).verdict is Verdict.UNKNOWN
    again = pd.concat([book_of(("filled", "limit", 10, None, 5))] * 2)
    assert "twice" in judged(again).reason


def fills(*rows):
    columns = ["at", "symbol", "strategy", "side", "quantity", "price", "fee", "bid", "ask"]
    return pd.DataFrame(
        [
            [SENT + pd.Timedelta(minutes=n), "A", strategy, side, q, p, 0.5, p - 0.01, p + 0.01]
            for n, (strategy, side, q, p) in enumerate(rows)
        ],
        columns=columns,
    )


def test_performance_by_hand():
    """Buy 10 at 100, sell 5 at 110 (+50), sell 5 at 90 (−50), an operator's flat: half won, factor 1, net the fees."""
    traded = fills(("s", "buy", 10, 100.0), ("s", "sell", 5, 110.0), ("operator", "sell", 5, 90.0))
    row = performance.performance(performance.realise(traded, Book()), ["strategy"]).iloc[0]
    assert (row["strategy"], row["closing"], row["won_share"], row["profit_factor"]) == ("s", 2, 0.5, 1.0)
    assert (row["gross_usd"], row["net_usd"], row["losing_run"]) == (0, D("-1.5"), 1)
    assert row["drawdown_usd"] == pytest.approx(-50.5)  # from +49 after the first sale to −1.5
    assert np.isnan(row["low_usd"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s1", "s2", "operator"]),
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 30),
            st.decimals("50", "150", places=2).map(float),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_sum_over_strategies_is_the_sum_over_symbols_to_the_cent(rows):
    """However it is grouped, and whoever closed, realised dollars and fees are the same."""
    realised_ = performance.realise(fills(*rows), Book())
    sums = [
        performance.performance(realised_, keys)[["gross_usd", "fees_usd"]].sum().tolist()
        for keys in (["strategy"], ["symbol"])
    ]
    assert sums[0] == sums[1]
    assert sums[0][1] == D("0.5") * len(rows)


def test_a_record_that_differs_from_the_fills_stops():
    """A cent is tolerated, a dollar is not; no record is UNKNOWN; five losses in a row need attention."""
    traded = fills(("s", "buy", 10, 100.0), ("s", "sell", 10, 101.0))
    assert performance.assess(traded, before=Book(), recorded={"s": D("10.01")}).verdict is Verdict.OK
    assert performance.assess(traded, before=Book(), recorded={"s": D(11)}).verdict is Verdict.STOP
    assert performance.assess(traded, before=Book(), recorded={}).verdict is Verdict.UNKNOWN
    losing = fills(("s", "buy", 10, 100.0), *[("s", "sell", 1, 99.0)] * 5)
    assert performance.assess(losing, before=Book()).verdict is Verdict.ATTENTION
    assert performance.assess(traded.iloc[:0], before=Book()).verdict is Verdict.UNKNOWN
    assert "no price" in performance.assess(traded.assign(price=np.nan), before=Book()).reason
