"""The engine's open orders: the journal's rows that are not done, and the one place where news of orders is journaled.

News may come twice, late, or from three sides (answer, stream, reconciliation); the journal's row decides what is true,
and a fill counts once, by its execution id.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.journal.codec import from_text
from athena.live.order_payloads import EXTERNAL, fill_payload, order_from_row, order_payload, told
from athena.model import (
    ZERO,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    OrderType,
    Purpose,
    Quote,
    Side,
    TimeInForce,
)

if TYPE_CHECKING:
    from athena.journal.journal import Journal

_FINAL = tuple(status.value for status in OrderStatus if status.is_final)
_OURS = (OrderStatus.INTENDED.value, OrderStatus.UNKNOWN.value)  # the venue has not spoken yet
_OVER = frozenset(_FINAL) - {OrderStatus.NOT_SENT.value}  # that one is our inference: the venue knows better
_OPEN = f"status NOT IN ({', '.join('?' * len(_FINAL))})"
_UNLEARNED = (
    "SELECT DISTINCT client_order_id FROM fills WHERE client_order_id != ''"
    " AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.client_order_id = fills.client_order_id)"
)
_ROW = (
    "SELECT client_order_id, broker_order_id, strategy, symbol, side, purpose, quantity, status, filled_quantity,"
    " intended_at, intended_venue_at, type, time_in_force, limit_price, stop_price, average_fill_price, extended_hours"
    " FROM orders WHERE "
)


@dataclass(slots=True)
class Tracked:
    """An order that can still change, or whose fills have not all been taken in. `taken` counts our fills' shares."""

    client_order_id: str
    broker_order_id: str
    strategy: str
    symbol: str
    side: Side
    purpose: Purpose
    quantity: Decimal | None
    status: OrderStatus
    filled: Decimal
    taken: Decimal
    intended_at: datetime  # machine
    venue_at: datetime
    answered: bool = True  # the venue has spoken of it
    resolving: bool = False
    cancel_wanted: bool = False
    cancel_asked: float | None = None  # monotonic seconds
    immediate: bool = False  # it does not rest: it is over at once while the market is open
    known_at: float = field(default_factory=time.monotonic)

    @property
    def is_done(self) -> bool:
        return self.status.is_final and self.taken >= self.filled

    def is_overdue(self, monotonic: float, seconds: float) -> bool:
        """True for an open order that should have ended so many seconds ago."""
        since = self.known_at if self.immediate else self.cancel_asked
        return not self.is_done and since is not None and monotonic - since > seconds

    @property
    def is_strategys(self) -> bool:
        return self.purpose is Purpose.STRATEGY and self.strategy != EXTERNAL


@dataclass(frozen=True, slots=True)
class News:
    """What one piece of news changed: the order's row after it, and the fill if it was new."""

    order: Order | None
    fill: Fill | None
    strategy: str


