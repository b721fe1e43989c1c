"""Orders and fills as events and rows tell them: the payloads that are journaled, and an order from its row."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_UP, Decimal
from typing import Any

from athena.model import Fill, Order, OrderStatus, OrderType, Quote, Side, TimeInForce

EXTERNAL = "external"
_SHARE = Decimal("0.000000001")


def told(order: Order) -> str:
    """One line on an order from outside."""
    price = "" if order.limit_price is None else f" at {order.limit_price:f}"
    what = f"{order.side.value} {order.quantity or order.notional} {order.symbol} {order.type.value}{price}"
    return f"an order from outside, {order.client_order_id} ({what}), is {order.status.value}"


def order_payload(order: Order, strategy: str, source: str) -> dict[str, Any]:
    """An `order.updated` payload that also describes the order, in case it came from outside."""
    names = (
        "client_order_id", "broker_order_id", "symbol", "side", "type", "time_in_force", "quantity", "limit_price",
        "stop_price", "extended_hours", "status", "filled_quantity", "average_fill_price",
    )  # fmt: skip
    return {name: getattr(order, name) for name in names} | {"strategy": strategy, "error": None, "source": source}


def fill_payload(fill: Fill, source: str, nbbo: Quote | None) -> dict[str, Any]:
    """A `fill` event's payload, with the quote before the execution where it is known."""
    names = (
        "execution_id", "client_order_id", "broker_order_id", "strategy", "symbol", "side", "quantity", "price", "fee",
        "at",
    )  # fmt: skip
    quoted = {"bid": nbbo.bid if nbbo else None, "ask": nbbo.ask if nbbo else None}
    return {name: getattr(fill, name) for name in names} | quoted | {"source": source}


def in_shares(order: Order, mark: Decimal | None) -> Order:
    """An order for dollars, from outside, with the shares these buy at its limit or the last price, if that is known.

    For the exposure it counts in; the journal keeps that the venue named no shares.
    """
    price = order.limit_price or mark
    if order.quantity is not None or order.notional is None or not price:
        return order
    return replace(order, quantity=(order.notional / price).quantize(_SHARE, ROUND_UP))


def order_from_row(row: Any) -> Order:
    """The order that a row of the journal tells of."""

    def money(name: str) -> Decimal | None:
        return None if row[name] is None else Decimal(row[name])

    return Order(
        row["client_order_id"], row["broker_order_id"] or "", row["symbol"], Side(row["side"]), OrderType(row["type"]),
        TimeInForce(row["time_in_force"] or "day"), OrderStatus(row["status"]), money("quantity"),
        Decimal(row["filled_quantity"]), money("average_fill_price"), money("limit_price"), money("stop_price"),
        extended_hours=bool(row["extended_hours"]),
    )  # fmt: skip
