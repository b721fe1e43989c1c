"""Any interleaving of orders, fills, cancels, halts, resumes, limit changes and crashes keeps the guard's word."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from athena.live.execution_guard import ExecutionGuard
from athena.live.verdict import Approved
from athena.model import Mode, OrderIntent, OrderStatus, Purpose, Scope, Side
from tests.guard import conftest
from tests.guard.conftest import (
    NOON,
    D,
    fill,
    intent,
    limit,
    make_journal,
    order,
    quote,
    remove_flag,
    settings_in,
    take_fill,
    take_order,
)

SYMBOLS = ("AAPL", "MSFT")
LOOSE = {
    "max_duplicate_orders": 1000, "max_slippage_bps": "off", "limit_orders_only_slippage_bps": "off",
    "max_consecutive_losses": 1000, "max_daily_loss_dollars": 10**8, "price_collar_bps": "off",
    "prevent_self_crossing": False, "max_orders_per_minute": 20,
    "drawdown_reduce_size_percent": "off", "drawdown_reduce_only_percent": "off", "drawdown_halt_percent": "off",
    "max_order_notional_dollars": 10**6, "max_position_per_symbol_dollars": 3000,
}  # fmt: skip
QUANTITIES = st.sampled_from(["1", "7", "25", "60", "0.5"])
FINAL = ", ".join(f"'{status.value}'" for status in OrderStatus if status.is_final)
OPEN_SQL = f"SELECT * FROM orders WHERE symbol = ? AND status NOT IN ({FINAL})"
template: list[Path] = []


def fresh_folder() -> Path:
    """A copy of one prepared journal: making one anew takes a hundred times as long."""
    if not template:
        folder = Path(tempfile.mkdtemp(prefix="athena-guard-"))
        made = settings_in(folder)
        make_journal(made)
        guard = ExecutionGuard(made)
        for name, value in LOOSE.items():
            guard.set_limit(name, value)
        guard.close()
        remove_flag(made)
        template.append(folder)
    return Path(shutil.copytree(template[0], tempfile.mkdtemp(prefix="athena-guard-") + "/home"))


class GuardMachine(RuleBasedStateMachine):
    """The engine's guard and an operator's handle on one journal, and a venue that does what it was told."""

    @initialize()
    def begin(self) -> None:
        conftest._count = iter(range(10**9))  # the same names in every replay
        self.settings = settings_in(fresh_folder())
        self.handle = ExecutionGuard(self.settings)
        self.now, self.prices = NOON, dict.fromkeys(SYMBOLS, D(100))
        self.venue: dict[str, tuple[OrderIntent, Decimal]] = {}  # open there: intent, filled
        self.halted: list[tuple[str, Scope, str, Mode]] = []  # halts that returned: id, scope, target, mode
        self.start()
        self.resume_all()

    def start(self) -> None:
        self.guard = ExecutionGuard(self.settings)
        halt = self.guard.start()
        self.halted = [h for h in self.halted if h[1:] != (Scope.GLOBAL, "start", Mode.HALTED)]
        self.halted.append((halt.id, Scope.GLOBAL, "start", Mode.HALTED))
        for symbol in SYMBOLS:
            self.tell_quote(symbol)

    def tell_quote(self, symbol: str) -> None:
        price = self.prices[symbol]
        self.guard.on_quote(quote(symbol, str(price), str(price), self.now))

    # What the journal says, by the slowest and plainest way

    def held(self, symbol: str) -> Decimal:
        rows = self.handle.journal.query("SELECT side, quantity FROM fills WHERE symbol = ?", (symbol,))
        return sum((Decimal(q) * (1 if side == "buy" else -1) for side, q in rows), D(0))

    def open_shares(self, symbol: str, side: Side) -> Decimal:
        rows = self.handle.journal.query(OPEN_SQL, (symbol,))
        mine = [row for row in rows if row["side"] == side.value]
        return sum((Decimal(row["quantity"]) - Decimal(row["filled_quantity"]) for row in mine), D(0))

    def limit_of(self, name: str) -> Any:
        return self.handle.limits()[name]

    def applies(self, one: OrderIntent, mode: Mode) -> bool:
        def hit(scope: Scope, target: str) -> bool:
            return scope is Scope.GLOBAL or target == (one.symbol if scope is Scope.SYMBOL else one.strategy)

        return any(m is mode and hit(scope, target) for _, scope, target, m in self.halted)

    # What happens

    @rule(
        symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(list(Side)), quantity=QUANTITIES,
        strategy=st.sampled_from("st"), priced=st.booleans(), sent=st.integers(0, 9),
    )  # fmt: skip
    def submit(self, symbol: str, side: Side, quantity: str, strategy: str, priced: bool, sent: int) -> None:
        """A strategy's order: if it passes, everything the guard promises must hold by the plain count."""
        self.guard.gate.flag.renew(3600)
        facts = {"symbol": symbol, "strategy": strategy}
        one = limit(side, quantity, str(self.prices[symbol]), **facts) if priced else intent(side, quantity, **facts)
        held, price = self.held(symbol), self.prices[symbol]
        buys, sells = self.open_shares(symbol, Side.BUY), self.open_shares(symbol, Side.SELL)
        verdict = self.guard.admit(one, self.now)
        if not isinstance(verdict, Approved):
            return
        assert not self.applies(one, Mode.HALTED), "an order passed a halt that had returned"
        outcome = held + buys + one.quantity if side is Side.BUY else one.quantity + sells - held
        if outcome > 0:
            assert not self.applies(one, Mode.REDUCE_ONLY), "reduce-only let a position grow"
            assert outcome * price <= self.limit_of("max_position_per_symbol_dollars")
        self.send(verdict, sent)

    @rule(orders=st.lists(st.tuples(st.sampled_from(list(Side)), QUANTITIES, st.booleans()), min_size=2, max_size=6))
    def submit_some(self, orders: list[tuple[Side, str, bool]]) -> None:
        """A burst in one symbol: what is open counts for the next."""
        for side, quantity, priced in orders:
            self.submit("AAPL", side, quantity, "s", priced, 9)

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(list(Side)), quantity=st.sampled_from(["1", "7", "8"]))
    def wind_down(self, symbol: str, side: Side, quantity: str) -> None:
        """Reduce-only with a position: towards flat, to flat, through it, and the other way."""
        self.resume_all()
        self.hold(symbol, Side.BUY)
        self.halt((Scope.GLOBAL, ""), Mode.REDUCE_ONLY)
        for each in (side, side.opposite):
            self.submit(symbol, each, quantity, "t", False, 9)

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(list(Side)))
    def hold(self, symbol: str, side: Side) -> None:
        """Come to hold something, so that there is something to reduce, to exceed and to flip."""
        before = set(self.venue)
        self.submit(symbol, side, "7", "t", False, 9)
        for key in set(self.venue) - before:
            one, _ = self.venue.pop(key)
            take_order(self.guard, order(one, OrderStatus.FILLED, "7"))
            take_fill(self.guard, fill(one, "7", self.prices[symbol], self.now))

    @rule(symbol=st.sampled_from(SYMBOLS), share=st.sampled_from(["0.5", "1"]), minutes=st.sampled_from([0, 45]))
    def leave(self, symbol: str, share: str, minutes: int) -> None:
        """An operator's exit of what is free to close always passes."""
        held = self.held(symbol)
        side = Side.SELL if held > 0 else Side.BUY
        free = abs(held) - self.open_shares(symbol, side)
        if free <= 0:
            return
        one = intent(side, str(free * D(share)), symbol=symbol, purpose=Purpose.EXIT)
        verdict = self.guard.admit(one, self.now + timedelta(minutes=minutes))
        assert isinstance(verdict, Approved), verdict
        self.send(verdict, 9)

    def send(self, verdict: Approved, sent: int) -> None:
        with self.guard.sending(verdict) as clear:
            assert clear
            if sent:
                self.venue[verdict.client_order_id] = (verdict.intent, D(0))
                take_order(self.guard, order(verdict.intent, OrderStatus.NEW))
                return
        take_order(self.guard, order(verdict.intent, OrderStatus.NOT_SENT))

    @precondition(lambda self: self.venue)
    @rule(data=st.data(), whole=st.booleans(), report_first=st.booleans(), move=st.integers(-3, 3))
    def execute(self, data: st.DataObject, whole: bool, report_first: bool, move: int) -> None:
        """The venue fills an order, in part or whole; report and execution arrive in either order."""
        key = data.draw(st.sampled_from(list(self.venue)))
        one, done = self.venue[key]
        left = one.quantity - done
        quantity = left if whole else left / 2
        status = OrderStatus.FILLED if whole else OrderStatus.PARTIALLY_FILLED
        report = order(one, status, str(done + quantity))
        execution = fill(one, quantity, self.prices[one.symbol] + move, self.now)
        if report_first:
            take_order(self.guard, report)
        take_fill(self.guard, execution)
        if not report_first:
            take_order(self.guard, report)
        self.venue[key] = (one, done + quantity)
        if whole:
            del self.venue[key]

    @precondition(lambda self: self.venue)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.venue)))
        one, done = self.venue.pop(key)
        self.guard.on_cancel()
        take_order(self.guard, order(one, OrderStatus.CANCELED, str(done)))

    @rule(symbol=st.sampled_from(SYMBOLS), price=st.integers(50, 200), seconds=st.integers(0, 50))
    def move(self, symbol: str, price: int, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.prices[symbol] = D(price)
        for each in SYMBOLS:
            self.tell_quote(each)

    @rule(
        where=st.sampled_from([(Scope.GLOBAL, ""), (Scope.SYMBOL, "AAPL"), (Scope.STRATEGY, "s")]),
        mode=st.sampled_from([Mode.REDUCE_ONLY, Mode.HALTED]),
    )
    def halt(self, where: tuple[Scope, str], mode: Mode) -> None:
        halt = self.handle.halt("machine", scope=where[0], target=where[1], mode=mode)
        self.halted.append((halt.id, *where, mode))

    @rule(where=st.sampled_from([{}, {"symbol": "AAPL"}, {"strategy": "s"}]))
    def resume(self, where: dict[str, str]) -> None:
        cleared = {halt.id for halt in self.handle.resume(**where, reason="machine", override=True).cleared}
        self.halted = [halt for halt in self.halted if halt[0] not in cleared]
        assert {halt.id for halt in self.handle.halts()} == {halt[0] for halt in self.halted}

    @rule()
    def resume_all(self) -> None:
        """As an operator would after looking: everything, so that the machine also trades."""
        for where in ({}, {"symbol": "AAPL"}, {"strategy": "s"}):
            self.resume(where)

    @rule(
        name=st.sampled_from(["max_position_per_symbol_dollars", "max_gross_exposure_dollars"]),
        value=st.sampled_from([500, 3000, 20_000]),
    )
    def change_limit(self, name: str, value: int) -> None:
        self.handle.set_limit(name, value)

    @rule(where=st.sampled_from(["idle", "approved", "halting"]))
    def crash(self, where: str) -> None:
        """The engine dies, between admission and send too; the next one starts halted with the same book."""
        if where == "approved":
            self.guard.gate.flag.renew(3600)
            self.guard.admit(intent(Side.BUY, "1"), self.now)
        if where == "halting":
            self.guard.flag.halt()
        self.guard.close()
        self.start()
        if where == "halting":
            self.halted = [h for h in self.halted if h[0] in {halt.id for halt in self.handle.halts()}]
        for row in self.handle.journal.query("SELECT * FROM orders WHERE status = 'intended'"):
            update = {"client_order_id": row["client_order_id"], "broker_order_id": None, "status": "not_sent"}
            self.handle.journal.append("order.updated", update | {"filled_quantity": "0", "source": "reconciliation"})
            gone = order(intent(Side(row["side"]), row["quantity"], symbol=row["symbol"]), OrderStatus.NOT_SENT)
            self.guard.on_order(replace(gone, client_order_id=row["client_order_id"]))

    # What always holds

    @invariant()
    def counters_agree(self) -> None:
        """The book's shares, totals and rates equal a plain recount of the journal."""
        if not hasattr(self, "guard"):
            return
        book = self.guard.gate.book
        gross = D(0)
        for symbol in SYMBOLS:
            own, held = book.of(symbol), self.held(symbol)
            assert own.position == held
            buys, sells = self.open_shares(symbol, Side.BUY), self.open_shares(symbol, Side.SELL)
            assert (own.buys, own.sells) == (buys, sells)
            gross += max(held + buys, sells - held) * self.prices[symbol]
        assert book.gross == gross
        since = (self.now - timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        sql = "SELECT COUNT(*) FROM orders WHERE status != 'refused' AND purpose != 'exit' AND intended_venue_at > ?"
        counted = self.handle.journal.one(sql, (since,))
        assert counted is not None
        assert counted[0] == sum(1 for at in book.rates[""] if at > self.now - timedelta(seconds=60)) <= 20

    @invariant()
    def flag_is_never_laxer_than_the_journal(self) -> None:
        if hasattr(self, "guard") and any(h[1] is Scope.GLOBAL and h[3] is Mode.HALTED for h in self.halted):
            self.guard.gate.flag.renew(3600)
            assert not self.guard.flag.allows()

    def teardown(self) -> None:
        if hasattr(self, "guard"):
            self.guard.close()
            self.handle.close()
            remove_flag(self.settings)
            shutil.rmtree(self.settings.home.parent)


GuardMachine.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    print_blob=True,
)
TestGuardMachine = GuardMachine.TestCase
