"""A running simulator for any test: real port, real sockets, its loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from athena.simulator.clock import ManualClock, Now, VenueClock
from athena.simulator.market_data import Market
from athena.simulator.server import DEFAULT_KEYS, ServerOptions, SimulatorServer
from athena.simulator.state import saved_at
from athena.simulator.synthetic import SyntheticTape

Result = TypeVar("Result")

KEY, SECRET = next(iter(DEFAULT_KEYS.items()))
SESSION_MORNING = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)  # 10:00 in New York, half an hour after the open
SYMBOLS = ("AAPL", "JPM", "KO", "MSFT", "XOM")


@dataclass(frozen=True)
class RunningSimulator:
    """`url` is the REST origin; streams are `ws + "/stream"` and `ws + "/v2/iex"`."""

    server: SimulatorServer
    clock: Now
    tape: Market
    loop: asyncio.AbstractEventLoop
    key: str = KEY
    secret: str = SECRET

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1)

    @property
    def port(self) -> int:
        return self.server.port

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Runs `function` on the simulator's own loop, the one place from which its exchange may be touched."""

        async def run() -> Result:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def set_time(self, at: datetime) -> None:
        """Sets a ManualClock and lets everything happen up to then."""

        def leap() -> None:
            self.clock.set(at)  # type: ignore[attr-defined]
            self.server.tick()

        self.call(leap)


@contextmanager
def running_simulator(
    *,
    start: datetime = SESSION_MORNING,
    speed: float = 1.0,
    manual: bool = False,
    symbols: tuple[str, ...] | None = SYMBOLS,
    seed: int = 7,
    tape: Market | None = None,
    clock: Now | None = None,
    **options: Any,
) -> Iterator[RunningSimulator]:
    """A simulator at venue time `start` (a ManualClock with `manual=True`); `options` are ServerOptions' fields.

    The rate limit is out of the way unless asked for (`requests_per_minute=200`).
    """
    tape = tape or SyntheticTape(seed, symbols)
    if options.get("state_path"):
        start = max(start, saved_at(options["state_path"]) or start)
    clock = clock or (ManualClock(start) if manual else VenueClock(start, speed))
    options = {"requests_per_minute": 1_000_000, "data_requests_per_minute": 1_000_000, **options}
    server = SimulatorServer(tape, clock, ServerOptions(**options))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        try:
            yield RunningSimulator(server, clock, tape, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
