"""Closed trading days, exported from the journal to Parquet, and how the two stand to each other.

    for done in archive_days(journal, settings.folder, before=date(2020, 3, 10)):
        print(done.trading_date, done.before, done.manifest.tables["fills"].rows)

The journal stays the truth. A day is written again only when the journal has more to say of it (a late fill, an order
that ended days later, a corrected point of equity) or its files were harmed; a journal that has less of a day than the
archive, after an older snapshot was restored, never overwrites it. The engine is not needed and not disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from athena.core.archive_files import (
    FOLDER,
    Manifest,
    Part,
    lock,
    manifests,
    part_path,
    problem,
    write_manifest,
    write_part,
)
from athena.core.archive_tables import TABLES, columns, read_day, sums
from athena.errors import AthenaError, JournalError
from athena.journal.codec import to_text
from athena.journal.journal import Journal
from athena.journal.snapshots import sha256_of


class State(StrEnum):
    """How a day's archive stands to the journal."""

    NEW = "not archived"
    CURRENT = "archived"
    GREW = "the journal has news"
    BEHIND = "the journal has less"
    HARMED = "files harmed"


@dataclass(frozen=True, slots=True)
class Archived:
    """What was done with one day; `manifest` is None where there is nothing to show, `why` says what was wrong."""

    trading_date: str
    before: State
    written: bool
    manifest: Manifest | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A table's rows of one day in the journal: how many, and a text that changes when they do."""

    rows: int
    version: str = ""


_NONE = _Mark(0)


def archive_days(
    journal: Journal,
    folder: Path,
    before: date,
    only: date | None = None,
    *,
    thorough: bool = False,
    on_day: Callable[[str, int, int], None] = lambda day, number, count: None,
) -> Iterator[Archived]:
    """Archive the days earlier than `before` that need it, oldest first, and say of each day how it stands.

    `before` is the earliest date that is not over. `thorough` hashes every file and adds up every day again. Raises
    JournalError: `only` is not over, what was written does not read back as the journal, another archiver works.
    """
    archive = folder / FOLDER
    if only is not None and only >= before:
        raise JournalError(f"{only} is not over; a running day is never archived.", "Archive it after its end.")
    start, end = ("", "9") if only is None else (only.isoformat(), only.isoformat())
    with lock(archive):
        kept = manifests(archive, start, end)
        known = {table: marks(journal, table, start, end) for table in TABLES}
        days = sorted(day for day in {*kept, *(day for table in known.values() for day in table)}
                      if day < before.isoformat())  # fmt: skip
        for number, day in enumerate(days, 1):
            on_day(day, number, len(days))
            state, why = _state_of_day(journal, archive, day, kept.get(day), known, thorough)
            needed = state in {State.NEW, State.GREW} or (state is State.HARMED and _whole(day, kept[day], known))
            manifest = _archive_day(journal, archive, day) if needed else kept.get(day)
            yield Archived(day, state, needed, manifest, why)


def pending(journal: Journal, folder: Path, before: date) -> list[str]:
    """Trading dates earlier than `before` whose archive is missing, old or harmed; reads counts, writes nothing."""
    archive, end = folder / FOLDER, before.isoformat()
    kept, known = manifests(archive), {table: marks(journal, table) for table in TABLES}
    days = sorted(day for day in {*kept, *(day for table in known.values() for day in table)} if day < end)
    return [
        day for day in days
        if _state_of_day(journal, archive, day, kept.get(day), known, False)[0] is not State.CURRENT
    ]  # fmt: skip


def marks(journal: Journal, table: str, start: str = "", end: str = "9") -> dict[str, _Mark]:
    """The journal's rows of `table` by trading date. Fills and violations are only ever added, so a count will do.

    A journal that knows more columns than a day was archived with has news of that day too.
    """
    shape = f"{len(columns(table))} columns"
    version = "max(updated_at)" if table == "orders" else "''"
    rows = journal.query(
        f"SELECT trading_date, count(*), {version} FROM {table} WHERE trading_date BETWEEN ? AND ?"
        " GROUP BY trading_date",
        (start, end),
    )
    found = {day: _Mark(count, f"{shape}, {text}" if text else shape) for day, count, text in rows}
    for event in journal.events(kinds=("equity.corrected",)) if table == "equity" else ():
        row = journal.one("SELECT trading_date FROM equity WHERE sequence = ?", (event.payload["sequence"],))
        if row and (mark := found.get(row[0])):
            found[row[0]] = _Mark(mark.rows, f"{shape}, corrected by {event.sequence}")
    return found


