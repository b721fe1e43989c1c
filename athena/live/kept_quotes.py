"""The quotes around what became of orders, for the analysis of costs: no event, no flush, never in an order's way.

Kept are the quotes in force 15 s and 1 s before a fill, at it, and at `AFTER_SECONDS` after it; the one in force when
an order ended with shares left; and each symbol's at the close. A horizon past the close is not kept, nor is one in
which the connection was lost: what is not known is not there.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from athena.errors import JournalError
from athena.journal.telemetry import KeptQuote
from athena.model import Fill, Order, OrderStatus, trading_date

if TYPE_CHECKING:
    from athena.journal.journal import Journal
    from athena.live.market_data import MarketData

log = logging.getLogger("athena.engine")
BEFORE_SECONDS = (-15.0, -1.0, 0.0)
AFTER_SECONDS = (0.05, 1.0, 15.0, 60.0, 300.0)
GRACE_SECONDS = 2.0  # of machine time: a quote of before may still be under way
LATE_SECONDS = 60.0  # of machine time: a fill learnt of later has no quotes that are known to be without a gap
WAITING_MAX = ROWS_MAX = 50_000
FILL, ORDER, CLOSE = "fill", "order", "close"
_UNSENT = {OrderStatus.REFUSED, OrderStatus.NOT_SENT}


class _Due(NamedTuple):
    due: datetime
    at: datetime
    offset_ms: int
    subject: str
    symbol: str


class QuoteKeeper:
    """What is waited for, by symbol, and what waits to be written; both are bounded, `dropped` counts what is lost.

    `waiting` is empty for a symbol nobody waits for, so that a quote costs the engine one look-up.
    """

    def __init__(self, market: MarketData) -> None:
        self._market = market
        self.waiting: dict[str, list[_Due]] = {}
        self._count = 0
        self._rows: list[KeptQuote] = []
        self.dropped = 0

    def on_fill(self, fill: Fill, now: datetime, close: datetime | None, speed: float = 1.0) -> None:
        """Keep what was in force around a fill, and wait for what comes after it, up to the close."""
        if (now - fill.at).total_seconds() > LATE_SECONDS * max(1.0, speed):
            return
        for seconds in BEFORE_SECONDS:
            self._keep(FILL, fill.execution_id, fill.symbol, fill.at, int(seconds * 1000))
        heap = self.waiting.setdefault(fill.symbol, [])
        for seconds in AFTER_SECONDS:
            due = fill.at + timedelta(seconds=seconds)
            if close is not None and due > close:
                break
            if self._count >= WAITING_MAX:
                self.dropped += 1
                continue
            heapq.heappush(heap, _Due(due, fill.at, int(seconds * 1000), fill.execution_id, fill.symbol))
            self._count += 1

    def on_order(self, order: Order, now: datetime) -> None:
        """Keep what was in force when a sent order ended with shares left."""
        if not order.status.is_final or order.status in _UNSENT or order.status is OrderStatus.FILLED:
            return
        if order.quantity is None or order.filled_quantity < order.quantity:
            self._keep(ORDER, order.client_order_id, order.symbol, order.updated_at or now, 0)

    def on_close(self, day: date, at: datetime) -> None:
        """Keep every symbol's quote at the session's close."""
        for symbol in self._market.quotes:
            self._keep(CLOSE, symbol, symbol, at, 0, day)

    def on_quote(self, symbol: str, at: datetime) -> None:
        """A quote of `at` has come: whatever is due before it is known for good."""
        self._settle(symbol, lambda due: due < at)

    def look(self, now: datetime, connected: bool, speed: float = 1.0) -> None:
        """What is due of symbols that are quiet; while not connected nothing is known of it, and it is dropped."""
        by = now - timedelta(seconds=GRACE_SECONDS * max(1.0, speed))
        for symbol in list(self.waiting):
            self._settle(symbol, lambda due: due < by, known=connected)

    def flush(self, journal: Journal) -> None:
        """Write what was kept since the last call, in one commit; what cannot be written is dropped and counted."""
        rows, self._rows = self._rows, []
        try:
            if rows:
                journal.put_quotes(rows)
        except JournalError as error:  # no reason to stop trading: what is, the journal's other writers tell
            self.dropped += len(rows)
            log.error("%d quotes for analysis were not kept: %s", len(rows), error)

    def _settle(self, symbol: str, is_due: Callable[[datetime], bool], known: bool = True) -> None:
        heap = self.waiting.get(symbol, [])
        while heap and is_due(heap[0].due):
            one = heapq.heappop(heap)
            self._count -= 1
            if known:
                self._keep(FILL, one.subject, symbol, one.at, one.offset_ms)
        if not heap:
            self.waiting.pop(symbol, None)

    def _keep(
        self, kind: str, subject: str, symbol: str, at: datetime, offset_ms: int, day: date | None = None
    ) -> None:
        quote = self._market.nbbo_before(symbol, at + timedelta(milliseconds=offset_ms))
        if quote is None:
            return
        if len(self._rows) >= ROWS_MAX:
            self.dropped += 1
            return
        self._rows.append(KeptQuote(day or trading_date(at), kind, subject, offset_ms, at, quote))
