from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athena.core.portfolio import Portfolio
from athena.journal import Journal
from athena.model import CashFlow, Fill, OrderType, Side, TimeInForce
from athena.simulator.activities import CashActivity
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange, OrderRequest, TradeUpdate, VenueError
from athena.simulator.synthetic import SyntheticTape
from tests.journal.facts import bound

START = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)
SYMBOLS = ("KO", "XOM")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*SYMBOLS, *SYMBOLS, "cash"]), st.sampled_from([Side.BUY, Side.SELL]),
        st.one_of(st.integers(1, 400).map(Decimal), st.decimals("0.01", "30", places=6)), st.sampled_from(["a", "b"]),
        st.integers(1, 200),
    ),
    min_size=1, max_size=12,
)  # fmt: skip
CENT = Decimal("0.01")


@pytest.fixture(scope="module")
def tape() -> SyntheticTape:
    return SyntheticTape(7, SYMBOLS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_portfolio_agrees_with_the_venues_account(
    tape: SyntheticTape, steps: list[tuple[str, Side, Decimal, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After any orders, shorts, flips and deposits, cash, equity, profit and positions equal the venue's to the cent.

    Both ways: fed as they happen, and folded from a journal that was told the same.
    """
    clock = ManualClock(START)
    exchange = Exchange(tape, clock)
    account = exchange.open_account("K", "S", Decimal(100_000))
    portfolio, flowed = Portfolio(Decimal(100_000)), set[str]()
    path: Path = tmp_path_factory.mktemp("venue") / "journal.sqlite3"
    with Journal.open(path, "test") as journal:
        journal.append("account.bound", bound(), START)
        journal._connection.execute("PRAGMA synchronous = OFF").close()  # not what is tested here

        def told(update: TradeUpdate) -> None:
            if update.execution_id and update.price and update.quantity:
                order = update.order
                strategy = order.client_order_id.partition("-")[0]
                fill = Fill(update.execution_id, order.client_order_id, order.id, order.symbol, order.side,
                            update.quantity, update.price, update.at, strategy)  # fmt: skip
                portfolio.apply_fill(fill)
                journal.append("fill", {name: getattr(fill, name) for name in Fill.__slots__}, update.at)

        exchange.subscribe(account, told)
        for number, (symbol, side, quantity, strategy, seconds) in enumerate(steps):
            clock.advance(seconds=seconds)
            try:
                if symbol == "cash":
                    account.deposit(quantity * side.sign)
                else:
                    name = f"{strategy}-{number}"
                    request = OrderRequest(
                        symbol, side, OrderType.MARKET, TimeInForce.DAY, quantity, client_order_id=name
                    )
                    account.submit(request)
            except VenueError:
                continue  # refused by the venue: nothing happened, which both must agree on
        clock.advance(minutes=5)
        exchange.advance()
        for activity in account.activities(types=["CSD", "CSW"], page_size=100):
            if isinstance(activity, CashActivity) and activity.id not in flowed:
                flow = CashFlow(activity.id, activity.activity_type, activity.net_amount, activity.at)
                portfolio.apply_cash_flow(flow)
                journal.append("cash_flow", {name: getattr(flow, name) for name in CashFlow.__slots__}, flow.at)
        folded = Portfolio.from_journal(journal)
        summary, positions = account.summary(), account.positions()
        for mine in (portfolio, folded):
            for symbol in SYMBOLS:
                mine.mark(symbol, exchange.price(symbol, exchange.at))
            assert mine.cash == summary.cash
            assert mine.equity == summary.equity
            assert mine.realised_pnl == summary.realised_pnl
            assert [(p.symbol, p.quantity) for p in mine.positions()] == [(p.symbol, p.quantity) for p in positions]
            for ours, theirs in zip(mine.positions(), positions, strict=True):
                assert abs((ours.unrealised_pnl or 0) - theirs.unrealized_pl) < CENT
                assert abs(ours.average_entry_price - theirs.average_entry_price) < CENT
