"""Snapshots: whole copies of the journal, read through and hashed before they count, named by time and sequence.

    snapshots/journal-20200309T133000Z-000000012345.sqlite3        the copy (VACUUM INTO: a reader among others)
    snapshots/journal-20200309T133000Z-000000012345.sqlite3.json   its head, its SHA-256, why it was taken

A restore (`restored`) writes a new file and never touches an old one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from athena.config import Settings
from athena.errors import JournalCorrupt, JournalError
from athena.journal import sqlite
from athena.journal.chain import first_break
from athena.journal.codec import from_text, to_text
from athena.journal.event import COLUMNS
from athena.journal.head import record_head, sync_folder

if TYPE_CHECKING:
    from athena.journal.journal import Journal

FOLDER = "snapshots"
KEEP_DAYS = 30
BEFORE_MIGRATION = "before migration"
_PREFIX, _SUFFIX = "journal-", ".sqlite3"
_SPARE_BYTES = 20_000_000
_CHILD_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A finished snapshot: the journal up to event `sequence`, whose hash is `head`. `sha256` is the file's."""

    path: Path
    taken_at: datetime
    sequence: int
    head: str
    sha256: str
    size: int
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        names = ("sequence", "head", "sha256", "size", "reason")
        return {"file": self.path.name, "taken_at": to_text(self.taken_at)} | {n: getattr(self, n) for n in names}

    def __str__(self) -> str:
        size = f"{self.size / 1e6:.1f} MB"
        return f"{self.taken_at:%Y-%m-%d %H:%M:%S} UTC  event {self.sequence:,}  {size}  {self.reason}  {self.path}"


