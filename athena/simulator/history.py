"""The account's equity over time, computed from its activities and the tape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

from athena.model import NEW_YORK, trading_date
from athena.simulator.activities import FillActivity
from athena.simulator.book import Book
from athena.simulator.decimals import ZERO
from athena.simulator.errors import invalid
from athena.simulator.sessions import Session, previous_session, session_on, sessions_between

TIMEFRAMES = {
    "1Min": timedelta(minutes=1),
    "5Min": timedelta(minutes=5),
    "15Min": timedelta(minutes=15),
    "1H": timedelta(hours=1),
    "1D": timedelta(days=1),
}
DAY = timedelta(days=1)
FRACTION = Decimal("0.000001")
DAY_LABEL = time(20, 0)

PriceAt = Callable[[str, datetime], Decimal]


@dataclass(frozen=True, slots=True)
class PortfolioHistory:
    """Equity and profit (deposits excluded) at each `timestamp` (the beginning of each window), in dollars.

    `cashflow` has, per activity type asked for, what came (or went) since the point before.
    """

    timestamp: tuple[datetime, ...]
    equity: tuple[Decimal, ...]
    profit_loss: tuple[Decimal, ...]
    profit_loss_pct: tuple[Decimal | None, ...]
    base_value: Decimal
    base_value_asof: date | None
    timeframe: str
    cashflow: dict[str, tuple[Decimal, ...]]


class _Worth(NamedTuple):
    equity: Decimal
    transferred: Decimal


class _Point(NamedTuple):
    label: datetime
    at: datetime
    session: Session


def portfolio_history(
    book: Book,
    price: PriceAt,
    now: datetime,
    *,
    period: str | None,
    timeframe: str | None,
    start: datetime | None,
    end: datetime | None,
    extended_hours: bool,
    pnl_reset: Literal["per_day", "no_reset"],
    cashflow_types: Sequence[str],
) -> PortfolioHistory:
    """Equity at the end of each window from the account's beginning on. VenueError 422 for what cannot be asked.

    Profit counts from the close before the first point; within days, with pnl_reset per_day, from that before each day.
    """
    if start is not None and end is not None and period is not None:
        raise invalid("only two of start, end and period can be specified")
    end = min(end or now, now)
    if start is None:
        start = _back(end, period or "1M")
    elif period is not None:
        end = min(end, _ahead(start, period))
    if start > end:
        raise invalid("start must not be after end")
    length = end - start
    timeframe = timeframe or ("1Min" if length < 7 * DAY else "15Min" if length < 30 * DAY else "1D")
    if timeframe not in TIMEFRAMES:
        raise invalid(f"invalid timeframe {timeframe}")
    if timeframe != "1D" and length > 31 * DAY:
        raise invalid("for periods longer than 30 days the timeframe must be 1D")
    points = [
        point for point in _points(TIMEFRAMES[timeframe], start, end, extended_hours) if point.at > book.created_at
    ]
    closes = {point.session.date: previous_session(point.session.date).close for point in points}
    worth = _worth(book, price, [*closes.values(), *(point.at for point in points), end])
    per_day = timeframe != "1D" and pnl_reset == "per_day"
    base_at = closes[points[0].session.date] if points else end
    bases = [worth[closes[point.session.date] if per_day else base_at] for point in points]
    profits = [
        worth[point.at].equity - base.equity - (worth[point.at].transferred - base.transferred)
        for point, base in zip(points, bases, strict=True)
    ]
    return PortfolioHistory(
        timestamp=tuple(point.label for point in points),
        equity=tuple(worth[point.at].equity for point in points),
        profit_loss=tuple(profits),
        profit_loss_pct=tuple(
            (profit / base.equity).quantize(FRACTION) if base.equity else None
            for profit, base in zip(profits, bases, strict=True)
        ),
        base_value=worth[base_at].equity,
        base_value_asof=trading_date(base_at) if base_at > book.created_at else None,
        timeframe=timeframe,
        cashflow=_cashflow(book, points, base_at, cashflow_types),
    )


def _points(width: timedelta, start: datetime, end: datetime, extended_hours: bool) -> Iterable[_Point]:
    for session in sessions_between(trading_date(start), trading_date(end)):
        opens = session.extended_open if extended_hours else session.open
        closes = session.extended_close if extended_hours else session.close
        if width == DAY:
            if opens <= end:
                label = datetime.combine(session.date, DAY_LABEL, NEW_YORK).astimezone(UTC)
                yield _Point(label, min(session.close, end), session)
            continue
        at = opens
        while at < min(closes, end):
            if at >= start:
                yield _Point(at, min(at + width, closes, end), session)
            at += width


def _worth(book: Book, price: PriceAt, times: Iterable[datetime]) -> dict[datetime, _Worth]:
    """Equity, and deposits so far, at each time: one walk over the activities."""
    cash, transferred = book.opening_cash, ZERO
    held: dict[str, Decimal] = {}
    worth: dict[datetime, _Worth] = {}
    activities = iter(book.activities)
    activity = next(activities, None)
    for at in sorted(set(times)):
        while activity is not None and activity.at <= at:
            if isinstance(activity, FillActivity):
                shares, dollars = book.effect(activity)
                cash += dollars
                held[activity.symbol] = held.get(activity.symbol, ZERO) + shares
            else:
                cash += activity.net_amount
                transferred += activity.net_amount
            activity = next(activities, None)
        value = sum((quantity * price(symbol, at) for symbol, quantity in held.items() if quantity), ZERO)
        worth[at] = _Worth(cash + value, transferred)
    return worth


def _cashflow(
    book: Book, points: Sequence[_Point], since: datetime, types: Sequence[str]
) -> dict[str, tuple[Decimal, ...]]:
    flows = [activity for activity in book.activities if not isinstance(activity, FillActivity)]
    if "ALL" in types:
        types = sorted({flow.activity_type for flow in flows})
    ends = [since, *(point.at for point in points)]
    return {
        kind: tuple(
            sum((flow.net_amount for flow in flows if flow.activity_type == kind and after < flow.at <= until), ZERO)
            for after, until in pairwise(ends)
        )
        for kind in types
        if kind != "NONE"
    }


def _parse(period: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d{1,4})([DWMA])", period)
    if match is None or not int(match[1]):
        raise invalid(f"invalid period {period}")
    return int(match[1]), match[2]


def _back(end: datetime, period: str) -> datetime:
    """Midnight in New York that begins the period ending at `end`; days are trading days that have begun."""
    number, unit = _parse(period)
    day = trading_date(end)
    if unit == "D":
        session = session_on(day)
        if session is not None and session.extended_open <= end:
            day += DAY
        for _ in range(number):
            day = previous_session(day).date
    else:
        day -= number * {"W": 7, "M": 30, "A": 365}[unit] * DAY
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def _ahead(start: datetime, period: str) -> datetime:
    number, unit = _parse(period)
    return start + number * {"D": 1, "W": 7, "M": 30, "A": 365}[unit] * DAY
