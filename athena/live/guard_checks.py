"""The checks of one order, in the order an operator would ask them. Pure comparisons on the book and its bounds.

Every condition is the passing one, so that NaN, missing and stale refuse. What cannot be compared at all (a text as a
price, say) refuses as INVALID_ORDER: nothing here raises into the engine.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from athena.live.guard_book import Book, OpenOrder, SymbolBook
from athena.live.guard_rules import Bounds
from athena.live.limits import NEVER
from athena.live.verdict import Refused
from athena.model import NEW_YORK, Clock, Mode, OrderIntent, OrderStatus, OrderType, Purpose, Side

MINUTE = timedelta(seconds=60)
MINUTE_NS = 60_000_000_000
BPS = Decimal(10_000)
_MARKET, _LIMIT, _STOP, _STOP_LIMIT = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
_PRICED = frozenset({_LIMIT, _STOP_LIMIT})
_STOPPED = frozenset({_STOP, _STOP_LIMIT})
_AHEAD = timedelta(seconds=-5)  # a quote may be this much ahead of our idea of the venue's time


class Code(StrEnum):
    """Why an order was refused, or a rule acted; stable words for metrics, reports and filters."""

    GUARD_HALTED = "GUARD_HALTED"
    GUARD_UNSURE = "GUARD_UNSURE"  # no lease, flag or journal in doubt
    GUARD_BUSY = "GUARD_BUSY"  # halts and limits kept changing while deciding
    JOURNAL_FAILED = "JOURNAL_FAILED"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    INVALID_ORDER = "INVALID_ORDER"
    REDUCE_ONLY = "REDUCE_ONLY"
    EXIT_EXCEEDS_POSITION = "EXIT_EXCEEDS_POSITION"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    DAY_NOT_OPEN = "DAY_NOT_OPEN"
    SESSION_CLOSED = "SESSION_CLOSED"
    QUOTE_STALE = "QUOTE_STALE"
    PRICE_COLLAR = "PRICE_COLLAR"
    ORDER_QUANTITY = "ORDER_QUANTITY"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    LIMIT_ORDERS_ONLY = "LIMIT_ORDERS_ONLY"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    POSITION_LIMIT = "POSITION_LIMIT"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    NET_EXPOSURE = "NET_EXPOSURE"
    DAILY_LOSS = "DAILY_LOSS"
    CONSECUTIVE_LOSSES = "CONSECUTIVE_LOSSES"
    BUYING_POWER = "BUYING_POWER"
    ORDER_RATE = "ORDER_RATE"
    MESSAGE_RATE = "MESSAGE_RATE"
    CANCEL_RATE = "CANCEL_RATE"
    OPEN_ORDERS = "OPEN_ORDERS"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    IDENTICAL_EXECUTIONS = "IDENTICAL_EXECUTIONS"
    PARTICIPATION = "PARTICIPATION"
    SELF_CROSSING = "SELF_CROSSING"
    SLIPPAGE = "SLIPPAGE"
    DRAWDOWN = "DRAWDOWN"
    DISCONNECTED = "DISCONNECTED"
    UNKNOWN = "UNKNOWN"  # written by a newer Athena


def check(book: Book, bounds: Bounds, intent: OrderIntent, venue_now: datetime, boottime_ns: int) -> Refused | None:
    """The first check that does not pass, None when all do. Never raises."""
    try:
        if intent.purpose is Purpose.EXIT:
            return _check_exit(book, intent)
        return _check(book, bounds, intent, venue_now, boottime_ns)
    except (ArithmeticError, TypeError, ValueError, AttributeError) as error:
        return Refused(
            Code.INVALID_ORDER, f"the order cannot be judged: {type(error).__name__}: {error}", repr(intent)[:300]
        )


def price_of(symbol: SymbolBook, intent: OrderIntent) -> Decimal:
    """The dearest price the order could plausibly trade at: ask, limit or stop, whichever is highest."""
    price = symbol.ask
    if intent.limit_price is not None and intent.limit_price > price:
        price = intent.limit_price
    if intent.stop_price is not None and intent.stop_price > price:
        price = intent.stop_price
    return price


def _check_exit(book: Book, intent: OrderIntent) -> Refused | None:
    """An operator's closing order: it must close, and no more than is there. No price, rate, loss or mode stops it."""
    quantity, side = intent.quantity, intent.side
    symbol = book.symbols.get(intent.symbol)
    if type(quantity) is not Decimal or type(side) is not Side or not 0 < quantity:
        return Refused(Code.INVALID_ORDER, f"an exit needs a side and a positive quantity, got {side} {quantity}")
    position = symbol.position if symbol is not None else Decimal(0)
    closable = -position if side is Side.BUY else position
    # Orders whose fate is unknown must not trap the position; all others on this side would close it a second time.
    waiting = Decimal(0)
    for order in symbol.open.values() if symbol is not None else ():
        if order.side is side and order.status is not OrderStatus.UNKNOWN:
            waiting += order.remaining
    if not quantity <= closable - waiting:
        why = (
            f"{intent.symbol} {position} held, {waiting} already in open {side.value} orders: cancel those first"
            if waiting
            else f"{intent.symbol} {position} held"
        )
        return Refused(
            Code.EXIT_EXCEEDS_POSITION,
            f"an exit may only close: {why}",
            f"{quantity}",
            f"{max(closable - waiting, Decimal(0))}",
        )
    return None


