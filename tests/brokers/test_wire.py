"""Alpaca's words into facts: one odd row or word never costs the others."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgpack import Timestamp

from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.alpaca_fields import Malformed
from athena.model import OrderIntent, OrderStatus, OrderType, Side, TimeInForce
from tests.support.faulty_venue import wire_order


def test_a_malformed_row_costs_only_itself_and_is_reported():
    """A list with one bad row gives the good ones, and the bad one by name."""
    rows = wire.rows("orders", [wire_order(symbol="AAPL"), {"id": "x"}, None, wire_order(symbol="MSFT")], wire.order)
    assert [order.symbol for order in rows] == ["AAPL", "MSFT"]
    assert [row.source for row in rows.unreadable] == ["orders", "orders"]


@pytest.mark.parametrize("word", ["sleeping", None, "refused", "not_sent", "intended"])
def test_a_status_the_venue_should_not_say_counts_as_open(word):
    """Unknown statuses, and Athena's own final ones in the venue's mouth, are UNKNOWN: open until understood."""
    order = wire.order(wire_order(status=word))
    assert order.status is OrderStatus.UNKNOWN
    assert order.status.is_open


def test_unknown_words_are_read_carefully_and_leave_a_doubt():
    """An unknown type is a market order, an unknown time in force is GTC, and both are said."""
    doubts = []
    order = wire.order(wire_order(type="telepathic", time_in_force="eternal", status="new"), doubts)
    assert (order.type, order.time_in_force) == (OrderType.MARKET, TimeInForce.GTC)
    assert len(doubts) == 2


@pytest.mark.parametrize("number", ["NaN", "Infinity", "ten", True, [], {}])
def test_a_quantity_that_is_no_number_is_malformed(number):
    """Nothing that is not a finite number becomes an amount."""
    with pytest.raises(Malformed, match="qty"):
        wire.order(wire_order(qty=number))


def test_times_have_nine_digits_zones_or_are_refused():
    """Nanoseconds and msgpack timestamps are read; a time without a zone is not."""
    order = wire.order(wire_order(submitted_at="2020-03-09T10:00:00.123456789-04:00"))
    assert order.submitted_at == datetime(2020, 3, 9, 14, 0, 0, 123456, UTC)
    raw = {"T": "q", "bp": 1.5, "ap": 1.6, "bs": 1, "as": 2, "t": Timestamp(1583762400, 1000)}
    assert wire.quote("A", raw).at == datetime(2020, 3, 9, 14, 0, 0, 1, UTC)
    with pytest.raises(Malformed, match="zone"):
        wire.order(wire_order(submitted_at="2020-03-09T10:00:00"))


def test_a_one_sided_quote_is_no_quote():
    """A quote without a bid or an ask has no middle, so it is passed over."""
    assert wire.quote("A", {"bp": 0, "ap": 1.6, "bs": 0, "as": 2, "t": "2020-03-09T14:00:00Z"}) is None


def test_the_same_fill_has_one_id_by_stream_and_by_activity():
    """A fill heard on the stream and read again among the activities is recognised."""
    order = wire_order(filled_qty="7.50", status="partially_filled")
    told = {"event": "partial_fill", "order": order, "qty": "2.5", "price": "10", "timestamp": "2020-03-09T14:00:00Z"}
    heard = wire.order_update(told, []).fill
    activity = {"order_id": order["id"], "cum_qty": "7.5", "qty": "2.5", "price": "10", "side": "sell_short"}
    activity |= {"symbol": "AAPL", "transaction_time": "2020-03-09T14:00:00Z"}
    read = wire.fill(activity, order["client_order_id"])
    assert heard.execution_id == read.execution_id
    assert read.side is Side.SELL


def test_a_short_position_is_negative_however_its_quantity_is_signed():
    """side short makes the quantity negative, with or without a minus sign on the wire."""
    raw = {"symbol": "A", "avg_entry_price": "1", "side": "short"}
    assert {wire.position(raw | {"qty": qty}).quantity for qty in ("10", "-10")} == {Decimal(-10)}


def test_amounts_leave_as_exact_decimal_text():
    """An order request holds no float and no exponent."""
    intent = OrderIntent("k", "AAPL", Side.BUY, Decimal("1E+2"), OrderType.LIMIT, limit_price=Decimal("0.10"))
    body = wire.order_request(intent)
    assert (body["qty"], body["limit_price"]) == ("100", "0.10")


def test_a_restriction_that_is_not_plainly_false_is_a_restriction():
    """trading_blocked: "maybe" blocks."""
    raw = dict.fromkeys(("cash", "equity", "last_equity", "buying_power"), "1") | {
        "account_number": "1",
        "status": "ACTIVE",
    }
    assert wire.account(raw | {"trading_blocked": "maybe"}, "paper").trading_blocked
    assert not wire.account(raw, "paper").trading_blocked
