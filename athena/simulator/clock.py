"""Venue time: what the market's clock says, running in real time, accelerated, or set by hand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol

from athena.errors import SimulatorError
from athena.simulator import sessions

LEAD = timedelta(minutes=5)  # what `skip_closed` keeps before the open and after the close


class Now(Protocol):
    """A source of venue time. `speed` is venue seconds per machine second."""

    @property
    def speed(self) -> float: ...

    def now(self) -> datetime: ...


class VenueClock:
    """Venue time that starts at `start` when made and runs `speed` times as fast as the machine; never goes back.

    With `skip_closed` only 9:25 to five minutes past the close of trading days exist: from there it jumps to the next
    9:25, so that weeks pass in minutes. `machine` returns monotonic seconds. Raises SimulatorError for a naive start or
    a speed that is not a positive number.
    """

    def __init__(
        self,
        start: datetime,
        speed: float = 1.0,
        *,
        skip_closed: bool = False,
        machine: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise SimulatorError(
                f"The clock's speed must be positive, got {speed}.", "1 is real time, 390 a day a minute."
            )
        self._venue = _aware(start)
        self._speed = speed
        self._machine = machine
        self._since = machine()
        self._skip = skip_closed
        self._lock = Lock()
        self._window_end: datetime | None = None
        if skip_closed:
            self._venue, self._window_end = _window(self._venue)

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> datetime:
        """The venue's time, in UTC."""
        with self._lock:
            elapsed = timedelta(seconds=(self._machine() - self._since) * self._speed)
            while self._window_end is not None and self._venue + elapsed > self._window_end:
                used = self._window_end - self._venue
                elapsed -= used
                self._since += used.total_seconds() / self._speed
                self._venue, self._window_end = _window(self._window_end + timedelta(microseconds=1))
            return self._venue + elapsed

    def __repr__(self) -> str:
        skip = ", closed hours skipped" if self._skip else ""
        return f"<VenueClock {self.now():%Y-%m-%d %H:%M:%S}Z, {self._speed:g}x{skip}>"


class ManualClock:
    """Venue time that stands still until `set` or `advance` moves it, for tests and step-by-step runs."""

    def __init__(self, start: datetime) -> None:
        self._at = _aware(start)

    speed = 1.0

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        """Moves to `at`; SimulatorError if that is in the past, for a market never runs backwards."""
        at = _aware(at)
        if at < self._at:
            raise SimulatorError(f"Venue time cannot go back from {self._at} to {at}.", "Make a new clock instead.")
        self._at = at

    def advance(self, **amount: float) -> None:
        """Moves ahead by a timedelta's keywords: `advance(minutes=5)`."""
        self.set(self._at + timedelta(**amount))


def _window(at: datetime) -> tuple[datetime, datetime]:
    """(`at` or the next instant that exists, the end of its window) when closed hours are skipped."""
    session = sessions.session_on(sessions.new_york_date(at)) or sessions.next_session(sessions.new_york_date(at))
    if at > session.close + LEAD:
        session = sessions.next_session(session.date)
    return max(at, session.open - LEAD), session.close + LEAD


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise SimulatorError(f"The clock needs a time with a zone, got {at}.", "For example 2020-03-09T09:30:00-04:00.")
    return at.astimezone(UTC)
