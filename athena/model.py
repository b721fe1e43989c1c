"""The facts Athena speaks of: orders, fills, positions, quotes. Frozen, with Decimal money and aware times.

Nothing here knows a database, a broker or a wire format. A fact with a naive datetime or a float amount cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
ZERO = Decimal(0)


class Side(StrEnum):
    """Direction of an order or a fill; `sign` is +1 for a buy and -1 for a sell."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types Alpaca takes for US equities."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    """How long an order stands: DAY to the close, GTC 90 days, IOC/FOK at once, OPG/CLS in the auctions."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


class OrderStatus(StrEnum):
    """Alpaca's order states and four of Athena's own: INTENDED, REFUSED, UNKNOWN and NOT_SENT.

    INTENDED: journaled, not yet answered. UNKNOWN: sent, answer ambiguous; still open until the venue is asked.
    REFUSED: the guard said no. NOT_SENT: intended, and proven never to have reached the venue.
    """

    INTENDED = "intended"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    NEW = "new"
    ACCEPTED = "accepted"
    PENDING_NEW = "pending_new"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    DONE_FOR_DAY = "done_for_day"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"

    @property
    def is_final(self) -> bool:
        """True when the order can no longer change by itself. (A late fill may still arrive and is taken in.)"""
        return self in _FINAL

    @property
    def is_open(self) -> bool:
        return self not in _FINAL


_FINAL = frozenset(
    {
        OrderStatus.REFUSED,
        OrderStatus.NOT_SENT,
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.REPLACED,
    }
)


class Purpose(StrEnum):
    """Why an order exists: a strategy's own, or an operator's exit, which passes in every guard mode."""

    STRATEGY = "strategy"
    EXIT = "exit"


class Mode(StrEnum):
    """What trading may do, least strict first; the strictest that applies wins."""

    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"

    @property
    def strictness(self) -> int:
        return _STRICTNESS[self]


_STRICTNESS = {Mode.ACTIVE: 0, Mode.REDUCE_ONLY: 1, Mode.HALTED: 2}


class Scope(StrEnum):
    """What a halt or a limit speaks of."""

    GLOBAL = "global"
    SYMBOL = "symbol"
    STRATEGY = "strategy"
    BROKER = "broker"


class Origin(StrEnum):
    """Who made a halt; only the same origin, or an operator, clears it."""

    OPERATOR = "operator"
    GUARD = "guard"
    RECONCILIATION = "reconciliation"
    CONNECTIVITY = "connectivity"
    STARTUP = "startup"


class BrokerState(StrEnum):
    """Connection to a venue. `number` is the metric's value; 2 is connected."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ERROR = "error"

    @property
    def number(self) -> int:
        return list(BrokerState).index(self)


class _Checked:
    """Refuses naive datetimes and float amounts at construction: a wrong fact never exists."""

    __slots__ = ()

    def __post_init__(self) -> None:
        names: tuple[str, ...] = self.__slots__
        for name in names:
            value = getattr(self, name)
            kind = type(value)
            if kind is datetime and value.tzinfo is None:
                raise ValueError(f"{type(self).__name__}.{name} is a naive time ({value}); give it a time zone")
            if kind is float:
                raise TypeError(f"{type(self).__name__}.{name} is a float ({value!r}); use Decimal('{value}')")

    def _repr_html_(self) -> str:
        """What is known of it, as a notebook shows it; what is not known is left out."""
        from html import escape

        names: tuple[str, ...] = self.__slots__
        known = [(name.replace("_", " "), getattr(self, name)) for name in names]
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(_written(value))}</td></tr>"
            for name, value in known
            if value not in (None, "")
        )
        return f"<table><caption><b>{escape(type(self).__name__)}</b></caption>{rows}</table>"


def _written(value: object) -> str:
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value}"


@dataclass(frozen=True, slots=True)
class Quote(_Checked):
    """The national best bid and offer of a symbol at a venue time. Prices in dollars, sizes in shares."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    at: datetime

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2

    @property
    def spread_bps(self) -> Decimal:
        return (self.ask - self.bid) / self.mid * 10_000


@dataclass(frozen=True, slots=True)
class Trade(_Checked):
    """A print on the tape."""

    symbol: str
    price: Decimal
    size: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Bar(_Checked):
    """Open, high, low, close, volume of one interval beginning `at`."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    at: datetime
    trade_count: int = 0
    vwap: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderIntent(_Checked):
    """What a strategy or an operator wants, before the guard has seen it.

    `key` names the decision; the client order id derives from it, so that the same decision resent after a crash is
    the same order. `decision_price` is the mid the decision was made at; `decided_at` its venue time.
    """

    key: str
    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    extended_hours: bool = False
    strategy: str = "operator"
    purpose: Purpose = Purpose.STRATEGY
    decision_price: Decimal | None = None
    decided_at: datetime | None = None
    reason: str = ""

    @property
    def client_order_id(self) -> str:
        """At most 128 characters (Alpaca's bound): strategy, symbol and a digest of the key."""
        return _client_order_id(self.strategy, self.symbol, self.key)


