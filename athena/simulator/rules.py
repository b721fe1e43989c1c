"""What the venue asks of an order before it takes it: Alpaca's checks, in its words."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from athena.model import OrderType, Side, TimeInForce
from athena.simulator.assets import Asset
from athena.simulator.book import Book
from athena.simulator.decimals import ZERO, places, plain
from athena.simulator.errors import (
    forbidden,
    insufficient_buying_power,
    insufficient_quantity,
    invalid,
    unprocessable,
    wash_trade,
)
from athena.simulator.margin import Funds
from athena.simulator.matching import tick
from athena.simulator.orders import OrderRequest, VenueOrder

LONGEST_CLIENT_ID = 128
MOST = 1_000_000_000
MOST_PRICE = 1_000_000
ONE = Decimal(1)
RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})
PRICED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})


def check_form(request: OrderRequest, asset: Asset, fractional_trading: bool) -> None:
    """Everything that depends on the order and its asset alone. Raises VenueError, 422 or 403."""
    if request.order_class not in ("", "simple"):
        raise unprocessable(f"order_class {request.order_class} is not supported by this venue")
    if len(request.client_order_id or "") > LONGEST_CLIENT_ID:
        raise invalid(f"client_order_id must be no more than {LONGEST_CLIENT_ID} characters")
    if asset.status != "active":
        raise unprocessable(f'asset "{asset.symbol}" is not active')
    if not asset.tradable:
        raise unprocessable(f'asset "{asset.symbol}" is not tradable')
    _check_size(request)
    _check_prices(request)
    _check_time_in_force(request)
    if is_fractional(request):
        if request.time_in_force is not TimeInForce.DAY:
            raise unprocessable("fractional orders must be DAY orders")
        if request.type is OrderType.TRAILING_STOP or (request.notional and request.type is not OrderType.MARKET):
            kind = "notional" if request.notional else "fractional"
            raise unprocessable(f"{kind} orders must not be {request.type.value} orders")
        if not fractional_trading:
            raise forbidden("fractional trading is not enabled for this account")
        if not asset.fractionable:
            raise forbidden(f'asset "{asset.symbol}" is not fractionable')


def is_fractional(request: OrderRequest) -> bool:
    """Whether it asks for a part of a share, or for dollars."""
    return request.quantity is None or request.quantity != request.quantity.to_integral_value()


def _check_size(request: OrderRequest) -> None:
    if (request.quantity is None) == (request.notional is None):
        raise invalid("one of qty or notional is required, and only one is accepted")
    for name, value in (("qty", request.quantity), ("notional", request.notional)):
        if value is None:
            continue
        if not value.is_finite() or value <= 0:
            raise invalid(f"{name} must be > 0")
        if value > MOST:
            raise invalid(f"{name} must be <= {MOST}")
        if places(value) > 9:
            raise invalid(f"{name} must be limited to 9 decimal places")
    if request.notional is not None and request.notional < ONE:
        raise forbidden("cost basis must be >= minimal amount of order 1")


def _check_prices(request: OrderRequest) -> None:
    limit, stop, kind = request.limit_price, request.stop_price, request.type
    if kind is OrderType.LIMIT and limit is None:
        raise invalid("limit orders require a limit price")
    if kind is OrderType.STOP and stop is None:
        raise invalid("stop orders require a stop price")
    if kind is OrderType.STOP_LIMIT and (limit is None or stop is None):
        raise invalid("stop limit orders require both stop and limit price")
    if limit is not None and kind not in PRICED:
        raise invalid(f"{kind.value.replace('_', ' ')} orders must not have a limit price")
    if stop is not None and kind not in (OrderType.STOP, OrderType.STOP_LIMIT):
        raise invalid(f"{kind.value.replace('_', ' ')} orders must not have a stop price")
    for name, value in (("limit_price", limit), ("stop_price", stop)):
        if value is not None:
            check_price(name, value)
    trails = [value for value in (request.trail_price, request.trail_percent) if value is not None]
    if kind is OrderType.TRAILING_STOP:
        if len(trails) != 1:
            raise invalid("trailing stop orders require one of trail_price or trail_percent")
        if not trails[0].is_finite() or trails[0] <= 0:
            raise invalid("trail must be > 0")
        if request.trail_percent is not None and request.trail_percent >= 100:
            raise invalid("trail_percent must be < 100")
    elif trails:
        raise invalid("only trailing stop orders can have trail_price or trail_percent")


def check_price(name: str, price: Decimal) -> None:
    """Positive, and no finer than a cent (a hundredth of one below a dollar)."""
    if not price.is_finite() or price <= 0:
        raise invalid(f"{name} must be > 0")
    if price > MOST_PRICE:
        raise invalid(f"{name} must be <= {MOST_PRICE}")
    if places(price) > places(tick(price)):
        raise unprocessable(
            f"invalid {name} {plain(price)}. sub-penny increment does not fulfill minimum pricing criteria"
        )


def _check_time_in_force(request: OrderRequest) -> None:
    word = request.time_in_force.value
    if request.extended_hours and not (request.type is OrderType.LIMIT and request.time_in_force in RESTING):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if request.time_in_force not in RESTING and request.type not in (OrderType.MARKET, OrderType.LIMIT):
        raise unprocessable(f"{word} orders must be market or limit orders")


def check_wash(request: OrderRequest, against: Sequence[VenueOrder]) -> None:
    """VenueError 403 where the account's own orders, of either side, could trade with each other."""
    for order in against:
        if order.side is request.side:
            continue
        if order.type is not OrderType.LIMIT or request.type is not OrderType.LIMIT:
            raise wash_trade(order.id, "market/stop")
        ours, theirs = request.limit_price, order.limit_price
        if ours is None or theirs is None or (ours >= theirs if request.side is Side.BUY else ours <= theirs):
            raise wash_trade(order.id, "limit")


def check_means(book: Book, request: OrderRequest, asset: Asset, funds: Funds, shares: Decimal, price: Decimal) -> None:
    """Shares to close with, or permission to short and money to open with. Raises VenueError 403 or 422.

    `shares` is what the order trades at most and `price` its worst. An order that closes more than is held and free is
    refused, so that none goes from long to short, or back, in one go.
    """
    quantity = book.quantity(asset.symbol)
    if quantity * request.side.sign < 0:
        held, related = book.held(asset.symbol, request.side)
        if shares > abs(quantity) - held:
            raise insufficient_quantity(asset.symbol, shares, abs(quantity), held, related)
        return
    if request.side is Side.SELL:
        if not funds.may_short:
            raise forbidden("account is not allowed to short")
        if not asset.shortable:
            raise unprocessable(f'asset "{asset.symbol}" cannot be sold short')
        if is_fractional(request):
            raise unprocessable("fractional orders cannot be sold short")
    cost = request.notional if request.notional is not None else shares * price
    if cost > funds.buying_power:
        raise insufficient_buying_power(max(funds.buying_power, ZERO), cost)
