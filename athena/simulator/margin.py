"""What an account may still use: Alpaca's margin, as the venue models it.

Buying power is `multiplier * equity - gross position - what open orders reserve`, never below zero, on current prices.
With multiplier 2 that is Alpaca's (equity - initial margin) * 2. The multiplier is 4 from $25,000 of equity, 2 from
$2,000, else 1, and at most max_margin_multiplier. Shorting needs $2,000 and a multiplier above 1. No margin calls, no
interest, no fees. Reserves follow Alpaca's order values: a buy at its limit, its stop or the ask; a short sale at the
higher of its limit and 3% above the ask; an order that closes a position reserves shares, not money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from athena.model import OrderType, Side
from athena.simulator.book import Book, unfilled_notional, unfilled_shares
from athena.simulator.decimals import ZERO
from athena.simulator.orders import OrderRequest

DAY_TRADING_EQUITY = Decimal(25_000)
MARGIN_EQUITY = Decimal(2_000)
INITIAL_MARGIN = Decimal("0.5")
SHORT_MARGIN = Decimal("1.03")

Price = Callable[[str], Decimal]


@dataclass(frozen=True, slots=True)
class Funds:
    """An account's money at one moment, in dollars; `short` is negative."""

    cash: Decimal
    long: Decimal
    short: Decimal
    reserved: Decimal
    maintenance_margin: Decimal
    multiplier: int
    no_shorting: bool
    frozen: bool = False

    @property
    def equity(self) -> Decimal:
        return self.cash + self.long + self.short

    @property
    def gross(self) -> Decimal:
        return self.long - self.short

    @property
    def initial_margin(self) -> Decimal:
        return self.gross * INITIAL_MARGIN

    @property
    def buying_power(self) -> Decimal:
        return self._power(self.multiplier)

    @property
    def regt_buying_power(self) -> Decimal:
        """What may be held overnight: at most twice the equity."""
        return self._power(min(self.multiplier, 2))

    @property
    def cash_buying_power(self) -> Decimal:
        return self._power(1)

    @property
    def may_short(self) -> bool:
        return not self.no_shorting and self.multiplier > 1 and self.equity >= MARGIN_EQUITY

    def _power(self, multiplier: int) -> Decimal:
        return ZERO if self.frozen else max(self.equity * multiplier - self.gross - self.reserved, ZERO)


def funds(book: Book, price: Price, maintenance: Price) -> Funds:
    """The account's funds at the symbols' last prices; `maintenance` gives each symbol's margin as a fraction."""
    long = short = margin = ZERO
    for holding in book.holdings.values():
        if holding.quantity:
            value = holding.quantity * price(holding.symbol)
            margin += abs(value) * maintenance(holding.symbol)
            if value > 0:
                long += value
            else:
                short += value
    equity = book.cash + long + short
    earned = 4 if equity >= DAY_TRADING_EQUITY else 2 if equity >= MARGIN_EQUITY else 1
    settings = book.configurations
    multiplier = min(earned, int(settings.max_margin_multiplier))
    return Funds(book.cash, long, short, reserved(book), margin, multiplier, settings.no_shorting, book.without_power)


def reserved(book: Book) -> Decimal:
    """Dollars that open orders may come to need: each at its worst, but for the shares that close a position."""
    total = ZERO
    for symbol in book.open:
        quantity = book.quantity(symbol)
        closable = {Side.SELL: max(quantity, ZERO), Side.BUY: max(-quantity, ZERO)}
        for order in book.open_orders(symbol):
            if order.side is Side.BUY and order.quantity is None and not closable[Side.BUY]:
                total += unfilled_notional(order)
                continue
            shares = unfilled_shares(order)
            closing = min(shares, closable[order.side])
            closable[order.side] -= closing
            total += (shares - closing) * order.reserve_price
    return total


def worst_price(request: OrderRequest, last: Decimal, ask: Decimal | None, trail_stop: Decimal | None) -> Decimal:
    """What a share may come to cost this order, in dollars."""
    ask = ask or last
    if request.side is Side.SELL:
        return max(request.limit_price or ZERO, ask * SHORT_MARGIN)
    if request.limit_price is not None:
        return request.limit_price
    if request.type is OrderType.STOP:
        return max(request.stop_price or ZERO, ask)
    return max(trail_stop or ZERO, ask)
