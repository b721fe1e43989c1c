"""What an account may order, hold and ask, and what survives the exchange's process."""

import json
import os
import resource
import signal
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import pytest

from athena.errors import SimulatorError
from athena.model import OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.exchange import Exchange, OrderReplacement, VenueError
from athena.simulator.state import saved_at
from tests.simulator.test_matching import limit, now, order
from tests.support.fake_tape import KEY, SECRET, Venue, ny

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
GTC, OPG, CLS, IOC = TimeInForce.GTC, TimeInForce.OPG, TimeInForce.CLS, TimeInForce.IOC
STOP, TRAIL, LIMIT = OrderType.STOP, OrderType.TRAILING_STOP, OrderType.LIMIT


def refused(action, *arguments, **named):
    with pytest.raises(VenueError) as refusal:
        action(*arguments, **named)
    return refusal.value


def said(error):
    return error.status, error.code, error.message


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (order("0"), (422, 40010001, "qty must be > 0")),
        (order("-1"), (422, 40010001, "qty must be > 0")),
        (order("NaN"), (422, 40010001, "qty must be > 0")),
        (order("Infinity"), (422, 40010001, "qty must be > 0")),
        (order("1e30"), (422, 40010001, "qty must be <= 1000000000")),
        (order("0.0000000001"), (422, 40010001, "qty must be limited to 9 decimal places")),
        (order(None), (422, 40010001, "one of qty or notional is required, and only one is accepted")),
        (order("1", type=LIMIT), (422, 40010001, "limit orders require a limit price")),
        (order("1", type=STOP), (422, 40010001, "stop orders require a stop price")),
        (order("1", type=TRAIL), (422, 40010001, "trailing stop orders require one of trail_price or trail_percent")),
        (order("1", limit_price="5"), (422, 40010001, "market orders must not have a limit price")),
        (limit("-5"), (422, 40010001, "limit_price must be > 0")),
        (
            limit("290.123"),
            (
                422,
                42210000,
                "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
            ),
        ),
        (limit("1", client_order_id="x" * 129), (422, 40010001, "client_order_id must be no more than 128 characters")),
        (order("1", extended_hours=True), (422, 42210000, "extended hours order must be DAY or GTC limit orders")),
        (order("1.5", time_in_force=GTC), (422, 42210000, "fractional orders must be DAY orders")),
        (order("1", symbol="NONE"), (422, 42210000, 'asset "NONE" not found')),
        (order("1", symbol="OLD"), (422, 42210000, 'asset "OLD" is not active')),
        (order("1.5", symbol="HTB"), (403, 40310000, 'asset "HTB" is not fractionable')),
        (order("1.5", SELL), (422, 42210000, "fractional orders cannot be sold short")),
        (
            order("1", time_in_force=OPG),
            (403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am"),
        ),
        (
            order("1", type=STOP, stop_price="9", time_in_force=IOC),
            (422, 42210000, "ioc orders must be market or limit orders"),
        ),
    ],
)
def test_a_malformed_order_is_refused_in_alpacas_words(request_, expected):
    """Status, code and message say which rule it breaks; nothing of it is kept."""
    venue = Venue()
    venue.tape.closes["HTB"] = D(10)
    assert said(refused(venue.account.submit, request_)) == expected
    assert venue.account.orders("all") == ()
    assert venue.updates == []


def test_closing_auction_orders_come_too_late_ten_minutes_before_the_close():
    """15:50 on a whole day, 12:50 on a short one."""
    venue = Venue(ny("15:50"))
    assert refused(venue.account.submit, order(time_in_force=CLS)).message.endswith("before 3:50pm")
    short = Venue(ny("12:50", "2020-11-27"))
    assert refused(short.account.submit, order(time_in_force=CLS)).message.endswith("before 12:50pm")


def test_a_client_order_id_names_one_order_for_ever():
    """Found by it, and refused a second time even after the first is done."""
    venue = Venue()
    sent = venue.account.submit(order(client_order_id="mine"))
    assert venue.account.order_by_client_id("mine").id == sent.id
    error = refused(venue.account.submit, order(client_order_id="mine"))
    assert said(error) == (422, 40010001, "client_order_id must be unique")
    assert said(refused(venue.account.order_by_client_id, "other")) == (404, 40410000, "order not found for other")


