"""Lanes: alpaca-py's blocking clients, each with its own thread, bounded in time, their failures told apart.

alpaca-py has no timeouts, resends a POST after 429 and 504, and lets raw `requests` errors through. A lane mounts
timeouts, turns the resending off, and sorts every failure into what it proves: refused, not sent, or nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from athena.errors import (
    AmbiguousSubmission,
    AuthenticationFailed,
    BrokerError,
    BrokerUnavailable,
    OrderRejected,
    RateLimited,
)
from athena.live.api_latency import LATENCIES

C = TypeVar("C", bound=RESTClient)
T = TypeVar("T")

PATIENCE_SECONDS = 5.0  # a read waits this long for the rate limit; beyond, it says so
READ_ATTEMPTS = 3
LONGEST_BACK_OFF_SECONDS = 60.0


@dataclass
class Headroom:
    """What the venue's headers last said: requests left in this minute, and how fast its clock runs."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: float = 0.0  # Unix seconds
    held_until: float = 0.0  # after a 429
    speed: float = 1.0

    def note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """A `requests` response hook. Also refuses redirects: alpaca-py takes a 3xx for success."""
        headers = response.headers
        self.limit = _integer(headers.get("X-RateLimit-Limit"), self.limit)
        self.remaining = _integer(headers.get("X-RateLimit-Remaining"), self.remaining)
        self.resets_at = float(_integer(headers.get("X-RateLimit-Reset"), None) or self.resets_at)
        if speed := headers.get("X-Simulator-Speed"):
            self.speed = float(speed)
        if response.status_code == 429:
            self.held_until = time.time() + self.back_off_seconds()
        if 300 <= response.status_code < 400:
            raise requests.exceptions.TooManyRedirects(f"redirect to {headers.get('Location')!r}", response=response)

    def back_off_seconds(self) -> float:
        """How long to wait after a 429, by the reset header; a second when it does not say."""
        wait = self.resets_at - time.time() if self.resets_at else 1.0
        return min(max(wait, 0.2), LONGEST_BACK_OFF_SECONDS)

    @property
    def held_seconds(self) -> float:
        return max(0.0, self.held_until - time.time())


class BoundedAdapter(HTTPAdapter):
    """Gives every request a (connect, read) timeout; `requests` has none, and alpaca-py passes none."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        super().__init__(max_retries=0)

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or self._timeout
        with LATENCIES.watch(request.method, request.path_url) as watch:
            response = super().send(request, *arguments, **options)
            watch.status = response.status_code
        return response


def harness(client: C, headroom: Headroom, timeout: tuple[float, float], trust_env: bool) -> C:
    """The client with timeouts, without resending, telling its headers. (Private names of a pinned version; tested.)"""
    client._retry = 0
    session = client._session
    session.trust_env = trust_env  # else HTTP_PROXY takes over even loopback
    session.hooks["response"].append(headroom.note)
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(timeout))
    return client


class NotSent(Exception):
    """The lane never started the call: nothing reached the venue."""


class Lane(Generic[C]):
    """Calls on one kind of client, in `workers` threads with a client each, all bounded by `deadline_seconds`."""

    def __init__(self, name: str, open_client: Callable[[], C], deadline_seconds: float, workers: int = 1) -> None:
        self.name = name
        self._open_client = open_client
        self._deadline = deadline_seconds
        self._workers = workers
        self._own = threading.local()
        self._clients: list[C] = []
        self._executor = self._new_executor()

    async def run(self, function: Callable[[C], T], start_within: float | None = None) -> T:
        """The function's result, from the lane's thread.

        Raises NotSent when it was not begun in time (`start_within` seconds; default the deadline), TimeoutError when
        it did not end in time (it may still do its work), and whatever the function raises.
        """
        begun = time.monotonic()
        try:
            call = self._executor.submit(self._call, function)
        except RuntimeError as error:
            raise NotSent(f"the {self.name} lane is closed") from error
        waiting = asyncio.wrap_future(call)
        waiting.add_done_callback(_retrieve)
        try:
            await asyncio.wait({waiting}, timeout=self._deadline if start_within is None else start_within)
            if not waiting.done() and call.cancel():
                raise NotSent(f"the {self.name} lane was busy for {time.monotonic() - begun:.1f} s")
            await asyncio.wait({waiting}, timeout=max(0.0, begun + self._deadline - time.monotonic()))
        except asyncio.CancelledError:
            call.cancel()  # still queued: then it is never sent
            raise
        if not waiting.done():
            self._renew()
            raise TimeoutError(f"no full answer within {self._deadline:g} s")
        return waiting.result()

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        for client in self._clients:
            client._session.close()

    def _call(self, function: Callable[[C], T]) -> T:
        client: C | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = self._open_client()
            self._clients.append(client)
        return function(client)

    def _renew(self) -> None:
        """Leave a thread that hangs to itself, so that the next call does not queue behind it."""
        self._executor.shutdown(wait=False)
        self._executor = self._new_executor()

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, thread_name_prefix=f"broker-{self.name}")


async def ask(
    lane: Lane[C], headroom: Headroom, what: str, function: Callable[[C], T], attempts: int = READ_ATTEMPTS
) -> T:
    """A request that may be repeated.

    Raises AuthenticationFailed, RateLimited, OrderRejected (any other 4xx) or BrokerUnavailable.
    """
    for attempt in range(1, attempts + 1):
        if attempts > 1 and (held := headroom.held_seconds) > 0:  # a cancel tries all the same
            if held > PATIENCE_SECONDS:
                raise RateLimited(f"{what}: the venue's rate limit is used up.", f"Wait {held:.0f} s.", held)
            await asyncio.sleep(held)
        try:
            return await lane.run(function)
        except Exception as error:
            if attempt == attempts or not _worth_repeating(error):
                raise explain(error, what, headroom) from error
            await asyncio.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


async def send_once(lane: Lane[C], headroom: Headroom, what: str, function: Callable[[C], T], start_within: float) -> T:
    """A request that must not be repeated. As `ask`, but AmbiguousSubmission unless proven not to have been taken."""
    try:
        return await lane.run(function, start_within)
    except Exception as error:
        failure = explain(error, what, headroom)
        if isinstance(failure, BrokerUnavailable) and not _proven_unsent(error):
            raise AmbiguousSubmission(
                f"{what}: the answer is lost ({failure.message}), the order may be at the venue.",
                "It counts as open until the venue is asked by its client order id.",
            ) from error
        raise failure from error


def explain(error: Exception, what: str, headroom: Headroom) -> BrokerError:
    """The failure in Athena's terms."""
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, APIError):
        return _refusal(error, what, headroom)
    if isinstance(error, NotSent):
        return BrokerUnavailable(f"{what}: not sent, {error}.", "Try again.")
    if isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
        told = f"{what}: no answer in time ({_innermost(error)})."
        return BrokerUnavailable(told, "Check the network and the venue.")
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return BrokerUnavailable(f"{what}: the answer is not JSON ({error}).", "A proxy in between may have answered.")
    if _proven_unsent(error):
        where = urlsplit(getattr(getattr(error, "request", None), "url", None) or "").netloc or "the venue"
        return BrokerUnavailable(f"{what}: cannot connect to {where}.", "Is the venue running, and the network up?")
    if isinstance(error, requests.exceptions.RequestException):
        return BrokerUnavailable(f"{what}: the connection failed ({_innermost(error)}).", "Check the network.")
    return BrokerUnavailable(f"{what}: {type(error).__name__}: {error}.", "The venue's answer is not understood.")


