"""`athena test-guards`: every limit driven to refusal and back, each on a guard of its own that nobody trades with.

A drill sets one limit so strict that it must act, does what provokes it, and wants the guard's refusal by the right
code; then it restores the limit and wants the same kind of order to reach the in-process venue again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from athena.errors import ApprovalNeeded, GuardError
from athena.live.limits import LIMITS
from athena.live.verdict import Code, Refused
from athena.model import BrokerState, OrderIntent, Origin, Side
from athena.ops.guard_scratch import EVENING, MORNING, SYMBOL, ScratchGuard
from athena.simulator.synthetic import SyntheticTape
from athena.simulator.tape import Tape

Step = Callable[[ScratchGuard], Awaitable[None]]
Order = Callable[[ScratchGuard], OrderIntent]
LARGE = 120  # shares: a round trip of these loses a few dollars of spread


@dataclass(frozen=True)
class DrillResult:
    """One limit: did it act as it must, by which code and numbers, and did trading come back."""

    limit: str
    acted: bool
    came_back: bool
    code: str
    evidence: str
    back: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.acted and self.came_back


async def _nothing(desk: ScratchGuard) -> None:
    pass


def _buy(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.BUY, 10)


def _too_many(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.BUY, 11_000)


@dataclass(frozen=True)
class Drill:
    """How one limit is driven: its strict value, what provokes it, the order it must refuse by `code`, the way back."""

    strict: Any
    code: str
    order: Order = _buy
    provoke: Step = _nothing
    recover: Step = _nothing
    back_order: Order | None = None
    others: Mapping[str, Any] = field(default_factory=dict)  # other limits, set before
    restored: Any = ...  # the default, unless it would refuse for its own reason
    cash: int = 100_000
    start: Any = MORNING
    warns: bool = False  # a warning on record, never a refusal


async def _one_order(desk: ScratchGuard) -> None:
    await desk.send(_buy(desk))


async def _quote_ages(desk: ScratchGuard) -> None:
    desk.clock.advance(seconds=5)  # and no new quote is told


async def _a_minute_later(desk: ScratchGuard) -> None:
    await desk.send(_buy(desk))
    await desk.step(60)


async def _a_trip(desk: ScratchGuard) -> None:
    await desk.round_trips(10)


async def _lose(desk: ScratchGuard) -> None:
    await desk.round_trips(LARGE, until_halted=True)


async def _fall(desk: ScratchGuard) -> None:
    """Lose a tenth of a per cent of a small account."""
    for _ in range(8):
        if desk.guard.gate.book.drawdown_percent >= Decimal("0.1") or not desk.guard.is_active:
            return
        await desk.round_trips(LARGE)


async def _rest_a_buy(desk: ScratchGuard) -> None:
    await desk.send(desk.intent(Side.BUY, 10, desk.quote.bid * Decimal("0.99")))


async def _cancel(desk: ScratchGuard) -> None:
    await _rest_a_buy(desk)
    desk.guard.on_cancel()
    await desk.broker.cancel_all()
    desk.broker.pump()


async def _disconnect(desk: ScratchGuard) -> None:
    desk.guard.on_broker_state(BrokerState.DISCONNECTED)
    await desk.wait_halted()


async def _reconnect(desk: ScratchGuard) -> None:
    desk.guard.on_broker_state(BrokerState.CONNECTED)
    desk.guard.lift(Origin.CONNECTIVITY, "reconnected and reconciled")


async def _raise_alone(desk: ScratchGuard) -> None:
    try:
        desk.limit("max_order_quantity", 1_000_000)
    except ApprovalNeeded:
        return
    raise GuardError("a limit was raised without a second approver")


async def _next_quote(desk: ScratchGuard) -> None:
    desk.guard.check(_buy(desk), desk.clock.now())  # takes up the changed limit; the next quote compares with it
    await desk.step(11)


async def _resume(desk: ScratchGuard) -> None:
    desk.resume()


async def _resume_symbol(desk: ScratchGuard) -> None:
    desk.resume(SYMBOL)


def _dear_limit(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.BUY, 10, desk.quote.ask * Decimal("1.01"))


def _limit_at_ask(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.BUY, 10, desk.quote.ask)


def _short(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.SELL, 10)


def _crossing(desk: ScratchGuard) -> OrderIntent:
    return desk.intent(Side.SELL, 10, desk.quote.bid * Decimal("0.985"))


_STREAK = {"max_consecutive_losses": "off"}  # it would act first
_NO_FIRST = _STREAK | {"drawdown_reduce_size_percent": "off"}
_NO_SECOND = _NO_FIRST | {"drawdown_reduce_only_percent": "off"}
DRILLS: Mapping[str, Drill] = {
    "max_daily_loss_dollars": Drill(1, "GUARD_HALTED", provoke=_lose, recover=_resume),
    "max_position_per_symbol_dollars": Drill(1, "POSITION_LIMIT"),
    "max_orders_per_minute": Drill(0, "ORDER_RATE"),
    "max_consecutive_losses": Drill(1, "REDUCE_ONLY", provoke=_a_trip, recover=_resume),
    "max_slippage_bps": Drill(
        "0.1",
        "GUARD_HALTED",
        provoke=_one_order,
        recover=_resume_symbol,
        others={"limit_orders_only_slippage_bps": "off"},
    ),
    "limit_orders_only_slippage_bps": Drill(
        "0.1", "LIMIT_ORDERS_ONLY", provoke=_one_order, back_order=_limit_at_ask, others={"max_slippage_bps": "off"}
    ),
    "max_disconnect_seconds": Drill(1, "GUARD_HALTED", provoke=_disconnect, recover=_reconnect),
    "drawdown_reduce_size_percent": Drill(
        "0.1", "ORDER_NOTIONAL", provoke=_fall, recover=_next_quote, cash=10_000,
        others=_STREAK | {"drawdown_size_factor": "0.01"}
    ),
    "drawdown_reduce_only_percent": Drill(
        "0.1", "REDUCE_ONLY", provoke=_fall, recover=_resume, cash=10_000, others=_NO_FIRST
    ),
    "drawdown_halt_percent": Drill(
        "0.1", "GUARD_HALTED", provoke=_fall, recover=_resume, cash=10_000, others=_NO_SECOND
    ),
    "drawdown_size_factor": Drill(
        "0.01", "ORDER_NOTIONAL", provoke=_fall, recover=_next_quote, cash=10_000,
        others=_STREAK | {"drawdown_reduce_size_percent": "0.1"}
    ),
    "max_order_notional_dollars": Drill(1, "ORDER_NOTIONAL"),
    "max_order_quantity": Drill(1, "ORDER_QUANTITY"),
    "price_collar_bps": Drill(1, "PRICE_COLLAR", order=_dear_limit),
    "max_quote_age_seconds": Drill(1, "QUOTE_STALE", provoke=_quote_ages),
    "max_participation_rate": Drill("0.0001", "PARTICIPATION"),
    "allowed_symbols": Drill(["MSFT"], "SYMBOL_NOT_ALLOWED"),
    "restricted_symbols": Drill([SYMBOL], "SYMBOL_NOT_ALLOWED"),
    "allow_short": Drill(False, "SHORT_NOT_ALLOWED", order=_short),
    "trading_session": Drill("regular", "SESSION_CLOSED", start=EVENING),
    "max_gross_exposure_dollars": Drill(1, "GROSS_EXPOSURE"),
    "max_net_exposure_dollars": Drill(1, "NET_EXPOSURE"),
    "min_buying_power_dollars": Drill(900_000_000, "BUYING_POWER"),
    "max_open_orders": Drill(0, "OPEN_ORDERS"),
    "max_open_orders_per_symbol": Drill(0, "OPEN_ORDERS"),
    "duplicate_order_window_seconds": Drill(
        3600, "DUPLICATE_ORDER", provoke=_a_minute_later, others={"max_duplicate_orders": 1}
    ),
    "max_duplicate_orders": Drill(1, "DUPLICATE_ORDER", provoke=_one_order),
    "max_identical_executions": Drill(1, "IDENTICAL_EXECUTIONS", provoke=_one_order),
    "prevent_self_crossing": Drill(
        True, "SELF_CROSSING", order=_crossing, provoke=_rest_a_buy, back_order=_crossing, restored=True
    ),
    "max_messages_per_minute": Drill(1, "MESSAGE_RATE", provoke=_one_order),
    "max_cancels_per_minute": Drill(0, "CANCEL_RATE", provoke=_cancel, warns=True),
    "require_second_approver": Drill(
        True, "ORDER_QUANTITY", order=_too_many, provoke=_raise_alone, back_order=_buy, restored=True
    ),
}  # fmt: skip


async def run(
    tell: Callable[[DrillResult], None], names: Sequence[str] = (), drills: Mapping[str, Drill] = DRILLS
) -> list[DrillResult]:
    """Every limit's drill, one after the other; a limit that has no drill fails."""
    tape, results = SyntheticTape(7, (SYMBOL,)), []
    for name in names or LIMITS:
        begun = time.perf_counter()
        drill = drills.get(name)
        if drill is None:
            result = DrillResult(name, False, False, "", "no drill knows this limit", "", 0.0)
        else:
            result = await _run_one(name, drill, tape, begun)
        results.append(result)
        tell(result)
    return results