def _check(book: Book, bounds: Bounds, intent: OrderIntent, venue_now: datetime, boottime_ns: int) -> Refused | None:
    quantity, side, kind = intent.quantity, intent.side, intent.type
    if not (type(quantity) is Decimal and type(side) is Side and type(kind) is OrderType and quantity > 0):
        return Refused(Code.INVALID_ORDER, "side, type or quantity is not one", f"{side} {kind} {quantity}")
    if bounds.mode is Mode.HALTED:
        return Refused(Code.GUARD_HALTED, str(bounds.halt), bounds.mode, Mode.ACTIVE)
    if bounds.lists:
        return Refused(
            Code.SYMBOL_NOT_ALLOWED,
            f"{intent.symbol} is not to be traded by {bounds.lists}",
            intent.symbol,
            bounds.lists,
        )
    if not book.day_start <= venue_now < book.day_end:
        return Refused(
            Code.DAY_NOT_OPEN, f"the trading day of {venue_now} has not been opened", f"{venue_now}", f"{book.day}"
        )
    symbol = book.symbols.get(intent.symbol)
    if symbol is None or symbol.quote_at is None:
        return Refused(
            Code.QUOTE_STALE, f"{intent.symbol} has no usable quote", "none", f"{bounds.max_quote_age_seconds} s"
        )
    age = venue_now - symbol.quote_at
    if not (_AHEAD <= age and age.total_seconds() <= bounds.max_quote_age_seconds):
        return Refused(
            Code.QUOTE_STALE,
            f"the last quote of {intent.symbol} is old",
            f"{age.total_seconds()} s",
            f"{bounds.max_quote_age_seconds} s",
        )
    if bounds.trading_session != "any" and not in_session(book.clock, venue_now, bounds.trading_session == "extended"):
        return Refused(
            Code.SESSION_CLOSED,
            "the session is not open, or the venue's clock is not known",
            f"{venue_now}",
            bounds.trading_session,
        )
    return (
        _check_prices(bounds, symbol, intent)
        or _check_size(book, bounds, symbol, intent)
        or _check_rates(book, bounds, symbol, intent, venue_now, boottime_ns)
    )


def _check_prices(bounds: Bounds, symbol: SymbolBook, intent: OrderIntent) -> Refused | None:
    kind, limit, stop = intent.type, intent.limit_price, intent.stop_price
    if (
        (limit is not None) is not (kind in _PRICED)
        or (stop is not None and kind not in _STOPPED)
        or (stop is None and kind in _STOPPED)
    ):
        return Refused(Code.INVALID_ORDER, f"a {kind.value} order with limit {limit} and stop {stop}")
    if symbol.limit_orders_only and kind is not _LIMIT:
        return Refused(
            Code.LIMIT_ORDERS_ONLY, f"slippage in {symbol.symbol} today: limit orders only", kind.value, "limit"
        )
    if limit is None and stop is None:
        return None
    buy = intent.side is Side.BUY
    room = 1 + bounds.price_collar_bps / BPS if buy else 1 - bounds.price_collar_bps / BPS
    bound = (symbol.ask if buy else symbol.bid) * room
    for price in (limit, stop):
        if price is not None and not (0 < price <= bound if buy else (price > 0 and bound <= price < symbol.ask * 100)):
            if price > 0 and stop is price and (price >= symbol.ask if buy else price <= symbol.bid):
                continue  # a stop waits on the far side of the market by nature; its price counts in the notional
            return Refused(
                Code.PRICE_COLLAR,
                f"{intent.side.value} at {price} against {symbol.bid} / {symbol.ask}",
                f"{price}",
                f"{bound:.4f}",
            )
    return None