@lru_cache(maxsize=256)  # asked for several times on the way of each order
def _client_order_id(strategy: str, symbol: str, key: str) -> str:
    from hashlib import blake2b

    digest = blake2b(f"{strategy}|{symbol}|{key}".encode(), digest_size=12).hexdigest()
    return f"athena-{strategy[:40]}-{symbol}-{digest}"


@dataclass(frozen=True, slots=True)
class Order(_Checked):
    """An order as the venue, or the journal, last knew it. Times are the venue's."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    status: OrderStatus
    quantity: Decimal | None
    filled_quantity: Decimal = ZERO
    average_fill_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    notional: Decimal | None = None
    extended_hours: bool = False
    submitted_at: datetime | None = None
    updated_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def remaining(self) -> Decimal:
        return ZERO if self.quantity is None else self.quantity - self.filled_quantity


@dataclass(frozen=True, slots=True)
class Fill(_Checked):
    """One execution. `execution_id` is the venue's and makes taking it in twice harmless."""

    execution_id: str
    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    at: datetime
    strategy: str = ""
    fee: Decimal = ZERO

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Position(_Checked):
    """Shares held (negative is short), at their average entry price."""

    symbol: str
    quantity: Decimal
    average_entry_price: Decimal
    current_price: Decimal | None = None

    @property
    def market_value(self) -> Decimal | None:
        return None if self.current_price is None else self.quantity * self.current_price

    @property
    def unrealised_pnl(self) -> Decimal | None:
        if self.current_price is None:
            return None
        return self.quantity * (self.current_price - self.average_entry_price)


@dataclass(frozen=True, slots=True)
class Account(_Checked):
    """A brokerage account in dollars. `available_balance` is what new orders may still use."""

    account_number: str
    venue: str
    status: str
    currency: str
    cash: Decimal
    equity: Decimal
    last_equity: Decimal
    buying_power: Decimal
    long_market_value: Decimal = ZERO
    short_market_value: Decimal = ZERO
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False
    shorting_enabled: bool = True

    @property
    def available_balance(self) -> Decimal:
        return self.buying_power


CASH_CORRECTION = "CORR"  # dollars an operator set right after a recovery
_TRANSFERS = frozenset({"CSD", "CSW", "JNLC", "ACATC", "TRANS"})


@dataclass(frozen=True, slots=True)
class CashFlow(_Checked):
    """Money that came or went without a trade: a deposit, a withdrawal, a dividend, a fee. Signed dollars."""

    id: str
    kind: str
    amount: Decimal
    at: datetime
    description: str = ""

    @property
    def is_transfer(self) -> bool:
        """Money paid in or out, or moved: neither profit nor loss."""
        return is_transfer(self.kind, self.amount)


def is_transfer(kind: str, amount: Decimal) -> bool:
    """Whether this money is neither profit nor loss: paid in or out, or moved between accounts or brokers.

    Dividends, interest and fees are not. Money that a correction adds was not earned either; what one takes away may
    have been lost, and counts as that.
    """
    return kind in _TRANSFERS or (kind == CASH_CORRECTION and amount > 0)


@dataclass(frozen=True, slots=True)
class Clock(_Checked):
    """The venue's clock: its time now, and when the session next opens and closes."""

    at: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime
    speed: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        for name in ("at", "next_open", "next_close"):
            if getattr(self, name).tzinfo is None:
                raise ValueError(f"Clock.{name} is a naive time; give it a time zone")


def dollars(amount: Decimal | float, *, signed: bool = False) -> str:
    """An amount as people write it: $1,234.50, −$5.00; `signed` puts a plus before a gain."""
    return f"{'−' if amount < 0 else '+' if signed else ''}${abs(amount):,.2f}"


def trading_date(at: datetime) -> date:
    """The New York date of an aware time; daily figures roll on it, not at midnight UTC."""
    if at.tzinfo is None:
        raise ValueError(f"trading_date needs an aware time, got {at}")
    return at.astimezone(NEW_YORK).date()
