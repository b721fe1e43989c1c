"""Running an engine: the lock, the start in its safe order, one task group for everything, and the graceful end."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import AthenaError
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
    Resolve,
    RunCommand,
    Submit,
    TaskFailed,
    Tick,
)
from athena.live.execution_guard import Halt
from athena.live.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from athena.live.keeping import Keeper
from athena.live.looking import Looker
from athena.live.metrics_server import serve_metrics
from athena.live.order_lane import OrderLane, resolve
from athena.live.starting import start
from athena.live.startup import engine_guard, log_to_file
from athena.live.strategies import make_strategies
from athena.live.venue_clock import FollowedClock
from athena.live.watching import LOOK_SECONDS, StreamWatch
from athena.model import BrokerState

TICK_SECONDS = 0.1
COMMAND_POLL_SECONDS = 0.05
MARKS_SECONDS = 0.5
CLOCK_SECONDS, CLOCK_SECONDS_FAST = 10.0, 5.0
HEALTH_SECONDS = 15.0
FIRST_QUOTE_SECONDS = 3.0
COMMANDS_MAX = 16
Announce = Callable[[str], None]


async def run(settings: Settings, broker: Broker, *, announce: Announce | None = None) -> int:
    """Run the engine of `settings` on a broker until it is told to stop; 0 after a graceful stop.

    Raises SettingsError (a second engine, another account, a wrong strategy), JournalError, BrokerError.
    """
    strategies = make_strategies(settings)
    with EngineLock(settings.folder):
        log_to_file(settings)
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
        self.heartbeat, self.desk, self.looker = Heartbeat(self), CommandDesk(self), Looker(engine)
        self.watch, self.keeper = StreamWatch(engine), Keeper(engine.journal, engine.settings)
        self.account_number, self.speed = "", 1.0
        self.halt: Halt | None = None  # of this start
        self.subscribed: set[str] = set()
        self.wrong_symbols: set[str] = set()  # configured, and not to be had at the venue
        self._state = "starting"
        self._stop_reason = ""
        self._stopped = asyncio.Event()
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
                    await self._begin()
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
            with suppress(Exception):  # first the broker: its news needs a guard as long as it comes
                await asyncio.wait_for(self.engine.broker.close(), 2.0)
            self.engine.ended = True
            self.engine.guard.close()
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
            case Reconcile():
                self.looker.ask(action)
                return True
            case RunCommand(command):
                if len(self._commands) >= COMMANDS_MAX:
                    return False
                self._commands.add(command.id)
                return self._spawn(f"command {command.name}", self._run_command(command))

    async def subscribe(self, symbols: Iterable[str]) -> None:
        """Stream these symbols too."""
        wanted = self.subscribed | set(symbols)
        if wanted != self.subscribed:
            await self.engine.broker.subscribe(sorted(wanted))
            self.subscribed = wanted

    def wanted(self) -> set[str]:
        """Every symbol to stream: configured, traded, held or ordered."""
        engine = self.engine
        symbols = set(engine.settings.symbols) | set(engine.held()) | {order.symbol for order in engine.book}
        return symbols.union(*(strategy.symbols for strategy in engine.strategies)) - self.wrong_symbols

    async def _begin(self) -> None:
        report = await start(self)
        await self._health()
        await until(self._quoted, FIRST_QUOTE_SECONDS)  # "ready" means that the checklist for resuming can hold
        self._state = "running"
        self.heartbeat.beat(self._state)
        what = f"engine ready on {self.engine.settings.venue} account {self.account_number}"
        self.announce(f"{what}: {report}; trading is halted until: athena resume")

    # ------------------------------------------------------------------------------------------------------------ tasks

    def _early(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "heartbeat": lambda: self._every(HEARTBEAT_SECONDS, self._beat),
            "sends": self.lane.run_sends,
            "exits": self.lane.run_exits,
            "cancels": self.lane.run_cancels,
            "metrics": lambda: serve_metrics(self.engine, self.announce),
        }

    def _late(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "tick": lambda: self._every(TICK_SECONDS, self._tick),
            "commands": lambda: self._every(COMMAND_POLL_SECONDS, self._poll_commands),
            "marks": lambda: self._every(MARKS_SECONDS, self._marks),
            "venue clock": self._follow_clock,
            "reconciliation": self.looker.run,
            "health": lambda: self._every(HEALTH_SECONDS, self._health),
            "stream watch": lambda: self._every(LOOK_SECONDS, self.watch.look),
            "heads": self.keeper.heads,
            "snapshots": self.keeper.snapshots,
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

    async def _follow_clock(self) -> None:
        while True:
            with suppress(AthenaError, TimeoutError):
                await self.read_clock()
                await self.subscribe(self.wanted())
            pause = CLOCK_SECONDS if self.speed <= 1 else CLOCK_SECONDS_FAST
            await until(self._session_over, pause)
            await asyncio.sleep(0.2)

    def _quoted(self) -> bool:
        engine, now = self.engine, self.engine.clock.now()
        return not engine.session.is_open(now) or engine.market.age_seconds(now) is not None

    def _session_over(self) -> bool:
        return self.engine.session.is_over(self.engine.clock.now())

    async def read_clock(self) -> None:
        """Read the venue's clock and follow it."""
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
            await asyncio.wait_for(self.looker.look("stop"), 1.5)
        await until(lambda: not self._commands, 0.3)
        engine.duties.write_equity(engine.clock.now())
        engine.kept_quotes.flush(engine.journal)
        with suppress(AthenaError, TimeoutError):
            await asyncio.wait_for(engine.broker.close(), 1.0)
        engine.guard.gate.tell_refusals(all_=True)  # so that the goodbye is the last word
        engine.journal.append("engine.stopped", {"reason": self._stop_reason}, engine.clock.now())
        self.keeper.last_head()
        self.heartbeat.beat("stopped")
        self.announce("engine stopped")
