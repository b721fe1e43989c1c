"""Restoring a snapshot, and the mark in the restored journal: what happened after the snapshot is not known to it.

A journal that went back in time still holds messages that were sent since, runs that ended since and alerts that are
over since. The mark says so in the chain itself, and its projection (in `outbox`) lets nothing of it repeat in silence:
a message that waited is sent as a possible repeat, or held where it is old; a run under way is `interrupted`. What was
told before the mark (an alert that fires) is unknown until it is told again: compare its sequence with `last_restored`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from athena.errors import JournalCorrupt, JournalError
from athena.journal.audit import verify
from athena.journal.codec import to_text
from athena.journal.event import Event
from athena.journal.head import sync_folder
from athena.journal.journal import Journal
from athena.journal.snapshots import Snapshot, check, sha256_of, sync_file

HELD_AFTER_HOURS = 4.0
"""A waiting message is sent within a minute, or its channel was down. After four hours whoever is on call has other
facts, and yesterday's alarm would mislead: it is held for them to judge. Younger ones are worth a possible repeat."""


@dataclass(frozen=True)
class Doubt:
    """What a mark put in doubt, by ids: messages sent as possible repeats, messages held, runs not made again."""

    repeats: tuple[str, ...]
    held: tuple[str, ...]
    interrupted: tuple[str, ...]


def restore(snapshot: Path, to: Path, *, who: str, reason: str) -> tuple[Snapshot, Doubt]:
    """Write a checked snapshot as a journal into the new file `to`, marked as restored by `who`, and verify that.

    The mark is one event: what waited and what ran in the snapshot is not repeated in silence. Raises
    JournalError when `to`, or the `-wal` or `-shm` of an earlier file of that name, exists; JournalCorrupt when
    the snapshot is damaged. Then `to` was not made.
    """
    for taken in (to, *(to.with_name(to.name + end) for end in ("-wal", "-shm", "-journal"))):
        if taken.exists():
            raise JournalError(f"{taken} exists; a restore never writes over anything.", "Name a new file, or move it.")
    card = check(snapshot)
    try:
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=to.parent) as place:
            draft = Path(place) / to.name
            shutil.copyfile(snapshot, draft)
            draft.chmod(0o600)
            if sha256_of(draft) != card.sha256:
                raise JournalError(f"the copy of {snapshot} went wrong.", "Check the disk; nothing was restored.")
            with Journal.open(draft, who) as journal:
                doubt = mark_restored(journal, source=snapshot.name, as_of=card.taken_at, reason=reason)
            found = verify(draft)
            if not found.ok:
                raise JournalCorrupt(f"{snapshot}: {found}", "Take an older snapshot: athena snapshot --list")
            sync_file(draft)
            os.link(draft, to)  # fails where a file has appeared meanwhile
        sync_folder(to.parent)
    except FileExistsError:
        raise JournalError(f"{to} appeared meanwhile; nothing was written over.", "Name a new file.") from None
    except OSError as error:
        raise JournalError(f"{to} cannot be written: {error.strerror}.", "Check the folder and its space.") from error
    return card, doubt


def mark_restored(
    journal: Journal, *, source: str, as_of: datetime, reason: str, now: datetime | None = None
) -> Doubt:  # fmt: skip
    """Append the mark: the journal knows the world as of `as_of` and no later. `source` names the snapshot."""
    held_before = (now or datetime.now(UTC)) - timedelta(hours=HELD_AFTER_HOURS)
    facts = {"source": source, "as_of": as_of, "reason": reason, "held_before": held_before}
    with journal.transaction() as tx:
        at = to_text(tx.append("journal.restored", facts).at)

        def found(table: str, status: str, column: str) -> tuple[str, ...]:
            rows = tx.query(f"SELECT id FROM {table} WHERE status = ? AND {column} = ?", (status, at))
            return tuple(row["id"] for row in rows)

        return Doubt(
            found("deliveries", "queued", "next_at"), found("deliveries", "dead", "finished_at"),
            found("schedule_runs", "interrupted", "finished_at"),
        )  # fmt: skip


def last_restored(journal: Journal) -> Event | None:
    """The last mark, None without one; what the journal says of the world by smaller sequences may be over."""
    return journal.latest("journal.restored")
