"""The loss from peak to valley adds up exactly, and its cause is named."""

from decimal import Decimal as D

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.analysis.attribution import attribute
from athena.lot import Book
from tests.analysis import markets

PRICES = markets.closes()[["AAPL", "JPM"]].iloc[50:60].round(2)
MARKET = markets.closes()["HD"].iloc[50:60]
COLUMNS = ["at", "symbol", "strategy", "side", "quantity", "price", "fee", "bid", "ask"]
NONE = pd.DataFrame(columns=COLUMNS)


def book(*held):
    found = Book()
    for strategy, symbol, quantity, price in held:
        found.trade(strategy, symbol, D(quantity), D(str(price)))
    return found


def amounts(found):
    return dict(zip(found.lines["line"], found.lines["amount"], strict=True))


def test_a_market_fall_is_the_markets_and_the_rest_the_strategys():
    """100 shares held at 100, beta 2, the market −10 % in one step, the share −25 %: −2,000 market, −500 strategy."""
    index = PRICES.index[:2]
    prices, market = pd.DataFrame({"A": [100.0, 75.0]}, index), pd.Series([10.0, 9.0], index)
    found = attribute(equity_start=D(20_000), equity_end=D(17_500), fills=NONE, before=book(("s", "A", 100, 100)),
                      prices=prices, market=market, betas={"A": 2.0})  # fmt: skip
    assert amounts(found) == {"Market (beta)": -2000, "Strategy s": -500, "Fees": 0, "Slippage": 0, "Unexplained": 0}
    assert found.cause == "market"


def test_costs_are_taken_out_of_the_strategy_they_were_paid_by():
    """A share bought ten cents above its mid, a dollar of fees: the strategy itself neither earned nor lost."""
    index = PRICES.index[:2]
    prices, market = pd.DataFrame({"A": [100.0, 100.0]}, index), pd.Series([10.0, 10.0], index)
    fill = pd.DataFrame([[index[0], "A", "s", "buy", 10, 100.1, 1.0, 99.9, 100.1]], columns=COLUMNS)
    found = attribute(equity_start=D(5000), equity_end=D(4998), fills=fill, before=Book(), prices=prices,
                      market=market, betas={"A": 1.0})  # fmt: skip
    assert amounts(found) == {"Market (beta)": 0, "Strategy s": 0, "Fees": -1, "Slippage": -1, "Unexplained": 0}
    assert found.cause == "costs"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(["AAPL", "JPM"]), st.sampled_from(["s1", "s2", "operator"]),
                  st.sampled_from(["buy", "sell"]), st.integers(1, 50), st.decimals("40", "140", places=2),
                  st.decimals("0", "2", places=2), st.booleans()),
        max_size=15,
    ),
    st.decimals("-5000", "5000", places=2), st.decimals("-1000", "1000", places=2), st.booleans(),
)  # fmt: skip
def test_the_lines_add_up_to_the_change_of_equity_exactly(rows, change, transfers, with_beta):
    """Whatever was traded, quoted or paid in: the sum is the change less transfers, to the last digit."""
    fills = pd.DataFrame(
        [
            [
                PRICES.index[bar] + pd.Timedelta(hours=1),
                symbol,
                strategy,
                side,
                q,
                p,
                fee,
                *((p - 1, p) if quoted else (None, None)),
            ]
            for bar, symbol, strategy, side, q, p, fee, quoted in sorted(rows, key=lambda row: row[0])
        ],
        columns=COLUMNS,
    )
    betas = {"AAPL": 1.3, "JPM": 0.7} if with_beta else {"AAPL": 1.3}
    found = attribute(
        equity_start=D(100_000),
        equity_end=100_000 + change,
        fills=fills,
        before=book(("s1", "JPM", -30, 120.5)),
        prices=PRICES,
        market=MARKET,
        betas=betas,
        transfers=transfers,
        income=D("3.21"),
    )
    assert sum(found.lines["amount"], D(0)) == found.total == change - transfers


def test_what_fills_and_prices_do_not_explain_makes_the_cause_unknown():
    """9,000 lost on a flat book is nobody's fault that we know of."""
    found = attribute(equity_start=D(100_000), equity_end=D(91_000), fills=NONE, before=Book(), prices=PRICES,
                      market=MARKET, betas={})  # fmt: skip
    assert (found.cause, found.finding.verdict) == ("unknown", "UNKNOWN")


def test_a_position_without_a_price_is_refused_by_name():
    """No price for a share held: an error that names it, never a part of zero."""
    with pytest.raises(ValueError, match="XOM"):
        attribute(equity_start=D(1), equity_end=D(1), fills=NONE, before=book(("s", "XOM", 5, 40)), prices=PRICES,
                  market=MARKET, betas={"XOM": 1.0})  # fmt: skip
