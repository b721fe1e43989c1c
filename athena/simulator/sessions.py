"""The New York Stock Exchange's trading days: opens, closes (early ones too), holidays, extended hours.

All instants are aware, in UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from athena import exchange_days
from athena.errors import SimulatorError
from athena.model import trading_date

_REGULAR = timedelta(hours=6, minutes=30)


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: regular hours [open, close), extended hours [extended_open, extended_close)."""

    date: date
    open: datetime
    close: datetime

    @property
    def extended_open(self) -> datetime:
        """4:00 New York."""
        return self.open - timedelta(hours=5, minutes=30)

    @property
    def extended_close(self) -> datetime:
        """Four hours after the close: 20:00 New York, 17:00 on early closes."""
        return self.close + timedelta(hours=4)

    @property
    def is_early_close(self) -> bool:
        return self.close - self.open < _REGULAR


def session_on(day: date) -> Session | None:
    """The session of a New York date, or None when the exchange is closed all day."""
    return _year(day.year).get(day)


def is_open(at: datetime) -> bool:
    """True in regular hours."""
    session = session_on(new_york_date(at))
    return session is not None and session.open <= at < session.close


def is_extended(at: datetime) -> bool:
    """True in pre-market or after-hours trading, False in regular hours and when all is closed."""
    session = session_on(new_york_date(at))
    return session is not None and session.extended_open <= at < session.extended_close and not is_open(at)


def next_open(at: datetime) -> datetime:
    """The first open after `at`."""
    day = new_york_date(at)
    session = session_on(day)
    return session.open if session is not None and at < session.open else next_session(day).open


def next_close(at: datetime) -> datetime:
    """The first close after `at`."""
    day = new_york_date(at)
    session = session_on(day)
    return session.close if session is not None and at < session.close else next_session(day).close


def next_session(day: date) -> Session:
    """The first session on a later date."""
    found = _days(day.year)
    index = bisect_right(found, day)
    return _year(day.year)[found[index]] if index < len(found) else _year(day.year + 1)[_days(day.year + 1)[0]]


def previous_session(day: date) -> Session:
    """The last session on an earlier date."""
    found = _days(day.year)
    index = bisect_left(found, day)
    return _year(day.year)[found[index - 1]] if index else _year(day.year - 1)[_days(day.year - 1)[-1]]


def sessions_between(start: date, end: date) -> Iterator[Session]:
    """Every session from `start` to `end`, both included, in order."""
    for year in range(start.year, end.year + 1):
        for day in _days(year):
            if start <= day <= end:
                yield _year(year)[day]


def new_york_date(at: datetime) -> date:
    """The New York date of an aware time."""
    return trading_date(at)


def _days(year: int) -> list[date]:
    return _calendar(year)[0]


def _year(year: int) -> dict[date, Session]:
    return _calendar(year)[1]


@lru_cache(maxsize=64)
def _calendar(year: int) -> tuple[list[date], dict[date, Session]]:
    if not 1990 <= year <= 2100:
        raise SimulatorError(f"No trading calendar for the year {year}.", "Use a date from 1990 to 2100.")
    found = {day: Session(day, opens, closes) for day, (opens, closes) in exchange_days.sessions_of(year).items()}
    return list(found), found
