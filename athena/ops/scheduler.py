"""Runs what is due: one `tick` looks at the clock, the calendar and the journal, and does what nobody did yet.

Schedules follow the machine's time for paper and live, and the venue's own for the simulator, whose days may last a
minute; leases and pauses are the machine's in both. Where the venue's time is not known nothing is run, and it is said.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from athena.config import Settings
from athena.core import schedule
from athena.core.notifications import notify
from athena.core.schedule import Due
from athena.core.trading_days import TradingDays
from athena.errors import AthenaError, BrokerError, SettingsError
from athena.journal.event import Event
from athena.journal.journal import RARE, Journal, Transaction
from athena.live.venue_clock import FollowedClock
from athena.model import NEW_YORK, trading_date

log = logging.getLogger("athena.schedule")
CHECK_AGAIN_SECONDS = 600.0
CHECK_DAYS = 7
FOLLOW_SECONDS = 5.0
Work = Callable[[Due], Mapping[str, Any]]
"""Does one run and tells people; its result is journaled. `{"failed": True}` marks a run that reached no verdict."""


@dataclass(frozen=True)
class Calendar:
    """Our calendar beside the broker's: `agrees` None where it could not be asked; `today` is whether today differs."""

    agrees: bool | None
    detail: str
    today: bool = False


@dataclass(frozen=True)
class Ran:
    """One run of this tick, or why it was not: status is done, failed, missed or held."""

    due: Due
    status: str
    told: str

    def __str__(self) -> str:
        at = f"{self.due.at.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
        return f"{self.status:<6} {self.due.job:<12} {at} New York  {self.told}".rstrip()