class OrderBook:
    """Open orders by client order id, backed by the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tracked: dict[str, Tracked] = {}
        self._working: dict[tuple[str, str], set[str]] = {}

    def load(self) -> None:
        """Track what the journal holds as open; what was intended or unknown there has no answer yet."""
        for row in self._journal.query(_ROW + _OPEN, _FINAL):
            self._track(self._from_row(row))

    def expect(self, intent: OrderIntent, now: datetime, venue_now: datetime) -> None:
        """Track an order that was just journaled as intended."""
        self._track(
            Tracked(
                intent.client_order_id, "", intent.strategy, intent.symbol, intent.side, intent.purpose,
                intent.quantity, OrderStatus.INTENDED, ZERO, ZERO, now, venue_now, answered=False,
                immediate=_immediate(intent.type, intent.time_in_force),
            )
        )  # fmt: skip

    def take(
        self, order: Order, fill: Fill | None, source: str, venue_at: datetime, nbbo: Quote | None = None,
        *, reopened: bool = False,
    ) -> News:  # fmt: skip
        """Journal the venue's word on an order, its fill first, in one commit; nothing when it says nothing new.

        That a final order is open is late news, unless it is `reopened`: seen open in look after look.
        """
        known = self._journal.one(_ROW + "client_order_id = ?", (order.client_order_id,))
        strategy = known["strategy"] if known else self._inherited(order)
        fresh = None if fill is None or self._has(fill.execution_id) else replace(fill, strategy=strategy)
        more = known is not None and order.filled_quantity > Decimal(known["filled_quantity"])
        # The stream often overtakes the answer to the order itself, which then tells of an earlier moment.
        late = (
            known is not None
            and order.status.is_open
            and not reopened
            and (known["status"] in _OVER or (source == "answer" and known["status"] not in _OURS))
        )
        theirs = order.status.value, order.broker_order_id
        says_new = known is None or more or (not late and theirs != (known["status"], known["broker_order_id"]))
        if fresh is None and not says_new:
            self._refresh(order.client_order_id)
            return News(None, None, strategy)
        with self._journal.transaction() as tx:
            if fresh is not None:
                tx.append("fill", fill_payload(fresh, source, nbbo), fresh.at)
            more_told = {"reopened": True} if reopened else {}
            tx.append("order.updated", order_payload(order, strategy, source) | more_told, venue_at)
            if known is None and strategy == EXTERNAL:
                tx.append("note", {"text": f"{told(order)}: not Athena's, it counts in the exposure"}, venue_at)
        self._refresh(order.client_order_id, fresh)
        return News(order, fresh, strategy)

    def take_fill(self, fill: Fill, source: str, nbbo: Quote | None = None) -> News:
        """Journal an execution that came without its order; it finds its order by either id."""
        if self._has(fill.execution_id):
            return News(None, None, "")
        row = self._journal.one(
            _ROW + "client_order_id = ? OR (broker_order_id = ? AND broker_order_id != '') LIMIT 1",
            (fill.client_order_id, fill.broker_order_id),
        )
        name = row["client_order_id"] if row else fill.client_order_id or f"{EXTERNAL}-{fill.broker_order_id}"
        fresh = replace(fill, client_order_id=name, strategy=row["strategy"] if row else EXTERNAL)
        self._journal.append("fill", fill_payload(fresh, source, nbbo), fresh.at)
        self._refresh(name, fresh)
        return News(None, fresh, fresh.strategy)

    def settle(self, client_order_id: str, status: OrderStatus, error: str, source: str, venue_at: datetime) -> Order:
        """Journal what was concluded of an order without the venue's own row: UNKNOWN, NOT_SENT, REJECTED."""
        payload = {"client_order_id": client_order_id, "status": status, "error": error or None, "source": source}
        self._journal.append("order.updated", payload, venue_at)
        self._refresh(client_order_id)
        return self.order(client_order_id)

    def order(self, client_order_id: str) -> Order:
        """The order as the journal now has it; raises KeyError when it has none."""
        row = self._journal.one(_ROW + "client_order_id = ?", (client_order_id,))
        if row is None:
            raise KeyError(client_order_id)
        return order_from_row(row)

    def knows(self, client_order_id: str) -> bool:
        """True when the journal has a row of this order, open or not."""
        return self._journal.one("SELECT 1 FROM orders WHERE client_order_id = ?", (client_order_id,)) is not None

    def unlearned(self) -> set[str]:
        """Orders of which the journal has an execution and nothing else: from outside, and never told."""
        return {str(row[0]) for row in self._journal.query(_UNLEARNED)}

    def get(self, client_order_id: str) -> Tracked | None:
        return self._tracked.get(client_order_id)

    def __iter__(self) -> Iterator[Tracked]:
        return iter(list(self._tracked.values()))

    def __len__(self) -> int:
        return len(self._tracked)

    def working(self, strategy: str, symbol: str) -> bool:
        return bool(self._working.get((strategy, symbol)))

    def open_in(self, symbols: set[str] | None = None) -> list[Tracked]:
        """Orders that are not final, in these symbols or in all."""
        return [t for t in self if t.status.is_open and (symbols is None or t.symbol in symbols)]

    def unanswered(self) -> list[Tracked]:
        return [t for t in self if not t.answered and t.status.is_open]

    def _track(self, tracked: Tracked) -> None:
        self._tracked[tracked.client_order_id] = tracked
        self._working.setdefault((tracked.strategy, tracked.symbol), set()).add(tracked.client_order_id)

    def _refresh(self, client_order_id: str, fill: Fill | None = None) -> None:
        row = self._journal.one(_ROW + "client_order_id = ?", (client_order_id,))
        if row is None:
            return
        tracked = self._tracked.get(client_order_id)
        if tracked is None:
            tracked = self._from_row(row)
            if not tracked.is_done:
                self._track(tracked)
            return
        tracked.status, tracked.filled = OrderStatus(row["status"]), Decimal(row["filled_quantity"])
        tracked.broker_order_id = row["broker_order_id"] or ""
        tracked.taken += fill.quantity if fill else ZERO
        tracked.answered = tracked.status not in (OrderStatus.INTENDED, OrderStatus.UNKNOWN)
        if tracked.is_done:
            self._tracked.pop(client_order_id)
            self._working[tracked.strategy, tracked.symbol].discard(client_order_id)

    def _from_row(self, row: Any) -> Tracked:
        status = OrderStatus(row["status"])
        fills = self._journal.query("SELECT quantity FROM fills WHERE client_order_id = ?", (row["client_order_id"],))
        quantity = None if row["quantity"] is None else Decimal(row["quantity"])
        venue_at = from_text(row["intended_venue_at"] or row["intended_at"])
        return Tracked(
            row["client_order_id"], row["broker_order_id"] or "", row["strategy"], row["symbol"], Side(row["side"]),
            Purpose(row["purpose"]), quantity, status, Decimal(row["filled_quantity"]),
            sum((Decimal(f["quantity"]) for f in fills), ZERO), from_text(row["intended_at"]), venue_at,
            answered=status not in (OrderStatus.INTENDED, OrderStatus.UNKNOWN),
            immediate=_immediate(OrderType(row["type"]), TimeInForce(row["time_in_force"] or "day")),
        )  # fmt: skip

    def _inherited(self, order: Order) -> str:
        """An order replaced from outside stays its strategy's."""
        if order.replaces:
            row = self._journal.one("SELECT strategy FROM orders WHERE broker_order_id = ?", (order.replaces,))
            if row is not None:
                return str(row["strategy"])
        return EXTERNAL

    def _has(self, execution_id: str) -> bool:
        return self._journal.one("SELECT 1 FROM fills WHERE execution_id = ?", (execution_id,)) is not None


def _immediate(kind: OrderType, until: TimeInForce) -> bool:
    return until in (TimeInForce.IOC, TimeInForce.FOK) or (
        kind is OrderType.MARKET and until not in (TimeInForce.OPG, TimeInForce.CLS)
    )
