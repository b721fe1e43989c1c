"""Logs put away at the command line. Removing anything needs `--apply`."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core import log_archive
from athena.errors import AthenaError
from athena.journal.snapshots import sha256_of
from athena.ops.recovery_show import Table, say, working


def archive_logs(settings: Settings, arguments: argparse.Namespace) -> int:
    """Archive every log whose content is not archived yet; --apply then removes rotated logs and old archives.

    The archive is `<folder>/archive/YYYY-MM-DD/`. A log that only grew replaces its earlier archive.
    """
    folder = settings.folder / log_archive.FOLDER
    logs = log_archive.logs_of(settings, arguments.paths)
    began = time.monotonic()
    with working(arguments, "compressing") as now:
        made, entries = log_archive.archive_logs(folder, logs, lambda name: now(f"compressing {name}"))
    try:
        old = log_archive.expired(entries, arguments.keep_days)
        spent = [log for log in logs if _rotated(log) and sha256_of(log) in {e["sha256"] for e in entries.values()}]
        if arguments.apply:
            log_archive.remove_old(folder, entries, old)
            for log in spent:
                log.unlink(missing_ok=True)
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


def _rotated(log: Path) -> bool:
    """True for `engine.log.1` and the like, which nobody writes to any more."""
    return log.suffix.lstrip(".").isdecimal()
