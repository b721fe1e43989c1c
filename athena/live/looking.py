"""Looking at the venue: one reconciliation at a time, asked for by the engine, by a command, or by the start."""

from __future__ import annotations

import asyncio
import time

from athena.errors import AthenaError
from athena.live.cash_flows import flows_since
from athena.live.engine import Engine
from athena.live.events import Reconcile, ReconciliationDone
from athena.live.reconciliation import Outcome, take_look


class Looker:
    """Takes looks and feeds them to the engine; of several that are asked for, the earliest is taken and serves all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._busy = asyncio.Lock()
        self._due: tuple[float, str] | None = None
        self._asked = asyncio.Event()

    def ask(self, action: Reconcile) -> None:
        due = time.monotonic() + action.after_seconds
        if self._due is None or due < self._due[0]:
            self._due = (due, action.trigger)
        self._asked.set()

    async def run(self) -> None:
        """Take the looks that were asked for, for ever."""
        while True:
            await self._asked.wait()
            if self._due is None:
                self._asked.clear()
            elif (wait := self._due[0] - time.monotonic()) > 0:
                await asyncio.sleep(min(wait, 0.1))  # an earlier one may be asked for meanwhile
            else:
                trigger, self._due = self._due[1], None
                await self.look(trigger)

    async def look(self, trigger: str) -> Outcome:
        """One whole reconciliation, now. Raises AthenaError when the engine could not take it in."""
        engine = self._engine
        async with self._busy:
            asked, after = engine.clock.now(), engine.reconciler.after()
            try:
                doubt, flows_after = engine.reconciler.doubt(), flows_since(engine.journal, after)
                look = await take_look(
                    engine.broker, after, self._answered_open, lambda: engine.fills_seen, doubt, flows_after
                )
                done = ReconciliationDone(trigger, look, asked_venue_at=asked)
            except (AthenaError, TimeoutError) as error:
                done = ReconciliationDone(trigger, None, str(error) or type(error).__name__, asked)
            before = engine.reconciler.count
            engine.process(done)
            if engine.reconciler.last is None or engine.reconciler.count == before:
                raise AthenaError("the comparison with the venue failed.", "The engine's log has the traceback.")
            return engine.reconciler.last

    def _answered_open(self) -> list[str]:
        return [order.client_order_id for order in self._engine.book if order.answered]
