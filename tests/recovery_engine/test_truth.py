"""What the engine makes of differences with its venue, step by step on a session in this process."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.core.daily import daily_figures
from athena.core.portfolio import Portfolio
from athena.errors import RateLimited
from athena.journal.journal import Journal
from athena.live import averages, reconciliation
from athena.live.brokers.base import OrderUpdated, Rows
from athena.live.events import ClockRead
from athena.live.guard_checklist import _loss
from athena.live.order_lane import OrderLane
from athena.live.startup_report import last_run, verify_tail
from athena.model import CashFlow, OrderIntent, OrderStatus, OrderType, Purpose, Side, TimeInForce
from athena.ops.recovery_restore import VenueNow, _apply, plan_corrections
from athena.playbooks.books import slippage_analysis
from athena.playbooks.books.system import connect
from athena.simulator.orders import OrderRequest
from tests.engine.session import START, Flaky, Trading
from tests.support.broker import approve


class Venue(Flaky):
    """The session's venue with more that may differ."""

    cash_more = average_more = Decimal(0)
    blocked = limited = False
    hidden = frozenset()  # client ids the venue denies
    places = None  # to which the venue rounds the average prices of its orders
    another = ""  # the account it answers for
    late_flows = ()  # listed whatever the time asked for, as long as their date is not before it
    once_listed = None  # called when all orders were listed: the market does not wait for a look to end

    async def submit(self, approved):
        if self.limited:
            raise RateLimited("too many requests.", retry_after_seconds=0.0)
        return await super().submit(approved)

    async def get_account(self):
        found = await super().get_account()
        number = self.another or found.account_number
        return replace(found, cash=found.cash + self.cash_more, trading_blocked=self.blocked, account_number=number)

    async def get_positions(self):
        found = await super().get_positions()
        more = self.average_more
        return Rows(replace(one, average_entry_price=one.average_entry_price + more) for one in found)

    async def get_cash_flows(self, after):
        late = [flow for flow in self.late_flows if after is None or flow.at > after]
        return Rows([*await super().get_cash_flows(after), *late])

    async def get_order(self, client_order_id):
        return None if client_order_id in self.hidden else await super().get_order(client_order_id)

    async def get_orders(self, *arguments, **keywords):
        found = await super().get_orders(*arguments, **keywords)
        if "all" in arguments and self.once_listed is not None:
            told, self.once_listed = self.once_listed, None
            told()
        if self.places is not None:
            found = [replace(one, average_fill_price=round(one.average_fill_price, self.places)) for one in found]
        return Rows(order for order in found if order.client_order_id not in self.hidden)


def filled(trading, shares):
    """The venue's open order is filled by so many shares more."""
    order = trading.broker.account.orders("open")[0]
    left = order.quantity - order.filled_quantity - shares
    book = next(iter(trading.exchange.books()))
    book.fill(order, Decimal(shares), order.limit_price, left, trading.clock.now(), None)
    trading.exchange.commit()


def resting(trading, symbol):
    trading.strategy.wants = {symbol: (10, trading.resting(symbol))}
    trading.go(10)


@pytest.fixture
def trading(tmp_path):
    made = Trading(tmp_path)
    made.broker.__class__ = Venue
    yield made
    made.close()


def bought(trading, shares=10, symbol="AAPL"):
    trading.resume()
    trading.strategy.wants = {symbol: (shares, None)}
    trading.go(10)
    return trading


def violations(trading, code="RECONCILIATION"):
    return trading.journal.query("SELECT * FROM violations WHERE code = ?", (code,))


def amend(trading, quantity, price):
    """The venue busts (quantity 0) or corrects its last execution, and tells the stream."""
    book = next(iter(trading.exchange.books()))
    last = list(book.executions().values())[-1]
    book.amend(last, Decimal(quantity), Decimal(price), trading.clock.now(), None)
    trading.exchange.commit()


