"""What request faults make of a REST answer, before the venue took the request or after."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from athena.simulator import sessions, wire
from athena.simulator.access import ACCOUNT, ALLOWANCE, CLIENT_ORDER_ID, DECIDED, HARM, outcome, problem
from athena.simulator.errors import VenueError
from athena.simulator.fault_model import Fault, Kind
from athena.simulator.faults import Handler
from athena.simulator.outbox import reset
from athena.simulator.rate_limit import Allowance

if TYPE_CHECKING:
    from athena.simulator.fault_desk import FaultDesk, Laid

PAGE = "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center><hr>nginx</body></html>"
MESSAGES = {429: "rate limit exceeded", 500: "internal server error occurred", 504: "gateway timeout"}
LOOK_SECONDS = 0.05
WINDOW_SECONDS = 60.0  # that a 429 says are left, unless the fault says otherwise


async def answer_with_faults(
    desk: FaultDesk, hit: Sequence[Laid], request: web.Request, handler: Handler
) -> web.StreamResponse:
    """The venue's answer, or what the faults leave of it. What the venue decided is kept for the order log."""
    for laid in hit:
        if laid.fault.moment == "before":
            await _note(desk, laid, request)
            if (instead := await _harm(laid.fault, request)) is not None:
                request[DECIDED] = "not taken"
                return instead
    refusal: Exception | None = None
    answer: web.StreamResponse = web.Response()
    try:
        answer = await handler(request)
        decided = outcome(answer) if hit else ""
    except Exception as error:
        refusal = error
        decided = f"{error.status} {error.code} {error.message}" if isinstance(error, VenueError) else repr(error)
    if hit:
        request[DECIDED] = decided
    for laid in hit:
        if laid.fault.moment == "after":
            await _note(desk, laid, request, decided=decided)
            if (instead := await _harm(laid.fault, request)) is not None:
                return instead
    if refusal is not None:
        raise refusal
    if desk.effects.skew and request.path == "/v2/clock":
        return _skewed(desk, answer)
    return answer


def skew_date(response: web.StreamResponse, skew: timedelta) -> None:
    """The Date header of a machine whose clock is off."""
    if skew:
        response.headers["Date"] = formatdate(time.time() + skew.total_seconds(), usegmt=True)


async def symbol_of(request: web.Request) -> str:
    """The symbol a request is about: its body's, its path's, its order's; "" where it has none."""
    parts = request.path.strip("/").split("/")
    if request.method == "POST":
        return (await _asked(request, "symbol")).upper()
    if len(parts) == 3 and parts[1] == "orders":
        try:
            return request[ACCOUNT].order(parts[2]).symbol
        except VenueError:
            return ""
    if len(parts) >= 3 and parts[1] in ("positions", "assets"):
        return parts[2].upper()
    return request.query.get("symbols", "").upper()


async def _note(desk: FaultDesk, laid: Laid, request: web.Request, **facts: str) -> None:
    fault = laid.fault
    request[HARM] = f"{fault.kind} {fault.moment}"
    client_order_id = request.get(CLIENT_ORDER_ID) or await _asked(request, "client_order_id")
    asked = {"method": request.method, "path": request.path, "client_order_id": client_order_id}
    desk.acted(laid, **asked, moment=fault.moment, **facts)


async def _asked(request: web.Request, name: str) -> str:
    """A field of the order a request brings; "" where it brings none."""
    try:
        return str(json.loads(await request.read())[name])
    except (ValueError, KeyError, TypeError):
        return ""


async def _harm(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """Does the harm; the answer in place of the venue's, or None where that may go on."""
    match fault.kind:
        case Kind.LATENCY:
            await asyncio.sleep(fault.seconds or 0.0)
            return None
        case Kind.HANG:
            await _hang(request, fault.seconds)
            reset(request.transport)
        case Kind.RESET:
            reset(request.transport)
        case Kind.STATUS:
            return _status(request, fault)
        case _:
            status = fault.status or 200
            title = "Welcome" if status < 300 else f"{status} {_phrase(status)}"
            return web.Response(status=status, text=PAGE.format(title=title), content_type="text/html")
    return web.Response(status=503)  # never leaves: its connection is gone


async def _hang(request: web.Request, seconds: float | None) -> None:
    """Waits until the client leaves, or so many seconds."""
    ends = None if seconds is None else time.monotonic() + seconds
    while request.transport is not None and not request.transport.is_closing():
        if ends is not None and time.monotonic() >= ends:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _status(request: web.Request, fault: Fault) -> web.Response:
    status = fault.status or 500
    if status == 429:
        allowance = request.get(ALLOWANCE)
        limit = allowance.limit if allowance is not None else 200
        request[ALLOWANCE] = Allowance(False, limit, 0, int(time.time() + (fault.seconds or WINDOW_SECONDS)))
    return problem(status, status * 100_000 + 10_000, MESSAGES.get(status, _phrase(status)))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _skewed(desk: FaultDesk, answer: web.StreamResponse) -> web.StreamResponse:
    """GET /v2/clock by a clock that is off."""
    now = desk.effects.clock.now() + desk.effects.skew
    body = wire.clock(now, sessions.is_open(now), sessions.next_open(now), sessions.next_close(now))
    kept = {name: value for name, value in answer.headers.items() if name.startswith("X-")}
    return web.json_response(body, headers=kept)
