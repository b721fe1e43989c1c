"""What the guard does by itself: a breached limit halts, restricts or shrinks, once, with its evidence in the journal.

Looks are cheap enough for every quote. Nothing here raises into the engine: a halt that cannot be journaled still
stands in the flag.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.errors import AthenaError
from athena.live.guard_checks import MINUTE_NS
from athena.live.guard_flag import boottime_ns
from athena.live.guard_rules import Halt, Rules
from athena.live.verdict import Code
from athena.model import ZERO, Fill, Mode, Origin, Scope

if TYPE_CHECKING:
    from athena.live.guard_gate import Gate

_RETRY_NS = 5_000_000_000
LOSS, LOSSES, SLIPPAGE = "max_daily_loss_dollars", "max_consecutive_losses", "max_slippage_bps"
DRAWDOWN_HALT, DRAWDOWN_REDUCE = "drawdown_halt_percent", "drawdown_reduce_only_percent"


class Acting:
    """The automatic answers of one gate."""

    def __init__(self, gate: Gate, halt: Callable[..., Halt]) -> None:
        self.gate, self._halt = gate, halt
        self._retry_ns = 0  # a halt that could not be journaled is tried again then, not at every quote
        self._warned_ns = -MINUTE_NS
        self._began = gate.journal.head()[0]  # what was overridden before the engine's start acknowledges nothing
        self._adopt(gate.rules)

    def _adopt(self, rules: Rules) -> None:
        """Take the thresholds out of the rules: the looks only compare."""
        bounds = rules.bounds("", "")
        self._loss, self._losses = bounds.max_daily_loss_dollars, bounds.max_consecutive_losses
        self._shrink, self._factor = bounds.drawdown_reduce_size_percent, bounds.drawdown_size_factor
        self._reduce, self._stop = bounds.drawdown_reduce_only_percent, bounds.drawdown_halt_percent
        owners = {halt.owner for halt in rules.halts if halt.origin is Origin.GUARD}
        self._looks = (
            LOSS not in owners,
            LOSSES not in owners,
            DRAWDOWN_HALT not in owners,
            DRAWDOWN_REDUCE not in owners,
        )

    def rules_changed(self, before: Rules, after: Rules) -> None:
        """A guard's halt that was cleared is acknowledged: it counts anew from here, or it would come straight back.

        A day's loss over its limit is acknowledged by an operator's override of a halt of everything only: the lift of
        another halt, which the system may do by itself, grants no loss beyond what was acknowledged.
        """
        book = self.gate.book
        loss = book.daily_loss
        over = loss if loss is not None and loss >= after.bounds("", "").max_daily_loss_dollars else ZERO
        stopped = {h.id for h in before.halts if h.scope is Scope.GLOBAL and h.mode is Mode.HALTED}
        if self._overridden(stopped - {halt.id for halt in after.halts}):
            book.loss_acknowledged = over
        elif before.mode is Mode.HALTED and after.mode is not Mode.HALTED:
            book.loss_acknowledged = min(book.loss_acknowledged, over)
        gone = {halt.owner for halt in before.halts} - {halt.owner for halt in after.halts}
        if LOSSES in gone:
            book.results.clear()
            book.losses = 0
        if gone & {DRAWDOWN_HALT, DRAWDOWN_REDUCE}:
            book.peak = book.equity - book.all_transfers
        after.scale(before.factor)
        self._adopt(after)

    def _overridden(self, cleared: set[str]) -> bool:
        """Whether one of these halts was cleared against the checklist; False where that cannot be read."""
        try:
            clearings = self.gate.journal.events(self._began, ("halt.cleared",)) if cleared else ()
            return any(event.payload["id"] in cleared and event.payload.get("override") for event in clearings)
        except (AthenaError, OSError, ValueError):
            return False

    def look(self, venue_at: datetime) -> None:
        """Compare loss, losing streak and drawdown with their limits after anything moved them."""
        book = self.gate.book
        watch_loss, watch_losses, watch_stop, watch_reduce = self._looks
        loss = book.daily_loss
        if watch_loss and loss is not None and not loss - book.loss_acknowledged < self._loss:
            self.act(
                LOSS,
                Code.DAILY_LOSS,
                f"the day's loss is ${loss:,.2f} of ${self._loss:,.2f}",
                f"{loss}",
                self._loss,
                venue_at,
            )
        if watch_losses and not book.losses < self._losses:
            why = f"{book.losses} closing orders in a row lost money"
            self.act(
                LOSSES, Code.CONSECUTIVE_LOSSES, why, f"{book.losses}", self._losses, venue_at, mode=Mode.REDUCE_ONLY
            )
        level = book.cash + book.value - book.all_transfers
        if level >= book.peak:
            book.peak = level
            if self.gate.rules.factor != 1:
                self.gate.rules.scale(Decimal(1))
            return
        fall = book.drawdown_percent
        if fall >= self._shrink:
            self.gate.rules.scale(self._factor)
        elif self.gate.rules.factor != 1:
            self.gate.rules.scale(Decimal(1))
        if fall >= self._stop:
            if watch_stop:
                self.act(
                    DRAWDOWN_HALT, Code.DRAWDOWN, f"{fall:.2f}% below the peak", f"{fall:.4f}", self._stop, venue_at
                )
        elif fall >= self._reduce and watch_reduce and watch_stop:
            self.act(
                DRAWDOWN_REDUCE,
                Code.DRAWDOWN,
                f"{fall:.2f}% below the peak",
                f"{fall:.4f}",
                self._reduce,
                venue_at,
                mode=Mode.REDUCE_ONLY,
            )

    def slipped(self, fill: Fill, bps: Decimal) -> None:
        """An order's slippage so far: past one limit, limit orders only today; past the other, the symbol halts."""
        symbol, rules = self.gate.book.of(fill.symbol), self.gate.rules
        bounds = rules.bounds(fill.symbol, fill.strategy)
        facts: dict[str, Any] = {
            "symbol": fill.symbol,
            "strategy": fill.strategy,
            "client_order_id": fill.client_order_id,
        }
        what = f"{fill.side.value} {fill.quantity} at {fill.price}, order {fill.client_order_id}"
        evidence = f"{what}: {bps:.1f} bps worse than the mid"
        if bps >= bounds.limit_orders_only_slippage_bps and not symbol.limit_orders_only:
            symbol.limit_orders_only = True
            limit = bounds.limit_orders_only_slippage_bps
            self._record(
                Code.LIMIT_ORDERS_ONLY, evidence, f"{bps:.2f}", limit, fill.at, "limit orders only today", **facts
            )
        if bps > bounds.max_slippage_bps and not rules.owned_by(SLIPPAGE, fill.symbol):
            self.act(
                SLIPPAGE,
                Code.SLIPPAGE,
                evidence,
                f"{bps:.2f}",
                bounds.max_slippage_bps,
                fill.at,
                scope=Scope.SYMBOL,
                target=fill.symbol,
                **facts,
            )

    def cancelled(self, now_ns: int) -> None:
        """Count a cancel; too many in a minute are a violation on record, once a minute, and nothing more."""
        book, bound = self.gate.book, self.gate.rules.bounds("", "").max_cancels_per_minute
        book.messages.append(now_ns)
        book.cancels.append(now_ns)
        while book.cancels[0] <= now_ns - MINUTE_NS:
            book.cancels.popleft()
        if not len(book.cancels) <= bound and now_ns - self._warned_ns > MINUTE_NS:
            self._warned_ns = now_ns
            self._record(Code.CANCEL_RATE, "many cancels in a minute", f"{len(book.cancels)}", bound, None, "warned")

    def act(
        self, owner: str, code: Code, reason: str, observed: str, limit: Any, venue_at: datetime | None, *,
        mode: Mode = Mode.HALTED, scope: Scope = Scope.GLOBAL, target: str = "", origin: Origin = Origin.GUARD,
        **facts: Any,
    ) -> None:  # fmt: skip
        """Halt by a rule, with the violation beside it; at most once until the halt is cleared."""
        if boottime_ns() < self._retry_ns:
            return
        try:
            self._halt(reason, scope=scope, target=target, mode=mode, origin=origin, owner=owner, venue_at=venue_at)
        except AthenaError:
            # The rule stands even where it cannot be written down: everything halts, in every process; the guardian
            # records that halt once the journal can be written again.
            self.gate.flag.halt()
            self._retry_ns = boottime_ns() + _RETRY_NS
            return
        if origin is Origin.GUARD:  # the book is its own thread's: the guardian's halt is read at the next news
            self.gate.reload()
        self._record(code, reason, observed, limit, venue_at, f"{scope.value} {mode.value}", **facts)

    def _record(
        self, code: Code, message: str, observed: str, limit: Any, venue_at: datetime | None, action: str, **facts: Any
    ) -> None:
        payload = {
            "code": str(code),
            "message": message,
            "observed": observed,
            "limit_value": f"{limit}",
            "action": action,
            **facts,
        }
        try:
            self.gate.journal.append("violation", payload, venue_at)
        except (AthenaError, OSError, ValueError, TypeError):
            pass  # the restriction itself is in force; its line in the table is lost with the journal