@pytest.mark.parametrize(("quantity", "price"), [("0", "0"), ("10", "70.5"), ("7", "71")])
def test_a_busted_or_corrected_trade_is_booked_back_by_events(trading, quantity, price):
    """Shares and cash follow the venue to the cent, what was journaled stays, and a restart tells the same."""
    bought(trading)
    before = [dict(row) for row in trading.journal.query("SELECT * FROM fills")]
    amend(trading, quantity, price)
    trading.go(5)
    account = trading.exchange.accounts()[0]
    held = {position.symbol: position.quantity for position in account.positions()}
    assert trading.engine.held() == held
    assert trading.engine.portfolio.cash == account.summary().cash
    assert trading.guard.gate.book.cash == account.summary().cash
    rows = [dict(row) for row in trading.journal.query("SELECT * FROM fills ORDER BY sequence")]
    assert rows[: len(before)] == before
    assert {row["source"] for row in rows[len(before) :]} == {"correction"}
    assert trading.look().ok
    assert trading.engine.deciders.holdings.lot("scripted", "AAPL").quantity == held.get("AAPL", 0)


def test_a_bust_nobody_told_of_is_found_by_the_order_and_repaired(trading):
    """The stream was mute: shares differ, the next look asks for the symbol's orders, and the one after agrees."""
    bought(trading)
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    amend(trading, "0", "0")
    trading.broker._listener = told
    assert [item.kind for item in trading.look().breaks] == ["quantity", "cash"]
    assert "busted or corrected" in trading.look().repaired[0].evidence
    assert trading.look().ok
    assert trading.halts() == []


def test_a_price_corrected_and_never_told_is_repaired_by_the_order(trading):
    """The average and the cash differ; the symbol's orders explain both, and the fills are booked anew."""
    bought(trading)
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    amend(trading, "10", "70.5")
    trading.broker._listener = told
    assert {item.kind for item in trading.look().breaks} == {"price", "cash"}
    assert trading.look().repaired[0].kind == "price"
    assert trading.look().ok
    assert trading.engine.portfolio.position("AAPL").average_entry_price == Decimal("70.5")
    assert trading.halts() == []


@pytest.mark.parametrize(("quantity", "price"), [("0", "0"), ("10", "60")])
def test_what_an_operator_corrected_is_not_booked_again(trading, tmp_path, quantity, price):
    """A bust or another price while the engine is down, and restore-portfolio: a fee of later is no bust."""
    bought(trading)
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(20)
    assert trading.look().ok
    trading.close()
    amend(trading, quantity, price)
    trading.clock.advance(seconds=60)

    async def now():
        broker = trading.broker
        found = await broker.get_account(), *map(tuple, (await broker.get_positions(), await broker.get_fills(START)))
        return VenueNow(*found, (), trading.clock.now())

    venue = asyncio.run(now())
    with Journal.open(trading.settings.journal_path, actor="operator") as journal:
        plan = plan_corrections(journal, Portfolio.from_journal(journal), venue)
        assert "correction" in {one.kind for one in plan}
        _apply(journal, plan, "bust while down", venue.at)
    again = Trading(tmp_path, before=trading)
    again.broker.__class__ = Venue
    try:
        held = {one.symbol: one.quantity for one in venue.positions}
        again.broker.cash_more = Decimal(-5)
        for _ in range(4):
            assert [item.kind for item in again.look().breaks] == ["cash"]
        assert again.engine.held() == held
        again.broker.cash_more = Decimal(0)
        assert again.look().ok
        again.resume()
        again.strategy.wants = {"AAPL": (5, None)}
        again.go(10)
        amend(again, "0", "0")  # of an order after the correction: certain as ever
        again.go(5)
        assert again.engine.held() == held
        assert again.look().ok
    finally:
        again.close()


def test_a_fill_during_the_look_is_not_taken_for_a_bust_of_what_was_listed_before_it(trading):
    """The list of a doubtful symbol's orders is a moment older than our books: what fills meanwhile stays booked."""
    bought(trading)
    resting(trading, "AAPL")
    filled(trading, 4)
    trading.broker.average_more = Decimal("0.5")
    trading.look()
    trading.broker.once_listed = lambda: filled(trading, 6)
    assert not trading.look().repaired
    assert trading.engine.held() == {"AAPL": Decimal(20)}
    assert trading.look().ok
    assert trading.halts() == []


def test_a_rounded_average_is_no_correction(trading):
    """The venue tells an order's average to four places: of 700 shares that is cents, and nobody corrected a trade."""
    trading.go(5)
    request = OrderRequest("AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, quantity=Decimal(700),
                           limit_price=Decimal("40"), client_order_id="phone")  # fmt: skip
    order = trading.broker.account.submit(request)
    book, left = next(iter(trading.exchange.books())), 700
    for shares, price in ((200, "40.01"), (200, "40.02"), (300, "40.02")):
        left -= shares
        order = book.fill(trading.broker.account.order(order.id), Decimal(shares), Decimal(price), Decimal(left),
                          trading.clock.now(), None) or order  # fmt: skip
        trading.exchange.commit()
    assert trading.look().ok
    trading.broker.places, trading.broker.average_more = 4, Decimal("0.5")
    assert [item.kind for item in trading.look().breaks] == ["price"]
    assert trading.look().ok
    assert not trading.journal.query("SELECT * FROM fills WHERE source = 'correction'")