class Scheduler:
    """One of possibly several; the journal decides who runs what."""

    def __init__(
        self, settings: Settings, journal: Journal, work: Mapping[str, Work], *,
        now: Callable[[], datetime], check: Callable[[TradingDays, date], Calendar],
        machine_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._settings, self._journal, self._work = settings, journal, work
        self._now, self._check, self._machine_now = now, check, machine_now
        self._checked: tuple[date, datetime, Calendar] | None = None
        self._told_held: set[str] = set()
        self.days = TradingDays.load(settings)

    def tick(self) -> list[Ran]:
        """Run what is due, one after the other; record what is too late. Raises BrokerError without a venue's time."""
        now = self._now()
        settled, first = schedule.settled(self._journal, self._machine_now())
        usual = now - timedelta(minutes=self._settings.schedule.catch_up_minutes)
        since = usual if first is None else min(first, usual)
        waiting = [
            due for due in schedule.begun(self.days, self._settings.schedule, now, since) if due.id not in settled
        ]
        calendar = self._calendar(trading_date(now))
        done: list[Ran] = []
        for due in waiting:
            if due.until <= now:
                done += self._missed(due)
            elif calendar.today and due.trading_date == trading_date(now):
                done += self._held(due, calendar)
            else:
                done += self._run(due)
        self._tell_missed([ran for ran in done if ran.status == "missed"])
        return done

    def time(self) -> datetime | None:
        """The time this schedule follows; None while the venue does not tell it."""
        try:
            return self._now()
        except BrokerError:
            return None

    def run_now(self, job: str, by: str) -> list[Ran]:
        """Run a job now, by hand, whatever the calendar says."""
        now = self._now()
        return self._run(Due(job, trading_date(now), now, now + timedelta(days=1), by))

    def _run(self, due: Due) -> list[Ran]:
        def given_up(tx: Transaction, why: str) -> None:
            body = f"{why}. Its part of the day is not done. Run it: athena schedule --run {due.job}"
            title = f"{_name(due)} could not be finished"
            key = f"schedule {due.id} given up"
            notify(self._settings, severity="critical", title=title, body=body, dedup_key=key, tx=tx)

        token = schedule.claim(self._journal, due, self._machine_now(), given_up)
        if token is None:
            return []
        with self._kept(due, token):
            try:
                result = dict(self._work[due.job](due))
            except Exception as error:  # a defect of one procedure must not end the schedule of the others
                told = str(error) if isinstance(error, AthenaError) else f"{type(error).__name__}: {error}"
                log.error("%s failed", due.id, exc_info=error)
                result = {"failed": True, "told": told}
                self._tell(due, "critical", f"{_name(due)} could not run", told)
        status = "failed" if result.get("failed") else "done"
        schedule.finish(self._journal, due, token, status, result)
        return [Ran(due, status, str(result.get("told", "")))]

    @contextmanager
    def _kept(self, due: Due, token: str) -> Iterator[None]:
        """Renews the claim's lease while the block works, in a thread."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(schedule.LEASE_SECONDS / 4):
                try:
                    schedule.renew(self._journal, due, token, self._machine_now())
                except AthenaError:
                    pass  # a journal that cannot be written ends the run's own way too

        keeper = threading.Thread(target=keep, name="schedule-lease", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join(5)

    def _missed(self, due: Due) -> list[Ran]:
        why = f"nobody ran it by {due.until.astimezone(NEW_YORK):%a %H:%M}, after which it makes no sense"
        return [Ran(due, "missed", why)] if schedule.miss(self._journal, due, why) else []

    def _tell_missed(self, missed: list[Ran]) -> None:
        if missed:
            names = ", ".join(ran.due.id for ran in missed)
            body = "\n".join(map(str, missed)) + "\nRun one now: athena schedule --run NAME"
            self._tell(missed[-1].due, "warning", f"Scheduled runs were missed: {names}", body)

    def _held(self, due: Due, calendar: Calendar) -> list[Ran]:
        """Calendars that disagree about today, or cannot be read, stop its runs; it is said once, and asked again."""
        if due.id in self._told_held:
            return []
        self._told_held.add(due.id)
        return [Ran(due, "held", calendar.detail)]

    def _calendar(self, today: date) -> Calendar:
        """The day's comparison, from the journal where another process made it; again while it does not agree."""
        at = self._machine_now()
        if self._checked is not None:
            day, asked, found = self._checked
            young = (at - asked).total_seconds() < CHECK_AGAIN_SECONDS
            if day == today and (found.agrees or young):
                return found
        before = last_check(self._journal, today)
        if self._checked is None and before is not None and before.payload["agrees"]:
            found = Calendar(True, "")
        else:
            try:
                self.days = TradingDays.load(self._settings)  # an operator may have mended the file, or broken it
                found = self._check(self.days, today)
            except SettingsError as error:
                found = Calendar(False, error.message, today=True)
            self._record(today, found, before)
        self._checked = (today, at, found)
        return found

    def _record(self, today: date, found: Calendar, before: Event | None) -> None:
        facts = {"trading_date": today.isoformat(), "agrees": found.agrees, "detail": found.detail}
        if before is None or {name: before.payload[name] for name in facts} != facts:
            self._journal.append("schedule.calendar", facts)
        if found.agrees is False:
            held = "Nothing is run today until they agree." if found.today else "Today is not concerned."
            body = f"{found.detail}\n{held} Correct {self._settings.home}/calendar.toml, or wait for the broker."
            severity = "critical" if found.today else "warning"
            key = f"calendar {today} {found.detail}"
            self._notify(severity, "The trading calendar is in doubt", body, key)

    def _tell(self, due: Due, severity: str, title: str, body: str) -> None:
        self._notify(severity, title, body, f"schedule {due.id} {title}")

    def _notify(self, severity: str, title: str, body: str, key: str) -> None:
        notify(self._settings, severity=severity, title=title, body=body, dedup_key=key, journal=self._journal)


def last_check(journal: Journal, day: date) -> Event | None:
    """The last comparison of the calendars made for a date, by any scheduler."""
    row = journal.one(f"SELECT MAX(sequence) AS last FROM events WHERE kind = 'schedule.calendar' AND {RARE}")
    if row is None or row["last"] is None:
        return None
    event = next(iter(journal.events(after=row["last"] - 1, kinds=("schedule.calendar",))), None)
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
                differences.append(f"{day}: exchange calendar {_hours(ours)}, broker {_hours(theirs.get(day))}")
        return Calendar(not differences, "; ".join(differences), differs_today)

    return check


def clock(settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> Callable[[], datetime]:
    """The time schedules follow: the machine's, or the simulator's as `GET /v2/clock` tells it."""
    if settings.venue != "simulator":
        return lambda: datetime.now(UTC)
    from athena.live.brokers.alpaca import AlpacaBroker

    followed, broker, asked_at = FollowedClock(monotonic), AlpacaBroker.get_instance(settings), float("-inf")

    def now() -> datetime:
        nonlocal asked_at
        if (asked := monotonic()) - asked_at > FOLLOW_SECONDS:
            followed.follow(asyncio.run(broker.get_clock()), asked, monotonic())
            asked_at = asked
        return followed.now()

    return now


def _hours(found: tuple[str, str] | None) -> str:
    return "closed" if found is None else f"{found[0]} to {found[1]}"


def _name(due: Due) -> str:
    return due.job.replace("_", "-").capitalize()
