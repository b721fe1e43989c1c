from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from athena.errors import JournalError
from athena.journal import Journal
from athena.journal.codec import decimal_text, encode, from_text, plain, to_text
from athena.model import Quote, Side, Trade
from tests.journal.facts import EVERY_KIND, VENUE_AT, bound, fill, intended


def test_an_event_comes_back_as_it_was_written(journal: Journal) -> None:
    """What `append` returns equals what `events` reads: text money, aware times, who and where, both hashes."""
    facts = {"side": Side.BUY, "quantity": Decimal("1E-8"), "at": VENUE_AT, "nested": [{"price": Decimal("2.50")}]}
    written = journal.append("note", facts, VENUE_AT)
    (read,) = journal.events()
    assert read == written
    assert read.payload == {
        "side": "buy", "quantity": "0.00000001", "at": "2020-03-09T14:00:00.000000Z", "nested": [{"price": "2.50"}],
    }  # fmt: skip
    assert (read.actor, read.venue_at, read.at.tzinfo) == ("operator alice", VENUE_AT, UTC)


def test_events_are_read_from_a_sequence_and_by_kind(journal: Journal) -> None:
    """`events` pages through everything after a sequence, and through frequent and rare kinds alike."""
    with journal.transaction() as tx:
        for number in range(2_345):
            tx.append("note" if number % 2 else "equity", {"equity": number, "cash": 0, "text": ""}, VENUE_AT)
    assert [event.sequence for event in journal.events(after=2_000)] == list(range(2_001, 2_346))
    assert sum(1 for _ in journal.events(kinds=["note"])) == 1_172
    assert sum(1 for _ in journal.events(kinds=["equity", "note"], after=45)) == 2_300


def test_a_rare_kind_is_found_by_its_index(journal: Journal) -> None:
    """Looking for rare kinds reads the small partial index, not all events."""
    from athena.journal.journal import RARE

    plan = journal.query(f"EXPLAIN QUERY PLAN SELECT * FROM events WHERE kind IN ('note') AND {RARE} ORDER BY sequence")
    assert "events_rare" in plan[0]["detail"]


@pytest.mark.parametrize("value", [VENUE_AT.replace(tzinfo=None), {1, 2}, object(), {1: "a"}, b"x"])
def test_what_has_no_one_text_is_refused(journal: Journal, value: object) -> None:
    """A naive time, a set, an object, a number as key: an error, and nothing is written."""
    with pytest.raises((TypeError, ValueError)):
        journal.append("note", {"value": value})
    assert journal.head()[0] == 0


@pytest.mark.parametrize("price", [66.5, Decimal("NaN"), "cheap", True, Decimal("Infinity")])
def test_money_is_exact_or_refused(journal: Journal, price: object) -> None:
    """A float, a NaN or a word where money belongs never reaches a table."""
    with pytest.raises(JournalError, match="price"):
        journal.append("fill", fill(price=price))
    assert not journal.query("SELECT * FROM fills")
    assert journal.head()[0] == 0


def test_texts_of_values_are_fixed() -> None:
    """Times have one width and come back; Decimals keep their digits in plain notation; JSON is canonical."""
    at = datetime(2020, 3, 9, 9, 30, tzinfo=UTC)
    assert to_text(at) == "2020-03-09T09:30:00.000000Z"
    assert from_text(to_text(at)) == at
    assert [decimal_text(Decimal(d)) for d in ("1E-8", "1E+3", "1.50", "-0.000000001")] == [
        "0.00000001", "1000", "1.50", "-0.000000001",
    ]  # fmt: skip
    assert encode(plain({"b": date(2020, 3, 9), "a": (1, None, True)})) == '{"a":[1,null,true],"b":"2020-03-09"}'


def test_a_transaction_is_one_commit(journal: Journal) -> None:
    """Events and their rows of a failed transaction all vanish; the chain goes on from before it."""
    journal.append("note", {"text": "kept"})
    with pytest.raises(ZeroDivisionError), journal.transaction() as tx:  # noqa: PT012  # the context is what is tested
        tx.append("order.intended", intended())
        raise ZeroDivisionError("the decision failed")
    assert journal.head()[0] == 1
    assert journal.one("SELECT * FROM orders") is None
    assert journal.append("note", {"text": "next"}).sequence == 2
    assert journal.verify().ok


def test_half_an_append_is_never_committed(journal: Journal) -> None:
    """Swallowing an append's error inside the transaction does not save the rest of it."""
    with pytest.raises(JournalError, match="none of it was kept"), journal.transaction() as tx:  # noqa: PT012
        tx.append("note", {"text": "before"})
        with pytest.raises(JournalError, match="not a kind"):
            tx.append("order.imagined", {})
    assert journal.head()[0] == 0


def test_transactions_do_not_nest_and_end(journal: Journal) -> None:
    """A second transaction in the same thread, and the use of one that is over, are clear errors."""
    with journal.transaction() as tx:
        with pytest.raises(JournalError, match="do not nest"):
            journal.append("note", {})
        tx.append("note", {"text": "still works"})
    with pytest.raises(JournalError, match="over"):
        tx.append("note", {})
    assert journal.head()[0] == 1


