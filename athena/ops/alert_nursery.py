"""Workers for the runs of alerts, with everything a playbook needs imported before the alert comes.

Importing is most of a run's time; a fork of a process that has done it starts at once, several times in a row. The
nursery holds about 215 MB, each run under way about 90 MB beside it.
"""

from __future__ import annotations

import math
import time

from athena.config import Settings
from athena.playbooks import pages
from athena.playbooks.nursery import AVAILABLE, Nursery
from athena.playbooks.runner import reserve, surroundings
from athena.playbooks.workers import RESERVE_SECONDS, Worker

RUN_SECONDS_MAX = 60.0  # a page that takes longer is told as failed: somebody waits for it, and other alerts may too


class WarmWorkers:
    """Workers with everything imported, forked from a nursery; where none can be (not Linux), they start cold."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._since = settings, 0.0
        self._nursery: Nursery | None = None

    def prepare(self) -> bool:
        """Have a nursery that lives and is young; the old one serves until the new one is ready. May take seconds.

        False where it could not be had now: then workers start cold. Raises OSError where no process can be started.
        """
        before = self._nursery
        lives = before is not None and before.alive
        if not AVAILABLE or (lives and time.monotonic() - self._since < RESERVE_SECONDS):
            return True
        pages.prepare()
        fresh = Nursery(surroundings(self._settings, self._settings.reports))
        if not lives:
            self._nursery = fresh
        if (first := fresh.start()) is None:
            if lives:
                fresh.close()
            return False
        first.end()
        self._nursery, self._since = fresh, time.monotonic()
        if before is not None:
            before.close()
        return True

    def take(self) -> Worker:
        """A worker for one run, which ends it after RUN_SECONDS_MAX."""
        worker = self._nursery.start() if self._nursery is not None else None
        if worker is None:
            self._since = -math.inf  # it died or hangs: a new one is needed
            worker = reserve(self._settings, self._settings.reports)
        worker.limit_seconds = RUN_SECONDS_MAX
        return worker

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
