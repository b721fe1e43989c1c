"""Several sources as one table: agreement is quiet, contradiction is loud and never settled in silence."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from athena.config import Settings
from athena.core.trade_history import COLUMNS, Source, journal_trades, merge, read_file, write_file
from athena.errors import SettingsError
from athena.journal import Journal
from athena.live.brokers.alpaca import AlpacaBroker
from athena.model import Clock
from athena.ops import data_trades
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


def test_times_cut_differently_are_one_time_and_a_minute_apart_is_a_contradiction():
    """A venue's stream tells microseconds, its list milliseconds, a statement seconds."""
    cut = [trade(at=f"2020-03-09T14:00:00.{rest}Z") for rest in ("977812", "977000", "000000")]
    assert not merge([Source(name, [one]) for name, one in zip("abc", cut, strict=True)]).conflicts
    late = trade(at="2020-03-09T14:01:00.977812Z")
    assert merge([Source("a", [cut[0]]), Source("b", [late])]).conflicts[0].fields == ("at",)


class Venue:
    """A venue that has one execution, busted afterwards."""

    async def get_clock(self):
        at = datetime(2020, 3, 9, 20, tzinfo=UTC)
        return Clock(at, True, at, at)

    async def get_account(self):
        return SimpleNamespace(account_number=self.number)

    async def _get(self, what, path, query):
        if query["date"] != "2020-03-09":
            return []
        told = {"order_id": "b1", "symbol": "AAPL", "side": "buy", "qty": "10", "price": "66.5", "cum_qty": "10"}
        told |= {"id": "20200309100000000::u1", "transaction_time": "2020-03-09T14:00:00Z", "type": "fill"}
        bust = told | {"id": "20200309110000000::u2", "type": "trade_bust", "cum_qty": "0", "previous_id": "u1"}
        return [told, bust]

    async def close(self):
        pass


def test_a_bust_is_no_second_trade_and_another_accounts_trades_are_not_downloaded(tmp_path, monkeypatch):
    """The files hold executions of the journal's account, and say how many were taken back afterwards."""
    settings, venue = Settings(home=tmp_path), Venue()
    settings.folder.mkdir(parents=True)
    with Journal.open(settings.journal_path, actor="test") as journal:
        journal.append("account.bound", facts.bound(), facts.VENUE_AT)
        venue.number = journal.one("SELECT account_number FROM account")["account_number"]
    monkeypatch.setattr(AlpacaBroker, "get_instance", lambda settings: venue)

    def download():
        done, *_ = asyncio.run(data_trades._download(settings, tmp_path / "files", 1, "csv", print))
        return done["2020-03-09"]

    assert (download()["trades"], download()["amended"]) == (1, 1)
    venue.number = "PA-ANOTHER"
    with pytest.raises(SettingsError, match="PA-ANOTHER"):
        download()


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
