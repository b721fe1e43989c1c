"""Five-term slippage: by hand, exact sums, what is missing stays missing; the law fitted, markouts, the matrix."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.analysis import slippage
from athena.analysis.assessment import Verdict
from athena.analysis.execution import HALT_SYMBOL_BPS, LIMIT_ORDERS_BPS
from athena.analysis.markouts import closing_mids, markouts, quotes_around
from athena.analysis.resampling import ratio_interval
from athena.analysis.shortfall import TERMS, decompose, summary
from athena.analysis.slippage_model import fit
from athena.core.decisions import PLAYBOOK
from tests.analysis import markets

AT = pd.Timestamp("2020-03-09 14:00", tz="UTC")
ORDER = [
    "client_order_id",
    "strategy",
    "symbol",
    "side",
    "quantity",
    "decision_price",
    "bid",
    "ask",
    "status",
    "final_venue_at",
]
FILL = ["client_order_id", "strategy", "symbol", "side", "quantity", "price", "fee", "bid", "ask", "at"]


def order(side="buy", quantity=100, decision=100.0, bid=100.0, ask=100.2, status="canceled", name="o"):
    return pd.DataFrame([[name, "s", "A", side, quantity, decision, bid, ask, status, AT]], columns=ORDER)


def fill(side="buy", quantity=60, price=100.4, bid=100.2, ask=100.4, fee=0.5, name="o"):
    return pd.DataFrame([[name, "s", "A", side, quantity, price, fee, bid, ask, AT]], columns=FILL)


def test_the_five_terms_by_hand():
    """Buy 100 at 100, sent at 100.1, 60 filled at 100.4 (mid 100.3), the rest given up at 101: 6, 12, 6, 40, 0.5."""
    parts = decompose(order(), fill(), pd.Series({"o": 101.0}))
    sums = parts[TERMS].sum()
    assert sums.tolist() == pytest.approx([6, 12, 6, 40, 0.5])
    assert parts["cost_usd"].sum() == pytest.approx(60 * 0.4 + 40 * 1.0 + 0.5)
    assert parts["slippage_bps"].iloc[0] == pytest.approx(0.1 / 100.3 * 1e4)


def test_a_sale_below_its_mid_costs_and_one_above_gains():
    """The sign is the order's: positive is cost on both sides."""
    down = decompose(order("sell", 60, 100.3, status="filled"), fill("sell", price=100.2))
    up = decompose(order("sell", 60, 100.3, status="filled"), fill("sell", price=100.4))
    assert (down["spread_usd"].iloc[0], up["spread_usd"].iloc[0]) == (pytest.approx(6), pytest.approx(-6))


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["buy", "sell"]),
    st.floats(10, 500),
    st.lists(
        st.tuples(st.integers(1, 100), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(0, 2)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 200),
    st.floats(-0.1, 0.1),
    st.floats(-0.02, 0.02),
)
def test_the_terms_add_up_to_the_shortfall_against_the_decision(side, decision, pieces, rest, gone, late):
    """For any fills and rest: Σ terms = s Σ q(P − D) + s rest (C − D) + fees, by any grouping."""
    sign, arrival, close = (1 if side == "buy" else -1), decision * (1 + late), decision * (1 + gone)
    filled = [
        fill(side, q, decision * (1 + p), decision * (1 + m) - 0.01, decision * (1 + m) + 0.01, fee)
        for q, p, m, fee in pieces
    ]
    fills = pd.concat(filled, ignore_index=True)
    total = int(fills["quantity"].sum()) + rest
    parts = decompose(order(side, total, decision, arrival - 0.01, arrival + 0.01), fills, pd.Series({"o": close}))
    shortfall = (
        sign * (fills["quantity"] * (fills["price"] - decision)).sum()
        + sign * rest * (close - decision)
        + fills["fee"].sum()
    )
    near = pytest.approx(shortfall, abs=1e-6 * total * decision)
    assert parts[TERMS].to_numpy().sum() == near
    assert summary(parts, ["symbol"])["cost_usd"].sum() == near
    assert summary(parts, ["part"])[TERMS].to_numpy().sum() == near


def test_a_term_without_its_price_is_missing_and_counted():
    """No decision, a crossed quote, no closing mid: not measured, and the total of the rest is theirs alone."""
    orders = pd.concat([order(name="a", status="filled", quantity=60), order(name="b", status="filled", decision=None),
                        order(name="c", status="filled", quantity=60), order(name="d")])  # fmt: skip
    fills = pd.concat([fill(name="a"), fill(name="b"), fill(name="c", bid=100.4, ask=100.2), fill(name="d")])
    row = summary(decompose(orders, fills), ["symbol"]).iloc[0]
    assert (row["fills"], row["unmeasured"]) == (2, 3)
    assert row["cost_usd"] == pytest.approx(2 * 24.5)
    only = summary(decompose(order(decision=None, status="filled", quantity=60), fill()), ["symbol"]).iloc[0]
    assert np.isnan(only["cost_usd"])
    assert only["unmeasured"] == 1


