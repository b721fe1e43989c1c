"""What a control room shows at one moment: one frozen record, and beside it what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from athena.ops.status import SystemStatus

if TYPE_CHECKING:
    from athena.core.alerts import Alert
    from athena.live.approvals import Request
    from athena.live.vitals import Beat

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Trouble:
    """What could not be read, what to do about it, and since when; the figures beside it are the last known ones."""

    what: str
    hint: str
    since: datetime


@dataclass(frozen=True)
class Lists:
    """What is read again only when an event of its kind was journaled; the newest first but for the curve."""

    curve: tuple[tuple[datetime, float], ...] = ()  # today's equity in dollars by venue time
    orders: tuple[Row, ...] = ()  # of the trading day, open or not
    commands: tuple[Row, ...] = ()
    violations: tuple[Row, ...] = ()
    limit_changes: tuple[Row, ...] = ()
    broker_states: tuple[Row, ...] = ()
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """The live system at one moment. `status` is None while nothing was ever read; then `trouble` says why.

    readonly: why nothing can be done from here, "" where it can.
    """

    read_at: datetime
    account: str
    venue: str
    operator: str
    status: SystemStatus | None = None
    engine: Beat | None = None
    broker: Beat | None = None
    lists: Lists = Lists()
    alerts: tuple[Alert, ...] = ()
    sequence: int = 0
    readonly: str = ""
    trouble: Trouble | None = None


def aged(beat: Beat | None, now: datetime | None = None) -> Beat | None:
    """The sign of life with its age as of `now`: a snapshot may be looked at long after it was read."""
    return None if beat is None else replace(beat, age_seconds=((now or datetime.now(UTC)) - beat.at).total_seconds())
