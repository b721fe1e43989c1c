"""When orders may work: the phases of a trading day, and the instants at which one ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from enum import Enum
from typing import NamedTuple

from athena.model import NEW_YORK, TimeInForce, trading_date
from athena.simulator.errors import auction_window
from athena.simulator.sessions import Session, next_session, session_on

GTC_DAYS = 90
AUCTION_EVENING = time(19, 0)
OPG_UNTIL = timedelta(minutes=2)
CLS_UNTIL = timedelta(minutes=10)


class Phase(Enum):
    """A part of the venue's day."""

    CLOSED = "closed"
    PRE = "pre"
    REGULAR = "regular"
    POST = "post"

    @property
    def is_extended(self) -> bool:
        return self in (Phase.PRE, Phase.POST)


class Boundary(NamedTuple):
    """The instant at which `phase` begins, in `session`."""

    at: datetime
    phase: Phase
    session: Session


def session_from(at: datetime) -> Session:
    """The session of the New York date of `at`, else the next one."""
    day = trading_date(at)
    return session_on(day) or next_session(day)


def phase_at(at: datetime) -> Phase:
    """The phase of the trading day at a time."""
    session = session_on(trading_date(at))
    if session is None or not session.extended_open <= at < session.extended_close:
        return Phase.CLOSED
    if at < session.open:
        return Phase.PRE
    return Phase.REGULAR if at < session.close else Phase.POST


def boundaries(after: datetime) -> Iterator[Boundary]:
    """Every change of phase later than `after`, without end."""
    session = session_from(after)
    while True:
        for boundary in (
            Boundary(session.extended_open, Phase.PRE, session),
            Boundary(session.open, Phase.REGULAR, session),
            Boundary(session.close, Phase.POST, session),
            Boundary(session.extended_close, Phase.CLOSED, session),
        ):
            if boundary.at > after:
                yield boundary
        session = next_session(session.date)


def expiry(time_in_force: TimeInForce, extended_hours: bool, at: datetime) -> datetime | None:
    """When an order submitted `at` ends if nothing else ends it; None for those that end with their first look."""
    if time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        return None
    if time_in_force is TimeInForce.GTC:
        last = datetime.combine(trading_date(at) + timedelta(days=GTC_DAYS), time(16), NEW_YORK)
        return last.astimezone(UTC)
    session = session_from(at)
    if time_in_force is TimeInForce.OPG:
        return session.close if at < session.open else next_session(session.date).close
    end = session.extended_close if extended_hours else session.close
    if at < end:
        return end
    session = next_session(session.date)
    return session.extended_close if extended_hours else session.close


def check_auction_window(time_in_force: TimeInForce, at: datetime) -> None:
    """VenueError 403 when an OPG or CLS order comes too late for today's auction and too early for the next."""
    if time_in_force not in (TimeInForce.OPG, TimeInForce.CLS):
        return
    session = session_on(trading_date(at))
    if session is None:
        return
    opening = time_in_force is TimeInForce.OPG
    until = session.open - OPG_UNTIL if opening else session.close - CLS_UNTIL
    evening = datetime.combine(session.date, AUCTION_EVENING, NEW_YORK)
    if until <= at < evening:
        raise auction_window(time_in_force.value, AUCTION_EVENING, until.astimezone(NEW_YORK).time())
