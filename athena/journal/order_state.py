"""An order's row from what was said of it and what was filled; late and repeated news do no harm.

A final order never opens again; the filled quantity never falls; what only Athena thinks (intended, unknown) never
hides what the venue said; where fills account for the whole quantity, the average price is theirs.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from athena.journal.codec import decimal_text
from athena.model import ZERO, OrderStatus

_OURS = {OrderStatus.INTENDED, OrderStatus.UNKNOWN}  # not yet the venue's word
_NOT_VENUE = _OURS | {OrderStatus.REFUSED, OrderStatus.NOT_SENT}
_UNFILLED = _OURS | {
    OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.ACCEPTED_FOR_BIDDING, OrderStatus.HELD,
}  # fmt: skip
_PRICE_UNIT = Decimal("0.00000001")
_SELECT = (
    "SELECT status, quantity, filled_quantity, average_fill_price, broker_order_id, error, acknowledged_at,"
    " final_venue_at FROM orders WHERE client_order_id = ?"
)
_UPDATE = (
    "UPDATE orders SET status = ?, filled_quantity = ?, average_fill_price = ?, broker_order_id = ?, error = ?,"
    " acknowledged_at = ?, final_venue_at = ?, updated_at = ? WHERE client_order_id = ?"
)


def settle(
    db: Any,
    client_order_id: str,
    *,
    at: str,
    when: str,
    status: str | None = None,
    filled: str | None = None,
    average: str | None = None,
    broker_order_id: str | None = None,
    error: str | None = None,
) -> None:
    """Bring one orders row up to date; an unknown order is left for the update that describes it."""
    found = db.execute(_SELECT, (client_order_id,)).fetchall()
    if not found:
        return
    was, quantity, had, had_average, had_id, had_error, acknowledged, final_at = found[0]
    executed, cost = _executed(db, client_order_id)
    known = max(Decimal(had), Decimal(filled or 0), executed)
    if executed and executed == known:
        price = decimal_text((cost / executed).quantize(_PRICE_UNIT).normalize())
    else:
        price = average if average is not None and Decimal(filled or 0) == known else had_average
    whole = quantity is not None and known >= Decimal(quantity)
    now = _next(OrderStatus(was), OrderStatus(status or was), known, whole)
    if now not in _NOT_VENUE:
        acknowledged = acknowledged or at
    if now.is_final:
        final_at = final_at or when
    shares = decimal_text(known) if known != Decimal(had) else had
    row = (now.value, shares, price, broker_order_id or had_id, error or had_error, acknowledged, final_at, at)
    db.execute(_UPDATE, (*row, client_order_id))


def _executed(db: Any, client_order_id: str) -> tuple[Decimal, Decimal]:
    """Shares and dollars of the order's fills."""
    rows = db.execute("SELECT quantity, price FROM fills WHERE client_order_id = ?", (client_order_id,)).fetchall()
    shares, cost = ZERO, ZERO
    for quantity, price in rows:
        shares += Decimal(quantity)
        cost += Decimal(quantity) * Decimal(price)
    return shares, cost


def _next(was: OrderStatus, told: OrderStatus, filled: Decimal, whole: bool) -> OrderStatus:
    if told in _OURS and was not in _OURS:
        told = was
    if filled and told in _UNFILLED:
        told = OrderStatus.PARTIALLY_FILLED
    if whole and filled and (told.is_open or told is was):
        told = OrderStatus.FILLED
    if was is OrderStatus.FILLED or (was.is_final and told.is_open):
        return was
    return told
