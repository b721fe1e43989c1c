"""The execution guard: signatures first, bodies follow (being built)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from athena.config import Settings
from athena.live.verdict import Approved, Refused
from athena.model import Account, CashFlow, Clock, Fill, Mode, Order, OrderIntent, Origin, Quote, Scope, Trade


@dataclass(frozen=True, slots=True)
class Halt:
    """One restriction with its owner; cleared only by its id. `clean` is False when an order may still be on its way."""

    id: str
    scope: Scope
    target: str
    mode: Mode
    origin: Origin
    owner: str
    reason: str
    nonce: int
    at: datetime
    expires_at: datetime | None = None
    clean: bool = True
    detail: str = ""  # of the wait: "" when clean, else what was in flight


@dataclass(frozen=True, slots=True)
class Resumed:
    """Which halts a resume cleared, and which restrictions remain."""

    cleared: tuple[Halt, ...]
    remaining: tuple[Halt, ...]
    override: bool
    engine_running: bool


class ExecutionGuard:
    """A handle to the one guard of a live system; any process may hold one, the engine's also admits orders."""

    @classmethod
    def get_instance(cls, settings: Settings | None = None) -> ExecutionGuard: ...

    # any process
    def get_status(self) -> Any: ...
    def halt(
        self,
        reason: str,
        *,
        scope: Scope = Scope.GLOBAL,
        target: str = "",
        mode: Mode = Mode.HALTED,
        origin: Origin = Origin.OPERATOR,
        owner: str = "",
        expires_at: datetime | None = None,
    ) -> Halt: ...
    def resume(
        self,
        symbol: str | None = None,
        strategy: str | None = None,
        reason: str = "",
        *,
        halt_ids: tuple[str, ...] | None = None,
        override: bool = False,
    ) -> Resumed: ...
    def lift(self, origin: Origin, reason: str, *, scope: Scope | None = None, target: str = "") -> tuple[Halt, ...]:
        """Clear only the halts of one automatic origin (connectivity, reconciliation) once their cause has gone."""

    async def force_halt(self, reason: str = "", symbol: str | None = None, strategy: str | None = None) -> Halt: ...
    async def resume_trading(
        self, symbol: str | None = None, strategy: str | None = None, reason: str = "", *, override: bool = False
    ) -> Resumed: ...
    def halts(self) -> tuple[Halt, ...]: ...
    def set_limit(self, name: str, value: Any, *, target: str = "", reason: str = "") -> None: ...

    is_active: bool
    config: Any
    violations: list[Any]
    _order_timestamps: list[datetime]

    # engine side
    def start(self, *, reason: str = "engine started") -> Halt:
        """Map the flag, load the book and the rules from the journal, and write the STARTUP halt."""

    def start_guardian(self) -> None: ...
    def stop_guardian(self) -> None: ...
    def check(self, intent: OrderIntent, venue_now: datetime) -> Refused | None:
        """Would it pass now? Journals nothing."""

    def admit(self, intent: OrderIntent, venue_now: datetime) -> Approved | Refused: ...
    @contextmanager
    def sending(self, approved: Approved) -> Iterator[bool]:
        """`with guard.sending(approved) as clear: if clear: await broker.submit(approved)`; not clear = NOT_SENT."""
        yield False

    def on_quote(self, quote: Quote) -> None: ...
    def on_trade(self, trade: Trade) -> None: ...
    def on_order(self, order: Order) -> None:
        """Any order update (own or external), after it was journaled."""

    def on_fill(self, fill: Fill, bid: Decimal | None = None, ask: Decimal | None = None) -> None:
        """Each new execution exactly once (when the journal took it as new), with the NBBO just before it if known."""

    def on_account(self, account: Account) -> None: ...
    def on_cash_flow(self, flow: CashFlow) -> None: ...
    def on_clock(self, clock: Clock) -> None: ...
    def on_day(self, day: date, opening_equity: Decimal) -> None: ...