@pytest.mark.parametrize(
    ("orders", "fills", "says"),
    [
        (pd.concat([order(), order()]), fill(), "order o is there twice"),
        (order(), fill(name="x"), "x first"),
        (order(), fill(quantity=-5), "quantity of -5"),
        (order(), fill(side="bought"), "'bought'"),
        (order(), fill().drop(columns="fee"), "fee"),
        (order(), fill().assign(at=AT.tz_localize(None)), "naive"),
    ],
)
def test_trades_that_cannot_be_are_refused_by_name(orders, fills, says):
    """Repeats, strangers, impossible quantities and sides, naive times: named, and the verdict UNKNOWN."""
    with pytest.raises((ValueError, TypeError), match=says):
        decompose(orders, fills)
    assert slippage.assess(orders, fills).verdict is Verdict.UNKNOWN


def test_intervals_follow_orders_and_days_not_fills():
    """A hundred copies of five orders' fills are still five orders: the interval does not shrink; four have none."""
    cost, base = np.array([1.0, 2, 3, 4, 10]), np.full(5, 1000.0)
    low, high = ratio_interval(cost, base, np.zeros(5, dtype=int))
    assert low < cost.sum() / base.sum() < high
    assert high - low > 0.003
    assert np.isnan(ratio_interval(cost[:4], base[:4], np.zeros(4, dtype=int))[0])
    two = np.array([0, 0, 0, 1, 1, 1])
    shocks = np.array([1.0, 1, 1, 9, 9, 9])
    by_day = ratio_interval(shocks, np.full(6, 1000.0), two)
    by_order = ratio_interval(shocks, np.full(6, 1000.0), np.zeros(6, dtype=int))
    assert by_day[1] - by_day[0] > by_order[1] - by_order[0]


def test_the_law_is_found_again_from_orders_that_follow_it():
    """Costs of 0.9 half-spreads plus 0.8 σ share^0.6 and noise: the weights come back; few orders: assumed."""
    rng = np.random.default_rng(3)
    n = 800
    frame = pd.DataFrame({"half_spread_bps": rng.uniform(1, 20, n), "volatility_bps": rng.uniform(80, 400, n),
                          "participation": rng.uniform(1e-4, 0.1, n)})  # fmt: skip
    law = 0.9 * frame["half_spread_bps"] + 0.8 * frame["volatility_bps"] * frame["participation"] ** 0.6
    frame["cost_bps"] = law + rng.normal(0, 2, n)
    found = fit(frame)
    assert (found.fitted, found.orders, found.exponent) == (True, n, pytest.approx(0.6, abs=0.051))
    assert found.spread_weight == pytest.approx(0.9, abs=0.1)
    assert found.residual_bps == pytest.approx(2, abs=0.2)
    assumed = fit(frame.iloc[:29])
    assert (assumed.fitted, assumed.impact, assumed.exponent) == (False, 1.0, 0.5)


def kept_quote(kind, subject, seconds, bid, ask, age=0.0, symbol="A"):
    at = AT + pd.Timedelta(seconds=seconds - age)
    return ["2020-03-09", kind, subject, round(seconds * 1000), symbol, AT, bid, ask, at]


def kept_quotes(*rows):
    names = ["trading_date", "kind", "subject", "offset_ms", "symbol", "at", "bid", "ask", "quoted_at"]
    return pd.DataFrame(list(rows), columns=names)


def test_markouts_split_the_spread_and_leave_out_what_has_no_fresh_quote():
    """A buy at 100.1, mid 100, that goes to 100.3 after a second: 10 bps paid = −20 realised + 30 permanent."""
    parts = decompose(
        order(quantity=60, status="filled"), fill(price=100.1, bid=99.9, ask=100.1).assign(execution_id="x")
    )
    kept = kept_quotes(
        kept_quote("fill", "x", -1, 99.8, 100.0), kept_quote("fill", "x", 0.05, 99.9, 100.1),
        kept_quote("fill", "x", 1, 100.2, 100.4), kept_quote("fill", "x", 15, 100.2, 100.4, age=61),
        kept_quote("fill", "x", 60, 100.4, 100.2), kept_quote("fill", "another", 300, 1, 2),
    )  # fmt: skip
    found = markouts(parts, kept)
    assert found["n"].tolist() == [1, 1, 0, 0, 0]  # stale after 15 s, crossed after a minute, unknown after five
    assert found["unknown"].tolist() == [0, 0, 1, 1, 1]
    assert found["permanent_bps"].tolist()[:2] == [pytest.approx(0), pytest.approx(30)]
    assert (found["realised_bps"] + found["permanent_bps"]).tolist()[:2] == pytest.approx([10.0] * 2)
    around = quotes_around(parts, kept)
    assert around["after_seconds"].tolist() == [-1, 0.05, 1, 15, 60]
    assert around["moved_bps"].tolist()[:3] == pytest.approx([-10, 0, 30])
    assert markouts(parts, kept.iloc[:0]).empty
    assert quotes_around(parts, kept.iloc[:0]).empty


