"""The venue as a server: Alpaca's REST and both its WebSockets on one loopback port, and the tick that drives it.

`serve` runs until it is told to stop, for the command line; `SimulatorServer` starts and stops, for programs and tests.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from aiohttp import web

from athena.errors import SimulatorError
from athena.simulator import access, fault_routes, routes_account, routes_admin, routes_data, routes_trading
from athena.simulator.access import TICK, VENUE, Venue
from athena.simulator.clock import Now, VenueClock
from athena.simulator.exchange import Exchange
from athena.simulator.fault_desk import FaultDesk
from athena.simulator.fault_effects import Effects
from athena.simulator.fault_model import Schedule
from athena.simulator.fault_requests import skew_date
from athena.simulator.fault_routes import FAULTS
from athena.simulator.faults import Faults, FeedClock
from athena.simulator.market_data import Market
from athena.simulator.market_stream import ALL_FEEDS, MarketStream
from athena.simulator.publisher import Publisher
from athena.simulator.rate_limit import RateLimit
from athena.simulator.state import saved_at
from athena.simulator.trade_stream import TradeStream

log = logging.getLogger(__name__)

DEFAULT_KEYS: Mapping[str, str] = {"SIMULATOR": "simulator-secret"}
DEFAULT_PORT = 8710
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TICK_SECONDS = 0.05
BODY_BYTES_MAX = 1 << 20
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The house rules: who has a key, opening cash in dollars, requests a minute, where orders are logged.

    `port` 0 takes a free one. `state_path` keeps accounts over a restart. `schedule` says what goes wrong and when,
    `fault_log` gets a line for each harm done; `faults` takes the place of both for single requests and messages. A
    stream's client has `auth_seconds` to authenticate, and is cut off when `frames_waiting_max` frames wait for it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    keys: Mapping[str, str] | None = None
    opening_cash: Decimal = Decimal(100_000)
    requests_per_minute: int = 200
    data_requests_per_minute: int = 200
    state_path: Path | None = None
    order_log: Path | None = None
    faults: Faults | None = None
    schedule: Schedule = field(default_factory=Schedule)
    fault_log: Path | None = None
    seed: int = 0
    auth_seconds: float = 10.0
    frames_waiting_max: int = 1024


class SimulatorServer:
    """The venue on a port. Everything happens on the event loop that called `start`.

    Raises SimulatorError when the port cannot be had, the host is not loopback, or the state file cannot be read.
    """

    def __init__(self, tape: Market, clock: Now, options: ServerOptions | None = None) -> None:
        options = options or ServerOptions()
        if options.host not in LOOPBACK:
            raise SimulatorError(f"The simulator serves loopback only, not '{options.host}'.", "Use --host 127.0.0.1.")
        self.options = options
        self.clock = clock
        if options.order_log is not None:
            try:
                options.order_log.open("a").close()
            except OSError as error:
                reason = f"The order log {options.order_log} cannot be written: {error.strerror}."
                raise SimulatorError(reason, "Name a file in a directory that exists.") from None
        keys = dict(options.keys or DEFAULT_KEYS)
        self.exchange = Exchange(
            tape, clock, options.state_path, keys=keys, opening_cash=options.opening_cash, seed=options.seed
        )
        feed = FeedClock(clock)
        self.market_stream = MarketStream(options.auth_seconds, options.frames_waiting_max)
        self.trade_stream = TradeStream(options.auth_seconds, options.frames_waiting_max)
        effects = Effects(self.exchange, clock, feed, self.market_stream, self.trade_stream)
        self.faults = FaultDesk(effects, options.schedule.seed, options.fault_log)
        self.venue = Venue(
            exchange=self.exchange,
            tape=tape,
            clock=clock,
            feed=feed,
            keys=keys,
            trading_limit=RateLimit(options.requests_per_minute),
            data_limit=RateLimit(options.data_requests_per_minute),
            order_log=options.order_log,
            faults=options.faults or self.faults,
        )
        self.application = self._routed()
        self._publisher = Publisher(self.market_stream, tape, feed)
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._port = options.port

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The origin: REST under it, ws:// in place of http:// for the streams."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Binds the port and begins to tick. A server that could not start, or was stopped, does not start again."""
        try:
            for fault in self.options.schedule.faults:
                self.faults.lay(fault)
            self.tick()  # refuses a time the tape does not cover, and imports the calendar before the first request
            self._runner = await self._bind()
        except BaseException:
            self.exchange.close()
            raise
        self._port = self._runner.addresses[0][1]
        self._ticker = asyncio.create_task(self._tick_forever())

    async def stop(self) -> None:
        """Closes the streams and the port, and saves the accounts. Harmless when repeated."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError, SimulatorError):
                await self._ticker
        if self._runner is not None:
            await asyncio.gather(self.market_stream.close(), self.trade_stream.close())
            await self._runner.cleanup()
            self._runner = None
            self.exchange.close()

    async def finished(self) -> None:
        """Waits until the market ends or breaks down: raises what the ticker raised, else never returns."""
        if self._ticker is not None:
            await asyncio.shield(self._ticker)

    def tick(self) -> None:
        """Brings the market up to the clock: streams tell what it showed, then orders match against it."""
        now = self.clock.now()
        self.venue.tape.prices(self.venue.tape.symbols[0], now)  # raises where the market has no more days
        self.faults.tick()
        self.venue.count("market_data", self._publisher.publish(self.venue.feed.now()))
        self.exchange.advance()
        self.venue.count("ticks")

    async def _bind(self) -> web.AppRunner:
        host, port = self.options.host, self.options.port
        runner = web.AppRunner(self.application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
            hint = f"Stop what listens there, or choose another: athena simulator --port {port + 1}."
            raise SimulatorError(f"Port {port} on {host} {reason}.", hint) from None
        return runner

    async def _tick_forever(self) -> None:
        try:
            while True:
                self.tick()
                await asyncio.sleep(TICK_SECONDS)
        except Exception as error:
            log.error("the market stands still: %s", error)
            raise

    async def _skew_date(self, request: web.Request, response: web.StreamResponse) -> None:
        skew_date(response, self.faults.effects.skew)

    def _routed(self) -> web.Application:
        app = web.Application(
            middlewares=[access.log_orders, access.answer_problems, access.admit], client_max_size=BODY_BYTES_MAX
        )
        app[VENUE], app[TICK], app[FAULTS] = self.venue, self.tick, self.faults
        app.on_response_prepare.append(access.add_rate_limit_headers)
        app.on_response_prepare.append(self._skew_date)
        for module in (routes_trading, routes_account, routes_data, routes_admin, fault_routes):
            app.add_routes(module.routes)
        app.router.add_get("/stream", self.trade_stream.handle)
        app.router.add_get(f"/v2/{{feed:{'|'.join(ALL_FEEDS)}}}", self.market_stream.handle)
        return app


async def serve(
    tape: Market,
    *,
    start: datetime,
    speed: float = 1.0,
    skip_closed: bool = False,
    options: ServerOptions | None = None,
    announce: Callable[[SimulatorServer], None] = lambda server: None,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops cleanly; prints nothing.

    Time begins at `start`, or where the state file stopped if that is later. `announce` is called once, when the port
    is open. Raises SimulatorError as SimulatorServer does, and when the tape comes to its end.
    """
    options = options or ServerOptions(port=DEFAULT_PORT)
    start = max(start, saved_at(options.state_path) or start) if options.state_path else start
    server = SimulatorServer(tape, VenueClock(start, speed, skip_closed=skip_closed), options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await server.start()
    waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(server.finished())]
    try:
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        announce(server)
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        for task in waiting:
            task.cancel()
        await server.stop()
