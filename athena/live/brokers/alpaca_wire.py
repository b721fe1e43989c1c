"""Alpaca's JSON and msgpack into Athena's facts, tolerantly.

alpaca-py's own models refuse a whole list for one unknown word. Here each row stands alone: a row that cannot be a
fact raises Malformed and is reported; a word not known yet (a status, an order type) is read the most careful way and
leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from athena.live.brokers.base import Asset, CancelResult, OrderUpdated, Rows, Timeframe, Unreadable
from athena.model import (
    NEW_YORK,
    ZERO,
    Account,
    Bar,
    CashFlow,
    Clock,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    OrderType,
    Position,
    Quote,
    Side,
    TimeInForce,
    Trade,
)

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Raw = Mapping[str, Any]
Doubts = list[str]

ATHENAS_OWN = frozenset({OrderStatus.INTENDED, OrderStatus.REFUSED, OrderStatus.UNKNOWN, OrderStatus.NOT_SENT})
FILL_EVENTS = frozenset({"fill", "partial_fill"})
CASH_FLOW_TYPES = (
    "CSD,CSW,JNLC,ACATC,DIV,DIVCGL,DIVCGS,DIVFEE,DIVFT,DIVNRA,DIVROC,DIVTW,DIVTXEX,CGD,"
    "INT,INTNRA,INTTW,FEE,CFEE,PTC,PTR"
)


class Malformed(ValueError):
    """A row of the venue that cannot become a fact; says which field, and its value."""


def rows(source: str, raw: Any, parse: Callable[[Raw], T]) -> Rows[T]:
    """Every row that can be read, and the others as Unreadable. Raises Malformed when `raw` is not a list at all."""
    if not isinstance(raw, list):
        raise Malformed(f"{source}: a list is expected, not {cut(raw)}")
    facts: list[T] = []
    unreadable: list[Unreadable] = []
    for row in raw:
        try:
            facts.append(parse(row))
        except Malformed as error:
            unreadable.append(Unreadable(source, str(error), cut(row)))
    return Rows(facts, unreadable)


def order(raw: Raw, doubts: Doubts | None = None) -> Order:
    doubts = [] if doubts is None else doubts
    return Order(
        client_order_id=_text(raw, "client_order_id"),
        broker_order_id=_text(raw, "id"),
        symbol=_text(raw, "symbol"),
        side=_side(raw),
        # The careful readings: a market order is the worst price, GTC stands longest, UNKNOWN counts as open.
        type=_word(OrderType, raw.get("type") or raw.get("order_type"), OrderType.MARKET, "type", doubts),
        time_in_force=_word(TimeInForce, raw.get("time_in_force"), TimeInForce.GTC, "time_in_force", doubts),
        status=order_status(raw.get("status"), doubts),
        quantity=_maybe_number(raw, "qty"),
        filled_quantity=_maybe_number(raw, "filled_qty") or ZERO,
        average_fill_price=_maybe_number(raw, "filled_avg_price"),
        limit_price=_maybe_number(raw, "limit_price"),
        stop_price=_maybe_number(raw, "stop_price"),
        notional=_maybe_number(raw, "notional"),
        extended_hours=raw.get("extended_hours") is True,
        submitted_at=_maybe_time(raw, "submitted_at"),
        updated_at=_maybe_time(raw, "updated_at"),
        replaced_by=raw.get("replaced_by") or None,
        replaces=raw.get("replaces") or None,
    )


def order_status(word: Any, doubts: Doubts) -> OrderStatus:
    """The venue's status; a word it should not know, Athena's own included, is UNKNOWN, which counts as open."""
    status = _word(OrderStatus, word, OrderStatus.UNKNOWN, "status", doubts)
    return OrderStatus.UNKNOWN if status in ATHENAS_OWN else status


def order_update(data: Raw, doubts: Doubts) -> OrderUpdated:
    """The `data` of one trade_updates frame."""
    _object(data, "trade update")
    event = _text(data, "event")
    raw_order = _object(data.get("order"), "order")
    current = order(raw_order, doubts)
    at = _maybe_time(data, "timestamp") or current.updated_at
    if at is None:
        raise Malformed("timestamp is missing")
    done = None
    if event in FILL_EVENTS:
        done = Fill(
            execution_id=execution_id(current.broker_order_id, _number(raw_order, "filled_qty")),
            client_order_id=current.client_order_id,
            broker_order_id=current.broker_order_id,
            symbol=current.symbol,
            side=current.side,
            quantity=_positive(data, "qty"),
            price=_positive(data, "price"),
            at=at,
        )
    return OrderUpdated(current, event, done, at, _maybe_number(data, "position_qty"))


def fill(raw: Raw, client_order_id: str) -> Fill:
    """One FILL activity. Activities do not carry the client order id; the caller knows it."""
    broker_order_id = _text(raw, "order_id")
    if not client_order_id:
        raise Malformed(f"order {broker_order_id} of this fill is not known to the venue")
    return Fill(
        execution_id=execution_id(broker_order_id, _number(raw, "cum_qty")),
        client_order_id=client_order_id,
        broker_order_id=broker_order_id,
        symbol=_text(raw, "symbol"),
        side=_side(raw),
        quantity=_positive(raw, "qty"),
        price=_positive(raw, "price"),
        at=_time(raw, "transaction_time"),
    )


def execution_id(broker_order_id: str, cumulative: Decimal) -> str:
    """One name for a fill, the same by stream and by activity: its order, and the order's filled quantity after it.

    The stream's execution_id and an activity's id are different numbers, and no document says how to turn one into the
    other; the cumulative quantity is in both and grows with every fill.
    """
    return f"{broker_order_id}@{format(cumulative.normalize(), 'f')}"


def cash_flow(raw: Raw) -> CashFlow:
    day = raw.get("date")
    if day:
        try:
            at = datetime.combine(date.fromisoformat(str(day)[:10]), time(), NEW_YORK).astimezone(UTC)
        except ValueError:
            raise Malformed(f"date is {day!r}") from None
    else:
        at = _time(raw, "transaction_time")
    return CashFlow(
        id=_text(raw, "id"),
        kind=_text(raw, "activity_type"),
        amount=_number(raw, "net_amount"),
        at=at,
        description=str(raw.get("description") or ""),
    )


def account(raw: Raw, venue: str) -> Account:
    _object(raw, "account")
    return Account(
        account_number=_text(raw, "account_number"),
        venue=venue,
        status=_text(raw, "status"),
        currency=str(raw.get("currency") or "USD"),
        cash=_number(raw, "cash"),
        equity=_number(raw, "equity"),
        last_equity=_number(raw, "last_equity"),
        buying_power=_number(raw, "buying_power"),
        long_market_value=_maybe_number(raw, "long_market_value") or ZERO,
        short_market_value=_maybe_number(raw, "short_market_value") or ZERO,
        trading_blocked=_restriction(raw, "trading_blocked"),
        account_blocked=_restriction(raw, "account_blocked"),
        trade_suspended_by_user=_restriction(raw, "trade_suspended_by_user"),
        shorting_enabled=raw.get("shorting_enabled") is True,
    )


def position(raw: Raw) -> Position:
    quantity = _number(raw, "qty")
    if raw.get("side") in {"long", "short"}:  # some versions sign the quantity of a short, some do not
        quantity = abs(quantity) if raw["side"] == "long" else -abs(quantity)
    return Position(
        symbol=_text(raw, "symbol"),
        quantity=quantity,
        average_entry_price=_number(raw, "avg_entry_price"),
        current_price=_maybe_number(raw, "current_price"),
    )


def clock(raw: Raw, speed: float) -> Clock:
    _object(raw, "clock")
    is_open = raw.get("is_open")
    if not isinstance(is_open, bool):
        raise Malformed(f"is_open is {is_open!r}")
    return Clock(_time(raw, "timestamp"), is_open, _time(raw, "next_open"), _time(raw, "next_close"), speed)


def asset(raw: Raw) -> Asset:
    _object(raw, "asset")
    return Asset(
        symbol=_text(raw, "symbol"),
        name=str(raw.get("name") or ""),
        exchange=str(raw.get("exchange") or ""),
        tradable=raw.get("tradable") is True and raw.get("status", "active") == "active",
        shortable=raw.get("shortable") is True,
        fractionable=raw.get("fractionable") is True,
        marginable=raw.get("marginable") is True,
        easy_to_borrow=raw.get("easy_to_borrow") is True,
    )


def cancel_result(raw: Raw) -> CancelResult:
    _object(raw, "cancel result")
    status = raw.get("status")
    body = raw.get("body")
    message = body.get("message", "") if isinstance(body, Mapping) else ""
    return CancelResult(_text(raw, "id"), int(str(status)) if str(status).isdigit() else 0, str(message))


def quote(symbol: str, raw: Raw) -> Quote | None:
    """A two-sided quote; None for a one-sided one, whose middle would be a fiction."""
    _object(raw, "quote")
    bid, ask = _number(raw, "bp"), _number(raw, "ap")
    if bid <= 0 or ask <= 0:
        return None
    return Quote(symbol, bid, ask, _number(raw, "bs"), _number(raw, "as"), _time(raw, "t"))


def trade(symbol: str, raw: Raw) -> Trade:
    return Trade(symbol, _positive(raw, "p"), _number(raw, "s"), _time(raw, "t"))


def bar(symbol: str, raw: Raw) -> Bar:
    return Bar(
        symbol=symbol,
        open=_number(raw, "o"),
        high=_number(raw, "h"),
        low=_number(raw, "l"),
        close=_number(raw, "c"),
        volume=_number(raw, "v"),
        at=_time(raw, "t"),
        trade_count=int(_maybe_number(raw, "n") or 0),
        vwap=_maybe_number(raw, "vw"),
    )


def order_request(intent: OrderIntent) -> dict[str, Any]:
    """The body of POST /v2/orders; amounts are exact decimal text, not floats."""
    body: dict[str, Any] = {
        "symbol": intent.symbol,
        "qty": plain(intent.quantity),
        "side": intent.side.value,
        "type": intent.type.value,
        "time_in_force": intent.time_in_force.value,
        "extended_hours": intent.extended_hours,
        "client_order_id": intent.client_order_id,
    }
    if intent.limit_price is not None:
        body["limit_price"] = plain(intent.limit_price)
    if intent.stop_price is not None:
        body["stop_price"] = plain(intent.stop_price)
    return body


def timeframe(length: Timeframe) -> str:
    """Alpaca's word for a bar's length, such as 1Min, 2Hour, 1Day."""
    if isinstance(length, str):
        return length
    minutes = length / timedelta(minutes=1)
    if minutes >= 1 and minutes == int(minutes):
        return f"{int(minutes)}Min" if minutes < 60 else f"{int(minutes // 60)}Hour"
    raise ValueError(f"{length} is not a bar length; use whole minutes, or '1Day'")


def plain(value: Decimal) -> str:
    return format(value, "f")


def cut(raw: Any, length: int = 300) -> str:
    text = repr(raw)
    return text if len(text) <= length else text[:length] + "..."


# ------------------------------------------------------------------------------------------------------------- fields


def _object(raw: Any, what: str) -> Raw:
    if not isinstance(raw, Mapping):
        raise Malformed(f"{what}: an object is expected, not {cut(raw)}")
    return raw


def _text(raw: Any, key: str) -> str:
    value = _object(raw, key).get(key)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{key} is {cut(value)}")
    return value


def _maybe_number(raw: Raw, key: str) -> Decimal | None:
    value = raw.get(key)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Malformed(f"{key} is {cut(value)}, not a number") from None
    if not number.is_finite() or isinstance(value, bool):
        raise Malformed(f"{key} is {cut(value)}, not a number")
    return number


def _number(raw: Any, key: str) -> Decimal:
    number = _maybe_number(_object(raw, key), key)
    if number is None:
        raise Malformed(f"{key} is missing")
    return number


def _positive(raw: Any, key: str) -> Decimal:
    number = _number(raw, key)
    if not number > 0:
        raise Malformed(f"{key} is {number}, not positive")
    return number


def _maybe_time(raw: Raw, key: str) -> datetime | None:
    value = raw.get(key)
    if value is None or value == "":
        return None
    try:
        # The stream's times are msgpack Timestamps, REST's are RFC 3339 with up to nine digits of fraction.
        at = value.to_datetime() if hasattr(value, "to_datetime") else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError):
        raise Malformed(f"{key} is {cut(value)}, not a time") from None
    if at.tzinfo is None:
        raise Malformed(f"{key} is {cut(value)}, without a time zone")
    return at.astimezone(UTC)


def _time(raw: Any, key: str) -> datetime:
    at = _maybe_time(_object(raw, key), key)
    if at is None:
        raise Malformed(f"{key} is missing")
    return at


def _side(raw: Raw) -> Side:
    word = str(raw.get("side") or "")
    for side in Side:
        if word == side or word.startswith(f"{side}_"):  # activities say sell_short
            return side
    raise Malformed(f"side is {cut(raw.get('side'))}")


def _restriction(raw: Raw, key: str) -> bool:
    """A flag that stops trading: only a plain false, or its absence, is taken as false."""
    return raw.get(key) not in (False, None)


def _word(kind: type[E], word: Any, careful: E, field: str, doubts: Doubts) -> E:
    try:
        return kind(word)
    except ValueError:
        doubts.append(f"{field} {cut(word)} is not known; read as {careful.value}")
        return careful


def unreadable(source: str, reasons: Iterable[str], raw: Any) -> tuple[Unreadable, ...]:
    return tuple(Unreadable(source, reason, cut(raw)) for reason in reasons)
