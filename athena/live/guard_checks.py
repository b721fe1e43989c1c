"""The checks of one order, in the order an operator would ask them: plain comparisons of the book with its bounds.

Every condition is the passing one, so that NaN, missing and stale refuse. What cannot be compared at all (text for a
price, say) is refused as INVALID_ORDER: nothing here raises into the engine. Members of enums are kept as module
constants because looking one up in its class costs as much as four comparisons of decimals.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from athena.live.guard_book import Book, OpenOrder, SymbolBook
from athena.live.guard_rules import Bounds
from athena.live.verdict import Code, Refused
from athena.model import NEW_YORK, ZERO, Mode, OrderIntent, OrderStatus, OrderType, Purpose, Side, dollars

MINUTE = timedelta(seconds=60)
MINUTE_NS = 60_000_000_000
_AHEAD = timedelta(seconds=-5)  # a quote may be this much ahead of our idea of the venue's time
_ACTIVE, _HALTED, _STRATEGY, _EXIT = Mode.ACTIVE, Mode.HALTED, Purpose.STRATEGY, Purpose.EXIT
_BUY = Side.BUY
_MARKET, _LIMIT, _STOP, _STOP_LIMIT = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
_UNKNOWN = OrderStatus.UNKNOWN


def check(book: Book, bounds: Bounds, intent: OrderIntent, venue_now: datetime, now_ns: int) -> Refused | None:
    """The first check that does not pass, None when all do. Never raises."""
    try:
        if intent.purpose is _EXIT:
            return _check_exit(book, intent)
        # Is it an order, may this be traded now at all, is its price known?
        quantity = intent.quantity
        typed = type(quantity) is Decimal and type(intent.side) is Side and type(intent.type) is OrderType
        if not (typed and quantity > ZERO and intent.purpose is _STRATEGY):
            what = f"{intent.purpose} {intent.side} {intent.type} {quantity}"
            return _no(Code.INVALID_ORDER, "purpose, side, type or quantity is none", what, "")
        if bounds.mode is _HALTED:
            return _no(Code.GUARD_HALTED, str(bounds.halt), "halted", "active")
        if bounds.listed:
            return _no(Code.SYMBOL_NOT_ALLOWED, f"{intent.symbol} may not be traded", intent.symbol, bounds.listed)
        if not book.day_start <= venue_now < book.day_end:
            return _no(Code.DAY_NOT_OPEN, "the trading day has not been opened", venue_now, book.day)
        symbol = book.symbols.get(intent.symbol)
        if symbol is None or symbol.quote_at is None:
            most = bounds.max_quote_age_seconds
            return _no(Code.QUOTE_STALE, f"{intent.symbol} has no usable quote", "none", most, " s")
        if not _AHEAD <= venue_now - symbol.quote_at <= bounds.quote_age:
            age = (venue_now - symbol.quote_at).total_seconds()
            return _no(Code.QUOTE_STALE, f"{intent.symbol}'s quote is old", age, bounds.max_quote_age_seconds, " s")
        session = bounds.trading_session
        if session != "any" and not in_session(book, venue_now, session == "extended"):
            return _no(Code.SESSION_CLOSED, "the session is closed, or the venue's clock unknown", venue_now, session)
        refused = _check_prices(bounds, symbol, intent)  # false in a condition, so these are not chained by `or`
        if refused is None:
            refused = _check_size(book, bounds, symbol, intent)
        if refused is None:
            refused = _check_pace(book, bounds, symbol, intent, venue_now, now_ns)
        return refused
    except (ArithmeticError, TypeError, ValueError, AttributeError, LookupError) as error:
        why = f"the order cannot be judged: {type(error).__name__}: {error}"
        return Refused(Code.INVALID_ORDER, why, repr(intent)[:300])


def price_of(symbol: SymbolBook, intent: OrderIntent) -> Decimal:
    """The dearest price the order could plausibly trade at: ask, limit or stop, whichever is highest."""
    price, limit, stop = symbol.ask, intent.limit_price, intent.stop_price
    if limit is not None and limit > price:
        price = limit
    if stop is not None and stop > price:
        price = stop
    return price


def _no(code: Code, message: str, observed: Any, limit: Any, unit: str = "") -> Refused:
    """A refusal with both numbers as people write them."""
    return Refused(code, message, _written(observed, unit), _written(limit, unit))


def _written(value: Any, unit: str) -> str:
    if unit == "$" and isinstance(value, Decimal):
        return dollars(value)
    return f"{value}{unit if unit != '$' else ''}"


def _check_exit(book: Book, intent: OrderIntent) -> Refused | None:
    """An operator's closing order must close, and no more than is there. No price, rate, loss or mode stops it."""
    quantity, side, symbol = intent.quantity, intent.side, book.symbols.get(intent.symbol)
    if not (type(quantity) is Decimal and type(side) is Side and quantity > ZERO):
        return _no(Code.INVALID_ORDER, "an exit needs a side and a positive quantity", f"{side} {quantity}", "")
    if type(intent.type) is not OrderType or not _prices_fit(intent.type, intent.limit_price, intent.stop_price):
        return _no(Code.INVALID_ORDER, "an exit's prices do not fit its type", intent.type, "")
    position, waiting = ZERO, ZERO
    if symbol is not None:
        position = -symbol.position if side is _BUY else symbol.position
        # What is open on this side would close it a second time; an order of unknown fate must not trap the position.
        waiting = sum((o.remaining for o in symbol.open.values() if o.side is side and o.status is not _UNKNOWN), ZERO)
    if quantity <= position - waiting:
        return None
    first = f"; {waiting} of it already in open {side.value} orders: cancel those first" if waiting else ""
    why = f"an exit may only close: {position} {intent.symbol} could be closed by a {side.value}{first}"
    return _no(Code.EXIT_EXCEEDS_POSITION, why, quantity, max(position - waiting, ZERO))


