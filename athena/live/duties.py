"""What the engine does because time passed: obey halts, cancel old orders, watch the connection, keep the day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from athena.live.brokers.base import StateChanged
from athena.live.events import Reconcile
from athena.live.execution_guard import Halt
from athena.live.order_book import Tracked
from athena.model import BrokerState, Mode, OrderStatus, Origin, Scope, trading_date

if TYPE_CHECKING:
    from athena.live.engine import Engine

RECONCILE_SECONDS = 60.0
OPEN_ORDERS_SECONDS = 15.0
CANCEL_AGAIN_SECONDS = 5.0
ASK_AGAIN_SECONDS = 10.0
KEEP_SECONDS = 1.0
EQUITY_SECONDS_MIN = 0.5  # of machine time, when the venue's minutes fly


class Duties:
    """The part of the engine that a Tick drives. Monotonic seconds are the machine's, or whatever the Tick says."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.monotonic = 0.0
        self.reconcile_seconds = RECONCILE_SECONDS
        self.equity_seconds = EQUITY_SECONDS_MIN
        self.connectivity_halted = False
        self.unsure_since: datetime | None = None  # machine time since when positions are only what was last known
        self._halts: tuple[Halt, ...] = ()
        self._epoch: int | None = None
        self._day: date | None = None
        self._was_open = False
        self._minute: datetime | None = None
        self._looked_at = float("-inf")
        self._equity_at = self._reconciled_at = self._asked_at = self._retried_at = self._kept_at = 0.0

    @property
    def halts(self) -> tuple[Halt, ...]:
        """Halts that stand, as of the last tick."""
        return self._halts

    def tick(self, monotonic: float) -> None:
        if not self.monotonic:
            self._reconciled_at = monotonic
        self.monotonic = monotonic
        now = self._engine.clock.now()
        self._read_halts()
        self._retry_halts()
        self._cancel_orders(now)
        self._watch_connection()
        self._open_day(now)
        self._write_equity(now)
        self._keep_quotes(now)
        self._look_again()

    # --------------------------------------------------------------------------------------------------- halts, cancels

    def _read_halts(self) -> None:
        engine = self._engine
        row = engine.journal.one("SELECT epoch FROM guard WHERE id = 1")
        if row is None or row["epoch"] == self._epoch:
            return
        self._halts, self._epoch = engine.guard.halts(), row["epoch"]
        standing = {halt.id for halt in self._halts}
        self.connectivity_halted = any(halt.origin is Origin.CONNECTIVITY for halt in self._halts)
        engine.crashes = {what: name for what, name in engine.crashes.items() if not name or name in standing}

    def _retry_halts(self) -> None:
        """A crash whose halt could not be journaled is halted again, once a second, until it is on record."""
        engine = self._engine
        if engine.unrecorded and self.monotonic - self._retried_at >= 1:
            self._retried_at = self.monotonic
            for what, reason in list(engine.unrecorded.items()):
                engine.crashes[what] = engine.guard.halt(reason, origin=Origin.GUARD, owner="engine").id
                del engine.unrecorded[what]

    def _cancel_orders(self, now: datetime) -> None:
        engine = self._engine
        patience = {strategy.name: strategy.cancel_after_seconds for strategy in engine.strategies}
        for order in engine.book.open_in():
            if order.cancel_asked is not None:
                if self.monotonic - order.cancel_asked < CANCEL_AGAIN_SECONDS:
                    continue
            elif not order.cancel_wanted:
                waited = (now - order.venue_at).total_seconds()
                too_long = order.is_strategys and waited > patience.get(order.strategy, float("inf"))
                if not too_long and not (engine.settings.cancel_on_halt and self._is_halted(order)):
                    continue
            engine.cancel(order, self.monotonic)

    def _is_halted(self, order: Tracked) -> bool:
        return order.is_strategys and any(
            halt.mode is Mode.HALTED
            and (
                halt.scope in (Scope.GLOBAL, Scope.BROKER)
                or (halt.scope is Scope.SYMBOL and halt.target == order.symbol)
                or (halt.scope is Scope.STRATEGY and halt.target == order.strategy)
            )
            for halt in self._halts
        )

    # ------------------------------------------------------------------------------------------------------- connection

    def broker_state(self, event: StateChanged) -> None:
        """Record a change of the connection."""
        engine = self._engine
        name = engine.broker.name if event.stream == "broker" else f"{engine.broker.name}/{event.stream}"
        payload = {"broker": name, "state": event.state, "previous": event.previous, "reason": event.reason}
        engine.journal.append("broker.state", payload, engine.clock.now())

    def _watch_connection(self) -> None:
        """The guardian halts when the venue is gone too long, even if this loop hangs; it needs to know since when."""
        engine = self._engine
        if engine.broker.state is not BrokerState.CONNECTED and self.unsure_since is None:
            self.unsure_since = datetime.now(UTC)
        engine.guard.on_broker_state(BrokerState.CONNECTED if engine.stopping else engine.broker.state)

    def look_soon(self, why: str) -> None:
        """Look at the venue in a moment, at most every ten seconds: a refusal there may concern every order."""
        if self.monotonic - self._looked_at >= ASK_AGAIN_SECONDS:
            self._looked_at = self.monotonic
            self._engine.emit(Reconcile(why[:200], 0.5))

    def _look_again(self) -> None:
        engine, since = self._engine, self.monotonic - self._reconciled_at
        wait = ASK_AGAIN_SECONDS if self.connectivity_halted else self.reconcile_seconds
        if any(order.answered and self.monotonic - order.known_at > ASK_AGAIN_SECONDS for order in engine.book):
            wait = min(wait, OPEN_ORDERS_SECONDS)  # one whose end was never told would stay open until the next look
        if engine.broker.state is BrokerState.CONNECTED and since >= min(wait, self.reconcile_seconds):
            self._reconciled_at = self.monotonic
            engine.emit(Reconcile("periodic"))
        if self.monotonic - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = self.monotonic
            for order in engine.book.unanswered():
                if order.status is OrderStatus.UNKNOWN:
                    engine.resolve(order)

    # ------------------------------------------------------------------------------------------------- the day's equity

    def _open_day(self, now: datetime) -> None:
        engine, today = self._engine, self._engine.session.date(now)
        if today is None or today == self._day or not engine.is_open:
            return
        row = engine.journal.one("SELECT opening_equity FROM trading_days WHERE trading_date = ?", (today.isoformat(),))
        if row is None:
            opening = engine.portfolio.equity
            payload = {"trading_date": today.isoformat(), "opening_equity": opening}
            engine.journal.append("day.opened", payload, now)
            engine.guard.on_day(today, opening)
        self._day = today

    def _write_equity(self, now: datetime) -> None:
        engine = self._engine
        is_open = engine.is_open and engine.session.is_open(now)
        closed = self._was_open and not is_open
        self._was_open = is_open
        minute = now.replace(second=0, microsecond=0)
        due = is_open and minute != self._minute and self.monotonic - self._equity_at >= self.equity_seconds
        if due or closed:
            self._minute, self._equity_at = minute, self.monotonic
            reading = engine.session.reading
            # The last value of a day belongs to its close, even when the tick after it comes a little later.
            ended = closed and reading is not None and trading_date(reading.next_close) == self._day
            if ended and reading is not None:
                engine.kept_quotes.on_close(trading_date(reading.next_close), reading.next_close)
            self.write_equity(min(now, reading.next_close) if ended and reading is not None else now)

    def _keep_quotes(self, now: datetime) -> None:
        """Once a second: what is due of quiet symbols, and one commit of telemetry where there is anything to write."""
        if self.monotonic - self._kept_at < KEEP_SECONDS:
            return
        self._kept_at, engine = self.monotonic, self._engine
        connected = engine.broker.state is BrokerState.CONNECTED
        engine.kept_quotes.look(now, connected, getattr(engine.clock, "speed", 1.0))
        engine.kept_quotes.flush(engine.journal)

    def write_equity(self, venue_at: datetime) -> None:
        """Value the book at the current marks and journal it."""
        engine, portfolio = self._engine, self._engine.portfolio
        marks = {}
        for symbol in engine.held():
            if (price := engine.market.mark(symbol)) is not None:
                portfolio.mark(symbol, price)
                marks[symbol] = price
        payload = {name: getattr(portfolio, name) for name in ("equity", "cash", "realised_pnl", "unrealised_pnl")}
        engine.journal.append("equity", payload | {"marks": marks}, venue_at)
