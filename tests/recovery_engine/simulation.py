"""A seeded day in one thread: the real engine, guard, journal and exchange; clock, broker and everything bad injected.

The same seed gives the same day, faults and crashes included. While it runs, every send is judged by a second opinion
computed from the journal alone; at its end the faults stop and reconciliation must come to rest on the venue's books.
"""

import asyncio
import random
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import AmbiguousSubmission, BrokerUnavailable, GuardError, RateLimited
from athena.journal.journal import Journal
from athena.live.brokers.base import OrderUpdated
from athena.live.brokers.paper import PaperBroker
from athena.live.engine import Engine
from athena.live.events import (
    Cancel,
    ClockRead,
    ExitRequested,
    OrderResolved,
    Reconcile,
    ReconciliationDone,
    Resolve,
    Submit,
    Tick,
)
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_halting import open_journal
from athena.live.guardian import Guardian
from athena.live.order_lane import cancel, send
from athena.live.reconciliation import take_look
from athena.live.startup import bind_account, journal_start
from athena.model import Mode, OrderIntent, OrderStatus, OrderType, Purpose, Scope, Side, TimeInForce
from athena.simulator.clock import ManualClock
from athena.simulator.errors import VenueError
from athena.simulator.exchange import Exchange
from athena.simulator.orders import OrderRequest
from athena.simulator.sessions import session_on
from athena.simulator.synthetic import SyntheticTape

SYMBOLS = ("AAPL", "MSFT")
STEPS, STEP_SECONDS = 40, 7
LIMIT = Decimal(20_000)
TAPE = SyntheticTape(11, SYMBOLS)
DAYS = [day for day in (session_on(date(2020, 3, number)) for number in range(2, 28)) if day is not None]
FINAL = [status.value for status in OrderStatus if status.is_final]


class Whim:
    """Wants what the dice say."""

    name, symbols, cancel_after_seconds = "whim", SYMBOLS, 30.0

    def __init__(self, chance):
        self._chance = chance

    def on_quote(self, quote, context):
        if context.working or self._chance.random() > 0.5:
            return ()
        shares = Decimal(self._chance.choice((-1, 1)) * self._chance.choice((5, 20, 60, 150)))
        limit = None
        if self._chance.random() < 0.4:
            away = Decimal(self._chance.choice(("0.98", "0.999", "1.001", "1.02")))
            limit = (quote.mid * away).quantize(Decimal("0.01"))
        return (context.order(quote, shares, "whim", limit),)

    def on_fill(self, fill):
        pass


class Unreliable(PaperBroker):
    """The paper venue by way of a bad network: every fault is drawn from the day's dice while `bad` is above 0."""

    def __init__(self, day, *arguments):
        super().__init__(*arguments)
        self._day, self.bad, self.late = day, 0.0, []

    def _hit(self, share=1.0):
        return self._day.chance.random() < self.bad * share

    async def submit(self, approved):
        self._day.judge(approved.intent)
        self._day.sent.append(approved.client_order_id)
        if self._hit():
            raise self._day.chance.choice((BrokerUnavailable, RateLimited, AmbiguousSubmission))("not taken.")
        order = await super().submit(approved)
        if self._hit():
            raise AmbiguousSubmission("taken, and the answer is lost.")
        return order

    def _tell(self, event):
        """The stream of orders: dropped, doubled, late and out of order."""
        if not isinstance(event, OrderUpdated) or not self.bad:
            return super()._tell(event)
        if self._hit():
            return False
        if self._hit():
            self.late.append(event)
            return False
        told = super()._tell(event)
        return (super()._tell(event) and told) if self._hit() else told

    def catch_up(self):
        late, self.late = self.late, []
        self._day.chance.shuffle(late)
        for event in late:
            super()._tell(event)

    async def cancel(self, broker_order_id):
        if self._hit():
            raise BrokerUnavailable("no answer.")
        return await super().cancel(broker_order_id)

    async def get_positions(self):
        if self._hit(0.5):
            raise BrokerUnavailable("no answer.")
        return await super().get_positions()

    async def get_order(self, client_order_id):
        if self._hit():
            raise BrokerUnavailable("no answer.")
        return await super().get_order(client_order_id)


