"""Trades that the venue takes back or corrects: the books follow by events, never by editing what was journaled.

The venue's word on an order (how much of it is filled, at what average) decides. What we had of it is booked back at
the prices it was booked at, and what the venue has now is booked in its place; both are fills of source "correction".
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from athena.core.comparison import Kind
from athena.live.order_book import EXTERNAL, fill_payload
from athena.live.reconciliation import CASH_TOLERANCE, Break
from athena.model import ZERO, Fill, Order, Side

if TYPE_CHECKING:
    from athena.live.engine import Engine

AMENDED = frozenset({"trade_bust", "trade_correct"})
_STANDING = "SELECT * FROM fills WHERE broker_order_id = ? ORDER BY sequence"


def amend(engine: Engine, order: Order) -> list[Break]:
    """Book what changed about an order's executions after the fact; nothing when our fills are what the venue has."""
    rows = engine.journal.query(_STANDING, (order.broker_order_id,))
    ours, dollars = ZERO, ZERO
    by_price: dict[Decimal, Decimal] = {}
    for row in rows:
        shares = Decimal(row["quantity"]) * (1 if row["side"] == order.side else -1)
        price = Decimal(row["price"])
        by_price[price] = by_price.get(price, ZERO) + shares
        ours, dollars = ours + shares, dollars + shares * price
    theirs, average = order.filled_quantity, order.average_fill_price or ZERO
    if not rows or theirs > ours or (theirs == ours and abs(theirs * average - dollars) <= CASH_TOLERANCE):
        return []  # more at the venue is a fill still to come, not an amendment
    number = sum(1 for row in rows if row["source"] == "correction")
    strategy = str(rows[0]["strategy"]) or EXTERNAL
    parts = [(order.side.opposite if shares > 0 else order.side, abs(shares), price)
             for price, shares in by_price.items() if shares]  # fmt: skip
    if theirs:
        parts.append((order.side, theirs, average))
    for index, part in enumerate(parts, start=number + 1):
        _book(engine, order, strategy, f"{order.broker_order_id}/correction-{index}", *part)
    evidence = (
        f"order {order.client_order_id}: {ours:f} shares for {dollars:.2f} were booked, the venue now has {theirs:f} "
        f"for {theirs * average:.2f}: a trade was busted or corrected"
    )
    kind = Kind.PRICE if theirs == ours else Kind.QUANTITY
    return [Break(kind, order.symbol, f"{ours:f}", f"{theirs:f}", evidence, "corrected by events")]


def _book(
    engine: Engine, order: Order, strategy: str, execution_id: str, side: Side, quantity: Decimal, price: Decimal
) -> None:
    """One booking back or anew. Without a client order id: it is no execution of the order, whose row stays."""
    at = order.updated_at or engine.clock.now()
    fill = Fill(execution_id, "", order.broker_order_id, order.symbol, side, quantity, price, at, strategy)
    engine.journal.append("fill", fill_payload(fill, "correction", None), at)
    engine.booked(fill)