def _check_prices(bounds: Bounds, symbol: SymbolBook, intent: OrderIntent) -> Refused | None:
    """Do its prices belong to its type, and to this market?"""
    kind, limit, stop = intent.type, intent.limit_price, intent.stop_price
    if not _prices_fit(kind, limit, stop):
        return _no(Code.INVALID_ORDER, f"a {kind.value} order with limit {limit} and stop {stop}", kind.value, "")
    if symbol.limit_orders_only and kind is not _LIMIT:
        return _no(Code.LIMIT_ORDERS_ONLY, f"slippage in {symbol.symbol} today: limit orders only", kind.value, "limit")
    buy = intent.side is _BUY
    far, collar = (symbol.ask, bounds.dearest) if buy else (symbol.bid, bounds.cheapest)
    if stop is not None:  # waits beyond the market by nature, wherever; its limit is collared around it
        if not (stop >= far if buy else stop <= far):
            return _no(Code.PRICE_COLLAR, f"a {intent.side.value} stop inside the market", stop, far)
        far = stop
    if limit is None:
        return None
    bound = far * collar
    if not (limit <= bound if buy else limit >= bound and limit <= symbol.ask * 100):
        market = f"{symbol.bid} / {symbol.ask}"
        return _no(Code.PRICE_COLLAR, f"{intent.side.value} at {limit} in a market of {market}", limit, f"{bound:.4f}")
    return None


def _prices_fit(kind: OrderType, limit: Decimal | None, stop: Decimal | None) -> bool:
    """Each price is there exactly when the type has one, and is a positive amount."""
    if kind is _LIMIT or kind is _STOP_LIMIT:
        if not (type(limit) is Decimal and limit > ZERO):
            return False
    elif limit is not None:
        return False
    if kind is _STOP or kind is _STOP_LIMIT:
        return type(stop) is Decimal and stop > ZERO
    return stop is None