def test_a_bust_that_a_later_fill_overtook_is_not_booked_twice(trading):
    """The stream tells of the bust after a fill that came later: the order, asked for, says how much is left."""
    bought(trading)
    resting(trading, "AAPL")
    filled(trading, 4)
    held, trading.broker._listener = (
        [],
        lambda event, told=trading.broker._listener: (
            held.append(event) if getattr(event, "event", "") == "trade_bust" else told(event)
        ),
    )
    amend(trading, "0", "0")
    trading.clock.advance(seconds=1)
    filled(trading, 5)
    assert len(held) == 1
    trading.engine.process(held[0])
    assert trading.engine.held() == {"AAPL": Decimal(19)}
    trading.look()
    trading.look()
    assert trading.look().ok
    assert trading.engine.held() == {"AAPL": Decimal(15)}


def test_what_was_booked_back_leaves_the_costs_of_the_day_to_be_read(trading):
    """A correction is no execution of any order: the analysis measures the others."""
    bought(trading)
    bought(trading, 5, "MSFT")
    amend(trading, "0", "0")
    trading.go(5)
    found = slippage_analysis.assess(connect(str(trading.settings.journal_path), settings=trading.settings))
    assert found.numbers["fills"] == 2


def test_an_average_of_another_arithmetic_is_no_break_once_every_order_of_the_holding_agrees(trading):
    """Venues average in more than one way; the executions decide, and what was certain is told, also after a start."""
    bought(trading)
    trading.broker.average_more = Decimal("0.5")
    assert [item.kind for item in trading.look().breaks] == ["price"]
    for _ in range(3):
        outcome = trading.look()
        assert outcome.ok
        assert "certain: every order" in outcome.checked["prices"][0]["action"]
    assert trading.halts() == []
    assert averages.differing(trading.journal) == {"AAPL"}


def test_an_average_that_no_order_proves_halts_its_symbol_until_it_agrees(trading):
    """The venue has another price and denies the order: the symbol is halted with the evidence, and only that."""
    bought(trading)
    trading.broker.hidden = frozenset(row[0] for row in trading.journal.query("SELECT client_order_id FROM orders"))
    trading.broker.average_more = Decimal("0.5")
    for _ in range(3):
        assert not trading.look().ok
    assert trading.halts() == [("symbol", "AAPL", "reconciliation")]
    assert "price: 10 shares cost" in trading.guard.halts()[0].reason
    assert len(violations(trading)) == 1
    trading.broker.average_more = Decimal(0)
    assert trading.look().ok
    assert trading.halts() == []


def test_cash_that_nothing_explains_blocks_a_resume_and_past_a_quarter_of_the_loss_limit_halts(trading):
    """A dollar is reported once and halts nothing; a thousand of a limit of two halts until it is explained."""
    bought(trading)
    trading.broker.cash_more = Decimal(1)
    for _ in range(3):
        outcome = trading.look()
    assert [item.kind for item in outcome.breaks] == ["cash"]
    assert not outcome.ok
    assert len(violations(trading)) == 1
    assert trading.halts() == []
    trading.broker.cash_more = Decimal(1_000)
    trading.look()
    trading.look()
    assert trading.halts() == [("global", "", "reconciliation")]
    trading.broker.cash_more = Decimal(0)
    assert trading.look().ok
    assert trading.halts() == []


def while_looking(trading, what):
    """`what` happens in each look from now on, after the orders were listed."""
    listed = type(trading.broker).get_positions

    async def get_positions():
        what()
        return await listed(trading.broker)

    trading.broker.get_positions = get_positions


