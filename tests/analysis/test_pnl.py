"""Profit and loss by average cost, and the identity that ties it to equity."""

from decimal import Decimal as D

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athena.analysis import pnl

NAMES = ["symbol", "strategy", "side", "quantity", "price", "fee"]


def fills(*rows):
    return pd.DataFrame(list(rows), columns=NAMES, dtype=object)


def test_a_flip_through_zero_realises_the_whole_of_the_old_position():
    """Long 10 at 100, sell 15 at 110: 100 dollars realised, and 5 short at 110."""
    lot = pnl.Lot(D(10), D(1000))
    assert lot.trade(D(-15), D(110)) == 100
    assert (lot.quantity, lot.cost) == (-5, -550)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.sampled_from(["s1", "s2"]),
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 50).map(D),
            st.decimals("1", "200", places=2),
            st.decimals("0", "1", places=2),
        ),
        max_size=30,
    )
)
def test_profit_is_cash_plus_marked_positions_whatever_was_traded(rows):
    """Realised plus change of unrealised less fees equals cash and market value, to a millionth of a cent."""
    marks = {"A": D("55.55"), "B": D("140.10")}
    held = {("A", "s1"): pnl.Lot(D(7), D(700))}
    table, after, _ = pnl.profit(fills(*rows), held, {"A": D(90)}, marks)
    cash = sum(((-1 if side == "buy" else 1) * q * p - fee for _, _, side, q, p, fee in rows), D(0))
    worth = sum((lot.quantity * marks[key[0]] for key, lot in after.items()), D(0))
    assert abs(sum(table["total"], D(0)) - (cash + worth - 7 * D(90))) < D("1e-8")


def test_a_position_without_a_mark_is_not_priced_rather_than_worth_nothing():
    """No closing price: unrealised and total are None, never zero."""
    table, _, _ = pnl.profit(fills(("A", "s", "buy", D(1), D(10), D(0))), {}, {}, {})
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
        pnl.take_in(fills(("AAPL", "s", "buy", D(-1), D(10), D(0))), {})
