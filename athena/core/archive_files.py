"""The archive on disk: a Parquet file per table and trading date, and a manifest per date that vouches for them.

    <folder>/archive/fills/date=2020-03-09/part.parquet
    <folder>/archive/manifests/2020-03-09.json

The manifest is written last and counts alone: a file it does not name, or names otherwise, is not part of the archive.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from athena.errors import AthenaError, JournalError
from athena.journal.snapshots import sha256_of

FOLDER, MANIFESTS, FORMAT = "archive", "manifests", 1
_ROWS_PER_GROUP = 122_880  # DuckDB's own: one group is one thread's work


@dataclass(frozen=True, slots=True)
class Part:
    """One table of one day: rows, what they were archived as, and the file ('' where there are no rows).

    `version` changes when the journal's rows do; the sequences are those of the first and last row's events (None for
    orders, which many events make).
    """

    rows: int
    version: str
    first_sequence: int | None
    last_sequence: int | None
    sums: Mapping[str, str]
    file: str = ""
    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is archived of one trading date, and the journal's head it was read at."""

    trading_date: str
    archived_at: str
    journal_sequence: int
    journal_hash: str
    tables: Mapping[str, Part]
    format: int = FORMAT


def part_path(table: str, day: str) -> str:
    """Where a table's day lies below the archive."""
    return f"{table}/date={day}/part.parquet"


def write_part(path: Path, found: pa.Table) -> None:
    """Write a Parquet file and flush it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, path, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_manifest(archive: Path, manifest: Manifest) -> None:
    """Make the day part of the archive, whole or not at all."""
    path = archive / MANIFESTS / f"{manifest.trading_date}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def manifests(archive: Path, start: str = "", end: str = "9") -> dict[str, Manifest]:
    """The archived days from `start` to `end`, both included, by date. Raises JournalError on one it cannot read."""
    paths = sorted((archive / MANIFESTS).glob("????-??-??.json"))
    return {path.stem: _manifest(path) for path in paths if start <= path.stem <= end}


def problem(archive: Path, part: Part, *, thorough: bool = False) -> str:
    """What is wrong with a part's file, '' if nothing.

    A file that was not touched since it was written is trusted; any other, and each when `thorough`, is hashed.
    """
    if not part.file:
        return ""
    path = archive / part.file
    try:
        stat = path.stat()
        untouched = (stat.st_size, stat.st_mtime_ns) == (part.size, part.mtime_ns)
        if stat.st_size != part.size or ((not untouched or thorough) and sha256_of(path) != part.sha256):
            return f"{path} is not what was archived"
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return ""


@contextmanager
def lock(archive: Path) -> Iterator[None]:
    """One archiver at a time. Raises JournalError when another works, AthenaError when nothing can be written."""
    try:
        archive.mkdir(parents=True, exist_ok=True)
        file: IO[str] = (archive / ".archive-trades.lock").open("a", encoding="utf-8")
    except OSError as error:
        raise AthenaError(f"{error.filename}: {error.strerror}.", "Check the folder's owner and rights.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"another archive-trades works on {archive}.", "Wait until it is done.") from None
        yield


def _manifest(path: Path) -> Manifest:
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT or facts["trading_date"] != path.stem:
            raise ValueError(f"format {facts['format']}, of {facts['trading_date']}")
        return Manifest(**facts | {"tables": {name: Part(**part) for name, part in facts["tables"].items()}})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JournalError(
            f"{path} cannot be read: {error}.", "Move it away, then: athena archive-trades writes the day anew."
        ) from error
