"""Whatever is ordered while the tape moves, an account's books balance to the last decimal."""

import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from athena.model import OrderStatus, OrderType, Side, TimeInForce
from athena.simulator.activities import FillActivity
from athena.simulator.exchange import OrderReplacement, OrderRequest, VenueError
from athena.simulator.matching import AUCTIONS
from tests.support.fake_tape import Venue, ny

OPENING = Decimal(30_000)
SYMBOLS = st.sampled_from(["AAA", "BBB"])
# Mostly near 100, so that limits are reached and stops triggered; now and then a crash or a leap.
PRICES = st.one_of(*[st.integers(9_500, 10_500)] * 4, st.integers(500, 30_000)).map(lambda cents: Decimal(cents) / 100)
SIZES = st.integers(0, 60)
QUANTITIES = st.one_of(
    st.integers(1, 150).map(Decimal), st.decimals("0.000000001", "29.999999999", places=9, allow_nan=False)
)
KINDS = st.sampled_from([OrderType.MARKET, *OrderType])


@st.composite
def requests(draw):
    """Any order, sensible or not."""
    kind = draw(KINDS)
    by_notional = draw(st.integers(0, 9)) == 0
    trailing = kind is OrderType.TRAILING_STOP
    by_percent = draw(st.booleans())
    return OrderRequest(
        symbol=draw(SYMBOLS),
        side=draw(st.sampled_from(Side)),
        type=kind,
        time_in_force=draw(st.sampled_from([TimeInForce.DAY] * 6 + [*TimeInForce])),
        quantity=None if by_notional else draw(QUANTITIES),
        notional=draw(PRICES) * 10 if by_notional else None,
        limit_price=draw(PRICES) if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        stop_price=draw(PRICES) if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
        trail_price=draw(PRICES) / 20 if trailing and not by_percent else None,
        trail_percent=Decimal(draw(st.integers(1, 20))) if trailing and by_percent else None,
        extended_hours=draw(st.integers(0, 4)) == 0,
    )


def unless_refused(action, *arguments):
    """A refusal is an answer too, as long as it is one of the venue's."""
    try:
        action(*arguments)
    except VenueError as refusal:
        if refusal.status not in (403, 422):
            raise


