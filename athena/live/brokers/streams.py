"""Streams kept up: a thread for each that connects, watches, reconnects and says so.

alpaca-py's own loop reconnects for ever in silence, waits 190 s for a dead peer and tells nobody of a wrong key. Here
its clients only connect and read; when, how often and with what said is decided by `Supervisor`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from athena.errors import AuthenticationFailed, BrokerUnavailable
from athena.live.brokers.base import (
    BrokerEvent,
    StateChanged,
    StreamRestored,
)
from athena.model import BrokerState

log = logging.getLogger(__name__)

PING_SECONDS = 1.0
SILENCE_SECONDS = 3.5  # with the ping before it, a dead peer is noticed within 5 s
STABLE_SECONDS = 10.0
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.2, 10.0
REFUSED_DELAY_SECONDS, LONGEST_REFUSED_DELAY_SECONDS = 0.5, 30.0
CANCEL_AGAIN_SECONDS = 0.1


class Refused(Exception):
    """The venue took the connection and would not serve it: slot taken, limit exceeded. Try again, slowly."""


class Socket(Protocol):
    """One connection's life. `heard` is the machine's monotonic time of the last frame or pong."""

    heard: float

    async def open(self) -> None: ...
    async def consume(self) -> None: ...
    async def ping(self) -> None: ...
    async def drop(self) -> None: ...


class Supervisor:
    """Keeps one stream up in a daemon thread of its own, and tells every change of its state.

    `make_socket(ready)` makes a fresh connection; it calls `ready` when the venue has confirmed the subscription.
    `emit` takes events from any thread.
    """

    def __init__(
        self,
        name: str,
        make_socket: Callable[[Callable[[], None]], Socket],
        emit: Callable[[BrokerEvent], None],
        open_timeout_seconds: float,
    ) -> None:
        self.name = name
        self.state = BrokerState.DISCONNECTED
        self.reason = "not started"
        self._make_socket = make_socket
        self._emit = emit
        self._open_timeout = open_timeout_seconds
        self._ready: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: Socket | None = None
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._up_since: float | None = None
        self._was_up = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._main, name=f"stream-{self.name}", daemon=True)
        self._thread.start()

    async def wait_ready(self, seconds: float) -> None:
        """Until the stream is up. Raises AuthenticationFailed at once, BrokerUnavailable after so many seconds."""
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._ready)), seconds)
        except TimeoutError:
            told = f"the {self.name} stream is not up after {seconds:g} s: {self.reason}."
            hint = "Look at the network; only one engine or program may hold an account's stream at a time."
            raise BrokerUnavailable(told, hint) from None

    def restart(self) -> None:
        """Drop the connection, or the wait for one, and connect at once. From any thread."""
        self._ready = Future()
        self._call(self._wake.set)

    async def stop(self, seconds: float = 5.0) -> None:
        """Close the connection and end the thread; from another loop than its own."""
        self._stopping.set()
        self._call(self._wake.set)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, seconds)
        self._change(BrokerState.DISCONNECTED, "closed")

    async def on_socket(self, action: Callable[[Socket], Awaitable[None]]) -> None:
        """Run something on the live connection, in its own loop; nothing happens when it is down."""
        socket, loop = self._socket, self._loop
        if socket is None or loop is None or self.state is not BrokerState.CONNECTED:
            return

        async def act() -> None:
            await action(socket)

        done = asyncio.run_coroutine_threadsafe(act(), loop)
        with suppress(Exception):  # a connection that breaks meanwhile subscribes anew when it is back
            await asyncio.wait_for(asyncio.wrap_future(done), self._open_timeout)

    # ------------------------------------------------------------------------------------------- in the stream's thread

    def _call(self, function: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(function)

    def _main(self) -> None:
        try:
            asyncio.run(self._supervise())
        except Exception as error:
            log.exception("stream %s: the supervisor failed", self.name)
            self._change(BrokerState.ERROR, f"the supervisor failed: {type(error).__name__}: {error}")

    async def _supervise(self) -> None:
        self._loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping.is_set():
            self._change(BrokerState.RECONNECTING if self._was_up else BrokerState.CONNECTING, "connecting")
            failure = await self._one_connection()
            if self._stopping.is_set():
                return
            if self._wake.is_set():
                self._wake.clear()
                failures = 0
                self._change(BrokerState.RECONNECTING, "asked to reconnect")
                continue
            failures = 1 if self._seconds_up() > STABLE_SECONDS else failures + 1
            await self._pause(failure, failures)

    async def _one_connection(self) -> Exception:
        """Connect, read until it breaks or we are woken, close. Returns why it ended."""
        self._up_since = None
        socket = self._make_socket(self._is_up)
        try:
            return await _first_end(self._live(socket), self._wake.wait())
        except Exception as error:
            if self._seconds_up() > 0:  # said before the close, which waits for a peer that may be dead
                self._change(BrokerState.RECONNECTING, str(error) or type(error).__name__)
            return error
        finally:
            self._socket = None
            with suppress(Exception):
                await socket.drop()

    async def _live(self, socket: Socket) -> None:
        async with asyncio.timeout(self._open_timeout):
            await socket.open()
        self._socket = socket
        await _first_end(socket.consume(), self._watch(socket))

    async def _watch(self, socket: Socket) -> None:
        """Ping each second; raises when nothing at all was heard for too long, or no subscription was confirmed."""
        opened = time.monotonic()
        while True:
            slept_at = time.monotonic()
            await asyncio.sleep(PING_SECONDS)
            now = time.monotonic()
            if now - slept_at > PING_SECONDS + 1:  # this process stood still: the answers may wait unread
                socket.heard = max(socket.heard, now - PING_SECONDS)
            if now - socket.heard > SILENCE_SECONDS:
                raise ConnectionError(f"nothing heard for {now - socket.heard:.1f} s, not even a pong")
            if self._up_since is None and now - opened > self._open_timeout:
                raise TimeoutError(f"the subscription was not confirmed within {self._open_timeout:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(socket.ping(), PING_SECONDS)

    async def _pause(self, failure: Exception, failures: int) -> None:
        """Say what happened and wait: longer each time, longest when the venue refuses; `restart` cuts it short."""
        refused = isinstance(failure, (Refused, AuthenticationFailed))
        first, longest = (
            (REFUSED_DELAY_SECONDS, LONGEST_REFUSED_DELAY_SECONDS)
            if refused
            else (FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        )
        delay = min(longest, first * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)
        said = getattr(failure, "message", "") or str(failure) or type(failure).__name__
        state = BrokerState.ERROR if refused else BrokerState.RECONNECTING
        self._change(state, f"{said}; trying again in {delay:.1f} s")
        if isinstance(failure, AuthenticationFailed) and not self._ready.done():
            self._ready.set_exception(failure)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay)
        self._wake.clear()

    def _seconds_up(self) -> float:
        """How long this connection has been confirmed; 0 when it was not."""
        return 0.0 if self._up_since is None else time.monotonic() - self._up_since

    def _is_up(self) -> None:
        if self._up_since is not None:
            return
        self._up_since = time.monotonic()
        self._change(BrokerState.CONNECTED, "subscribed")
        if self._was_up:
            self._emit(StreamRestored(self.name))
        self._was_up = True
        if not self._ready.done():
            self._ready.set_result(None)

    def _change(self, state: BrokerState, reason: str) -> None:
        previous, self.state, was, self.reason = self.state, state, self.reason, reason
        if previous is not state or (was != reason and state is BrokerState.ERROR):
            self._emit(StateChanged(self.name, state, previous, reason))


async def _first_end(*ways: Coroutine[Any, Any, object]) -> Exception:
    """Run all until one ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in done:
        task.result()
    return ConnectionError("the stream ended")


async def _end(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel until all have ended: before Python 3.12 `wait_for` loses a cancellation that meets what it waits for."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        with suppress(asyncio.CancelledError):  # we are ending already
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost
