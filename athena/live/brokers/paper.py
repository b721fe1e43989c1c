"""The simulator's exchange in this process, as a broker: no sockets, no threads, the same protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeVar, cast

from athena.config import Settings
from athena.errors import AuthenticationFailed, BrokerError, BrokerUnavailable, OrderRejected
from athena.live.brokers.alpaca_wire import FILL_EVENTS, execution_id
from athena.live.brokers.base import (
    Asset,
    BrokerEvent,
    BrokerHealth,
    CancelResult,
    Listener,
    OrderUpdated,
    QuoteReceived,
    Rows,
    StateChanged,
    Timeframe,
    TradeReceived,
)
from athena.live.verdict import Approved
from athena.model import Account, Bar, BrokerState, CashFlow, Clock, Fill, Order, Position, Quote, Trade
from athena.simulator import sessions
from athena.simulator.account import VenueAccount
from athena.simulator.activities import CashActivity, FillActivity
from athena.simulator.errors import VenueError
from athena.simulator.exchange import Exchange
from athena.simulator.orders import OrderRequest, TradeUpdate, VenueOrder

T = TypeVar("T")
KEY_ID, SECRET = "PAPER", "paper-secret"
PAGE = 500
ACTIVITIES_PAGE = 100


class PaperBroker:
    """One account of an `Exchange`, driven by calls: order updates come as they happen, quotes when `pump()` is called.

    Everything happens in the caller's thread, so a drive with a ManualClock is deterministic.
    """

    name = "paper"
    _live: ClassVar[PaperBroker | None] = None

    def __init__(
        self, exchange: Exchange, key_id: str = KEY_ID, secret: str = SECRET, cash: Decimal | None = None
    ) -> None:
        self.exchange = exchange
        self._clock: Any = exchange._clock  # its time is ours
        self._key_id, self._secret = key_id, secret
        self.account: VenueAccount = self._told(lambda: exchange.open_account(key_id, secret, cash))
        self.state = BrokerState.DISCONNECTED
        self._listener: Listener | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._symbols: tuple[str, ...] = ()
        self._shown: dict[str, tuple[Quote | None, Trade | None]] = {}
        self._since = 0.0
        PaperBroker._live = self

    @classmethod
    def get_instance(cls, settings: Settings | None = None) -> PaperBroker | None:
        """The one made last in this process, or None: a paper exchange lives in one process only."""
        return cls._live

    async def connect(self, listener: Listener) -> None:
        if self._unsubscribe is not None:
            raise BrokerError("the broker is connected already.")
        self._listener = listener
        self._unsubscribe = self.exchange.subscribe(self.account, self._on_update)
        self._set_state(BrokerState.CONNECTED, "in process")
        self._since = time.monotonic()

    async def subscribe(self, symbols: Iterable[str]) -> None:
        self._symbols = tuple(sorted(set(symbols)))

    def pump(self) -> int:
        """Bring the exchange up to its clock and tell the quotes and trades that are new; how many were told."""
        self.exchange.advance()
        now, told = self._clock.now(), 0
        for symbol in self._symbols:
            seen = self._shown.get(symbol, (None, None))
            current = (self.exchange.tape.quote(symbol, now), self.exchange.tape.trade(symbol, now))
            self._shown[symbol] = current
            if current[0] is not None and current[0] != seen[0]:
                told += self._tell(QuoteReceived(current[0]))
            if current[1] is not None and current[1] != seen[1]:
                told += self._tell(TradeReceived(current[1]))
        return told

    async def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._set_state(BrokerState.DISCONNECTED, "closed")
        if PaperBroker._live is self:
            PaperBroker._live = None

    async def reconnect(self) -> bool:
        return self.state is BrokerState.CONNECTED

    def get_uptime(self) -> float:
        return time.monotonic() - self._since if self.state is BrokerState.CONNECTED else 0.0

    @property
    def streams(self) -> dict[str, str]:
        return {"trading": self.state.value, "data": self.state.value}

    def heartbeat(self) -> dict[str, object]:
        """What the engine journals as the heartbeat of component 'broker'."""
        return {"state": self.state.value, "uptime_seconds": round(self.get_uptime(), 3), "streams": self.streams}

    async def health_check(self) -> BrokerHealth:
        begun = time.perf_counter()
        clock, account = await self.get_clock(), await self.get_account()
        return BrokerHealth(
            broker=self.name,
            venue=self.name,
            state=self.state,
            checked_at=datetime.now(UTC),
            uptime_seconds=self.get_uptime(),
            latency_seconds=time.perf_counter() - begun,
            speed=clock.speed,
            account_number=account.account_number,
            account_status=account.status,
            market_open=clock.is_open,
            streams=self.streams,
            problems=("trading is suspended by the user",) if account.trade_suspended_by_user else (),
        )

    async def submit(self, approved: Approved) -> Order:
        """See `Broker.submit`; in process no answer is ever ambiguous."""
        if not isinstance(approved, Approved):
            raise TypeError(f"submit takes an Approved, made by the guard; got {type(approved).__name__}")
        i = approved.intent
        request = OrderRequest(
            symbol=i.symbol,
            side=i.side,
            type=i.type,
            time_in_force=i.time_in_force,
            quantity=i.quantity,
            limit_price=i.limit_price,
            stop_price=i.stop_price,
            extended_hours=i.extended_hours,
            client_order_id=approved.client_order_id,
        )
        try:
            return _order(self._told(lambda: self.account.submit(request)))
        except OrderRejected as refusal:
            ours = await self.get_order(approved.client_order_id) if "must be unique" in refusal.message else None
            if ours is None:
                raise
            return ours

    async def cancel(self, broker_order_id: str) -> CancelResult:
        try:
            self._told(lambda: self.account.cancel(broker_order_id))
        except OrderRejected as refusal:
            return CancelResult(broker_order_id, refusal.status, refusal.message)
        return CancelResult(broker_order_id, 204)

    async def cancel_all(self) -> Rows[CancelResult]:
        return Rows(CancelResult(row.id, row.status) for row in self._told(self.account.cancel_all))

    async def get_account(self) -> Account:
        s = self._told(self.account.summary)
        return Account(
            account_number=s.account_number,
            venue=self.name,
            status=s.status,
            currency=s.currency,
            cash=s.cash,
            equity=s.equity,
            last_equity=s.last_equity,
            buying_power=s.buying_power,
            long_market_value=s.long_market_value,
            short_market_value=s.short_market_value,
            trade_suspended_by_user=s.trade_suspended_by_user,
            shorting_enabled=s.shorting_enabled,
        )

    async def get_clock(self) -> Clock:
        now = self._clock.now()
        speed = float(getattr(self._clock, "speed", 1.0))
        return Clock(now, sessions.is_open(now), sessions.next_open(now), sessions.next_close(now), speed)

    async def get_positions(self) -> Rows[Position]:
        found = self._told(self.account.positions)
        return Rows(Position(p.symbol, p.quantity, p.average_entry_price, p.current_price) for p in found)

    async def get_orders(
        self, status: str = "open", after: datetime | None = None, symbols: Iterable[str] | None = None
    ) -> Rows[Order]:
        word = cast(Literal["open", "closed", "all"], status)
        wanted = None if symbols is None else list(symbols)
        found: dict[str, VenueOrder] = {}
        while True:
            page = self._told(
                lambda after=after: self.account.orders(  # type: ignore[misc]
                    word, limit=PAGE, after=after, direction="asc", symbols=wanted
                )
            )
            found |= {order.id: order for order in page}
            if len(page) < PAGE or page[-1].submitted_at == after:
                return Rows(_order(order) for order in found.values())
            after = page[-1].submitted_at

    async def get_order(self, client_order_id: str) -> Order | None:
        try:
            return _order(self._told(lambda: self.account.order_by_client_id(client_order_id)))
        except OrderRejected as error:
            if error.status == 404:
                return None
            raise

    async def get_fills(self, after: datetime | None) -> Rows[Fill]:
        return Rows(
            self._fill(entry) for entry in self._activities(("FILL",), after) if isinstance(entry, FillActivity)
        )

    async def get_cash_flows(self, after: datetime | None) -> Rows[CashFlow]:
        return Rows(
            CashFlow(entry.id, entry.activity_type, entry.net_amount, entry.at, entry.description)
            for entry in self._activities(("CSD", "CSW"), after)
            if isinstance(entry, CashActivity)
        )

    async def get_quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        now = self._clock.now()
        known = [symbol for symbol in symbols if self.exchange.asset(symbol) is not None]
        return {symbol: quote for symbol in known if (quote := self.exchange.tape.quote(symbol, now)) is not None}

    async def get_asset(self, symbol: str) -> Asset | None:
        a = self.exchange.asset(symbol)
        if a is None:
            return None
        tradable = a.tradable and a.status == "active"
        return Asset(
            a.symbol, a.name, a.exchange, tradable, a.shortable, a.fractionable, a.marginable, a.easy_to_borrow
        )

    async def get_bars(
        self, symbols: Iterable[str], start: datetime, end: datetime, timeframe: Timeframe = "1Day"
    ) -> dict[str, tuple[Bar, ...]]:
        end = min(end, self._clock.now())  # a tape knows the future; a venue does not tell it
        return {symbol: tuple(self.exchange.tape.bars(symbol, start, end, timeframe)) for symbol in symbols}

    async def suspend_trading(self, suspend: bool) -> bool:
        self._told(lambda: self.account.update_configurations(suspend_trade=suspend))
        return self._told(self.account.configurations).suspend_trade

    # ---------------------------------------------------------------------------------------------------------- within

    def _on_update(self, update: TradeUpdate) -> None:
        order, done = _order(update.order), None
        if update.event in FILL_EVENTS and update.quantity is not None and update.price is not None:
            done = Fill(
                execution_id=execution_id(order.broker_order_id, order.filled_quantity),
                client_order_id=order.client_order_id,
                broker_order_id=order.broker_order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=update.quantity,
                price=update.price,
                at=update.at,
            )
        self._tell(OrderUpdated(order, update.event, done, update.at, update.position_quantity))

    def _fill(self, entry: FillActivity) -> Fill:
        return Fill(
            execution_id=execution_id(entry.order_id, entry.cumulative_quantity),
            client_order_id=self._told(lambda: self.account.order(entry.order_id)).client_order_id,
            broker_order_id=entry.order_id,
            symbol=entry.symbol,
            side=entry.side,
            quantity=entry.quantity,
            price=entry.price,
            at=entry.at,
        )

    def _activities(self, types: tuple[str, ...], after: datetime | None) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._told(
                lambda token=token: self.account.activities(  # type: ignore[misc]
                    types, after=after, direction="asc", page_size=ACTIVITIES_PAGE, page_token=token
                )
            )
            found.extend(page)
            if len(page) < ACTIVITIES_PAGE:
                return found
            token = page[-1].id

    def _told(self, function: Callable[[], T]) -> T:
        """The venue's answer; its refusal in Athena's terms."""
        try:
            return function()
        except VenueError as error:
            told = f"paper: {error.message} (HTTP {error.status}, code {error.code})."
            if error.status == 401:
                raise AuthenticationFailed(told) from error
            if error.status >= 500:
                raise BrokerUnavailable(told) from error
            raise OrderRejected(told, "", error.status, error.code) from error

    def _tell(self, event: BrokerEvent) -> bool:
        if self._listener is None:
            return False
        self._listener(event)
        return True

    def _set_state(self, state: BrokerState, reason: str) -> None:
        previous, self.state = self.state, state
        if previous is not state:
            self._tell(StateChanged("broker", state, previous, reason))

    def __repr__(self) -> str:
        return f"<paper broker, in process: {self.state.value}, account {self.account.account_number}>"


def _order(order: VenueOrder) -> Order:
    return Order(
        client_order_id=order.client_order_id,
        broker_order_id=order.id,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force,
        status=order.status,
        quantity=order.quantity,
        filled_quantity=order.filled_quantity,
        average_fill_price=order.average_fill_price,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        notional=order.notional,
        extended_hours=order.extended_hours,
        submitted_at=order.submitted_at,
        updated_at=order.updated_at,
        replaced_by=order.replaced_by,
        replaces=order.replaces,
    )
