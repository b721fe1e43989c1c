"""One account's state and the only ways it changes: an order put, a fill, a transfer, a day closed.

Every change is noted in a `Ledger` of what is not yet durable and not yet told; the exchange makes it both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from athena.model import OrderStatus, Side, trading_date
from athena.simulator.activities import Activity, CashActivity, FillActivity, activity_id
from athena.simulator.decimals import ZERO, floor_shares
from athena.simulator.holding import Holding
from athena.simulator.orders import TradeUpdate, VenueOrder
from athena.simulator.state import Key, encode


@dataclass(slots=True)
class Ledger:
    """What happened since the last commit, and the ids and sequence numbers things get: the same for the same seed."""

    seed: int
    counter: int = 0
    changes: dict[Key, Any] = field(default_factory=dict)
    updates: list[tuple[Book, TradeUpdate]] = field(default_factory=list)

    def next(self) -> int:
        self.counter += 1
        return self.counter

    def unique(self) -> str:
        """A UUID that the seed and the count of those before determine."""
        digest = blake2b(f"{self.seed}:{self.next()}".encode(), digest_size=16).digest()
        return str(UUID(bytes=digest, version=4))


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


@dataclass(frozen=True, slots=True)
class DayClose:
    """The account at a session's close: what last_equity and daily history say later."""

    date: date
    at: datetime
    equity: Decimal
    maintenance_margin: Decimal


