from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import JournalError
from athena.journal import Journal, sqlite
from athena.journal.codec import encode, plain, to_text
from athena.journal.entry import Entry
from athena.journal.projections import INITIAL, apply
from athena.model import OrderStatus
from tests.journal.facts import VENUE_AT, fill, halt, intended, refused, updated


def row(journal: Journal, client_order_id: str = "c1") -> dict[str, Any]:
    found = journal.one("SELECT * FROM orders WHERE client_order_id = ?", (client_order_id,))
    assert found is not None
    return dict(found)


def test_an_order_lives_from_intent_to_fill(journal: Journal) -> None:
    """Intended, acknowledged, partly and wholly filled: status, quantity, average and times follow the fills."""
    journal.append("order.intended", intended(), VENUE_AT)
    assert row(journal)["status"] == "intended"
    assert row(journal)["acknowledged_at"] is None
    journal.append("order.updated", updated(status="new"), VENUE_AT)
    journal.append("fill", fill("x1", quantity=Decimal(4), price=Decimal("66.40")), VENUE_AT)
    partly = row(journal)
    assert (partly["status"], partly["filled_quantity"], partly["average_fill_price"]) == (
        "partially_filled",
        "4",
        "66.4",
    )
    journal.append("fill", fill("x2", quantity=Decimal(6), price=Decimal("66.50")), VENUE_AT + timedelta(seconds=1))
    whole = row(journal)
    assert (whole["status"], whole["filled_quantity"], whole["average_fill_price"]) == ("filled", "10", "66.46")
    assert whole["final_venue_at"] == to_text(VENUE_AT + timedelta(seconds=1))
    assert (whole["trading_date"], whole["broker_order_id"]) == ("2020-03-09", "b1")


def test_a_fill_told_twice_counts_once(journal: Journal) -> None:
    """The same execution from stream and backfill leaves one fill and one filled quantity."""
    journal.append("order.intended", intended(), VENUE_AT)
    for source in ("stream", "backfill"):
        journal.append("fill", fill(quantity=Decimal(4), source=source), VENUE_AT)
    assert len(journal.query("SELECT * FROM fills")) == 1
    assert row(journal)["filled_quantity"] == "4"


def test_a_late_fill_of_a_cancelled_order_is_taken_in(journal: Journal) -> None:
    """A cancelled order that fills anyway keeps its final state and gains the shares; filled whole, it is filled."""
    journal.append("order.intended", intended(), VENUE_AT)
    journal.append("order.updated", updated(status="canceled"), VENUE_AT)
    journal.append("fill", fill("x1", quantity=Decimal(4)), VENUE_AT)
    assert (row(journal)["status"], row(journal)["filled_quantity"]) == ("canceled", "4")
    journal.append("fill", fill("x2", quantity=Decimal(6)), VENUE_AT)
    assert (row(journal)["status"], row(journal)["filled_quantity"]) == ("filled", "10")


def test_the_broker_may_know_more_than_the_fills(journal: Journal) -> None:
    """A reported filled quantity above the fills seen counts, with its average, and never falls again."""
    journal.append("order.intended", intended(), VENUE_AT)
    told = updated(status="partially_filled", filled_quantity=Decimal(7), average_fill_price=Decimal("66.45"))
    journal.append("order.updated", told, VENUE_AT)
    journal.append("order.updated", updated(status="new", filled_quantity=Decimal(3)), VENUE_AT)
    now = row(journal)
    assert (now["status"], now["filled_quantity"], now["average_fill_price"]) == ("partially_filled", "7", "66.45")


def test_doubt_never_hides_what_the_venue_said(journal: Journal) -> None:
    """A timeout's 'unknown' arriving after the stream's 'new' leaves the order new."""
    journal.append("order.intended", intended(), VENUE_AT)
    journal.append("order.updated", updated(status="new"), VENUE_AT)
    journal.append("order.updated", updated(status="unknown", error="timeout"), VENUE_AT)
    assert (row(journal)["status"], row(journal)["error"]) == ("new", "timeout")


def test_the_venue_knows_better_than_our_inference_that_nothing_was_sent(journal: Journal) -> None:
    """An order believed not sent, that the venue reports as open, counts as open again."""
    journal.append("order.intended", intended(), VENUE_AT)
    journal.append("order.updated", updated(status="not_sent"), VENUE_AT)
    journal.append("order.updated", updated(status="unknown"), VENUE_AT)
    assert row(journal)["status"] == "not_sent"
    journal.append("order.updated", updated(status="new"), VENUE_AT)
    assert row(journal)["status"] == "new"


def test_a_refusal_is_an_order_and_a_violation(journal: Journal) -> None:
    """A refused order is final at once; refusing a duplicate leaves the order it duplicates alone."""
    journal.append("order.refused", refused(), VENUE_AT)
    journal.append("order.intended", intended(), VENUE_AT)
    journal.append("order.refused", refused("c1", code="duplicate"), VENUE_AT)
    assert (row(journal, "r1")["status"], row(journal)["status"]) == ("refused", "intended")
    violations = journal.query("SELECT code, client_order_id FROM violations ORDER BY sequence")
    assert [tuple(v) for v in violations] == [("halted", "r1"), ("duplicate", "c1")]


