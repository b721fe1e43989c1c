"""The account and what it may know: configurations, activities, history, assets, the clock and the calendar."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from datetime import date

from aiohttp import web

from athena.model import trading_date
from athena.simulator import sessions, wire
from athena.simulator.access import ACCOUNT, VENUE
from athena.simulator.account import AccountConfigurations
from athena.simulator.errors import NOT_FOUND, VenueError
from athena.simulator.market_data import BadQuestion
from athena.simulator.parameters import choice, json_object, listed, when, whole, yes

CALENDAR_TO = date(2029, 12, 31)
SETTINGS = {field.name for field in fields(AccountConfigurations)}
SPEED_HEADER = "X-Simulator-Speed"

routes = web.RouteTableDef()


@routes.get("/v2/account")
async def account(request: web.Request) -> web.Response:
    """The account: cash, equity, buying power, flags."""
    return web.json_response(wire.account(request[ACCOUNT].summary()))


@routes.get("/v2/account/configurations")
async def configurations(request: web.Request) -> web.Response:
    """The account's configuration."""
    return web.json_response(wire.configurations(request[ACCOUNT].configurations()))


@routes.patch("/v2/account/configurations")
async def configure(request: web.Request) -> web.Response:
    """Change the configuration; the whole of it is the answer."""
    body = await json_object(request)
    changes = {name: value for name, value in body.items() if name in SETTINGS}
    return web.json_response(wire.configurations(request[ACCOUNT].update_configurations(**changes)))


@routes.get("/v2/account/activities")
@routes.get("/v2/account/activities/{type}")
async def activities(request: web.Request) -> web.Response:
    """Executions and cash movements, by type and time, in pages."""
    one = request.match_info.get("type")
    types = (one.upper(),) if one else listed(request, "activity_types")
    if request.query.get("category"):
        category = choice(request, "category", "", ("trade_activity", "non_trade_activity"))
        types = ("FILL",) if category == "trade_activity" else ("CSD", "CSW")
    on = when(request, "date")
    page = request[ACCOUNT].activities(
        types or None,
        on=trading_date(on) if on else None,
        after=when(request, "after"),
        until=when(request, "until"),
        direction=choice(request, "direction", "desc", ("asc", "desc")),  # type: ignore[arg-type]
        page_size=whole(request, "page_size", 100, 1, 100),
        page_token=request.query.get("page_token") or None,
    )
    return web.json_response([wire.activity(entry) for entry in page])


@routes.get("/v2/account/portfolio/history")
async def portfolio_history(request: web.Request) -> web.Response:
    """Equity and profit over time."""
    reporting = choice(request, "intraday_reporting", "market_hours", ("market_hours", "extended_hours", "continuous"))
    history = request[ACCOUNT].portfolio_history(
        period=request.query.get("period"),
        timeframe=request.query.get("timeframe"),
        start=when(request, "start"),
        end=when(request, "end") or when(request, "date_end", end_of_day=True),
        extended_hours=yes(request, "extended_hours") or reporting != "market_hours",
        pnl_reset=choice(request, "pnl_reset", "per_day", ("per_day", "no_reset")),  # type: ignore[arg-type]
        cashflow_types=listed(request, "cashflow_types"),
    )
    return web.json_response(wire.history(history))


@routes.get("/v2/assets")
async def assets(request: web.Request) -> web.Response:
    """Every asset the venue lists, filtered."""
    status, kind = request.query.get("status"), request.query.get("asset_class", "us_equity")
    exchange = request.query.get("exchange")
    found = [
        wire.asset(asset)
        for asset in request.app[VENUE].exchange.assets.values()
        if kind == "us_equity" and status in (None, "", asset.status) and exchange in (None, "", asset.exchange)
    ]
    return web.json_response(found)


@routes.get("/v2/assets/{symbol}")
async def asset(request: web.Request) -> web.Response:
    """One asset by symbol or id."""
    asked = request.match_info["symbol"]
    exchange = request.app[VENUE].exchange
    found = exchange.asset(asked.upper()) or exchange.asset(asked)
    if found is None:
        raise VenueError(404, NOT_FOUND, f"asset not found for {asked}")
    return web.json_response(wire.asset(found))


@routes.get("/v2/clock")
async def clock(request: web.Request) -> web.Response:
    """The venue's time; the header tells how fast it goes, so that a client may run along."""
    venue = request.app[VENUE]
    now = venue.clock.now()
    body = wire.clock(now, sessions.is_open(now), sessions.next_open(now), sessions.next_close(now))
    return web.json_response(body, headers={SPEED_HEADER: f"{venue.clock.speed:g}"})


@routes.get("/v2/calendar")
async def calendar(request: web.Request) -> web.Response:
    """Sessions with their hours, early closes included."""
    start, end = (_day(request, name) for name in ("start", "end"))
    if start and end and end < start:
        raise BadQuestion(f"invalid end: {end} lies before the start, {start}")
    today = trading_date(request.app[VENUE].clock.now())
    # Without bounds Alpaca lists decades; the calendar is made year by year, so the default is this year and the next.
    first = start or date(today.year, 1, 1)
    last = min(end or date(max(first, today).year + 1, 12, 31), CALENDAR_TO)
    # A year's calendar takes a third of a second to make: in a thread, so that the market goes on meanwhile.
    days = await asyncio.to_thread(list, sessions.sessions_between(first, last))
    return web.json_response([wire.calendar_day(session) for session in days])


def _day(request: web.Request, name: str) -> date | None:
    at = when(request, name)
    return trading_date(at) if at else None
