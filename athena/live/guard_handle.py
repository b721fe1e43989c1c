"""A handle to the guard of one live system: what any process may ask of it and do to it.

It reads the journal and the flag; it halts, resumes and changes limits. It admits no order: that is the engine's,
`execution_guard.ExecutionGuard`, which is this and more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import GuardError
from athena.live.guard_config import GuardConfig
from athena.live.guard_flag import GuardFlag
from athena.live.guard_halting import Resumed, clear_halts, new_halt, open_journal, set_halt
from athena.live.guard_rules import Halt, Rules
from athena.live.limits import Value, effective
from athena.model import Mode, Origin, Scope

if TYPE_CHECKING:
    from athena.journal.journal import Journal
    from athena.live.approvals import Request
    from athena.live.guard_checklist import Line
    from athena.live.guard_gate import Gate
    from athena.live.guard_status import GuardStatus
    from athena.live.violations import Violation


class GuardHandle:
    """The guard as seen from any process; in the engine's own, `_gate` is the one that admits orders."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.actor = f"operator {settings.operator}"  # of what this handle journals
        self._path = settings.journal_path
        self._mapped: GuardFlag | None = None
        self._opened: Journal | None = None
        self._gate: Gate | None = None

    # Reading

    @property
    def flag(self) -> GuardFlag:
        """The flag as every process opens it now; a mapping whose file has gone is renewed."""
        if self._gate is not None:
            return self._gate.flag
        if self._mapped is None or not self._mapped.is_current():
            self._mapped = GuardFlag.open(self._path)
        return self._mapped

    @property
    def journal(self) -> Journal:
        """This guard's own journal connection; raises JournalError when there is none to open."""
        if self._opened is None or not self._opened.in_place():
            self._opened = open_journal(self._path, self.actor)
        return self._opened

    def get_status(self) -> GuardStatus:
        """May orders pass, why not, which halts stand, how much of each limit is used. Raises JournalError."""
        from athena.live.guard_status import read_status

        book = self._gate.book if self._gate is not None else None
        return read_status(self.flag, self.journal, self.settings.account_name, self.settings.venue, book)

    def halts(self) -> tuple[Halt, ...]:
        """Every halt that stands."""
        return Rules.load(self.journal).halts

    def limits(self, target: str = "") -> dict[str, Value]:
        """Every limit as it binds everything, `symbol:AAPL` or `strategy:NAME`."""
        kind, _, name = target.partition(":")
        values = Rules.load(self.journal).values
        return effective(values, name if kind == "symbol" else "", name if kind == "strategy" else "")

    @property
    def config(self) -> GuardConfig:
        """The limits as attributes; assigning one changes the live limit."""
        return GuardConfig(self)

    @property
    def violations(self) -> list[Violation]:
        """The latest violations, oldest first; `timestamp` compares with `datetime.now()`."""
        from athena.live.violations import violations

        return violations(self.journal)

    @property
    def _order_timestamps(self) -> list[datetime]:
        """Local naive times of the orders let through in the last hour of machine time."""
        from athena.live.violations import order_times

        return order_times(self.journal)

    @property
    def is_active(self) -> bool:
        """True when orders without a halt of their own pass. Assigning True resumes, False halts everything."""
        return self.flag.allows() and Rules.load(self.journal).mode is Mode.ACTIVE

    @is_active.setter
    def is_active(self, active: bool) -> None:
        if active:
            self.resume(reason="guard.is_active = True")
        else:
            self.halt("guard.is_active = False")

    # Halting and resuming

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
        venue_at: datetime | None = None,
        nonce: int | None = None,
    ) -> Halt:
        """Stop trading, or restrict it. A global halt binds every process before anything else is done.

        Outside the engine it returns when no order can reach the venue any more; the Halt says so in `clean`.
        `nonce` is that of a flag the caller has set already.
        Raises GuardError: not journaled (a global halt stands all the same), or a target that means nothing.
        """
        owner = owner or (self.settings.operator if origin is Origin.OPERATOR else origin.value)
        halt = new_halt(
            reason, scope=scope, target=target, mode=mode, origin=origin, owner=owner, nonce=nonce,
            expires_at=expires_at,
        )  # fmt: skip
        return set_halt(self.flag, lambda: self.journal, halt, wait=self._gate is None, venue_at=venue_at)

    async def force_halt(self, reason: str = "", symbol: str | None = None, strategy: str | None = None) -> Halt:
        """Halt everything, or one symbol or strategy, now."""
        scope, target = _scope(symbol, strategy)
        reason = reason or "force_halt"
        if self._gate is not None:  # the engine's own loop: nothing in it may wait for itself
            return self.halt(reason, scope=scope, target=target)
        if scope is Scope.GLOBAL:
            self.flag.halt()  # before any thread is started
        import asyncio

        return await asyncio.to_thread(lambda: self.halt(reason, scope=scope, target=target))

    def resume(
        self,
        symbol: str | None = None,
        strategy: str | None = None,
        reason: str = "",
        *,
        halt_ids: Iterable[str] | None = None,
        override: bool = False,
    ) -> Resumed:
        """Clear the halts that stand now on everything, or on one symbol or strategy, if the checklist holds.

        `halt_ids` names them instead. `override` clears them though lines of the checklist fail; that is recorded.
        Raises ResumeRefused naming the lines that fail, or when a halt came meanwhile; ApprovalNeeded when another
        operator must approve, who is asked by that. Halts of another scope remain.
        """
        scope, target = _scope(symbol, strategy)

        def wanted(halt: Halt) -> bool:
            return halt.scope is scope and halt.target == target

        from athena.live import guard_resuming as resuming

        flag, journal = self.flag, self.journal
        resuming.wait_for_no_orphan(flag, journal)
        seen = [halt.id for halt in self.halts() if wanted(halt)] if halt_ids is None else list(halt_ids)
        if self._gate is None and flag.lease_seconds > 0 and seen and not override:
            resuming.reconcile_now(journal)
        return resuming.resume(
            flag, journal, seen, by=self.settings.operator, reason=reason, where=target or "everything",
            override=override, all_of=wanted if halt_ids is None else None,
        )  # fmt: skip

    async def resume_trading(
        self,
        symbol: str | None = None,
        strategy: str | None = None,
        reason: str = "",
        *,
        halt_ids: Iterable[str] | None = None,
        override: bool = False,
    ) -> Resumed:
        """`resume`, for a notebook cell."""
        if self._gate is not None:
            return self.resume(symbol, strategy, reason, halt_ids=halt_ids, override=override)
        import asyncio

        return await asyncio.to_thread(
            lambda: self.resume(symbol, strategy, reason, halt_ids=halt_ids, override=override)
        )

    def lift(self, origin: Origin, reason: str, *, scope: Scope | None = None, target: str = "") -> tuple[Halt, ...]:
        """Clear only the halts of one automatic origin whose cause has gone. Raises GuardError for an operator's."""
        if origin is Origin.OPERATOR:
            raise GuardError("An operator's halt is not lifted by the system.", "Use resume.")
        own = [h for h in self.halts() if h.origin is origin]
        named = [h.id for h in own if scope is None or (h.scope is scope and h.target == target)]
        return clear_halts(self.flag, self.journal, named, by=origin.value, reason=reason)[0] if named else ()

    def set_limit(
        self,
        name: str,
        value: Any,
        *,
        target: str = "",
        reason: str = "",
        override: bool = False,
        seen: tuple[Value] | None = None,
    ) -> Value:
        """Change a limit of everything, `symbol:AAPL` or `strategy:NAME`, from the next order on. Raises GuardError.

        Where a second approver is required, making it less strict raises ApprovalNeeded; `override` does it all the
        same, on the record. With `seen`, the value the operator looked at, a limit that is another by now is refused.
        """
        from athena.live.guard_resuming import set_limit

        return set_limit(
            self.flag, self.journal, name, value, target=target, by=self.settings.operator, reason=reason,
            override=override, seen=seen,
        )  # fmt: skip

    def checklist(self, symbol: str | None = None, strategy: str | None = None) -> tuple[Line, ...]:
        """What must hold to resume here, each line with what was seen; empty when nothing is halted here."""
        from athena.live.guard_resuming import ready

        place = _scope(symbol, strategy)
        own = tuple(halt for halt in self.halts() if (halt.scope, halt.target) == place)
        return ready(self.flag, self.journal, own, self.settings.operator)

    def requests(self) -> tuple[Request, ...]:
        """What waits for a second operator's approval, oldest first."""
        from athena.live.approvals import requests

        return tuple(request for request in requests(self.journal) if request.pending)

    def approve(self, request_id: str) -> Resumed | Value:
        """Approve another operator's request; it takes effect with this. Raises GuardError: own, expired or stale."""
        from athena.live import guard_resuming as resuming
        from athena.live.approvals import LIMIT, check, find

        flag, journal, by = self.flag, self.journal, self.settings.operator
        request = find(journal, request_id)
        check(request, by)
        if request.action == LIMIT:
            return resuming.approve_limit(flag, journal, request, by)
        if self._gate is None and flag.lease_seconds > 0:
            resuming.reconcile_now(journal)
        facts = request.facts
        return resuming.resume(
            flag, journal, facts["halts"], by=by, reason=facts["reason"], where=facts["where"], request=request
        )


def _scope(symbol: str | None, strategy: str | None) -> tuple[Scope, str]:
    if symbol is not None and strategy is not None:
        raise GuardError("Name a symbol or a strategy, not both.")
    if symbol is not None:
        return Scope.SYMBOL, symbol.upper()
    return (Scope.STRATEGY, strategy) if strategy is not None else (Scope.GLOBAL, "")