async def _run_one(name: str, drill: Drill, tape: Tape, begun: float) -> DrillResult:
    acted = came_back = False
    code = evidence = back = ""
    try:
        async with ScratchGuard(tape, drill.cash, drill.start) as desk:
            for other, value in drill.others.items():
                desk.limit(other, value)
            desk.limit(name, drill.strict)
            await drill.provoke(desk)
            acted, code, evidence = await _provoked(desk, drill)
            desk.limit(name, LIMITS[name].default if drill.restored is ... else drill.restored)
            await drill.recover(desk)
            if name == "prevent_self_crossing":  # the venue refuses a crossing too: the way back is the cancel
                await desk.broker.cancel_all()
                desk.broker.pump()
            came_back, back = await _passes(desk, drill.back_order or drill.order)
    except Exception as error:  # one drill that breaks is a failed drill, not the end of the others
        evidence = f"{evidence} {type(error).__name__}: {error}".strip()
    return DrillResult(name, acted, came_back, code, evidence, back, time.perf_counter() - begun)


async def _provoked(desk: ScratchGuard, drill: Drill) -> tuple[bool, str, str]:
    if drill.warns:
        row = desk.guard.journal.one("SELECT * FROM violations WHERE code = ?", (drill.code,))
        found = row is not None and row["action"] == "warned"
        return found, drill.code if row else "", f"{row['observed']} against {row['limit_value']}" if row else "silent"
    verdict = await desk.send(drill.order(desk))
    if not isinstance(verdict, Refused):
        return False, "", "it passed"
    journaled = desk.guard.journal.one(
        "SELECT code FROM violations WHERE client_order_id IS NOT NULL ORDER BY sequence DESC LIMIT 1"
    )
    on_record = journaled is not None and journaled["code"] == verdict.code
    is_halt = verdict.code in {Code.GUARD_HALTED, Code.REDUCE_ONLY} or not verdict.limit
    compared = verdict.message.split(" [")[0] if is_halt else f"{verdict.observed} against {verdict.limit}"
    told = compared if verdict.code == drill.code else f"expected {drill.code}: {verdict.message}"
    return verdict.code == drill.code and on_record, str(verdict.code), told if on_record else f"{told}; NOT JOURNALED"


async def _passes(desk: ScratchGuard, order: Order) -> tuple[bool, str]:
    intent = order(desk)
    verdict = await desk.send(intent)
    if isinstance(verdict, Refused):
        return False, f"{verdict.code}: {verdict.message}"
    status = desk.orders.order(intent.client_order_id).status
    return True, f"{intent.side.value} {intent.quantity} {status.value.replace('_', ' ')} at the venue"
