"""Each difference between journal and venue has its kind, its evidence, and its urgency."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from athena.core import comparison
from athena.core.comparison import Kind
from athena.journal import Journal
from athena.live.brokers.base import Rows
from athena.live.order_book import OrderBook
from athena.live.order_payloads import fill_payload
from athena.model import Clock, Fill, Order, OrderStatus, OrderType, Position, Side, TimeInForce
from athena.ops import recovery
from athena.playbooks.books import venue_truth
from tests.journal import facts

AT = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)


def order(name="athena-a-KO-1", status=OrderStatus.NEW, filled="0", price=None):
    average = None if price is None else Decimal(price)
    return Order(
        name, "b1", "KO", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, status, Decimal(10), Decimal(filled), average
    )


def row(status="new", filled="0", price=None, name="athena-a-KO-1"):
    filled_as = {"filled_quantity": filled, "average_fill_price": price}
    return filled_as | {"client_order_id": name, "status": status, "symbol": "KO"}


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "urgent"),
    [
        (None, order("phone"), Kind.UNKNOWN_ORDER, True),
        (None, order(), Kind.ORPHAN, True),
        (row("canceled"), order(), Kind.ORPHAN, True),
        (row("new"), order(status=OrderStatus.CANCELED), Kind.PHANTOM, False),
        (row("filled", "10", "5"), order(status=OrderStatus.FILLED, filled="9", price="5"), Kind.QUANTITY, True),
        (row("filled", "10", "5"), order(status=OrderStatus.FILLED, filled="10", price="5.5"), Kind.PRICE, False),
        (None, order(status=OrderStatus.FILLED, filled="10", price="5"), Kind.ORPHAN, True),
    ],
)
def test_orders_are_classified(ours, theirs, kind, urgent):
    """By whose name it has, who follows it, and how much of it is filled."""
    found = comparison.compare_orders({} if ours is None else {theirs.client_order_id: ours}, [theirs])
    assert [(one.kind, one.urgent) for one in found] == [(kind, urgent)]
    assert theirs.client_order_id in found[0].evidence
    assert found[0].then


def test_agreeing_orders_and_final_strangers_are_quiet():
    """A stranger's order that ended without a share concerns nobody."""
    mine = {"athena-a-KO-1": row("filled", "10", "5.000")}
    assert comparison.compare_orders(mine, [order(status=OrderStatus.FILLED, filled="10", price="5")]) == []
    assert comparison.compare_orders({}, [order("phone", OrderStatus.CANCELED)]) == []


def test_an_open_order_the_venue_denies_is_a_phantom_and_one_that_was_not_asked_for_is_not():
    """Only an answer proves an absence."""
    rows = [row(), row(name="athena-a-KO-2")]
    found = comparison.phantoms(rows, {"athena-a-KO-1": None})
    assert [(one.kind, one.subject) for one in found] == [(Kind.PHANTOM, "athena-a-KO-1")]


def test_fills_are_missing_phantom_or_different():
    """By execution id; a correction is no fill and no phantom."""

    def fill(identity, shares="10", price="5"):
        return Fill(identity, "c1", "b1", "KO", Side.BUY, Decimal(shares), Decimal(price), AT)

    def kept(shares="10", price="5", source="stream"):
        return {"side": "buy", "quantity": shares, "price": price, "symbol": "KO", "at": "t", "source": source}

    ours = {
        "same": kept("10.0"),
        "more": kept("11"),
        "dear": kept(price="6"),
        "ghost": kept(),
        "c": kept(source="correction"),
    }
    found = comparison.compare_fills(ours, [fill("same"), fill("more"), fill("dear"), fill("new")])
    assert {one.subject: one.kind for one in found} == {
        "more": Kind.QUANTITY, "dear": Kind.PRICE, "new": Kind.MISSING_FILL, "ghost": Kind.PHANTOM,
    }  # fmt: skip


def test_an_order_with_a_busted_trade_that_was_booked_back_agrees(tmp_path):
    """The order's row stays as it was told; the shares that were booked back are not asked of the venue again."""
    with Journal.open(tmp_path / "journal.sqlite3", actor="test") as journal:
        journal.append("account.bound", facts.bound(), facts.VENUE_AT)
        told = order("phone", OrderStatus.FILLED, "10", "5")
        made = Fill("e1", "phone", "b1", "KO", Side.BUY, Decimal(10), Decimal(5), AT)
        OrderBook(journal).take(told, made, "stream", AT)
        back = replace(made, execution_id="b1/correction-1", client_order_id="", side=Side.SELL, quantity=Decimal(4))
        journal.append("fill", fill_payload(back, "correction", None), AT)
        left = replace(told, filled_quantity=Decimal(6))
        looked = recovery.VenueFacts(None, AT - timedelta(hours=1), {"phone": left}, fills=(made,))
        assert recovery.compare(journal, looked, {recovery.ORDERS}) == []


class Venue:
    """A venue that lists nothing of the last days, and knows an old order by its id."""

    def __init__(self, known):
        self.known = known

    async def get_account(self):
        return None

    async def get_clock(self):
        return Clock(AT, True, AT, AT)

    async def get_orders(self, *_, **__):
        return Rows()

    async def get_order(self, name):
        return self.known

    get_positions = get_fills = get_orders


@pytest.mark.parametrize(("known", "open_"), [(order(), []), (None, ["athena-a-KO-1"])])
def test_a_playbook_asks_for_an_open_order_that_is_not_listed_before_it_says_that_there_is_none(known, open_):
    """An order of weeks ago is in no list of the last days: its absence there is no answer."""
    system = SimpleNamespace(account={}, open_orders=lambda: [row()])
    told = asyncio.run(venue_truth._ask(system, Venue(known)))
    assert [one.subject for one in comparison.phantoms([row()], told.asked)] == open_
    assert [one.client_order_id for one in told.orders] == ([] if open_ else ["athena-a-KO-1"])


def test_positions_and_cash_to_the_share_and_the_cent():
    """One share matters, half a cent does not."""
    ours = [Position("KO", Decimal(5), Decimal("50.001")), Position("XOM", Decimal(-1), Decimal(40))]
    theirs = [Position("KO", Decimal(5), Decimal(50)), Position("JPM", Decimal(2), Decimal(100))]
    found = {one.symbol: (one.kind, one.ours, one.theirs) for one in comparison.compare_positions(ours, theirs)}
    assert found == {"XOM": (Kind.QUANTITY, "-1", "0"), "JPM": (Kind.QUANTITY, "0", "2")}
    assert comparison.compare_cash(Decimal("10.005"), Decimal(10)) == []
    assert comparison.compare_cash(Decimal("10.02"), Decimal(10))[0].kind is Kind.CASH


def test_what_moved_between_two_looks_is_not_a_finding():
    """A fill on its way looks like a break once, and never twice alike."""
    first = comparison.compare_positions(
        [], [Position("KO", Decimal(1), Decimal(1)), Position("XOM", Decimal(3), Decimal(1))]
    )
    second = comparison.compare_positions(
        [], [Position("KO", Decimal(2), Decimal(1)), Position("XOM", Decimal(3), Decimal(1))]
    )
    assert [one.symbol for one in comparison.persistent(first, second)] == ["XOM"]