def test_looks_that_only_fills_keep_from_agreeing_leave_the_venue_more_time_each(trading):
    """Up to 15 seconds, so that orders are not refused for the requests of looks; one that agrees begins anew."""
    bought(trading)
    resting(trading, "MSFT")

    def pause():
        trading.actions.clear()
        trading.look()
        return [action.after_seconds for action in trading.actions]

    while_looking(trading, lambda: filled(trading, 1))
    assert [pause() for _ in range(6)] == [[1], [2], [4], [8], [15], [15]]
    while_looking(trading, lambda: None)
    assert pause() == []
    while_looking(trading, lambda: filled(trading, 1))
    assert pause() == [1]
    trading.broker.phantom_shares = Decimal(1)
    assert pause() == [1], "what else is unsure is asked for at once"


def test_cash_that_differs_is_counted_over_a_look_in_which_orders_fill(trading):
    """Seen before and after it, a difference was there twice: everything halts, however busy the day is."""
    bought(trading)
    resting(trading, "MSFT")
    trading.broker.cash_more = Decimal(1_000)
    assert [item.kind for item in trading.look().breaks] == ["cash"]
    while_looking(trading, lambda: filled(trading, 1))
    assert trading.look().checked["moving"] == ["MSFT"]
    assert trading.halts() == []
    while_looking(trading, lambda: None)
    assert [item.kind for item in trading.look().breaks] == ["cash"]
    assert trading.halts() == [("global", "", "reconciliation")]


def test_a_fill_during_the_look_does_not_lift_the_halt_for_cash(trading):
    """While something fills cash cannot be compared: what was not compared agrees with nothing, and the halt stands."""
    bought(trading)
    resting(trading, "MSFT")
    trading.broker.cash_more = Decimal(1_000)
    trading.look()
    trading.look()
    trading.broker.once_listed = lambda: filled(trading, 10)
    assert trading.look().checked["moving"] == ["MSFT"]
    assert trading.halts() == [("global", "", "reconciliation")]
    trading.broker.cash_more = Decimal(0)
    assert trading.look().ok
    assert trading.halts() == []


def deposit(trading, dollars):
    book = next(iter(trading.exchange.books()))
    book.transfer(Decimal(dollars), trading.clock.now())
    trading.exchange.commit()


def test_a_deposit_of_the_first_day_is_no_profit_and_is_there_after_a_restart(trading, tmp_path):
    """The venue tells a date, which begins before the account was bound and the day opened; the books know when."""
    bought(trading)
    before = daily_figures(trading.journal).pnl
    deposit(trading, 10_000)
    assert trading.look().ok
    assert daily_figures(trading.journal).pnl == before
    cash = trading.engine.portfolio.cash
    assert Portfolio.from_journal(trading.journal).cash == cash
    trading.close()
    again = Trading(tmp_path, before=trading)
    try:
        assert again.look().ok
        assert again.guard.gate.book.cash == again.engine.portfolio.cash == cash
        assert again.guard.gate.book.transfers == 10_000
    finally:
        again.close()


def test_a_fee_listed_under_the_date_of_days_before_is_taken_in(trading):
    """Fees and dividends are listed late: what the account's cash held when it was bound is not taken in again."""
    bought(trading)
    assert trading.look().ok
    fee = CashFlow("fee-1", "FEE", Decimal("-1.25"), trading.clock.now() - timedelta(days=2))
    trading.broker.late_flows, trading.broker.cash_more = (fee,), fee.amount
    assert trading.look().ok
    assert trading.look().ok
    assert Portfolio.from_journal(trading.journal).income == fee.amount


def test_money_from_before_the_open_is_not_counted_against_the_day(trading, tmp_path):
    """A withdrawal in the morning is in the equity the day opens with: it hides no loss after a restart either."""
    trading.go(10)
    trading.clock.set(datetime(2020, 3, 10, 13, 0, tzinfo=UTC))
    trading.go(5)
    deposit(trading, -10_000)
    assert trading.look().ok
    trading.clock.set(datetime(2020, 3, 10, 13, 31, tzinfo=UTC))
    trading.engine.process(ClockRead(asyncio.run(trading.broker.get_clock())))
    trading.go(10)
    opened = trading.journal.one("SELECT * FROM trading_days WHERE trading_date = '2020-03-10'")["opening_equity"]
    assert Decimal(opened) == 90_000
    assert trading.guard.gate.book.starting_equity == 90_000
    assert _loss(trading.journal).holds
    assert _loss(trading.journal).seen.startswith("gained $0.00")
    trading.close()
    again = Trading(tmp_path, before=trading)
    try:
        assert again.guard.gate.book.starting_equity == 90_000
    finally:
        again.close()


