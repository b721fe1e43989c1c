"""What the guard answers: `Approved`, which only it can make, or `Refused`, which is a value and not an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from athena.model import OrderIntent

_MINT = object()  # possession of this makes an Approved; only execution_guard imports it


class Approved:
    """One order intent that passed the guard and is durable in the journal; `Broker.submit` takes nothing else.

    `sequence` is the journal event of the intent, `epoch` the guard's epoch it was decided on, `nonce` the halt
    acknowledged at that moment: a newer halt makes this approval void even if trading was resumed since.
    """

    __slots__ = ("client_order_id", "epoch", "intent", "nonce", "sequence")

    intent: OrderIntent
    client_order_id: str
    sequence: int
    epoch: int
    nonce: int

    def __init__(self, intent: OrderIntent, sequence: int, epoch: int, nonce: int, *, mint: object = None) -> None:
        if mint is not _MINT:
            raise TypeError("only ExecutionGuard.admit makes an Approved; give it the intent")
        put = object.__setattr__
        put(self, "intent", intent)
        put(self, "client_order_id", intent.client_order_id)
        put(self, "sequence", sequence)
        put(self, "epoch", epoch)
        put(self, "nonce", nonce)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Approved does not change")

    def __reduce__(self) -> Any:
        raise TypeError("an Approved belongs to the process whose guard made it")

    def __repr__(self) -> str:
        i = self.intent
        return f"Approved({i.side.value} {i.quantity} {i.symbol}, sequence={self.sequence}, epoch={self.epoch})"


class Code(StrEnum):
    """Why an order was refused, or a rule acted; stable words for metrics, reports and filters."""

    GUARD_HALTED = "GUARD_HALTED"
    GUARD_UNSURE = "GUARD_UNSURE"  # no lease, flag or journal in doubt
    GUARD_BUSY = "GUARD_BUSY"  # halts and limits kept changing while deciding
    JOURNAL_FAILED = "JOURNAL_FAILED"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    INVALID_ORDER = "INVALID_ORDER"
    REDUCE_ONLY = "REDUCE_ONLY"
    EXIT_EXCEEDS_POSITION = "EXIT_EXCEEDS_POSITION"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    DAY_NOT_OPEN = "DAY_NOT_OPEN"
    SESSION_CLOSED = "SESSION_CLOSED"
    QUOTE_STALE = "QUOTE_STALE"
    PRICE_COLLAR = "PRICE_COLLAR"
    ORDER_QUANTITY = "ORDER_QUANTITY"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    LIMIT_ORDERS_ONLY = "LIMIT_ORDERS_ONLY"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    POSITION_LIMIT = "POSITION_LIMIT"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    NET_EXPOSURE = "NET_EXPOSURE"
    DAILY_LOSS = "DAILY_LOSS"
    CONSECUTIVE_LOSSES = "CONSECUTIVE_LOSSES"
    BUYING_POWER = "BUYING_POWER"
    ORDER_RATE = "ORDER_RATE"
    MESSAGE_RATE = "MESSAGE_RATE"
    CANCEL_RATE = "CANCEL_RATE"
    OPEN_ORDERS = "OPEN_ORDERS"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    IDENTICAL_EXECUTIONS = "IDENTICAL_EXECUTIONS"
    PARTICIPATION = "PARTICIPATION"
    SELF_CROSSING = "SELF_CROSSING"
    SLIPPAGE = "SLIPPAGE"
    DRAWDOWN = "DRAWDOWN"
    DISCONNECTED = "DISCONNECTED"
    RECONCILIATION = "RECONCILIATION"  # the books and the venue differ, look after look
    UNKNOWN = "UNKNOWN"  # written by a newer Athena


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an order may not go: a stable `code`, what was `observed` and the `limit` it met, as text with units.

    `action` says what the guard did besides refusing ("" for nothing).
    """

    code: Code
    message: str
    observed: str = ""
    limit: str = ""
    action: str = ""

    def __bool__(self) -> bool:
        """False, so that `if verdict:` reads as `if approved`."""
        return False


Verdict = Approved | Refused
