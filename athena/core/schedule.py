"""What is due when, and who does it: the day's three procedures, each claimed in the journal by one scheduler.

Times are New York's on trading days. A run that was missed (the machine slept, nobody scheduled) is caught up while it
still makes sense, else recorded as missed. A scheduler that dies in a run leaves a lease; after it the run is begun
once more: the procedures repeat harmlessly, and what they tell people is told once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from athena.config_tables import Schedule
from athena.core.trading_days import TradingDay, TradingDays
from athena.journal.codec import to_text
from athena.journal.event import Event
from athena.journal.journal import Journal, Transaction
from athena.journal.restored import last_restored
from athena.model import NEW_YORK, trading_date

JOBS = ("pre_market", "market_open", "post_market")
LEASE_SECONDS = 90.0
ATTEMPTS_MAX = 2
LOOK_BACK_DAYS = 7
_USUAL_CLOSE = time(16, 0)


@dataclass(frozen=True)
class Due:
    """One run that is to be: when, and until when beginning it still makes sense."""

    job: str
    trading_date: date
    at: datetime
    until: datetime
    by_hand: str = ""  # who asked; such a run is one of its own, beside the day's

    @property
    def id(self) -> str:
        own = f" by {self.by_hand} {self.at:%H:%M:%S.%f}" if self.by_hand else ""
        return f"{self.job} {self.trading_date}{own}"


def of_day(day: TradingDay, days: TradingDays, schedule: Schedule) -> list[Due]:
    """The three runs of a trading day, aware New York times, in their order."""
    catch_up = timedelta(minutes=schedule.catch_up_minutes)
    early, opens = _at(day.date, schedule.pre_market), _at(day.date, schedule.market_open)
    opens = max(opens, day.opens)
    late = day.closes + (_at(day.date, schedule.post_market) - datetime.combine(day.date, _USUAL_CLOSE, NEW_YORK))
    following = days.next(day.date)
    rest = _at(following.date, schedule.pre_market) if following else late + timedelta(hours=16)
    return [
        Due("pre_market", day.date, early, min(early + catch_up, opens)),
        Due("market_open", day.date, opens, min(opens + catch_up, day.closes)),
        Due("post_market", day.date, late, rest),  # its steps take every day that is closed; it can wait over a weekend
    ]


def upcoming(days: TradingDays, schedule: Schedule, now: datetime, count: int) -> list[Due]:
    """The next runs after `now`."""
    found: list[Due] = []
    day: TradingDay | None = days.on(trading_date(now)) or days.next(trading_date(now))
    while day is not None and len(found) < count:
        found += [due for due in of_day(day, days, schedule) if due.at > now]
        day = days.next(day.date)
    return found[:count]


def begun(days: TradingDays, schedule: Schedule, now: datetime, since: datetime) -> Iterator[Due]:
    """The runs whose time came between `since` and `now`, oldest first."""
    first = max(trading_date(since), trading_date(now) - timedelta(days=LOOK_BACK_DAYS))
    for ahead in range((trading_date(now) - first).days + 1):
        day = days.on(first + timedelta(days=ahead))
        if day is not None:
            yield from (due for due in of_day(day, days, schedule) if since <= due.at <= now)


def claim(
    journal: Journal, due: Due, machine_now: datetime, given_up: Callable[[Transaction, str], None]
) -> str | None:
    """A token when this run is ours now; None when it is done, or another scheduler is at it.

    `given_up` is called in the transaction that ends a run for good because schedulers died in it, with the reason.
    """
    token = secrets.token_hex(8)
    with journal.transaction() as tx:
        row = tx.one("SELECT status, lease_until, attempts, claim FROM schedule_runs WHERE id = ?", (due.id,))
        if row is not None:
            if row["status"] != "running" or row["lease_until"] > to_text(machine_now):
                return None
            if row["attempts"] >= ATTEMPTS_MAX:
                why = f"{row['attempts']} schedulers died in it"
                result = {"why": why, "next": f"athena schedule --run {due.job}"}
                facts = _facts(due) | {"claim": row["claim"], "status": "failed", "result": result}
                tx.append("schedule.finished", facts)
                given_up(tx, why)
                return None
        lease = machine_now + timedelta(seconds=LEASE_SECONDS)
        tx.append("schedule.claimed", _facts(due) | {"claim": token, "lease_until": lease})
    return token


def renew(journal: Journal, run: str, token: str, machine_now: datetime) -> None:
    """Say that a run goes on."""
    lease = machine_now + timedelta(seconds=LEASE_SECONDS)
    journal.append("schedule.renewed", {"id": run, "claim": token, "lease_until": lease})


def cut_leases(journal: Journal, machine_now: datetime) -> None:
    """Cut leases that a clock, set back since, stamped hours ahead: a living scheduler renews its own."""
    ahead = to_text(machine_now + timedelta(seconds=2 * LEASE_SECONDS))
    sql = "SELECT id, claim FROM schedule_runs WHERE status = 'running' AND lease_until > ?"
    for row in journal.query(sql, (ahead,)):
        renew(journal, row["id"], row["claim"], machine_now)


def finish(journal: Journal, due: Due, token: str | None, status: str, result: Mapping[str, Any]) -> None:
    """Record how a run ended: done, failed, or missed (which needs no claim)."""
    journal.append("schedule.finished", _facts(due) | {"claim": token, "status": status, "result": dict(result)})


def miss(journal: Journal, due: Due, why: str, machine_now: datetime) -> bool:
    """Record that a run's time passed; False when it has ended, or a scheduler is at it."""
    with journal.transaction() as tx:
        row = tx.one("SELECT status, lease_until FROM schedule_runs WHERE id = ?", (due.id,))
        if row is not None:
            if row["status"] != "running" or row["lease_until"] > to_text(machine_now):
                return False
            why = f"a scheduler died in it, and {why}"
        tx.append("schedule.finished", _facts(due) | {"status": "missed", "result": {"why": why}})
    return True


