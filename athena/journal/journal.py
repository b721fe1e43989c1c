"""The journal: one append-only chain of events, and tables that always agree with it.

    with journal.transaction() as tx:
        row = tx.one("SELECT epoch, mode FROM guard WHERE id = 1")
        event = tx.append("order.intended", payload)

The event, its hash and what it means to the tables are one commit, flushed to disk before `append` returns.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from athena.errors import JournalError, JournalMissing
from athena.journal import sqlite
from athena.journal.chain import GENESIS, link
from athena.journal.codec import encode, plain, to_text
from athena.journal.entry import Entry
from athena.journal.event import COLUMNS, Event
from athena.journal.projections import apply
from athena.journal.timing import COMMITS
from athena.model import Quote, Trade

if TYPE_CHECKING:
    from athena.journal.audit import Rebuild, Verification
    from athena.journal.telemetry import KeptQuote, Telemetry

_HEAD = "SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1"
_INSERT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAGE = 1_000
FREQUENT = frozenset({"order.intended", "order.updated", "fill", "equity"})
RARE = "kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity')"  # the index events_rare, word for word
_MOVED = "Whoever moved it must stop the engine first; start again once the journal is in its place."


class Journal:
    """One connection to a live system's journal, usable from any thread; `repr` names file, actor and last event."""

    def __init__(self, path: Path, connection: sqlite.Connection, actor: str, read_only: bool) -> None:
        """Use `Journal.open`."""
        if "\n" in actor or not actor:
            raise ValueError(f"an actor is one line of text, got {actor!r}")
        self.path, self.actor, self.read_only = path, actor, read_only
        self.host, self.pid = os.uname().nodename, os.getpid()
        self._connection, self._lock = connection, threading.RLock()
        self._identity = sqlite.identity(path)
        self._transaction: Transaction | None = None
        self._telemetry: Telemetry | None = None
        self._seen = sqlite.data_version(connection)

    @classmethod
    def open(cls, path: Path | str, actor: str, *, read_only: bool = False) -> Journal:
        """Open the journal at `path`, made or migrated first when it is missing or old.

        Raises JournalError: read-only and missing, not a journal, newer than this code, locked, unwritable, damaged.
        """
        path = Path(path)
        if not path.exists():
            if read_only:
                raise JournalMissing(f"there is no journal at {path}.", "Start athena engine, or athena demo.")
            from athena.journal.migrate import create

            create(path)
        connection = sqlite.connect(path, read_only=read_only)
        try:
            found = sqlite.revision(connection, path)
            if found != sqlite.REVISION:
                from athena.journal.migrate import upgrade

                upgrade(path, found, read_only=read_only)
            return cls(path, connection, actor, read_only)
        except BaseException:
            connection.close()
            raise

    def transaction(self) -> Transaction:
        """A context in which reads and appends are one atomic, durable commit; an exception rolls all of it back."""
        return Transaction(self)

    def append(self, kind: str, payload: Mapping[str, Any], venue_at: datetime | None = None) -> Event:
        """Append one event in a transaction of its own; it is on disk when this returns."""
        with Transaction(self) as tx:
            return tx.append(kind, payload, venue_at)

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite.Row]:
        """All rows of a read. No cursor stays open, so no snapshot is held."""
        with self._lock:
            self._usable()
            try:
                return sqlite.execute(self._connection, sql, parameters).fetchall()
            except sqlite.DriverError as error:
                raise sqlite.explain(error, self.path) from error

    def table(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> tuple[list[str], list[sqlite.Row]]:
        """Column names and all rows of a read, for frames."""
        with self._lock:
            self._usable()
            try:
                cursor = sqlite.execute(self._connection, sql, parameters)
                return [column[0] for column in cursor.description], cursor.fetchall()
            except sqlite.DriverError as error:
                raise sqlite.explain(error, self.path) from error

    def one(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite.Row | None:
        """The first row of a read, None when there is none."""
        rows = self.query(sql, parameters)
        return rows[0] if rows else None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A context in which all reads see one moment. Keep it short: it holds the other threads off."""
        with self._lock:
            if self._connection.in_transaction:  # a transaction is one moment already
                yield
                return
            self._begin(sqlite.BEGIN_READ)
            try:
                yield
            finally:
                self._connection.rollback()

    def events(self, after: int = 0, kinds: Iterable[str] | None = None) -> Iterator[Event]:
        """Events with a sequence above `after`, oldest first, of the given kinds or of all; read page by page."""
        wanted = None if kinds is None else list(kinds)
        which = "" if wanted is None else f" AND kind IN ({', '.join('?' * len(wanted))})"
        if wanted is not None and not FREQUENT.intersection(wanted):
            which += f" AND {RARE}"  # says to the database that its small index will do
        sql = f"SELECT {COLUMNS} FROM events WHERE sequence > ?{which} ORDER BY sequence LIMIT {_PAGE}"
        while rows := self.query(sql, (after, *(wanted or ()))):
            for row in rows:
                yield Event.from_row(row)
            after = rows[-1]["sequence"]

    def latest(self, kind: str) -> Event | None:
        """The last event of a kind that is not frequent; None without one."""
        sql = f"SELECT {COLUMNS} FROM events WHERE kind = ? AND {RARE} ORDER BY sequence DESC LIMIT 1"
        row = self.one(sql, (kind,))
        return None if row is None else Event.from_row(row)

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last event; (0, zeros) in an empty journal."""
        row = self.one(_HEAD)
        return (0, GENESIS) if row is None else (row["sequence"], row["hash"])

    def changed(self) -> bool:
        """True when another connection, telemetry's included, has committed since the last call."""
        with self._lock:
            self._usable()
            seen, self._seen = self._seen, sqlite.data_version(self._connection)
            return seen != self._seen

    def verify(self) -> Verification:
        """Read every page, walk the chain, and compare the tables with a fresh fold of the events."""
        from athena.journal.audit import verify

        return verify(self.path)

    def rebuild(self, *, check_only: bool = False) -> Rebuild:
        """Fold the events again and replace the tables by the result; `check_only` just says which rows differ."""
        from athena.journal.audit import rebuild

        return rebuild(self, check_only=check_only)

    def heartbeat(self, component: str, details: Mapping[str, Any], venue_at: datetime | None = None) -> None:
        """Say that `component` of this process lives."""
        self._tell().heartbeat(component, details, venue_at)

    def put_marks(self, quotes: Iterable[Quote] = (), trades: Iterable[Trade] = ()) -> None:
        """Keep the latest quote and print of each symbol for other processes to see."""
        self._tell().put_marks(quotes, trades)

    def put_quotes(self, kept: Iterable[KeptQuote]) -> None:
        """Keep the quotes around fills, ends of orders and closes, for analysis."""
        self._tell().put_quotes(kept)

    def in_place(self) -> bool:
        """True while the file this connection writes is the one at `path`."""
        return self._identity is not None and sqlite.identity(self.path) == self._identity

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        with self._lock:
            if self._telemetry is not None:
                self._telemetry.close()
                self._telemetry = None
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            state = f"{self.head()[0]} events"
        except JournalError as error:
            state = error.message
        return f"<Journal {self.path} {state}, as {self.actor}{', read only' if self.read_only else ''}>"

    def _begin(self, statement: str) -> None:
        self._usable()
        try:
            sqlite.execute(self._connection, statement)
        except sqlite.DriverError as error:
            raise sqlite.explain(error, self.path) from error

    def _tell(self) -> Telemetry:
        with self._lock:
            self._writable()
            if self._telemetry is None:
                from athena.journal.telemetry import Telemetry

                self._telemetry = Telemetry(self.path)
            return self._telemetry

    def _usable(self) -> None:
        if os.getpid() != self.pid:
            raise JournalError("this journal was opened before a fork.", "Open one of its own in the child process.")

    def _writable(self) -> None:
        self._usable()
        if self.read_only:
            raise JournalError(f"{self.path} was opened read only.", "Open it without read_only to write.")
        if not self.in_place():  # SQLite goes on writing into an unlinked file without a word
            raise JournalError(f"{self.path} was removed or replaced while open.", _MOVED)


class Transaction:
    """Reads and appends that become true together; made by `Journal.transaction`."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._connection = journal, journal._connection
        self._head: tuple[int, str] | None = None
        self._failed = False

    def __enter__(self) -> Self:
        journal = self._journal
        journal._lock.acquire()
        try:
            journal._writable()
            if self._connection.in_transaction:
                raise JournalError("transactions do not nest: one is open in this thread.", "Pass it on instead.")
            journal._begin(sqlite.BEGIN_WRITE)
            journal._transaction = self
        except BaseException:
            journal._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        journal = self._journal
        try:
            if kind is None:
                if self._failed:
                    raise JournalError("an append of this transaction failed, so none of it was kept.")
                COMMITS.time(self._connection.commit)
        except sqlite.DriverError as failure:
            raise sqlite.explain(failure, journal.path) from failure
        finally:
            try:
                if self._connection.in_transaction:
                    self._connection.rollback()
            finally:
                journal._transaction = None
                journal._lock.release()

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite.Row]:
        """All rows of a read inside this transaction."""
        self._check_open()
        return self._journal.query(sql, parameters)

    def one(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite.Row | None:
        """The first row of a read inside this transaction, None when there is none."""
        self._check_open()
        return self._journal.one(sql, parameters)

    def append(self, kind: str, payload: Mapping[str, Any], venue_at: datetime | None = None) -> Event:
        """Chain one event and apply what it means; durable when the transaction ends well.

        Raises ValueError or TypeError on a value that cannot be journaled, JournalError on an unknown kind or a
        missing key; then nothing of the transaction remains.
        """
        self._check_open()
        journal, execute = self._journal, self._connection.execute
        self._failed = True  # until the end is reached: half an append must never be committed
        facts = plain(payload)
        now = datetime.now(UTC)
        at, venue = to_text(now), None if venue_at is None else to_text(venue_at)
        try:
            if self._head is None:
                head = execute(_HEAD).fetchall()
                self._head = tuple(head[0]) if head else (0, GENESIS)
            last, previous = self._head
            fields = (last + 1, at, venue, kind, journal.actor, journal.host, journal.pid, encode(facts))
            own = link(previous, fields)
            execute(_INSERT, (*fields, previous, own))
            apply(self._connection, Entry(*fields[:7], facts))
        except sqlite.DriverError as error:
            raise sqlite.explain(error, journal.path) from error
        self._head, self._failed = (last + 1, own), False
        return Event(last + 1, now, venue_at, kind, journal.actor, journal.host, journal.pid, facts, previous, own)

    def _check_open(self) -> None:
        if self._journal._transaction is not self:
            raise JournalError("this transaction is over.", "Begin a new one: with journal.transaction() as tx.")