class Day:
    """One day of one seed in `folder`, which holds `template`, an empty journal to copy."""

    def __init__(self, folder, template, seed):
        self.seed, self.chance = seed, random.Random(seed)
        session = DAYS[seed % len(DAYS)]
        self.clock = ManualClock(session.open + timedelta(minutes=self.chance.randrange(1, 300)))
        self.exchange = Exchange(TAPE, self.clock, keys={"SIMULATOR": "simulator-secret"})
        self.home = folder / f"day-{seed}"
        limits = {"max_messages_per_minute": "off", "max_position_per_symbol_dollars": str(LIMIT)}
        limits |= {"max_slippage_bps": "off", "limit_orders_only_slippage_bps": "off", "max_consecutive_losses": "off"}
        self.settings = Settings(home=self.home, symbols=SYMBOLS, limits=limits)
        self.settings.folder.mkdir(parents=True)
        shutil.copy(template, self.settings.journal_path)
        self.broker, self.engine, self.monotonic = None, None, 1.0
        self.sent, self.halts, self.done = [], {}, []

    async def run(self):
        """The whole day; raises AssertionError naming the seed at the first broken promise."""
        try:
            await self.start()
            for _ in range(STEPS):
                await self.step()
            await self.rest()
        except AssertionError as error:
            raise AssertionError(f"seed {self.seed}, {' '.join(self.done[-12:])}: {error}") from error
        finally:
            await self.crash()
            shutil.rmtree(self.home)

    async def start(self):
        self.broker = Unreliable(self, self.exchange, "SIMULATOR", "simulator-secret")
        self.journal = Journal.open(self.settings.journal_path, "engine")
        self.guard = ExecutionGuard(replace(self.settings, operator="engine"))
        strategies = [Whim(self.chance)]
        self.engine = engine = Engine(
            self.settings, self.broker, self.journal, self.guard, Portfolio(), strategies, self.clock
        )
        self.actions = []
        engine.emit = lambda action: self.actions.append(action) or True
        await self.broker.connect(engine.process)
        engine.process(ClockRead(await self.broker.get_clock()))
        if self.journal.one("SELECT 1 FROM account") is None:
            await bind_account(self.journal, "simulator", self.broker, self.clock.now())
            self.clock.advance(seconds=1)  # what executes in the very instant of binding is told apart by nothing
        engine.portfolio = Portfolio.from_journal(self.journal)
        self.guard.start()
        engine.guarded = True
        self.guardian = Guardian(self.guard.gate, lambda: open_journal(self.settings.journal_path, "guardian"))
        self.guardian.tick()
        engine.load()
        journal_start(self.journal, self.settings, 1.0, self.clock.now(), clean=True)
        await self.broker.subscribe(SYMBOLS)
        for tracked in engine.book.unanswered():
            engine.resolve(tracked, at_start=True)
        await self.look("start")
        engine.open_gates()
        assert set(self.halts) <= {halt.id for halt in self.guard.halts()}, "a restart lost an operator's halt"
        assert not self.guard.is_active
        if self.chance.random() < 0.8:
            await self.resume()
        self.broker.bad = self.chance.choice((0.0, 0.05, 0.2))

    async def crash(self):
        """The process is gone: nothing is said goodbye to."""
        if self.engine is not None:
            self.broker._unsubscribe()
            self.broker._unsubscribe = None
            self.guardian.stop()
            self.guard.close()
            self.journal.close()

    async def step(self):
        dice = self.chance.random()
        for share, act in ((0.02, self.restart), (0.05, self.halt), (0.09, self.resume), (0.11, self.exit),
                           (0.13, self.outsider), (0.14, self.bust)):  # fmt: skip
            if dice < share:
                self.done.append(act.__name__)
                await act()
                break
        self.clock.advance(seconds=STEP_SECONDS)
        self.monotonic += STEP_SECONDS
        self.guardian.tick()
        self.broker.pump()
        if self.chance.random() < 0.5:
            self.broker.catch_up()
        self.engine.process(Tick(self.monotonic))
        await self.carry_out()
        self.count()

    # -------------------------------------------------------------------------------------------- what may happen

    async def restart(self):
        await self.crash()
        await self.start()

    async def halt(self):
        scope, target = self.chance.choice(((Scope.GLOBAL, ""), (Scope.SYMBOL, "AAPL"), (Scope.STRATEGY, "whim")))
        made = self.guard.halt(
            "dice", scope=scope, target=target, mode=self.chance.choice((Mode.HALTED, Mode.REDUCE_ONLY))
        )
        self.halts[made.id] = made

    async def resume(self):
        names = [halt.id for halt in self.guard.halts()]
        try:
            self.guard.resume(reason="dice", halt_ids=names, override=True)
        except GuardError:
            return
        for name in names:
            self.halts.pop(name, None)

    async def exit(self):
        held = sorted(self.engine.held().items())
        if held:
            symbol, quantity = self.chance.choice(held)
            side = Side.SELL if quantity > 0 else Side.BUY
            key = f"exit:{self.monotonic}"
            self.engine.process(ExitRequested(OrderIntent(key, symbol, side, abs(quantity), purpose=Purpose.EXIT)))

    async def outsider(self):
        side = self.chance.choice((Side.BUY, Side.SELL))
        symbol = self.chance.choice(SYMBOLS)
        with suppress(VenueError):  # what the venue does not let him do
            self.broker.account.submit(
                OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, quantity=Decimal(3))
            )

    async def bust(self):
        book = next(iter(self.exchange.books()))
        fills = list(book.executions().values())
        if fills:
            last = self.chance.choice(fills)
            price, quantity = (
                (last.price + 1, last.quantity) if self.chance.random() < 0.5 else (Decimal(0), Decimal(0))
            )
            close = TAPE.previous_close(last.symbol, self.clock.now())
            book.amend(last, quantity, price, self.clock.now(), close)
            self.exchange.commit()

    async def carry_out(self):
        while self.actions:
            match self.actions.pop(0):
                case Submit() as action:
                    self.engine.process((await send(self.broker, self.guard, action))[0])
                case Cancel() as action:
                    self.engine.process(await cancel(self.broker, action))
                case Resolve() as action:
                    self.engine.process(await self.resolve(action))
                case Reconcile(trigger) if "again" not in trigger:
                    await self.look(trigger)

    async def resolve(self, action):
        try:
            return OrderResolved(action.client_order_id, await self.broker.get_order(action.client_order_id))
        except BrokerUnavailable:
            return OrderResolved(action.client_order_id, None, unresolved=True)

    async def look(self, trigger):
        engine, asked = self.engine, self.clock.now()
        answered = [order.client_order_id for order in engine.book if order.answered]
        doubt, after = engine.reconciler.doubt(), engine.reconciler.after()
        try:
            look = await take_look(self.broker, after, lambda: answered, lambda: engine.fills_seen, doubt)
        except BrokerUnavailable as error:
            engine.process(ReconciliationDone(trigger, None, str(error), asked))
        else:
            engine.process(ReconciliationDone(trigger, look, asked_venue_at=asked))
        return engine.reconciler.last

    # -------------------------------------------------------------------------------------------------- invariants

    def judge(self, intent):
        """The second opinion on a send, from journal and tape alone."""
        assert self.sent.count(intent.client_order_id) == 0, f"{intent.client_order_id} is sent twice"
        row = self.journal.one("SELECT status FROM orders WHERE client_order_id = ?", (intent.client_order_id,))
        assert row is not None, "sent and not journaled"
        if intent.purpose is Purpose.EXIT:
            return
        modes = [halt.mode for halt in self.guard.halts() if halt.applies(intent.symbol, intent.strategy)]
        assert Mode.HALTED not in modes, f"{intent.client_order_id} passed a halt"
        position = self.engine.guard.gate.book.of(intent.symbol).position
        sql = f"SELECT * FROM orders WHERE symbol = ? AND side = ? AND status NOT IN ({','.join('?' * len(FINAL))})"
        rows = self.journal.query(sql, (intent.symbol, intent.side, *FINAL))
        working = sum((Decimal(row["quantity"]) - Decimal(row["filled_quantity"]) for row in rows), Decimal(0))
        worst = position + working * intent.side.sign  # this one is among them
        if Mode.REDUCE_ONLY in modes:
            assert abs(worst) <= abs(position), "reduce-only, and it could increase"
            assert worst * position >= 0, "reduce-only, and it could flip"
        else:
            ask = TAPE.quote(intent.symbol, self.clock.now()).ask
            grows = abs(worst) > abs(position)
            assert not grows or abs(worst) * ask <= LIMIT * Decimal("1.05"), f"{abs(worst)} of {intent.symbol} at {ask}"

    def count(self):
        """The guard's counters, the portfolio and a fresh fold of the journal tell the same."""
        fresh = Portfolio.from_journal(self.journal)
        held = {position.symbol: position.quantity for position in fresh.positions()}
        assert held == self.engine.held(), f"{held} in the journal, {self.engine.held()} in the engine"
        assert fresh.cash == self.engine.portfolio.cash, "cash of journal and engine differ"
        book = self.guard.gate.book
        counted = {symbol: one.position for symbol, one in book.symbols.items() if one.position}
        assert counted == held, f"{counted} counted by the guard, {held} in the journal"
        assert book.cash == fresh.cash, "the guard's cash differs"
        assert set(self.halts) <= {halt.id for halt in self.guard.halts()}, "an operator's halt is gone"

    async def rest(self):
        """The faults are over: in a few looks everything agrees, and one more look changes nothing."""
        self.broker.bad = 0.0
        self.broker.catch_up()
        self.halts |= {(made := self.guard.halt("the end")).id: made}
        for _ in range(12):
            self.clock.advance(seconds=STEP_SECONDS)
            self.monotonic += STEP_SECONDS
            self.guardian.tick()
            self.broker.pump()
            self.engine.process(Tick(self.monotonic))
            await self.carry_out()
            await self.look("rest")
        first, again = await self.look("rest"), await self.look("rest")
        for outcome in (first, again):
            assert outcome.ok, outcome.payload()
            assert not outcome.repaired, outcome.payload()
        self.count()
        account = self.broker.account
        assert abs(account.summary().cash - self.engine.portfolio.cash) <= Decimal("0.01")
        assert {p.symbol: p.quantity for p in account.positions()} == self.engine.held()
        theirs = {order.client_order_id: order.filled_quantity for order in await self.broker.get_orders("all")}
        assert set(self.sent) & set(theirs) <= {
            row["client_order_id"] for row in self.journal.query("SELECT * FROM orders")
        }
        assert set(theirs) <= {row["client_order_id"] for row in self.journal.query("SELECT * FROM orders")}, (
            "forgotten"
        )
        left = self.journal.query("SELECT client_order_id FROM orders WHERE status IN ('intended', 'unknown')")
        assert not left, f"never resolved: {[row[0] for row in left]}"


def template(folder):
    """An empty journal to copy: making one takes longer than a day."""
    path = folder / "template.sqlite3"
    Journal.open(path, "template").close()
    return path


def live(folder, seeds):
    """Live through the days of these seeds; how many there were, orders sent and restarts."""
    made = template(folder)
    days = orders = restarts = 0
    for seed in seeds:
        day = Day(folder, made, seed)
        asyncio.run(day.run())
        days, orders, restarts = days + 1, orders + len(day.sent), restarts + day.done.count("restart")
    return days, orders, restarts
