"""What Alpaca has not and a demo needs: deposits, shocks to the market, and the venue's state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from athena.errors import SimulatorError
from athena.simulator import sessions, wire
from athena.simulator.access import ACCOUNT, VENUE
from athena.simulator.errors import invalid
from athena.simulator.market_data import parse_time
from athena.simulator.parameters import amount, flag, json_object, text
from athena.simulator.shocks import Shock

routes = web.RouteTableDef()


def phase(now: datetime) -> str:
    """'open', 'pre_market', 'after_hours' or 'closed'."""
    if sessions.is_open(now):
        return "open"
    session = sessions.session_on(sessions.new_york_date(now))
    if session is None or not sessions.is_extended(now):
        return "closed"
    return "pre_market" if now < session.open else "after_hours"


@routes.post("/simulator/deposit")
async def deposit(request: web.Request) -> web.Response:
    """{"amount": dollars}: in, or out when negative; answers the activity."""
    dollars = amount(await json_object(request), "amount")
    if not dollars:
        raise invalid("amount is required and must not be 0")
    return web.json_response(wire.activity(request[ACCOUNT].deposit(dollars)))


@routes.post("/simulator/shocks")
async def shock(request: web.Request) -> web.Response:
    """{"symbol", "seconds" (venue time, from now) or "start" and "end", "spread_multiple", "price_move",
    "size_multiple", "halted"}: lays a shock over the tape; answers it."""
    venue, body = request.app[VENUE], await json_object(request)
    start = _at(body, "start") or venue.clock.now()
    seconds = amount(body, "seconds")
    end = _at(body, "end") or (start + timedelta(seconds=float(seconds)) if seconds else None)
    if end is None:
        raise invalid("seconds or end is required")
    sizes = {name: amount(body, name) for name in ("spread_multiple", "price_move", "size_multiple")}
    given = {name: float(size) for name, size in sizes.items() if size is not None}
    try:
        laid = Shock(text(body, "symbol") or "*", start, end, halted=flag(body, "halted"), **given)
        venue.tape.add_shock(laid)
    except SimulatorError as error:
        raise invalid(str(error)) from None
    answer = {"symbol": laid.symbol, "start": wire.time(start), "end": wire.time(end), "halted": laid.halted, **given}
    return web.json_response(answer)


@routes.get("/simulator/state")
async def state(request: web.Request) -> web.Response:
    """Venue time, speed, phase of the day, counts since the start."""
    venue = request.app[VENUE]
    now = venue.clock.now()
    body = wire.clock(now, sessions.is_open(now), sessions.next_open(now), sessions.next_close(now))
    return web.json_response(
        {
            **body,
            "speed": venue.clock.speed,
            "phase": phase(now),
            "symbols": list(venue.tape.symbols),
            "counts": venue.counts,
        }
    )


def _at(body: dict[str, Any], name: str) -> datetime | None:
    given = text(body, name)
    return parse_time(name, given) if given else None
