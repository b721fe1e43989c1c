"""What the engine is told, and what it asks for: every input of `Engine.process` and every action it emits.

The broker's own events (quotes, trades, order updates, stream states) are in `brokers.base` and come in as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from athena.live.brokers.base import BrokerEvent, CancelResult
from athena.model import Clock, Order, OrderIntent, OrderStatus

if TYPE_CHECKING:
    from athena.live.reconciliation import VenueLook
    from athena.live.verdict import Approved

# -------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. `monotonic` is the machine's; the venue's time is the engine's clock."""

    monotonic: float


@dataclass(frozen=True, slots=True)
class ClockRead:
    """The venue's clock, and the machine's monotonic seconds around asking for it."""

    reading: Clock
    asked: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class SubmissionAnswered:
    """What came of one send: the venue's order, or a final status with its reason, or UNKNOWN."""

    client_order_id: str
    order: Order | None
    status: OrderStatus | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    """What the venue said to a cancel; `result` is None when it could not be asked."""

    client_order_id: str
    result: CancelResult | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class OrderResolved:
    """An unanswered order was looked up by its client id: found, or (None) proven absent, or `unresolved` in time."""

    client_order_id: str
    order: Order | None
    unresolved: bool = False


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """An operator's closing order, to be judged by the guard like any other."""

    intent: OrderIntent


@dataclass(frozen=True, slots=True)
class CommandRequested:
    """A row of the commands table, picked up once."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    requested_by: str
    expired: bool = False


@dataclass(frozen=True, slots=True)
class CommandFinished:
    """A command's procedure came to its end."""

    id: str
    ok: bool
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReconciliationDone:
    """One whole look at the venue, or why there was none. `asked_venue_at` is when the look began."""

    trigger: str
    look: VenueLook | None
    error: str = ""
    asked_venue_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task of the engine's own crashed; trading halts, the engine goes on serving exits and commands."""

    task: str
    error: BaseException


Event = (
    BrokerEvent
    | Tick
    | ClockRead
    | SubmissionAnswered
    | CancelAnswered
    | OrderResolved
    | ExitRequested
    | CommandRequested
    | CommandFinished
    | ReconciliationDone
    | TaskFailed
)

# ------------------------------------------------------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Submit:
    """Send this approved order, once."""

    approved: Approved


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the venue to cancel."""

    client_order_id: str
    broker_order_id: str


@dataclass(frozen=True, slots=True)
class Resolve:
    """Find out, by its client id, what became of an order without an answer. `sent_age_seconds`: since it was sent."""

    client_order_id: str
    sent_age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Look at the venue and compare, after a pause."""

    trigger: str
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Carry a command's procedure out; it ends with CommandFinished."""

    command: CommandRequested


Action = Submit | Cancel | Resolve | Reconcile | RunCommand
