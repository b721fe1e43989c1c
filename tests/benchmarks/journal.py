"""Durable commits: an event, and a gated order intent, beside the same rows written by the bare driver."""

import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from athena.journal.journal import Journal
from tests.benchmarks.rows import Row

COMMITS = 1500
AT = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)


def rows():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = _raw(folder / "raw.sqlite3")
        with Journal.open(folder / "journal.sqlite3", actor="bench") as journal:
            note = _rate(lambda i: journal.append("note", {"text": f"note {i}"}))
            gated = _rate(lambda i: _intent(journal, i))
        again = _raw(folder / "again.sqlite3")
        opened = time.perf_counter()
        Journal.open(folder / "journal.sqlite3", actor="bench").close()
        opened = time.perf_counter() - opened
    raw = (raw + again) / 2
    beside = "raw sqlite3, one row a commit"
    return [
        Row("journaled events", note, "commits/s", beside, raw, raw / note),
        Row("gated, durable order intents", gated, "commits/s", beside, raw, raw / gated, "≤ 1.5"),
        Row("opening a journal", opened * 1000, "ms"),
    ]


def _intent(journal, number):
    with journal.transaction() as tx:
        guard = tx.one("SELECT epoch, mode FROM guard WHERE id = 1")
        tx.append(
            "order.intended",
            {
                "client_order_id": f"c{number}", "strategy": "mean", "symbol": "AAPL", "side": "buy", "type": "limit",
                "time_in_force": "day", "quantity": Decimal(10), "limit_price": Decimal("66.50"), "stop_price": None,
                "extended_hours": False, "purpose": "strategy", "decision_price": Decimal("66.49"), "decided_at": AT,
                "bid": Decimal("66.48"), "ask": Decimal("66.50"), "reason": "cheap", "epoch": guard["epoch"],
            },
            AT,
        )  # fmt: skip


def _raw(path, commits=COMMITS):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, body TEXT)")
    body = "x" * 600
    try:
        return _rate(lambda i: connection.execute("INSERT INTO orders (body) VALUES (?)", (body,)), commits)
    finally:
        connection.close()


def _rate(act, times=COMMITS):
    began = time.perf_counter()
    for number in range(times):
        act(number)
    return times / (time.perf_counter() - began)
