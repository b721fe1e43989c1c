"""Alpaca, as the engine uses it: orders out, streams in, one word on how it stands. Notebooks get a handle instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from athena.config import Settings
from athena.errors import AmbiguousSubmission, BrokerError, BrokerUnavailable, OrderRejected
from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.alpaca_health import look
from athena.live.brokers.alpaca_rest import AlpacaRest
from athena.live.brokers.alpaca_sockets import DataSocket, TradingSocket
from athena.live.brokers.base import (
    BrokerEvent,
    BrokerHealth,
    Listener,
    OrderUpdated,
    StateChanged,
    Unreadable,
)
from athena.live.brokers.http import send_once
from athena.live.brokers.mailbox import Mailbox
from athena.live.brokers.streams import Supervisor
from athena.live.verdict import Approved
from athena.model import BrokerState, Order, Purpose

if TYPE_CHECKING:
    from athena.live.brokers.handle import AlpacaHandle

START_WITHIN_SECONDS = 1.0  # an order that cannot leave in this time is not sent at all
PROBE_SECONDS = 1.0


class AlpacaBroker(AlpacaRest):
    """The live connection to Alpaca, or to the simulator. One per process, made by the engine; satisfies `Broker`.

    CONNECTED when requests are answered and the stream of order updates is up. The market-data stream has a state of
    its own: without it quotes grow old, and the guard refuses by their age.
    """

    _live: ClassVar[AlpacaBroker | None] = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._listener: Listener | None = None
        self._mailbox: Mailbox | None = None
        self._trading: Supervisor | None = None
        self._market: Supervisor | None = None
        self._symbols: frozenset[str] = frozenset()
        self._told = BrokerState.DISCONNECTED
        self._connected_since: float | None = None
        self._probe: asyncio.Task[None] | None = None
        self.unreadable = 0
        self.last_unreadable = ""

    @classmethod
    def get_instance(cls, settings: Settings | None = None) -> AlpacaBroker | AlpacaHandle:
        """The broker of the live system: the engine's own in its process, elsewhere a handle that reads."""
        if cls._live is not None and (settings is None or settings == cls._live.settings):
            return cls._live
        from athena.live.brokers.handle import AlpacaHandle

        return AlpacaHandle.get_instance(settings)

    # -------------------------------------------------------------------------------------------------- being connected

    async def connect(self, listener: Listener) -> None:
        """See `Broker.connect`. Within seconds: raises AuthenticationFailed for a wrong key, BrokerUnavailable."""
        if self._trading is not None:
            raise BrokerError("the broker is connected already.", "Use reconnect().")
        await self.get_account()  # a wrong key or a dead venue is told here, plainly
        self._listener = listener
        self._mailbox = mailbox = Mailbox(asyncio.get_running_loop(), self._deliver)
        settings = self.settings
        self._trading = Supervisor(
            "trading",
            lambda ready: TradingSocket(settings, mailbox.put, ready),
            mailbox.put,
            self._open_seconds,
        )
        self._trading.start()
        AlpacaBroker._live = self
        try:
            await self._trading.wait_ready(self._open_seconds)
            if self._symbols:
                await self._open_market()
        except BaseException:
            await self.close()
            raise
        self._compose("connected")

    async def subscribe(self, symbols: Iterable[str]) -> None:
        """Stream quotes and trades of exactly these. Raises AuthenticationFailed; else a failure shows as the state."""
        self._symbols = frozenset(symbols)
        if self._trading is None:
            return  # connect() opens the stream
        if not self._symbols:
            if self._market is not None:
                market, self._market = self._market, None
                await market.stop()
        elif self._market is None:
            await self._open_market()
        else:
            await self._market.on_socket(_follow)

    async def close(self) -> None:
        """End the streams and lanes. The object is spent."""
        if self._probe is not None:
            self._probe.cancel()
        try:
            await asyncio.gather(*(stream.stop() for stream in self._parts()))
        finally:
            self._lanes.close()
            if AlpacaBroker._live is self:
                AlpacaBroker._live = None

    async def reconnect(self) -> bool:
        """Open the streams anew and ask the venue once; True when connected within the settings' timeouts."""
        if self._trading is None:
            raise BrokerError("the broker was never connected.", "Call connect() first.")
        for stream in (self._trading, self._market):
            if stream is not None:
                stream.restart()
        with suppress(BrokerError):  # `state` and the events say why
            await self._trading.wait_ready(self._open_seconds)
            await self.get_clock()
        self._compose("asked to reconnect")
        return self.state is BrokerState.CONNECTED

    @property
    def state(self) -> BrokerState:
        if self._trading is None:
            return BrokerState.DISCONNECTED
        if self._trading.state is not BrokerState.CONNECTED:
            return self._trading.state
        return BrokerState.CONNECTED if self._rest_answers else BrokerState.RECONNECTING

    @property
    def streams(self) -> dict[str, str]:
        """The state of each stream, by name."""
        parts = {"trading": self._trading, "data": self._market}
        return {name: (part.state if part else BrokerState.DISCONNECTED).value for name, part in parts.items()}

    def get_uptime(self) -> float:
        since = self._connected_since
        return time.monotonic() - since if since is not None and self.state is BrokerState.CONNECTED else 0.0

    def heartbeat(self) -> dict[str, object]:
        """What the engine journals as the heartbeat of component 'broker', and handles read."""
        return {
            "state": self.state.value,
            "uptime_seconds": round(self.get_uptime(), 3),
            "since": datetime.fromtimestamp(time.time() - self.get_uptime(), UTC).isoformat(),
            "streams": self.streams,
            "reasons": {part.name: part.reason for part in (self._trading, self._market) if part is not None},
            "rate_limit": self.headroom.limit,
            "rate_limit_remaining": self.headroom.remaining,
            "unreadable": self.unreadable,
        }

    async def health_check(self) -> BrokerHealth:
        """Ask the venue for clock and account, timed; never raises for a venue that does not answer."""
        problems = [f"{part.name} stream: {part.reason}" for part in self._parts() if not _up(part)]
        if self.unreadable:
            problems.append(f"{self.unreadable} unreadable rows, last: {self.last_unreadable}")
        if self._mailbox and self._mailbox.failures:
            problems.append(f"the engine's handler failed {self._mailbox.failures} times")
        return await look(self, self.state, self.get_uptime(), self.streams, problems)

    # ----------------------------------------------------------------------------------------------------------- orders

    async def submit(self, approved: Approved) -> Order:
        """See `Broker.submit`. A duplicate client order id is our own order, sent before: it is looked up."""
        if not isinstance(approved, Approved):
            raise TypeError(f"submit takes an Approved, made by the guard; got {type(approved).__name__}")
        intent = approved.intent
        lane = self._lanes.exits if intent.purpose is Purpose.EXIT else self._lanes.orders
        body, what = wire.order_request(intent), f"order {approved.client_order_id}"
        try:
            raw = await send_once(
                lane, self.headroom, what, lambda client: client.post("/orders", body), START_WITHIN_SECONDS
            )
        except OrderRejected as refusal:
            if refusal.status == 422 and "client_order_id must be unique" in refusal.message:
                return await self._ours(approved.client_order_id, refusal)
            raise
        try:
            order = self._parsed("order", raw, self._order)
        except BrokerUnavailable as error:
            raise AmbiguousSubmission(f"{what}: taken, but the answer is not understood: {error.message}") from error
        if order.client_order_id != approved.client_order_id:
            raise AmbiguousSubmission(f"{what}: the venue answered with order {order.client_order_id}.")
        return order

    async def _ours(self, client_order_id: str, refusal: OrderRejected) -> Order:
        try:
            order = await self.get_order(client_order_id)
        except BrokerError as error:
            told = f"order {client_order_id}: the venue has it already, and cannot be asked about it: {error.message}"
            raise AmbiguousSubmission(told, error.hint) from error
        if order is None:
            raise AmbiguousSubmission(f"order {client_order_id}: the venue has it already, and has not.") from refusal
        return order

    # ---------------------------------------------------------------------------------------------------------- within

    @property
    def _open_seconds(self) -> float:
        return self.settings.connect_timeout_seconds + self.settings.read_timeout_seconds

    def _parts(self) -> list[Supervisor]:
        return [part for part in (self._trading, self._market) if part is not None]

    async def _open_market(self) -> None:
        mailbox, settings = self._mailbox, self.settings
        if mailbox is None:
            return
        self._market = Supervisor(
            "data",
            lambda ready: DataSocket(settings, lambda: self._symbols, mailbox.put, ready),
            mailbox.put,
            self._open_seconds,
        )
        self._market.start()
        with suppress(BrokerUnavailable):  # it keeps trying, its state says so, and old quotes are refused
            await self._market.wait_ready(self._open_seconds)

    def _deliver(self, event: BrokerEvent) -> None:
        """On the engine's loop: note what the broker itself needs to know, then hand on."""
        if isinstance(event, OrderUpdated):
            self._know(event.order)
        elif isinstance(event, Unreadable):
            self.unreadable += 1
            self.last_unreadable = f"{event.source}: {event.reason}"
        if self._listener is not None:
            self._listener(event)
        if isinstance(event, StateChanged) and event.stream == "trading":
            self._compose(f"trading stream: {event.reason}")

    def _compose(self, reason: str) -> None:
        """Tell the state of the whole when it changed."""
        state, previous = self.state, self._told
        if state is previous:
            return
        self._told = state
        self._connected_since = time.monotonic() if state is BrokerState.CONNECTED else None
        if self._mailbox is not None:
            self._mailbox.put(StateChanged("broker", state, previous, reason))

    def _note_answer(self, answered: bool, reason: str) -> None:
        super()._note_answer(answered, reason)
        if self._trading is None:
            return
        self._compose(reason)
        if not answered and self._probe is None:
            self._probe = asyncio.create_task(self._ask_until_answered())

    async def _ask_until_answered(self) -> None:
        """Ask for the clock each second: an engine that waits for CONNECTED asks nothing itself."""
        while not self._rest_answers:
            await asyncio.sleep(PROBE_SECONDS)
            with suppress(BrokerError):
                await self.get_clock()
        self._probe = None

    def _report(self, unreadable: Unreadable) -> None:
        super()._report(unreadable)
        if self._mailbox is not None:
            self._mailbox.put(unreadable)

    def __repr__(self) -> str:
        streams = ", ".join(f"{name} {state}" for name, state in self.streams.items())
        return f"<alpaca {self.venue}: {self.state.value}, up {self.get_uptime():.0f} s; streams: {streams}>"


def make_broker(settings: Settings) -> AlpacaBroker:
    """The engine's broker for the settings' venue: simulator, paper or live; only the addresses differ."""
    return AlpacaBroker(settings)


def _up(part: Supervisor) -> bool:
    return part.state is BrokerState.CONNECTED


async def _follow(socket: object) -> None:
    if isinstance(socket, DataSocket):
        await socket.follow_symbols()