def _refusal(error: APIError, what: str, headroom: Headroom) -> BrokerError:
    status = error.status_code or 0
    code, message = error_body(str(error))
    told = f"{what}: {message} (HTTP {status}{f', code {code}' if code else ''})."
    forbidden = message.lower().startswith(("forbidden", "unauthorized", "request is not authorized"))
    if status == 401 or (status == 403 and forbidden):
        return AuthenticationFailed(told, "Check APCA_API_KEY_ID and APCA_API_SECRET_KEY: are they this venue's?")
    if status == 429:
        wait = headroom.back_off_seconds()
        return RateLimited(told, f"Wait {wait:.0f} s.", wait)
    if status >= 500 or status == 408 or status < 400:
        return BrokerUnavailable(told, "Check the venue's status page.")
    return OrderRejected(told, "", status, code)


def error_body(text: str) -> tuple[int, str]:
    """Code (0 when there is none) and message of an error body, be it JSON, HTML or nothing."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        code = body.get("code")
        return (code if isinstance(code, int) else 0), str(body.get("message") or text)[:300]
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return 0, (title.group(1) if title else text).strip()[:200] or "no reason given"


def _worth_repeating(error: Exception) -> bool:
    """Failures that come at once and may pass: not a timeout, not a refused connection, not a refusal."""
    if isinstance(error, APIError):
        return error.status_code == 429 or (error.status_code or 0) >= 500
    if isinstance(error, (requests.exceptions.Timeout, TimeoutError, NotSent)) or _proven_unsent(error):
        return False
    return isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.JSONDecodeError))


def _proven_unsent(error: BaseException) -> bool:
    """True when no byte of the request can have left: it was not begun, or the connection never came to be."""
    if isinstance(error, (NotSent, requests.exceptions.ConnectTimeout)):
        return True
    reason = error.args[0] if isinstance(error, requests.exceptions.ConnectionError) and error.args else None
    return isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError)


def _innermost(error: BaseException) -> str:
    reason: Any = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    return re.sub(r"<[^>]*>:? ?", "", str(reason))[:200]


def _integer(text: str | None, otherwise: int | None) -> int | None:
    return int(text) if text and text.isdigit() else otherwise


def _retrieve(done: Future[Any] | asyncio.Future[Any]) -> None:
    """Look at an abandoned call's error, so that asyncio does not warn that nobody did."""
    if not done.cancelled():
        done.exception()
