"""The execution guard: one per live system, held by any process; nothing reaches the venue without it.

    guard = ExecutionGuard.get_instance()
    print(guard.get_status())
    await guard.force_halt("spreads look wrong")
    await guard.resume_trading("AAPL", reason="spread is back")

A notebook's or a command's guard is a handle: it reads the journal and the flag, and may halt, resume and change
limits. The engine's guard is `start`ed as well: it alone admits orders. Feed it after the journal has the fact.
"""

from __future__ import annotations

import os
import threading
from datetime import date, datetime
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING

from athena.config import Settings
from athena.errors import AthenaError, GuardError
from athena.journal.timing import CHECKS
from athena.live.guard_flag import boottime_ns, claim_engine, flag_path
from athena.live.guard_halting import Resumed, clear_halts, open_journal
from athena.live.guard_handle import GuardHandle
from athena.live.guard_rules import Halt
from athena.live.verdict import Approved, Refused
from athena.model import Account, BrokerState, CashFlow, Clock, Fill, Order, OrderIntent, Origin, Quote, Trade

if TYPE_CHECKING:
    from athena.live.guard_gate import Gate, Sending
    from athena.live.guardian import Guardian

__all__ = ["Approved", "ExecutionGuard", "Halt", "Refused", "Resumed"]

_instances: dict[str, ExecutionGuard] = {}
_instances_lock = threading.Lock()


class ExecutionGuard(GuardHandle):
    """A handle to the guard of one live system; once started, also the engine's gate."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._guardian: Guardian | None = None
        self._claim = -1
        self._pid = os.getpid()

    @classmethod
    def get_instance(cls, settings: Settings | None = None) -> ExecutionGuard:
        """This process's guard of the live system that the settings (by default: the environment) speak of."""
        settings = settings or Settings.load(lenient=True)
        key = os.path.realpath(settings.journal_path)
        with _instances_lock:
            guard = _instances.get(key)
            if guard is None or guard._pid != os.getpid():
                guard = _instances[key] = cls(settings)
            return guard

    # The engine's side

    def start(self, *, reason: str = "the engine started") -> Halt:
        """Become the engine's guard: halted until resumed, with the book and the rules from the journal.

        Raises GuardError when another engine has this journal, JournalError when it cannot be read or written.
        """
        if self._gate is not None:
            raise GuardError("This guard is started already.")
        from athena.live.guard_gate import Gate
        from athena.live.guard_load import load_book
        from athena.live.guard_resuming import first_limits

        self._claim = claim_engine(self._path)
        try:
            flag, journal = self.flag, self.journal
            halt = self.halt(reason, origin=Origin.STARTUP, owner="engine")
            earlier = [h.id for h in self.halts() if h.origin is Origin.STARTUP and h.id != halt.id]
            if earlier:
                clear_halts(flag, journal, earlier, by="engine", reason="a newer start")
            first_limits(flag, journal, self.settings.limits, self.settings.operator)
            self._gate = Gate(flag, journal, load_book(journal), self.halt, flag_path(self._path))
        except BaseException:
            os.close(self._claim)
            self._claim = -1
            raise
        return halt

    def start_guardian(self) -> None:
        """Begin to vouch; from now on orders may pass once trading is resumed."""
        from athena.live.guardian import Guardian

        if self._guardian is None:
            self._guardian = Guardian(self.gate, lambda: open_journal(self._path, "guardian"))
            self._guardian.start()

    def stop_guardian(self) -> None:
        """Stop vouching: nothing passes from now on."""
        if self._guardian is not None:
            self._guardian.stop()
            self._guardian = None

    def close(self) -> None:
        """Stop vouching, free the engine's place, close the journal. The flag stays: it is everyone's."""
        self.stop_guardian()
        if self._gate is not None:
            self._gate.tell_refusals(all_=True)
        self._gate = None
        if self._claim >= 0:
            os.close(self._claim)
            self._claim = -1
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        with _instances_lock:
            for key in [key for key, guard in _instances.items() if guard is self]:
                del _instances[key]

    @property
    def gate(self) -> Gate:
        if self._gate is None:
            raise GuardError(
                "This process's guard is a handle: it admits no orders.", "Orders are the engine's: athena engine."
            )
        return self._gate

    def check(self, intent: OrderIntent, venue_now: datetime) -> Refused | None:
        """Would it pass at this moment? Journals nothing; None means yes."""
        return self.gate.check(intent, venue_now)

    def admit(self, intent: OrderIntent, venue_now: datetime) -> Approved | Refused:
        """Decide on an order and journal the decision; an Approved is durable. Never raises for what an order holds."""
        begun = perf_counter()
        verdict = self.gate.admit(intent, venue_now)
        CHECKS.observe(perf_counter() - begun)
        return verdict

    def sending(self, approved: Approved) -> Sending:
        """`with guard.sending(approved) as clear:` send only if clear; journal an order that is not as NOT_SENT."""
        return self.gate.sending(approved)

    def on_quote(self, quote: Quote) -> None:
        self.gate.on_quote(quote)

    def on_trade(self, trade: Trade) -> None:
        self.gate.on_trade(trade)

    def on_order(self, order: Order) -> None:
        """Any order update, own or another's, after it was journaled."""
        self.gate.on_order(order)

    def on_fill(self, fill: Fill, bid: Decimal | None = None, ask: Decimal | None = None) -> None:
        """Each execution once, when the journal took it as new, with the best bid and ask just before it if known."""
        self.gate.on_fill(fill, bid, ask)

    def on_account(self, account: Account) -> None:
        self.gate.on_account(account)

    def on_cash_flow(self, flow: CashFlow) -> None:
        self.gate.on_cash_flow(flow)

    def on_clock(self, clock: Clock) -> None:
        self.gate.on_clock(clock)

    def on_day(self, day: date, opening_equity: Decimal) -> None:
        """A trading date was opened (and journaled) with this equity."""
        self.gate.on_day(day, opening_equity)

    def on_cancel(self) -> None:
        """A cancel goes out: counted, warned about when there are too many, never refused."""
        self.gate.on_cancel()

    def on_broker_state(self, state: BrokerState) -> None:
        """The venue's connection as it is now; gone for longer than `max_disconnect_seconds`, everything halts."""
        self.gate.disconnected_ns = 0 if state is BrokerState.CONNECTED else self.gate.disconnected_ns or boottime_ns()

    def usage(self) -> dict[str, str]:
        """How much of each limit is used, for the engine's heartbeat (`details["guard"]`)."""
        from athena.live.guard_status import usage_of

        return usage_of(self.gate.book)

    def _repr_html_(self) -> str:
        """The guard's state in a notebook's cell; its handle alone where the journal cannot be read."""
        from html import escape

        try:
            return self.get_status()._repr_html_()
        except AthenaError as error:
            return f"<pre>{escape(repr(self))}\n{escape(str(error))}</pre>"

    def __repr__(self) -> str:
        role = "the engine's" if self._gate is not None else "a handle"
        state = "orders pass" if self.flag.allows() else "orders refused"
        return f"<ExecutionGuard {self.settings.account_name} ({self.settings.venue}): {state}; {role}>"
