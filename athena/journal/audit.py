"""Does the journal still say what was written? The chain, the pages, and the tables against a fresh fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from athena.errors import JournalCorrupt, JournalError
from athena.journal import sqlite
from athena.journal.chain import first_break
from athena.journal.codec import decode
from athena.journal.entry import Entry
from athena.journal.event import COLUMNS
from athena.journal.journal import Journal
from athena.journal.projections import TABLES, fold

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of a table that is not what the events say; None where there is no such row."""

    table: str
    key: str
    stored: dict[str, object] | None
    folded: dict[str, object] | None

    def __str__(self) -> str:
        if self.stored is None or self.folded is None:
            return f"{self.table} {self.key}: {'missing' if self.stored is None else 'no event tells of it'}"
        pairs = ((name, self.stored.get(name), folded) for name, folded in self.folded.items())
        changed = (
            f"{name} is {stored!r}, the events say {folded!r}" for name, stored, folded in pairs if stored != folded
        )
        return f"{self.table} {self.key}: {'; '.join(changed)}"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What folding the events again showed; `replaced` says whether the tables were put right."""

    events: int
    differences: tuple[Difference, ...]
    replaced: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """`ok`, or the first broken sequence and what is wrong; `head` is the last good hash, to be kept elsewhere."""

    ok: bool
    events: int
    head: str
    first_broken: int | None
    problem: str
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        if self.ok:
            return f"{self.events} events, the chain and every table hold; head {self.head[:16]}"
        return "\n".join([self.problem, *map(str, self.differences[:_SHOWN])])


def verify(path: Path) -> Verification:
    """Read the journal at `path` from its first page to its last on a connection of its own; writes nothing.

    Raises JournalCorrupt when pages are damaged, JournalError when it cannot be read.
    """
    connection = sqlite.connect(path, read_only=True)
    try:
        sqlite.sound(connection, path)
        connection.execute(sqlite.BEGIN_READ)  # one snapshot, whatever is appended meanwhile
        rows = connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY sequence")
        count, head, broken, problem = first_break(rows)
        rows.close()
        if broken is not None:
            return Verification(False, count, head, broken, f"{path}: {problem}")
        differences, unfolded = _compare(connection), ""
    except JournalCorrupt:
        raise
    except JournalError as error:
        differences, unfolded = (), f"{path}: its events cannot be folded: {error}"
    except sqlite.DriverError as error:
        raise sqlite.explain(error, path) from error
    finally:
        connection.close()
    if differences:
        unfolded = f"{path}: {len(differences)} rows differ from the events"
    return Verification(not unfolded, count, head, None, unfolded, differences)


def rebuild(journal: Journal, *, check_only: bool = False) -> Rebuild:
    """Fold the events again; unless `check_only`, replace the tables by the result in one transaction.

    Replacing holds the write lock for the whole fold (a million events take a minute): stop the engine first.
    Raises JournalCorrupt on a broken chain: a fold of altered events would make the alteration look true.
    """
    if not check_only:
        checked = verify(journal.path)
        if checked.first_broken is not None:
            raise JournalCorrupt(checked.problem, "Restore the last snapshot; nothing was replaced.")
        with journal.transaction() as _:
            differences = _compare(journal._connection, replace=True)
            return Rebuild(journal.head()[0], differences, bool(differences))
    connection = sqlite.connect(journal.path, read_only=True)
    try:
        connection.execute(sqlite.BEGIN_READ)
        return Rebuild(journal.head()[0], _compare(connection), False)
    finally:
        connection.close()


def _compare(connection: sqlite.Connection, *, replace: bool = False) -> tuple[Difference, ...]:
    """Fold into a scratch database and compare table by table; with `replace`, copy the fold over."""
    scratch = sqlite.scratch(connection)
    try:
        scratch.execute(sqlite.BEGIN_READ)
        fold(scratch, _entries(connection))
        differences = tuple(difference for table in TABLES for difference in _diff(table, connection, scratch))
        for table in {difference.table for difference in differences} if replace else ():
            rows = scratch.execute(f"SELECT * FROM {table}").fetchall()
            connection.execute(f"DELETE FROM {table}")
            if rows:
                names, slots = ", ".join(rows[0].keys()), ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({slots})", rows)
        return differences
    finally:
        scratch.close()


def _entries(connection: sqlite.Connection) -> Iterator[Entry]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY sequence")
    for sequence, at, venue_at, kind, actor, host, pid, payload, _, _ in rows:
        yield Entry(sequence, at, venue_at, kind, actor, host, pid, decode(payload))


def _diff(table: str, connection: sqlite.Connection, scratch: sqlite.Connection) -> Iterator[Difference]:
    keys = sqlite.primary_key(connection, table)

    def rows(source: sqlite.Connection) -> dict[str, dict[str, object]]:
        found = (dict(row) for row in source.execute(f"SELECT * FROM {table}").fetchall())
        return {" ".join(str(row[key]) for key in keys): row for row in found}

    stored, folded = rows(connection), rows(scratch)
    for key in sorted(stored.keys() | folded.keys()):
        if stored.get(key) != folded.get(key):
            yield Difference(table, key, stored.get(key), folded.get(key))
