"""Refusals that repeat: the first is journaled at once, the rest of the next seconds are one line with their number.

A strategy that keeps asking while halted must not fill the disk, nor take its writes from the orders that may pass. A
crash loses the counts of the windows then open, `WINDOW_SECONDS` of them at most, and never a first refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from athena.errors import AthenaError
from athena.live.verdict import Refused
from athena.model import OrderIntent

if TYPE_CHECKING:
    from athena.journal.journal import Journal

WINDOW_SECONDS = 5
_WINDOW_NS = WINDOW_SECONDS * 10**9
_KEYS_MOST = 1_000
Key = tuple[str, str, str]


@dataclass(slots=True)
class Repeats:
    """Refusals alike since the one that was journaled: how many, until when they are counted, and the latest."""

    until_ns: int
    times: int = 0
    last: Refused | None = None
    venue_at: datetime | None = None


class Refusals:
    """Counts of one gate, by strategy, symbol and code. Not locked: the gate's lock is held."""

    def __init__(self) -> None:
        self._open: dict[Key, Repeats] = {}

    def repeats(self, intent: OrderIntent, refused: Refused, venue_at: datetime, now_ns: int) -> bool:
        """Count it and return True when one like it was journaled within the window; else it is to be journaled."""
        key = (intent.strategy, intent.symbol, str(refused.code))
        known = self._open.get(key)
        if known is None or (now_ns >= known.until_ns and not known.times):
            if len(self._open) < _KEYS_MOST:
                self._open[key] = Repeats(now_ns + _WINDOW_NS)
            return False
        known.times, known.last, known.venue_at = known.times + 1, refused, venue_at
        return True

    def tell(self, journal: Journal, now_ns: int, *, all_: bool = False) -> None:
        """Journal each count whose window is over; what cannot be journaled is kept for the next time."""
        for key, known in list(self._open.items()):
            if now_ns < known.until_ns and not all_:
                continue
            if known.times and known.last is not None:
                strategy, symbol, code = key
                payload = {
                    "code": code, "message": f"again: {known.last.message}", "symbol": symbol, "strategy": strategy,
                    "observed": known.last.observed, "limit_value": known.last.limit, "action": "refused",
                    "times": known.times,
                }  # fmt: skip
                try:
                    journal.append("violation", payload, known.venue_at)
                except (AthenaError, OSError):
                    return
                known.times, known.until_ns = 0, now_ns + _WINDOW_NS  # still asking: counted on, not journaled anew
            else:
                del self._open[key]
