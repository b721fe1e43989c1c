"""What the broker tests share: settings for a venue on loopback, approvals, and a record of events to wait on."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from decimal import Decimal

from athena.config import Settings
from athena.live.brokers.alpaca import AlpacaBroker
from athena.live.verdict import _MINT, Approved
from athena.model import OrderIntent, Side

_keys = itertools.count()


def settings_for(url, key="SIMULATOR", secret="simulator-secret", **more):
    more = {"connect_timeout_seconds": 1.0, "read_timeout_seconds": 1.0} | more
    return Settings(simulator_url=url, key_id=key, secret_key=secret, **more)


def approve(symbol="AAPL", side=Side.BUY, quantity=10, **more):
    """An approval as the guard mints it; tests of the broker need no guard."""
    more.setdefault("key", f"test-{next(_keys)}-{time.time_ns()}")
    return Approved(OrderIntent(symbol=symbol, side=side, quantity=Decimal(quantity), **more), 1, 1, 1, mint=_MINT)


class Events(list):
    """The listener of a test: keeps what it is told and waits for what is expected."""

    def __call__(self, event):
        self.append((time.monotonic(), event))

    def of(self, kind, since=0.0):
        return [event for at, event in self if isinstance(event, kind) and at >= since]

    async def wait(self, kind, where=lambda event: True, seconds=8.0, since=0.0):
        """The first event of a kind that satisfies `where`; AssertionError after so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for event in self.of(kind, since):
                if where(event):
                    return event
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} as expected within {seconds} s; got {[e for _, e in self][-20:]}")


@asynccontextmanager
async def connected(settings, symbols=()):
    """A connected AlpacaBroker and its events."""
    broker, events = AlpacaBroker(settings), Events()
    await broker.connect(events)
    try:
        if symbols:
            await broker.subscribe(symbols)
        yield broker, events
    finally:
        await broker.close()