def _check_size(book: Book, bounds: Bounds, symbol: SymbolBook, intent: OrderIntent) -> Refused | None:
    quantity = intent.quantity
    if not quantity <= bounds.max_order_quantity:
        return Refused(
            Code.ORDER_QUANTITY, "the order has too many shares", f"{quantity}", f"{bounds.max_order_quantity}"
        )
    price = price_of(symbol, intent)
    notional = quantity * price
    position = symbol.position
    if intent.side is Side.BUY:
        outcome = position + symbol.buys + quantity  # if every open buy fills
        other = symbol.sells - position
        reducing = outcome <= 0
    else:
        outcome = quantity + symbol.sells - position  # likewise, of a short
        other = position + symbol.buys
        reducing = outcome <= 0
    if reducing:
        return None if notional > 0 else Refused(Code.INVALID_ORDER, "the order has no value", f"{notional}")
    if bounds.mode is not Mode.ACTIVE:
        return Refused(
            Code.REDUCE_ONLY,
            str(bounds.halt),
            f"{intent.symbol} {position}, open buys {symbol.buys}, open sells {symbol.sells}",
            "resulting position towards zero",
        )
    if not notional <= bounds.max_order_notional_dollars:
        return Refused(
            Code.ORDER_NOTIONAL,
            "the order is too large",
            f"${notional:,.2f}",
            f"${bounds.max_order_notional_dollars:,.2f}",
        )
    if intent.side is Side.SELL and not bounds.allow_short:
        return Refused(Code.SHORT_NOT_ALLOWED, f"{intent.symbol} would be {outcome} short", f"{outcome}", "0")
    if not outcome * price <= bounds.max_position_per_symbol_dollars:
        return Refused(
            Code.POSITION_LIMIT,
            f"{intent.symbol} with its open orders would be {outcome} shares at ${price}",
            f"${outcome * price:,.2f}",
            f"${bounds.max_position_per_symbol_dollars:,.2f}",
        )
    gross = book.gross - symbol.share[1] + max(outcome, other) * price
    if outcome > other and not gross <= bounds.max_gross_exposure_dollars:
        return Refused(
            Code.GROSS_EXPOSURE,
            "all positions with their open orders would be too large",
            f"${gross:,.2f}",
            f"${bounds.max_gross_exposure_dollars:,.2f}",
        )
    net = (
        book.net_up - symbol.share[2] + outcome * price
        if intent.side is Side.BUY
        else outcome * price + symbol.share[3] - book.net_down
    )
    if not net <= bounds.max_net_exposure_dollars:
        return Refused(
            Code.NET_EXPOSURE,
            f"all open {intent.side.value} orders filled, the book would lean too far",
            f"${net:,.2f}",
            f"${bounds.max_net_exposure_dollars:,.2f}",
        )
    return _check_account(book, bounds, notional)


def _check_account(book: Book, bounds: Bounds, notional: Decimal) -> Refused | None:
    loss = book.daily_loss
    if loss is None or not loss - book.loss_acknowledged < bounds.max_daily_loss_dollars:
        return Refused(
            Code.DAILY_LOSS,
            "the day's loss is at its limit, or unknown",
            f"${loss}",
            f"${bounds.max_daily_loss_dollars:,.2f}",
        )
    if not book.losses < bounds.max_consecutive_losses:
        return Refused(
            Code.CONSECUTIVE_LOSSES,
            "too many losing closes in a row",
            f"{book.losses}",
            f"{bounds.max_consecutive_losses}",
        )
    if bounds.min_buying_power_dollars:
        power = book.buying_power
        left = None if power is None else power - book.ordered - notional
        if left is None or not left >= bounds.min_buying_power_dollars:
            return Refused(
                Code.BUYING_POWER,
                "buying power after this order would be too low, or is unknown",
                f"${left}",
                f"${bounds.min_buying_power_dollars:,.2f}",
            )
    return None


