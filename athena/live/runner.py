"""Running an engine: the lock, the start in its safe order, one task group for everything, and the graceful end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import Any

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import AthenaError, SettingsError
from athena.journal.journal import Journal
from athena.live.brokers.base import Broker
from athena.live.command_desk import CommandDesk, until
from athena.live.engine import Engine
from athena.live.engine_lock import EngineLock
from athena.live.events import (
    Action,
    Cancel,
    ClockRead,
    CommandRequested,
    Reconcile,
    ReconciliationDone,
    Resolve,
    RunCommand,
    Submit,
    TaskFailed,
    Tick,
)
from athena.live.execution_guard import ExecutionGuard
from athena.live.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from athena.live.order_lane import OrderLane, resolve
from athena.live.reconciliation import Outcome, take_look
from athena.live.strategies import make_strategies
from athena.live.venue_clock import FollowedClock
from athena.model import Account, BrokerState

log = logging.getLogger("athena.engine")
TICK_SECONDS = 0.1
COMMAND_POLL_SECONDS = 0.05
MARKS_SECONDS = 0.5
CLOCK_SECONDS, CLOCK_SECONDS_FAST = 10.0, 5.0
HEALTH_SECONDS = 15.0
COMMANDS_MAX = 16
Announce = Callable[[str], None]


async def run(settings: Settings, broker: Broker, *, announce: Announce | None = None) -> int:
    """Run the engine of `settings` on a broker until it is told to stop; 0 after a graceful stop.

    Raises SettingsError (a second engine, another account, a wrong strategy), JournalError, BrokerError.
    """
    strategies = make_strategies(settings)
    with EngineLock(settings.folder):
        _log_to(settings)
        with Journal.open(settings.journal_path, actor="engine") as journal:
            guard = engine_guard(settings)
            clock = FollowedClock()
            engine = Engine(settings, broker, journal, guard, Portfolio(), strategies, clock)
            return await Runner(engine, announce or (lambda text: None)).run()


class Runner:
    """Owns every task of a running engine and carries its actions out."""

    def __init__(self, engine: Engine, announce: Announce) -> None:
        self.engine, self.announce = engine, announce
        self.lane = OrderLane(engine.broker, engine.guard, engine.process)
        self.heartbeat, self.desk = Heartbeat(self), CommandDesk(self)
        self.account_number, self.speed = "", 1.0
        self.subscribed: set[str] = set()
        self._state = "starting"
        self._stop_reason = ""
        self._stopped = asyncio.Event()
        self._looking = asyncio.Lock()
        self._look_due: tuple[float, str] | None = None
        self._look_asked = asyncio.Event()
        self._commands: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        engine.emit = self.carry_out

    async def run(self) -> int:
        """Start, run until stopped, end gracefully."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError):  # not in a thread's loop
                loop.add_signal_handler(number, self.stop, f"signal {number.name}")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                tasks = [group.create_task(self._supervised(name, body)) for name, body in self._early().items()]
                try:
                    await self._start()
                    tasks += [group.create_task(self._supervised(name, body)) for name, body in self._late().items()]
                    await self._stopped.wait()
                    await self._finish()
                finally:
                    self._group = None
                    for task in tasks:
                        task.cancel()
        except* Exception as several:
            raise several.exceptions[0] from None
        finally:
            self.engine.guard.close()
            with suppress(Exception):
                await asyncio.wait_for(self.engine.broker.close(), 2.0)
        return 0

    def stop(self, reason: str) -> None:
        """Ask for the graceful end."""
        self._stop_reason = self._stop_reason or reason
        self.engine.stopping = True
        self._stopped.set()

    def failed(self, what: str, error: BaseException) -> None:
        self.engine.process(TaskFailed(what, error))

    def carry_out(self, action: Action) -> bool:
        """Take one action of the engine's; False when there is no room for it."""
        match action:
            case Submit() | Cancel():
                return self.lane.put(action)
            case Resolve():
                return self._spawn(f"lookup {action.client_order_id}", self._resolve(action))
            case Reconcile(trigger, after):
                due = time.monotonic() + after
                if self._look_due is None or due < self._look_due[0]:
                    self._look_due = (due, trigger)
                    self._look_asked.set()
                return True
            case RunCommand(command):
                if len(self._commands) >= COMMANDS_MAX:
                    return False
                self._commands.add(command.id)
                return self._spawn(f"command {command.name}", self._run_command(command))

    async def look(self, trigger: str) -> Outcome:
        """One whole reconciliation, now."""
        engine = self.engine
        async with self._looking:
            asked, after = engine.clock.now(), engine.reconciler.after()
            try:
                look = await take_look(engine.broker, after, self._answered_open, lambda: engine.fills_seen)
                done = ReconciliationDone(trigger, look, asked_venue_at=asked)
            except (AthenaError, TimeoutError) as error:
                done = ReconciliationDone(trigger, None, str(error) or type(error).__name__, asked)
            before = engine.reconciler.count
            engine.process(done)
            if engine.reconciler.last is None or engine.reconciler.count == before:
                raise AthenaError("the comparison with the venue failed.", "The engine's log has the traceback.")
            return engine.reconciler.last

    async def subscribe(self, symbols: Iterable[str]) -> None:
        """Stream these symbols too."""
        wanted = self.subscribed | set(symbols)
        if wanted != self.subscribed:
            await self.engine.broker.subscribe(sorted(wanted))
            self.subscribed = wanted

    # ------------------------------------------------------------------------------------------------------------ start

    async def _start(self) -> None:
        """Listen first, then snapshot, backfill, compare; trading stays halted whatever comes out."""
        engine, broker, journal = self.engine, self.engine.broker, self.engine.journal
        account = await broker.get_account()
        check_account(journal, engine.settings, account)
        self.account_number = account.account_number
        await self._read_clock()
        await broker.connect(engine.process)
        if journal.one("SELECT 1 FROM account") is None:
            account = await bind_account(journal, engine.settings.venue, broker, engine.clock.now())
        engine.portfolio = Portfolio.from_journal(journal)
        halt = engine.guard.start()
        engine.guarded = True
        engine.guard.on_account(account)
        if engine.session.reading is not None:
            engine.guard.on_clock(engine.session.reading)
        engine.load()
        clean = self._journal_start(account)
        engine.guard.start_guardian()
        fail_stale_commands(journal)
        await self.subscribe(self._wanted())
        for tracked in engine.book.unanswered():
            engine.resolve(tracked, at_start=True)
        outcome = await self.look("start")
        engine.open_gates()
        self._state = "running"
        self.heartbeat.beat(self._state)
        self.announce(
            f"engine ready on {engine.settings.venue} account {self.account_number}: {outcome.message}; "
            f"trading is halted ({halt.reason}) until: athena resume"
            + ("" if clean else "; the last run ended uncleanly")
        )

    def _journal_start(self, account: Account) -> bool:
        from importlib.metadata import version

        engine, journal = self.engine, self.engine.journal
        kinds = "('engine.started', 'engine.stopped')"
        last = journal.one(f"SELECT kind FROM events WHERE kind IN {kinds} ORDER BY sequence DESC LIMIT 1")
        clean = last is None or last["kind"] == "engine.stopped"
        facts = {"version": version("athena"), "safe_mode": engine.settings.safe_mode, "speed": str(self.speed)}
        journal.append("engine.started", facts | {"clean": clean}, engine.clock.now())
        return clean

    def _wanted(self) -> set[str]:
        engine = self.engine
        symbols = set(engine.settings.symbols) | set(engine.held()) | {order.symbol for order in engine.book}
        return symbols.union(*(strategy.symbols for strategy in engine.strategies))

    # ------------------------------------------------------------------------------------------------------------ tasks

    def _early(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "heartbeat": lambda: self._every(HEARTBEAT_SECONDS, self._beat),
            "sends": self.lane.run_sends,
            "cancels": self.lane.run_cancels,
        }

    def _late(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "tick": lambda: self._every(TICK_SECONDS, self._tick),
            "commands": lambda: self._every(COMMAND_POLL_SECONDS, self._poll_commands),
            "marks": lambda: self._every(MARKS_SECONDS, self._marks),
            "venue clock": self._follow_clock,
            "reconciliation": self._reconcile,
            "health": lambda: self._every(HEALTH_SECONDS, self._health),
        }

    async def _supervised(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run a task for ever: its crash halts trading, and it is begun again so that exits and commands are served."""
        while True:
            try:
                await body()
            except Exception as error:
                self.failed(f"task {name}", error)
                await asyncio.sleep(1.0)

    async def _every(self, seconds: float, body: Callable[[], Awaitable[None]]) -> None:
        while True:
            await body()
            await asyncio.sleep(seconds)

    def _spawn(self, name: str, body: Coroutine[Any, Any, None]) -> bool:
        if self._group is None:
            body.close()
            return False
        self._group.create_task(body, name=name)
        return True

    async def _tick(self) -> None:
        self.engine.process(Tick(time.monotonic()))

    async def _beat(self) -> None:
        self.heartbeat.beat(self._state)

    async def _marks(self) -> None:
        self.engine.market.flush(self.engine.journal)

    async def _poll_commands(self) -> None:
        for row in self.engine.journal.query("SELECT * FROM commands WHERE status = 'requested' ORDER BY requested_at"):
            if row["id"] not in self._commands:
                expired = datetime.fromisoformat(row["expires_at"]) < datetime.now(UTC)
                arguments = json.loads(row["arguments"])
                event = CommandRequested(row["id"], row["name"], arguments, row["requested_by"], expired)
                self.engine.process(event)

    async def _run_command(self, command: CommandRequested) -> None:
        try:
            await self.desk.run(command)
        finally:
            self._commands.discard(command.id)

    async def _resolve(self, action: Resolve) -> None:
        self.engine.process(await resolve(self.engine.broker, action))

    async def _reconcile(self) -> None:
        while True:
            await self._look_asked.wait()
            if self._look_due is None:
                self._look_asked.clear()
                continue
            due, trigger = self._look_due
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(min(wait, 0.1))
                continue
            self._look_due = None
            await self.look(trigger)

    async def _follow_clock(self) -> None:
        while True:
            with suppress(AthenaError, TimeoutError):
                await self._read_clock()
                await self.subscribe(self._wanted())
            pause = CLOCK_SECONDS if self.speed <= 1 else CLOCK_SECONDS_FAST
            await until(self._session_over, pause)
            await asyncio.sleep(0.2)

    def _session_over(self) -> bool:
        return self.engine.session.is_over(self.engine.clock.now())

    async def _read_clock(self) -> None:
        asked = time.monotonic()
        reading = await self.engine.broker.get_clock()
        self.speed = reading.speed
        self.engine.process(ClockRead(reading, asked, time.monotonic()))

    async def _health(self) -> None:
        if self.engine.broker.state is not BrokerState.CONNECTED:
            return
        with suppress(AthenaError, TimeoutError):
            health = await self.engine.broker.health_check()
            self.heartbeat.health = {
                "latency_seconds": health.latency_seconds,
                "clock_skew_seconds": health.clock_skew_seconds,
                "rate_limit": health.rate_limit,
                "rate_limit_remaining": health.rate_limit_remaining,
                "problems": list(health.problems),
            }

    def _answered_open(self) -> list[str]:
        return [order.client_order_id for order in self.engine.book if order.answered]

    # -------------------------------------------------------------------------------------------------------------- end

    async def _finish(self) -> None:
        """Cancel the strategies' orders, compare and value once more, and say goodbye; each step bounded."""
        engine, self._state = self.engine, "stopping"
        self.announce(f"engine stopping: {self._stop_reason}")
        if engine.settings.cancel_on_stop:
            for order in engine.book.open_in():
                if order.is_strategys:
                    engine.cancel(order, time.monotonic())
            await until(lambda: not any(order.is_strategys for order in engine.book.open_in()), 1.5)
        with suppress(AthenaError, TimeoutError):
            await asyncio.wait_for(self.look("stop"), 1.5)
        await until(lambda: not self._commands, 0.3)
        engine.duties.write_equity(engine.clock.now())
        with suppress(AthenaError, TimeoutError):
            await asyncio.wait_for(engine.broker.close(), 1.0)
        engine.journal.append("engine.stopped", {"reason": self._stop_reason}, engine.clock.now())
        self.heartbeat.beat("stopped")
        self.announce("engine stopped")


def engine_guard(settings: Settings) -> ExecutionGuard:
    """The guard as the engine holds it: it acts in the engine's name, and knows how long the venue may be gone."""
    limits = {"max_disconnect_seconds": str(settings.disconnect_halt_seconds), **settings.limits}
    guard = ExecutionGuard.get_instance(replace(settings, operator="engine", limits=limits))
    _ = guard.flag  # its folder must be there before the guard claims the engine's place beside it
    return guard


def check_account(journal: Journal, settings: Settings, account: Account) -> None:
    """Raise SettingsError when this live system belongs to another account."""
    bound = journal.one("SELECT venue, account_number FROM account")
    if bound is None or (bound["venue"], bound["account_number"]) == (settings.venue, account.account_number):
        return
    raise SettingsError(
        f"{settings.folder} belongs to {bound['venue']} account {bound['account_number']}, but the key opens "
        f"{settings.venue} account {account.account_number}.",
        "Use the right key, or give this account its own system: set ATHENA_ACCOUNT to a new name.",
    )


async def bind_account(journal: Journal, venue: str, broker: Broker, venue_at: datetime) -> Account:
    """Take an account into a new journal: its cash, and the positions it came with."""
    positions = await broker.get_positions()
    account = await broker.get_account()
    openings = [{"symbol": p.symbol, "quantity": p.quantity, "price": p.average_entry_price} for p in positions]
    payload = {
        "venue": venue, "account_number": account.account_number, "cash": account.cash,
        "equity": account.equity, "last_equity": account.last_equity, "positions": openings,
    }  # fmt: skip
    journal.append("account.bound", payload, venue_at)
    return account


def fail_stale_commands(journal: Journal) -> None:
    """A command asked of an earlier engine is never begun by this one: it may have been carried out in part."""
    for row in journal.query("SELECT id, name, expires_at FROM commands WHERE status = 'requested'"):
        expired = datetime.fromisoformat(row["expires_at"]) < datetime.now(UTC)
        why = "it expired" if expired else "the engine was restarted; it may have been begun: look before asking again"
        result = {"message": f"{row['name']} was not carried out: {why}"}
        journal.append("command.finished", {"id": row["id"], "status": "failed", "result": result})


def _log_to(settings: Settings) -> None:
    for old in list(log.handlers):
        log.removeHandler(old)
    handler = RotatingFileHandler(settings.folder / "engine.log", maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
