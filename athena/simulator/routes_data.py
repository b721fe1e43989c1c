"""The data API: history in pages, the latest of each, snapshots; for several symbols, or for one in the path."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any, get_args

from aiohttp import web

from athena.model import NEW_YORK, trading_date
from athena.simulator import market_wire
from athena.simulator.access import VENUE, Venue
from athena.simulator.market_data import (
    MINUTE,
    BadQuestion,
    Fact,
    Kind,
    Question,
    Span,
    daily_bars,
    last_minute_bar,
    page,
    parse_timeframe,
)
from athena.simulator.parameters import choice, listed, when, whole

PAGE_DEFAULT, PAGE_MAX = 1000, 10_000
LATEST = {"bars": "bar", "quotes": "quote", "trades": "trade"}

routes = web.RouteTableDef()


def _symbols(request: web.Request) -> tuple[str, ...]:
    one = request.match_info.get("symbol")
    symbols = (one.upper(),) if one else listed(request, "symbols")
    if not symbols:
        raise BadQuestion("symbols is required")
    return symbols


def _kind(request: web.Request) -> Kind:
    kind = request.match_info["kind"]
    if kind not in get_args(Kind):
        raise web.HTTPNotFound
    return kind  # type: ignore[return-value]


def _question(request: web.Request, kind: Kind, now: datetime) -> Question:
    today = datetime.combine(trading_date(now), time(), NEW_YORK)
    start, end = when(request, "start") or today, when(request, "end", end_of_day=True) or now
    if end < start:
        raise BadQuestion(f"invalid end: {end.isoformat()} lies before the start, {start.isoformat()}")
    return Question(
        kind=kind,
        symbols=_symbols(request),
        start=start,
        end=end,
        now=now,
        limit=whole(request, "limit", PAGE_DEFAULT, 1, PAGE_MAX),
        ascending=choice(request, "sort", "asc", ("asc", "desc")) == "asc",
        span=parse_timeframe(request.query.get("timeframe", "")) if kind == "bars" else Span(MINUTE),
        page_token=request.query.get("page_token", ""),
    )


@routes.get("/v2/stocks/{kind:bars|quotes|trades}")
@routes.get("/v2/stocks/{symbol}/{kind:bars|quotes|trades}")
async def history(request: web.Request) -> web.Response:
    """Bars, quotes or trades of one symbol or several, in pages."""
    venue, kind = request.app[VENUE], _kind(request)
    found = page(venue.tape, _question(request, kind, venue.feed.now()))
    rows = {symbol: [market_wire.json(row) for row in rows] for symbol, rows in found.rows.items()}
    one = request.match_info.get("symbol")
    body: dict[str, Any] = {kind: rows, "next_page_token": found.next_page_token}
    if one:
        body = {**body, kind: rows.get(one.upper(), []), "symbol": one.upper()}
    return web.json_response(body)


def latest_of(venue: Venue, kind: Kind, symbol: str) -> Fact | None:
    """The newest row of a symbol, or None for a symbol without a market or without a row."""
    if symbol not in venue.tape.symbols:
        return None
    now = venue.feed.now()
    if kind == "quotes":
        return venue.tape.quote(symbol, now)
    return venue.tape.trade(symbol, now) if kind == "trades" else last_minute_bar(venue.tape, symbol, now)


@routes.get("/v2/stocks/{kind:bars|quotes|trades}/latest")
@routes.get("/v2/stocks/{symbol}/{kind:bars|quotes|trades}/latest")
async def latest(request: web.Request) -> web.Response:
    """The newest bar, quote or trade of each symbol."""
    venue, kind = request.app[VENUE], _kind(request)
    found = {symbol: latest_of(venue, kind, symbol) for symbol in _symbols(request)}
    rows = {symbol: market_wire.json(fact) for symbol, fact in found.items() if fact is not None}
    one = request.match_info.get("symbol")
    if not one:
        return web.json_response({kind: rows})
    return web.json_response({"symbol": one.upper(), LATEST[kind]: _only(rows, one.upper())})


def snapshot_of(venue: Venue, symbol: str) -> dict[str, Any]:
    """Latest trade and quote, bars of the last minute, of today and of the day before; absent ones left out."""
    day, previous = daily_bars(venue.tape, symbol, venue.feed.now())
    parts: dict[str, Fact | None] = {
        "latestTrade": latest_of(venue, "trades", symbol),
        "latestQuote": latest_of(venue, "quotes", symbol),
        "minuteBar": latest_of(venue, "bars", symbol),
        "dailyBar": day,
        "prevDailyBar": previous,
    }
    return {name: market_wire.json(fact) for name, fact in parts.items() if fact is not None}


@routes.get("/v2/stocks/snapshots")
@routes.get("/v2/stocks/{symbol}/snapshot")
async def snapshots(request: web.Request) -> web.Response:
    """The newest of everything, of each symbol."""
    venue = request.app[VENUE]
    found = {symbol: snapshot_of(venue, symbol) for symbol in _symbols(request) if symbol in venue.tape.symbols}
    one = request.match_info.get("symbol")
    return web.json_response({"symbol": one.upper(), **_only(found, one.upper())} if one else found)


def _only(found: dict[str, Any], symbol: str) -> Any:
    if symbol not in found:
        raise BadQuestion(f"invalid symbol: {symbol}")
    return found[symbol]
