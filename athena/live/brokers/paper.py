"""The simulator's exchange in this process, as a broker: no sockets, no threads, the same protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeVar, cast

from athena.config import Settings
from athena.errors import AuthenticationFailed, BrokerError, BrokerUnavailable, OrderRejected
from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.base import (
    Asset,
    BrokerEvent,
    BrokerHealth,
    CancelResult,
    Listener,
    QuoteReceived,
    Rows,
    StateChanged,
    Timeframe,
    TradeReceived,
)
from athena.live.verdict import Approved
from athena.model import Account, Bar, BrokerState, CashFlow, Clock, Fill, Order, Position, Quote, Trade
from athena.simulator import sessions
from athena.simulator import wire as venue_wire
from athena.simulator.account import VenueAccount
from athena.simulator.activities import FillActivity
from athena.simulator.errors import VenueError
from athena.simulator.exchange import Exchange
from athena.simulator.orders import OrderRequest, TradeUpdate, VenueOrder

T = TypeVar("T")
KEY_ID, SECRET = "PAPER", "paper-secret"
PAGE = 500
ACTIVITIES_PAGE = 100


class PaperBroker:
    """One account of an `Exchange`, driven by calls: order updates come as they happen, quotes when `pump()` is called.

    Everything happens in the caller's thread, so a drive with a ManualClock is deterministic. Facts pass through the
    same words as over the wire, so that the two brokers cannot tell different things.
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
            return self._order(self.account.submit, request)
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
        return wire.account(venue_wire.account(self._told(self.account.summary)), self.name)

    async def get_clock(self) -> Clock:
        now = self._clock.now()
        speed = float(getattr(self._clock, "speed", 1.0))
        return Clock(now, sessions.is_open(now), sessions.next_open(now), sessions.next_close(now), speed)

    async def get_positions(self) -> Rows[Position]:
        found = self._told(self.account.positions)
        return Rows(wire.position(venue_wire.position(position)) for position in found)

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
                return Rows(wire.order(venue_wire.order(order)) for order in found.values())
            after = page[-1].submitted_at

    async def get_order(self, client_order_id: str) -> Order | None:
        try:
            return self._order(self.account.order_by_client_id, client_order_id)
        except OrderRejected as error:
            if error.status == 404:
                return None
            raise

    async def get_fills(self, after: datetime | None) -> Rows[Fill]:
        found = self._activities(("FILL",), after)
        return Rows(self._fill(entry) for entry in found if entry.previous_id is None)

    async def get_cash_flows(self, after: datetime | None) -> Rows[CashFlow]:
        found = self._activities(("CSD", "CSW"), after)
        return Rows(wire.cash_flow(venue_wire.activity(entry)) for entry in found)

    async def get_quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        now = self._clock.now()
        known = [symbol for symbol in symbols if self.exchange.asset(symbol) is not None]
        return {symbol: quote for symbol in known if (quote := self.exchange.tape.quote(symbol, now)) is not None}

    async def get_asset(self, symbol: str) -> Asset | None:
        listed = self.exchange.asset(symbol)
        return None if listed is None else wire.asset(venue_wire.asset(listed))

    async def get_bars(
        self, symbols: Iterable[str], start: datetime, end: datetime, timeframe: Timeframe = "1Day"
    ) -> dict[str, tuple[Bar, ...]]:
        end = min(end, self._clock.now())  # a tape knows the future; a venue does not tell it
        return {symbol: tuple(self.exchange.tape.bars(symbol, start, end, timeframe)) for symbol in symbols}

    async def suspend_trading(self, suspend: bool) -> bool:
        self._told(lambda: self.account.update_configurations(suspend_trade=suspend))
        return self._told(self.account.configurations).suspend_trade

    # ---------------------------------------------------------------------------------------------------------- within

    def _order(self, verb: Callable[[T], VenueOrder], argument: T) -> Order:
        return wire.order(venue_wire.order(self._told(lambda: verb(argument))))

    def _on_update(self, update: TradeUpdate) -> None:
        self._tell(wire.order_update(venue_wire.trade_update(update), []))

    def _fill(self, entry: FillActivity) -> Fill:
        order = self._told(lambda: self.account.order(entry.order_id))
        return wire.fill(venue_wire.activity(entry), order.client_order_id)

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
