"""Requests per minute and account, counted in machine time, told in Alpaca's X-RateLimit headers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one request found: whether it may pass, what is left of the window, and when that ends (epoch seconds)."""

    allowed: bool
    limit: int
    remaining: int
    resets_at: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.resets_at),
        }


class RateLimit:
    """A fixed window of a minute per key, which begins with the key's first request; `epoch` is the machine's time."""

    def __init__(self, per_minute: int, epoch: Callable[[], float] = time.time) -> None:
        self.per_minute = per_minute
        self._epoch = epoch
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, key: str) -> Allowance:
        """Counts one request of `key`. A refused request does not prolong the wait."""
        now = self._epoch()
        ends, used = self._windows.get(key, (0.0, 0))
        if now >= ends:
            ends, used = now + 60.0, 0
        allowed = used < self.per_minute
        used += allowed
        self._windows[key] = (ends, used)
        return Allowance(allowed, self.per_minute, self.per_minute - used, int(ends) + 1)
