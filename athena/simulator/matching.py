"""How an order meets the market: when a stop triggers, at what price an order fills, and how much is there to take.

Pure but for `Liquidity`. An order fills against the displayed size of the NBBO and no more; what it takes is gone until
the tape shows a newer quote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from athena.model import OrderType, Quote, Side, TimeInForce, Trade
from athena.simulator.book import unfilled_notional
from athena.simulator.decimals import ZERO, floor_shares
from athena.simulator.orders import VenueOrder

CENT = Decimal("0.01")
TENTH_OF_A_CENT = Decimal("0.0001")
ONE_DOLLAR = Decimal(1)
AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


@dataclass(frozen=True, slots=True)
class Taken:
    """Shares taken from one side of a symbol's quote of time `at`."""

    quote_at: datetime
    quantity: Decimal


@dataclass(slots=True)
class Liquidity:
    """What is left of the displayed sizes. Every account takes from the same."""

    taken: dict[str, Taken] = field(default_factory=dict)

    def available(self, quote: Quote, side: Side) -> Decimal:
        """Shares an order of `side` can still have from the quote."""
        shown = quote.ask_size if side is Side.BUY else quote.bid_size
        taken = self.taken.get(_side_of(quote.symbol, side))
        return shown if taken is None or taken.quote_at != quote.at else shown - taken.quantity

    def take(self, quote: Quote, side: Side, quantity: Decimal) -> tuple[str, Taken]:
        key = _side_of(quote.symbol, side)
        before = self.taken.get(key)
        already = before.quantity if before is not None and before.quote_at == quote.at else ZERO
        self.taken[key] = Taken(quote.at, already + quantity)
        return key, self.taken[key]


def _side_of(symbol: str, side: Side) -> str:
    return f"{symbol}/{side.value}"


def tick(price: Decimal) -> Decimal:
    """The smallest step of a price: a cent from a dollar up, a hundredth of a cent below."""
    return CENT if price >= ONE_DOLLAR else TENTH_OF_A_CENT


def trail_from(side: Side, mark: Decimal, dollars: Decimal | None, percent: Decimal | None) -> Decimal:
    """The mark less (for a sell) or plus (for a buy) the trail, to the tick."""
    distance = dollars if dollars is not None else mark * (percent or ZERO) / 100
    stop = mark - distance if side is Side.SELL else mark + distance
    return stop.quantize(tick(stop)).normalize() + ZERO


def heed(order: VenueOrder, trades: Sequence[Trade]) -> VenueOrder:
    """A stop order after the prints: its high-water mark moved, and triggered where one reached its stop."""
    if order.type not in STOPS or order.triggered_at is not None:
        return order
    for trade in trades:
        order = _heed_one(order, trade)
        if order.triggered_at is not None:
            break
    return order


def _heed_one(order: VenueOrder, trade: Trade) -> VenueOrder:
    sell = order.side is Side.SELL
    if order.type is OrderType.TRAILING_STOP:
        mark = order.high_water_mark
        if mark is None or (trade.price > mark if sell else trade.price < mark):
            stop = trail_from(order.side, trade.price, order.trail_price, order.trail_percent)
            return replace(
                order, high_water_mark=trade.price, stop_price=stop, updated_at=max(order.updated_at, trade.at)
            )
    stop_price = order.stop_price
    reached = stop_price is not None and (trade.price <= stop_price if sell else trade.price >= stop_price)
    return replace(order, triggered_at=trade.at, updated_at=max(order.updated_at, trade.at)) if reached else order


def within_limit(order: VenueOrder, price: Decimal) -> bool:
    """True where the order's limit, if it has one, allows the price."""
    limit = order.limit_price
    return limit is None or (price <= limit if order.side is Side.BUY else price >= limit)


def price_now(order: VenueOrder, quote: Quote) -> Decimal | None:
    """The price at which the order can trade against the quote: the ask for a buy, the bid for a sell; else None."""
    if order.type in STOPS and order.triggered_at is None:
        return None
    price = quote.ask if order.side is Side.BUY else quote.bid
    return price if price > 0 and within_limit(order, price) else None


def wanted(order: VenueOrder, price: Decimal) -> Decimal:
    """Shares the order still wants at a price. A notional sale never wants more than the shares it holds."""
    if order.quantity is not None:
        return order.quantity - order.filled_quantity
    shares = floor_shares(unfilled_notional(order) / price)
    return min(shares, order.held_quantity - order.filled_quantity) if order.side is Side.SELL else shares
