"""How orders meet the market, on a tape written by hand."""

from datetime import timedelta
from decimal import Decimal

import pytest

from athena.model import OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.exchange import OrderRequest
from tests.support.fake_tape import Venue, ny

D = Decimal


def order(
    quantity="10", side=Side.BUY, type=OrderType.MARKET, time_in_force=TimeInForce.DAY, *, symbol="AAA", **prices
):
    amounts = {
        name: D(value) if isinstance(value, str) and name != "client_order_id" else value
        for name, value in prices.items()
    }
    return OrderRequest(symbol, side, type, time_in_force, None if quantity is None else D(quantity), **amounts)


def limit(price, quantity="10", side=Side.BUY, time_in_force=TimeInForce.DAY, **more):
    return order(quantity, side, OrderType.LIMIT, time_in_force, limit_price=price, **more)


def now(venue, sent):
    return venue.account.order(sent.id)


def test_a_market_buy_fills_at_the_ask_and_a_market_sell_at_the_bid():
    """Both sides pay the spread of the displayed quote."""
    venue = Venue()
    bought = venue.account.submit(order())
    sold = venue.account.submit(order("4", Side.SELL))
    assert bought.status is OrderStatus.PENDING_NEW
    assert now(venue, bought).average_fill_price == D("100.00")
    assert now(venue, sold).average_fill_price == D("99.95")
    assert venue.events == ["new", "fill", "new", "fill"]
    assert [update.position_quantity for update in venue.updates if update.event == "fill"] == [D(10), D(6)]


def test_an_order_larger_than_the_displayed_size_fills_in_parts_as_the_tape_moves():
    """What is taken is gone until the next quote, for every account."""
    venue = Venue()
    big = venue.account.submit(order("250"))
    assert now(venue, big).filled_quantity == 100
    rival = venue.exchange.open_account("RIVAL", "x").submit(order("5"))
    assert venue.exchange.account("RIVAL", "x").order(rival.id).filled_quantity == 0
    venue.tick("100.05", "100.10")
    assert now(venue, big).filled_quantity == 200
    venue.tick("100.15", "100.20")
    done = now(venue, big)
    assert done.status is OrderStatus.FILLED
    assert done.average_fill_price == (100 * D("100.00") + 100 * D("100.10") + 50 * D("100.20")) / 250
    fills = [(update.event, update.price, update.quantity) for update in venue.updates if update.price]
    assert fills == [
        ("partial_fill", D("100.00"), D(100)),
        ("partial_fill", D("100.10"), D(100)),
        ("fill", D("100.20"), D(50)),
    ]


def test_a_limit_order_rests_until_the_quote_comes_to_it_and_never_fills_beyond_it():
    """It fills at the quote, which may be better than the limit."""
    venue = Venue()
    sent = venue.account.submit(limit("99.50"))
    venue.tick("99.55", "99.60")
    assert now(venue, sent).status is OrderStatus.NEW
    venue.tick("99.40", "99.45")
    assert now(venue, sent).average_fill_price == D("99.45")


@pytest.mark.parametrize(
    ("time_in_force", "quantity", "filled", "end"),
    [
        (TimeInForce.IOC, "150", 100, OrderStatus.CANCELED),
        (TimeInForce.IOC, "60", 60, OrderStatus.FILLED),
        (TimeInForce.FOK, "150", 0, OrderStatus.CANCELED),
        (TimeInForce.FOK, "100", 100, OrderStatus.FILLED),
    ],
)
def test_immediate_orders_take_what_is_there_or_all_or_nothing(time_in_force, quantity, filled, end):
    """IOC cancels its rest, FOK fills whole or not at all."""
    venue = Venue()
    sent = venue.account.submit(order(quantity, time_in_force=time_in_force))
    assert (now(venue, sent).filled_quantity, now(venue, sent).status) == (filled, end)


def test_a_stop_triggers_on_a_print_between_two_looks_of_the_clock():
    """Nobody looked while the print was made; the order filled at that second all the same."""
    venue = Venue()
    venue.account.submit(order("10"))
    sent = venue.account.submit(order("10", Side.SELL, OrderType.STOP, stop_price="99.00"))
    start = venue.clock.now()
    venue.tape.print("AAA", start + timedelta(seconds=20), "98.90")
    venue.tape.show("AAA", start + timedelta(seconds=20), "98.85", "98.95")
    venue.tape.show("AAA", start + timedelta(seconds=21), "101", "101.05")
    venue.go(start + timedelta(minutes=10))
    assert now(venue, sent).average_fill_price == D("98.85")
    assert now(venue, sent).filled_at == start + timedelta(seconds=20)


