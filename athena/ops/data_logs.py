"""Logs put away: compressed, hashed, read back, kept for a time. Removing anything needs `--apply`."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.journal.head import NAME as HEADS
from athena.journal.snapshots import sha256_of
from athena.ops.recovery_show import Table, say, working

FOLDER = "archive"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Archived:
    """One log in the archive: its content's SHA-256 and size, and the compressed file's own."""

    source: str
    file: str
    sha256: str
    size: int
    archive_sha256: str
    archived_at: str


def archive_logs(settings: Settings, arguments: argparse.Namespace) -> int:
    """Archive every log whose content is not archived yet; --apply then removes rotated logs and old archives.

    The archive is `<folder>/archive/YYYY-MM-DD/`. A log that only grew replaces its earlier archive.
    """
    folder = settings.folder / FOLDER
    logs = _logs(settings, arguments.paths)
    began, before = time.monotonic(), _manifest(folder)
    entries, made = dict(before), []
    try:
        with working(arguments, "compressing") as now:
            for log in logs:
                now(f"compressing {log.name}")
                if (one := _archive(folder, log, entries)) is not None:
                    made.append(one)
        old = _expired(entries, arguments.keep_days)
        spent = [log for log in logs if _rotated(log) and sha256_of(log) in {e["sha256"] for e in entries.values()}]
        if arguments.apply:
            for name in old:
                (folder / name).unlink(missing_ok=True)
                del entries[name]
            for log in spent:
                log.unlink(missing_ok=True)
        if entries != before:
            _save(folder, entries)
    except OSError as error:
        raise AthenaError(f"{error.filename or folder}: {error.strerror}.", "Check rights and space.") from error
    told = f"{len(made)} of {len(logs)} logs archived in {folder} in {time.monotonic() - began:.1f} s"
    told += "" if made else ": all others are there already" if logs else ": there are none"
    gone = [(str(log), "rotated, archived") for log in spent] + [
        (name, f"over {arguments.keep_days} days") for name in old
    ]
    rows = [(one.source, one.file, f"{one.size:,}", one.sha256[:16]) for one in made]
    tables: list[Table] = [
        ("", ("log", "archive", "bytes", "SHA-256"), rows),
        ("removed" if arguments.apply else "--apply would remove", ("file", "why"), gone),
    ]
    facts: dict[str, Any] = {"archived": [asdict(one) for one in made], "removable": gone, "removed": arguments.apply}
    then = "athena archive-logs --apply removes what is listed" if gone and not arguments.apply else ""
    return say(arguments, Verdict.OK, told, facts, tables, then)


def _logs(settings: Settings, more: list[Path]) -> list[Path]:
    if missing := [path for path in more if not path.is_file()]:
        raise SettingsError(f"there is no log {missing[0]}.", "Name files.")
    own = [path for path in settings.folder.glob("*.log*") if path.is_file() and not path.name.startswith(HEADS)]
    return sorted({path.absolute() for path in (*own, *more) if path.stat().st_size})


def _rotated(log: Path) -> bool:
    """True for `engine.log.1` and the like, which nobody writes to any more."""
    return log.suffix.lstrip(".").isdecimal()


def _archive(folder: Path, log: Path, entries: dict[str, dict[str, Any]]) -> Archived | None:
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
    made = Archived(
        log.name, name, digest, len(content), sha256_of(path), datetime.now(UTC).isoformat(timespec="seconds")
    )
    for earlier in grown:
        del entries[earlier]
        (folder / earlier).unlink(missing_ok=True)
    entries[name] = {key: value for key, value in asdict(made).items() if key != "file"}
    return made


def _expired(entries: dict[str, dict[str, Any]], keep_days: int) -> list[str]:
    since = datetime.now(UTC).date() - timedelta(days=keep_days)
    return sorted(name for name in entries if date.fromisoformat(name.partition("/")[0]) < since)


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AthenaError(
            f"{folder / _MANIFEST} cannot be read: {error}.", "Move it away; logs are archived anew."
        ) from error
    return dict(found)


def _save(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_MANIFEST}.draft"
    draft.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(folder / _MANIFEST)
