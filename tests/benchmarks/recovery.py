"""Coming back with a long journal: a hundred thousand orders and their fills, killed, started again.

From the start of a real process on: its interpreter, every import and the settings are in each figure.
"""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from athena.journal.journal import Journal
from tests.benchmarks.rows import Row
from tests.engine.processes import Desk

ORDERS = 100_000
BATCH = 2_000
AT = datetime(2020, 3, 6, 15, 0, tzinfo=UTC)


def rows():
    with tempfile.TemporaryDirectory() as name:
        desk = Desk(Path(name), 1)
        try:
            return _measure(desk)
        finally:
            desk.stop_all()
            desk.stop_simulator()


def _measure(desk):
    short = _start(desk)
    with Journal.open(desk.settings.journal_path, "bench") as journal:
        for first in range(0, ORDERS, BATCH):
            _fill(journal, first)
    size = desk.settings.journal_path.stat().st_size / 1e6
    first, again = _start(desk), _start(desk)
    beside = "the same with an empty journal"
    rows = []
    for label, (halted, reconciled, ready) in (("first start after them", first), ("the start after that", again)):
        rows += [
            Row(f"{label}: halted", halted, "s", beside, short[0], halted / short[0], "≤ 5 s"),
            Row(f"{label}: reconciled", reconciled, "s", beside, short[1], reconciled / short[1], "≤ 30 s"),
            Row(f"{label}: ready", ready, "s", beside, short[2], ready / short[2]),
        ]
    return [*rows, Row("orders in the journal", ORDERS, ""), Row("its size", size, "MB")]


def _start(desk):
    """Start, see it halted, reconciled and ready, kill it: seconds from the process's start to each."""
    with Journal.open(desk.settings.journal_path, "bench") as journal:
        head, _ = journal.head()
    began, begun_at = time.monotonic(), datetime.now(UTC)
    engine = desk.start_ready()
    ready = time.monotonic() - began
    desk.kill(engine)
    with Journal.open(desk.settings.journal_path, "bench") as journal:
        events = {event.kind: event for event in journal.events(after=head, kinds=["halt.set", "reconciliation"])}
    payload = events["reconciliation"].payload
    assert payload["ok"] or payload["checked"]["moving"], payload
    return *((events[kind].at - begun_at).total_seconds() for kind in ("halt.set", "reconciliation")), ready


def _fill(journal, first):
    """A batch of orders bought and sold again, as the engine journals them, at no profit."""
    with journal.transaction() as tx:
        for number in range(first, first + BATCH):
            name, side = f"athena-old-AAPL-{number}", "buy" if number % 2 == 0 else "sell"
            at = AT + timedelta(milliseconds=10 * number)
            order = {
                "client_order_id": name, "strategy": "old", "symbol": "AAPL", "side": side, "type": "market",
                "time_in_force": "day", "quantity": Decimal(10), "limit_price": None, "stop_price": None,
                "extended_hours": False, "purpose": "strategy", "decision_price": Decimal(70), "decided_at": at,
                "bid": Decimal(70), "ask": Decimal(70), "reason": "bench", "epoch": 1,
            }  # fmt: skip
            tx.append("order.intended", order, at)
            fill = {
                "execution_id": f"e{number}", "client_order_id": name, "broker_order_id": f"b{number}",
                "strategy": "old",
                "symbol": "AAPL", "side": side, "quantity": Decimal(10), "price": Decimal(70), "fee": Decimal(0),
                "at": at, "bid": None, "ask": None, "source": "stream",
            }  # fmt: skip
            tx.append("fill", fill, at)
            done = {"broker_order_id": f"b{number}", "status": "filled", "filled_quantity": Decimal(10)}
            tx.append("order.updated", order | done | {"average_fill_price": Decimal(70), "source": "stream"}, at)
