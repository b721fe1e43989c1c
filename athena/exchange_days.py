"""The New York Stock Exchange's sessions: which days there are, when they open and close.

The facts are those of the package exchange_calendars. For the years of `exchange_days.txt` they are read from there:
importing the package takes a second and pandas, which an engine, a simulator or a command would wait for at its start.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources

from athena.model import NEW_YORK

Hours = tuple[datetime, datetime]
_OPEN, _CLOSE = time(9, 30, tzinfo=NEW_YORK), time(16, tzinfo=NEW_YORK)
_FRIDAY = 4


def session_of(day: date) -> Hours | None:
    """Open and close of New York's session in UTC; None on a day without one."""
    return sessions_of(day.year).get(day)


@lru_cache(maxsize=64)
def sessions_of(year: int) -> dict[date, Hours]:
    """Every session of a year in order, with open and close in UTC; a year beyond the table takes a second."""
    line = _table().get(year)
    return asked(year) if line is None else _read(year, line)


def asked(year: int) -> dict[date, Hours]:
    """The same from the package itself."""
    import warnings

    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas tells exchange_calendars of its own coming changes
        calendar = exchange_calendars.get_calendar("XNYS", start=f"{year}-01-01", end=f"{year}-12-31")
    return {
        day.date(): (opens.to_pydatetime().astimezone(UTC), closes.to_pydatetime().astimezone(UTC))
        for day, opens, closes in zip(calendar.sessions, calendar.opens, calendar.closes, strict=True)
    }


@lru_cache(maxsize=1)
def _table() -> dict[int, str]:
    text = (resources.files("athena") / "exchange_days.txt").read_text(encoding="ascii")
    lines = (line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {int(year): rest for year, rest in lines}


def _read(year: int, line: str) -> dict[date, Hours]:
    closed, early = (set(part.split()) for part in line.split("|"))
    early_close = time(13 if year > 1992 else 14, tzinfo=NEW_YORK)
    found, day = {}, date(year, 1, 1)
    while day.year == year:
        name = f"{day:%m-%d}"
        if day.weekday() <= _FRIDAY and name not in closed:
            closes = early_close if name in early else _CLOSE
            hours = (datetime.combine(day, _OPEN), datetime.combine(day, closes))
            found[day] = (hours[0].astimezone(UTC), hours[1].astimezone(UTC))
        day += timedelta(days=1)
    return found
