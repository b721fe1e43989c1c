"""From a request to an order ready for the floor: every check, and what the order reserves."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.model import OrderStatus, OrderType, Side
from athena.simulator.book import Book
from athena.simulator.decimals import ZERO, floor_shares
from athena.simulator.errors import forbidden, invalid, unknown_asset, unprocessable
from athena.simulator.floor import AWAKE
from athena.simulator.margin import worst_price
from athena.simulator.matching import trail_from
from athena.simulator.orders import OrderReplacement, OrderRequest, VenueOrder
from athena.simulator.rules import check_form, check_means, check_wash
from athena.simulator.timetable import check_auction_window, expiry

if TYPE_CHECKING:
    from athena.simulator.exchange import Exchange


def draft(exchange: Exchange, book: Book, request: OrderRequest, replaces: VenueOrder | None = None) -> VenueOrder:
    """The order a request makes, in state pending_new and not yet in the book. Raises VenueError where it is refused.

    `replaces` is the order whose place it takes: it neither reserves nor crosses any more.
    """
    at = exchange.at
    asset = exchange.asset(request.symbol)
    if asset is None:
        raise unknown_asset(request.symbol)
    check_form(request, asset, book.configurations.fractional_trading)
    if book.trading_blocked:
        raise forbidden("account is not allowed to trade: trading is blocked")
    if book.configurations.suspend_trade:
        raise forbidden("new orders are rejected by user request")
    if request.client_order_id in book.by_client_id:
        raise invalid("client_order_id must be unique")
    check_auction_window(request.time_in_force, at)
    check_wash(request, list(book.open_orders(asset.symbol)))
    last = exchange.price(asset.symbol, at)
    quote = exchange.tape.quote(asset.symbol, at)
    ask = quote.ask if quote is not None and quote.ask > 0 else None
    mark = stop = None
    if request.type is OrderType.TRAILING_STOP:
        mark = last if replaces is None or replaces.high_water_mark is None else replaces.high_water_mark
        stop = trail_from(request.side, mark, request.trail_price, request.trail_percent)
        if stop <= 0:
            raise invalid("trail must leave a stop price > 0")
    worst = worst_price(request, last, ask, stop)
    shares = request.quantity if request.quantity is not None else _shares(request, quote.bid if quote else last, worst)
    check_means(book, request, asset, exchange.funds(book), shares, worst)
    order_id = exchange.ledger.unique()
    return VenueOrder(
        id=order_id,
        client_order_id=request.client_order_id or exchange.ledger.unique(),
        asset_id=asset.id,
        symbol=asset.symbol,
        side=request.side,
        type=request.type,
        time_in_force=request.time_in_force,
        status=OrderStatus.PENDING_NEW,
        quantity=request.quantity,
        created_at=at,
        submitted_at=at,
        updated_at=at,
        expires_at=expiry(request.time_in_force, request.extended_hours, at),
        notional=request.notional,
        limit_price=request.limit_price,
        stop_price=request.stop_price if stop is None else stop,
        trail_price=request.trail_price,
        trail_percent=request.trail_percent,
        high_water_mark=mark,
        extended_hours=request.extended_hours,
        replaces=None if replaces is None else replaces.id,
        sequence=exchange.ledger.next(),
        account_key=book.key_id,
        reserve_price=worst,
        held_quantity=shares if request.notional is not None and request.side is Side.SELL else ZERO,
    )


def replacement(
    exchange: Exchange, book: Book, order: VenueOrder, change: OrderReplacement
) -> tuple[VenueOrder, VenueOrder]:
    """The old order as replaced, and the new one; neither is in the book yet. Raises VenueError where it is refused."""
    if order.status not in AWAKE:
        raise unprocessable("unable to replace order, order is not open")
    if order.quantity is None:
        raise unprocessable("notional orders cannot be replaced")
    if change.quantity is not None and order.quantity != order.quantity.to_integral_value():
        raise unprocessable("qty of fractional orders cannot be replaced")
    if change.quantity is not None and change.quantity != change.quantity.to_integral_value():
        raise invalid("qty must be an integer")
    trailing = order.type is OrderType.TRAILING_STOP
    if change.trail is not None and not trailing:
        raise invalid("only trailing stop orders can have trail")
    request = OrderRequest(
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=change.time_in_force or order.time_in_force,
        quantity=change.quantity or order.quantity - order.filled_quantity,
        limit_price=order.limit_price if change.limit_price is None else change.limit_price,
        stop_price=(None if trailing else order.stop_price) if change.stop_price is None else change.stop_price,
        trail_price=_either(change.trail, order.trail_price),
        trail_percent=_either(change.trail, order.trail_percent),
        extended_hours=order.extended_hours,
        client_order_id=change.client_order_id,
    )
    gone = replace(order, status=OrderStatus.REPLACED, replaced_at=exchange.at, updated_at=exchange.at)
    before = dict(book.open[order.symbol])
    book.keep(gone)
    try:
        new = draft(exchange, book, request, order)
    finally:
        book.keep(order)
        book.open[order.symbol] = before
    return replace(gone, replaced_by=new.id), new


def _either(new: Decimal | None, old: Decimal | None) -> Decimal | None:
    """The new trail where the order had one of this kind."""
    return old if new is None or old is None else new


def _shares(request: OrderRequest, bid: Decimal, worst: Decimal) -> Decimal:
    """Shares a notional order trades: a sale at the bid, a purchase at its worst price."""
    price = worst if request.side is Side.BUY or bid <= 0 else bid
    return floor_shares((request.notional or ZERO) / price)