def test_a_venue_whose_clock_was_set_back_has_its_executions_asked_for(trading):
    """The books agreed at a time that is still to come: what is missed now is found all the same."""
    bought(trading)
    ahead = trading.clock.now() + timedelta(days=1)
    trading.journal.append("reconciliation", {"trigger": "before", "ok": True}, ahead)
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    trading.broker.account.submit(OrderRequest("AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY,
                                               quantity=Decimal(3), client_order_id="phone"))  # fmt: skip
    trading.broker._listener = told
    trading.look()
    assert trading.engine.held() == {"AAPL": Decimal(13)}
    assert trading.look().ok


def test_an_account_the_venue_blocks_halts_until_it_is_free(trading):
    """No storm of rejected orders: everything halts, with the venue's words, and goes on by itself."""
    bought(trading)
    trading.broker.blocked = True
    trading.look()
    trading.look()
    assert "trading is blocked" in trading.guard.halts()[0].reason
    trading.broker.blocked = False
    trading.look()
    assert trading.halts() == []


def test_the_answers_of_another_account_are_not_taken_in(trading):
    """A venue that was begun anew, or another key: nothing is concluded, and what persists halts everything."""
    bought(trading)
    deposit(trading, 500)
    trading.broker.another = "PA-ANOTHER"
    before = trading.engine.portfolio.cash
    assert "answers for account PA-ANOTHER" in trading.look().message
    assert trading.engine.portfolio.cash == before
    trading.look()
    assert trading.halts() == [("global", "", "reconciliation")]
    trading.broker.another = ""
    assert trading.look().ok
    assert trading.engine.portfolio.cash == before + 500
    assert trading.halts() == []


def test_a_look_that_could_not_ask_for_every_open_order_does_not_agree(trading, monkeypatch):
    """What was not asked for was not compared: the next looks go on until all is, and only then it is ok."""
    trading.resume().go(5)
    for symbol in ("AAPL", "MSFT"):
        resting(trading, symbol)
    monkeypatch.setattr(reconciliation, "LOOKUPS_MAX", 1)
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    trading.broker.account.cancel_all()
    trading.exchange.commit()
    trading.broker._listener = told
    outcome = trading.look()
    assert not outcome.ok
    assert not outcome.settled
    assert "1 open orders are still to be asked for" in outcome.message
    assert trading.look().ok


def test_an_open_order_the_venue_denies_is_settled_when_the_position_agrees(trading):
    """Asked for by its id in two looks and denied, it is canceled in the books; nothing stays open for ever."""
    trading.resume().go(5)
    trading.strategy.wants = {"MSFT": (10, trading.resting("MSFT"))}
    trading.go(10)
    name = trading.journal.one("SELECT client_order_id FROM orders WHERE status = 'new'")[0]
    trading.broker.hidden = frozenset({name})
    for _ in range(3):  # just sent: the venue may not find it yet
        assert [item.kind for item in trading.look().breaks] == ["phantom"]
    assert trading.guard.gate.book.of("MSFT").buys == 10
    trading.engine.book.get(name).known_at -= 10
    assert trading.look().repaired[-1].action == "settled as canceled"
    assert trading.look().ok
    assert trading.halts() == []


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.REJECTED])
def test_an_order_that_ended_here_and_is_open_at_the_venue_counts_again(trading, tmp_path, status):
    """Seen open in two looks in a row it is followed, in the exposure and after a restart, until the venue ends it."""
    trading.resume().go(5)
    resting(trading, "AAPL")
    name = next(iter(trading.engine.book)).client_order_id
    trading.engine.conclude(name, status, "concluded too soon")
    assert trading.guard.gate.book.of("AAPL").buys == 0
    first = trading.look()
    assert [(item.kind, item.ours) for item in first.breaks] == [("orphan", status)]
    assert not first.settled
    assert [item.action for item in trading.look().repaired] == ["followed; it counts in the exposure"]
    events = trading.journal.head()[0]
    assert trading.look().ok
    assert trading.journal.head()[0] == events + 1, "the look itself, and no news of the order"
    assert trading.halts() == []
    row = trading.journal.one("SELECT status, error, final_venue_at FROM orders")
    assert tuple(row) == ("new", None, None)
    trading.close()
    again = Trading(tmp_path, before=trading)
    try:
        assert again.guard.gate.book.of("AAPL").buys == 10
        again.broker.account.cancel_all()
        again.go(5)
        assert again.orders() == [("scripted", "AAPL", "canceled")]
        assert len(again.engine.book) == again.guard.gate.book.of("AAPL").buys == 0
        assert again.journal.rebuild(check_only=True).differences == ()
    finally:
        again.close()