def _check_rates(
    book: Book, bounds: Bounds, symbol: SymbolBook, intent: OrderIntent, venue_now: datetime, boottime_ns: int
) -> Refused | None:  # fmt: skip
    expired = venue_now - MINUTE
    for target, bound in bounds.rates:
        times = book.rates.get(target)
        if times is None:
            continue
        while times and times[0] <= expired:
            times.popleft()
        if not len(times) < bound:
            return Refused(
                Code.ORDER_RATE, f"too many orders in a minute ({target or 'all'})", f"{len(times)}", f"{bound}"
            )
    messages = book.messages
    while messages and messages[0] <= boottime_ns - MINUTE_NS:
        messages.popleft()
    if not len(messages) < bounds.max_messages_per_minute:
        return Refused(
            Code.MESSAGE_RATE,
            "too many messages to the venue in a minute",
            f"{len(messages)}",
            f"{bounds.max_messages_per_minute}",
        )
    if not (len(book.open) < bounds.max_open_orders and len(symbol.open) < bounds.max_open_orders_per_symbol):
        return Refused(
            Code.OPEN_ORDERS,
            "too many open orders",
            f"{len(book.open)}, {len(symbol.open)} in {intent.symbol}",
            f"{bounds.max_open_orders}, {bounds.max_open_orders_per_symbol}",
        )
    if symbol.recent and (refused := _check_repeats(bounds, symbol, intent, venue_now)):
        return refused
    last = symbol.identical.get(intent.strategy)
    if (
        last is not None
        and last[0] is intent.side
        and last[1] == intent.quantity
        and not last[2] < bounds.max_identical_executions
    ):
        return Refused(
            Code.IDENTICAL_EXECUTIONS,
            f"{intent.strategy} repeats itself in {intent.symbol}",
            f"{last[2]}",
            f"{bounds.max_identical_executions}",
        )
    if (
        bounds.max_participation_rate is not NEVER
        and not intent.quantity <= bounds.max_participation_rate * symbol.volume
    ):
        return Refused(
            Code.PARTICIPATION,
            f"the order is large against {intent.symbol}'s recent volume",
            f"{intent.quantity}",
            f"{bounds.max_participation_rate} of {symbol.volume}",
        )
    if symbol.open and bounds.prevent_self_crossing:
        for order in symbol.open.values():
            if order.side is not intent.side and _could_cross(intent, order):
                return Refused(
                    Code.SELF_CROSSING,
                    f"it could trade with your own {order.side.value} {order.client_order_id}",
                    f"{intent.limit_price or 'market'}",
                    f"{order.limit_price or 'market'}",
                )
    return None


def _check_repeats(bounds: Bounds, symbol: SymbolBook, intent: OrderIntent, venue_now: datetime) -> Refused | None:
    seconds = bounds.duplicate_order_window_seconds
    if seconds is NEVER:
        return None
    expired = venue_now - timedelta(seconds=float(seconds))
    equal = 1
    for at, earlier in reversed(symbol.recent):
        if at <= expired:
            break
        if (
            earlier.side is intent.side and earlier.quantity == intent.quantity and earlier.strategy == intent.strategy
            and earlier.limit_price == intent.limit_price and earlier.stop_price == intent.stop_price
        ):  # fmt: skip
            equal += 1
    if not equal <= bounds.max_duplicate_orders:
        return Refused(
            Code.DUPLICATE_ORDER,
            f"{intent.strategy} sends the same order again in {intent.symbol}",
            f"{equal} in {seconds} s",
            f"{bounds.max_duplicate_orders}",
        )
    return None


def _could_cross(intent: OrderIntent, order: OpenOrder) -> bool:
    """Whether the two could meet; an order without a limit price meets any."""
    if intent.limit_price is None or order.limit_price is None:
        return True
    return (
        intent.limit_price >= order.limit_price if intent.side is Side.BUY else intent.limit_price <= order.limit_price
    )


def in_session(clock: Clock | None, venue_now: datetime, extended: bool) -> bool:
    """Whether the session is open at `venue_now` by the last clock; False when it cannot be known."""
    if clock is None:
        return False
    if clock.is_open and venue_now < clock.next_close:
        return True
    if not extended:
        return False
    local = venue_now.astimezone(NEW_YORK)
    days = {clock.next_open.astimezone(NEW_YORK).date(), clock.next_close.astimezone(NEW_YORK).date()}
    if clock.is_open:
        days.add(clock.at.astimezone(NEW_YORK).date())
    return local.date() in days and 4 <= local.hour < 20
