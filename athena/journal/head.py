"""The head of the hash chain, kept outside the database.

A chain shows what was changed inside it, never that its end was cut off. So the last sequence and hash are appended,
flushed, to `heads.log`: a journal that ends before the last recorded head, or has another hash there, lost something.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from athena.config import Settings
from athena.errors import JournalError
from athena.journal.codec import to_text

if TYPE_CHECKING:
    from athena.journal.journal import Journal

NAME = "heads.log"
EVERY_SECONDS = 1.0
ROTATE_BYTES = 1_000_000
_HASH_CHARACTERS = 64
_recorded: dict[Path, tuple[float, int]] = {}  # when (monotonic) and which sequence this process wrote last


@dataclass(frozen=True, slots=True)
class Head:
    """One recorded head. `word` is 'head', or 'accepted' where an operator took a shorter or other journal for good."""

    at: str
    sequence: int
    hash: str
    word: str = "head"


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """Whether the journal still reaches, unchanged, every head recorded outside it; `last` is the latest of those."""

    ok: bool
    recorded: int
    last: Head | None
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if self.last is None:
            return "no head is recorded outside the database yet: a lost tail could not be noticed"
        return f"reaches the last of {self.recorded} heads recorded outside it: event {self.last.sequence}"


def head_log(journal_path: Path, settings: Settings | None = None) -> Path:
    """Where heads of this journal are kept: the settings' backup folder, else beside the journal."""
    return (journal_path.parent if settings is None else settings.backup_folder) / NAME


def record_head(journal: Journal, settings: Settings | None = None, *, force: bool = False, word: str = "head") -> bool:
    """Append the journal's head to its log, on disk when this returns; False when nothing was due.

    At most once a second and only when the head moved; `force` (at a snapshot, at the engine's stop) skips the wait.
    Raises JournalError when the log cannot be written.
    """
    path = head_log(journal.path, settings)
    since, written = _recorded.get(path, (float("-inf"), -1))
    if not force and time.monotonic() - since < EVERY_SECONDS:
        return False
    sequence, own = journal.head()
    if sequence == 0 or (sequence == written and word == "head"):
        return False
    _append(path, f"{to_text(datetime.now(UTC))} {sequence} {own} {word}\n")
    _recorded[path] = (time.monotonic(), sequence)
    return True


def read_heads(path: Path) -> list[Head]:
    """Every whole line of the log and of the one before it, oldest first; a torn line is passed over."""
    found = []
    for file in (_older(path), path):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise JournalError(f"{file} cannot be read: {error.strerror}.", "Check its rights.") from error
        for line in lines:
            at, _, rest = line.partition(" ")
            number, _, rest = rest.partition(" ")
            own, _, word = rest.partition(" ")
            if number.isdecimal() and len(own) == _HASH_CHARACTERS and word in {"head", "accepted"}:
                found.append(Head(at, int(number), own, word))
    return found


def check_heads(journal: Journal, settings: Settings | None = None) -> HeadCheck:
    """Compare the journal with the heads recorded outside it; a lost tail is named. Writes nothing."""
    heads = read_heads(head_log(journal.path, settings))
    accepted = max((index for index, head in enumerate(heads) if head.word == "accepted"), default=0)
    heads = heads[accepted:]  # its hash vouches for all before it; what was recorded of a lost tail is given up
    if not heads:
        return HeadCheck(True, 0, None)
    last, (sequence, _) = max(heads, key=lambda head: head.sequence), journal.head()
    for head in heads:
        row = journal.one("SELECT hash FROM events WHERE sequence = ?", (head.sequence,))
        if row is not None and row["hash"] != head.hash:
            told = (
                f"event {head.sequence} is not the one recorded at {head.at}: history was replaced at or before it "
                f"(hash {row['hash'][:16]}, recorded {head.hash[:16]})"
            )
            return HeadCheck(False, len(heads), last, told)
    if sequence < last.sequence:
        told = (
            f"the tail is lost: the journal ends at event {sequence}, and event {last.sequence} was there at {last.at} "
            f"(hash {last.hash[:16]}); {last.sequence - sequence} event(s) are missing"
        )
        return HeadCheck(False, len(heads), last, told)
    return HeadCheck(True, len(heads), last)


def _append(path: Path, line: str) -> None:
    """One line, flushed. A full log is set aside as `heads.log.1`; the chain makes older heads dispensable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_size > ROTATE_BYTES:
                os.replace(path, _older(path))
            fresh = not path.exists()
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, ("\n" * torn + line).encode())
                os.fsync(handle)
            finally:
                os.close(handle)
            if fresh:
                sync_folder(path.parent)
    except OSError as error:
        raise JournalError(
            f"the head of the journal cannot be recorded in {path}: {error.strerror}.",
            "Check the folder's rights and space; a lost tail would not be noticed meanwhile.",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")