def test_late_news_of_an_order_that_ended_opens_nothing_and_one_filled_whole_halts_its_symbol(trading):
    """The stream's older word changes no row; a venue that has a filled order open is told, and never believed."""
    bought(trading)
    order = asyncio.run(trading.broker.get_orders("all"))[0]
    late, events = replace(order, status=OrderStatus.NEW, filled_quantity=Decimal(0)), trading.journal.head()[0]
    trading.engine.process(OrderUpdated(late, "new", None, trading.clock.now()))
    assert trading.journal.head()[0] == events
    listed = trading.broker.get_orders

    async def open_for_ever(*arguments, **keywords):
        return Rows([*await listed(*arguments, **keywords), late])

    trading.broker.get_orders = open_for_ever
    trading.look()
    assert [item.kind for item in trading.look().breaks] == ["orphan"]
    assert trading.halts() == [("symbol", "AAPL", "reconciliation")]
    assert len(trading.engine.book) == 0


def test_an_order_of_ours_the_journal_never_had_is_followed_as_an_orphan(trading):
    """A journal that lost its tail meets its own order at the venue: it counts, and is said to be an orphan."""
    name = "athena-scripted-AAPL-0123"
    request = OrderRequest("AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, quantity=Decimal(5),
                           limit_price=Decimal(50), client_order_id=name)  # fmt: skip
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    trading.broker.account.submit(request)
    trading.broker._listener = told
    assert [item.kind for item in trading.look().repaired] == ["orphan"]
    assert trading.guard.gate.book.of("AAPL").buys == 5
    trading.broker.account.submit(replace(request, client_order_id="phone"))
    trading.go(5)
    assert trading.guard.gate.book.of("AAPL").buys == 10
    notes = trading.journal.query("SELECT payload FROM events WHERE kind = 'note' AND payload LIKE '%from outside%'")
    assert any("phone" in note["payload"] for note in notes)
    assert "phone" in trading.look().checked["external"]


def test_an_outsiders_order_for_dollars_counts_in_the_exposure_also_after_a_restart(trading, tmp_path):
    """A phone orders for 1,000 dollars in the evening and names no shares: what these buy counts until it is over."""
    trading.go(5)
    trading.clock.set(datetime(2020, 3, 9, 21, 0, tzinfo=UTC))
    trading.go(5)
    trading.broker.account.submit(OrderRequest("AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY,
                                               notional=Decimal(1000), client_order_id="phone"))  # fmt: skip
    trading.go(5)

    def counted(session):
        return session.guard.gate.book.of("AAPL").buys * session.engine.market.mark("AAPL")

    assert abs(counted(trading) - 1000) < 1
    trading.close()
    again = Trading(tmp_path, before=trading)
    try:
        again.go(5)
        again.look()
        assert abs(counted(again) - 1000) < 1
        again.broker.account.cancel_all()
        again.go(5)
        assert again.guard.gate.book.of("AAPL").buys == 0
    finally:
        again.close()


def test_an_outsiders_order_known_by_its_fill_alone_is_asked_for_until_it_is_told(trading, tmp_path):
    """The answer is lost with a crash: the next start asks again, and the order is in the books as external."""
    trading.go(5)
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    trading.broker.account.submit(OrderRequest("AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY,
                                               quantity=Decimal(3), client_order_id="phone"))  # fmt: skip
    trading.broker._listener = told
    trading.look()
    assert trading.engine.held() == {"AAPL": Decimal(3)}
    trading.close()
    again = Trading(tmp_path, before=trading)
    try:
        assert again.orders() == []
        again.go(5)
        assert again.orders() == [("external", "AAPL", "filled")]
        assert again.look().ok
        assert again.actions == []
    finally:
        again.close()


def test_a_canceled_order_that_fills_anyway_is_taken_in(trading):
    """The fill counts though the order's end was told first."""
    trading.resume().go(5)
    trading.strategy.wants = {"MSFT": (10, trading.resting("MSFT"))}
    trading.go(10)
    order = trading.broker.account.orders("open")[0]
    book = next(iter(trading.exchange.books()))
    told, trading.broker._listener = trading.broker._listener, lambda event: None
    book.fill(order, Decimal(4), Decimal(150), Decimal(6), trading.clock.now(), None)
    trading.exchange.commit()
    trading.broker._listener = told
    trading.broker.account.cancel(order.id)
    trading.go(5)
    assert trading.engine.held() == {}
    trading.look()
    assert trading.engine.held() == {"MSFT": Decimal(4)}
    assert trading.look().ok


