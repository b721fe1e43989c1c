"""One account at the venue: everything its owner may ask or order. Single-threaded, as the exchange is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from athena.model import Side
from athena.simulator.activities import Activity
from athena.simulator.history import PortfolioHistory
from athena.simulator.orders import CancelRow, OrderReplacement, OrderRequest, VenueOrder
from athena.simulator.positions import CloseRow, VenuePosition

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
    status: str = "ACTIVE"
    currency: str = "USD"

    @property
    def portfolio_value(self) -> Decimal:
        return self.equity

    @property
    def position_market_value(self) -> Decimal:
        return self.long_market_value + self.short_market_value


@dataclass(frozen=True, slots=True)
class AccountConfigurations:
    """GET and PATCH /v2/account/configurations; the names are Alpaca's."""

    fractional_trading: bool = True
    max_margin_multiplier: str = "4"
    no_shorting: bool = False
    suspend_trade: bool = False
    trade_confirm_email: str = "all"
    ptp_no_exception_entry: bool = False
    disable_overnight_trading: bool = False


class VenueAccount:
    """One account. Every method first brings the exchange up to its clock; refusals are VenueError."""

    key_id: str
    id: str
    account_number: str

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Takes an order: durable when this returns. The answer is the order as accepted (pending_new, or accepted
        while it cannot work yet); what happens to it at once (new, fill) is told to subscribers before this returns,
        and `order(id)` shows it."""
        raise NotImplementedError

    def replace(self, order_id: str, change: OrderReplacement) -> VenueOrder:
        """The new order in place of an open one; the old one becomes `replaced`."""
        raise NotImplementedError

    def cancel(self, order_id: str) -> None:
        """Cancels an open order; a canceled one again without complaint."""
        raise NotImplementedError

    def cancel_all(self) -> tuple[CancelRow, ...]:
        raise NotImplementedError

    def order(self, order_id: str) -> VenueOrder:
        raise NotImplementedError

    def order_by_client_id(self, client_order_id: str) -> VenueOrder:
        raise NotImplementedError

    def orders(
        self,
        status: Literal["open", "closed", "all"] = "open",
        *,
        limit: int = 50,
        after: datetime | None = None,
        until: datetime | None = None,
        direction: Literal["asc", "desc"] = "desc",
        symbols: Sequence[str] | None = None,
        side: Side | None = None,
    ) -> tuple[VenueOrder, ...]:
        """Orders by submission time; `after` and `until` are exclusive."""
        raise NotImplementedError

    def positions(self) -> tuple[VenuePosition, ...]:
        raise NotImplementedError

    def position(self, symbol_or_asset_id: str) -> VenuePosition:
        raise NotImplementedError

    def close_position(
        self, symbol_or_asset_id: str, *, quantity: Decimal | None = None, percentage: Decimal | None = None
    ) -> VenueOrder:
        """A market order against the position: all of it, `quantity` shares, or `percentage` (0 to 100)."""
        raise NotImplementedError

    def close_all(self, cancel_orders: bool = False) -> tuple[CloseRow, ...]:
        raise NotImplementedError

    def summary(self) -> AccountSummary:
        raise NotImplementedError

    def configurations(self) -> AccountConfigurations:
        raise NotImplementedError

    def update_configurations(self, **changes: object) -> AccountConfigurations:
        """Changes the named fields; unknown names and None values are left alone, as Alpaca does."""
        raise NotImplementedError

    def activities(
        self,
        types: Sequence[str] | None = None,
        *,
        on: date | None = None,
        after: datetime | None = None,
        until: datetime | None = None,
        direction: Literal["asc", "desc"] = "desc",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> tuple[Activity, ...]:
        """One page of activities by time; `after` is exclusive; `page_token` is the last id of the page before."""
        raise NotImplementedError

    def portfolio_history(
        self,
        *,
        period: str | None = None,
        timeframe: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        extended_hours: bool = False,
        pnl_reset: Literal["per_day", "no_reset"] = "per_day",
        cashflow_types: Sequence[str] = (),
    ) -> PortfolioHistory:
        raise NotImplementedError

    def deposit(self, amount: Decimal) -> Activity:
        """Dollars in (CSD), or out when negative (CSW)."""
        raise NotImplementedError
