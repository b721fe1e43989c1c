"""Trading days: the exchange's calendar, corrected by a file of one's own for closures no package knew in time.

# calendar.toml
[closed]
2025-01-09 = "National day of mourning"
[early_close]
2026-12-24 = "13:00"
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.errors import SettingsError, did_you_mean
from athena.exchange_days import session_of
from athena.model import NEW_YORK

FILE = "calendar.toml"
DAYS_AHEAD_MAX = 14  # the exchange is never closed for so long
_TABLES = ("closed", "early_close")


@dataclass(frozen=True)
class TradingDay:
    """One session: aware times in New York."""

    date: date
    opens: datetime
    closes: datetime

    def __str__(self) -> str:
        return f"{self.date} {self.opens:%H:%M} to {self.closes:%H:%M}"


@dataclass
class TradingDays:
    """Sessions by date; `closed` and `early_close` win over the exchange's calendar."""

    closed: Mapping[date, str] = field(default_factory=dict)
    early_close: Mapping[date, time] = field(default_factory=dict)
    fingerprint: str = ""  # of the file they were read from
    _known: dict[date, TradingDay | None] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, settings: Settings) -> TradingDays:
        """With the settings' override file, or `<home>/calendar.toml`; raises SettingsError naming the wrong line."""
        path = _path(settings)
        try:
            content = path.read_bytes()
            table = tomllib.loads(content.decode())
        except FileNotFoundError:
            if settings.schedule.calendar_overrides is not None:
                raise SettingsError(
                    f"schedule.calendar_overrides: there is no {path}.", "Make it, or correct the path."
                ) from None
            return cls()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} cannot be read: {error}.", "Mend the file.") from error
        return _checked(path, table, _fingerprint(content))

    def on(self, day: date) -> TradingDay | None:
        """The session of a New York date; None on a day without one."""
        if day not in self._known:
            self._known[day] = self._find(day)
        return self._known[day]

    def next(self, after: date) -> TradingDay | None:
        """The first session later than a date; None where the calendar ends before one."""
        for ahead in range(1, DAYS_AHEAD_MAX + 1):
            if (found := self.on(after + timedelta(days=ahead))) is not None:
                return found
        return None

    def _find(self, day: date) -> TradingDay | None:
        if day in self.closed:
            return None
        session = session_of(day)
        if session is None:
            return None
        opens, closes = (at.astimezone(NEW_YORK) for at in session)
        if day in self.early_close:
            closes = datetime.combine(day, self.early_close[day], NEW_YORK)
        return TradingDay(day, opens, closes)


def fingerprint(settings: Settings) -> str:
    """Of the override file as it is now: other than that of `TradingDays` read before, the file was edited."""
    try:
        return _fingerprint(_path(settings).read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error.strerror)


def _path(settings: Settings) -> Path:
    return settings.schedule.calendar_overrides or settings.home / FILE


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _checked(path: Path, table: Mapping[str, Any], fingerprint: str) -> TradingDays:
    for name in table:
        if name not in _TABLES:
            raise SettingsError(
                f"{path}: [{name}] is not a table of it.", did_you_mean(name, _TABLES, "closed or early_close")
            )
    closed, early = {}, {}
    for text, why in table.get("closed", {}).items():
        closed[_day(path, text)] = str(why)
    for text, close in table.get("early_close", {}).items():
        if not (isinstance(close, str) and re.fullmatch(r"(09:3[1-9]|09:[45]\d|1[0-6]:[0-5]\d)", close)):
            raise SettingsError(f'{path}: the close of {text} is {close!r}; a time like "13:00" is expected.')
        early[_day(path, text)] = time.fromisoformat(close)
    return TradingDays(closed, early, fingerprint)


def _day(path: Path, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{path}: '{text}' is not a date.", "Write it as 2025-01-09.") from None
