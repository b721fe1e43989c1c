"""Our trading days beside the broker's: compared once a day, while they differ, and whenever our file was edited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from athena.config import Settings
from athena.core.notifications import notify
from athena.core.trading_days import TradingDays, fingerprint
from athena.errors import BrokerError, SettingsError
from athena.journal.event import Event
from athena.journal.journal import Journal

CHECK_AGAIN_SECONDS = 600.0
CHECK_DAYS = 7


@dataclass(frozen=True)
class Calendar:
    """Our calendar beside the broker's: `agrees` None where it could not be asked; `today` is whether today differs."""

    agrees: bool | None
    detail: str
    today: bool = False


Compare = Callable[[TradingDays, date], Calendar]


class AgreedDays:
    """The trading days a schedule goes by, `days`, and whether the broker's calendar agrees with them."""

    def __init__(self, settings: Settings, journal: Journal, check: Compare, now: Callable[[], datetime]) -> None:
        self._settings, self._journal, self._check, self._now = settings, journal, check, now
        self._checked: tuple[date, datetime, str, Calendar] | None = None
        self.days = TradingDays.load(settings)

    def today(self, today: date) -> Calendar:
        """The day's comparison, from the journal where another process made it; again while it does not agree, and
        whenever the file of our own days was edited.
        """
        at, file = self._now(), fingerprint(self._settings)
        if self._checked is not None:
            day, asked, seen, found = self._checked
            young = timedelta() <= at - asked < timedelta(seconds=CHECK_AGAIN_SECONDS)
            if (day, seen) == (today, file) and (found.agrees or young):
                return found
        before = last_check(self._journal, today)
        try:
            if self.days.fingerprint != file:
                self.days = TradingDays.load(self._settings)
            agreed = before is not None and before.payload["agrees"] and before.payload.get("file") == file
            found = Calendar(True, "") if agreed else self._check(self.days, today)
        except SettingsError as error:
            found = Calendar(False, error.message, today=True)
        self._record(today, found, file, before)
        self._checked = (today, at, file, found)
        return found

    def _record(self, today: date, found: Calendar, file: str, before: Event | None) -> None:
        facts = {"trading_date": today.isoformat(), "agrees": found.agrees, "detail": found.detail, "file": file}
        if before is None or {name: before.payload.get(name) for name in facts} != facts:
            self._journal.append("schedule.calendar", facts)
        if found.agrees is False:
            held = "Nothing is run today until they agree." if found.today else "Today is not concerned."
            body = f"{found.detail}\n{held} Correct {self._settings.home}/calendar.toml, or wait for the broker."
            severity = "critical" if found.today else "warning"
            key = f"calendar {today} {found.detail}"
            notify(
                self._settings, severity=severity, title="The trading calendar is in doubt", body=body, dedup_key=key,
                journal=self._journal,
            )  # fmt: skip


def last_check(journal: Journal, day: date) -> Event | None:
    """The last comparison of the calendars made for a date, by any scheduler."""
    event = journal.latest("schedule.calendar")
    return event if event is not None and event.payload["trading_date"] == day.isoformat() else None


def compare_with_broker(settings: Settings) -> Callable[[TradingDays, date], Calendar]:
    """Compares our trading days of a week with the broker's own."""
    from athena.live.brokers.alpaca import AlpacaBroker

    def check(days: TradingDays, today: date) -> Calendar:
        last = today + timedelta(days=CHECK_DAYS)
        try:
            theirs = asyncio.run(AlpacaBroker.get_instance(settings).get_calendar(today, last))
        except BrokerError as error:
            return Calendar(None, f"the broker's calendar could not be asked: {error.message}")
        differences, differs_today = [], False
        for ahead in range(CHECK_DAYS + 1):
            day = today + timedelta(days=ahead)
            found = days.on(day)
            ours = (f"{found.opens:%H:%M}", f"{found.closes:%H:%M}") if found else None
            if ours != theirs.get(day):
                differs_today |= ahead == 0
                differences.append(f"{day}: our calendar {_hours(ours)}, broker {_hours(theirs.get(day))}")
        return Calendar(not differences, "; ".join(differences), differs_today)

    return check


def _hours(found: tuple[str, str] | None) -> str:
    return "closed" if found is None else f"{found[0]} to {found[1]}"
