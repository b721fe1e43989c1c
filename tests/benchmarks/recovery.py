"""Coming back with a long journal: a hundred thousand orders and their fills, killed, started again."""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from athena.journal.journal import Journal
from tests.benchmarks.rows import Row
from tests.recovery_engine.harness import Trials

ORDERS = 100_000
BATCH = 2_000
AT = datetime(2020, 3, 6, 15, 0, tzinfo=UTC)


def rows():
    with tempfile.TemporaryDirectory() as name:
        trials = Trials(Path(name), 1)
        try:
            return _measure(trials)
        finally:
            trials.process.kill()
            trials.stop_all()
            trials.stop_simulator()


def _measure(trials):
    short = _start(trials)
    with Journal.open(trials.settings.journal_path, "bench") as journal:
        for first in range(0, ORDERS, BATCH):
            _fill(journal, first)
    size = trials.settings.journal_path.stat().st_size / 1e6
    first, again = _start(trials), _start(trials)
    beside = "the same with an empty journal"
    rows = []
    for label, (halted, ready, report) in (("first start after them", first), ("the start after that", again)):
        reconciled = float(report["reconciled_seconds"])
        assert report["reconciled"] or "filling" in report["differences"], report
        rows += [
            Row(f"{label}: halted", halted, "s", beside, short[0], halted / short[0], "≤ 5 s"),
            Row(f"{label}: reconciled and reported", reconciled, "s", beside, float(short[2]["reconciled_seconds"]),
                reconciled / float(short[2]["reconciled_seconds"]), "≤ 30 s"),
            Row(f"{label}: process to ready", ready, "s"),
        ]  # fmt: skip
    return [*rows, Row("orders in the journal", ORDERS, ""), Row("its size", size, "MB")]


def _start(trials):
    """Start, see it halted and ready, kill it: (seconds to the halt's row, seconds to ready, the startup report)."""
    with Journal.open(trials.settings.journal_path, "bench") as journal:
        head, _ = journal.head()
    began, begun_at = time.monotonic(), datetime.now(UTC)
    process, said = trials.begin("", 0)
    assert trials.ready(process, said)
    ready = time.monotonic() - began
    process.kill()
    process.join(10)
    with Journal.open(trials.settings.journal_path, "bench") as journal:
        kinds = {event.kind: event for event in journal.events(after=head, kinds=["halt.set", "note"])}
        report = next(e.payload["startup.report"] for e in journal.events(after=head, kinds=["note"])
                      if "startup.report" in e.payload)  # fmt: skip
        return (kinds["halt.set"].at - begun_at).total_seconds(), ready, report


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