def take(journal_path: Path, folder: Path, reason: str = "") -> Snapshot:
    """Copy the journal at `journal_path` into `folder`, read the copy through, and finish it under its own name.

    Writers go on meanwhile. Raises JournalCorrupt when pages or chain are broken, JournalError when it cannot be made;
    then nothing is left behind that looks like a snapshot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _room(folder, journal_path)
        with tempfile.TemporaryDirectory(prefix=".taking-", dir=folder) as place:
            draft = Path(place) / "draft.sqlite3"
            connection = sqlite.connect(journal_path)
            try:
                sqlite.execute(connection, "VACUUM INTO ?", (str(draft),))
            except sqlite.DriverError as error:
                raise sqlite.explain(error, journal_path) from error
            finally:
                connection.close()
            now = datetime.now(UTC)
            sequence, head = _read_through(draft)
            path = folder / f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}-{sequence:012d}{_SUFFIX}"
            made = Snapshot(path, now, sequence, head, sha256_of(draft), draft.stat().st_size, reason)
            card = Path(place) / "card.json"
            card.write_text(json.dumps(made.to_dict(), indent=1) + "\n", encoding="utf-8")
            for file, name in ((card, _card(path)), (draft, path)):
                sync_file(file)
                os.replace(file, name)
        sync_folder(folder)
        return made
    except OSError as error:
        raise JournalError(
            f"no snapshot can be made in {folder}: {error.strerror}.", "Check the folder's rights and its space."
        ) from error


def list_snapshots(folder: Path) -> list[Snapshot]:
    """The finished snapshots of a folder, newest first; files that are none are passed over."""
    found = []
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}") if folder.is_dir() else ():
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_carded(path))
    return sorted(found, key=lambda snapshot: (snapshot.taken_at, snapshot.sequence), reverse=True)


def check(path: Path) -> Snapshot:
    """Read a snapshot through: its hash, its pages, its chain, its head. Raises JournalCorrupt naming what is wrong."""
    if not path.is_file():
        raise JournalError(f"there is no snapshot at {path}.", "athena snapshot --list shows those there are.")
    another = "Take an older snapshot: athena snapshot --list"
    try:
        card = _carded(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JournalCorrupt(f"{_card(path)} cannot be read, so nothing vouches for {path.name}.", another) from error
    size, digest = path.stat().st_size, sha256_of(path)
    if (size, digest) != (card.size, card.sha256):
        what = f"{size:,} bytes instead of {card.size:,}" if size != card.size else "other bytes than were written"
        raise JournalCorrupt(f"{path} is damaged: it holds {what} (SHA-256 {digest[:16]}).", another)
    if _read_through(path) != (card.sequence, card.head):
        raise JournalCorrupt(f"{path} does not end at event {card.sequence} as its card says.", another)
    return card


def prune(folder: Path, keep: int, days: int = KEEP_DAYS, now: datetime | None = None) -> list[Path]:
    """Remove all but the newest `keep`, the last of each of the last `days` days, and those before migrations."""
    found = list_snapshots(folder)
    since = (now or datetime.now(UTC)) - timedelta(days=days)
    daily = {s.taken_at.date(): s.path for s in reversed(found) if s.taken_at >= since}
    stays = {s.path for s in found[:keep]} | set(daily.values())
    stays |= {s.path for s in found if s.reason == BEFORE_MIGRATION}
    removed = [s.path for s in found if s.path not in stays]
    for path in removed:
        path.unlink(missing_ok=True)
        _card(path).unlink(missing_ok=True)
    return removed


def snapshot_now(journal: Journal, settings: Settings, reason: str = "") -> Snapshot:
    """Take a snapshot, record the head outside the database, and let the retention remove what is old.

    Runs in a process of its own: reading a journal through would hold an engine's other threads up.
    """
    folder = settings.backup_folder / FOLDER
    record_head(journal, settings, force=True)
    command = [sys.executable, "-m", __name__, str(journal.path), str(folder), reason]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JournalError(f"the snapshot was not finished: {error}", "Look for a slow or full disk.") from error
    if child.returncode:
        message, _, hint = child.stderr.strip().partition("\n")
        raise (
            JournalCorrupt(message, hint)
            if child.returncode == JournalCorrupt.exit_code + 100
            else JournalError(message or f"the snapshot ended with {child.returncode}", hint)
        )
    made = _carded(Path(child.stdout.strip()))
    prune(folder, settings.snapshots_keep)
    return made


def snapshot_if_due(journal: Journal, settings: Settings, now: datetime | None = None) -> Snapshot | None:
    """A snapshot when the last is older than `snapshot_minutes` and something happened since, else None; for a thread.

    Cheap when nothing is due: it lists a folder. Raises JournalError.
    """
    now = now or datetime.now(UTC)
    found = list_snapshots(settings.backup_folder / FOLDER)
    newest = next((one for one in found if one.taken_at <= now), None)  # later ones are of a clock that was set back
    if newest is not None and now - newest.taken_at < timedelta(minutes=settings.snapshot_minutes):
        return None
    sequence, _ = journal.head()
    if sequence == (0 if newest is None else newest.sequence):
        return None
    return snapshot_now(journal, settings, "on schedule")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_through(path: Path) -> tuple[int, str]:
    """Every page and every link of the chain; the last sequence and its hash."""
    connection = sqlite.connect(path, read_only=True)
    try:
        sqlite.sound(connection, path)
        rows = connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY sequence")
        count, head, broken, problem = first_break(rows)
    except sqlite.DriverError as error:
        raise sqlite.explain(error, path) from error
    finally:
        connection.close()
    if broken is not None:
        raise JournalCorrupt(f"the chain is broken: {problem}.", "athena verify-journal; restore an older snapshot.")
    return count, head


def _carded(path: Path) -> Snapshot:
    card = json.loads(_card(path).read_text(encoding="utf-8"))
    numbers = int(card["sequence"]), str(card["head"]), str(card["sha256"]), int(card["size"])
    return Snapshot(path, from_text(card["taken_at"]), *numbers, str(card["reason"]))


def _card(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _room(folder: Path, journal_path: Path) -> None:
    wanted = sum(file.stat().st_size for file in (journal_path, Path(f"{journal_path}-wal")) if file.exists())
    free = shutil.disk_usage(folder).free
    if free < wanted + _SPARE_BYTES:
        raise JournalError(
            f"no snapshot: {free / 1e6:,.0f} MB are free under {folder}, {wanted / 1e6:,.0f} MB are needed.",
            "Free some space, or set backups to another disk.",
        )


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def main(arguments: Sequence[str]) -> int:
    """The child's part of `snapshot_now`: PATH FOLDER REASON; prints the snapshot's path."""
    with suppress(OSError):
        os.nice(10)
    try:
        print(take(Path(arguments[0]), Path(arguments[1]), arguments[2]).path)
    except JournalError as error:
        print(error.message.replace("\n", " "), file=sys.stderr)
        print(error.hint, file=sys.stderr)
        return error.exit_code + 100 * isinstance(error, JournalCorrupt)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
