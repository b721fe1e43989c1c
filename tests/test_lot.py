"""Lots at average cost, and whose shares a fill closes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athena.lot import Book, Lot

D = Decimal
OWNERS = ("a", "b", "operator", "external")


def test_a_flip_through_zero_realises_the_whole_of_the_old_position():
    """Long 10 at 100, sell 15 at 110: 100 dollars realised, and 5 short at 110."""
    lot = Lot(D(10), D(1000))
    assert lot.trade(D(-15), D(110)) == 100
    assert (lot.quantity, lot.cost) == (-5, -550)


def test_an_entry_price_is_the_average_of_what_was_added_and_starts_anew_through_zero():
    """Adding averages, closing keeps it, a flip begins at the new price, flat has none."""
    book, seen = Book(), []
    for shares, price in ((10, 100), (10, 110), (-5, 120), (-20, 130), (5, 90)):
        book.trade("a", "AAPL", D(shares), D(price))
        seen.append(book.lot("a", "AAPL").average_price)
    assert seen == [100, 105, 105, 130, 0]


@pytest.mark.parametrize("who", ["operator", "external"])
def test_an_exit_that_is_no_strategys_takes_the_shares_from_the_strategies_that_hold_them(who):
    """By name, fee and profit with the shares; those on the same side keep theirs; the rest is the exit's own."""
    book = Book()
    for name, shares in (("b", 4), ("a", 10), ("c", -3)):
        book.trade(name, "AAPL", D(shares), D(100))
    parts = book.trade(who, "AAPL", D(-20), D(99), D("0.20"))
    assert [(p.owner, p.signed, p.fee, p.realised) for p in parts] == [
        ("a", -10, D("0.10"), -10), ("b", -4, D("0.04"), -4), (who, -6, D("0.06"), 0),
    ]  # fmt: skip
    assert book.lot("c", "AAPL").quantity == -3


def test_after_an_operators_flatten_nobody_holds_anything_not_even_what_was_there_before():
    """Shares held when the account was bound are closed too, after the strategies'."""
    book = Book()
    book.trade("external", "KO", D(10), D(50))
    book.trade("a", "KO", D(5), D(51))
    book.trade("operator", "KO", D(-15), D(52))
    assert {lot.quantity for lot in book.lots().values()} == {0}


TRADES = st.lists(
    st.tuples(
        st.sampled_from(OWNERS),
        st.integers(-30, 30).filter(bool).map(D),
        st.decimals("0.01", "500", places=2),
        st.decimals("0", "1", places=3),
    ),
    max_size=40,
)


@given(TRADES)
def test_parts_add_up_exactly_and_what_strategies_hold_depends_on_no_stranger(trades):
    """Shares, fees and profit of all lots equal the net position's; a book that never knew openings agrees."""
    book, blind, net = Book(), Book(), Lot()
    book.trade("external", "X", D(13), D(20))
    net.trade(D(13), D(20))
    for owner, signed, price, fee in trades:
        parts = book.trade(owner, "X", signed, price, fee)
        blind.trade(owner, "X", signed, price, fee)
        assert (sum(p.signed for p in parts), sum(p.fee for p in parts)) == (signed, fee)
        net.trade(signed, price)
        lots = book.lots().values()
        assert sum(lot.quantity for lot in lots) == net.quantity
        worth = sum(lot.realised + lot.unrealised(D(77)) for lot in lots)
        assert worth == net.realised + net.unrealised(D(77))
    for name in ("a", "b"):
        assert book.lot(name, "X").quantity == blind.lot(name, "X").quantity