def test_a_refusal_of_nonsense_is_recorded(journal: Journal) -> None:
    """NaN, floats and missing facts are refused by the guard, never by its records."""
    nonsense = refused(
        quantity=float("nan"), limit_price=Decimal("NaN"), symbol=None, side=["buy"], observed=float("inf")
    )
    journal.append("order.refused", nonsense, VENUE_AT)
    assert row(journal, "r1")["quantity"] == "nan"
    assert journal.rebuild(check_only=True).differences == ()


def test_an_order_from_outside_is_taken_in(journal: Journal) -> None:
    """An unknown client id enters as 'external' with fills that came before it; without its facts it is refused."""
    journal.append("fill", fill("x9", "phone", strategy="", quantity=Decimal(2)), VENUE_AT)
    with pytest.raises(JournalError, match="symbol is not told"):
        journal.append("order.updated", updated("phone", status="new"), VENUE_AT)
    facts = {"symbol": "AAPL", "side": "buy", "type": "market", "quantity": Decimal(2)}
    journal.append("order.updated", updated("phone", status="new", **facts), VENUE_AT)
    now = row(journal, "phone")
    assert (now["strategy"], now["purpose"], now["status"], now["filled_quantity"]) == (
        "external", "strategy", "filled", "2",
    )  # fmt: skip


def test_the_same_intent_cannot_be_journaled_twice(journal: Journal) -> None:
    """A client order id is one order: a second intent under it fails and leaves the first."""
    journal.append("order.intended", intended(), VENUE_AT)
    with pytest.raises(JournalError, match="already"):
        journal.append("order.intended", intended(quantity=Decimal(99)), VENUE_AT)
    assert row(journal)["quantity"] == "10"


def test_the_guard_row_follows_halts_and_limits(journal: Journal) -> None:
    """Born halted at epoch 0; each halt, clearing and limit is an epoch; the strictest global halt is the mode."""

    def guard() -> tuple[Any, ...]:
        found = journal.one("SELECT epoch, mode, nonce FROM guard WHERE id = 1")
        assert found is not None
        return tuple(found)

    assert guard() == (0, "halted", "0")
    journal.append("halt.set", halt("h1"))
    assert guard() == (1, "halted", str(2**64 - 1))
    journal.append("halt.set", halt("h2", mode="reduce_only", nonce=5))
    journal.append("halt.set", halt("h3", scope="symbol", target="AAPL", nonce=6))
    assert guard() == (3, "halted", str(2**64 - 1))
    journal.append("halt.cleared", {"id": "h1", "by": "bob", "reason": "seen"})
    assert guard()[:2] == (4, "reduce_only")
    journal.append("halt.cleared", {"id": "h2", "by": "bob", "reason": "seen"})
    assert guard()[:2] == (5, "active")
    for value in (Decimal("500.0"), Decimal(400)):
        journal.append("limit.set", {"name": "max_daily_loss_dollars", "target": "", "value": value, "by": "bob"})
    limit = journal.one("SELECT value, version FROM limits")
    assert limit
    assert tuple(limit) == ('"400"', 2)
    assert guard()[0] == 7


STATUSES = [status.value for status in OrderStatus]
NEWS = st.one_of(
    st.fixed_dictionaries({"status": st.sampled_from(STATUSES), "filled_quantity": st.integers(0, 10)}),
    st.fixed_dictionaries({"execution_id": st.sampled_from("abcdef"), "quantity": st.integers(1, 4)}),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Journal.open(tmp_path_factory.mktemp("template") / "journal.sqlite3", "test") as journal:
        yield journal._connection


@settings(max_examples=150, deadline=None)
@given(news=st.lists(NEWS, max_size=15))
def test_no_news_reopens_or_unfills_an_order(template: Any, news: list[dict[str, Any]]) -> None:
    """Whatever is told in whatever order: final stays final, filled never falls, and covers every fill seen."""
    db = sqlite.scratch(template)
    db.execute(INITIAL)
    at, total, seen = to_text(VENUE_AT), 0, set[str]()

    def tell(kind: str, payload: dict[str, Any]) -> None:
        facts = plain(payload)
        assert encode(facts)
        apply(db, Entry(1, at, at, kind, "a", "h", 1, facts))

    tell("order.intended", intended())
    was, had = OrderStatus.INTENDED, Decimal(0)
    for item in news:
        if "status" in item:
            tell("order.updated", updated(**item))
        else:
            tell("fill", fill(item["execution_id"], quantity=item["quantity"]))
            total += 0 if item["execution_id"] in seen else item["quantity"]
            seen.add(item["execution_id"])
        status, filled = db.execute("SELECT status, filled_quantity FROM orders").fetchall()[0]
        venues_word = was.is_final and was is not OrderStatus.NOT_SENT
        assert not (venues_word and OrderStatus(status).is_open)
        assert Decimal(filled) >= max(had, total)
        was, had = OrderStatus(status), Decimal(filled)
    db.close()
