"""Earlier trading days, as quickly as the machine allows: the same `Engine.process` over an in-process venue.

The demo's history is made by this: real decisions, a real guard, real fills of the simulator's exchange, journaled with
the venue times of those days. Nothing here trades; it only moves the clock and carries the engine's actions out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import BrokerError, ResumeRefused
from athena.journal.journal import Journal
from athena.live.brokers.base import Broker
from athena.live.engine import Engine
from athena.live.engine_lock import EngineLock
from athena.live.events import Action, Cancel, ClockRead, ReconciliationDone, Resolve, Submit, Tick
from athena.live.execution_guard import ExecutionGuard
from athena.live.limits import LIMITS
from athena.live.order_lane import cancel, resolve, send
from athena.live.reconciliation import take_look
from athena.live.startup import bind_account, check_account, engine_guard
from athena.live.strategies import make_strategies
from athena.model import Origin, Scope

ACTIONS_MAX = 1_000
EQUITY_SECONDS = 300.0
UNPACED = "max_messages_per_minute"  # counts machine seconds, of which a day has too few here


class PumpedBroker(Broker, Protocol):
    """A broker in this process that tells its market when asked: PaperBroker."""

    def pump(self) -> int: ...


class SetClock(Protocol):
    """A clock of venue time that is moved by hand: the simulator's ManualClock."""

    def now(self) -> datetime: ...

    def set(self, at: datetime) -> None: ...


@dataclass(frozen=True)
class Backfilled:
    """What was made: days, orders, fills, and whether the books agreed with the venue's at every close."""

    days: int
    orders: int
    refused: int
    fills: int
    agreed: bool


def run_days(
    settings: Settings,
    broker: PumpedBroker,
    clock: SetClock,
    days: Iterable[tuple[datetime, datetime]],
    *,
    step_seconds: float = 30.0,
    on_day: Callable[[int, datetime], None] | None = None,
) -> Backfilled:
    """Trade the sessions `days` (open and close, in order) into the journal of `settings`; ends halted.

    `clock` must be the broker's. `on_day` is told each finished day's number and close. Raises what a start raises.
    """
    strategies = make_strategies(settings)
    unpaced = replace(settings, limits={**settings.limits, UNPACED: "off"})
    with EngineLock(settings.folder), Journal.open(settings.journal_path, actor="backfill") as journal:
        guard = engine_guard(unpaced)
        engine = Engine(settings, broker, journal, guard, Portfolio(), strategies, clock)
        return asyncio.run(_Drive(engine, broker, clock, guard).run(days, step_seconds, on_day))


