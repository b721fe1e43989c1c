"""The state as of a time is the fold stopped there; corrections make the books equal the venue's, by events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.core.comparison import CASH_TOLERANCE
from athena.core.curve import rebuild_curve
from athena.core.portfolio import Portfolio
from athena.core.restore import as_of, corrections, fold_until
from athena.errors import JournalError
from athena.journal import Journal
from athena.journal.projections import TABLES
from athena.model import Position
from athena.ops.data_metrics import day_metrics
from athena.playbooks import sources
from tests.journal import facts

START = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)


def append(journal, number, what, minutes):
    """One event of a small trading life at START + minutes."""
    at = START + timedelta(minutes=minutes)
    if what == "order":
        journal.append("order.intended", facts.intended(f"c{number}", symbol="KO"), at)
    elif what == "fill":
        side = "buy" if number % 3 else "sell"
        told = facts.fill(f"x{number}", f"c{number - 1}", at=at, side=side, quantity=Decimal(number % 5 + 1))
        journal.append("fill", told, at)
    elif what == "halt":
        journal.append("halt.set", facts.halt(f"h{number}"), at)
    elif what == "limit":
        limit = {"name": "max_orders_per_minute", "target": "", "value": number, "by": "a", "reason": ""}
        journal.append("limit.set", limit)
    elif what == "cash":
        journal.append("cash_flow", {"id": f"f{number}", "kind": "CSD", "amount": Decimal(number), "at": at}, at)
    else:
        journal.append(
            "correction",
            {"symbol": "XOM", "quantity": Decimal(-number or 1), "price": Decimal(40), "reason": "test"},
            at,
        )


def tables(journal):
    return {table: [tuple(row) for row in journal.query(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in TABLES}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["order", "fill", "halt", "limit", "cash", "correct"]), st.integers(0, 9)),
        max_size=25,
    ),
    st.integers(0, 120),
)
def test_the_state_as_of_a_time_is_what_a_journal_that_ended_there_holds(tmp_path_factory, life, asked):
    """Every table, for any life and any time: a prefix folded equals the journal when that prefix was all of it."""
    path = tmp_path_factory.mktemp("restore") / "journal.sqlite3"
    moment, minutes, expected = START + timedelta(minutes=asked), 0, None
    with Journal.open(path, "engine") as journal:
        journal.append("account.bound", facts.bound(), START)
        sequence = 1
        for number, (what, pause) in enumerate(life, 1):
            minutes += pause
            timed = what != "limit"
            if expected is None and timed and minutes > asked:
                expected = tables(journal), sequence
            append(journal, number, what, minutes)
            sequence += 1
        expected = expected or (tables(journal), sequence)
        state = as_of(journal, moment)
        with fold_until(journal, state.sequence) as then:
            assert (tables(then), state.sequence) == expected
            assert state.portfolio.cash == Portfolio.from_journal(then).cash


def test_late_fills_are_named_and_not_counted(tmp_path):
    """What was journaled afterwards of before is shown apart: the state is what was known then."""
    with Journal.open(tmp_path / "j.sqlite3", "engine") as journal:
        journal.append("account.bound", facts.bound(), START)
        journal.append("fill", facts.fill("x1", at=START + timedelta(minutes=1)), START + timedelta(minutes=1))
        journal.append("note", {"text": "later"}, START + timedelta(hours=1))
        journal.append("fill", facts.fill("x2", at=START + timedelta(minutes=2)), START + timedelta(hours=1))
        state = as_of(journal, START + timedelta(minutes=30))
        assert [row["execution_id"] for row in state.late] == ["x2"]
        assert state.portfolio.position("AAPL").quantity == 10
        with pytest.raises(JournalError, match="knows nothing"):
            as_of(journal, START - timedelta(days=1))


@pytest.mark.parametrize("other", [5, 3, 8])
def test_shares_that_change_sides_enter_at_the_venues_price(other):
    """Short here, long at the venue: what leaves has the price it cost us, what comes the price it cost there."""
    ours = Portfolio(Decimal(0), [Position("A", Decimal(-5), Decimal(40))])
    made = corrections(ours, [Position("A", Decimal(other), Decimal(70))], Decimal(0))
    shares = [(one.payload["quantity"], one.payload["price"]) for one in made if "symbol" in one.payload]
    assert shares == [(5, 40), (other, 70)]


@pytest.mark.parametrize(("cents", "corrected"), [("0.004", []), ("-0.01", []), ("0.011", [Decimal("0.011")])])
def test_a_fraction_of_a_cent_is_no_difference_to_correct(cents, corrected):
    """A venue rounds the dollars of fractional shares: what a reconciliation calls agreement needs no correction."""
    ours = Portfolio(Decimal("916.70671"), [Position("A", Decimal("0.333"), Decimal("250.13"))])
    made = corrections(ours, ours.positions(), ours.cash + Decimal(cents))
    assert [one.payload["cash"] for one in made] == corrected


def test_money_of_an_evening_or_a_weekend_is_no_profit_of_any_day(tmp_path):
    """It is in the first reading after it came: Monday's, whatever day the calendar has."""
    friday, monday = datetime(2020, 3, 6, 21, tzinfo=UTC), datetime(2020, 3, 9, 20, tzinfo=UTC)
    names = ("equity", "cash", "realised_pnl", "unrealised_pnl")
    with Journal.open(tmp_path / "journal.sqlite3", "engine") as journal:
        amounts = dict.fromkeys(("cash", "equity"), Decimal(1000))
        journal.append("account.bound", facts.bound(**amounts), friday - timedelta(hours=6))
        journal.append("equity", dict.fromkeys(names, Decimal(1000)) | {"marks": {}}, friday)
        for number, at in enumerate((friday + timedelta(minutes=30), friday + timedelta(days=1)), 1):
            flow = {"id": f"f{number}", "kind": "CSD", "amount": Decimal(500), "at": at, "description": ""}
            journal.append("cash_flow", flow, at)
        journal.append("equity", dict.fromkeys(names, Decimal(2000)) | {"marks": {}}, monday)
        assert [(day.trading_date, day.pnl) for day in day_metrics(journal)] == [("2020-03-06", 0), ("2020-03-09", 0)]
        flows = sources._flows(journal, "2020-03-09")
        assert set(map(str, flows["trading_date"])) == {"2020-03-09"}
        assert sources._flows(journal, "2020-03-06").empty