def test_open_orders_reserve_buying_power_at_their_worst():
    """A refusal says what there was and what the order would have cost; a cancel gives it back."""
    venue = Venue(cash="10000")
    assert venue.account.summary().buying_power == 20_000
    first = venue.account.submit(limit("90", "200"))
    assert venue.account.summary().buying_power == 2_000
    error = refused(venue.account.submit, limit("90", "23"))
    assert (error.status, error.code, error.message) == (403, 40310000, "insufficient buying power")
    assert error.extra == {"buying_power": "2000", "cost_basis": "2070"}
    venue.account.cancel(first.id)
    assert venue.account.summary().buying_power == 20_000


def test_the_multiplier_follows_equity_and_the_accounts_own_bound():
    """Four from $25,000, two from $2,000, else one and no shorting."""
    assert Venue(cash="25000").account.summary().multiplier == 4
    assert Venue(cash="24999").account.summary().multiplier == 2
    small = Venue(cash="1999")
    assert small.account.summary().multiplier == 1
    assert refused(small.account.submit, order("1", SELL)).message == "account is not allowed to short"
    bounded = Venue()
    bounded.account.update_configurations(max_margin_multiplier="1")
    assert bounded.account.summary().buying_power == 100_000
    assert refused(bounded.account.update_configurations, max_margin_multiplier="3").status == 422


def test_shares_held_by_open_orders_cannot_be_sold_twice_and_no_order_goes_through_zero():
    """Long 10 with 6 in an open sale: 4 are free, and the body names the order that holds the others."""
    venue = Venue()
    venue.account.submit(order("10"))
    resting = venue.account.submit(limit("120", "6", SELL))
    assert venue.account.position("AAA").quantity_available == 4
    error = refused(venue.account.submit, order("5", SELL))
    assert said(error) == (403, 40310000, "insufficient qty available for order (requested: 5, available: 4)")
    assert error.extra == {
        "available": "4",
        "existing_qty": "10",
        "held_for_orders": "6",
        "related_orders": [resting.id],
        "symbol": "AAA",
    }
    assert refused(venue.account.close_position, "AAA").status == 403
    venue.account.cancel_all()
    venue.account.submit(order("10", SELL))
    venue.account.submit(order("10", SELL))
    assert venue.account.position("AAA").quantity == -10
    assert refused(venue.account.submit, order("11", BUY)).extra["available"] == "10"


def test_short_sales_are_refused_where_the_account_or_the_asset_forbids_them():
    """no_shorting is the account's, shortable the asset's."""
    venue = Venue()
    venue.tape.symbols += ("HTB",)
    venue.tape.closes["HTB"] = D(10)
    error = refused(venue.account.submit, order("1", SELL, symbol="HTB"))
    assert said(error) == (422, 42210000, 'asset "HTB" cannot be sold short')
    venue.account.update_configurations(no_shorting=True)
    assert refused(venue.account.submit, order("1", SELL)).message == "account is not allowed to short"
    assert not venue.account.summary().shorting_enabled


def test_an_account_may_not_trade_with_itself():
    """A market order against any open order of the other side, or limits that cross."""
    venue = Venue()
    venue.account.submit(order("10"))
    bid = venue.account.submit(limit("99", "5"))
    error = refused(venue.account.submit, order("5", SELL))
    assert error.message == "potential wash trade detected. use complex orders"
    assert error.extra == {
        "existing_order_id": bid.id,
        "reject_reason": "opposite side market/stop order exists",
    }
    assert (
        refused(venue.account.submit, limit("99", "5", SELL)).extra["reject_reason"]
        == "opposite side limit order exists"
    )
    assert venue.account.submit(limit("110", "5", SELL)).status is OrderStatus.PENDING_NEW


def test_suspended_trading_refuses_new_orders_and_lets_cancels_through():
    """Exits that are cancels always work."""
    venue = Venue()
    resting = venue.account.submit(limit("90"))
    assert venue.account.update_configurations(suspend_trade=True).suspend_trade
    assert said(refused(venue.account.submit, order())) == (
        403,
        40310000,
        "new orders are rejected by user request",
    )
    venue.account.cancel(resting.id)
    assert now(venue, resting).status is OrderStatus.CANCELED
    assert venue.account.summary().trade_suspended_by_user


def test_cancelling_what_is_done_is_refused_and_cancelling_twice_is_not():
    """A filled order says so."""
    venue = Venue()
    filled = venue.account.submit(order())
    assert said(refused(venue.account.cancel, filled.id)) == (422, 42210000, 'order is already in "filled" state')
    resting = venue.account.submit(limit("90"))
    venue.account.cancel(resting.id)
    venue.account.cancel(resting.id)
    assert venue.events.count("canceled") == 1
    assert said(refused(venue.account.cancel, "nobody"))[:2] == (404, 40410000)