class Account(RuleBasedStateMachine):
    """One account over a moving tape, checked after each step against a plain recount."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "venue.state"
        self.venue = Venue(cash=str(OPENING), state_path=self.path)
        self.account = self.venue.account
        self.updates = self.venue.updates

    def teardown(self):
        self.venue.exchange.close()
        self.folder.cleanup()

    @rule(symbol=SYMBOLS, bid=PRICES, spread=st.integers(1, 50), size=SIZES, printed=st.booleans())
    def the_market_moves(self, symbol, bid, spread, size, printed):
        ask = bid + Decimal(spread) / 100
        self.venue.tick(bid, ask, size, symbol=symbol, seconds=7, last=ask if printed else None)

    @rule(moves=st.lists(st.tuples(SYMBOLS, PRICES, SIZES), min_size=2, max_size=8))
    def the_market_moves_while_nobody_looks(self, moves):
        at = self.venue.clock.now()
        for symbol, bid, size in moves:
            at += timedelta(seconds=1)
            self.venue.tape.show(symbol, at, bid, bid + Decimal("0.05"), size, size)
            self.venue.tape.print(symbol, at, bid)
        self.venue.go(at + timedelta(seconds=1))

    @precondition(lambda self: len(self.updates) > 6)
    @rule(hours=st.integers(1, 30))
    def time_leaps(self, hours):
        self.venue.go(self.venue.clock.now() + timedelta(hours=hours))

    @rule(request=requests())
    def an_order_is_sent(self, request):
        unless_refused(self.account.submit, request)

    @rule(pick=st.integers(0), quantity=st.none() | st.integers(1, 50).map(Decimal), price=st.none() | PRICES)
    def an_order_is_replaced(self, pick, quantity, price):
        if orders := self.account.orders():
            change = OrderReplacement(quantity, limit_price=price)
            unless_refused(self.account.replace, orders[pick % len(orders)].id, change)

    @rule(pick=st.integers(0))
    def an_order_is_canceled(self, pick):
        if orders := self.account.orders():
            self.account.cancel(orders[pick % len(orders)].id)

    @rule(cancel=st.booleans())
    def all_is_closed(self, cancel):
        self.account.close_all(cancel)

    @rule(amount=st.integers(-500_000, 500_000).filter(bool).map(lambda cents: Decimal(cents) / 100))
    def money_moves(self, amount):
        unless_refused(self.account.deposit, amount)

    @rule()
    def the_venue_restarts(self):
        before = (self.account.summary(), self.account.positions(), self.account.orders("all", limit=500))
        self.venue.exchange.close()
        self.venue = Venue(at=self.venue.clock.now(), tape=self.venue.tape, state_path=self.path)
        self.account = self.venue.account
        self.venue.exchange.subscribe(self.account, self.updates.append)
        assert before == (self.account.summary(), self.account.positions(), self.account.orders("all", limit=500))

    @invariant()
    def money_balances_exactly(self):
        summary, positions = self.account.summary(), self.account.positions()
        book = self.account._book
        gain = summary.realised_pnl + sum(position.unrealized_pl for position in positions)
        worth = summary.cash + sum(position.quantity * position.current_price for position in positions)
        assert worth == summary.equity == OPENING + book.transferred + gain

    @invariant()
    def fills_explain_positions_and_cash(self):
        held, cash = defaultdict(Decimal), OPENING
        for activity in self.account._book.activities:
            if isinstance(activity, FillActivity):
                signed = activity.quantity * activity.side.sign
                held[activity.symbol] += signed
                cash -= signed * activity.price
            else:
                cash += activity.net_amount
        assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {
            position.symbol: position.quantity for position in self.account.positions()
        }
        assert cash == self.account.summary().cash

    @invariant()
    def nothing_promised_is_negative(self):
        summary = self.account.summary()
        assert min(summary.buying_power, summary.regt_buying_power, summary.non_marginable_buying_power) >= 0
        for position in self.account.positions():
            available = position.quantity_available * (1 if position.quantity > 0 else -1)
            assert 0 <= available <= abs(position.quantity)

    @invariant()
    def no_fill_breaks_its_order(self):
        fills = defaultdict(list)
        for update in self.updates:
            if update.execution_id is not None:
                fills[update.order.id].append(update)
        for order_id, told in fills.items():
            order = self.account.order(order_id)
            assert sum(update.quantity for update in told) == order.filled_quantity
            assert order.quantity is None or order.filled_quantity <= order.quantity
            assert order.notional is None or order.filled_value <= order.notional
            assert (order.status is OrderStatus.FILLED) == (told[-1].event == "fill")
            assert order.quantity is None or (order.filled_quantity == order.quantity) == (told[-1].event == "fill")
            assert all(
                order.limit_price is None or (order.limit_price - update.price) * order.side.sign >= 0
                for update in told
            )
            assert [update.event for update in told[:-1]] == ["partial_fill"] * (len(told) - 1)
        executions = [update.execution_id for update in self.updates if update.execution_id is not None]
        assert len(executions) == len(set(executions))

    @invariant()
    def no_more_is_taken_than_was_shown(self):
        taken = defaultdict(Decimal)
        for update in self.updates:
            if update.execution_id is not None and update.order.time_in_force not in AUCTIONS:
                quote = self.venue.tape.quote(update.order.symbol, update.at)
                taken[update.order.side, quote] += update.quantity
        for (side, quote), quantity in taken.items():
            assert quantity <= (quote.ask_size if side is Side.BUY else quote.bid_size)

    @invariant()
    def updates_come_in_order_of_time_and_end_with_the_state_of_the_order(self):
        times = [update.at for update in self.updates]
        assert times == sorted(times)
        last = {update.order.id: update.order for update in self.updates}
        for order in self.account.orders("all", limit=500):
            told = last[order.id]
            assert replace(told, high_water_mark=None, stop_price=None, triggered_at=None, updated_at=ny("0:00")) == (
                replace(order, high_water_mark=None, stop_price=None, triggered_at=None, updated_at=ny("0:00"))
            )


def at_random(random):
    """A price near 100, now and then far from it."""
    return Decimal(random.randrange(500, 30_000) if random.random() < 0.03 else random.randrange(9_500, 10_500)) / 100


def order_at_random(random):
    """An order that the venue usually takes, sometimes for all the account has."""
    kind = random.choice([OrderType.MARKET, OrderType.MARKET, *OrderType])
    notional = kind is OrderType.MARKET and random.random() < 0.2
    whole = Decimal(random.choice([random.randrange(1, 40), random.randrange(200, 1200)]))
    fraction = Decimal(random.randrange(1, 10**10)) / 10**9
    return OrderRequest(
        symbol=random.choice(["AAA", "BBB"]),
        side=random.choice([*Side]),
        type=kind,
        time_in_force=random.choice([TimeInForce.DAY] * 5 + [TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
        quantity=None if notional else fraction if random.random() < 0.3 else whole,
        notional=Decimal(random.randrange(100, 900_000)) / 100 if notional else None,
        limit_price=at_random(random) if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        stop_price=at_random(random) if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
        trail_percent=Decimal(random.randrange(1, 5)) if kind is OrderType.TRAILING_STOP else None,
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_long_day_of_orders_at_random_balances_after_each(seed):
    """Longer than Hypothesis goes: many fills, positions of every fraction, an account stretched to its margin."""
    random, machine = Random(seed), Account()
    check = [value for name, value in vars(Account).items() if name in CHECKS]
    assert len(check) == len(CHECKS)
    for step in range(150):
        at = machine.venue.clock.now()
        for symbol in ("AAA", "BBB"):
            bid = at_random(random)
            size = random.choice([5, 50, 2000])
            machine.venue.tape.show(symbol, at + timedelta(seconds=1), bid, bid + Decimal("0.05"), size, size)
            machine.venue.tape.print(symbol, at + timedelta(seconds=1), bid)
        machine.venue.go(at + timedelta(seconds=2))
        unless_refused(machine.account.submit, order_at_random(random))
        if random.random() < 0.2:
            machine.account.cancel_all()
        if random.random() < 0.03:
            machine.the_venue_restarts()
        for holds in check:
            if step % 5 == 0 or holds is check[0]:
                holds(machine)
    assert sum(update.execution_id is not None for update in machine.updates) > 40
    machine.teardown()


CHECKS = {
    "money_balances_exactly",
    "fills_explain_positions_and_cash",
    "nothing_promised_is_negative",
    "no_fill_breaks_its_order",
    "no_more_is_taken_than_was_shown",
    "updates_come_in_order_of_time_and_end_with_the_state_of_the_order",
}
TestAccount = Account.TestCase
TestAccount.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