def _check_size(book: Book, bounds: Bounds, symbol: SymbolBook, intent: OrderIntent) -> Refused | None:
    """What would be held if everything open on its side filled too; has the day gone too badly, is there money for it?

    One function, with `price_of` and `daily_loss` written out: a call costs more than two comparisons.
    """
    quantity = intent.quantity
    if not quantity <= bounds.max_order_quantity:
        return _no(Code.ORDER_QUANTITY, "too many shares", quantity, bounds.max_order_quantity)
    price, limit, stop = symbol.ask, intent.limit_price, intent.stop_price
    if limit is not None and limit > price:
        price = limit
    if stop is not None and stop > price:
        price = stop
    notional = quantity * price
    buy = intent.side is _BUY
    outcome = symbol.up + quantity if buy else quantity - symbol.down  # in its direction
    if outcome <= ZERO:  # towards flat at most: it takes risk away, whatever else is the case
        return None if notional > ZERO else _no(Code.INVALID_ORDER, "the order has no value", notional, "")
    if bounds.mode is not _ACTIVE:
        held = f"{symbol.position} held, {symbol.buys} in open buys, {symbol.sells} in open sells"
        return _no(Code.REDUCE_ONLY, str(bounds.halt), f"{held}, {intent.side.value} {quantity}", "a smaller position")
    if not notional <= bounds.max_order_notional_dollars:
        return _no(Code.ORDER_NOTIONAL, "the order is too large", notional, bounds.max_order_notional_dollars, "$")
    if not (buy or bounds.allow_short):
        return _no(Code.SHORT_NOT_ALLOWED, f"{intent.symbol} could become short", outcome, 0)
    value = outcome * price
    if not value <= bounds.max_position_per_symbol_dollars:
        why = f"{intent.symbol} with its open orders would be {outcome} shares at ${price}"
        return _no(Code.POSITION_LIMIT, why, value, bounds.max_position_per_symbol_dollars, "$")
    _, gross, net_up, net_down = symbol.share
    if outcome > symbol.worst:
        gross = book.gross - gross + value
        if not gross <= bounds.max_gross_exposure_dollars:
            why = "all positions with their open orders would be too much"
            return _no(Code.GROSS_EXPOSURE, why, gross, bounds.max_gross_exposure_dollars, "$")
    net = book.net_up - net_up + value if buy else value + net_down - book.net_down
    if not net <= bounds.max_net_exposure_dollars:
        why = f"with all open {intent.side.value} orders filled the book would lean too far"
        return _no(Code.NET_EXPOSURE, why, net, bounds.max_net_exposure_dollars, "$")
    start = book.starting_equity
    loss = None if start is None else start - book.cash - book.value
    if loss is None or not loss - book.loss_acknowledged < bounds.max_daily_loss_dollars:
        why = "the day's loss is at its limit, or unknown"
        return _no(Code.DAILY_LOSS, why, loss, bounds.max_daily_loss_dollars, "$")
    if not book.losses < bounds.max_consecutive_losses:
        return _no(Code.CONSECUTIVE_LOSSES, "too many losses in a row", book.losses, bounds.max_consecutive_losses)
    if bounds.min_buying_power_dollars:
        left = None if book.buying_power is None else book.buying_power - book.ordered - notional
        if left is None or not left >= bounds.min_buying_power_dollars:
            why = "buying power after this order would be too low, or is unknown"
            return _no(Code.BUYING_POWER, why, left, bounds.min_buying_power_dollars, "$")
    return None


