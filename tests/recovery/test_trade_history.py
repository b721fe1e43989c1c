"""Several sources as one table: agreement is quiet, contradiction is loud and never settled in silence."""

from decimal import Decimal

import pytest

from athena.core.trade_history import COLUMNS, Source, journal_trades, merge, read_file, write_file
from athena.errors import SettingsError
from athena.journal import Journal
from tests.journal import facts


def trade(identity="x1", **changes):
    whole = dict.fromkeys(COLUMNS, "") | {
        "execution_id": identity, "at": "2020-03-09T14:00:00.000000Z", "symbol": "AAPL", "side": "buy",
        "quantity": "10", "price": "66.5", "fee": "0",
    }  # fmt: skip
    return whole | changes


def test_agreeing_sources_become_one_row_with_all_that_any_of_them_knows():
    """The broker's order id from one, the client's from the other."""
    found = merge([Source("a", [trade(broker_order_id="b1")]), Source("b", [trade(client_order_id="c1"), trade("x2")])])
    assert [(t["execution_id"], t["broker_order_id"], t["client_order_id"], t["sources"]) for t in found.trades] == [
        ("x1", "b1", "c1", "a+b"),
        ("x2", "", "", "b"),
    ]
    assert found.alone == {"a": [], "b": ["x2"]}
    assert not found.conflicts


def test_a_contradiction_is_shown_and_left_out_until_an_operator_prefers_a_source():
    """Neither source's word is taken by default."""
    sources = [Source("a", [trade()]), Source("b", [trade(price="66.6")])]
    found = merge(sources)
    assert found.trades == []
    assert found.conflicts[0].fields == ("price",)
    chosen = merge(sources, prefer="b")
    assert [t["price"] for t in chosen.trades] == ["66.6"]
    assert chosen.conflicts[0].chosen == "b"


def test_one_source_that_contradicts_itself_is_a_conflict_and_a_repetition_is_not():
    """Told twice alike counts once; told twice differently counts not at all."""
    found = merge([Source("a", [trade(), trade(), trade("x2"), trade("x2", side="sell")])])
    assert [t["execution_id"] for t in found.trades] == ["x1"]
    assert found.repeated == {"a": 2}
    assert found.conflicts[0].execution_id == "x2"


def test_trades_without_an_id_are_kept_and_lookalikes_named():
    """A statement without execution ids may tell the same trade again: both stay in, and it is said."""
    found = merge(
        [Source("a", [trade()]), Source("statement", [trade(""), trade("", at="2020-03-09T15:00:00.000000Z")])]
    )
    assert len(found.trades) == 3
    assert len(found.lookalikes) == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_hold_exact_text_and_are_the_same_bytes_again(tmp_path, suffix):
    """Nothing is rounded, and writing the same trades again changes no byte."""
    path = tmp_path / f"t.{suffix}"
    rows = [trade(price="0.00000001"), trade("x2", quantity="0.123456789")]
    write_file(path, rows)
    before = path.read_bytes()
    assert read_file(path) == rows
    write_file(path, rows)
    assert path.read_bytes() == before


def test_a_statement_with_its_own_headings_is_read_and_a_time_without_a_zone_is_not(tmp_path):
    """What cannot be known is asked for, naming file and row."""
    path = tmp_path / "statement.csv"
    path.write_text('Trade_ID,Time,Ticker,Action,Qty,Price\n1,2020-03-09 10:00:00,aapl,BOT,"1,000",$66.50\n')
    with pytest.raises(SettingsError, match=r"row 2.*no time zone"):
        read_file(path)
    row = read_file(path, "America/New_York")[0]
    assert (row["at"], row["symbol"], row["side"]) == ("2020-03-09T14:00:00.000000Z", "AAPL", "buy")
    assert (row["quantity"], row["price"]) == ("1000", "66.5")
    path.write_text("time,symbol\n")
    assert read_file(path) == []
    path.write_text("time,symbol\n1,2\n")
    with pytest.raises(SettingsError, match="no column for side, quantity, price"):
        read_file(path)


def test_the_journals_fills_are_trades_and_its_corrections_are_not(tmp_path):
    """A correction is no execution."""
    with Journal.open(tmp_path / "j.sqlite3", "engine") as journal:
        journal.append("fill", facts.fill(quantity=Decimal("10.0")))
        journal.append("correction", {"symbol": "KO", "quantity": Decimal(1), "price": Decimal(1), "reason": "x"})
        assert [(t["execution_id"], t["quantity"]) for t in journal_trades(journal)] == [("x1", "10")]