def test_a_missing_key_names_itself(journal: Journal) -> None:
    """An event that lacks what its table needs says which key."""
    with pytest.raises(JournalError, match=r"halt\.cleared needs 'id'"):
        journal.append("halt.cleared", {})


def test_threads_share_a_journal(journal: Journal) -> None:
    """Four threads append and read at once; every event has its place in one unbroken chain."""

    def work(name: str) -> None:
        for number in range(50):
            journal.append("note", {"text": f"{name} {number}"})
            journal.one("SELECT count(*) FROM events")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert journal.head()[0] == 200
    assert journal.verify().ok


def test_reading_sees_one_moment(journal: Journal, path: Path) -> None:
    """Within `reading`, another connection's commit stays unseen; after it, it is there."""
    with Journal.open(path, "engine") as other, journal.reading():
        assert journal.head()[0] == 0
        other.append("note", {})
        assert journal.head()[0] == 0
    assert journal.head()[0] == 1


def test_changed_tells_of_others_commits_only(journal: Journal, path: Path) -> None:
    """`changed` is silent about own commits and speaks once of another connection's."""
    journal.append("note", {})
    assert not journal.changed()
    with Journal.open(path, "engine") as other:
        other.append("note", {})
    assert journal.changed()
    assert not journal.changed()


def test_opening_a_current_journal_needs_only_the_standard_library(journal: Journal, path: Path) -> None:
    """A halt's path: open and append import no SQLAlchemy, alembic, pandas or numpy."""
    journal.close()
    code = (
        "import sys; from athena.journal import Journal; j = Journal.open(sys.argv[1], 'operator bob');"
        "j.append('note', {'text': 'quick'}); j.close();"
        "print(sorted({'sqlalchemy', 'alembic', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_telemetry_keeps_the_latest_only(journal: Journal) -> None:
    """Heartbeats keep when their component started; a print never makes an old quote look young."""
    journal.heartbeat("engine", {"quotes": 1, "rate": 2.5}, VENUE_AT)
    first = journal.one("SELECT * FROM heartbeats")
    journal.heartbeat("engine", {"quotes": 2}, VENUE_AT)
    second = journal.one("SELECT * FROM heartbeats")
    assert first
    assert second
    assert second["started_at"] == first["started_at"]
    assert second["at"] >= first["at"]
    later = VENUE_AT.replace(minute=5)
    quote = Quote("KO", Decimal("55.10"), Decimal("55.12"), Decimal(100), Decimal(200), VENUE_AT)
    journal.put_marks([quote], [Trade("KO", Decimal("55.11"), Decimal(5), later)])
    row = journal.one("SELECT * FROM marks")
    assert row
    assert (row["bid"], row["last"], row["venue_at"]) == ("55.10", "55.11", to_text(VENUE_AT))
    assert journal.head()[0] == 0


def test_an_account_is_bound_once(journal: Journal) -> None:
    """Binding the same account again changes nothing; another account is refused with what to do."""
    journal.append("account.bound", bound(), VENUE_AT)
    journal.append("account.bound", bound(cash=Decimal(5), equity=Decimal(5)), VENUE_AT)
    row = journal.one("SELECT * FROM account")
    assert row
    assert row["opening_cash"] == "100000"
    with pytest.raises(JournalError, match="belongs to account PA1") as refusal:
        journal.append("account.bound", bound(account_number="PA2"))
    assert "ATHENA_ACCOUNT" in refusal.value.hint


def test_every_kind_folds_to_the_same_rows(journal: Journal) -> None:
    """Folding the events again gives exactly the tables that were written along the way, for every kind."""
    from athena.journal.entry import PROJECTIONS

    for kind, payload in EVERY_KIND:
        journal.append(kind, payload, VENUE_AT)
    assert {kind for kind, _ in EVERY_KIND} == set(PROJECTIONS)
    assert journal.rebuild(check_only=True).differences == ()
    assert str(journal.verify()).startswith(f"{len(EVERY_KIND)} events, the chain and every table hold")


def test_rebuild_puts_altered_tables_right(journal: Journal) -> None:
    """Rows changed, lost or invented behind the journal's back are named, and replaced by what the events say."""
    for kind, payload in EVERY_KIND:
        journal.append(kind, payload, VENUE_AT)
    before = [dict(row) for row in journal.query("SELECT * FROM orders ORDER BY client_order_id")]
    raw = sqlite3.connect(journal.path)
    raw.execute("UPDATE orders SET status = 'canceled' WHERE client_order_id = 'c1'")
    raw.execute("DELETE FROM fills WHERE execution_id = 'x2'")
    raw.execute("UPDATE guard SET mode = 'active', epoch = 99")
    raw.commit()
    raw.close()
    found = journal.verify()
    assert not found.ok
    assert found.first_broken is None
    assert {(d.table, d.key) for d in found.differences} == {("orders", "c1"), ("fills", "x2"), ("guard", "1")}
    assert "orders c1: status is 'canceled', the events say 'filled'" in str(found)
    assert journal.rebuild().replaced
    assert [dict(row) for row in journal.query("SELECT * FROM orders ORDER BY client_order_id")] == before
    assert journal.verify().ok
