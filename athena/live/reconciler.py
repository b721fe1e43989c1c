"""What the engine does with a look at the venue: take in what is certain, halt what keeps differing.

A symbol's difference halts that symbol. A difference in cash halts nothing by itself, for positions and exposure are
known all the same; but it makes the day's loss wrong by as much, so past a quarter of the loss limit everything halts.
A reconciliation with any difference is not ok, and without an ok one nothing resumes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.core.comparison import Kind
from athena.journal.codec import from_text
from athena.live import averages
from athena.live import reconciliation as compare
from athena.live.amending import amend
from athena.live.cash_flows import new_flows
from athena.live.events import Reconcile, ReconciliationDone, Resolve
from athena.live.order_breaks import compare_orders, is_young, settle, unfollowed
from athena.live.order_news import take_execution
from athena.live.order_payloads import EXTERNAL, in_shares
from athena.live.reconciliation import (
    ACCOUNT,
    PERSISTS,
    QUERY,
    Break,
    Doubt,
    Outcome,
    PersistentBreaks,
    VenueLook,
    key_of,
)
from athena.model import ZERO, BrokerState, Origin, Scope

if TYPE_CHECKING:
    from athena.live.engine import Engine

OVERLAP = timedelta(minutes=5)  # of venue time: clocks differ, and an execution may be listed late
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 1.0, 15.0  # longer each time while it is only that orders keep filling
FAILED_AGAIN_SECONDS = 5.0
STREAM_SECONDS = 2.0  # of machine time: an execution younger than this may still come by the stream
LOSS_SHARE = Decimal("0.25")  # of the daily loss limit: more cash unexplained than this, and the limit judges fiction


class Reconciler:
    """Applies looks to the engine's books; `last` is the latest outcome, `count` how many there were."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._persistent = PersistentBreaks()
        self._averages: set[str] | None = None  # symbols whose average price differed; None: not read yet
        self._recorded: set[str] = set()  # evidence of differences that are violations already
        self._pause_seconds = AGAIN_SECONDS / 2  # since the last look that only fills kept from agreeing
        self.last: Outcome | None = None
        self.count = 0
        self.untold: dict[str, float] = {}  # executions found here that the stream owes us, with the monotonic time
        self.unlearned: set[str] = set()  # orders of executions taken in here, asked for until the venue tells them
        self.doubts: tuple[Break, ...] = ()  # what makes every outcome not ok, whatever the venue says

    def after(self) -> datetime | None:
        """Since when the venue is asked for fills: shortly before the last look that agreed, not before binding."""
        one = self._engine.journal.one
        bound = one("SELECT bound_at FROM account")
        if bound is None:
            return None
        start = from_text(bound["bound_at"])
        row = one("SELECT venue_at FROM reconciliations WHERE ok = 1 ORDER BY sequence DESC LIMIT 1")
        # A venue whose clock was set back tells executions of before the time at which the books last agreed.
        return start if row is None else max(start, min(from_text(row["venue_at"]), self._engine.clock.now()) - OVERLAP)

    def doubt(self) -> Doubt:
        """The orders that the next look asks for: of symbols whose shares or averages differed, for cash of all held.

        Days back, for an average as far as its holding goes.
        """
        engine, after = self._engine, self.after()
        if self._averages is None:
            self._averages = averages.differing(engine.journal)
        found = self._persistent.symbols | self._averages
        if self._persistent.cash:
            found |= set(engine.fills_seen) | set(engine.held())
        since = [averages.holding(engine.journal, symbol).since for symbol in self._averages]
        first = min(filter(None, [after, *since]), default=None)
        return Doubt(frozenset(found), None if first is None else first - compare.DOUBT_DAYS)

    def take(self, event: ReconciliationDone) -> None:
        """Journal what a look brought; its outcome is `last`."""
        engine = self._engine
        if event.look is None:
            failed = Break(QUERY, "", "", "", event.error, "asked again; nothing was concluded")
            outcome = Outcome(event.trigger, False, (failed,), {}, settled=False)
        elif (number := self._number()) not in ("", event.look.account.account_number):
            other = compare.another_account(event.look.account, number)
            counts = self._persistent.count([other], set())
            other = self._act(other) if counts[key_of(other)] >= PERSISTS else other
            outcome = Outcome(event.trigger, False, (other,), {}, settled=counts[key_of(other)] >= PERSISTS)
        else:
            outcome = self._compare(event.trigger, event.look)
        # Fills are asked for from the last agreeing look on, so its time must not be later than when it began.
        venue_at = engine.clock.now() if event.asked_venue_at is None else event.asked_venue_at
        engine.journal.append("reconciliation", outcome.payload(), venue_at)
        self.last, self.count = outcome, self.count + 1
        if not outcome.settled and not engine.stopping:
            pause = max(self._pause_seconds, AGAIN_SECONDS)
            engine.emit(Reconcile("again", pause if event.look else FAILED_AGAIN_SECONDS))

    def _number(self) -> str:
        row = self._engine.journal.one("SELECT account_number FROM account")
        return "" if row is None else str(row["account_number"])

    def _compare(self, trigger: str, look: VenueLook) -> Outcome:
        engine = self._engine
        repaired, new_fills, new_flows = self._take_in(look)
        engine.guard.on_account(look.account)
        if engine.broker.state is BrokerState.CONNECTED:
            engine.duties.unsure_since = None  # what is held is known again, or its difference is told
        moving = self._moving(look.fills_before)
        found = compare.compare_positions(engine.held(), look.positions, moving)
        if not moving:
            found += compare.compare_cash(engine.portfolio.cash, look.account.cash)
        found += compare_orders(engine, look) + compare.compare_account(look.account) + list(self.doubts)
        prices = compare.compare_prices(engine.portfolio.positions(), look.positions, moving)
        self._averages = {item.symbol for item in prices} | (moving & (self._averages or set()))
        certain, uncertain = averages.judge(engine.journal, prices, look.doubted)
        found += uncertain
        counts = self._persistent.count(found, moving)
        doubtful = {item.symbol for item in found if item.kind == Kind.QUANTITY} | moving
        breaks, gone = [], []
        for item in found:
            persists = counts[key_of(item)] >= PERSISTS
            if persists and item.kind == Kind.PHANTOM and item.symbol not in doubtful and is_young(engine, item):
                breaks.append(item)
            elif persists and (mended := settle(engine, item, look, doubtful)) is not None:
                gone.append(mended)
            else:
                breaks.append(self._act(item) if persists else item)
        unasked = {tracked.symbol for name in look.unasked if (tracked := engine.book.get(name)) is not None}
        clean = not breaks and not moving and not unasked
        self._lift({item.symbol for item in breaks if item.symbol} | unasked, found, moving, clean=clean)
        unsure = bool(unasked) or any(counts[key_of(item)] < PERSISTS for item in breaks)
        settled = not (moving or unsure)
        longer = min(self._pause_seconds * 2, AGAIN_SECONDS_MAX)
        self._pause_seconds = AGAIN_SECONDS / 2 if settled or unsure else longer
        checked = {
            "orders": len(look.open_orders), "positions": len(look.positions), "fills": len(look.fills),
            "new_fills": new_fills, "new_cash_flows": new_flows, "cash": look.account.cash, "moving": sorted(moving),
            "external": [order.client_order_id for order in engine.book if order.strategy == EXTERNAL],
            "prices": [item.payload() for item in certain], "unasked": len(look.unasked),
        }  # fmt: skip
        return Outcome(trigger, clean, tuple(breaks), checked, settled, (*repaired, *gone))

    # ------------------------------------------------------------------------------------------------- what is certain

    def _take_in(self, look: VenueLook) -> tuple[list[Break], int, int]:
        """What is certain, as events: orders as the venue has them, fills, amendments and cash flows we missed."""
        engine, now, repaired = self._engine, self._engine.clock.now(), []
        looked_up = [order for order in look.looked_up.values() if order is not None]
        for order in [*look.open_orders, *looked_up]:
            if (item := unfollowed(engine, order)) is not None:
                repaired.append(item)
            engine.follow_up(engine.book.take(order, None, "reconciliation", order.updated_at or now))
            if order.quantity is None:  # for dollars: what these buy moves with the price, and no row keeps it
                engine.guard.on_order(in_shares(order, engine.market.mark(order.symbol)))
        fills = 0
        speed = getattr(engine.clock, "speed", 1.0)
        for fill in look.fills:
            if not take_execution(engine, fill, "reconciliation"):
                continue
            fills += 1
            age = (now - fill.at).total_seconds() / speed
            if engine.is_open and age + STREAM_SECONDS < engine.broker.get_uptime():
                self.untold[fill.execution_id] = time.monotonic()
            if age > STREAM_SECONDS:
                told = f"{fill.side.value} {fill.quantity:f} at {fill.price:f}"
                evidence = f"execution {fill.execution_id}, {told} at {fill.at:%H:%M:%S} UTC, never came by the stream"
                repaired.append(Break(Kind.MISSING_FILL, fill.symbol, "none", told, evidence, "taken in"))
        moving = self._moving(look.fills_before)
        for order in look.doubted:  # what fills during the look is in our books, and not yet in what was listed
            repaired += [] if order.symbol in moving else amend(engine, order)
        self.unlearned = {name for name in self.unlearned if not engine.book.knows(name)}
        for name in sorted(self.unlearned)[: compare.LOOKUPS_MAX]:
            engine.emit(Resolve(name))
        flows = self._new_flows(look)
        return repaired, fills, flows

    def _new_flows(self, look: VenueLook) -> int:
        engine = self._engine
        flows = new_flows(engine.journal, look.cash_flows, engine.clock.now())
        for flow, payload in flows:
            engine.journal.append("cash_flow", payload, flow.at)
            engine.portfolio.apply_cash_flow(flow)
            engine.guard.on_cash_flow(flow)
        return len(flows)

    # --------------------------------------------------------------------------------------------------- what is not

    def _moving(self, before: Mapping[str, int]) -> set[str]:
        seen = self._engine.fills_seen
        return {symbol for symbol, count in seen.items() if count != before.get(symbol, 0)}

    def _act(self, item: Break) -> Break:
        """Halt for a difference that persists; an order that is being searched for has its own time."""
        engine = self._engine
        searched = engine.book.get(item.difference)
        if searched is not None and searched.resolving:
            return item
        scope, target = (Scope.SYMBOL, item.symbol) if item.symbol else (Scope.GLOBAL, "")
        if not (item.symbol or item.kind == ACCOUNT or self._judges_fiction(item)):
            self._record(item, "reported; it blocks a resume")
            return item
        halted = f"{target or 'everything'} is halted"
        standing = any(
            halt.origin is Origin.RECONCILIATION and halt.scope is scope and halt.target == target
            for halt in engine.guard.halts()
        )
        if not standing:
            reason = f"{item.kind}: {item.evidence}; ours {item.ours or 'none'}, theirs {item.theirs or 'none'}"
            engine.guard.halt(reason, scope=scope, target=target, origin=Origin.RECONCILIATION, owner="engine")
            self._record(item, halted)
        return replace(item, action=halted)

    def _judges_fiction(self, item: Break) -> bool:
        """True when cash differs by so much that the daily loss limit no longer judges the day's loss."""
        limit = self._engine.guard.limits()["max_daily_loss_dollars"]
        if item.kind != Kind.CASH or not isinstance(limit, Decimal):
            return False
        return abs(Decimal(item.difference or ZERO)) > limit * LOSS_SHARE

    def _record(self, item: Break, action: str) -> None:
        """One violation for each difference that persists, not one a look."""
        if item.evidence in self._recorded:
            return
        self._recorded.add(item.evidence)
        facts = {"code": "RECONCILIATION", "message": item.evidence, "symbol": item.symbol, "action": action}
        facts |= {"observed": item.theirs, "limit_value": item.ours}
        self._engine.journal.append("violation", facts, self._engine.clock.now())

    def _lift(self, doubtful: set[str], found: list[Break], moving: set[str], *, clean: bool) -> None:
        """Lift reconciliation's own halts where the books agree again, and connectivity's after a clean look."""
        engine, doubtful = self._engine, doubtful | moving
        # While something moves cash was not compared, and what was not compared does not agree.
        everything_doubtful = bool(moving) or any(item.kind in (ACCOUNT, Kind.CASH) for item in found)
        for halt in engine.guard.halts():
            if halt.origin is Origin.RECONCILIATION:
                if halt.target in doubtful if halt.target else everything_doubtful:
                    continue
                why = "the books agree with the venue again"
                engine.guard.lift(Origin.RECONCILIATION, why, scope=halt.scope, target=halt.target)
            if halt.origin is Origin.CONNECTIVITY and clean and engine.broker.state is BrokerState.CONNECTED:
                engine.guard.lift(Origin.CONNECTIVITY, "reconnected, and the books agree with the venue")
