"""Logs put away: compressed, hashed, read back, and listed in a manifest; a log that only grew replaces its copy.

<folder>/archive/2020-03-09/engine.log-0123456789ab.gz
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.journal.head import NAME as HEADS
from athena.journal.snapshots import sha256_of

FOLDER = "archive"
_MANIFEST = "manifest.json"
Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ArchivedLog:
    """One log in the archive: its content's SHA-256 and size, and the compressed file's own."""

    source: str
    file: str
    sha256: str
    size: int
    archive_sha256: str
    archived_at: str


def archive_logs(
    folder: Path, logs: Iterable[Path], on_log: Callable[[str], None] = lambda name: None
) -> tuple[list[ArchivedLog], Entries]:
    """Archive every log whose content is not archived in `folder` yet: what was new, and all that is there now.

    Raises AthenaError when a file cannot be read or written, or does not read back.
    """
    entries, made = read_manifest(folder), []
    before = dict(entries)
    try:
        for log in logs:
            on_log(log.name)
            if (one := _archive(folder, log, entries)) is not None:
                made.append(one)
        if entries != before:
            write_manifest(folder, entries)
    except OSError as error:
        raise AthenaError(f"{error.filename or folder}: {error.strerror}.", "Check rights and space.") from error
    return made, entries


def logs_of(settings: Settings, more: Iterable[Path] = ()) -> list[Path]:
    """The account's logs that have anything in them, and `more`; raises SettingsError on one that is none."""
    more = list(more)
    if missing := [path for path in more if not path.is_file()]:
        raise SettingsError(f"there is no log {missing[0]}.", "Name files.")
    own = [path for path in settings.folder.glob("*.log*") if path.is_file() and not path.name.startswith(HEADS)]
    return sorted({path.absolute() for path in (*own, *more) if path.stat().st_size})


def remove_old(folder: Path, entries: Entries, names: Iterable[str]) -> None:
    """Remove archived logs by name, from disk and manifest."""
    names = list(names)
    for name in names:
        (folder / name).unlink(missing_ok=True)
        del entries[name]
    if names:
        write_manifest(folder, entries)


def expired(entries: Entries, keep_days: int) -> list[str]:
    """Names of what is in the archive for longer than so many days."""
    since = datetime.now(UTC).date() - timedelta(days=keep_days)
    return sorted(name for name in entries if date.fromisoformat(name.partition("/")[0]) < since)


def _archive(folder: Path, log: Path, entries: Entries) -> ArchivedLog | None:
    """Compress one log and read it back; None when this content is archived already."""
    content = log.read_bytes()  # logs rotate at a few megabytes
    digest = hashlib.sha256(content).hexdigest()
    if any(entry["sha256"] == digest and (folder / name).is_file() for name, entry in entries.items()):
        return None
    grown = [
        name for name, entry in entries.items()
        if entry["source"] == log.name and 0 < entry["size"] < len(content)
        and hashlib.sha256(content[: entry["size"]]).hexdigest() == entry["sha256"]
    ]  # fmt: skip
    day = datetime.fromtimestamp(log.stat().st_mtime, UTC).date().isoformat()
    path = folder / day / f"{log.name}-{digest[:12]}.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(content)
    with gzip.open(draft) as packed:
        if hashlib.sha256(packed.read()).hexdigest() != digest:
            raise AthenaError(f"{draft} does not read back as {log}.", "Check the disk; nothing was removed.")
    draft.replace(path)
    name = str(path.relative_to(folder))
    made = ArchivedLog(
        log.name, name, digest, len(content), sha256_of(path), datetime.now(UTC).isoformat(timespec="seconds")
    )
    for earlier in grown:
        del entries[earlier]
        (folder / earlier).unlink(missing_ok=True)
    entries[name] = {key: value for key, value in asdict(made).items() if key != "file"}
    return made


def read_manifest(folder: Path) -> Entries:
    """What is archived, by file below `folder`; empty where there is no archive. Raises AthenaError."""
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AthenaError(
            f"{folder / _MANIFEST} cannot be read: {error}.", "Move it away; logs are archived anew."
        ) from error
    return dict(found)


def write_manifest(folder: Path, entries: Entries) -> None:
    """Say what is archived, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_MANIFEST}.draft"
    draft.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(folder / _MANIFEST)