def test_a_replacement_is_a_new_order_linked_to_the_old():
    """The rest of a partly filled order moves to the new price, and may fill there at once."""
    venue = Venue()
    old = venue.account.submit(limit("100", "150"))
    new = venue.account.replace(old.id, OrderReplacement(limit_price=D("99.90"), client_order_id="second"))
    assert (new.replaces, new.quantity, new.limit_price) == (old.id, 50, D("99.90"))
    before = now(venue, old)
    assert (before.status, before.replaced_by, before.filled_quantity) == (OrderStatus.REPLACED, new.id, 100)
    assert venue.events == ["new", "partial_fill", "replaced", "new"]
    assert said(refused(venue.account.replace, old.id, OrderReplacement())) == (
        422,
        42210000,
        "unable to replace order, order is not open",
    )
    venue.tick("99.80", "99.90")
    assert now(venue, new).status is OrderStatus.FILLED
    assert venue.account.position("AAA").quantity == 150


def test_a_refused_replacement_leaves_the_order_as_it_was():
    """Too dear, or not yet at the market: nothing changes."""
    venue = Venue(cash="10000")
    old = venue.account.submit(limit("90"))
    assert (
        refused(venue.account.replace, old.id, OrderReplacement(quantity=D(1000))).message
        == "insufficient buying power"
    )
    assert now(venue, old).status is OrderStatus.NEW
    venue.go(ny("22:00"))
    queued = venue.account.submit(limit("90"))
    assert refused(venue.account.replace, queued.id, OrderReplacement(quantity=D(1))).status == 422
    assert now(venue, queued).status is OrderStatus.ACCEPTED


def test_positions_close_by_quantity_by_percentage_and_all_at_once():
    """A whole position gives whole shares; rows say what happened to each."""
    venue = Venue()
    venue.account.submit(order("15"))
    venue.account.submit(order("10", SELL, symbol="BBB"))
    venue.account.close_position("AAA", quantity=D(5))
    venue.account.close_position("AAA", percentage=D(25))
    assert venue.account.position("AAA").quantity == 8
    held = venue.account.submit(limit("120", "8", SELL))
    rows = venue.account.close_all()
    assert [(row.symbol, row.status) for row in rows] == [("AAA", 403), ("BBB", 200)]
    rows = venue.account.close_all(cancel_orders=True)
    assert [(row.symbol, row.status) for row in rows] == [("AAA", 200)]
    assert now(venue, held).status is OrderStatus.CANCELED
    assert venue.account.positions() == ()
    assert said(refused(venue.account.position, "AAA")) == (404, 40410000, "position does not exist")


def test_average_cost_and_profit_are_exact_over_adds_reductions_and_a_flip():
    """Long 10 at 100 and 10 at 110, 15 sold at 120: cost 525 left, 225 realised; then short at 120."""
    venue = Venue()
    venue.account.submit(order("10"))
    venue.tick("109.95", "110", last="110")
    venue.account.submit(order("10"))
    venue.tick("120", "120.05", last="120")
    venue.account.submit(order("15", SELL))
    held = venue.account.position(venue.exchange.asset("AAA").id)
    assert (held.quantity, held.average_entry_price, held.cost_basis) == (5, 105, 525)
    assert (held.market_value, held.unrealized_pl) == (600, 75)
    assert (held.lastday_price, held.change_today) == (100, D("0.2"))
    assert venue.account.summary().realised_pnl == 225
    venue.account.submit(order("5", SELL))
    venue.account.submit(order("5", SELL))
    short = venue.account.position("AAA")
    assert (short.side, short.quantity, short.cost_basis, short.average_entry_price) == ("short", -5, -600, 120)
    assert venue.account.summary().realised_pnl == 300
    assert venue.account.summary().equity == 100_300


def test_the_days_own_profit_starts_from_the_close_before():
    """Bought at 100, closed at 104, now 110: 60 of profit today, 100 in all; last_equity is the close's."""
    venue = Venue()
    venue.account.submit(order("10"))
    venue.tape.print("AAA", ny("15:59"), "104")
    venue.tape.show("AAA", ny("10:00", "2020-03-10"), "109.95", "110.05")
    venue.tape.print("AAA", ny("10:00", "2020-03-10"), "110")
    venue.go(ny("10:00", "2020-03-10"))
    held = venue.account.position("AAA")
    assert (held.unrealized_pl, held.unrealized_intraday_pl, held.lastday_price) == (100, 60, 104)
    summary = venue.account.summary()
    assert (summary.last_equity, summary.equity) == (100_040, 100_100)
    assert summary.balance_asof.isoformat() == "2020-03-09"


