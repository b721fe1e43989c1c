"""The control room's lists, each read again only when an event of a kind that changes it was journaled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.widgets.snapshot import Lists, Row

MOST = 200
_ORDERS = (
    "SELECT client_order_id, symbol, side, type, quantity, filled_quantity, limit_price, average_fill_price, status,"
    " strategy, purpose, intended_at, intended_venue_at FROM orders"
    " WHERE trading_date = (SELECT max(trading_date) FROM orders) ORDER BY intended_at DESC LIMIT ?"
)
_CURVE = (
    "SELECT venue_at, equity FROM equity WHERE trading_date = (SELECT max(trading_date) FROM equity)"
    " ORDER BY venue_at, sequence"
)


def read_lists(journal: Journal, kinds: frozenset[str], last: Lists) -> Lists:
    """The lists after events of these kinds; what none of them concerns is taken over from `last`."""
    found: dict[str, Any] = {name: getattr(last, name) for name in Lists.__dataclass_fields__}
    for name, (concerned, read) in _READ.items():
        if any(kind in kinds for kind in concerned):
            found[name] = read(journal)
    return Lists(**found)


def _rows(journal: Journal, sql: str) -> tuple[Row, ...]:
    return tuple(dict(row) for row in journal.query(sql, (MOST,)))


def _curve(journal: Journal) -> tuple[Any, ...]:
    return tuple((from_text(row["venue_at"]), float(row["equity"])) for row in journal.query(_CURVE))


def _commands(journal: Journal) -> tuple[Row, ...]:
    rows = _rows(journal, "SELECT * FROM commands ORDER BY requested_at DESC LIMIT ?")
    return tuple(
        {**row, "arguments": json.loads(row["arguments"]), "result": json.loads(row["result"] or "{}")} for row in rows
    )


def _limit_changes(journal: Journal) -> tuple[Row, ...]:
    made = [
        {**event.payload, "sequence": event.sequence, "at": event.at, "actor": event.actor}
        for event in journal.events(kinds=["limit.set"])
    ]
    return tuple(reversed(made[-MOST:]))


def _requests(journal: Journal) -> tuple[Any, ...]:
    from athena.live.approvals import requests

    return tuple(reversed(requests(journal)))


_READ: dict[str, tuple[tuple[str, ...], Callable[[Journal], Any]]] = {
    "curve": (("equity", "equity.corrected"), _curve),
    "orders": (
        ("order.intended", "order.refused", "order.updated", "fill", "correction"),
        lambda journal: _rows(journal, _ORDERS),
    ),
    "commands": (("command.requested", "command.finished"), _commands),
    "violations": (
        ("violation", "order.refused"),
        lambda journal: _rows(journal, "SELECT * FROM violations ORDER BY sequence DESC LIMIT ?"),
    ),
    "limit_changes": (("limit.set",), _limit_changes),
    "broker_states": (
        ("broker.state",),
        lambda journal: _rows(journal, "SELECT * FROM broker_states ORDER BY sequence DESC LIMIT ?"),
    ),
    "requests": (("approval.requested", "approval.given"), _requests),
}