def test_a_triggered_stop_limit_rests_as_a_limit_order():
    """After the trigger only its limit counts."""
    venue = Venue()
    sent = venue.account.submit(order("10", Side.BUY, OrderType.STOP_LIMIT, stop_price="101", limit_price="101.10"))
    venue.tick("101.15", "101.20", last="101.15")
    assert now(venue, sent).status is OrderStatus.NEW
    venue.tick("100.90", "101.05", last="100.95")
    assert now(venue, sent).average_fill_price == D("101.05")


@pytest.mark.parametrize("trail", [{"trail_price": "2"}, {"trail_percent": "2"}])
def test_a_trailing_stop_follows_the_high_and_sells_when_the_market_falls_back(trail):
    """The stop rises with the high-water mark and never falls."""
    venue = Venue()
    venue.account.submit(order("10"))
    sent = venue.account.submit(order("10", Side.SELL, OrderType.TRAILING_STOP, **trail))
    assert (sent.high_water_mark, sent.stop_price) == (D(100), D(98))
    venue.tick("109.95", "110.00", last="110.00")
    mark = now(venue, sent)
    assert mark.high_water_mark == 110
    assert mark.stop_price == (D(108) if "trail_price" in trail else D("107.8"))
    venue.tick("108.50", "108.60", last="108.50")
    assert now(venue, sent).stop_price == mark.stop_price
    venue.tick("107.00", "107.10", last="107.00")
    assert now(venue, sent).average_fill_price == D("107.00")


def test_a_trailing_stop_to_buy_follows_the_low():
    """The mirror image covers a short position."""
    venue = Venue()
    venue.account.submit(order("10", Side.SELL))
    sent = venue.account.submit(order("10", Side.BUY, OrderType.TRAILING_STOP, trail_price="1"))
    venue.tick("94.95", "95.00", last="95.00")
    assert now(venue, sent).stop_price == 96
    venue.tick("96.00", "96.05", last="96.00")
    assert now(venue, sent).average_fill_price == D("96.05")


def test_orders_of_a_halted_symbol_rest_until_the_halt_is_over():
    """Nothing fills and no stop triggers while the symbol is halted; market orders wait too."""
    venue = Venue()
    venue.tape.halts.add("AAA")
    sent = venue.account.submit(order())
    venue.tick("100", "100.05")
    assert now(venue, sent).status is OrderStatus.NEW
    venue.tape.halts.clear()
    venue.tick("100", "100.10")
    assert now(venue, sent).average_fill_price == D("100.10")


def test_an_order_sent_while_the_market_is_closed_waits_accepted_and_works_at_the_open():
    """Closed is no error, and yesterday's quote fills nothing."""
    venue = Venue(ny("15:59"))
    venue.go(ny("21:00"))
    sent = venue.account.submit(order())
    assert sent.status is OrderStatus.ACCEPTED
    venue.tape.show("AAA", ny("9:30", "2020-03-10"), "101.00", "101.05")
    venue.go(ny("9:29:59", "2020-03-10"))
    assert now(venue, sent).status is OrderStatus.ACCEPTED
    venue.go(ny("9:30", "2020-03-10"))
    assert now(venue, sent).average_fill_price == D("101.05")
    assert [(update.event, update.at) for update in venue.updates] == [
        ("accepted", ny("21:00")),
        ("new", ny("9:30", "2020-03-10")),
        ("fill", ny("9:30", "2020-03-10")),
    ]


def test_day_orders_expire_at_the_close_and_good_till_canceled_ones_after_ninety_days():
    """Also when the clock jumps over both in one leap."""
    venue = Venue()
    day = venue.account.submit(limit("50"))
    gtc = venue.account.submit(limit("51", time_in_force=TimeInForce.GTC))
    assert (day.expires_at, gtc.expires_at) == (ny("16:00"), ny("16:00", "2020-06-07"))
    venue.go(ny("12:00", "2020-06-10"))
    assert (now(venue, day).status, now(venue, day).expired_at) == (OrderStatus.EXPIRED, ny("16:00"))
    assert (now(venue, gtc).status, now(venue, gtc).expired_at) == (OrderStatus.EXPIRED, ny("4:00", "2020-06-08"))
    assert venue.events == ["new", "new", "expired", "expired"]


