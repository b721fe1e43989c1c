"""Slippage, order outcomes and equity curves: signs, missing values and flows."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from athena.analysis import curves, execution


def priced(*rows):
    return execution.with_slippage(pd.DataFrame(rows, columns=["symbol", "side", "quantity", "price", "bid", "ask"]))


def test_slippage_is_positive_when_it_costs_on_either_side():
    """Buying above and selling below the mid both cost; a price improvement is negative."""
    table = priced(
        ("A", "buy", 10, 100.1, 99.9, 100.1), ("A", "sell", 10, 99.9, 99.9, 100.1), ("A", "buy", 10, 99.95, 99.9, 100.1)
    )
    assert table["cost_bps"].round(6).tolist() == [10.0, 10.0, -5.0]
    assert table["cost_usd"].round(6).tolist() == [1.0, 1.0, -0.5]


def test_fills_without_a_usable_quote_are_counted_and_never_zero():
    """No quote, a crossed quote: unmeasured, and the symbol's cost is that of the measured fill alone."""
    table = execution.slippage(
        priced(
            ("A", "buy", 1, 101, 99, 101),
            ("A", "buy", 1, 50, None, None),
            ("A", "buy", 1, 50, 51, 49),
            ("B", "buy", 1, 5, None, None),
        ),
        ["symbol"],
    ).set_index("symbol")
    assert table.loc["A", ["fills", "unmeasured"]].tolist() == [1, 2]
    assert table.loc["A", "cost_bps"] == pytest.approx(100)
    assert np.isnan(table.loc["B", "cost_usd"])


def test_slippage_of_a_group_is_weighted_by_value():
    """Nine shares at 0 bps and one at 100 bps of the same price are 10 bps, not 50."""
    rows = [("A", "buy", 9, 100, 99, 101), ("A", "buy", 1, 101, 99, 101)]
    assert execution.slippage(priced(*rows), ["symbol"])["cost_bps"].iloc[0] == pytest.approx(10)


def test_every_order_lands_in_exactly_one_outcome():
    """Filled, partial, rejected, unfilled, pending and unsent add up to what was decided."""
    states = [
        ("filled", 5),
        ("canceled", 2),
        ("canceled", 0),
        ("rejected", 0),
        ("new", 0),
        ("unknown", 0),
        ("refused", 0),
        ("not_sent", 0),
    ]
    orders = pd.DataFrame(
        [("s", status, 5, done) for status, done in states],
        columns=["strategy", "status", "quantity", "filled_quantity"],
    )
    row = execution.outcomes(orders, "strategy").iloc[0]
    assert row[["decided", "refused", "sent", "filled", "partial", "rejected", "unfilled", "pending"]].tolist() == [
        8,
        1,
        6,
        1,
        1,
        1,
        1,
        2,
    ]
    assert row["fill_rate"] == pytest.approx(1 / 6)


def times(n):
    return pd.date_range(datetime(2020, 3, 9, 14, 30, tzinfo=UTC), periods=n, freq="min")


def test_a_deposit_neither_makes_nor_heals_a_drawdown():
    """100 → 80 with a deposit of 100 right after stays 20 % under water."""
    equity = pd.Series([100.0, 80.0, 180.0], index=times(3))
    flows = pd.Series([100.0], index=times(3)[2:])
    assert curves.underwater(equity, flows).round(10).tolist() == [0.0, -0.2, -0.2]


def test_a_loss_on_the_first_step_counts():
    """The peak is the start, not the first return."""
    assert curves.underwater(pd.Series([100.0, 90.0], index=times(2))).min() == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("values", "index", "says"),
    [
        ([1.0, np.nan], times(2), "missing"),
        ([1.0, 2.0], times(2)[::-1], "unsorted"),
        ([1.0, 2.0], times(2).tz_localize(None), "naive"),
        ([1.0, -2.0, 1.0], times(3), "negative"),
    ],
)
def test_a_curve_that_cannot_be_is_refused_by_name(values, index, says):
    """Gaps, disorder, naive times and negative equity raise; none becomes a quiet zero."""
    with pytest.raises(ValueError, match=says):
        curves.underwater(pd.Series(values, index=index))


def test_a_thinned_curve_keeps_its_deepest_dip():
    """A single low point among a hundred thousand survives."""
    values = np.full(100_000, 5.0)
    values[77_777] = -3.0
    thinned = curves.thin(pd.Series(values, index=times(100_000)))
    assert thinned.min() == -3.0
    assert len(thinned) < 2_000


def test_the_busiest_minute_and_the_losing_run_are_counted_as_limits_count_them():
    """Sixty seconds hold three of these; two losses in a row, a fill that closed nothing between them."""
    at = pd.Series(
        pd.to_datetime(["2020-03-09T15:00:00Z", "2020-03-09T15:00:30Z", "2020-03-09T15:00:59Z", "2020-03-09T15:01:05Z"])
    )
    assert execution.busiest_minute(at) == 3
    assert execution.longest_losing_run(pd.Series([-1, 0, -1, 2, -1])) == 2


def test_one_cause_is_one_row_whatever_the_order_and_the_numbers():
    """Two rejections that differ in id and shares are one row with n = 2, the venue's code apart; so are refusals."""
    words = "order athena-s-{}-{}f: insufficient qty available for order (requested: {}, available: 4)"
    words += " (HTTP 403, code 40310000)."
    orders = pd.DataFrame(
        [
            ("o1", "JNJ", "rejected", words.format("JNJ", 1, 18)),
            ("o2", "JPM", "rejected", words.format("JPM", 2, 20)),
            ("o3", "XOM", "refused", None),
            ("o4", "XOM", "refused", None),
            ("o5", "XOM", "rejected", None),
        ],
        columns=["client_order_id", "symbol", "status", "error"],
    )
    violations = pd.DataFrame(
        [("o3", "SLIPPAGE", "cost 61 bps, past 50"), ("o4", "SLIPPAGE", "cost 70.5 bps, past 50")],
        columns=["client_order_id", "code", "message"],
    )
    rows = execution.causes(orders, violations)[["by", "cause", "code", "count", "symbols"]].values.tolist()
    assert rows == [
        ["guard", "cost … bps, past …", "SLIPPAGE", 2, "XOM"],
        ["venue", "insufficient qty available for order", "40310000", 2, "JNJ, JPM"],
        ["venue", "no reason given", "", 1, "XOM"],
    ]


def test_a_gain_in_the_slippage_chart_has_its_label_right_of_zero():
    """Left of the bar it would lie on the symbol's name; dollars in hovers carry their sign before the unit."""
    from athena.analysis import figures

    table = execution.slippage(priced(("A", "buy", 10, 99.95, 99.9, 100.1), ("B", "buy", 1, 101, 99, 101)), ["symbol"])
    bars, labels = figures.slippage_bars(table).data
    assert min(bars.x) < 0
    assert min(labels.x) == 0
    assert (
        "%{x:$,.2f}"
        in figures.profit_bars(pd.DataFrame([["A", "s", -1.0]], columns=["symbol", "strategy", "total"]))
        .data[0]
        .hovertemplate
    )
