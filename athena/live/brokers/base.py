"""The seam between the engine and a venue: what any broker does, what it tells, and in which words.

Every read either answers or raises from `athena.errors`: an empty answer always means "there is none".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Protocol, TypeVar

from athena.model import (
    Account,
    Bar,
    BrokerState,
    CashFlow,
    Clock,
    Fill,
    Order,
    Position,
    Quote,
    Trade,
)

if TYPE_CHECKING:
    from athena.live.verdict import Approved

T = TypeVar("T")
Timeframe = timedelta | str
"""A bar's length: a timedelta of whole minutes or hours, or the string "1Day"."""


class Broker(Protocol):
    """A venue that takes approved orders and tells what became of them.

    Any call may raise BrokerUnavailable (nothing was learnt), AuthenticationFailed or RateLimited.
    """

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> BrokerState:
        """CONNECTED only when requests are answered and the stream of order updates is up."""
        ...

    async def connect(self, listener: Listener) -> None:
        """Open the streams; `listener` is then called on the running loop, in order, and must not block.

        Returns when the order stream is listening. Raises AuthenticationFailed or BrokerUnavailable.
        """
        ...

    async def subscribe(self, symbols: Iterable[str]) -> None:
        """Stream quotes and trades of exactly these symbols from now on, also after a reconnect."""
        ...

    async def close(self) -> None: ...

    async def reconnect(self) -> bool:
        """Drop the streams and open them again; True when the broker is connected afterwards."""
        ...

    def get_uptime(self) -> float:
        """Seconds since the broker last became connected; 0 when it is not."""
        ...

    async def health_check(self) -> BrokerHealth: ...

    async def submit(self, approved: Approved) -> Order:
        """Send one order, at most once.

        Raises OrderRejected (the venue said no), RateLimited (likewise: it was not taken), BrokerUnavailable (proven
        never to have been sent), AmbiguousSubmission (ask by the client order id before anything else).
        """
        ...

    async def cancel(self, broker_order_id: str) -> CancelResult:
        """Ask for a cancel. An order that is gone or final already is a result, not an error."""
        ...

    async def cancel_all(self) -> Rows[CancelResult]: ...

    async def get_account(self) -> Account: ...

    async def get_clock(self) -> Clock: ...

    async def get_positions(self) -> Rows[Position]: ...

    async def get_orders(
        self, status: str = "open", after: datetime | None = None, symbols: Iterable[str] | None = None
    ) -> Rows[Order]:
        """All orders that are `open`, `closed` or `all`, submitted after a time, oldest first, however many."""
        ...

    async def get_order(self, client_order_id: str) -> Order | None:
        """The order, or None when the venue says it has none of that id."""
        ...

    async def get_fills(self, after: datetime | None) -> Rows[Fill]:
        """All executions after a time, oldest first."""
        ...

    async def get_cash_flows(self, after: datetime | None) -> Rows[CashFlow]: ...

    async def get_quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        """The latest quote of each symbol that has one."""
        ...

    async def get_asset(self, symbol: str) -> Asset | None: ...

    async def get_bars(
        self, symbols: Iterable[str], start: datetime, end: datetime, timeframe: Timeframe = "1Day"
    ) -> dict[str, tuple[Bar, ...]]: ...

    async def suspend_trading(self, suspend: bool) -> bool:
        """Tell the venue itself to refuse new orders, or to take them again; the value it then reports."""
        ...


class Rows(tuple[T, ...]):
    """A tuple of facts, with the rows of the venue's answer that could not be read in `unreadable`.

    Not empty `unreadable` means the list is incomplete: do not conclude from a fact's absence.
    """

    unreadable: tuple[Unreadable, ...]

    def __new__(cls, facts: Iterable[T] = (), unreadable: Iterable[Unreadable] = ()) -> Rows[T]:
        rows = super().__new__(cls, tuple(facts))
        rows.unreadable = tuple(unreadable)
        return rows


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What the venue said to one cancel request: its HTTP status and words. Accepted is a request, not yet a cancel."""

    broker_order_id: str
    status: int
    message: str = ""

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Asset:
    """What may be done with a symbol at this venue."""

    symbol: str
    name: str
    exchange: str
    tradable: bool
    shortable: bool
    fractionable: bool
    marginable: bool = False
    easy_to_borrow: bool = False


# ------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class QuoteReceived:
    """A new best bid and offer. When the engine lags, only the latest of each symbol is kept."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class TradeReceived:
    """A new print. When the engine lags, only the latest of each symbol is kept."""

    trade: Trade


