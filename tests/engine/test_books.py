"""The parts around `process`: news of orders, the venue's clock, breaks that persist, commands and their client."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.errors import AthenaError, BrokerUnavailable, EngineNotRunning
from athena.journal.journal import Journal
from athena.live.brokers.base import Rows, Unreadable
from athena.live.commands import request_sync
from athena.live.events import Resolve
from athena.live.order_book import OrderBook
from athena.live.order_lane import resolve
from athena.live.reconciliation import PersistentBreaks, compare_cash, compare_positions, take_look
from athena.live.venue_clock import FollowedClock, Session
from athena.model import (
    Clock,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    OrderType,
    Position,
    Side,
    TimeInForce,
)

AT = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)
INTENT = OrderIntent("k1", "AAPL", Side.BUY, Decimal(10), strategy="s", decided_at=AT)


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "journal.sqlite3", actor="test") as opened:
        yield opened


def order(status, filled=0, name=INTENT.client_order_id):
    return Order(
        name, "b1", "AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY, status, Decimal(10), Decimal(filled),
        Decimal(250) if filled else None, updated_at=AT,
    )  # fmt: skip


def fill(number, quantity, name=INTENT.client_order_id):
    return Fill(f"e{number}", name, "b1", "AAPL", Side.BUY, Decimal(quantity), Decimal(250), AT)


@pytest.fixture
def book(journal):
    names = ("client_order_id", "strategy", "symbol", "side", "type", "time_in_force", "quantity", "purpose")
    journal.append("order.intended", {name: getattr(INTENT, name) for name in names}, AT)
    book = OrderBook(journal)
    book.expect(INTENT, datetime.now(UTC), AT)
    return book


def test_a_fill_told_three_times_counts_once(book, journal):
    """Answer, stream and reconciliation may all bring the same execution."""
    assert book.take(order(OrderStatus.PARTIALLY_FILLED, 4), fill(1, 4), "stream", AT).fill is not None
    assert book.take(order(OrderStatus.PARTIALLY_FILLED, 4), fill(1, 4), "stream", AT).fill is None
    assert book.take_fill(fill(1, 4), "reconciliation").fill is None
    assert [row["quantity"] for row in journal.query("SELECT quantity FROM fills")] == ["4"]


def test_an_order_stays_at_work_until_its_fills_are_in(book):
    """A venue's FILLED before its fills keeps the strategy from ordering again on an old position."""
    book.take(order(OrderStatus.FILLED, 10), None, "answer", AT)
    assert book.working("s", "AAPL")
    book.take(order(OrderStatus.FILLED, 10), fill(1, 10), "stream", AT)
    assert not book.working("s", "AAPL")
    assert len(book) == 0


def test_late_news_does_not_open_an_order_again(book, journal):
    """'new' after 'canceled' is old news."""
    book.take(order(OrderStatus.CANCELED), None, "stream", AT)
    book.take(order(OrderStatus.NEW), None, "answer", AT)
    assert journal.one("SELECT status FROM orders")["status"] == "canceled"
    assert len(book) == 0


def test_an_order_from_outside_is_external_and_tracked(book, journal):
    """What someone does on the phone appears, and its fills are the account's."""
    book.take(order(OrderStatus.NEW, name="phone"), None, "stream", AT)
    assert book.get("phone").strategy == "external"
    assert not book.get("phone").is_strategys
    book.take(order(OrderStatus.FILLED, 10, "phone"), fill(2, 10, "phone"), "stream", AT)
    assert journal.one("SELECT strategy FROM fills")["strategy"] == "external"


def test_a_book_loaded_after_a_crash_knows_what_was_never_answered(book, journal):
    """An intent without an answer is open, and marked as unanswered."""
    again = OrderBook(journal)
    again.load()
    assert [tracked.client_order_id for tracked in again.unanswered()] == [INTENT.client_order_id]


def test_a_difference_counts_only_while_it_is_the_same():
    """Twice the same difference persists; a changing one starts again; a skipped symbol keeps its count."""
    breaks = PersistentBreaks()

    def look(theirs, skipped=frozenset()):
        found = compare_positions({"AAPL": Decimal(5)}, [Position("AAPL", Decimal(theirs), Decimal(1))], set(skipped))
        return breaks.count(found, set(skipped)).get(("quantity", "AAPL", ""))

    assert [look(7), look(8), look(8, {"AAPL"}), look(8), look(5), look(8)] == [1, 1, None, 2, None, 1]


def test_cash_agrees_to_the_cent():
    """A cent of rounding is no break, two are."""
    assert not compare_cash(Decimal("10.00"), Decimal("10.01"))
    assert compare_cash(Decimal("10.00"), Decimal("10.02"))[0].difference == "0.02"


