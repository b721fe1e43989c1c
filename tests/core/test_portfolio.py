from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from athena.config import Settings
from athena.core.daily import daily_figures
from athena.core.portfolio import Portfolio, get_daily_pnl, get_equity_curve, get_positions
from athena.errors import JournalError
from athena.journal import Journal
from athena.model import ZERO, CashFlow, Fill, Position, Quote, Side, Trade
from tests.journal.facts import VENUE_AT, bound, fill

D = Decimal
NEXT_DAY = VENUE_AT + timedelta(days=1)


def bought(
    quantity: str, price: str, number: int = 1, symbol: str = "AAPL", fee: str = "0", strategy: str = "a"
) -> Fill:
    """A fill; a negative quantity is a sale."""
    side = Side.BUY if D(quantity) > 0 else Side.SELL
    return Fill(f"x{number}", "c", "b", symbol, side, abs(D(quantity)), D(price), VENUE_AT, strategy, D(fee))


def test_a_flip_through_zero_closes_then_opens() -> None:
    """Long 10 at 100, sell 15 at 110: 100 realised, short 5 at 110, and cash to the cent."""
    portfolio = Portfolio(D(10_000))
    assert portfolio.apply_fill(bought("10", "100")) == 0
    assert portfolio.apply_fill(bought("-15", "110", 2)) == 100
    (position,) = portfolio.positions()
    assert (position.quantity, position.average_entry_price) == (-5, 110)
    portfolio.mark("AAPL", D(108))
    assert (portfolio.cash, portfolio.unrealised_pnl, portfolio.equity) == (10_650, 10, 10_110)


def test_average_cost_is_by_average() -> None:
    """Two buys at different prices average; selling a part leaves the average and realises against it."""
    portfolio = Portfolio(D(10_000))
    for number, (quantity, price) in enumerate([("10", "100"), ("30", "104"), ("-20", "105")]):
        realised = portfolio.apply_fill(bought(quantity, price, number))
    assert realised == 40
    assert portfolio.position("AAPL").average_entry_price == 103


def test_strategies_keep_their_own_books() -> None:
    """Two strategies on opposite sides: flat net, each with its own position, the same total profit."""
    portfolio = Portfolio(D(10_000))
    portfolio.apply_fill(bought("10", "100", 1, strategy="a"))
    portfolio.apply_fill(bought("-10", "101", 2, strategy="b"))
    portfolio.mark("AAPL", D(105))
    assert portfolio.positions() == ()
    lots = portfolio.by_strategy()
    assert (lots["a", "AAPL"].quantity, lots["b", "AAPL"].quantity) == (10, -10)
    assert sum(lot.realised + lot.unrealised(D(105)) for lot in lots.values()) == portfolio.pnl == 10


def test_deposits_are_no_profit_and_dividends_are() -> None:
    """A deposit moves cash and transfers; a dividend and a fee move profit; each told twice counts once."""
    portfolio = Portfolio(D(100))
    for _ in range(2):
        portfolio.apply_cash_flow(CashFlow("1", "CSD", D(50), VENUE_AT))
        portfolio.apply_cash_flow(CashFlow("2", "DIV", D("1.25"), VENUE_AT))
        portfolio.apply_cash_flow(CashFlow("3", "FEE", D("-0.05"), VENUE_AT))
    assert (portfolio.cash, portfolio.transfers, portfolio.pnl) == (D("151.20"), 50, D("1.20"))


def test_a_symbol_without_a_price_is_named() -> None:
    """An opening nobody has priced counts at cost and is listed; a price that is none is refused."""
    portfolio = Portfolio(D(0), [Position("KO", D(10), D(55))])
    assert (portfolio.unmarked, portfolio.equity) == (("KO",), 550)
    with pytest.raises(ValueError, match="KO cannot be marked at NaN"):
        portfolio.mark("KO", D("NaN"))


PRICES = st.decimals("0.01", "2000", places=4)
TRADES = st.lists(
    st.tuples(
        st.sampled_from(["AAPL", "KO"]), st.sampled_from(["a", "b", "operator"]), st.booleans(),
        st.one_of(st.integers(1, 50).map(D), st.decimals("0.001", "50", places=9).filter(bool)), PRICES,
        st.decimals("0", "1", places=4),
    ),
    max_size=30,
)  # fmt: skip


@hypothesis_settings(max_examples=200, deadline=None)
@given(trades=TRADES, mark=PRICES, opening=st.integers(-20, 20))
def test_the_fold_agrees_with_a_naive_recount(
    trades: list[tuple[str, str, bool, Decimal, Decimal, Decimal]], mark: Decimal, opening: int
) -> None:
    """After any fills, cash + shares x mark is exactly the equity, its parts add up, and cost is by average."""
    held = [Position("KO", D(opening), D("55.10"))] if opening else []
    portfolio = Portfolio(D(100_000), held)
    cash, shares = D(100_000), {"AAPL": ZERO, "KO": D(opening)}
    average = {"AAPL": Fraction(0), "KO": Fraction("55.10")}
    realised = Fraction(0)
    for number, (symbol, strategy, buys, quantity, price, fee) in enumerate(trades):
        portfolio.apply_fill(
            bought(str(quantity if buys else -quantity), str(price), number, symbol, str(fee), strategy)
        )
        signed = quantity if buys else -quantity
        cash -= signed * price + fee
        had, has = shares[symbol], shares[symbol] + signed
        if had * signed >= 0:  # the naive way: exact fractions, the average recomputed
            average[symbol] = (Fraction(had) * average[symbol] + Fraction(signed) * Fraction(price)) / Fraction(has)
        else:
            closed = min(abs(had), abs(signed)) * (1 if had > 0 else -1)
            realised += Fraction(closed) * (Fraction(price) - average[symbol])
            if had * has < 0:
                average[symbol] = Fraction(price)
        shares[symbol] = has
    for symbol in shares:
        portfolio.mark(symbol, mark)
    assert portfolio.cash == cash
    assert portfolio.equity == cash + sum(shares.values()) * mark
    start = D(100_000) + opening * D("55.10")
    assert portfolio.equity == start + portfolio.realised_pnl + portfolio.unrealised_pnl - portfolio.fees
    assert abs(Fraction(portfolio.realised_pnl) - realised) < Fraction(1, 10**7)
    for symbol, lot in portfolio.by_symbol().items():
        own = [part for (_, name), part in portfolio.by_strategy().items() if name == symbol]
        assert lot.quantity == shares[symbol] == sum(part.quantity for part in own)
        total = lot.realised + lot.unrealised(mark)
        assert total == sum(part.realised + part.unrealised(mark) for part in own)


