"""Runs what is due: one `tick` looks at the clock, the calendar and the journal, and does what nobody did yet.

Schedules follow the machine's time for paper and live, and the venue's own for the simulator, whose days may last a
minute; leases and pauses are the machine's in both. How late a run may begin is counted in the machine's minutes too:
at a venue 390 times as fast a run that waited ten seconds for the page before it is not stale. What bounds it there is
the market, in its own time: no page on the open after the close. Where the venue's time is not known nothing is run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from athena.config import Settings
from athena.core import schedule
from athena.core.notifications import notify
from athena.core.schedule import Due
from athena.core.trading_days import TradingDays
from athena.errors import AthenaError, BrokerError
from athena.journal.event import Event
from athena.journal.journal import Journal, Transaction
from athena.model import NEW_YORK, trading_date
from athena.ops.schedule_calendar import AgreedDays, Calendar, Compare
from athena.ops.schedule_clock import Time

log = logging.getLogger("athena.schedule")
Work = Callable[[Due], Mapping[str, Any]]
"""Does one run and tells people; its result is journaled. `{"failed": True}` marks a run that reached no verdict."""


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
        now: Time, check: Compare,
        machine_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._settings, self._journal, self._work = settings, journal, work
        self._now, self._machine_now = now, machine_now
        self._agreed = AgreedDays(settings, journal, check, machine_now)
        self._told_held: set[str] = set()
        self._taken_up = False

    def tick(self) -> list[Ran]:
        """Run what is due, one after the other; record what is too late. Raises BrokerError without a venue's time."""
        now = self._now()
        calendar = self._agreed.today(trading_date(now))  # first: an edited file changes what is due
        schedule.cut_leases(self._journal, self._machine_now())
        settled, first = schedule.settled(self._journal, self._machine_now())
        patience = self._settings.schedule.catch_up_minutes
        usual = now - timedelta(minutes=patience)
        since = usual if first is None else min(first, usual)
        times = replace(self._settings.schedule, catch_up_minutes=patience * max(1.0, self._now.speed))
        waiting = [due for due in schedule.begun(self.days, times, now, since) if due.id not in settled]
        done: list[Ran] = []
        if not self._taken_up:
            doubtful = schedule.take_up(self._journal, waiting, self._tell_interrupted)
            done = [
                Ran(due, "interrupted", "it may have been made before the journal was restored") for due in doubtful
            ]
            waiting, self._taken_up = [due for due in waiting if due not in doubtful], True
        for due in waiting:
            if due.until <= now:
                done += self._missed(due)
            elif calendar.today and due.trading_date == trading_date(now):
                done += self._held(due, calendar)
            else:
                done += self._run(due)
        self._tell_missed([ran for ran in done if ran.status == "missed"])
        return done

    @property
    def days(self) -> TradingDays:
        """The trading days as last read from the exchange's calendar and our file."""
        return self._agreed.days

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
                    schedule.renew(self._journal, due.id, token, self._machine_now())
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
        return [Ran(due, "missed", why)] if schedule.miss(self._journal, due, why, self._machine_now()) else []

    def _tell_missed(self, missed: list[Ran]) -> None:
        if missed:
            names = ", ".join(ran.due.id for ran in missed)
            body = "\n".join(map(str, missed)) + "\nRun one now: athena schedule --run NAME"
            self._tell(missed[-1].due, "warning", f"Scheduled runs were missed: {names}", body)

    def _tell_interrupted(self, tx: Transaction, mark: Event, ids: Sequence[str]) -> None:
        source, as_of = mark.payload["source"], mark.payload["as_of"][:16].replace("T", " ")
        body = (
            f"The journal was restored from {source}, as of {as_of} UTC. Whether these runs were made since is not "
            f"known, so they are not made again by themselves: {', '.join(ids)}.\nLook for their pages; run one now: "
            "athena schedule --run NAME"
        )
        title = "Scheduled runs may have been made already"
        key = f"schedule restored {mark.sequence}"
        notify(self._settings, severity="warning", title=title, body=body, dedup_key=key, tx=tx)

    def _held(self, due: Due, calendar: Calendar) -> list[Ran]:
        """Calendars that disagree about today, or cannot be read, stop its runs; it is said once, and asked again."""
        if due.id in self._told_held:
            return []
        self._told_held.add(due.id)
        return [Ran(due, "held", calendar.detail)]

    def _tell(self, due: Due, severity: str, title: str, body: str) -> None:
        self._notify(severity, title, body, f"schedule {due.id} {title}")

    def _notify(self, severity: str, title: str, body: str, key: str) -> None:
        notify(self._settings, severity=severity, title=title, body=body, dedup_key=key, journal=self._journal)


def _name(due: Due) -> str:
    return due.job.replace("_", "-").capitalize()
