"""An engine that dies by SIGKILL at a named place of the order path: the real one, with a death wish laid around it.

Nothing of this is in the product. Places are named for what they surround: `before send`, `after commit of fill`.
"""

import asyncio
import os
import random
import signal
from decimal import Decimal

from athena.config import Settings
from athena.errors import AthenaError
from athena.journal import journal as journals
from athena.live import deciding, strategies, watching
from athena.live.brokers.alpaca import AlpacaBroker
from athena.live.runner import run

COMMITTED = (
    "order.intended", "order.refused", "order.updated", "fill", "halt.set", "engine.started", "reconciliation"
)  # fmt: skip
SENT = ("send", "cancel")
POINTS = (
    *(f"{when} commit of {kind}" for kind in COMMITTED for when in ("before", "after")),
    *(f"{when} {what}" for what in SENT for when in ("before", "during", "after")),
)
DURING_SECONDS_MAX = 0.004


class Restless:
    """Always wants something: market orders larger than what is shown, limits that rest and are cancelled, and back."""

    cancel_after_seconds = 20.0

    def __init__(self, name, symbols, parameters):
        self.name, self.symbols = name, symbols

    def on_quote(self, quote, context):
        if context.working:
            return ()
        shares = Decimal(-40 if context.position > 0 else 40)
        match context.next_number % 4:
            case 0:
                far = quote.bid * Decimal("0.97") if shares > 0 else quote.ask * Decimal("1.03")
                return (context.order(quote, shares, "rests", far.quantize(Decimal("0.01"))),)
            case 1:
                near = quote.ask if shares > 0 else quote.bid
                return (context.order(quote, shares, "takes", near.quantize(Decimal("0.01"))),)
            case 2 if context.next_number % 8 == 2:
                return (context.order(quote, Decimal(50_000), "is refused"),)  # more than the guard allows
        return (context.order(quote, shares * 8, "takes in parts"),)

    def on_fill(self, fill):
        pass


class DeathWish:
    """Counts the passings of one point; at the last wanted one the process is gone."""

    def __init__(self, point, passings):
        self.point, self.left = point, passings

    def at(self, point):
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def soon(self, point, chance):
        """As `at`, a moment later, while what was begun is under way."""
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                delay = chance.uniform(0, DURING_SECONDS_MAX)
                asyncio.get_running_loop().call_later(delay, os.kill, os.getpid(), signal.SIGKILL)


def doomed_transactions(wish):
    """The journal's transactions, with the wish before and after each commit of each kind of event."""

    class Doomed(journals.Transaction):
        def __init__(self, journal):
            super().__init__(journal)
            self.kinds = set()

        def append(self, kind, payload, venue_at=None):
            self.kinds.add(kind)
            return super().append(kind, payload, venue_at)

        def __exit__(self, kind, error, trace):
            for name in sorted(self.kinds):
                wish.at(f"before commit of {name}")
            super().__exit__(kind, error, trace)
            for name in sorted(self.kinds):
                wish.at(f"after commit of {name}")

    return Doomed


class DoomedBroker(AlpacaBroker):
    """The broker, with the wish around each send and each cancel."""

    wish, chance = DeathWish("", 0), random.Random(0)

    async def submit(self, approved):
        self.wish.at("before send")
        self.wish.soon("during send", self.chance)
        order = await super().submit(approved)
        self.wish.at("after send")
        return order

    async def cancel(self, broker_order_id):
        self.wish.at("before cancel")
        self.wish.soon("during cancel", self.chance)
        result = await super().cancel(broker_order_id)
        self.wish.at("after cancel")
        return result


def engine_process(home, url, point, passings, seed, said):
    """Run an engine until it dies; what it announces goes through the pipe `said`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    strategies.STRATEGY_REGISTRY["restless"] = (Restless, NoParameters)
    watching.RECONNECT_SECONDS = 3.0  # the next case is not to wait for the pauses after the last
    deciding.PAUSE_SECONDS_MAX = deciding.PAUSE_SECONDS
    wish = DeathWish(point, passings)
    journals.Transaction = doomed_transactions(wish)
    settings = Settings.load({}, home=home, simulator_url=url)
    broker = DoomedBroker(settings)
    broker.wish, broker.chance = wish, random.Random(seed)
    try:
        asyncio.run(run(settings, broker, announce=said.send))
    except AthenaError as error:
        said.send(f"REFUSED {error}")
        raise SystemExit(error.exit_code) from error


class NoParameters:
    """`restless` has none."""

    __dataclass_fields__: dict = {}

    def check(self):
        return ""
