"""How long things on the order path take, counted in this process's memory; `athena.live.metrics` reads it.

Standard library only, well below a microsecond an observation.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)  # seconds, each included


class Times:
    """A histogram of seconds over BOUNDS, and a count of failures; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts, self._sum, self._failures = [0] * (len(BOUNDS) + 1), 0.0, 0

    def observe(self, seconds: float) -> None:
        bucket = bisect_left(BOUNDS, seconds)
        with self._lock:
            self._counts[bucket] += 1
            self._sum += seconds

    def time(self, work: Callable[[], object]) -> None:
        """Do it and observe how long it took, unless it raises."""
        begun = time.perf_counter()
        work()
        self.observe(time.perf_counter() - begun)

    def failed(self) -> None:
        with self._lock:
            self._failures += 1

    def read(self) -> tuple[list[int], float, int]:
        """Observations per bucket (one beyond the last bound), their seconds in sum, and the failures."""
        with self._lock:
            return list(self._counts), self._sum, self._failures


COMMITS = Times()  # of every journal of this process; a failure is whatever the database refused, reads included
CHECKS = Times()  # decisions of this process's guard on orders, the commit of each included
