"""Streams that look alive and tell nothing: noticed by asking the venue otherwise, and ended by opening them anew.

A mute stream answers pings. Market data: silence is compared with the latest quotes by REST. Orders: one that should
have been over by now is looked at, and an execution that a connected stream never told gives the stream away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from athena.errors import AthenaError
from athena.live.events import Reconcile
from athena.model import BrokerState

if TYPE_CHECKING:
    from athena.live.engine import Engine

LOOK_SECONDS = 2.0
SILENT_SECONDS = 8.0  # without any quote in an open session: ask
OVERDUE_SECONDS = 5.0  # a market order, or a cancel, without an end
ASK_OVERDUE_SECONDS = 10.0
UNTOLD_SECONDS = 3.0  # an execution found by asking that the stream has not told by then
MARGIN_SECONDS = 2.0  # by so much newer a quote must be to prove that the stream withholds it
RECONNECT_SECONDS = 30.0  # between two attempts


class StreamWatch:
    """Looks every two seconds; seconds are the machine's. `reconnects` counts what it did, with the last reason."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._count, self._heard = -1, clock()
        self._asked = self._reconnected = float("-inf")
        self.reconnects, self.reason = 0, ""
        self._latest: datetime | None = None  # of the quotes asked for last
        self.stale = ""  # what is wrong with the market data though its stream is up

    async def look(self) -> None:
        """One look at both streams. Raises nothing for a venue that does not answer: that is seen elsewhere."""
        engine, now = self._engine, self._clock()
        if engine.market.count != self._count:
            self._count, self._heard, self.stale = engine.market.count, now, ""
        is_open = engine.session.is_open(engine.clock.now())
        if engine.broker.state is not BrokerState.CONNECTED or not is_open:
            self._heard = now
            return
        if now - self._heard > SILENT_SECONDS:
            with suppress(AthenaError, TimeoutError):
                await self._ask_for_quotes(now)
        self._overdue(now)
        untold = engine.reconciler.untold
        if late := [name for name, found in untold.items() if now - found > UNTOLD_SECONDS]:
            untold.clear()
            await self.reopen(f"{len(late)} execution(s) were found by asking and never told, the first {late[0]}")

    async def reopen(self, why: str) -> None:
        """Open the streams anew, at most twice a minute; what was missed is found by the reconciliation after it."""
        if self._clock() - self._reconnected < RECONNECT_SECONDS:
            return
        self._reconnected, self.reconnects, self.reason = self._clock(), self.reconnects + 1, why
        engine = self._engine
        engine.journal.append("note", {"text": f"the streams are opened anew: {why}"}, engine.clock.now())
        with suppress(AthenaError, TimeoutError):
            await engine.broker.reconnect()

    async def _ask_for_quotes(self, now: float) -> None:
        engine, silent = self._engine, now - self._heard
        known = dict(engine.market.quotes)
        if not known:
            return
        told = await engine.broker.get_quotes(sorted(known))
        margin = timedelta(seconds=MARGIN_SECONDS * getattr(engine.clock, "speed", 1.0))
        newer = [symbol for symbol, quote in told.items() if quote.at > known[symbol].at + margin]
        if engine.market.count != self._count:
            return
        latest = max((quote.at for quote in told.values()), default=None)
        moves, self._latest = latest != self._latest, latest  # newer than ours, but standing still: the feed is stale
        if not (newer and moves) and not self.stale:
            self.stale = f"no quote for {silent:.0f} s in an open session, and the venue has no newer ones"
            engine.journal.append("note", {"text": f"{self.stale}: old quotes let no order pass"}, engine.clock.now())
        if newer and moves:
            await self.reopen(f"no quote for {silent:.0f} s, and the venue has newer ones of {', '.join(newer[:5])}")

    def _overdue(self, now: float) -> None:
        engine = self._engine
        if now - self._asked < ASK_OVERDUE_SECONDS:
            return
        for order in engine.book:
            if order.answered and order.is_overdue(now, OVERDUE_SECONDS):
                self._asked = now
                engine.emit(Reconcile(f"no end of order {order.client_order_id}"[:200]))
                return