def test_a_day_order_expires_at_an_early_close():
    """On the day after Thanksgiving the market closes at 13:00."""
    venue = Venue(ny("10:00", "2020-11-27"))
    sent = venue.account.submit(limit("50"))
    venue.go(ny("13:00", "2020-11-27"))
    assert now(venue, sent).expired_at == ny("13:00", "2020-11-27")


def test_extended_hours_orders_fill_before_the_open_and_expire_in_the_evening():
    """A regular order beside it waits for the open."""
    venue = Venue(ny("8:00"))
    early = venue.account.submit(limit("100", extended_hours=True))
    regular = venue.account.submit(limit("100"))
    late = venue.account.submit(limit("50", extended_hours=True))
    assert now(venue, early).status is OrderStatus.FILLED
    assert now(venue, regular).status is OrderStatus.ACCEPTED
    venue.go(ny("19:59:59"))
    assert now(venue, late).is_open
    venue.go(ny("20:00"))
    assert now(venue, late).expired_at == ny("20:00")


def test_auction_orders_fill_whole_at_the_first_and_the_last_print_of_the_session():
    """Displayed sizes do not bound an auction; a limit that the price misses is canceled."""
    venue = Venue(ny("9:00"))
    opening = venue.account.submit(order("500", time_in_force=TimeInForce.OPG))
    missed = venue.account.submit(limit("90", time_in_force=TimeInForce.OPG))
    closing = venue.account.submit(order("300", time_in_force=TimeInForce.CLS, symbol="BBB"))
    venue.tape.show("AAA", ny("9:30"), "102", "102.10")
    venue.tape.print("AAA", ny("9:30:02"), "101.50")
    venue.tape.print("BBB", ny("15:59:58"), "103.25")
    venue.go(ny("16:00"))
    assert (now(venue, opening).average_fill_price, now(venue, opening).filled_at) == (D("101.5"), ny("9:30:02"))
    assert now(venue, missed).status is OrderStatus.CANCELED
    assert (now(venue, closing).average_fill_price, now(venue, closing).filled_quantity) == (D("103.25"), 300)


def test_a_notional_order_buys_as_many_shares_as_its_dollars_do_and_not_a_cent_more():
    """Nine decimals of a share, cut, over two quotes."""
    venue = Venue()
    venue.tape.show("AAA", venue.clock.now() + timedelta(seconds=1), "2.99", "3.00", 5, 5)
    venue.go(venue.clock.now() + timedelta(seconds=1))
    sent = venue.account.submit(order(None, notional="20"))
    assert now(venue, sent).filled_quantity == 5
    venue.tick("6.99", "7.00", 5)
    done = now(venue, sent)
    assert (done.status, done.quantity, done.filled_quantity) == (OrderStatus.FILLED, None, D("5.714285714"))
    assert done.filled_value <= 20


def test_how_often_the_exchange_is_asked_changes_nothing():
    """One leap over an hour of ticks and a look at every second give the same updates, ids included."""

    def run(step):
        venue = Venue()
        for second in range(1, 120):
            at = ny("10:00") + timedelta(seconds=second)
            price = 100 + D(second * 37 % 23) / 10
            venue.tape.show("AAA", at, price, price + D("0.05"), 7, 7)
            venue.tape.print("AAA", at, price)
        venue.account.submit(order("100"))
        venue.account.submit(limit("101.30", "40"))
        for second in range(0, 120, step):
            venue.go(ny("10:00") + timedelta(seconds=second))
        venue.go(ny("10:02"))
        return venue.updates

    assert run(1) == run(119)


def test_a_notional_sale_never_sells_more_than_the_shares_it_was_checked_against():
    """Half of it fills, the price halves, and the rest of the dollars would need shares that are not there."""
    venue = Venue()
    venue.account.submit(order("10"))
    venue.tick("100", "100.05", 5, last="100")
    sent = venue.account.submit(order(None, Side.SELL, notional="1000"))
    assert venue.account.position("AAA").quantity == 5
    venue.tick("50", "50.05", 100)
    assert now(venue, sent).status is OrderStatus.FILLED
    assert venue.account.positions() == ()
