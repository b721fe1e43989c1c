"""Alpaca's JSON and msgpack into Athena's facts, tolerantly.

alpaca-py's own models refuse a whole list for one unknown word. Here each row stands alone: a row that cannot be a
fact raises Malformed and is reported; a word not known yet (a status, an order type) is read the most careful way and
leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from athena.live.brokers import alpaca_fields as read
from athena.live.brokers.alpaca_fields import Doubts, Malformed, Raw, cut
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
    TimeInForce,
    Trade,
)

T = TypeVar("T")

ATHENAS_OWN = frozenset({OrderStatus.INTENDED, OrderStatus.REFUSED, OrderStatus.UNKNOWN, OrderStatus.NOT_SENT})
FILL_EVENTS = frozenset({"fill", "partial_fill"})
CASH_FLOW_TYPES = (
    "CSD,CSW,JNLC,ACATC,DIV,DIVCGL,DIVCGS,DIVFEE,DIVFT,DIVNRA,DIVROC,DIVTW,DIVTXEX,CGD,"
    "INT,INTNRA,INTTW,FEE,CFEE,PTC,PTR"
)


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
    """An order as REST and the stream tell it; words that are not known go to `doubts`. Raises Malformed."""
    doubts = [] if doubts is None else doubts
    return Order(
        client_order_id=read.text(raw, "client_order_id"),
        broker_order_id=read.text(raw, "id"),
        symbol=read.text(raw, "symbol"),
        side=read.side(raw),
        # The careful readings: a market order is the worst price, GTC stands longest, UNKNOWN counts as open.
        type=read.word(OrderType, raw.get("type") or raw.get("order_type"), OrderType.MARKET, "type", doubts),
        time_in_force=read.word(TimeInForce, raw.get("time_in_force"), TimeInForce.GTC, "time_in_force", doubts),
        status=order_status(raw.get("status"), doubts),
        quantity=read.maybe_number(raw, "qty"),
        filled_quantity=read.maybe_number(raw, "filled_qty") or ZERO,
        average_fill_price=read.maybe_number(raw, "filled_avg_price"),
        limit_price=read.maybe_number(raw, "limit_price"),
        stop_price=read.maybe_number(raw, "stop_price"),
        notional=read.maybe_number(raw, "notional"),
        extended_hours=raw.get("extended_hours") is True,
        submitted_at=read.maybe_time(raw, "submitted_at"),
        updated_at=read.maybe_time(raw, "updated_at"),
        replaced_by=raw.get("replaced_by") or None,
        replaces=raw.get("replaces") or None,
    )


def order_status(word: Any, doubts: Doubts) -> OrderStatus:
    """The venue's status; a word it should not know, Athena's own included, is UNKNOWN, which counts as open."""
    status = read.word(OrderStatus, word, OrderStatus.UNKNOWN, "status", doubts)
    return OrderStatus.UNKNOWN if status in ATHENAS_OWN else status


def order_update(data: Raw, doubts: Doubts) -> OrderUpdated:
    """The `data` of one trade_updates frame."""
    read.mapping(data, "trade update")
    event = read.text(data, "event")
    raw_order = read.mapping(data.get("order"), "order")
    current = order(raw_order, doubts)
    at = read.maybe_time(data, "timestamp") or current.updated_at
    if at is None:
        raise Malformed("timestamp is missing")
    done = None
    if event in FILL_EVENTS:
        done = Fill(
            execution_id=execution_id(current.broker_order_id, read.number(raw_order, "filled_qty")),
            client_order_id=current.client_order_id,
            broker_order_id=current.broker_order_id,
            symbol=current.symbol,
            side=current.side,
            quantity=read.positive(data, "qty"),
            price=read.positive(data, "price"),
            at=at,
        )
    return OrderUpdated(current, event, done, at, read.maybe_number(data, "position_qty"))


def fill(raw: Raw, client_order_id: str) -> Fill:
    """One FILL activity. Activities do not carry the client order id; the caller knows it."""
    broker_order_id = read.text(raw, "order_id")
    if not client_order_id:
        raise Malformed(f"order {broker_order_id} of this fill is not known to the venue")
    return Fill(
        execution_id=execution_id(broker_order_id, read.number(raw, "cum_qty")),
        client_order_id=client_order_id,
        broker_order_id=broker_order_id,
        symbol=read.text(raw, "symbol"),
        side=read.side(raw),
        quantity=read.positive(raw, "qty"),
        price=read.positive(raw, "price"),
        at=read.moment(raw, "transaction_time"),
    )


def amends(raw: Raw) -> bool:
    """True for an activity that busts or corrects an earlier execution; the order says what is left of it."""
    words = {raw.get("type"), raw.get("execution_type")}
    return bool(words & {"trade_bust", "trade_correct"}) or bool(raw.get("previous_id"))


def execution_id(broker_order_id: str, cumulative: Decimal) -> str:
    """One name for a fill, the same by stream and by activity: its order, and the order's filled quantity after it.

    The stream's execution_id and an activity's id are different numbers, and no document says how to turn one into the
    other; the cumulative quantity is in both and grows with every fill.
    """
    return f"{broker_order_id}@{format(cumulative.normalize(), 'f')}"


def cash_flow(raw: Raw) -> CashFlow:
    """A deposit, dividend, fee or another activity that moves cash. Raises Malformed."""
    day = raw.get("date")
    if day:
        try:
            at = datetime.combine(date.fromisoformat(str(day)[:10]), time(), NEW_YORK).astimezone(UTC)
        except ValueError:
            raise Malformed(f"date is {day!r}") from None
    else:
        at = read.moment(raw, "transaction_time")
    return CashFlow(
        id=read.text(raw, "id"),
        kind=read.text(raw, "activity_type"),
        amount=read.number(raw, "net_amount"),
        at=at,
        description=str(raw.get("description") or ""),
    )


def account(raw: Raw, venue: str) -> Account:
    """The account with its flags; only a plain false is taken for "not blocked". Raises Malformed."""
    read.mapping(raw, "account")
    return Account(
        account_number=read.text(raw, "account_number"),
        venue=venue,
        status=read.text(raw, "status"),
        currency=str(raw.get("currency") or "USD"),
        cash=read.number(raw, "cash"),
        equity=read.number(raw, "equity"),
        last_equity=read.number(raw, "last_equity"),
        buying_power=read.number(raw, "buying_power"),
        long_market_value=read.maybe_number(raw, "long_market_value") or ZERO,
        short_market_value=read.maybe_number(raw, "short_market_value") or ZERO,
        trading_blocked=read.restriction(raw, "trading_blocked"),
        account_blocked=read.restriction(raw, "account_blocked"),
        trade_suspended_by_user=read.restriction(raw, "trade_suspended_by_user"),
        shorting_enabled=raw.get("shorting_enabled") is True,
    )


def position(raw: Raw) -> Position:
    """A position, short ones with negative shares. Raises Malformed."""
    quantity = read.number(raw, "qty")
    if raw.get("side") in {"long", "short"}:  # some versions sign the quantity of a short, some do not
        quantity = abs(quantity) if raw["side"] == "long" else -abs(quantity)
    return Position(
        symbol=read.text(raw, "symbol"),
        quantity=quantity,
        average_entry_price=read.number(raw, "avg_entry_price"),
        current_price=read.maybe_number(raw, "current_price"),
    )


def clock(raw: Raw, speed: float) -> Clock:
    """The venue's clock; `speed` is the simulator's. Raises Malformed."""
    read.mapping(raw, "clock")
    is_open = raw.get("is_open")
    if not isinstance(is_open, bool):
        raise Malformed(f"is_open is {is_open!r}")
    at, next_open, next_close = (read.moment(raw, key) for key in ("timestamp", "next_open", "next_close"))
    return Clock(at, is_open, next_open, next_close, speed)


def asset(raw: Raw) -> Asset:
    """What may be done with a symbol; what is not said is no. Raises Malformed."""
    read.mapping(raw, "asset")
    return Asset(
        symbol=read.text(raw, "symbol"),
        name=str(raw.get("name") or ""),
        exchange=str(raw.get("exchange") or ""),
        tradable=raw.get("tradable") is True and raw.get("status", "active") == "active",
        shortable=raw.get("shortable") is True,
        fractionable=raw.get("fractionable") is True,
        marginable=raw.get("marginable") is True,
        easy_to_borrow=raw.get("easy_to_borrow") is True,
    )


def cancel_result(raw: Raw) -> CancelResult:
    """One answer of a cancel of many. Raises Malformed."""
    read.mapping(raw, "cancel result")
    status = raw.get("status")
    body = raw.get("body")
    message = body.get("message", "") if isinstance(body, Mapping) else ""
    return CancelResult(read.text(raw, "id"), int(str(status)) if str(status).isdigit() else 0, str(message))


def quote(symbol: str, raw: Raw) -> Quote | None:
    """A two-sided quote; None for a one-sided one, whose middle would be a fiction."""
    read.mapping(raw, "quote")
    bid, ask = read.number(raw, "bp"), read.number(raw, "ap")
    if bid <= 0 or ask <= 0:
        return None
    return Quote(symbol, bid, ask, read.number(raw, "bs"), read.number(raw, "as"), read.moment(raw, "t"))


def trade(symbol: str, raw: Raw) -> Trade:
    """A print. Raises Malformed."""
    return Trade(symbol, read.positive(raw, "p"), read.number(raw, "s"), read.moment(raw, "t"))


def bar(symbol: str, raw: Raw) -> Bar:
    """A bar; `at` is its begin. Raises Malformed."""
    return Bar(
        symbol=symbol,
        open=read.number(raw, "o"),
        high=read.number(raw, "h"),
        low=read.number(raw, "l"),
        close=read.number(raw, "c"),
        volume=read.number(raw, "v"),
        at=read.moment(raw, "t"),
        trade_count=int(read.maybe_number(raw, "n") or 0),
        vwap=read.maybe_number(raw, "vw"),
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


def rfc3339(at: datetime) -> str:
    """A time as Alpaca takes it. Raises ValueError on a naive one."""
    if at.tzinfo is None:
        raise ValueError(f"{at} is a naive time; give it a time zone")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: Decimal) -> str:
    """A Decimal in plain notation."""
    return format(value, "f")


def unreadable(source: str, reasons: Iterable[str], raw: Any) -> tuple[Unreadable, ...]:
    """One event for each reason why a row could not be read."""
    return tuple(Unreadable(source, reason, cut(raw)) for reason in reasons)
