"""Profit and loss by average cost, and the identity that ties it to equity."""

from decimal import Decimal as D

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athena.analysis import pnl
from athena.lot import Book

NAMES = ["symbol", "strategy", "side", "quantity", "price", "fee"]


def fills(*rows):
    return pd.DataFrame(list(rows), columns=NAMES, dtype=object)


def book(*trades):
    made = Book()
    for trade in trades:
        made.trade(*trade)
    return made


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.sampled_from(["s1", "s2", "operator", "external"]),
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 50).map(D),
            st.decimals("1", "200", places=2),
            st.decimals("0", "1", places=2),
        ),
        max_size=30,
    )
)
def test_profit_is_cash_plus_marked_positions_whatever_was_traded_and_by_whom(rows):
    """Exactly: by strategy as by net position, total profit equals the change of cash and market value."""
    marks = {"A": D("55.55"), "B": D("140.10")}
    traded = fills(*rows)
    table, after, parts = pnl.profit(traded, book(("s1", "A", D(7), D(100))), {"A": D(90)}, marks)
    net, _, _ = pnl.profit(traded.assign(strategy=""), book(("", "A", D(7), D(100))), {"A": D(90)}, marks)
    cash = sum(((-1 if side == "buy" else 1) * q * p - fee for _, _, side, q, p, fee in rows), D(0))
    worth = sum((lot.quantity * marks[symbol] for (_, symbol), lot in after.lots().items()), D(0))
    assert sum(table["total"], D(0)) == cash + worth - 7 * D(90) == sum(net["total"], D(0))
    for column in ("quantity", "fee"):
        assert sum(parts[column], D(0)) == sum(traded[column], D(0))


def test_an_operators_exit_is_its_strategys_profit_and_cost():
    """Bought by a strategy, closed by the operator: one row, the strategy's, with the exit's fee; nothing is left."""
    traded = fills(("X", "s", "buy", D(10), D(100), D(1)), ("X", "operator", "sell", D(10), D(97), D(2)))
    table, _, parts = pnl.profit(traded, Book(), {}, {})
    (row,) = table.to_dict("records")
    assert (row["strategy"], row["quantity_end"], row["realised"], row["fees"], row["total"]) == ("s", 0, -30, 3, -33)
    assert parts["strategy"].tolist() == ["s", "s"]


def test_a_position_without_a_mark_is_not_priced_rather_than_worth_nothing():
    """No closing price: unrealised and total are None, never zero."""
    table, _, _ = pnl.profit(fills(("A", "s", "buy", D(1), D(10), D(0))), Book(), {}, {})
    assert table["total"].tolist() == [None]
    assert table["priced"].tolist() == [False]


def test_what_the_lines_do_not_explain_is_a_line_of_its_own():
    """Equity that moved by 7 more than its lines leaves 7 unexplained, past a tolerance of a cent."""
    identity = pnl.Identity(D(100), D(5), D(2), D(1), D(0), D(50), D(163), D("0.01"))
    assert identity.unexplained == 7
    assert not identity.holds
    assert identity.lines().set_index("line")["amount"]["Unexplained"] == 7


def test_a_fill_that_cannot_be_is_refused_by_name():
    """A negative quantity raises, naming the symbol."""
    with pytest.raises(ValueError, match="AAPL"):
        pnl.take_in(fills(("AAPL", "s", "buy", D(-1), D(10), D(0))), Book())
