"""Questions about the market as the data API asks them: time frames, pages over several symbols, snapshots.

Nothing later than the venue's now is ever shown, whatever interval is asked for.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Literal, Protocol

from athena.model import NEW_YORK, ZERO, Bar, Quote, Trade, trading_date
from athena.simulator.sessions import Session
from athena.simulator.tape import Tape

Kind = Literal["bars", "quotes", "trades"]
Timeframe = timedelta | Literal["1Day"]
Fact = Bar | Quote | Trade

TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
STEP = {"bars": 2 * DAY, "quotes": timedelta(hours=1), "trades": timedelta(hours=1)}
DAILY_STEP = 366 * DAY
EARLIEST, LATEST = date(2000, 1, 1), date(2099, 12, 31)  # a time beyond is read as the nearer of them
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")


class Market(Tape, Protocol):
    """A tape that says which trading days it covers."""

    @property
    def sessions(self) -> tuple[Session, ...]: ...


class BadQuestion(ValueError):
    """A parameter the data API does not understand; the message names it."""


@dataclass(frozen=True, slots=True)
class Span:
    """How bars are cut: `base` is what the tape is asked for, `group` how many days, weeks or months make one bar."""

    base: Timeframe
    count: int = 1
    unit: Literal["", "day", "week", "month"] = ""


def parse_timeframe(text: str) -> Span:
    """'5Min', '1Hour', '1Day', '1Week', '3Month' and their short forms as a Span; else BadQuestion."""
    match = _TIMEFRAME.fullmatch(text)
    count = int(match[1]) if match else 0
    unit = match[2] if match else ""
    if unit in ("Min", "T") and 1 <= count <= 59:
        return Span(timedelta(minutes=count))
    if unit in ("Hour", "H") and 1 <= count <= 23:
        return Span(timedelta(hours=count))
    if unit in ("Day", "D") and count == 1:
        return Span("1Day")
    if unit in ("Week", "W") and count == 1:
        return Span("1Day", 1, "week")
    if unit in ("Month", "M") and count in (1, 2, 3, 4, 6, 12):
        return Span("1Day", count, "month")
    raise BadQuestion(f"invalid timeframe: {text!r}")


def parse_time(name: str, text: str, *, end_of_day: bool = False) -> datetime:
    """An RFC 3339 time (nanoseconds are cut to microseconds) or a date, which is New York's, as an aware UTC time."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = min(max(date.fromisoformat(text), EARLIEST), LATEST)
            midnight = datetime.combine(day, time(), NEW_YORK)
            return (midnight + DAY - TICK if end_of_day else midnight).astimezone(UTC)
        # An unencoded "+" of an offset arrives as a blank.
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.strip().replace(" ", "+")))
    except ValueError:
        raise BadQuestion(f"invalid {name}: {text!r} is neither RFC 3339 nor YYYY-MM-DD") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if at.date() < EARLIEST:
        return datetime.combine(EARLIEST, time.min, UTC)
    return datetime.combine(LATEST, time.max, UTC) if at.date() > LATEST else at.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """One historical request: both ends inclusive, `limit` counts rows over all symbols together."""

    kind: Kind
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    now: datetime
    limit: int
    ascending: bool = True
    span: Span = Span(MINUTE)
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by symbol, in the order asked for, and the token of the next page, or None at the end."""

    rows: dict[str, list[Fact]]
    next_page_token: str | None


def page(tape: Market, question: Question) -> Page:
    """One page of history: symbol after symbol in alphabetical order, as Alpaca does."""
    first, after, skip = _read_token(question.page_token)
    rows: dict[str, list[Fact]] = {}
    left = question.limit
    for symbol in sorted(set(question.symbols)):
        if symbol < first or symbol not in tape.symbols:
            continue
        asked = question
        to_skip = 0
        if symbol == first and after is not None:
            asked = replace(question, start=after) if question.ascending else replace(question, end=after)
            to_skip = skip
        for row in _walk(tape, symbol, asked, left + to_skip + 1):
            if to_skip:
                to_skip -= 1
                continue
            if left == 0:
                return Page(rows, _write_token(rows, first, after, skip))
            rows.setdefault(symbol, []).append(row)
            left -= 1
    return Page(rows, None)


def _walk(tape: Market, symbol: str, question: Question, limit: int) -> Iterator[Fact]:
    """The rows of one symbol in the order asked for, fetched step by step: a page needs no more than its rows."""
    bars = question.kind == "bars"
    begins = tape.sessions[0].extended_open
    start = max(question.start, begins - DAY if bars else begins)  # daily bars begin at midnight
    end = min(question.end, question.now)
    if end < begins:
        return
    step = DAILY_STEP if bars and question.span.base == "1Day" else STEP[question.kind]
    if question.span.unit or (question.ascending and not bars):
        step = end - start + TICK  # weeks and months are cut from all days; and the tape itself stops at the limit
    while start <= end:
        if question.ascending:
            until = min(end, start + step - TICK)
            yield from facts(tape, question, symbol, start, until, limit)
            start = until + TICK
        else:
            begin = max(start, end - step + TICK)
            yield from reversed(facts(tape, question, symbol, begin, end, None))
            end = begin - TICK


def facts(
    tape: Tape, question: Question, symbol: str, start: datetime, end: datetime, limit: int | None
) -> Sequence[Fact]:
    """Rows of one symbol in [start, end], oldest first; bars that begin there, whole where they can be."""
    if question.kind == "quotes":
        return tape.quotes(symbol, start - TICK, end, limit)
    if question.kind == "trades":
        return tape.trades(symbol, start - TICK, end, limit)
    base = question.span.base
    if isinstance(base, str):
        width, known = DAY, question.now
    else:
        width, known = base, question.now.replace(second=0, microsecond=0) - TICK  # a minute is told when it is over
    until = min(end + width, known)
    if until < start:
        return []
    bars = [bar for bar in tape.bars(symbol, start, until, base) if bar.at <= end]
    return _grouped(bars, question.span) if question.span.unit else bars


def _grouped(days: Sequence[Bar], span: Span) -> list[Bar]:
    """Daily bars put together into weeks (from Monday) or into groups of `count` months, counted from January."""

    def period(bar: Bar) -> tuple[int, int]:
        day = trading_date(bar.at)
        if span.unit == "week":
            return day.isocalendar()[:2]
        return day.year, (day.month - 1) // span.count

    return [together(list(bars)) for _, bars in groupby(days, key=period)]


def together(bars: Sequence[Bar]) -> Bar:
    """Consecutive bars of one symbol as one bar that begins with the first."""
    volume = sum((bar.volume for bar in bars), ZERO)
    weighted = sum(((bar.vwap or bar.close) * bar.volume for bar in bars), ZERO)
    return replace(
        bars[0],
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        trade_count=sum(bar.trade_count for bar in bars),
        vwap=round(weighted / volume, 6) if volume else None,
    )


# A page token names the last row given: its symbol, its time, and how many rows of that very time were given already.


def _write_token(rows: dict[str, list[Fact]], first: str, after: datetime | None, skipped: int) -> str:
    symbol, given = list(rows.items())[-1]
    at = given[-1].at
    count = sum(1 for row in given if row.at == at)
    if symbol == first and at == after:
        count += skipped
    return urlsafe_b64encode(f"{symbol}|{at.isoformat()}|{count}".encode()).decode()


def _read_token(token: str) -> tuple[str, datetime | None, int]:
    if not token:
        return "", None, 0
    try:
        symbol, at, count = urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, datetime.fromisoformat(at), int(count)
    except ValueError:
        raise BadQuestion(f"invalid page_token: {token!r}") from None


# The latest of everything


def last_minute_bar(tape: Tape, symbol: str, now: datetime) -> Bar | None:
    """The bar of the last whole minute in which the symbol traded, looking back over a long weekend at most."""
    end = now.replace(second=0, microsecond=0) - TICK
    for window in (timedelta(minutes=10), DAY, 5 * DAY):
        bars = tape.bars(symbol, end - window, end, MINUTE)
        if bars:
            return bars[-1]
    return None


def daily_bars(tape: Tape, symbol: str, now: datetime) -> tuple[Bar | None, Bar | None]:
    """The day's bar so far (or the last day's, while there is none yet) and the one before it."""
    days = tape.bars(symbol, now - 12 * DAY, now, "1Day")
    return (days[-1] if days else None), (days[-2] if len(days) > 1 else None)
