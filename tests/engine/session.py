"""A trading session in this process, step by step: the real exchange, journal, guard and engine; time goes by hand."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import uuid4

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import AmbiguousSubmission, BrokerUnavailable
from athena.journal.journal import Journal
from athena.live.brokers.base import CancelResult, Rows
from athena.live.brokers.paper import PaperBroker
from athena.live.cash_flows import flows_since
from athena.live.command_desk import CommandDesk
from athena.live.engine import Engine
from athena.live.events import (
    Cancel,
    ClockRead,
    CommandRequested,
    ExitRequested,
    Reconcile,
    ReconciliationDone,
    Resolve,
    RunCommand,
    Submit,
    Tick,
)
from athena.live.execution_guard import ExecutionGuard
from athena.live.order_lane import cancel, resolve, send
from athena.live.reconciliation import take_look
from athena.live.startup import bind_account
from athena.model import OrderIntent, Purpose, Side
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.synthetic import SyntheticTape

START = datetime(2020, 3, 9, 13, 31, tzinfo=UTC)
SYMBOLS = ("AAPL", "MSFT")


class Scripted:
    """A strategy that does what the test says at the next quote: `wants` maps symbols to (signed shares, limit)."""

    name, symbols, cancel_after_seconds = "scripted", SYMBOLS, 120.0

    def __init__(self):
        self.wants, self.fills, self.error, self.contexts = {}, [], None, []

    def on_quote(self, quote, context):
        if self.error is not None:
            raise self.error
        self.contexts.append(context)
        want = self.wants.pop(quote.symbol, None)
        if want is None:
            return ()
        shares, limit = want
        return (context.order(quote, Decimal(shares), "the test says so", limit),)

    def on_fill(self, fill):
        self.fills.append(fill)


class Flaky(PaperBroker):
    """The paper venue with what can go wrong, switched on by the test."""

    lose_answers = refuse_connection = reads_fail = ignores_cancels = False
    phantom_shares = Decimal(0)
    sent = 0

    async def submit(self, approved):
        if self.refuse_connection:
            raise BrokerUnavailable("connection refused.")
        self.sent += 1
        order = await super().submit(approved)
        if self.lose_answers:
            raise AmbiguousSubmission("the answer was lost.")
        return order

    async def cancel(self, broker_order_id):
        return CancelResult(broker_order_id, 204) if self.ignores_cancels else await super().cancel(broker_order_id)

    async def get_positions(self):
        if self.reads_fail:
            raise BrokerUnavailable("no answer.")
        rows = await super().get_positions()
        return Rows(replace(row, quantity=row.quantity + self.phantom_shares) for row in rows)


class Trading:
    """One engine on one venue. `go(seconds)` lets venue time pass and carries every action out."""

    def __init__(self, home, before=None, **settings):
        self.settings = Settings(home=home, symbols=SYMBOLS, **settings)
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        self.clock = before.clock if before else ManualClock(START)
        self.exchange = before.exchange if before else Exchange(SyntheticTape(3, SYMBOLS), self.clock)
        self.broker = Flaky(self.exchange, "SIMULATOR", "simulator-secret")
        self.journal = Journal.open(self.settings.journal_path, actor="engine")
        self.guard = ExecutionGuard(replace(self.settings, operator="engine"))
        self.strategy = Scripted()
        self.engine = Engine(
            self.settings, self.broker, self.journal, self.guard, Portfolio(), [self.strategy], self.clock
        )
        self.actions, self.monotonic, self.commands = [], 1.0, []
        self.engine.emit = self._take
        self._run(self._start())

    def _take(self, action):
        self.actions.append(action)
        return True

    def _run(self, work):
        return asyncio.run(work)

    async def _start(self):
        engine = self.engine
        await self.broker.connect(engine.process)
        engine.process(ClockRead(await self.broker.get_clock()))
        if self.journal.one("SELECT 1 FROM account") is None:
            await bind_account(self.journal, "simulator", self.broker, self.clock.now())
        engine.portfolio = Portfolio.from_journal(self.journal)
        self.guard.start()
        engine.guarded = True
        self.guard.start_guardian()
        engine.load()
        await self.broker.subscribe(SYMBOLS)
        await self._look("start")
        engine.open_gates()
        engine.process(Tick(self.monotonic))

    def resume(self):
        self.guard.resume(reason="test", override=True)
        return self

    def go(self, seconds=30, step=5):
        for _ in range(0, seconds, step):
            self.clock.advance(seconds=step)
            self.monotonic += step
            self.broker.pump()
            self.engine.process(Tick(self.monotonic))
            self._run(self._carry_out())
        return self

    def look(self, trigger="test"):
        self._run(self._look(trigger))
        return self.engine.reconciler.last

    def exit(self, symbol, shares):
        side = Side.SELL if shares > 0 else Side.BUY
        key = f"exit:{self.monotonic}"
        self.engine.process(ExitRequested(OrderIntent(key, symbol, side, Decimal(abs(shares)), purpose=Purpose.EXIT)))
        return self.go(5)

    def ask(self, name, **arguments):
        """Have a command carried out, with what it asks of the venue; whether it succeeded, and its answer."""
        asked = {"id": uuid4().hex, "name": name, "arguments": arguments, "expires_at": datetime.now(UTC)}
        self.journal.append("command.requested", asked)
        desk = CommandDesk(SimpleNamespace(engine=self.engine))

        async def carried_out():
            work = asyncio.create_task(desk.run(CommandRequested(asked["id"], name, arguments, "test")))
            while not work.done():
                await self._carry_out()
                await asyncio.sleep(0.001)

        self._run(carried_out())
        row = self.journal.one("SELECT status, result FROM commands WHERE id = ?", (asked["id"],))
        return row["status"] == "done", json.loads(row["result"])

    def resting(self, symbol):
        """A buy limit that nobody takes for now, and the guard's collar allows."""
        return (self.engine.market.quotes[symbol].bid * Decimal("0.98")).quantize(Decimal("0.01"))

    def orders(self):
        rows = self.journal.query("SELECT * FROM orders ORDER BY intended_at")
        return [(row["strategy"], row["symbol"], row["status"]) for row in rows]

    def halts(self):
        return [(halt.scope.value, halt.target, halt.origin.value) for halt in self.guard.halts()]

    def close(self):
        self._run(self.broker.close())
        self.guard.close()
        self.journal.close()

    async def _carry_out(self):
        while self.actions:
            match self.actions.pop(0):
                case Submit() as action:
                    self.engine.process((await send(self.broker, self.guard, action))[0])
                case Cancel() as action:
                    self.engine.process(await cancel(self.broker, action))
                case Resolve() as action:
                    self.engine.process(await resolve(self.broker, action))
                case Reconcile(trigger):
                    if "again" not in trigger:
                        await self._look(trigger)
                case RunCommand(command):
                    self.commands.append(command)

    async def _look(self, trigger):
        engine, asked = self.engine, self.clock.now()
        answered = [order.client_order_id for order in engine.book if order.answered]
        try:
            look = await take_look(
                self.broker, engine.reconciler.after(), lambda: answered, lambda: engine.fills_seen,
                engine.reconciler.doubt(), flows_since(self.journal, engine.reconciler.after()),
            )  # fmt: skip
        except BrokerUnavailable as error:
            engine.process(ReconciliationDone(trigger, None, str(error), asked))
        else:
            engine.process(ReconciliationDone(trigger, look, asked_venue_at=asked))
