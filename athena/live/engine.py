"""The engine: one `process(event)` is the whole system.

Each handler is synchronous, journals first, and then asks for actions (`emit`) that others carry out: the order lane,
the reconciler, the command desk. Nothing here awaits, sleeps or talks to a venue, so a session can be replayed by
feeding events in. A handler that fails halts trading; exits and commands go on being served.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.live.brokers.base import (
    Broker,
    OrderUpdated,
    QuoteReceived,
    StateChanged,
    StreamRestored,
    TradeReceived,
    Unreadable,
)
from athena.live.deciding import Deciders
from athena.live.duties import Duties
from athena.live.events import (
    Action,
    Cancel,
    CancelAnswered,
    ClockRead,
    CommandFinished,
    CommandRequested,
    Event,
    ExitRequested,
    OrderResolved,
    Reconcile,
    ReconciliationDone,
    Resolve,
    RunCommand,
    SubmissionAnswered,
    Submit,
    TaskFailed,
    Tick,
)
from athena.live.execution_guard import ExecutionGuard
from athena.live.kept_quotes import QuoteKeeper
from athena.live.market_data import MarketData
from athena.live.order_book import News, OrderBook, Tracked
from athena.live.order_news import take_answer, take_cancel_answer, take_resolved, take_update, tell_strategy
from athena.live.order_payloads import in_shares
from athena.live.reconciler import Reconciler
from athena.live.strategies.base import Strategy
from athena.live.venue_clock import FollowedClock, Now, Session
from athena.live.verdict import Approved, Verdict
from athena.model import Clock, Fill, OrderIntent, OrderStatus, Origin, Quote

if TYPE_CHECKING:
    from athena.journal.journal import Journal

log = logging.getLogger("athena.engine")
BUFFER_MAX = 100_000


class Engine:
    """The live system's state and its one entrance, `process`.

    `emit` takes the actions and answers False when it is full; set it before the first event. Until `open_gates` the
    venue's news of orders is buffered: the snapshot comes first.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        journal: Journal,
        guard: ExecutionGuard,
        portfolio: Portfolio,
        strategies: Sequence[Strategy],
        clock: Now,
    ) -> None:
        self.settings, self.broker, self.journal, self.guard = settings, broker, journal, guard
        self.portfolio, self.strategies, self.clock = portfolio, tuple(strategies), clock
        self.book, self.market, self.session = OrderBook(journal), MarketData(), Session()
        self.kept_quotes = QuoteKeeper(self.market)
        self.deciders = Deciders(self.strategies, journal, self.book)
        self.duties, self.reconciler = Duties(self), Reconciler(self)
        self.emit: Callable[[Action], bool] = lambda action: False
        self.guarded = False  # the guard has started: it may be fed and asked
        self.stopping = self.ended = False
        self.crashes: dict[str, str] = {}  # what failed -> the id of the halt it caused, "" while that is not journaled
        self.unrecorded: dict[str, str] = {}  # what failed -> the reason of a halt that could not be journaled yet
        self.fills_seen: dict[str, int] = {}  # symbol -> fills taken in by this process
        self._buffer: deque[Event] | None = deque(maxlen=BUFFER_MAX)

    def process(self, event: Event) -> None:
        """Take one event in. Never raises: what fails inside halts trading."""
        if self.ended:  # news still on its way when the guard closed; the next start reads it from the venue
            return
        if self._buffer is not None and isinstance(event, OrderUpdated):
            self._buffer.append(event)
            return
        try:
            self._handle(event)
        except Exception as error:
            self._crashed(type(event).__name__, error)

    def _handle(self, event: Event) -> None:
        match event:
            case QuoteReceived(quote):
                self._on_quote(quote)
            case TradeReceived(trade):
                self.market.on_trade(trade)
                self.guard.on_trade(trade)
            case OrderUpdated(order, word, fill, at):
                take_update(self, order, word, fill, at)
            case Tick(monotonic):
                self.duties.tick(monotonic)
            case ClockRead(reading, asked, answered):
                self._on_clock(reading, asked, answered)
            case SubmissionAnswered():
                take_answer(self, event)
            case CancelAnswered():
                take_cancel_answer(self, event)
            case OrderResolved():
                take_resolved(self, event)
            case ExitRequested(intent):
                self._decide(intent)
            case CommandRequested():
                self._on_command(event)
            case CommandFinished(name, ok, result):
                status = "done" if ok else "failed"
                self.journal.append("command.finished", {"id": name, "status": status, "result": dict(result)})
            case ReconciliationDone():
                self.reconciler.take(event)
            case StateChanged():
                self.duties.broker_state(event)
            case StreamRestored(stream):
                self.emit(Reconcile(f"the {stream} stream was restored"))
            case Unreadable(source, reason, raw):
                self.journal.append("note", {"text": f"unreadable from {source}: {reason}: {raw[:500]}"})
                self.emit(Reconcile(f"unreadable news from {source}", 0.2))
            case TaskFailed(task, error):
                self._crashed(task, error)

    # -------------------------------------------------------------------------------------------- the market, decisions

    def _on_quote(self, quote: Quote) -> None:
        if isinstance(self.clock, FollowedClock):
            self.clock.observe(quote.at)
        self.market.on_quote(quote)
        self.guard.on_quote(quote)
        if quote.symbol in self.kept_quotes.waiting:
            self.kept_quotes.on_quote(quote.symbol, quote.at)
        strategies = self.deciders.of(quote.symbol)
        if not strategies or self._buffer is not None or self.stopping or self.settings.safe_mode:
            return
        now = self.clock.now()
        if not self.session.is_open(now):
            return
        for strategy in strategies:
            paused = self.deciders.paused(strategy.name, quote.symbol, self.duties.monotonic)
            if strategy.name not in self.crashes and not paused:
                try:
                    for intent in self.deciders.intents(strategy, quote, now, self.session.seconds_to_close(now)):
                        self._decide(intent)
                except Exception as error:
                    self._crashed(strategy.name, error)

    def _decide(self, intent: OrderIntent) -> Verdict:
        verdict = self.guard.admit(intent, self.clock.now())
        if isinstance(verdict, Approved):
            self.book.expect(intent, datetime.now(UTC), self.clock.now())
            if not self.emit(Submit(verdict)):
                self.conclude(intent.client_order_id, OrderStatus.NOT_SENT, "the order lane is full")
        return verdict

    # ----------------------------------------------------------------------------------------------- orders, truth back

    def follow_up(self, news: News, nbbo: Quote | None = None) -> None:
        """What follows from news that is journaled already."""
        if (fill := news.fill) is not None:
            self.fills_seen[fill.symbol] = self.fills_seen.get(fill.symbol, 0) + 1
            self.portfolio.apply_fill(fill)
            self.deciders.holdings.trade(news.strategy, fill.symbol, fill.signed_quantity, fill.price)
            self.guard.on_fill(fill, nbbo.bid if nbbo else None, nbbo.ask if nbbo else None)
            self.kept_quotes.on_fill(fill, self.clock.now(), self.session.close, getattr(self.clock, "speed", 1.0))
        if news.order is not None:
            told = replace(
                self.book.order(news.order.client_order_id), notional=news.order.notional,
                updated_at=news.order.updated_at,
            )  # fmt: skip
            self.guard.on_order(in_shares(told, self.market.mark(told.symbol)))
            self.kept_quotes.on_order(news.order, self.clock.now())
            self._cancel_if_wanted(news.order.client_order_id)
            tell_strategy(self, news.strategy, told.symbol, told.status, f"{told.symbol}, told after it was taken")
        if fill is not None:
            for strategy in self.strategies:
                if strategy.name == news.strategy:
                    strategy.on_fill(fill)

    def conclude(self, client_order_id: str, status: OrderStatus, error: str) -> None:
        """Journal what we concluded of an order ourselves, and let the guard know."""
        order = self.book.settle(client_order_id, status, error, "engine", self.clock.now())
        self.guard.on_order(order)
        self.kept_quotes.on_order(order, self.clock.now())

    def resolve(self, tracked: Tracked | None, at_start: bool = False) -> None:
        """Have an unanswered order looked up by its client id, one search at a time."""
        if tracked is None or tracked.resolving or tracked.answered:
            return
        age = (datetime.now(UTC) - tracked.intended_at).total_seconds() if at_start else 0.0
        tracked.resolving = self.emit(Resolve(tracked.client_order_id, max(0.0, age)))

    def cancel(self, tracked: Tracked, monotonic: float) -> None:
        """Ask for a cancel, as soon as the venue has named the order; asking again is harmless."""
        tracked.cancel_wanted = True
        if tracked.broker_order_id and tracked.status.is_open:
            taken = self.emit(Cancel(tracked.client_order_id, tracked.broker_order_id))
            self.guard.on_cancel()
            tracked.cancel_asked = monotonic if taken else None

    def _cancel_if_wanted(self, client_order_id: str) -> None:
        tracked = self.book.get(client_order_id)
        if tracked is not None and tracked.cancel_wanted and tracked.cancel_asked is None:
            self.cancel(tracked, self.duties.monotonic)

    # --------------------------------------------------------------------------------------------------------- the rest

    def _on_clock(self, reading: Clock, asked: float, answered: float) -> None:
        if isinstance(self.clock, FollowedClock):
            self.clock.follow(reading, asked, answered)
        self.session.reading = reading
        if self.guarded:
            self.guard.on_clock(reading)

    def _on_command(self, command: CommandRequested) -> None:
        why = "it expired before the engine took it up" if command.expired else ""
        if not why and self.stopping and command.name != "ping":
            why = "the engine is stopping"
        if not why and not self.emit(RunCommand(command)):
            why = "too many commands are under way"
        if why:
            self._handle(CommandFinished(command.id, False, {"message": f"{command.name} was not begun: {why}"}))

    def load(self) -> None:
        """Read what the journal knows: open orders, and what each strategy holds."""
        self.book.load()
        self.reconciler.unlearned |= self.book.unlearned()
        for row in self.journal.query("SELECT strategy, symbol, side, quantity, price FROM fills ORDER BY sequence"):
            signed = Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
            self.deciders.holdings.trade(row["strategy"], row["symbol"], signed, Decimal(row["price"]))

    def open_gates(self) -> None:
        """From now on the venue's news of orders is taken in as it comes; first what was buffered."""
        buffered, self._buffer = self._buffer or (), None
        for event in buffered:
            self.process(event)

    def held(self) -> dict[str, Decimal]:
        """Signed shares by symbol, flat ones left out."""
        return {position.symbol: position.quantity for position in self.portfolio.positions() if position.quantity}

    @property
    def is_open(self) -> bool:
        """True once the books were compared with the venue and news comes in as it happens."""
        return self._buffer is None

    def booked(self, fill: Fill) -> None:
        """A correction was journaled: the books follow, and it is nobody's execution to judge."""
        self.fills_seen[fill.symbol] = self.fills_seen.get(fill.symbol, 0) + 1
        self.portfolio.apply_fill(fill)
        self.deciders.holdings.trade(fill.strategy, fill.symbol, fill.signed_quantity, fill.price)
        book = self.guard.gate.book
        book.take(book.of(fill.symbol), fill.signed_quantity, fill.price)

    def _crashed(self, what: str, error: BaseException) -> None:
        """Halt trading once per failing part while its halt stands; the traceback goes to the log."""
        if what in self.crashes:
            return
        self.crashes[what] = ""
        log.error("%s failed; trading is halted", what, exc_info=error)
        reason = f"{what} failed: {type(error).__name__}: {error}"[:500]
        try:
            self.crashes[what] = self.guard.halt(reason, origin=Origin.GUARD, owner="engine").id
        except Exception as second:  # the flag is down by then: the guard writes it first
            self.unrecorded[what] = f"{reason} (at {datetime.now(UTC):%H:%M:%S} UTC)"
            log.error("the halt could not be journaled", exc_info=second)


async def run_engine(settings: Settings, *, announce: Callable[[str], None] | None = None) -> int:
    """Run the engine on the settings' venue until it is told to stop; its exit code. Raises AthenaError."""
    from athena.live.brokers.alpaca import AlpacaBroker
    from athena.live.runner import run

    return await run(settings, AlpacaBroker(settings), announce=announce)
