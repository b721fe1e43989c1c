"""The way out: a task that sends orders, one that sends operators' exits, one that cancels; the search for answers.

The guard's send word is held exactly while a send is under way. Nothing is ever sent twice: what went unanswered is
looked up by its client order id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from athena.errors import AmbiguousSubmission, AthenaError, BrokerUnavailable, OrderRejected, RateLimited
from athena.live.brokers.base import Broker
from athena.live.events import Cancel, CancelAnswered, Event, OrderResolved, Resolve, SubmissionAnswered, Submit
from athena.live.execution_guard import ExecutionGuard
from athena.model import OrderStatus, Purpose

LANE_SIZE = 256
LOOKUP_SECONDS = 30.0  # an unanswered order is looked for this long; reconciliation goes on after that
NOT_FOUND_SECONDS = 5.0  # "no such order" is believed when the send is at least this old
PAUSE_SECONDS_MAX = 5.0


class OrderLane:
    """Bounded queues with one task each, so that neither an exit nor a cancel ever waits behind a send that hangs."""

    def __init__(self, broker: Broker, guard: ExecutionGuard, answer: Callable[[Event], None]) -> None:
        self._broker, self._guard, self._answer = broker, guard, answer
        self._sends: asyncio.Queue[Submit] = asyncio.Queue(LANE_SIZE)
        self._exits: asyncio.Queue[Submit] = asyncio.Queue(LANE_SIZE)
        self._cancels: asyncio.Queue[Cancel] = asyncio.Queue(LANE_SIZE)

    def put(self, action: Submit | Cancel) -> bool:
        """False when the lane is full: the action was not taken."""
        try:
            if isinstance(action, Cancel):
                self._cancels.put_nowait(action)
            elif action.approved.intent.purpose is Purpose.EXIT:
                self._exits.put_nowait(action)
            else:
                self._sends.put_nowait(action)
        except asyncio.QueueFull:
            return False
        return True

    @property
    def depths(self) -> dict[str, int]:
        return {"sends": self._sends.qsize(), "exits": self._exits.qsize(), "cancels": self._cancels.qsize()}

    async def run_sends(self) -> None:
        await self._run(self._sends)

    async def run_exits(self) -> None:
        await self._run(self._exits)

    async def _run(self, queue: asyncio.Queue[Submit]) -> None:
        while True:
            answered, pause = await send(self._broker, self._guard, await queue.get())
            self._answer(answered)
            await asyncio.sleep(pause)

    async def run_cancels(self) -> None:
        while True:
            self._answer(await cancel(self._broker, await self._cancels.get()))


async def send(broker: Broker, guard: ExecutionGuard, action: Submit) -> tuple[SubmissionAnswered, float]:
    """Send one order if the guard still allows it; the answer, and how long to pause before the next."""
    approved = action.approved
    name, final = approved.client_order_id, OrderStatus
    try:
        with guard.sending(approved) as clear:
            if not clear:
                return SubmissionAnswered(name, None, final.NOT_SENT, "halted between approval and sending"), 0.0
            return SubmissionAnswered(name, await broker.submit(approved)), 0.0
    except OrderRejected as error:
        if "client_order_id must be unique" in error.message:  # it is there already: learn what it is
            return SubmissionAnswered(name, None, final.UNKNOWN, str(error)), 0.0
        return SubmissionAnswered(name, None, final.REJECTED, str(error)), 0.0
    except RateLimited as error:
        pause = min(error.retry_after_seconds, PAUSE_SECONDS_MAX)
        return SubmissionAnswered(name, None, final.NOT_SENT, str(error)), pause
    except BrokerUnavailable as error:  # proven not sent
        return SubmissionAnswered(name, None, final.NOT_SENT, str(error)), 0.0
    except AmbiguousSubmission as error:
        return SubmissionAnswered(name, None, final.UNKNOWN, str(error)), 0.0
    except Exception as error:  # a defect after the request may have left: nothing is known
        return SubmissionAnswered(name, None, final.UNKNOWN, f"{type(error).__name__}: {error}"), 0.0


async def cancel(broker: Broker, action: Cancel) -> CancelAnswered:
    """Ask for one cancel; a failure to ask is an answer too, and the engine asks again."""
    try:
        return CancelAnswered(action.client_order_id, await broker.cancel(action.broker_order_id))
    except Exception as error:
        return CancelAnswered(action.client_order_id, None, f"{type(error).__name__}: {error}")


async def resolve(broker: Broker, action: Resolve, monotonic: Callable[[], float] = time.monotonic) -> OrderResolved:
    """Look an unanswered order up until it is found, proven absent, or time is out; waits 0.1 s, doubling to 2 s."""
    begun, pause = monotonic(), 0.1
    while (elapsed := monotonic() - begun) < LOOKUP_SECONDS:
        try:
            order = await broker.get_order(action.client_order_id)
            if order is not None:
                return OrderResolved(action.client_order_id, order)
            if action.sent_age_seconds + elapsed >= NOT_FOUND_SECONDS:
                return OrderResolved(action.client_order_id, None)
        except RateLimited as error:
            pause = max(pause, min(error.retry_after_seconds, PAUSE_SECONDS_MAX))
        except AthenaError:
            pass  # nothing was learnt: ask again
        await asyncio.sleep(pause)
        pause = min(pause * 2, 2.0)
    return OrderResolved(action.client_order_id, None, unresolved=True)
