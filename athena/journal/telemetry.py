"""Heartbeats, marks, and quotes kept for analysis. Not events, and not worth a disk flush each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from athena.journal import sqlite
from athena.journal.codec import decimal_text, encode, plain, to_text
from athena.model import Quote, Trade

_HEARTBEAT = (
    "INSERT INTO heartbeats (component, pid, host, started_at, at, venue_at, details) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (component) DO UPDATE SET pid = excluded.pid, host = excluded.host,"
    " started_at = excluded.started_at, at = excluded.at, venue_at = excluded.venue_at, details = excluded.details"
)
_QUOTE = (
    "INSERT INTO marks (symbol, bid, ask, bid_size, ask_size, venue_at, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask, bid_size = excluded.bid_size,"
    " ask_size = excluded.ask_size, venue_at = excluded.venue_at, at = excluded.at"
)
# A print must not make an old quote look young: it leaves the quote's time alone.
_TRADE = (
    "INSERT INTO marks (symbol, last, venue_at, at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (symbol) DO UPDATE SET last = excluded.last"
)
_KEPT = (
    "INSERT INTO kept_quotes (trading_date, kind, subject, offset_ms, symbol, at, bid, ask, quoted_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class KeptQuote:
    """The quote in force `offset_ms` after a moment `at` (venue time): of a fill, an order's end, or a close.

    `subject` is the execution id, the client order id, or the symbol, by `kind`.
    """

    trading_date: date
    kind: str
    subject: str
    offset_ms: int
    at: datetime
    quote: Quote


class Telemetry:
    """A connection of its own, `synchronous=NORMAL`: a power cut may lose the last moments, a crash does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite.connect(path, synchronous="NORMAL")
        self._lock = threading.Lock()
        self._started: dict[str, str] = {}

    def heartbeat(self, component: str, details: Mapping[str, Any], venue_at: datetime | None = None) -> None:
        """Say that `component` lives, since its first heartbeat from this process."""
        at = to_text(datetime.now(UTC))
        started = self._started.setdefault(component, at)
        venue = None if venue_at is None else to_text(venue_at)
        row = (component, os.getpid(), os.uname().nodename, started, at, venue, encode(plain(details)))
        self._write([(_HEARTBEAT, [row])])

    def put_marks(self, quotes: Iterable[Quote], trades: Iterable[Trade]) -> None:
        """Keep the latest quote and print of each symbol, in one commit."""
        at = to_text(datetime.now(UTC))
        text = decimal_text
        quoted = [
            (q.symbol, text(q.bid), text(q.ask), text(q.bid_size), text(q.ask_size), to_text(q.at), at) for q in quotes
        ]
        printed = [(t.symbol, text(t.price), to_text(t.at), at) for t in trades]
        self._write([(_QUOTE, quoted), (_TRADE, printed)])

    def put_quotes(self, kept: Iterable[KeptQuote]) -> None:
        """Keep quotes for analysis, in one commit; what is there already stays as it is."""
        rows = [
            (k.trading_date.isoformat(), k.kind, k.subject, k.offset_ms, k.quote.symbol, to_text(k.at),
             decimal_text(k.quote.bid), decimal_text(k.quote.ask), to_text(k.quote.at))
            for k in kept
        ]  # fmt: skip
        self._write([(_KEPT, rows)])

    def _write(self, statements: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        with self._lock:
            connection = self._connection
            try:
                sqlite.execute(connection, sqlite.BEGIN_WRITE).close()
                for sql, rows in statements:
                    if rows:
                        connection.executemany(sql, rows).close()
                connection.commit()
            except sqlite.DriverError as error:
                raise sqlite.explain(error, self._path) from error
            finally:
                if connection.in_transaction:
                    connection.rollback()

    def close(self) -> None:
        self._connection.close()
