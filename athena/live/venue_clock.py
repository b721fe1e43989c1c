"""The venue's time as this process knows it: it follows `GET /v2/clock`, at any speed, and never runs backwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from athena.model import Clock, trading_date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Now(Protocol):
    """Anything that tells an aware time; the simulator's clocks and `FollowedClock` do."""

    def now(self) -> datetime: ...


class FollowedClock:
    """Venue time between readings: the last reading plus the machine time since, times the venue's speed.

    Before the first reading it tells the machine's time. Small corrections backwards are waited out, larger ones (the
    venue restarted at another date) are followed.
    """

    STEP_BACK_SECONDS = 2.0  # of machine time

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._anchor = datetime.now(UTC)
        self._anchored_at = monotonic()
        self._last = EPOCH
        self.speed = 1.0

    def now(self) -> datetime:
        self._last = max(self._last, self._extrapolated())
        return self._last

    def follow(self, reading: Clock, asked: float, answered: float) -> None:
        """Take a reading that was asked and answered at these monotonic seconds."""
        self._anchor, self._anchored_at, self.speed = reading.at, (asked + answered) / 2, reading.speed
        if (self._last - self._extrapolated()).total_seconds() > self.STEP_BACK_SECONDS * max(1.0, self.speed):
            self._last = EPOCH

    def observe(self, at: datetime) -> None:
        """A fact of the venue's is never from the future: one that is slightly ahead pulls the clock forward."""
        ahead = (at - self._extrapolated()).total_seconds()
        if 0 < ahead <= self.STEP_BACK_SECONDS * max(1.0, self.speed):
            self._last = max(self._last, at)

    def _extrapolated(self) -> datetime:
        return self._anchor + timedelta(seconds=(self._monotonic() - self._anchored_at) * self.speed)


class Session:
    """When trading is open, from the venue's last clock reading; right until the session after the next one."""

    def __init__(self) -> None:
        self.reading: Clock | None = None

    def is_open(self, now: datetime) -> bool:
        r = self.reading
        if r is None:
            return False
        return now < r.next_close if r.is_open else r.next_open <= now < r.next_close

    @property
    def close(self) -> datetime | None:
        """When the session that the reading speaks of closes."""
        return None if self.reading is None else self.reading.next_close

    def is_over(self, now: datetime) -> bool:
        """True when the session the reading speaks of has closed, so that a new reading is due."""
        return self.reading is None or now >= self.reading.next_close

    def seconds_to_close(self, now: datetime) -> float:
        return 0.0 if self.reading is None else (self.reading.next_close - now).total_seconds()

    def date(self, now: datetime) -> date | None:
        """Today's trading date when today has a session that is not over; None on other days and after the close."""
        if self.reading is None or self.is_over(now):
            return None
        today = trading_date(now)
        return today if trading_date(self.reading.next_close) == today else None