def test_days_roll_in_order_when_the_clock_leaps_a_week():
    """Each session's close leaves its equity; the weekend leaves none."""
    venue = Venue()
    venue.account.submit(order("10"))
    for number, day in enumerate(("2020-03-09", "2020-03-10", "2020-03-11", "2020-03-12", "2020-03-13")):
        venue.tape.print("AAA", ny("15:00", day), str(101 + number))
    venue.go(ny("3:00", "2020-03-16"))
    history = venue.account.portfolio_history(period="5D", timeframe="1D")
    assert history.equity == (100_010, 100_020, 100_030, 100_040, 100_050)
    assert venue.account.summary().last_equity == 100_050


def test_deposits_move_cash_and_are_no_profit():
    """They are activities, and the history's profit leaves them out."""
    venue = Venue()
    venue.account.submit(order("10"))
    venue.account.deposit(D(500))
    venue.account.deposit(D(-200))
    venue.tick("101", "101.05", last="101", seconds=600)
    summary = venue.account.summary()
    assert (summary.cash, summary.equity, summary.intraday_adjustments) == (99_300, 100_310, 300)
    history = venue.account.portfolio_history(period="1D", timeframe="1Min", cashflow_types=["ALL"])
    assert history.profit_loss[-1] == 10
    assert {kind: sum(flows) for kind, flows in history.cashflow.items()} == {"CSD": 500, "CSW": -200}
    assert refused(venue.account.deposit, D(-1_000_000)).status == 403


def test_activities_come_in_pages_that_meet_without_gap_or_overlap():
    """The last id of a page begins the next, in both directions; `after` is strict."""
    venue = Venue()
    for _ in range(7):
        venue.account.submit(order("1"))
        venue.tick("99.95", "100")
    venue.account.deposit(D(1))
    whole = venue.account.activities(direction="asc")
    assert len(whole) == 8
    assert whole[0].id.startswith("20200309100000000::")
    assert str(UUID(whole[0].execution_id)) == venue.updates[1].execution_id
    for direction, expected in (("asc", whole), ("desc", whole[::-1])):
        paged, token = [], None
        while page := venue.account.activities(direction=direction, page_size=3, page_token=token):
            paged += page
            token = page[-1].id
        assert tuple(paged) == expected
    fills = venue.account.activities(["FILL"], after=whole[2].at, direction="asc")
    assert fills == whole[3:7]
    assert refused(venue.account.activities, page_size=101).status == 422


def test_orders_are_listed_by_state_symbol_side_and_time():
    """The newest first unless asked otherwise."""
    venue = Venue()
    first = venue.account.submit(limit("90"))
    venue.tick("99.95", "100")
    second = venue.account.submit(limit("91", symbol="BBB"))
    filled = venue.account.submit(order())
    ids = lambda *arguments, **named: [one.id for one in venue.account.orders(*arguments, **named)]  # noqa: E731
    assert ids() == [second.id, first.id]
    assert ids("closed") == [filled.id]
    assert ids("all", direction="asc") == [first.id, second.id, filled.id]
    assert ids(symbols=["BBB"]) == [second.id]
    assert ids("all", after=first.submitted_at, limit=1) == [filled.id]
    assert ids("all", side=SELL) == []


def test_a_wrong_key_opens_nothing():
    """401 for an unknown key and for a wrong secret."""
    venue = Venue()
    for key, secret in ((KEY, "wrong"), ("nobody", SECRET)):
        assert said(refused(venue.exchange.account, key, secret)) == (401, 40110000, "request is not authorized")


def test_a_subscriber_that_orders_from_inside_its_callback_sees_each_update_once_in_order():
    """The answer to a fill may be an order; its updates come after."""
    venue = Venue()

    def answer(update):
        if update.event == "fill" and update.order.side is BUY:
            venue.account.submit(order("10", SELL))

    venue.exchange.subscribe(venue.account, answer)
    venue.account.submit(order("10"))
    assert [(update.event, update.order.side) for update in venue.updates] == [
        ("new", BUY),
        ("fill", BUY),
        ("new", SELL),
        ("fill", SELL),
    ]


