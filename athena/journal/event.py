"""An event as everyone sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from athena.journal.codec import decode, from_text

COLUMNS = "sequence, at, venue_at, kind, actor, host, pid, payload, previous_hash, hash"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact of the live system: what, when (machine and venue), who, where, and its place in the chain."""

    sequence: int
    at: datetime
    venue_at: datetime | None
    kind: str
    actor: str
    host: str
    pid: int
    payload: Mapping[str, Any]
    previous_hash: str
    hash: str

    @classmethod
    def from_row(cls, row: Any) -> Event:
        """From the values of `COLUMNS`, as stored."""
        sequence, at, venue_at, kind, actor, host, pid, payload, previous, own = row
        venue = None if venue_at is None else from_text(venue_at)
        return cls(sequence, from_text(at), venue, kind, actor, host, pid, decode(payload), previous, own)