def test_a_rate_limit_proves_that_the_order_was_not_taken(trading):
    """NOT_SENT, and the strategy decides anew."""
    trading.resume()
    trading.broker.limited = True
    trading.strategy.wants = {"AAPL": (10, None)}
    trading.go(10)
    assert trading.orders() == [("scripted", "AAPL", "not_sent")]


def test_an_exit_does_not_wait_behind_a_send_that_hangs():
    """The strategies' lane hangs; the operator's exit is with the venue at once."""

    class Hanging:
        sent: list = []

        async def submit(self, approved):
            if approved.intent.purpose is Purpose.STRATEGY:
                await asyncio.sleep(60)
            self.sent.append(approved.client_order_id)

    class Open:
        def sending(self, approved):
            import contextlib

            return contextlib.nullcontext(True)

    class Send:
        def __init__(self, **more):
            self.approved = approve(**more)

    async def run():
        lane = OrderLane(Hanging(), Open(), lambda event: None)
        tasks = [asyncio.create_task(lane.run_sends()), asyncio.create_task(lane.run_exits())]
        lane.put(Send())
        lane.put(Send(purpose=Purpose.EXIT))
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        return len(Hanging.sent), lane.depths

    assert asyncio.run(run()) == (1, {"sends": 0, "exits": 0, "cancels": 0})


def test_the_journal_is_verified_from_where_the_last_start_left_off_and_a_break_is_found(trading):
    """The first start reads all, the next only what is new; a changed event is named, and its reconciliation not ok."""
    bought(trading)
    whole = asyncio.run(verify_tail(trading.journal, trading.settings))
    assert whole.ok
    assert (whole.first, whole.last) == (1, trading.journal.head()[0])
    report = {"verified": {"problem": "", "last": whole.last, "head": whole.head}}
    trading.journal.append("note", {"text": "", "startup.report": report})
    rest = asyncio.run(verify_tail(trading.journal, trading.settings))
    assert (rest.first, rest.last) == (whole.last + 1, whole.last + 1)
    assert "those before at the start of" in str(rest)
    trading.journal._connection.execute("DROP TRIGGER IF EXISTS events_are_final")
    sql = "UPDATE events SET payload = replace(payload, 'startup', 'STARTUP') WHERE sequence = ?"
    trading.journal._connection.execute(sql, (whole.last + 1,))
    trading.journal._connection.commit()
    broken = asyncio.run(verify_tail(trading.journal, trading.settings))
    assert not broken.ok
    assert "BROKEN" in str(broken)


def test_a_start_knows_how_the_last_run_ended(trading):
    """Without a goodbye it was a crash, with its pid and when it was last heard of."""
    assert last_run(trading.journal).clean
    trading.journal.append("engine.started", {"version": "1", "safe_mode": False, "speed": "1", "clean": True})
    trading.journal.heartbeat("engine", {"state": "running"})
    crashed = last_run(trading.journal)
    assert not crashed.clean
    assert f"pid {trading.journal.pid}" in str(crashed)
    assert "last heard of" in str(crashed)
    trading.journal.append("engine.stopped", {"reason": "test"})
    assert last_run(trading.journal).clean


def test_an_exit_of_a_position_goes_through_while_everything_is_halted_for_cash(trading):
    """Reconciliation's own halt of everything never traps a position."""
    bought(trading)
    trading.broker.cash_more = Decimal(5_000)
    trading.look()
    trading.look()
    assert trading.halts() == [("global", "", "reconciliation")]
    trading.exit("AAPL", 10)
    assert trading.engine.held() == {}


def test_an_intent_is_an_order_only_once(trading):
    """The same decision made again after a lost answer is refused as a duplicate, not sent."""
    trading.resume().go(5)
    intent = OrderIntent("k", "AAPL", Side.BUY, Decimal(1), strategy="scripted", decided_at=trading.clock.now())
    first, second = trading.engine._decide(intent), trading.engine._decide(intent)
    assert first
    assert not second
    trading.go(5)
    assert trading.broker.sent == 1