@dataclass(slots=True)
class Book:
    """An account's orders, holdings, cash and history. `opening_cash` is not an activity; transfers are."""

    key_id: str
    id: str
    account_number: str
    created_at: datetime
    opening_cash: Decimal
    ledger: Ledger
    cash: Decimal = ZERO
    transferred: Decimal = ZERO
    realised: Decimal = ZERO
    configurations: AccountConfigurations = AccountConfigurations()
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    by_client_id: dict[str, str] = field(default_factory=dict)
    open: dict[str, dict[str, None]] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)
    days: list[DayClose] = field(default_factory=list)
    # The venue's restrictions, for as long as it runs: no power to open anything, no orders at all.
    without_power: bool = False
    trading_blocked: bool = False

    def open_orders(self, symbol: str | None = None) -> Iterator[VenueOrder]:
        """Open orders, oldest first within a symbol."""
        for name in list(self.open) if symbol is None else [symbol]:
            for order_id in list(self.open.get(name, ())):
                yield self.orders[order_id]

    def quantity(self, symbol: str) -> Decimal:
        holding = self.holdings.get(symbol)
        return ZERO if holding is None else holding.quantity

    def held(self, symbol: str, side: Side) -> tuple[Decimal, list[str]]:
        """Shares that open orders of a side speak for, and those orders' ids."""
        orders = [order for order in self.open_orders(symbol) if order.side is side]
        return sum((unfilled_shares(order) for order in orders), ZERO), [order.id for order in orders]

    def put(self, order: VenueOrder, event: str | None = None, at: datetime | None = None) -> VenueOrder:
        """Makes `order` the state of its id, and tells `event` of it."""
        self.keep(order)
        self.ledger.changes["order", order.id] = order
        if event is not None:
            self.ledger.updates.append((self, TradeUpdate(event, order, at or order.updated_at)))
        return order

    def keep(self, order: VenueOrder) -> None:
        """`put` without noting a change: for what was read from the state file."""
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order.id
        if order.is_open:
            self.open.setdefault(order.symbol, {})[order.id] = None
        elif order.id in (open_here := self.open.get(order.symbol, {})):
            del open_here[order.id]
            if not open_here:
                del self.open[order.symbol]

    def fill(
        self, order: VenueOrder, quantity: Decimal, price: Decimal, leaves: Decimal, at: datetime, close: Decimal | None
    ) -> VenueOrder:
        """An execution: position, cash, activity and order together. `close` is the symbol's previous close."""
        holding = self.holdings.setdefault(order.symbol, Holding(order.symbol))
        signed = quantity * order.side.sign
        self.realised += holding.fill(signed, price, trading_date(at), close)
        self.cash -= signed * price
        order = replace(
            order,
            status=OrderStatus.PARTIALLY_FILLED if leaves else OrderStatus.FILLED,
            filled_quantity=order.filled_quantity + quantity,
            filled_value=order.filled_value + quantity * price,
            filled_at=at,
            updated_at=at,
        )
        execution_id = self.ledger.unique()
        activity = FillActivity(
            id=activity_id(at, execution_id),
            at=at,
            type="partial_fill" if leaves else "fill",
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=price,
            cumulative_quantity=order.filled_quantity,
            leaves_quantity=leaves,
            order_status=order.status,
        )
        self._book(activity)
        self.put(order)
        self.ledger.changes["holding", f"{self.key_id}/{holding.symbol}"] = holding
        update = TradeUpdate(activity.type, order, at, execution_id, price, quantity, holding.quantity)
        self.ledger.updates.append((self, update))
        return order

    def amend(
        self, fill: FillActivity, quantity: Decimal, price: Decimal, at: datetime, close: Decimal | None
    ) -> VenueOrder:
        """Takes an execution back and puts `quantity` at `price` in its place: a correction, or a bust where it is 0.

        The order keeps its status, even where a bust leaves it with less than it was filled for.
        """
        order, sign = self.orders[fill.order_id], fill.side.sign
        holding = self.holdings[fill.symbol]
        for shares, dollars in ((-fill.quantity * sign, fill.price), (quantity * sign, price)):
            if shares:
                self.realised += holding.fill(shares, dollars, trading_date(at), close)
                self.cash -= shares * dollars
        order = replace(
            order,
            filled_quantity=order.filled_quantity - fill.quantity + quantity,
            filled_value=order.filled_value - fill.quantity * fill.price + quantity * price,
            updated_at=at,
        )
        execution_id = self.ledger.unique()
        activity = replace(
            fill,
            id=activity_id(at, execution_id),
            at=at,
            type="trade_correct" if quantity else "trade_bust",
            quantity=quantity or fill.quantity,
            price=price if quantity else fill.price,
            cumulative_quantity=order.filled_quantity,
            leaves_quantity=unfilled_shares(order),
            order_status=order.status,
            previous_id=fill.execution_id,
        )
        self._book(activity)
        self.put(order)
        self.ledger.changes["holding", f"{self.key_id}/{holding.symbol}"] = holding
        told = (execution_id, activity.price, activity.quantity, holding.quantity, fill.execution_id)
        self.ledger.updates.append((self, TradeUpdate(activity.type, order, at, *told)))
        return order

    def executions(self) -> dict[str, FillActivity]:
        """Executions that stand, by id, oldest first: what was busted or corrected is gone."""
        standing: dict[str, FillActivity] = {}
        for activity in self.activities:
            if isinstance(activity, FillActivity):
                standing.pop(activity.previous_id or "", None)
                if activity.type != "trade_bust":
                    standing[activity.execution_id] = activity
        return standing

    def effect(self, activity: FillActivity) -> tuple[Decimal, Decimal]:
        """Shares and dollars (both signed) that an execution, or its amendment, brought."""
        shares = ZERO if activity.type == "trade_bust" else activity.quantity * activity.side.sign
        dollars = -shares * activity.price
        for one in self.activities if activity.previous_id is not None else ():
            if isinstance(one, FillActivity) and one.execution_id == activity.previous_id:
                before = one.quantity * one.side.sign
                return shares - before, dollars + before * one.price
        return shares, dollars

    def transfer(self, amount: Decimal, at: datetime) -> CashActivity:
        """Dollars in, or out when negative."""
        activity = CashActivity(
            activity_id(at, self.ledger.unique()), at, amount, activity_type="CSD" if amount > 0 else "CSW"
        )
        self.cash += amount
        self.transferred += amount
        self._book(activity)
        return activity

    def close_day(self, day: DayClose) -> None:
        self.days.append(day)
        self.ledger.changes["day", f"{self.key_id}/{day.date}"] = day

    def configure(self, changes: Mapping[str, object]) -> AccountConfigurations:
        self.configurations = replace(self.configurations, **changes)  # type: ignore[arg-type]
        self.ledger.changes["configurations", self.key_id] = self.configurations
        return self.configurations

    def note(self) -> None:
        """Notes the account's own row as changed."""
        self.ledger.changes["account", self.key_id] = self

    def row(self) -> dict[str, Any]:
        """The account's own facts for the state file."""
        return encode(AccountRow(*(getattr(self, name) for name in AccountRow.__slots__)))

    def _book(self, activity: Activity) -> None:
        self.activities.append(activity)
        self.ledger.changes["activity", f"{self.key_id}/{activity.id}"] = activity
        self.note()


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What the state file says of an account beside its orders, holdings and activities."""

    key_id: str
    id: str
    account_number: str
    created_at: datetime
    opening_cash: Decimal
    cash: Decimal
    transferred: Decimal
    realised: Decimal


def unfilled_shares(order: VenueOrder) -> Decimal:
    """Shares an order may still take or give; a buy by notional counts at its reserve price."""
    if order.quantity is not None:
        return order.quantity - order.filled_quantity
    if order.side is Side.SELL:
        return max(order.held_quantity - order.filled_quantity, ZERO)
    return floor_shares(unfilled_notional(order) / order.reserve_price)


def unfilled_notional(order: VenueOrder) -> Decimal:
    """Dollars still to be filled of an order by notional; 0 for one by shares."""
    return ZERO if order.notional is None else max(order.notional - order.filled_value, ZERO)