def test_markouts_have_an_interval_by_orders_and_sum_to_the_spread_term():
    """Realised and permanent are the spread at every horizon of any trades; the interval holds the figure."""
    orders, fills, closing, kept = markets.trades()
    parts = decompose(orders, fills, closing)
    filled = parts[parts["part"] == "fill"]
    spread = filled["spread_usd"].sum() / (filled["quantity"] * filled["mid"]).sum() * 1e4
    found = markouts(parts, kept).iloc[:4]
    assert found["n"].tolist() == [len(fills)] * 4
    assert (found["realised_bps"] + found["permanent_bps"]).tolist() == pytest.approx([spread] * 4)
    assert ((found["low_bps"] <= found["permanent_bps"]) & (found["permanent_bps"] <= found["high_bps"])).all()
    assert found["orders"].tolist() == [len(orders)] * 4


def test_what_was_not_filled_is_measured_where_its_price_is_known_and_said_to_be_missing_elsewhere():
    """An order's own end counts first, then the close if it expired; a cancelled one without a quote has neither."""
    names = ["own", "at the close", "unknown"]
    orders = pd.concat(
        [order(name=n, status=s) for n, s in zip(names, ("canceled", "expired", "canceled"), strict=True)]
    ).assign(trading_date="2020-03-09", execution_id="")
    kept = kept_quotes(kept_quote("order", "own", 0, 100.9, 101.1), kept_quote("close", "A", 0, 101.9, 102.1))
    mids = closing_mids(orders, kept)
    assert mids.to_dict() == {"own": pytest.approx(101), "at the close": pytest.approx(102)}
    parts = decompose(orders, pd.concat([fill(name=n) for n in names]), mids)
    left = parts[parts["part"] == "unfilled"].set_index("client_order_id")["opportunity_usd"]
    assert left["own"] == pytest.approx(40)
    assert left["at the close"] == pytest.approx(80)
    assert np.isnan(left["unknown"])
    told = slippage.assess(orders, pd.concat([fill(name=n) for n in names]), kept=kept)
    assert "known of 2 of 3 unfilled remainders" in told["terms"].reading
    assert told.numbers["opportunity_usd"] == pytest.approx(120)


def test_the_operators_matrix_is_applied_to_each_symbol():
    """Above 50 bps is STOP, 32 bps is for limit orders, a tight one is fine; and the guard's numbers are these."""
    assert (
        PLAYBOOK["limit_orders_only_slippage_bps"],
        PLAYBOOK["max_slippage_bps"],
    ) == (LIMIT_ORDERS_BPS, HALT_SYMBOL_BPS)
    orders, fills, _, kept = markets.trades()
    market = pd.DataFrame({"volatility_bps": [150.0, 180, 200], "adv_shares": [1e5, 2e5, 3e5]}, ["AAPL", "JPM", "XOM"])
    found = slippage.assess(orders, fills, kept=kept, market=market)
    assert {f.check: f.verdict.value for f in found.findings} == {"XOM": "ATTENTION", "AAPL": "OK", "JPM": "OK"}
    assert "limit orders" in found.action
    assert found.numbers["cost_usd"] == pytest.approx(sum(found.numbers[term] for term in TERMS))
    assert found.numbers["low_bps"] < found.numbers["cost_bps"] < found.numbers["high_bps"]
    assert len(found["worst"].tables[0].frame) == 10
    assert found.numbers["fitted"]
    assert slippage.assess(*markets.trades(spread_bps=8)[:2]).verdict is Verdict.STOP
    blind = slippage.assess(orders, fills.assign(bid=np.nan))
    assert (blind.verdict, blind.numbers["unmeasured"]) == (
        Verdict.UNKNOWN,
        len(fills) + orders["status"].eq("canceled").sum(),
    )
    assert slippage.assess(orders.iloc[:0], fills.iloc[:0]).verdict is Verdict.UNKNOWN
