"""The engine's side of the guard: decide on an order, journal it behind the gate, take the last look before sending.

One engine per account runs one Gate. Deciding happens on one thread; halts and limit changes come from anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import clock_gettime_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

from athena.errors import AthenaError
from athena.live.guard_acting import Acting
from athena.live.guard_book import Book
from athena.live.guard_checks import check, price_of
from athena.live.guard_flag import _CLOCK, E, GuardFlag, H, L, R, S, boottime_ns
from athena.live.guard_refusals import Refusals
from athena.live.guard_rules import Bounds, Halt, Rules
from athena.live.verdict import _MINT, Approved, Code, Refused
from athena.model import (
    ZERO,
    Account,
    CashFlow,
    Clock,
    Fill,
    Mode,
    Order,
    OrderIntent,
    Purpose,
    Quote,
    Trade,
    trading_date,
)

if TYPE_CHECKING:
    from athena.journal.journal import Journal

_ATTEMPTS = 5
_EXIT = Purpose.EXIT  # looking a member up in its class takes longer than reading the clock
_JUST_BEFORE = timedelta(seconds=2)  # a quote this old still says what the market was when an order filled
_GATE = "SELECT epoch, (SELECT status FROM orders WHERE client_order_id = ?) AS known FROM guard WHERE id = 1"


class Gate:
    """Book, rules and flag of a running engine. `admit` and `sending` are the only way to the venue."""

    def __init__(
        self, flag: GuardFlag, journal: Journal, book: Book, halt: Callable[..., Halt], flag_path: Path
    ) -> None:
        self.flag, self.journal, self.book, self.flag_path = flag, journal, book, flag_path
        self.disconnected_ns = 0  # boot time since when the venue is gone; 0 while it is there
        self._change = flag.words[E]  # before what it announces is read
        self.rules = Rules.load(journal)
        self.broken = ""  # why nothing may pass any more in this process; "" while all is well
        self._in_flight: dict[int, int] = {}  # sequence of the intent -> boot time its sending began
        self._approved: set[int] = set()  # approved and not yet sent: each goes out once
        self._lock = threading.RLock()
        self.refusals = Refusals()
        self.acting = Acting(self, halt)
        flag.words[S] = 0

    # Deciding

    def check(self, intent: OrderIntent, venue_now: datetime) -> Refused | None:
        """The verdict of all checks without journaling anything; None when it would pass. Never raises."""
        words = self.flag.words
        if words[E] != self._change and (refused := self.reload()) is not None:
            return refused
        now = clock_gettime_ns(_CLOCK)  # `boottime_ns`, without the call
        try:
            rules, pair = self.rules, (intent.symbol, intent.strategy)
            bounds = rules.compiled.get(pair) or rules.bounds(*pair)
            if intent.purpose is not _EXIT:
                halted = words[H]
                if self.broken or halted == 0 or words[R] != halted or not now < words[L]:
                    return self._halted(bounds, now)
        except (AttributeError, TypeError) as error:
            return Refused(Code.INVALID_ORDER, f"not an order: {error}", repr(intent)[:300])
        return check(self.book, bounds, intent, venue_now, now)

    def admit(self, intent: OrderIntent, venue_now: datetime) -> Approved | Refused:
        """Decide, and journal the intent in one transaction with the epoch it was decided on; or journal the refusal.

        Never raises: a journal that cannot be written is a refusal too (JOURNAL_FAILED).
        """
        with self._lock:
            try:
                for _ in range(_ATTEMPTS):
                    refused = self.check(intent, venue_now)
                    if refused is None and not self._in_place():
                        refused = Refused(Code.GUARD_UNSURE, "the guard flag or the journal was removed or replaced")
                    if refused is not None:
                        return self._refuse(intent, refused, venue_now)
                    verdict = self._record(intent, venue_now)
                    if verdict is not None:
                        return verdict
                    if (refused := self.reload()) is not None:
                        return refused
                why = "halts and limits kept changing while the order was decided"
                return self._refuse(intent, Refused(Code.GUARD_BUSY, why, f"{_ATTEMPTS} times"), venue_now)
            except (AthenaError, OSError, TypeError, ValueError, AttributeError) as error:
                return Refused(Code.JOURNAL_FAILED, f"the order could not be journaled: {error}")

    def _record(self, intent: OrderIntent, venue_now: datetime) -> Approved | Refused | None:
        """Journal the intent if the epoch is still the one decided on; None when it moved on."""
        client_order_id, epoch = intent.client_order_id, self.rules.epoch
        exit_ = intent.purpose is _EXIT
        with self.journal.transaction() as tx:
            row = tx.one(_GATE, (client_order_id,))
            if row is None or (row["epoch"] != epoch and not exit_):
                return None
            known = row["known"]
            if known is None:
                event = tx.append("order.intended", self._payload(intent) | {"epoch": epoch}, venue_now)
        if known is not None:
            why = "this decision was already made; its order is on record"
            return self._refuse(intent, Refused(Code.DUPLICATE_ORDER_ID, why, known, "one order a key"), venue_now)
        symbol = self.book.of(intent.symbol)
        dollars = ZERO if exit_ else intent.quantity * price_of(symbol, intent)
        self.book.intended(intent, venue_now, dollars, boottime_ns())
        self._approved.add(event.sequence)
        return Approved(intent, event.sequence, epoch, self.flag.words[R], mint=_MINT)

    def _refuse(self, intent: OrderIntent, refused: Refused, venue_now: datetime) -> Refused:
        """Journal a refusal, or count it where it repeats; one that cannot be journaled refuses all the same."""
        try:
            if intent.purpose is _EXIT or not self.refusals.repeats(intent, refused, venue_now, boottime_ns()):
                self.journal.append("order.refused", self._payload(intent) | _described(refused), venue_now)
        except (AthenaError, OSError, TypeError, ValueError, AttributeError):
            pass  # the caller has the verdict; a malformed order may have no line in the journal's tables
        return refused

    def tell_refusals(self, *, all_: bool = False) -> None:
        """Journal the counts of refusals that repeated, those whose time is over or all; the guardian asks for it."""
        if self._lock.acquire(blocking=all_):  # an order being decided goes first: the next tick will do
            try:
                self.refusals.tell(self.journal, boottime_ns(), all_=all_)
            finally:
                self._lock.release()

    def _halted(self, bounds: Bounds, now: int) -> Refused:
        """The flag refuses: say why as well as it is known."""
        words = self.flag.words
        if self.broken:
            return Refused(Code.GUARD_UNSURE, self.broken)
        if words[H] == 0 or words[R] != words[H]:
            why = str(bounds.halt) if bounds.halt is not None and bounds.mode is Mode.HALTED else "the halt flag is set"
            return Refused(Code.GUARD_HALTED, why, Mode.HALTED, Mode.ACTIVE)
        return Refused(
            Code.GUARD_UNSURE, "the guardian's lease has run out", f"{(now - words[L]) / 1e9:.1f} s ago", "not run out"
        )

    def reload(self) -> Refused | None:
        """Read halts and limits again; a Refused when they cannot be read."""
        change = self.flag.words[E]
        try:
            before, self.rules = self.rules, Rules.load(self.journal)
        except (AthenaError, OSError, ValueError) as error:
            self._change = -1  # no word is: they are read again at the next order or news
            return Refused(Code.GUARD_UNSURE, f"halts and limits cannot be read: {error}")
        self._change = change
        self.acting.rules_changed(before, self.rules)
        return None

    def _in_place(self) -> bool:
        return self.flag.is_current() and self.journal.in_place()

    # Sending

    def sending(self, approved: Approved) -> Sending:
        return Sending(self, approved)

    def _begin(self, approved: Approved) -> bool:
        with self._lock:
            if approved.sequence not in self._approved:
                return False  # sent before, or another process's
            self._approved.discard(approved.sequence)
            if approved.intent.purpose is _EXIT:
                return True
            words = self.flag.words
            self._in_flight[approved.sequence] = boottime_ns()
            words[S] = next(iter(self._in_flight.values()))  # the oldest
            # From here on a halt waits for us. Looking at the files is also the fence between that store and the loads
            # below: the kernel's path walk does not let them pass each other.
            clear = self._in_place() and self._last_look(approved)
            if not clear:
                self._end(approved)
            return clear

    def _last_look(self, approved: Approved) -> bool:
        words = self.flag.words
        halted = words[H]
        if self.broken or halted != approved.nonce or words[R] != halted or not boottime_ns() < words[L]:
            return False
        if words[E] == self._change and self.rules.epoch == approved.epoch:
            return True
        if self.reload() is not None:
            return False
        intent = approved.intent  # something changed; only a stricter mode for this very order takes it back
        bounds = self.rules.bounds(intent.symbol, intent.strategy)
        return bounds.mode is Mode.ACTIVE and not bounds.listed

    def _end(self, approved: Approved) -> None:
        with self._lock:
            self._in_flight.pop(approved.sequence, None)
            self.flag.words[S] = next(iter(self._in_flight.values()), 0)

    # The book's news. The looks that follow it go by halts and limits as they stand: no order may come to read them.

    def _heed(self) -> None:
        """Take up changed halts and limits; before the book moves, so that what was acknowledged ends here."""
        if self.flag.words[E] != self._change:
            self.reload()

    def on_quote(self, quote: Quote) -> None:
        self._heed()
        self._roll(quote.at)
        self.book.quote(quote)
        self.acting.look(quote.at)

    def on_trade(self, trade: Trade) -> None:
        self.book.trade(trade)

    def on_order(self, order: Order) -> None:
        self.book.order(order)

    def on_fill(self, fill: Fill, bid: Decimal | None, ask: Decimal | None) -> None:
        self._heed()
        mid = (bid + ask) / 2 if bid is not None and ask is not None and 0 < bid <= ask else None
        symbol = self.book.of(fill.symbol)
        if mid is None and symbol.quote_at is not None and timedelta(0) <= fill.at - symbol.quote_at <= _JUST_BEFORE:
            mid = (symbol.bid + symbol.ask) / 2
        self._roll(fill.at)
        slipped = self.book.fill(fill, mid)
        if slipped is not None:
            self.acting.slipped(fill, slipped)
        self.acting.look(fill.at)

    def on_account(self, account: Account) -> None:
        self.book.buying_power, self.book.ordered = account.buying_power, ZERO

    def on_cash_flow(self, flow: CashFlow) -> None:
        self._heed()
        self.book.cash_flow(flow)
        self.acting.look(flow.at)

    def on_clock(self, clock: Clock) -> None:
        self.book.tell_time(clock)

    def on_day(self, day: date, opening_equity: Decimal) -> None:
        self.book.open_day(day, opening_equity)

    def on_cancel(self) -> None:
        self.acting.cancelled(boottime_ns())

    def _roll(self, at: datetime) -> None:
        """A new trading date that begins before anyone opened it opens with the equity of this moment."""
        if at >= self.book.day_end and self.book.day is not None:
            self.book.open_day(trading_date(at), self.book.equity)

    def _payload(self, intent: OrderIntent) -> dict[str, Any]:
        symbol = self.book.symbols.get(intent.symbol)
        quoted = symbol is not None and symbol.quote_at is not None
        return {
            "client_order_id": intent.client_order_id, "strategy": intent.strategy, "symbol": intent.symbol,
            "side": intent.side, "type": intent.type, "time_in_force": intent.time_in_force,
            "quantity": intent.quantity, "limit_price": intent.limit_price, "stop_price": intent.stop_price,
            "extended_hours": intent.extended_hours, "purpose": intent.purpose, "reason": intent.reason,
            "decision_price": intent.decision_price, "decided_at": intent.decided_at,
            "bid": symbol.bid if symbol and quoted else None, "ask": symbol.ask if symbol and quoted else None,
        }  # fmt: skip


class Sending:
    """`with guard.sending(approved) as clear:` a halt waits for what is inside; not clear means: do not send."""

    __slots__ = ("_approved", "_gate")

    def __init__(self, gate: Gate, approved: Approved) -> None:
        self._gate, self._approved = gate, approved

    def __enter__(self) -> bool:
        return self._gate._begin(self._approved)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate._end(self._approved)


def _described(refused: Refused) -> dict[str, Any]:
    return {
        "code": str(refused.code), "message": refused.message, "observed": refused.observed,
        "limit_value": refused.limit, "action": refused.action or "refused",
    }  # fmt: skip
