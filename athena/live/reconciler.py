"""What the engine does with a look at the venue: take in what is certain, halt what keeps differing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from athena.journal.codec import from_text
from athena.live.events import Reconcile, ReconciliationDone
from athena.live.reconciliation import (
    PERSISTS,
    Break,
    Outcome,
    PersistentBreaks,
    VenueLook,
    compare_cash,
    compare_positions,
)
from athena.model import BrokerState, OrderStatus, Origin, Scope

if TYPE_CHECKING:
    from athena.live.engine import Engine

OVERLAP = timedelta(minutes=5)  # of venue time: clocks differ, and an execution may be listed late
AGAIN_SECONDS = 1.0
FAILED_AGAIN_SECONDS = 5.0


class Reconciler:
    """Applies looks to the engine's books; `last` is the latest outcome, `count` how many there were."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._persistent = PersistentBreaks()
        self.last: Outcome | None = None
        self.count = 0

    def after(self) -> datetime | None:
        """Since when the venue is asked for fills: shortly before the last look that agreed, not before binding."""
        one = self._engine.journal.one
        bound = one("SELECT bound_at FROM account")
        if bound is None:
            return None
        start = from_text(bound["bound_at"])
        row = one("SELECT venue_at FROM reconciliations WHERE ok = 1 ORDER BY sequence DESC LIMIT 1")
        return start if row is None else max(start, from_text(row["venue_at"]) - OVERLAP)

    def take(self, event: ReconciliationDone) -> None:
        """Journal what a look brought; its outcome is `last`."""
        if event.look is None:
            failed = Break("query", "", "", "", event.error, "asked again; nothing was concluded")
            outcome = Outcome(event.trigger, False, (failed,), {}, settled=False)
        else:
            outcome = self._compare(event.trigger, event.look)
        engine = self._engine
        # Fills are asked for from the last agreeing look on, so its time must not be later than when it began.
        venue_at = engine.clock.now() if event.asked_venue_at is None else event.asked_venue_at
        engine.journal.append("reconciliation", outcome.payload(), venue_at)
        self.last, self.count = outcome, self.count + 1
        if not outcome.settled and not engine.stopping:
            engine.emit(Reconcile("again", AGAIN_SECONDS if event.look else FAILED_AGAIN_SECONDS))

    def _compare(self, trigger: str, look: VenueLook) -> Outcome:
        engine = self._engine
        new_fills, new_flows = self._take_in(look)
        engine.guard.on_account(look.account)
        moving = self._moving(look.fills_before)
        found = compare_positions(engine.held(), look.positions, moving)
        if not moving:
            found += compare_cash(engine.portfolio.cash, look.account.cash)
        orders = self._order_breaks(look)
        counts = self._persistent.count([*found, *orders], moving)
        breaks = tuple(self._act(item, counts[item.kind, item.symbol]) for item in [*found, *orders])
        self._lift({item.symbol for item in breaks} | moving, clean=not breaks and not moving)
        settled = not moving and all(counts[item.kind, item.symbol] >= PERSISTS for item in breaks)
        checked = {
            "orders": len(look.open_orders), "positions": len(look.positions), "fills": len(look.fills),
            "new_fills": new_fills, "new_cash_flows": new_flows, "cash": look.account.cash, "moving": sorted(moving),
        }  # fmt: skip
        return Outcome(trigger, not breaks and not moving, breaks, checked, settled)

    def _take_in(self, look: VenueLook) -> tuple[int, int]:
        """What is certain, as events: orders as the venue has them, fills and cash flows we missed."""
        engine, now = self._engine, self._engine.clock.now()
        fills = 0
        for order in [*look.open_orders, *(order for order in look.looked_up.values() if order is not None)]:
            engine.follow_up(engine.book.take(order, None, "reconciliation", order.updated_at or now))
        for fill in look.fills:
            fills += engine.own_fills(fill, "reconciliation")
        known = {row["id"] for row in engine.journal.query("SELECT id FROM cash_flows")} if look.cash_flows else set()
        flows = [flow for flow in look.cash_flows if flow.id not in known]
        for flow in flows:
            names = ("id", "kind", "amount", "at", "description")
            engine.journal.append("cash_flow", {name: getattr(flow, name) for name in names}, flow.at)
            engine.portfolio.apply_cash_flow(flow)
            engine.guard.on_cash_flow(flow)
        return fills, len(flows)

    def _moving(self, before: Mapping[str, int]) -> set[str]:
        seen = self._engine.fills_seen
        return {symbol for symbol, count in seen.items() if count != before.get(symbol, 0)}

    def _order_breaks(self, look: VenueLook) -> list[Break]:
        engine, breaks = self._engine, []
        for name, order in look.looked_up.items():
            tracked = engine.book.get(name)
            if order is None and tracked is not None and tracked.status.is_open and tracked.answered:
                text, status = f"our open order {name} is unknown to the venue", tracked.status.value
                breaks.append(Break("phantom order", tracked.symbol, status, "none", text, difference=name))
        for order in look.open_orders:
            if engine.book.get(order.client_order_id) is None:  # final here, open there
                name, theirs = order.client_order_id, order.status.value
                ours = engine.book.order(name).status.value
                text = f"order {name} is {ours} in our books and open at the venue"
                breaks.append(Break("reopened order", order.symbol, ours, theirs, text, difference=name))
        for tracked in engine.book.unanswered():
            if tracked.status is OrderStatus.UNKNOWN or tracked.resolving:
                text = f"order {tracked.client_order_id} was sent and no answer was found yet"
                name = tracked.client_order_id
                breaks.append(
                    Break("unanswered order", tracked.symbol, tracked.status.value, "", text, "looked up", name)
                )
        return breaks

    def _act(self, item: Break, times: int) -> Break:
        """Halt the symbol of a difference that persists; an order that is being searched for has its own time."""
        engine = self._engine
        searched = engine.book.get(item.difference)
        if times < PERSISTS or not item.symbol or (searched is not None and searched.resolving):
            return item
        standing = any(
            halt.origin is Origin.RECONCILIATION and halt.scope is Scope.SYMBOL and halt.target == item.symbol
            for halt in engine.guard.halts()
        )
        if not standing:
            reason = f"{item.kind}: {item.evidence}; ours {item.ours or 'none'}, theirs {item.theirs or 'none'}"
            engine.guard.halt(
                reason, scope=Scope.SYMBOL, target=item.symbol, origin=Origin.RECONCILIATION, owner="engine"
            )
        return replace(item, action=f"{item.symbol} is halted")

    def _lift(self, doubtful: set[str], *, clean: bool) -> None:
        """Lift reconciliation's own halts where the books agree again, and connectivity's after a clean look."""
        engine = self._engine
        for halt in engine.guard.halts():
            if halt.origin is Origin.RECONCILIATION and halt.target not in doubtful:
                why = "the books agree with the venue again"
                engine.guard.lift(Origin.RECONCILIATION, why, scope=Scope.SYMBOL, target=halt.target)
            if halt.origin is Origin.CONNECTIVITY and clean and engine.broker.state is BrokerState.CONNECTED:
                engine.guard.lift(Origin.CONNECTIVITY, "reconnected, and the books agree with the venue")
