"""Orders on which the books and the venue differ, and what a look that is sure of it does: follow, or settle."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from athena.core.comparison import OURS, Kind
from athena.live.order_lane import NOT_FOUND_SECONDS
from athena.live.reconciliation import UNANSWERED, Break, VenueLook
from athena.model import Order, OrderStatus

if TYPE_CHECKING:
    from athena.live.engine import Engine

FOLLOWED = "followed; it counts in the exposure"


def unfollowed(engine: Engine, order: Order) -> Break | None:
    """An open order that our books do not have, or believed never sent; taking it in repairs that."""
    name = order.client_order_id
    row = engine.journal.one("SELECT status FROM orders WHERE client_order_id = ?", (name,))
    if order.status.is_final or (row is not None and row["status"] != OrderStatus.NOT_SENT):
        return None
    told = f"{order.side.value} {order.quantity} {order.symbol}, {order.status.value}"
    kind, whose = Kind.UNKNOWN_ORDER, "not ours"
    if name.startswith(OURS):
        kind, whose = Kind.ORPHAN, "Athena's by its name"
    ours = "none" if row is None else str(row["status"])
    return Break(kind, order.symbol, ours, told, f"order {name} is {whose}", FOLLOWED)


def compare_orders(engine: Engine, look: VenueLook) -> list[Break]:
    """Open here and denied there, final here and open there, or without an answer yet."""
    breaks = []
    for name, order in look.looked_up.items():
        tracked = engine.book.get(name)
        if order is None and tracked is not None and tracked.status.is_open and tracked.answered:
            text, status = f"our open order {name} is unknown to the venue", tracked.status.value
            breaks.append(Break(Kind.PHANTOM, tracked.symbol, status, "none", text, difference=name))
    for order in look.open_orders:
        name, theirs = order.client_order_id, order.status.value
        row = engine.journal.one("SELECT status, updated_at FROM orders WHERE client_order_id = ?", (name,))
        if row is None or OrderStatus(row["status"]).is_open or row["updated_at"] > look.begun:
            continue  # followed, or it came to its end while we looked
        text = f"order {name} is {row['status']} in our books and open at the venue"
        breaks.append(Break(Kind.ORPHAN, order.symbol, str(row["status"]), theirs, text, difference=name))
    for tracked in engine.book.unanswered():
        if tracked.status is OrderStatus.UNKNOWN or tracked.resolving:
            text = f"order {tracked.client_order_id} was sent and no answer was found yet"
            name, status = tracked.client_order_id, tracked.status.value
            breaks.append(Break(UNANSWERED, tracked.symbol, status, "", text, "looked up", name))
    return breaks


def settle(engine: Engine, item: Break, look: VenueLook, doubtful: set[str]) -> Break | None:
    """What a difference in an order that persists is repaired to, where that is certain; None where it is not.

    Denied by the venue, asked by its id in look after look, while the shares agree: the order is gone. Open there in
    look after look: it lives, whatever made us take it for final. One filled whole here cannot live.
    """
    name = item.difference
    if item.kind == Kind.PHANTOM and item.symbol not in doubtful:
        engine.conclude(
            name, OrderStatus.CANCELED, "unknown to the venue, asked by its id; the position agrees without it"
        )
        return replace(item, action="settled as canceled")
    if item.kind == Kind.ORPHAN and item.ours != OrderStatus.FILLED:
        order = next(order for order in look.open_orders if order.client_order_id == name)
        at = order.updated_at or engine.clock.now()
        engine.follow_up(engine.book.take(order, None, "reconciliation", at, reopened=True))
        return replace(item, action=FOLLOWED)
    return None


def is_young(engine: Engine, item: Break) -> bool:
    """True for an order of the last seconds: a venue that took it may not find it yet, look after look."""
    tracked = engine.book.get(item.difference)
    return tracked is not None and time.monotonic() - tracked.known_at < NOT_FOUND_SECONDS