def follows(journal: Journal, manifest: Manifest) -> bool:
    """True when this journal is the one, or its continuation, that the day was archived from."""
    row = journal.one("SELECT hash FROM events WHERE sequence = ?", (manifest.journal_sequence,))
    return row is not None and row["hash"] == manifest.journal_hash


def state_of(part: Part | None, mark: _Mark | None, same_journal: bool) -> State:
    """How one table's day stands: the archive may speak for CURRENT and BEHIND, the journal must for the others."""
    if part is None:
        return State.NEW
    mark = mark or _NONE
    if mark.rows < part.rows:
        return State.BEHIND
    same = mark.rows == part.rows and (mark.version == part.version or not mark.rows)
    return State.CURRENT if same and same_journal else State.GREW


def _state_of_day(
    journal: Journal,
    archive: Path,
    day: str,
    manifest: Manifest | None,
    known: dict[str, dict[str, _Mark]],
    thorough: bool,
) -> tuple[State, str]:
    if manifest is None:
        return State.NEW, ""
    same = follows(journal, manifest)
    states = {table: state_of(manifest.tables.get(table), known[table].get(day), same) for table in TABLES}
    if State.BEHIND in states.values():
        table = next(table for table in TABLES if states[table] is State.BEHIND)
        count, mark = manifest.tables[table].rows, known[table].get(day)
        return State.BEHIND, f"{table}: the archive has {count}, the journal {mark.rows if mark else 0}"
    if any(state is not State.CURRENT for state in states.values()):
        return State.GREW, ""
    if wrong := next(
        filter(None, (problem(archive, part, thorough=thorough) for part in manifest.tables.values())), ""
    ):
        return State.HARMED, wrong
    if thorough:
        for table, part in manifest.tables.items():
            told = sums(table, read_day(journal, table, [day]))
            if told != part.sums:
                return State.GREW, f"{table}: the journal adds up to {told}, the archive to {dict(part.sums)}"
    return State.CURRENT, ""


def _whole(day: str, manifest: Manifest, known: dict[str, dict[str, _Mark]]) -> bool:
    return all(known[table].get(day, _NONE).rows >= part.rows for table, part in manifest.tables.items())


def _archive_day(journal: Journal, archive: Path, day: str) -> Manifest:
    """Export a day as of one moment of the journal, read it back, compare, and only then let it count."""
    with journal.reading():
        sequence, digest = journal.head()
        found = {table: read_day(journal, table, [day]) for table in TABLES}
        known = {table: marks(journal, table, day, day).get(day, _NONE) for table in TABLES}
    drafts: dict[str, Path] = {}
    try:
        for table, rows in found.items():
            if len(rows):
                drafts[table] = _draft(archive, table, day)
                write_part(drafts[table], rows)
        parts = {table: _checked(table, day, rows, known[table], drafts.get(table)) for table, rows in found.items()}
        for table, draft in drafts.items():
            draft.replace(archive / part_path(table, day))
            _sync(draft.parent)
        manifest = Manifest(day, to_text(datetime.now(UTC)), sequence, digest, parts)
        write_manifest(archive, manifest)
        return manifest
    except OSError as error:
        raise AthenaError(f"{error.filename or archive}: {error.strerror}.", "Check rights and space.") from error
    finally:
        _discard(drafts.values())


def _checked(table: str, day: str, rows: pa.Table, mark: _Mark, draft: Path | None) -> Part:
    """The part's line in the manifest, after the file on disk was held against the journal."""
    stored = pq.read_table(draft, partitioning=None) if draft else rows
    told, added = sums(table, rows), sums(table, stored)
    if len(stored) != mark.rows or added != told or not stored.equals(rows):
        raise JournalError(
            f"{table} of {day} do not read back as the journal has them: {len(stored)} rows of {mark.rows},"
            f" {added} for {told}.",
            "Nothing was archived of that day. Check the disk, then run athena archive-trades again.",
        )
    has_sequence = "sequence" in rows.column_names and len(rows) > 0
    first, last = pc.min_max(rows["sequence"]).as_py().values() if has_sequence else (None, None)
    if draft is None:
        return Part(0, mark.version, None, None, told)
    stat = draft.stat()
    return Part(
        len(rows), mark.version, first, last, told, part_path(table, day), sha256_of(draft), stat.st_size,
        stat.st_mtime_ns,
    )  # fmt: skip


def _draft(archive: Path, table: str, day: str) -> Path:
    path = archive / part_path(table, day)
    return path.with_name(f".{path.name}.draft")


def _discard(drafts: Iterable[Path]) -> None:
    for draft in drafts:
        draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Let a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__: Sequence[str] = ("Archived", "State", "archive_days", "follows", "marks", "state_of")