@dataclass(frozen=True, slots=True)
class OrderUpdated:
    """The venue's word on an order: its event ('new', 'fill', 'canceled', ...), the order after it, the fill if any.

    Never dropped, and in the venue's order. `position_quantity` is the venue's position after a fill.
    """

    order: Order
    event: str
    fill: Fill | None
    at: datetime
    position_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A stream ('trading', 'data') or the whole 'broker' changed its state, and why."""

    stream: str
    state: BrokerState
    previous: BrokerState
    reason: str


@dataclass(frozen=True, slots=True)
class StreamRestored:
    """A stream is back after a gap. Venues replay nothing: the engine now reconciles."""

    stream: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row or frame of the venue that could not be understood; it is never lost in silence. `raw` is its text, cut."""

    source: str
    reason: str
    raw: str


BrokerEvent = QuoteReceived | TradeReceived | OrderUpdated | StateChanged | StreamRestored | Unreadable
Listener = Callable[[BrokerEvent], None]


# ------------------------------------------------------------------------------------------------------------- health


@dataclass(frozen=True)
class BrokerHealth:
    """One look at a broker: does it answer, how fast, is a clock off, how many requests are left, is the account free.

    `problems` is what an operator should act on; empty means healthy. Durations in seconds. `clock_skew_seconds` is the
    venue's clock minus ours, None when the venue lives in a time of its own (a simulated date).
    """

    broker: str
    venue: str
    state: BrokerState
    checked_at: datetime
    uptime_seconds: float = 0.0
    latency_seconds: float | None = None
    clock_skew_seconds: float | None = None
    speed: float = 1.0
    rate_limit: int | None = None
    rate_limit_remaining: int | None = None
    account_number: str = ""
    account_status: str = ""
    market_open: bool | None = None
    streams: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        return self.state is BrokerState.CONNECTED and not self.problems

    def rows(self) -> list[tuple[str, str]]:
        """Label and value of each line, as shown by the reprs and by `athena check-brokers`."""

        def seconds(value: float | None, none: str) -> str:
            return none if value is None else f"{value * 1000:.1f} ms" if abs(value) < 1 else f"{value:.1f} s"

        left = "not told" if self.rate_limit_remaining is None else f"{self.rate_limit_remaining} of {self.rate_limit}"
        market = {None: "unknown", True: "open", False: "closed"}[self.market_open]
        return [
            ("venue", self.venue.upper() if self.venue == "live" else self.venue),
            ("state", f"{self.state.value}, up {self.uptime_seconds:.0f} s"),
            ("streams", ", ".join(f"{name} {state}" for name, state in self.streams.items()) or "none here"),
            ("latency", seconds(self.latency_seconds, "no answer")),
            ("clock skew", seconds(self.clock_skew_seconds, f"the venue keeps its own time, at speed {self.speed:g}")),
            ("requests left", left),
            ("account", f"{self.account_number} {self.account_status}".strip() or "unknown"),
            ("market", market),
            ("problems", "; ".join(self.problems) or "none"),
        ]

    def __repr__(self) -> str:
        word = "healthy" if self.healthy else "NOT HEALTHY"
        return "\n".join([f"{self.broker}: {word}", *(f"  {label:<14} {value}" for label, value in self.rows())])

    def _repr_html_(self) -> str:
        colour, word = ("#2e7d32", "healthy") if self.healthy else ("#c62828", "not healthy")
        cells = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in self.rows())
        return f'<p style="color:{colour}"><b>{escape(self.broker)}: {word}</b></p><table>{cells}</table>'
