"""The way from the streams' threads to the engine's loop: every order event in its order, of prices the latest."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import suppress

from athena.live.brokers.base import BrokerEvent, Listener, OrderUpdated, QuoteReceived, StateChanged, TradeReceived
from athena.model import BrokerState

log = logging.getLogger(__name__)

LAG_EVENTS = 10_000  # order events waiting for the engine; more is an error worth telling
BATCH_EVENTS = 500  # then the loop's other tasks have a turn


class Mailbox:
    """Takes events from any thread and calls the listener on the engine's loop.

    Order updates and states: all, in order. Quotes and trades: the latest of each symbol when the loop lags. A listener
    that raises is told so by a StateChanged of state ERROR; nothing is lost by it but the event it failed on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self._loop = loop
        self._listener = listener
        self._lock = threading.Lock()
        self._events: deque[BrokerEvent] = deque()
        self._latest: dict[tuple[str, str], QuoteReceived | TradeReceived] = {}
        self._scheduled = False
        self._told_lag = False
        self.conflated = 0
        self.failures = 0

    def put(self, event: BrokerEvent) -> None:
        """Take one event, from any thread."""
        with self._lock:
            if isinstance(event, QuoteReceived):
                self._replace(("quote", event.quote.symbol), event)
            elif isinstance(event, TradeReceived):
                self._replace(("trade", event.trade.symbol), event)
            else:
                self._events.append(event)
                if len(self._events) > LAG_EVENTS and not self._told_lag:
                    self._told_lag = True
                    told = f"{LAG_EVENTS} order events wait for the engine"
                    self._events.appendleft(StateChanged("engine", BrokerState.ERROR, BrokerState.CONNECTED, told))
            if self._scheduled:
                return
            self._scheduled = True
        with suppress(RuntimeError):  # the engine's loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._drain)

    def _replace(self, key: tuple[str, str], event: QuoteReceived | TradeReceived) -> None:
        self.conflated += self._latest.pop(key, None) is not None
        self._latest[key] = event

    def _drain(self) -> None:
        """On the loop: orders and states first, then the market."""
        with self._lock:
            batch: list[BrokerEvent] = [self._events.popleft() for _ in range(min(len(self._events), BATCH_EVENTS))]
            batch.extend(self._latest.values())
            self._latest.clear()
            if self._events:
                self._loop.call_soon(self._drain)
            else:
                self._scheduled = self._told_lag = False
        for event in batch:
            self._tell(event)

    def _tell(self, event: BrokerEvent) -> None:
        try:
            self._listener(event)
        except Exception as error:
            self.failures += 1
            log.exception("the listener failed on %s", type(event).__name__)
            what = f"the handler of {type(event).__name__} failed: {type(error).__name__}: {error}"
            stream = "trading" if isinstance(event, OrderUpdated) else "engine"
            with suppress(Exception):  # already counted and logged
                self._listener(StateChanged(stream, BrokerState.ERROR, BrokerState.CONNECTED, what))
