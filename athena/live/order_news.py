"""What the venue says of our orders: updates by the stream, answers to a send, a lookup or a cancel, executions found.

Each is journaled by the book first; then the engine's portfolio, guard and strategies follow.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from athena.journal.codec import to_text
from athena.live.amending import AMENDED, amend
from athena.live.events import CancelAnswered, OrderResolved, Reconcile, SubmissionAnswered
from athena.model import Fill, Order, OrderStatus

if TYPE_CHECKING:
    from athena.live.engine import Engine

_AT_WORK = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED)


def take_update(engine: Engine, order: Order, word: str, fill: Fill | None, at: datetime) -> None:
    """An order update of the stream, its execution first; a bust or a correction is booked back."""
    if word in AMENDED:
        newer = "SELECT 1 FROM fills WHERE broker_order_id = ? AND at > ? AND client_order_id != ''"
        late = engine.journal.one(newer, (order.broker_order_id, to_text(at))) is not None
        # Overtaken by a fill it does not count yet: then the order is asked for, by the reconciliation.
        for item in [] if late else amend(engine, order):
            engine.journal.append("note", {"text": f"{word}: {item.evidence}; {item.action}"}, at)
        engine.emit(Reconcile(f"{word} of {order.symbol}", 0.2))
        return
    if fill is not None:
        engine.reconciler.untold.pop(fill.execution_id, None)
    nbbo = engine.market.nbbo_before(fill.symbol, fill.at) if fill else None
    engine.follow_up(engine.book.take(order, fill, "stream", at, nbbo), nbbo)


def take_answer(engine: Engine, answer: SubmissionAnswered) -> None:
    """The answer to a send: the order, or why there is none."""
    if answer.order is not None:
        engine.follow_up(engine.book.take(answer.order, None, "answer", answer.order.updated_at or engine.clock.now()))
    elif answer.status is not None:
        tracked = engine.book.get(answer.client_order_id)
        engine.conclude(answer.client_order_id, answer.status, answer.error)
        if tracked is not None:
            tell_strategy(engine, tracked.strategy, tracked.symbol, answer.status, answer.error)
        if answer.status is OrderStatus.UNKNOWN:
            engine.resolve(engine.book.get(answer.client_order_id))


def tell_strategy(engine: Engine, strategy: str, symbol: str, status: OrderStatus, why: str) -> None:
    """What became of its order: refused by the venue, by whatever way it is told, it pauses; at work, it need not.

    A request that was answered is not at work yet: the venue may still refuse it by the stream.
    """
    if status is OrderStatus.REJECTED:
        engine.deciders.rejected(strategy, symbol, engine.duties.monotonic)
        engine.duties.look_soon(f"rejected: {why}")  # buying power, a blocked account: learn it
    elif status in _AT_WORK:
        engine.deciders.accepted(strategy, symbol)


def take_resolved(engine: Engine, event: OrderResolved) -> None:
    """The end of a search for an order without an answer."""
    tracked = engine.book.get(event.client_order_id)
    if tracked is not None:
        tracked.resolving = False
    if event.order is not None:
        engine.follow_up(engine.book.take(event.order, None, "lookup", event.order.updated_at or engine.clock.now()))
        if event.order.filled_quantity:
            engine.emit(Reconcile("an unanswered order was found filled"))
    elif not event.unresolved and tracked is not None and not tracked.answered:  # the stream may have known it since
        engine.conclude(event.client_order_id, OrderStatus.NOT_SENT, "the venue has no order of this id")


def take_cancel_answer(engine: Engine, answer: CancelAnswered) -> None:
    """The answer to a cancel; what was refused is looked at, what was not asked is asked again."""
    tracked = engine.book.get(answer.client_order_id)
    if tracked is None or (answer.result is not None and answer.result.accepted):
        return
    if answer.result is None:
        tracked.cancel_asked = None  # not asked: the next tick asks again
    else:  # gone or final at the venue: learn what it became
        engine.emit(Reconcile(f"cancel refused: {answer.result.message}"[:200], 0.2))


def take_execution(engine: Engine, fill: Fill, source: str) -> bool:
    """Take in an execution that reconciliation found; True when it was new."""
    news = engine.book.take_fill(fill, source)
    engine.follow_up(news)
    if news.fill is not None and not engine.book.knows(news.fill.client_order_id):
        engine.reconciler.unlearned.add(news.fill.client_order_id)
    return news.fill is not None
