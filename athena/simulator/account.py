"""One account at the venue: everything its owner may ask or order. Single-threaded, as the exchange is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from athena.model import OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.activities import Activity, page
from athena.simulator.book import AccountConfigurations, Book
from athena.simulator.decimals import ZERO, floor_shares
from athena.simulator.errors import (
    VenueError,
    insufficient_buying_power,
    invalid,
    no_position,
    unknown_order,
    unprocessable,
)
from athena.simulator.history import PortfolioHistory, portfolio_history
from athena.simulator.orders import CancelRow, OrderReplacement, OrderRequest, VenueOrder
from athena.simulator.positions import CloseRow, VenuePosition, describe
from athena.simulator.submission import draft, replacement
from athena.simulator.summary import AccountSummary, summarise

if TYPE_CHECKING:
    from athena.simulator.exchange import Exchange

__all__ = ["AccountConfigurations", "AccountSummary", "VenueAccount"]

MOST_ORDERS = 500
CHOICES = {"max_margin_multiplier": ("1", "2", "4"), "trade_confirm_email": ("all", "none")}


class VenueAccount:
    """One account. Every method first brings the exchange up to its clock; refusals are VenueError."""

    def __init__(self, exchange: Exchange, book: Book) -> None:
        self._exchange = exchange
        self._book = book

    @property
    def key_id(self) -> str:
        return self._book.key_id

    @property
    def id(self) -> str:
        return self._book.id

    @property
    def account_number(self) -> str:
        return self._book.account_number

    def __repr__(self) -> str:
        return f"<VenueAccount {self.account_number}, {len(self._book.open)} symbols with open orders>"

    # Orders

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Takes an order: durable when this returns. The answer is the order as accepted (pending_new, or accepted
        while it cannot work yet); what happens to it at once (new, fill) is told to subscribers before this returns,
        and `order(id)` shows it."""
        self._exchange.advance()
        order = draft(self._exchange, self._book, request)
        return self._exchange.enter(self._book, order)

    def replace(self, order_id: str, change: OrderReplacement) -> VenueOrder:
        """The new order in place of an open one; the old one becomes `replaced`. The answer is as `submit`'s."""
        self._exchange.advance()
        order = self._order(order_id)
        old, new = replacement(self._exchange, self._book, order, change)
        self._book.put(old, "replaced")
        return self._exchange.enter(self._book, new)

    def cancel(self, order_id: str) -> None:
        """Cancels an open order; a canceled one again without complaint."""
        self._exchange.advance()
        order = self._order(order_id)
        if order.status is OrderStatus.CANCELED:
            return
        if not order.is_open:
            raise unprocessable(f'order is already in "{order.status.value}" state')
        self._exchange.cancel(self._book, [order])

    def cancel_all(self) -> tuple[CancelRow, ...]:
        """Cancels every open order; a row for each."""
        self._exchange.advance()
        orders = list(self._book.open_orders())
        self._exchange.cancel(self._book, orders)
        return tuple(CancelRow(order.id, 200) for order in orders)

    def order(self, order_id: str) -> VenueOrder:
        self._exchange.advance()
        return self._order(order_id)

    def order_by_client_id(self, client_order_id: str) -> VenueOrder:
        self._exchange.advance()
        order_id = self._book.by_client_id.get(client_order_id)
        if order_id is None:
            raise unknown_order(client_order_id)
        return self._book.orders[order_id]

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
        self._exchange.advance()
        if not 1 <= limit <= MOST_ORDERS:
            raise invalid(f"limit must be between 1 and {MOST_ORDERS}")
        book = self._book
        source = sorted(book.open_orders(), key=_sequence) if status == "open" else list(book.orders.values())
        found: list[VenueOrder] = []
        for order in source if direction == "asc" else reversed(source):
            if (
                (status == "all" or order.is_open == (status == "open"))
                and (after is None or order.submitted_at > after)
                and (until is None or order.submitted_at < until)
                and (not symbols or order.symbol in symbols)
                and (side is None or order.side is side)
            ):
                found.append(order)
                if len(found) == limit:
                    break
        return tuple(found)

    # Positions

    def positions(self) -> tuple[VenuePosition, ...]:
        self._exchange.advance()
        held = sorted(holding.symbol for holding in self._book.holdings.values() if holding.quantity)
        return tuple(describe(self._exchange, self._book, symbol) for symbol in held)

    def position(self, symbol_or_asset_id: str) -> VenuePosition:
        self._exchange.advance()
        return describe(self._exchange, self._book, self._held(symbol_or_asset_id))

    def close_position(
        self, symbol_or_asset_id: str, *, quantity: Decimal | None = None, percentage: Decimal | None = None
    ) -> VenueOrder:
        """A market order against the position: all of it, `quantity` shares, or `percentage` (0 to 100).

        It cancels nothing: shares that open orders speak for are refused with 403, as Alpaca does.
        """
        self._exchange.advance()
        symbol = self._held(symbol_or_asset_id)
        held = self._book.quantity(symbol)
        if quantity is not None and percentage is not None:
            raise invalid("only one of qty or percentage is accepted")
        if percentage is not None:
            if not percentage.is_finite() or not 0 < percentage <= 100:
                raise invalid("percentage must be between 0 and 100")
            quantity = floor_shares(abs(held) * percentage / 100)
            if held == held.to_integral_value():
                quantity = Decimal(int(quantity))
        side = Side.SELL if held > 0 else Side.BUY
        shares = abs(held) if quantity is None else quantity
        return self.submit(OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, quantity=shares))

    def close_all(self, cancel_orders: bool = False) -> tuple[CloseRow, ...]:
        """Closes every position, after cancelling every order if asked; a row for each position."""
        if cancel_orders:
            self.cancel_all()
        rows = []
        for position in self.positions():
            try:
                rows.append(CloseRow(position.symbol, 200, self.close_position(position.symbol)))
            except VenueError as refusal:
                rows.append(CloseRow(position.symbol, refusal.status, refusal))
        return tuple(rows)

    # The account itself

    def summary(self) -> AccountSummary:
        self._exchange.advance()
        return summarise(self._exchange, self._book)

    def configurations(self) -> AccountConfigurations:
        return self._book.configurations

    def update_configurations(self, **changes: object) -> AccountConfigurations:
        """Changes the named fields; unknown names and None are left alone, as Alpaca does. VenueError 422."""
        self._exchange.advance()
        settings = self._book.configurations
        known = {field.name: changes[field.name] for field in fields(settings) if changes.get(field.name) is not None}
        for name, value in known.items():
            if type(value) is not type(getattr(settings, name)) or value not in CHOICES.get(name, (value,)):
                raise invalid(f"invalid {name} {value}")
        settings = self._book.configure(known)
        self._exchange.commit()
        return settings

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
        """One page of activities by time; `after` and `until` are exclusive, `on` is a New York date; `page_token` is
        the last id of the page before."""
        self._exchange.advance()
        return page(
            self._book.activities,
            types=types,
            on=on,
            after=after,
            until=until,
            direction=direction,
            page_size=page_size,
            page_token=page_token,
        )

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
        """Equity and profit by windows: `period` like 1D, 2W, 1M, 1A; `timeframe` 1Min, 5Min, 15Min, 1H or 1D."""
        self._exchange.advance()
        return portfolio_history(
            self._book,
            self._exchange.price,
            self._exchange.at,
            period=period,
            timeframe=timeframe,
            start=start,
            end=end,
            extended_hours=extended_hours,
            pnl_reset=pnl_reset,
            cashflow_types=cashflow_types,
        )

    def deposit(self, amount: Decimal) -> Activity:
        """Dollars in (CSD), or out when negative (CSW). VenueError when there is not that much free cash."""
        self._exchange.advance()
        if not amount.is_finite() or not amount:
            raise invalid("amount must not be 0")
        if -amount > (free := min(self._exchange.funds(self._book).cash_buying_power, max(self._book.cash, ZERO))):
            raise insufficient_buying_power(free, -amount)
        activity = self._book.transfer(amount, self._exchange.at)
        self._exchange.commit()
        return activity

    # Helpers

    def _order(self, order_id: str) -> VenueOrder:
        order = self._book.orders.get(order_id)
        if order is None:
            raise unknown_order(order_id)
        return order

    def _held(self, symbol_or_asset_id: str) -> str:
        asset = self._exchange.asset(symbol_or_asset_id)
        if asset is None or not self._book.quantity(asset.symbol):
            raise no_position()
        return asset.symbol


def _sequence(order: VenueOrder) -> int:
    return order.sequence