def test_everything_survives_a_restart(tmp_path):
    """Orders, positions, activities, cash, settings and the size taken from the quote; the ids go on, not back."""
    path = tmp_path / "venue.state"
    venue = Venue(state_path=path)
    venue.account.submit(order("60", client_order_id="one"))
    resting = venue.account.submit(limit("90", "5"))
    trailing = venue.account.submit(order("5", SELL, TRAIL, trail_percent="5", symbol="BBB"))
    venue.account.update_configurations(no_shorting=True)
    venue.account.deposit(D("12.34"))
    told = (venue.account.summary(), venue.account.positions(), venue.account.activities(), venue.account.orders("all"))
    venue.exchange.close()
    assert saved_at(path) == venue.clock.now()
    again = Venue(state_path=path, tape=venue.tape, at=venue.clock.now())
    assert told == (
        again.account.summary(),
        again.account.positions(),
        again.account.activities(),
        again.account.orders("all"),
    )
    more = again.account.submit(order("60"))
    assert now(again, more).filled_quantity == 40
    assert more.id not in {resting.id, trailing.id}
    again.tick("89", "89.50")
    assert now(again, resting).status is OrderStatus.FILLED


def test_a_state_file_has_one_owner_at_a_time(tmp_path):
    """A second exchange on it is refused while the first lives."""
    path = tmp_path / "venue.state"
    venue = Venue(state_path=path)
    with pytest.raises(SimulatorError, match="in use"):
        Venue(state_path=path)
    venue.exchange.close()
    Venue(state_path=path).exchange.close()


def test_a_state_file_ahead_of_the_clock_is_refused(tmp_path):
    """Venue time never runs backwards."""
    venue = Venue(state_path=tmp_path / "s")
    venue.go(ny("12:00"))
    venue.account.submit(order())
    venue.exchange.close()
    with pytest.raises(SimulatorError, match="later than the clock"):
        Venue(state_path=tmp_path / "s")


@pytest.mark.parametrize("damage", ["empty", "letter", "line", "not ours"])
def test_a_damaged_state_file_is_named_and_left_as_it_is(tmp_path, damage):
    """It is never taken for an empty one."""
    path = tmp_path / "venue.state"
    venue = Venue(state_path=path)
    venue.account.submit(order())
    venue.exchange.close()
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    damaged = {
        "empty": b"",
        "letter": content.replace(b"AAA", b"AAB", 1),
        "line": b"".join(lines[:2]) + b"garbage\n" + b"".join(lines[2:]),
        "not ours": b'{"orders": []}\n',
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(SimulatorError, match=r"venue\.state is damaged at line"):
        Venue(state_path=path)
    assert path.read_bytes() == damaged


def test_a_half_written_last_line_was_never_acknowledged_and_is_dropped(tmp_path):
    """What a power cut leaves behind."""
    path = tmp_path / "venue.state"
    venue = Venue(state_path=path)
    sent = venue.account.submit(limit("90"))
    venue.exchange.close()
    with path.open("ab") as file:
        file.write(b'0000abcd [["order","x",{"id"')
    assert now(Venue(state_path=path), sent).status is OrderStatus.NEW


def test_every_acknowledged_order_survives_sigkill(tmp_path):
    """A process that prints each order once acknowledged is killed in the middle; the file has all it printed."""
    path = tmp_path / "venue.state"
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.support.fake_tape import Venue\n"
        "from tests.simulator.test_matching import limit\n"
        "venue = Venue(state_path=Path(sys.argv[1]))\n"
        "while True: print(venue.account.submit(limit('1', '1')).id, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    again = Venue(state_path=path)
    assert all(again.account.order(order_id).is_open for order_id in acknowledged)


def test_a_change_costs_the_file_the_same_however_long_the_history(tmp_path):
    """Lines are appended: the thousandth order writes no more bytes than the tenth."""
    path = tmp_path / "venue.state"
    venue = Venue(state_path=path)
    sizes = []
    for _ in range(300):
        before = path.stat().st_size
        venue.account.submit(limit("1", "1"))
        sizes.append(path.stat().st_size - before)
    assert max(sizes[10:]) <= max(sizes[:10]) + 16
    assert json.loads(path.read_bytes().splitlines()[-1].split(b" ", 1)[1])


def test_a_disk_that_refuses_loses_nothing_and_tells_nothing(tmp_path):
    """The write fails, nobody is told; when it can be written again all of it is, once."""
    venue = Venue(state_path=tmp_path / "venue.state")
    room = (tmp_path / "venue.state").stat().st_size + 100
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
    try:
        with pytest.raises(SimulatorError, match="cannot be written"):
            venue.account.submit(order())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert venue.updates == []
    venue.tick("100", "100.05")
    assert venue.events == ["new", "fill"]
    venue.exchange.close()
    assert isinstance(Exchange(venue.tape, venue.clock, tmp_path / "venue.state"), Exchange)
