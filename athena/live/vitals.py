"""What the journal says of a live system's parts now: signs of life, prices, books. Every handle reads them here.

Ages are seconds of machine time. A sign dated in the future proves nothing: somebody set the clock back.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from athena.journal.journal import Journal, Transaction

STALE_SECONDS = 5.0  # an engine silent for longer is not running
AHEAD_SECONDS = 1.0  # a sign of life further in the future is not believed
QUOTES_STALE_SECONDS = 60.0
BOOKS_STALE_SECONDS = 180.0  # three missed reconciliations
DISK_FREE_MEGABYTES_MIN = 500


@dataclass(frozen=True)
class Beat:
    """A component's last sign of life and what it said of itself; it may be long gone."""

    component: str
    pid: int
    host: str
    at: datetime
    venue_at: datetime | None
    details: dict[str, Any]
    age_seconds: float

    @property
    def fresh(self) -> bool:
        """Whether it is young enough to be believed."""
        return -AHEAD_SECONDS <= self.age_seconds <= STALE_SECONDS

    @property
    def stopped(self) -> bool:
        """Whether its last word was that it stops, in good order."""
        return self.details.get("state") == "stopped"

    @property
    def alive(self) -> bool:
        """Whether it gives signs of life; not one that just said that it stopped."""
        return self.fresh and not self.stopped

    @property
    def venue_now(self) -> datetime | None:
        """The venue's time by its last word, carried on at the venue's speed while it lives."""
        if self.venue_at is None or not self.alive:
            return self.venue_at
        return self.venue_at + timedelta(seconds=self.age_seconds * float(self.details.get("speed") or 1))

    @property
    def overdue_seconds(self) -> float:
        """Since its `next_at` was due, by the time it follows; negative until then, and where it named none."""
        if not (due := self.details.get("next_at")):
            return -math.inf
        return self.age_seconds - (datetime.fromisoformat(due) - (self.venue_at or self.at)).total_seconds()

    @property
    def silence(self) -> str:
        """How it went silent: `it stopped at ...`, `last heartbeat ...`, or a heartbeat from the future."""
        at = f"{self.at:%Y-%m-%d %H:%M:%S} UTC"
        if self.stopped:
            return f"it stopped at {at}"
        if self.age_seconds < -AHEAD_SECONDS:
            return f"its last heartbeat is dated {at}, {-self.age_seconds:.0f} s in the future: look at this clock"
        return f"last heartbeat {at}, {self.age_seconds:.0f} s ago"


def beat(journal: Journal | Transaction, component: str = "engine") -> Beat | None:
    """The last sign of life of `engine`, `broker`, `metrics` or another; None when it never ran on this journal."""
    sql = "SELECT pid, host, at, venue_at, details FROM heartbeats WHERE component = ?"
    if (row := journal.one(sql, (component,))) is None:
        return None
    at = datetime.fromisoformat(row["at"])
    venue_at = datetime.fromisoformat(row["venue_at"]) if row["venue_at"] else None
    return Beat(component, row["pid"], row["host"], at, venue_at, json.loads(row["details"]), age(at))


@dataclass(frozen=True)
class Quotes:
    """How many symbols have a price, and the age of the youngest."""

    symbols: int
    age_seconds: float

    @property
    def fresh(self) -> bool:
        """Whether any is young; with the market closed this means nothing."""
        return self.age_seconds <= QUOTES_STALE_SECONDS


def quotes(journal: Journal | Transaction) -> Quotes | None:
    """The prices the engine last heard; None when it never heard one."""
    row = journal.one("SELECT MAX(at) AS at, COUNT(*) AS n FROM marks")
    return Quotes(row["n"], age(datetime.fromisoformat(row["at"]))) if row is not None and row["at"] else None


@dataclass(frozen=True)
class Books:
    """The last comparison of journal and venue, with the differences it left."""

    sequence: int
    at: datetime
    ok: bool
    trigger: str
    breaks: tuple[dict[str, Any], ...]
    age_seconds: float

    @property
    def fresh(self) -> bool:
        """Whether it is young enough to say anything of now."""
        return -AHEAD_SECONDS <= self.age_seconds <= BOOKS_STALE_SECONDS

    @property
    def differences(self) -> str:
        """The breaks in words; "" when it agreed."""
        told = "; ".join(f"{one.get('kind')} {one.get('symbol') or ''}".strip() for one in self.breaks)
        return "" if self.ok else told or "not said how"


def books(journal: Journal | Transaction) -> Books | None:
    """The last reconciliation; None when journal and venue were never compared."""
    sql = "SELECT sequence, at, ok, breaks, trigger FROM reconciliations ORDER BY sequence DESC LIMIT 1"
    if (row := journal.one(sql)) is None:
        return None
    at, breaks = datetime.fromisoformat(row["at"]), tuple(json.loads(row["breaks"] or "[]"))
    return Books(row["sequence"], at, bool(row["ok"]), row["trigger"] or "", breaks, age(at))


def disk_free_megabytes(folder: Path) -> float:
    """Free space where the folder is, or would be."""
    import shutil  # brings compressors that halting must not wait for

    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6


def age(at: datetime) -> float:
    """Seconds of machine time since then; negative when it is in the future."""
    return (datetime.now(UTC) - at).total_seconds()