def _check_pace(
    book: Book, bounds: Bounds, symbol: SymbolBook, intent: OrderIntent, venue_now: datetime, now_ns: int
) -> Refused | None:
    """Too many, too often, the same again, too much for the market, or against oneself?"""
    for target, bound in bounds.rates:
        times = book.rates.get(target)
        if times is not None:
            while times and times[0] <= venue_now - MINUTE:
                times.popleft()
            if not len(times) < bound:
                return _no(Code.ORDER_RATE, f"too many orders in a minute ({target or 'all'})", len(times), bound)
    messages = book.messages
    while messages and messages[0] <= now_ns - MINUTE_NS:
        messages.popleft()
    if not len(messages) < bounds.max_messages_per_minute:
        return _no(Code.MESSAGE_RATE, "too many messages in a minute", len(messages), bounds.max_messages_per_minute)
    if not len(book.open) < bounds.max_open_orders:
        return _no(Code.OPEN_ORDERS, "too many open orders", len(book.open), bounds.max_open_orders)
    if not len(symbol.open) < bounds.max_open_orders_per_symbol:
        why = f"too many open orders in {intent.symbol}"
        return _no(Code.OPEN_ORDERS, why, len(symbol.open), bounds.max_open_orders_per_symbol)
    if symbol.recent and (refused := _check_repeats(bounds, symbol, intent, venue_now)) is not None:
        return refused
    if (
        symbol.identical
        and (last := symbol.identical.get(intent.strategy)) is not None
        and last[0] is intent.side
        and last[1] == intent.quantity
        and not last[2] < bounds.max_identical_executions
    ):
        why = f"{intent.strategy} repeats itself in {intent.symbol}"
        return _no(Code.IDENTICAL_EXECUTIONS, why, last[2], bounds.max_identical_executions)
    if bounds.participates and not intent.quantity <= bounds.max_participation_rate * symbol.volume:
        why = f"large against {intent.symbol}'s last five minutes of {symbol.volume} shares"
        return _no(Code.PARTICIPATION, why, intent.quantity, bounds.max_participation_rate * symbol.volume)
    if symbol.open and bounds.prevent_self_crossing:
        for order in symbol.open.values():
            if order.side is not intent.side and _could_meet(intent, order):
                why = f"it could trade with your own open {order.side.value} {order.client_order_id}"
                return _no(Code.SELF_CROSSING, why, intent.limit_price or "market", order.limit_price or "market")
    return None


def _check_repeats(bounds: Bounds, symbol: SymbolBook, intent: OrderIntent, venue_now: datetime) -> Refused | None:
    expired, quantity, equal = venue_now - bounds.duplicate_window, intent.quantity, 1
    for at, earlier in reversed(symbol.recent):
        if at <= expired:
            break
        if (
            earlier.quantity == quantity and earlier.side is intent.side and earlier.strategy == intent.strategy
            and earlier.limit_price == intent.limit_price and earlier.stop_price == intent.stop_price
        ):  # fmt: skip
            equal += 1
    if equal <= bounds.max_duplicate_orders:
        return None
    why = f"{intent.strategy} sends the same order in {intent.symbol} again and again"
    return _no(Code.DUPLICATE_ORDER, why, equal, bounds.max_duplicate_orders)


def _could_meet(intent: OrderIntent, order: OpenOrder) -> bool:
    """Whether two orders of opposite sides could trade with each other; one without a limit meets any."""
    if intent.limit_price is None or order.limit_price is None:
        return True
    return intent.limit_price >= order.limit_price if intent.side is _BUY else intent.limit_price <= order.limit_price


def in_session(book: Book, venue_now: datetime, extended: bool) -> bool:
    """Whether the session is open at `venue_now` by the venue's last clock; False when that cannot be known.

    An opening that the clock only foretold counts for a minute: by then the venue must have said that it came.
    """
    clock = book.clock
    if clock is None:
        return False
    opened = clock.is_open or (clock.next_open <= venue_now and venue_now - clock.at < MINUTE)
    if opened and venue_now < clock.next_close:
        return True
    local = venue_now.astimezone(NEW_YORK)
    days = (clock.next_open.astimezone(NEW_YORK).date(), book.last_session)
    return extended and local.date() in days and 4 <= local.hour < 20