class Venue:
    """A venue that answers what it is told to; `orders` maps client ids to what `get_order` says, in turn."""

    def __init__(self, answers=(), positions=()):
        self.answers, self.positions = list(answers), positions

    async def get_order(self, _):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get_orders(self, _):
        return Rows()

    async def get_positions(self):
        return self.positions

    async def get_account(self):
        return None

    async def get_cash_flows(self, _):
        return Rows()

    async def get_fills(self, _):
        return Rows()


def test_an_unreadable_answer_is_not_an_empty_one():
    """A look that cannot read one row concludes nothing."""
    venue = Venue(positions=Rows((), [Unreadable("positions", "no symbol", "{}")]))
    with pytest.raises(BrokerUnavailable, match="cannot be read"):
        asyncio.run(take_look(venue, None, list))


def test_a_lost_answer_is_found_by_its_client_id_after_failures():
    """Errors teach nothing and are asked again; a found order is adopted."""
    found = order(OrderStatus.NEW)
    answer = asyncio.run(resolve(Venue([BrokerUnavailable("x"), None, found]), Resolve("c")))
    assert answer.order is found
    assert not answer.unresolved


def test_no_such_order_is_believed_only_when_the_send_is_old():
    """A 404 right after the send may be too early; long after it is proof."""
    now = iter([0, 0, 1, 2, 3, 4, 4.9, 5.1, 5.2])
    answer = asyncio.run(resolve(Venue([None]), Resolve("c"), lambda: next(now)))
    assert answer.order is None
    assert not answer.unresolved
    assert next(now) == 5.2  # asked until five seconds had passed
    old = asyncio.run(resolve(Venue([None]), Resolve("c", sent_age_seconds=60)))
    assert not old.unresolved


def test_the_venues_clock_runs_at_its_speed_and_never_back():
    """Readings are followed, small corrections back are waited out, a new date is taken over."""
    machine = [100.0]
    clock = FollowedClock(lambda: machine[0])

    def read(at):
        clock.follow(Clock(at, True, AT, AT + timedelta(hours=6), speed=60.0), machine[0], machine[0])

    read(AT)
    machine[0] += 1
    assert clock.now() == AT + timedelta(seconds=60)
    read(AT + timedelta(seconds=30))
    assert clock.now() == AT + timedelta(seconds=60)
    clock.observe(AT + timedelta(seconds=70))
    assert clock.now() == AT + timedelta(seconds=70)
    read(AT - timedelta(days=3))
    assert clock.now() == AT - timedelta(days=3)


def test_a_session_is_judged_from_one_reading():
    """Open until the close, closed after it, and without a trading date once it is over."""
    session = Session()
    assert session.is_over(AT)
    assert not session.is_open(AT)
    close = AT + timedelta(hours=2)
    session.reading = Clock(AT - timedelta(hours=1), False, AT, close)
    assert [session.is_open(AT + timedelta(minutes=m)) for m in (-1, 0, 119, 120)] == [False, True, True, False]
    assert session.date(AT) == AT.date()
    assert session.date(close) is None


def test_a_command_without_an_engine_says_when_it_was_last_heard_of(journal):
    """No engine, no invented answer."""
    with pytest.raises(EngineNotRunning, match="never ran"):
        request_sync(journal, "ping")
    journal.heartbeat("engine", {"state": "stopped"})
    with pytest.raises(EngineNotRunning, match="stopped at"):
        request_sync(journal, "ping")
    with pytest.raises(AthenaError, match="Did you mean 'reconcile'"):
        request_sync(journal, "reconcil")
    with pytest.raises(AthenaError, match="needs symbol"):
        request_sync(journal, "close_position", {})
    with pytest.raises(AthenaError, match="flatten takes no 'symbol'"):
        request_sync(journal, "flatten", {"symbol": "AAPL"})


def test_a_command_waits_for_its_answer_and_not_for_ever(journal, tmp_path):
    """The answer is the row the engine wrote; without one the wait ends with an error."""
    journal.heartbeat("engine", {"state": "running"})

    def answer():
        with Journal.open(tmp_path / "journal.sqlite3", actor="engine") as engine:
            while (row := engine.one("SELECT id FROM commands")) is None:
                pass
            done = {"id": row["id"], "status": "done", "result": {"message": "alive"}}
            engine.append("command.finished", done)

    thread = threading.Thread(target=answer)
    thread.start()
    result = request_sync(journal, "ping", timeout=10)
    thread.join()
    assert result.ok
    assert result.message == "alive"
    assert dict(result) == {"message": "alive"}
    with pytest.raises(AthenaError, match="did not finish ping"):
        request_sync(journal, "ping", timeout=0.2)


def test_an_answer_that_the_stream_overtook_changes_nothing(book, journal):
    """'pending_new' as the answer to the order, after the stream said 'new', tells of an earlier moment."""
    book.take(order(OrderStatus.NEW), None, "stream", AT)
    book.take(order(OrderStatus.PENDING_NEW), None, "answer", AT)
    assert journal.one("SELECT status FROM orders")["status"] == "new"