SHARES = st.integers(-30, 30).map(Decimal)
PRICE = st.integers(100, 9999).map(lambda cents: Decimal(cents) / 100)


@settings(max_examples=60, deadline=None)
@given(
    ours=st.lists(st.tuples(st.sampled_from("ABC"), SHARES.filter(bool), PRICE), max_size=6),
    theirs=st.dictionaries(st.sampled_from("ABC"), st.tuples(SHARES.filter(bool), PRICE), max_size=3),
    cash=st.integers(0, 10**7).map(lambda cents: Decimal(cents) / 100),
)
def test_corrections_make_shares_and_cash_equal_the_venues_and_invent_no_profit(tmp_path_factory, ours, theirs, cash):
    """For any books and any venue, flips included, folding the corrections gives the venue's shares and cash."""
    path = tmp_path_factory.mktemp("correct") / "journal.sqlite3"
    venue = [Position(symbol, shares, price) for symbol, (shares, price) in theirs.items()]
    with Journal.open(path, "engine") as journal:
        journal.append("account.bound", facts.bound(), START)
        for number, (symbol, shares, price) in enumerate(ours):
            side = "buy" if shares > 0 else "sell"
            told = facts.fill(f"x{number}", f"c{number}", symbol=symbol, side=side, quantity=abs(shares), price=price)
            journal.append("fill", told, START)
        before = Portfolio.from_journal(journal)
        for one in corrections(before, venue, cash):
            journal.append(one.kind, {**one.payload, "reason": "test"}, START + timedelta(minutes=1))
        after = Portfolio.from_journal(journal)
        assert {p.symbol: p.quantity for p in after.positions()} == {p.symbol: p.quantity for p in venue}
        assert abs(after.cash - cash) <= CASH_TOLERANCE
        assert abs(after.realised_pnl - before.realised_pnl) < Decimal("0.0001")
        assert corrections(after, venue, after.cash) == []
        assert journal.rebuild(check_only=True).differences == ()


def test_a_fill_taken_in_late_moves_the_points_it_belongs_to_and_only_those(tmp_path):
    """The curve worked out again has it from its time on; what was on its way for seconds is no difference."""
    with Journal.open(tmp_path / "j.sqlite3", "engine") as journal:
        journal.append("account.bound", facts.bound(), START)
        marks = {"AAPL": Decimal("70")}

        def point(minutes, equity, cash):
            amounts = {"equity": Decimal(equity), "cash": Decimal(cash), "realised_pnl": 0, "unrealised_pnl": 0}
            journal.append("equity", {**amounts, "marks": marks}, START + timedelta(minutes=minutes))

        point(1, 100_000, 100_000)
        point(3, 100_000, 100_000)
        told = facts.fill("x1", at=START + timedelta(minutes=2), quantity=Decimal(10), price=Decimal(65))
        sequence = journal.append("fill", told, START + timedelta(minutes=4)).sequence
        point(5, 100_050, 99_350)
        assert [one.differs for one in rebuild_curve(journal)] == [False, False, False]
        # The same fill, journaled an hour later by the machine's clock. (The table is what the curve reads.)
        hour = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        journal._connection.execute("UPDATE fills SET recorded_at = ? WHERE sequence = ?", (hour, sequence))
        found = list(rebuild_curve(journal))
        assert [one.differs for one in found] == [False, True, False]
        assert found[1].difference == Decimal(50)