def write_days(journal: Journal) -> None:
    """Bound with 100,000 on 9 March, 10 AAPL bought at 66.50, a deposit of 500; the next day opens."""
    journal.append("account.bound", bound(), VENUE_AT)
    journal.append("fill", fill(fee=D("0.10")), VENUE_AT)
    journal.append("equity", point(D(100_010), AAPL=D("67.51")), VENUE_AT + timedelta(hours=5))
    journal.append("cash_flow", flow("f1", "CSD", D(500), VENUE_AT + timedelta(hours=22)), NEXT_DAY)
    journal.append("equity", point(D(100_495), AAPL=D("66.01")), NEXT_DAY)


def point(equity: Decimal, **marks: Decimal) -> dict[str, object]:
    return {"equity": equity, "cash": D("99334.90"), "realised_pnl": ZERO, "unrealised_pnl": ZERO, "marks": marks}


def flow(identity: str, kind: str, amount: Decimal, at: datetime) -> dict[str, object]:
    return {"id": identity, "kind": kind, "amount": amount, "at": at, "description": ""}


def test_the_journal_gives_the_portfolio_of_now_and_of_then(journal: Journal) -> None:
    """`from_journal` takes live marks now, the equity event's marks as of a time, and nothing that came later."""
    write_days(journal)
    quote = Quote("AAPL", D("69.98"), D("70.02"), D(1), D(1), NEXT_DAY)
    journal.put_marks([quote])
    assert Portfolio.from_journal(journal).equity == D("99334.90") + 500 + 700
    journal.put_marks([quote], [Trade("AAPL", D("70.01"), D(1), NEXT_DAY)])
    assert Portfolio.from_journal(journal).marks["AAPL"] == D("70.01")
    then = Portfolio.from_journal(journal, as_of=VENUE_AT + timedelta(hours=6))
    assert (then.transfers, then.equity) == (0, D("99334.90") + D("675.10"))
    with pytest.raises(JournalError, match="no account before"):
        Portfolio.from_journal(journal, as_of=VENUE_AT - timedelta(hours=1))


def test_the_day_opens_where_the_best_source_says(journal: Journal) -> None:
    """The day's own row wins over the last equity before, that over the binding; transfers since are left out."""
    journal.append("account.bound", bound(equity=D(100_000)), VENUE_AT)
    assert daily_figures(journal).source == "account bound"
    write_days(journal)
    figures = daily_figures(journal)
    equity = D("99334.90") + 500 + 10 * D("66.01")
    assert (figures.source, figures.opening_equity, figures.transfers) == ("last equity before", 100_010, 500)
    assert figures.pnl == equity - 100_010 - 500
    journal.append("day.opened", {"trading_date": date(2020, 3, 10), "opening_equity": D(100_500)}, NEXT_DAY)
    assert (daily_figures(journal).source, daily_figures(journal).pnl) == ("day opened", equity - 100_500)


def test_the_playbooks_calls_work(journal: Journal, settings: Settings) -> None:
    """`get_daily_pnl`, `get_equity_curve` and `get_positions` answer from the journal, as an operator prints them."""
    write_days(journal)
    assert f"{get_daily_pnl(settings):,.2f}" == "-15.00"
    curve = get_equity_curve(settings)
    assert (curve.index.name, str(curve.index.tz), list(curve)) == ("at", "UTC", [100_000.0, 100_010.0, 100_495.0])
    assert curve.attrs["flows"] == [(pd.Timestamp(VENUE_AT + timedelta(hours=22)), 500.0)]
    assert list(get_equity_curve(settings, start=date(2020, 3, 10))) == [100_495.0]
    assert list(get_equity_curve(settings, end=date(2020, 3, 10))) == [100_000.0, 100_010.0]
    assert [(p.symbol, p.quantity) for p in get_positions(settings)] == [("AAPL", 10)]
    assert repr(Portfolio.from_journal(journal)) == "<Portfolio equity $100,495.00, profit −$5.00: 10 AAPL>"
    assert list(Portfolio.from_journal(journal).table()["unrealised_pnl"]) == [pytest.approx(-4.9)]


def test_nothing_known_is_an_error_and_no_zero(settings: Settings, journal: Journal) -> None:
    """Without a journal, without an account, without a point in the range: an error that says what to do."""
    elsewhere = Settings(home=settings.home / "empty")
    for ask in (get_daily_pnl, get_equity_curve, get_positions):
        with pytest.raises(JournalError, match=r"no journal at .*athena engine"):
            ask(elsewhere)
    for ask in (get_daily_pnl, get_positions):
        with pytest.raises(JournalError, match=r"no account.*engine"):
            ask(settings)
    write_days(journal)
    with pytest.raises(JournalError, match="no equity recorded from 2021"):
        get_equity_curve(settings, start=datetime(2021, 1, 1, tzinfo=UTC))
