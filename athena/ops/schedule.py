"""`athena schedule`: the day's procedures run by themselves, their pages and messages with them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from athena.config import Settings
from athena.core import schedule as core
from athena.core.delivery import Courier, deadline_seconds
from athena.core.trading_days import TradingDays
from athena.errors import AthenaError, BrokerError, PlaybookError, SettingsError, did_you_mean
from athena.journal.event import Event
from athena.journal.journal import Journal
from athena.live.guard_halting import open_journal
from athena.model import NEW_YORK, trading_date
from athena.ops.health import words
from athena.ops.notifications import follow, warn_if_nobody_is_told
from athena.ops.schedule_calendar import compare_with_broker, last_check
from athena.ops.schedule_clock import clock
from athena.ops.schedule_units import cron, systemd
from athena.ops.schedule_work import work
from athena.ops.scheduler import Ran, Scheduler

COMPONENT = "schedule"  # its heartbeat: {"next", "problem"}
POLL_SECONDS, BEAT_SECONDS = 0.5, 2.0
NEXT_SHOWN, LAST_SHOWN = 6, 6


def schedule(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run until interrupted; or list, run one now, run what is due once, or print units for other schedulers."""
    chosen = [name for name in ("list", "run", "once", "print") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise SettingsError(f"--{chosen[0]} and --{chosen[1]} exclude each other. NOTHING WAS DONE.")
    if arguments.print:
        print(systemd(settings) if arguments.print == "systemd" else cron(settings), end="")
        return 0
    if arguments.list:
        return _list(settings, arguments)
    job = _job(arguments.run)
    with open_journal(settings.journal_path, f"schedule {settings.operator}") as journal:
        scheduler = Scheduler(
            settings, journal, work(settings, journal), now=clock(settings), check=compare_with_broker(settings)
        )
        courier = Courier(settings, journal, os.environ)
        if not (job or arguments.once):
            return _forever(settings, journal, scheduler, courier)
        done = scheduler.run_now(job, settings.operator) if job else scheduler.tick()
        sent = courier.deliver()
        if arguments.once:
            _beat(settings, journal, scheduler, "", once=True)
    if arguments.json:
        print(json.dumps({"runs": [_plain(ran) for ran in done], "delivered": [vars(one) for one in sent]}))
    else:
        print("\n".join(map(str, [*done, *sent])) or "nothing is due")
    return PlaybookError.exit_code if any(ran.status == "failed" for ran in done) else 0


def _job(name: str) -> str:
    job = name.replace("-", "_").lower()
    if job and job not in core.JOBS:
        known = [one.replace("_", "-") for one in core.JOBS]
        hint = did_you_mean(name, known, f"There are: {', '.join(known)}.")
        raise SettingsError(f"'{name}' is not in the schedule. NOTHING WAS DONE.", hint)
    return job


def _forever(settings: Settings, journal: Journal, scheduler: Scheduler, courier: Courier) -> int:
    """Ticks twice a second, delivers beside it, until SIGINT or SIGTERM; a run under way is finished first."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    deliverer = threading.Thread(target=follow, args=(courier, journal, stop, _say), name="courier", daemon=True)
    deliverer.start()
    _say(f"schedule of {settings.account_name}: {_next_words(settings, scheduler)}")
    warn_if_nobody_is_told(settings, _say)
    told, beat_at = "", 0.0
    while not stop.is_set():
        problem = ""
        try:
            for ran in scheduler.tick():
                _say(ran)
            if (now := datetime.now(UTC).timestamp()) - beat_at >= BEAT_SECONDS:
                _beat(settings, journal, scheduler, "")
                beat_at = now
        except AthenaError as error:
            problem = f"nothing can be run: {error}"
        if problem != told:
            _say(problem or "all is well again")
            try:
                _beat(settings, journal, scheduler, problem)
            except AthenaError:
                pass  # the journal may be what is wrong
            told = problem
        stop.wait(POLL_SECONDS)
    deliverer.join(deadline_seconds(settings))
    with suppress(AthenaError):
        journal.heartbeat(COMPONENT, {"problem": "", "once": False, "next": "", "state": "stopped"})
    _say("schedule stopped")
    return 0


def _beat(settings: Settings, journal: Journal, scheduler: Scheduler, problem: str, *, once: bool = False) -> None:
    """One sign of life with what comes next; the time is the one the schedule follows."""
    now = scheduler.time()
    coming = core.upcoming(scheduler.days, settings.schedule, now, 1) if now else []
    facts: dict[str, Any] = {"problem": problem, "once": once, "next": ""}
    if coming:
        facts |= {"next": coming[0].job, "next_at": coming[0].at}
    journal.heartbeat(COMPONENT, facts, now)


def _next_words(settings: Settings, scheduler: Scheduler) -> str:
    now = scheduler.time()
    if now is None:
        return "the venue's time is not known yet"
    due = core.upcoming(scheduler.days, settings.schedule, now, 1)[0]
    return f"next {due.job} {due.at:%a %Y-%m-%d %H:%M} New York"


def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    days = TradingDays.load(settings)
    try:
        now = clock(settings)()
    except BrokerError as error:
        raise BrokerError(
            f"the simulator's time is not known: {error.message}", error.hint or "athena simulator, then again."
        ) from error
    coming = core.upcoming(days, settings.schedule, now, NEXT_SHOWN)
    past, check = [], None
    if settings.journal_path.exists():
        with Journal.open(settings.journal_path, "schedule", read_only=True) as journal:
            past, check = core.known(journal, LAST_SHOWN), last_check(journal, trading_date(now))
    if arguments.json:
        told = {"now": now, "next": [asdict(due) for due in coming], "last": past}
        agree = check.payload["agrees"] if check and check.payload.get("file") == days.fingerprint else None
        print(json.dumps(told | {"calendars_agree": agree}, default=str))
        return 0
    _show(now, coming, past, days)
    print(f"\ncalendar  {_calendar_words(check, days)}")
    return 0


def _calendar_words(check: Event | None, days: TradingDays) -> str:
    if check is None:
        return "not compared with the broker's today; a running schedule does it"
    if check.payload.get("file") != days.fingerprint:
        return "edited since it was compared with the broker's; a running schedule does it again"
    if check.payload["agrees"]:
        return "agrees with the broker's"
    word = "" if check.payload["agrees"] is None else "DIFFERS from the broker's: "
    return f"{word}{check.payload['detail']}"


def _show(now: datetime, coming: list[core.Due], past: list[dict[str, Any]], days: TradingDays) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"now       {now.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M:%S} New York")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("next", "New York", "this machine", "in"):
        table.add_column(heading)
    for due in coming:
        day = days.on(due.trading_date)
        early = " (early close)" if day and due.job == "post_market" and day.closes.hour < 16 else ""
        here = f"{due.at.astimezone():%a %H:%M %Z}"
        table.add_row(due.job, f"{due.at:%a %Y-%m-%d %H:%M}{early}", here, words((due.at - now).total_seconds()))
    console.print(table)
    if not past:
        console.print("\nnothing has run yet")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("last", "due, New York", "", "what came of it"):
        table.add_column(heading, overflow="fold")
    for row in past:
        result = json.loads(row["result"] or "{}")
        due_at = datetime.fromisoformat(row["due_at"]).astimezone(NEW_YORK)
        colour = {"done": "green", "running": "yellow", "interrupted": "yellow"}.get(row["status"], "red")
        told = str(result.get("told") or result.get("why") or "")[:160]
        if row["status"] == "interrupted":
            told += f"; now: athena schedule --run {row['job'].replace('_', '-')}"
        table.add_row(row["job"], f"{due_at:%a %Y-%m-%d %H:%M}", f"[{colour}]{row['status']}[/]", escape(told))
    console.print("")
    console.print(table)


def _plain(ran: Ran) -> dict[str, Any]:
    return {"job": ran.due.job, "due": ran.due.at.isoformat(), "status": ran.status, "told": ran.told}


def _say(line: object) -> None:
    """A line for whoever watches; a log on a full disk ends nothing."""
    with suppress(OSError):
        print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)
