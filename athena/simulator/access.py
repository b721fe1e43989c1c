"""Who asks, how often, and what an answer looks like when something is wrong: the middlewares of the venue."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from athena.errors import SimulatorError
from athena.simulator.account import VenueAccount
from athena.simulator.clock import Now
from athena.simulator.errors import VenueError
from athena.simulator.exchange import Exchange
from athena.simulator.faults import Faults, FeedClock, Handler, NoFaults
from athena.simulator.market_data import BadQuestion, Market
from athena.simulator.rate_limit import Allowance, RateLimit

log = logging.getLogger(__name__)

ORDER_PATHS = ("/v2/orders", "/v2/positions")


@dataclass(frozen=True, slots=True)
class Venue:
    """All that a route needs: the exchange, its market and clocks (`feed` is the data's), the keys, the house rules."""

    exchange: Exchange
    tape: Market
    clock: Now
    feed: FeedClock
    keys: Mapping[str, str]
    trading_limit: RateLimit
    data_limit: RateLimit
    order_log: Path | None = None
    faults: Faults = field(default_factory=NoFaults)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number


VENUE = web.AppKey("venue", Venue)
TICK: web.AppKey[Callable[[], None]] = web.AppKey("tick")
ACCOUNT = web.RequestKey("account", VenueAccount)
KEY = web.RequestKey("key", str)
CLIENT_ORDER_ID = web.RequestKey("client_order_id", str)
ALLOWANCE = web.RequestKey("allowance", Allowance)
HARM = web.RequestKey("harm", str)
DECIDED = web.RequestKey("decided", str)


def credentials(headers: Mapping[str, str], keys: Mapping[str, str]) -> tuple[str, str] | None:
    """Key and secret by APCA headers, Basic, or Bearer (its token: an account's secret); None without any."""
    key, secret = headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")
    if key is not None and secret is not None:
        return key, secret
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            key, found, secret = b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return None
        return (key, secret) if found else None
    if scheme.lower() == "bearer":
        return next(((key, secret) for key, secret in keys.items() if secret == token), None)
    return None


def problem(status: int, code: int | None, message: str, extra: Mapping[str, Any] | None = None) -> web.Response:
    """Alpaca's error body: {code, message, ...}; some answers have no code."""
    body = {**({} if code is None else {"code": code}), "message": message, **(extra or {})}
    return web.json_response(body, status=status)


@web.middleware
async def log_orders(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One line for each request received that may change an order, whatever became of it. Outermost of all."""
    venue = request.app[VENUE]
    if venue.order_log is None or not _changes_orders(request):
        return await handler(request)
    line = {"boottime_ns": boottime_ns(), "unix_ns": time.time_ns(), "method": request.method, "path": request.path}
    response = await handler(request)
    line["client_order_id"] = request.get(CLIENT_ORDER_ID)
    line["account"] = request.get(KEY)
    # With a fault the answer is not what the venue decided: the log tells that, and what became of the answer.
    line["outcome"] = request.get(DECIDED) or outcome(response)
    if HARM in request:
        line["fault"] = request[HARM]
    try:
        with venue.order_log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:  # an order that stands must not look refused because its line could not be written
        log.error("the order log %s: %s", venue.order_log, error)
    return response


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong below becomes Alpaca's JSON; a defect of ours is logged and answered with 500."""
    try:
        return await handler(request)
    except VenueError as error:
        return problem(error.status, error.code, error.message, error.extra)
    except BadQuestion as error:
        return problem(400, None, str(error)) if _is_data(request) else problem(422, 40010001, str(error))
    except web.HTTPNotFound:
        return problem(404, 40410000, f"endpoint not found: {request.method} {request.path}")
    except web.HTTPException as error:
        return problem(error.status, error.status * 100_000 + 10_000, error.reason)
    except ConnectionResetError:  # whoever asked is gone before the question was whole: nobody's defect
        return problem(400, 40010000, "the request ended before its body did")
    except SimulatorError as error:  # the market has no such day, the state file cannot be written
        log.error("%s %s: %s", request.method, request.path_qs, error)
        return problem(500, 50010000, str(error))
    except Exception:
        log.exception("the simulator failed on %s %s", request.method, request.path_qs)
        return problem(500, 50010000, "internal server error occurred")


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request in when its key is right and its minute not used up. Streams authenticate by message."""
    venue = request.app[VENUE]
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await handler(request)
    given = credentials(request.headers, venue.keys)
    try:
        account = venue.exchange.account(*given) if given else None
    except VenueError:
        account = None
    if given is None or account is None:
        if _is_data(request):
            return problem(401, None, "unauthorized.")  # the data API's refusal has no code
        return problem(401, 40110000, "request is not authorized")
    request[KEY], request[ACCOUNT] = given[0], account
    venue.count("requests")
    if not request.path.startswith("/simulator/"):
        limit = venue.data_limit if _is_data(request) else venue.trading_limit
        request[ALLOWANCE] = allowance = limit.take(given[0])
        if not allowance.allowed:
            venue.count("rate_limited")
            return problem(429, 42910000, "too many requests." if _is_data(request) else "rate limit exceeded")
    if _changes_orders(request):
        request.app[TICK]()  # the streams tell the market an order meets before they tell its fills
    return await venue.faults.request(request, handler)


async def add_rate_limit_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: every answer to a known key tells what is left of its minute."""
    allowance = request.get(ALLOWANCE)
    if allowance is not None:
        response.headers.update(allowance.headers)


def boottime_ns() -> int:
    """Nanoseconds since boot, comparable between processes of one machine (Linux counts sleep, others may not)."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _changes_orders(request: web.Request) -> bool:
    return request.method not in ("GET", "HEAD") and request.path.startswith(ORDER_PATHS)


def _is_data(request: web.Request) -> bool:
    return request.path.startswith("/v2/stocks")


def outcome(response: web.StreamResponse) -> str:
    """'200', or '403 40310000 insufficient buying power'."""
    if response.status < 400 or not isinstance(response, web.Response) or response.content_type != "application/json":
        return str(response.status)
    body = json.loads(response.text or "{}")
    return " ".join(str(part) for part in (response.status, body.get("code"), body.get("message")) if part is not None)
