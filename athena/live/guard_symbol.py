"""What the guard knows of one symbol and of one open order in it; `guard_book` keeps them."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal

from athena.model import ZERO, OrderIntent, OrderStatus, OrderType, Side

NEVER = datetime.min.replace(tzinfo=UTC)


class OpenOrder:
    """An order that may still change the position: what is left of it, and the price it could trade at."""

    __slots__ = (
        "applied",
        "client_order_id",
        "included",
        "included_until",
        "limit_price",
        "quantity",
        "remaining",
        "side",
        "status",
        "strategy",
        "type",
    )

    def __init__(
        self, client_order_id: str, strategy: str, side: Side, quantity: Decimal, type_: OrderType,
        limit_price: Decimal | None, applied: Decimal = ZERO, status: OrderStatus = OrderStatus.INTENDED,
    ) -> None:  # fmt: skip
        self.client_order_id, self.strategy, self.side, self.type = client_order_id, strategy, side, type_
        self.limit_price, self.quantity, self.status = limit_price, quantity, status
        self.applied = applied  # filled, by executions taken in
        self.included, self.included_until = ZERO, NEVER  # of those, shares whose executions may yet come, and of when
        self.remaining = ZERO  # counted in its symbol's book


class SymbolBook:
    """One symbol: shares held, what open orders may add or take, its quote, its day, its share of the totals."""

    __slots__ = (
        "ask", "average_price", "bid", "buys", "down", "identical", "limit_orders_only", "mark", "open", "position",
        "quote_at", "recent", "sells", "share", "symbol", "up", "volume", "volumes", "worst",
    )  # fmt: skip

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.position = self.average_price = ZERO
        self.buys = self.sells = ZERO  # shares of open orders
        self.up = self.down = ZERO  # the position if all open buys filled, and if all open sells did
        self.worst = ZERO  # the largest |position| that open orders could still lead to
        self.bid = self.ask = self.mark = ZERO
        self.quote_at: datetime | None = None  # None: no usable quote, and only exits may pass
        self.share = (ZERO, ZERO, ZERO, ZERO)  # of the totals: value, gross, net if buys fill, net if sells fill
        self.open: dict[str, OpenOrder] = {}
        self.limit_orders_only = False
        self.recent: deque[tuple[datetime, OrderIntent]] = deque(maxlen=1024)
        self.identical: dict[str, tuple[Side, Decimal, int]] = {}  # by strategy: its last filled order, and how often
        self.volume = ZERO
        self.volumes: deque[tuple[datetime, Decimal]] = deque()