def take_up(
    journal: Journal, begun: Sequence[Due], tell: Callable[[Transaction, Event, Sequence[str]], None]
) -> list[Due]:
    """The first look after a restore: runs that have begun may have been made since the snapshot, so they are
    recorded as interrupted, returned, and not made again. `tell` is called with the mark and the ids of all of them.
    """
    mark = last_restored(journal)
    if mark is None:
        return []
    with journal.transaction() as tx:
        before = journal.latest("schedule.taken_up")
        if before is not None and before.sequence > mark.sequence:
            return []
        result = {"why": f"the journal was restored to {mark.payload['as_of'][:16]}; whether it was made is not known"}
        for due in begun:
            tx.append("schedule.finished", _facts(due) | {"status": "interrupted", "result": result})
        rows = "SELECT id FROM schedule_runs WHERE status = 'interrupted' AND finished_at >= ? ORDER BY due_at"
        ids = [row["id"] for row in tx.query(rows, (to_text(mark.at),))]
        tx.append("schedule.taken_up", {"mark": mark.sequence, "interrupted": ids})
        if ids:
            tell(tx, mark, ids)
    return list(begun)


def settled(journal: Journal, machine_now: datetime) -> tuple[set[str], datetime | None]:
    """The runs that need no look (ended, or under way with a living lease), and the time of the first ever."""
    rows = journal.query(
        "SELECT id FROM schedule_runs WHERE status <> 'running' OR lease_until > ?", (to_text(machine_now),)
    )
    first = journal.one("SELECT MIN(due_at) AS at FROM schedule_runs")
    at = first["at"] if first else None
    return {row["id"] for row in rows}, None if at is None else datetime.fromisoformat(at)


def known(journal: Journal, last: int = 10) -> list[dict[str, Any]]:
    """The latest runs, newest first."""
    rows = journal.query("SELECT * FROM schedule_runs ORDER BY due_at DESC, started_at DESC LIMIT ?", (last,))
    return [dict(row) for row in rows]


def _facts(due: Due) -> dict[str, Any]:
    return {"id": due.id, "job": due.job, "trading_date": due.trading_date, "due_at": due.at}


def _at(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), NEW_YORK)
