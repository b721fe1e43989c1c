"""The first trading day that is not over, by the venue's time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from athena.config import Settings
from athena.core.trading_days import TradingDays
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.model import NEW_YORK, OrderStatus, trading_date

EXTENDED_HOURS_END = 20  # New York; after it nothing can be filled on any day
_FINAL = tuple(status.value for status in OrderStatus if status.is_final)


def not_over(journal: Journal, settings: Settings) -> tuple[date, str]:
    """The earliest trading date that is not over by the venue's time, and why it waits ('' where it has not begun).

    A session's day is over when it has closed and no order is open, at the latest when extended hours end.
    """
    at = datetime.now(UTC)
    bound = journal.one("SELECT venue FROM account WHERE id = 1")
    if (bound["venue"] if bound else settings.venue) == "simulator":  # its time is the engine's last word
        known = "SELECT venue_at AS at FROM heartbeats UNION SELECT venue_at FROM equity"
        row = journal.one(f"SELECT max(at) FROM ({known}) AS known")
        if row is None or row[0] is None:
            return date.min, "the venue's time is not known: the engine never ran here"
        at = from_text(row[0])
    today = trading_date(at)
    over, session = (today + timedelta(days=1), ""), TradingDays.load(settings).on(today)
    if at.astimezone(NEW_YORK).hour >= EXTENDED_HOURS_END:
        return over
    if session is None:
        return today, ""
    if at < session.closes:
        return today, f"{today} waits for its close at {session.closes:%H:%M} New York"
    row = journal.one(f"SELECT count(*) FROM orders WHERE status NOT IN ({', '.join('?' * len(_FINAL))})", _FINAL)
    if row and row[0]:
        return today, f"{today} waits: {row[0]} orders are open, and may fill until {EXTENDED_HOURS_END}:00 New York"
    return over
