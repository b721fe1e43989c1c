"""The mark of a restored journal: from here on, what happened after the snapshot is not known.

A journal that went back in time still holds messages that were sent since, runs that ended since and alerts that are
over since. The mark says so in the chain itself, and its projection (in `outbox`) lets nothing of it repeat in silence:
a message that waited is sent as a possible repeat, or held where it is old; a run under way is `interrupted`. What was
told before the mark (an alert that fires) is unknown until it is told again: compare its sequence with `last_restored`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from athena.journal.codec import to_text
from athena.journal.event import Event
from athena.journal.journal import Journal

HELD_AFTER_HOURS = 4.0
"""A waiting message is sent within a minute, or its channel was down. After four hours whoever is on call has other
facts, and yesterday's alarm would mislead: it is held for them to judge. Younger ones are worth a possible repeat."""


@dataclass(frozen=True)
class Doubt:
    """What a mark put in doubt, by ids: messages sent as possible repeats, messages held, runs not made again."""

    repeats: tuple[str, ...]
    held: tuple[str, ...]
    interrupted: tuple[str, ...]


def mark_restored(
    journal: Journal, *, source: str, as_of: datetime, why: str, now: datetime | None = None
) -> Doubt:  # fmt: skip
    """Append the mark: the journal knows the world as of `as_of` and no later. `source` names the snapshot."""
    held_before = (now or datetime.now(UTC)) - timedelta(hours=HELD_AFTER_HOURS)
    facts = {"source": source, "as_of": as_of, "why": why, "held_before": held_before}
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