class _Drive:
    def __init__(self, engine: Engine, broker: PumpedBroker, clock: SetClock, guard: ExecutionGuard) -> None:
        self.engine, self.broker, self.clock, self.guard = engine, broker, clock, guard
        self.actions: deque[Action] = deque()
        self.agreed = True
        engine.emit = self._take
        engine.duties.reconcile_seconds = float("inf")  # once a day, at the close
        engine.duties.equity_seconds = EQUITY_SECONDS

    async def run(
        self,
        days: Iterable[tuple[datetime, datetime]],
        step_seconds: float,
        on_day: Callable[[int, datetime], None] | None,
    ) -> Backfilled:
        number = 0
        try:
            for opens, closes in days:
                self.clock.set(max(self.clock.now(), opens))
                if not number:
                    await self._start()
                await self._day(opens, closes, step_seconds)
                number += 1
                if on_day is not None:
                    on_day(number, closes)
        finally:
            if number:
                self._end()
            await self.broker.close()
        one = self.engine.journal.one
        counts = [one(f"SELECT count(*) AS n FROM {what}") for what in (
            "orders WHERE status != 'refused'", "orders WHERE status = 'refused'", "fills")]  # fmt: skip
        orders, refused, fills = (0 if row is None else int(row["n"]) for row in counts)
        return Backfilled(number, orders, refused, fills, self.agreed)

    async def _start(self) -> None:
        engine, broker, journal = self.engine, self.broker, self.engine.journal
        account = await broker.get_account()
        check_account(journal, engine.settings, account)
        await broker.connect(engine.process)
        if journal.one("SELECT 1 FROM account") is None:
            account = await bind_account(journal, engine.settings.venue, broker, self.clock.now())
        engine.portfolio = Portfolio.from_journal(journal)
        self.guard.start()
        engine.guarded = True
        self.guard.on_account(account)
        self.guard.start_guardian()
        engine.load()
        facts = {"version": "backfill", "safe_mode": False, "speed": "backfill", "clean": True}
        journal.append("engine.started", facts, self.clock.now())
        symbols = set(engine.settings.symbols).union(*(strategy.symbols for strategy in engine.strategies))
        await broker.subscribe(sorted(symbols))
        engine.process(ClockRead(await broker.get_clock()))
        await self._look("start")
        engine.open_gates()

    async def _day(self, opens: datetime, closes: datetime, step_seconds: float) -> None:
        engine, step, at = self.engine, timedelta(seconds=step_seconds), max(opens, self.clock.now())
        self.clock.set(at)
        self.broker.pump()
        engine.process(ClockRead(await self.broker.get_clock()))
        engine.process(Tick(at.timestamp()))  # opens the day
        self._beat("backfill")
        if self.guard.halts():
            await self._look("open")
            self._resume()
        while at < closes:
            at = min(at + step, closes)
            self.clock.set(at)
            self.broker.pump()
            engine.process(Tick(at.timestamp()))
            await self._carry_out()
        await self._look("close")

    def _resume(self) -> None:
        """Each day begins without yesterday's halts, as after an operator's review."""
        why = "the next day of the backfill"
        for halt in self.guard.halts():
            symbol = halt.target if halt.scope is Scope.SYMBOL else None
            strategy = halt.target if halt.scope is Scope.STRATEGY else None
            try:
                self.guard.resume(symbol, strategy, why, halt_ids=[halt.id])
            except ResumeRefused:
                self.guard.resume(symbol, strategy, why, halt_ids=[halt.id], override=True)

    async def _carry_out(self) -> None:
        engine = self.engine
        while self.actions:
            match self.actions.popleft():
                case Submit() as action:
                    engine.process((await send(self.broker, self.guard, action))[0])
                case Cancel() as action:
                    engine.process(await cancel(self.broker, action))
                case Resolve() as action:
                    engine.process(await resolve(self.broker, action))
                case _:
                    pass  # reconciliation has its own time here, and there are no commands

    async def _look(self, trigger: str) -> None:
        engine = self.engine
        asked, after = self.clock.now(), engine.reconciler.after()
        try:
            look = await take_look(self.broker, after, lambda: [o.client_order_id for o in engine.book if o.answered],
                                   lambda: engine.fills_seen)  # fmt: skip
        except BrokerError as error:
            engine.process(ReconciliationDone(trigger, None, str(error), asked))
        else:
            engine.process(ReconciliationDone(trigger, look, asked_venue_at=asked))
        last = engine.reconciler.last
        self.agreed = self.agreed and last is not None and last.ok

    def _end(self) -> None:
        engine = self.engine
        engine.journal.append("engine.stopped", {"reason": "backfill finished"}, self.clock.now())
        wanted = engine.settings.limits.get(UNPACED, LIMITS[UNPACED].default)
        self.guard.set_limit(UNPACED, wanted, reason="the backfill is over")
        self.guard.halt("the backfill is over", origin=Origin.STARTUP, owner="backfill")  # the next start clears it
        self._beat("stopped")
        self.guard.close()

    def _beat(self, state: str) -> None:
        facts = {"state": state, "venue": self.engine.settings.venue, "guard": self.guard.usage()}
        self.engine.journal.heartbeat("engine", facts, self.clock.now())

    def _take(self, action: Action) -> bool:
        if len(self.actions) >= ACTIONS_MAX:
            return False
        self.actions.append(action)
        return True
