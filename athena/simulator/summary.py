"""The account as GET /v2/account tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.model import trading_date
from athena.simulator.activities import CashActivity
from athena.simulator.book import Book
from athena.simulator.decimals import ZERO

if TYPE_CHECKING:
    from athena.simulator.exchange import Exchange


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """GET /v2/account, in dollars; the names are Alpaca's. Booleans not listed here are constants of the wire."""

    id: str
    account_number: str
    created_at: datetime
    cash: Decimal
    equity: Decimal
    last_equity: Decimal
    balance_asof: date | None
    buying_power: Decimal
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal
    multiplier: int
    long_market_value: Decimal
    short_market_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_maintenance_margin: Decimal
    intraday_adjustments: Decimal
    shorting_enabled: bool
    trade_suspended_by_user: bool
    realised_pnl: Decimal
    trading_blocked: bool = False
    status: str = "ACTIVE"
    currency: str = "USD"

    @property
    def portfolio_value(self) -> Decimal:
        return self.equity

    @property
    def position_market_value(self) -> Decimal:
        return self.long_market_value + self.short_market_value


def summarise(exchange: Exchange, book: Book) -> AccountSummary:
    """The account on current prices; `last_*` are of the last session of an earlier date, or of its opening."""
    funds = exchange.funds(book)
    today = trading_date(exchange.at)
    last = next((day for day in reversed(book.days) if day.date < today), None)
    adjustments = ZERO
    for flow in reversed(book.activities):
        if last is not None and flow.at <= last.at:
            break
        if isinstance(flow, CashActivity):
            adjustments += flow.net_amount
    return AccountSummary(
        id=book.id,
        account_number=book.account_number,
        created_at=book.created_at,
        cash=book.cash,
        equity=funds.equity,
        last_equity=book.opening_cash if last is None else last.equity,
        balance_asof=None if last is None else last.date,
        buying_power=funds.buying_power,
        regt_buying_power=funds.regt_buying_power,
        non_marginable_buying_power=funds.cash_buying_power,
        multiplier=funds.multiplier,
        long_market_value=funds.long,
        short_market_value=funds.short,
        initial_margin=funds.initial_margin,
        maintenance_margin=funds.maintenance_margin,
        last_maintenance_margin=ZERO if last is None else last.maintenance_margin,
        intraday_adjustments=adjustments,
        shorting_enabled=funds.may_short,
        trade_suspended_by_user=book.configurations.suspend_trade,
        realised_pnl=book.realised,
        trading_blocked=book.trading_blocked,
    )
