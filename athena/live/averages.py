"""Average prices that differ from the venue's though the shares agree: certain, or a break.

Shares and dollars are the truth; an average is arithmetic on them, and venues do it in more than one way (by average
cost within the day, first in first out over night). So the executions decide: where every order that a holding is made
of has at the venue the shares and the price we booked, or an operator corrected it since, ours is certain. Where that
cannot be seen, the difference is a break like another, and halts its symbol when it persists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.journal.codec import from_text
from athena.live.reconciliation import Break
from athena.model import ZERO, Order

if TYPE_CHECKING:
    from athena.journal.journal import Journal

CERTAIN = "certain: every order of the holding is booked as the venue has it, or an operator corrected it since"


@dataclass(frozen=True)
class Holding:
    """What a position is made of since it was last flat: the venue's ids of its orders, and the first execution's time.

    Shares taken over when the account was bound have no order: their price was the venue's own word.
    """

    orders: frozenset[str]
    since: datetime | None


def holding(journal: Journal, symbol: str) -> Holding:
    """The holding of one symbol, by its fills."""
    opening = journal.one("SELECT quantity FROM openings WHERE symbol = ?", (symbol,))
    held = Decimal(opening["quantity"]) if opening else ZERO
    orders: set[str] = set()
    since: str | None = None
    sql = "SELECT broker_order_id, side, quantity, at FROM fills WHERE symbol = ? ORDER BY at, sequence"
    for row in journal.query(sql, (symbol,)):
        before, signed = held, Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
        held += signed
        if before == 0 or before * held < 0:
            orders, since = set(), row["at"]
        if row["broker_order_id"]:  # a correction by an operator has none: it took the venue's price
            orders.add(row["broker_order_id"])
    return Holding(frozenset(orders), None if since is None else from_text(since))


def judge(journal: Journal, found: Iterable[Break], asked: Iterable[Order]) -> tuple[list[Break], list[Break]]:
    """Of averages that differ, those that are certain and those that are breaks.

    `asked` are the orders the venue was asked for; what differed of them was amended before.
    """
    known = {order.broker_order_id for order in asked}
    certain, breaks = [], []
    for item in found:
        if known and holding(journal, item.symbol).orders <= known:
            certain.append(replace(item, action=CERTAIN))
        else:
            breaks.append(item)
    return certain, breaks


def differing(journal: Journal) -> set[str]:
    """The symbols whose averages differed in the last reconciliation, certain or not."""
    row = journal.one("SELECT checked, breaks FROM reconciliations ORDER BY sequence DESC LIMIT 1")
    if row is None:
        return set()
    told = [*json.loads(row["checked"]).get("prices", ()), *json.loads(row["breaks"])]
    return {str(item["symbol"]) for item in told if item["kind"] == "price"}
