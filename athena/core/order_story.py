"""One order's story: every event the journal has about it, oldest first."""

from __future__ import annotations

from typing import Any

from athena.errors import JournalError, did_you_mean
from athena.journal.codec import decode
from athena.journal.journal import Journal

KINDS = ("order.intended", "order.refused", "order.updated", "fill", "violation", "correction")


def order_story(journal: Journal, client_order_id: str) -> list[dict[str, Any]]:
    """Sequence, time, venue time, kind, actor and payload of each event of one order. Raises JournalError."""
    order = journal.one("SELECT intended_at FROM orders WHERE client_order_id = ?", (client_order_id,))
    if order is None:
        known = [
            row[0] for row in journal.query("SELECT client_order_id FROM orders ORDER BY intended_at DESC LIMIT 500")
        ]
        raise JournalError(f"there is no order '{client_order_id}'.", did_you_mean(client_order_id, known))
    first = _first_at(journal, order["intended_at"])
    slots = ", ".join("?" * len(KINDS))
    rows = journal.query(
        f"SELECT sequence, at, venue_at, kind, actor, payload FROM events WHERE sequence >= ? AND kind IN ({slots})"
        " AND payload LIKE ? ESCAPE '\\' ORDER BY sequence",
        (first, *KINDS, f"%{_literal(client_order_id)}%"),
    )
    found = [{**dict(row), "payload": decode(row["payload"])} for row in rows]
    return [one for one in found if client_order_id in one["payload"].values()]


def _first_at(journal: Journal, at: str) -> int:
    """The first sequence not older than `at`: sequences ascend with time, so it is searched by halves."""
    low, high = 1, journal.head()[0]
    while low < high:
        middle = (low + high) // 2
        row = journal.one("SELECT at FROM events WHERE sequence = ?", (middle,))
        if row is not None and row["at"] < at:
            low = middle + 1
        else:
            high = middle
    return max(1, low - 1)  # a clock set back between the two must not hide the first line


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
