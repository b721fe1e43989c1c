"""Orders at the venue: what is asked (OrderRequest), what stands (VenueOrder), what is told (TradeUpdate)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from athena.model import OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.decimals import SHARE_STEP, ZERO, plain


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it arrives, unchecked; `symbol` may also be the asset's id. Either quantity or notional (dollars)."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    order_class: str = ""


@dataclass(frozen=True, slots=True)
class OrderReplacement:
    """What PATCH may change; None leaves as it is.

    `quantity` is the new order's own quantity (what was filled before is not part of it); the default is what remains.
    `trail` is dollars or percent, as the order it replaces.
    """

    quantity: Decimal | None = None
    time_in_force: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order at the venue at one moment. Frozen: each change is a new object under the same id.

    Names on the wire: quantity=qty, filled_quantity=filled_qty, average_fill_price=filled_avg_price,
    high_water_mark=hwm; the rest as here. Fields after `sequence` are the venue's own and do not go on the wire.
    """

    id: str
    client_order_id: str
    asset_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    status: OrderStatus
    quantity: Decimal | None
    created_at: datetime
    submitted_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    filled_quantity: Decimal = ZERO
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    high_water_mark: Decimal | None = None
    extended_hours: bool = False
    filled_at: datetime | None = None
    expired_at: datetime | None = None
    canceled_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    sequence: int = 0
    account_key: str = ""
    filled_value: Decimal = ZERO
    triggered_at: datetime | None = None
    reserve_price: Decimal = ZERO
    held_quantity: Decimal = ZERO

    @property
    def average_fill_price(self) -> Decimal | None:
        """Dollars a share over all fills, or None before the first."""
        if not self.filled_quantity:
            return None
        return (self.filled_value / self.filled_quantity).quantize(SHARE_STEP).normalize() + ZERO

    @property
    def is_open(self) -> bool:
        return self.status.is_open

    def __repr__(self) -> str:
        size = f"${plain(self.notional)}" if self.quantity is None else plain(self.quantity)  # type: ignore[arg-type]
        price = "" if self.limit_price is None else f" at {plain(self.limit_price)}"
        return (
            f"<VenueOrder {self.side} {size} {self.symbol} {self.type}{price} {self.time_in_force}: "
            f"{self.status}, {plain(self.filled_quantity)} filled>"
        )


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """One message of `trade_updates`. execution_id, price, quantity and position_quantity only with (partial) fills.

    `event` is Alpaca's word: accepted, new, partial_fill, fill, canceled, expired, replaced, rejected.
    trade_bust and trade_correct amend the execution `previous_execution_id` after the fact.
    A replacement is told as `replaced` (the old order, with replaced_by) and `new` (the new one).
    """

    event: str
    order: VenueOrder
    at: datetime
    execution_id: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    position_quantity: Decimal | None = None
    previous_execution_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelRow:
    """One row of cancel-all: the order's id and the HTTP status of cancelling it (200)."""

    id: str
    status: int
