"""Closed days in Parquet: what is written, what is noticed, and that nothing is read twice."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from athena.analysis.execution import slippage, with_slippage
from athena.cli import main
from athena.config import Settings
from athena.core import frames
from athena.core.archive import Archived, State, archive_days
from athena.core.archive_files import FOLDER, manifests
from athena.core.archive_tables import TABLES, columns
from athena.core.history_query import fill_statistics, query, trade_history
from athena.errors import JournalError, SettingsError
from athena.journal import Journal
from athena.journal.schema import metadata
from tests.journal.facts import VENUE_AT, bound, fill, intended, refused, updated

MONDAY = date(2020, 3, 9)
DAYS = [MONDAY, MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)]
TODAY = DAYS[-1]


@pytest.fixture
def traded(journal: Journal) -> Journal:
    """Three days: orders, fills with and without quotes at every scale, equity, violations, one correction."""
    rng = np.random.default_rng(3)
    with journal.transaction() as tx:
        tx.append("account.bound", bound(), VENUE_AT)
        for number in range(90):
            at = VENUE_AT + timedelta(days=number // 30, minutes=7 * (number % 30))
            price, side = Decimal(str(round(60 + float(rng.normal()), 4))), ("buy", "sell")[number % 2]
            quoted = {"bid": None, "ask": None} if number % 9 == 0 else {}
            facts = {"symbol": ("AAPL", "XOM")[number % 3 == 0], "side": side, "quantity": Decimal("10.000000001")}
            tx.append("order.intended", intended(f"c{number}", decided_at=at, **facts), at)
            tx.append("fill", fill(f"x{number}", f"c{number}", price=price, at=at, **facts, **quoted), at)
            tx.append("equity", {"equity": 100_000 + number, "cash": Decimal("1.10"), "marks": {}}, at)
        tx.append("order.refused", refused("r1", quantity="lots", limit_price="NaN", decided_at="soon"), VENUE_AT)
        tx.append("correction", {"symbol": "KO", "quantity": Decimal(5), "price": Decimal(55), "reason": "x"}, VENUE_AT)
    return journal


def archive(journal: Journal, settings: Settings, only: date | None = None, **also: bool) -> list[Archived]:
    return list(archive_days(journal, settings.folder, TODAY, only, **also))


def part(settings: Settings, table: str, day: date) -> Path:
    return settings.folder / FOLDER / table / f"date={day}" / "part.parquet"


def test_archive_and_todays_journal_read_as_one_history(traded: Journal, settings: Settings) -> None:
    """Two days of Parquet and today's journal are the same fills, types and all, as the journal alone."""
    done = archive(traded, settings)
    assert [(one.trading_date, one.written) for one in done] == [(str(day), True) for day in DAYS[:2]]
    pd.testing.assert_frame_equal(trade_history(settings=settings), frames.fills(traded), check_dtype=False)
    kinds = [(name, dtype.kind) for name, dtype in trade_history(settings=settings).dtypes.items()]
    assert kinds == [(name, dtype.kind) for name, dtype in frames.fills(traded).dtypes.items()]
    for day in DAYS:
        cut = trade_history(day, str(day), settings)
        assert set(cut["execution_id"]) == set(frames.fills(traded, day=day)["execution_id"])
    for table in TABLES:
        counted = query(f"SELECT count(*) AS n FROM {table}", settings=settings)["n"][0]
        assert counted == len(
            getattr(frames, table)(traded) if table != "orders" else traded.query("SELECT 1 FROM orders")
        )


def test_amounts_are_archived_to_the_last_digit_and_columns_are_the_journals(
    traded: Journal, settings: Settings
) -> None:
    """Exact text beside floats; nonsense that was refused is null; the schema is the journal's, column by column."""
    archive(traded, settings)
    rows = pq.read_table(part(settings, "fills", MONDAY), partitioning=None).to_pylist()
    stored = {row["execution_id"]: row for row in traded.query("SELECT * FROM fills WHERE trading_date = '2020-03-09'")}
    assert {row["execution_id"]: row["price_exact"] for row in rows} == {k: row["price"] for k, row in stored.items()}
    assert {row["quantity_exact"] for row in rows} == {"10.000000001", "5"}
    assert rows[0]["at"] == VENUE_AT
    assert rows[0]["hour"] == 10
    nonsense = query("SELECT * FROM orders WHERE client_order_id = 'r1'", settings=settings).iloc[0]
    assert nonsense["quantity_exact"] == "lots"
    assert all(pd.isna(nonsense[name]) for name in ("quantity", "limit_price", "decided_at"))
    for table in TABLES:
        assert set(columns(table)) == set(metadata.tables[table].columns.keys())


def test_a_running_day_is_never_archived_and_a_closed_one_only_once(traded: Journal, settings: Settings) -> None:
    """Asking for it by name is refused; a second run writes nothing."""
    with pytest.raises(JournalError, match="not over"):
        archive(traded, settings, TODAY)
    archive(traded, settings)
    times = [path.stat().st_mtime_ns for path in sorted((settings.folder / FOLDER).rglob("*.*"))]
    assert [(one.before, one.written) for one in archive(traded, settings, thorough=True)] == [
        (State.CURRENT, False)
    ] * 2
    assert [path.stat().st_mtime_ns for path in sorted((settings.folder / FOLDER).rglob("*.*"))] == times
    assert not part(settings, "fills", TODAY).exists()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("fill", fill("late", "c3", at=VENUE_AT, quantity=Decimal(1))),
        ("order.updated", updated("c3", status="canceled", error="late")),
        ("equity.corrected", {"sequence": 4, "equity": 1, "cash": 1, "realised_pnl": 0, "unrealised_pnl": 0}),
    ],
    ids=["late fill", "order that changed", "corrected equity"],
)
def test_only_the_day_with_late_news_is_read_from_the_journal_and_archived_again(
    traded: Journal, settings: Settings, kind: str, payload: dict[str, object]
) -> None:
    """News of an archived day is in every answer at once, counted once, before and after it is archived anew."""
    archive(traded, settings)
    traded.append(kind, payload, VENUE_AT + timedelta(days=2))
    parts = ("sum(quantity) FROM fills", "sum(equity) FROM equity", "count(error) FROM orders")
    sums = "SELECT " + ", ".join(f"(SELECT {part})" for part in parts)
    expected = [
        frames.fills(traded)["quantity"].sum(), frames.equity(traded)["equity"].sum(),
        traded.query("SELECT count(error) FROM orders")[0][0],
    ]  # fmt: skip
    assert query(sums, settings=settings).iloc[0].tolist() == pytest.approx(expected)
    again = archive(traded, settings)
    assert [(one.before, one.written) for one in again] == [(State.GREW, True), (State.CURRENT, False)]
    assert query(sums, settings=settings).iloc[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("harm", ["altered", "cut", "missing"])
def test_a_harmed_file_is_noticed_and_mended_from_the_journal(
    traded: Journal, settings: Settings, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    """Reading stops with the file's name; the command writes the day anew and says so with exit 10."""
    archive(traded, settings)
    path = part(settings, "fills", MONDAY)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if harm == "missing" else path.write_bytes(content[:-9] if harm == "cut" else content)
    with pytest.raises(JournalError, match="parquet is"):
        trade_history(settings=settings)
    assert main(["archive-trades", "--home", str(settings.home), "--account", settings.account_name, "--json"]) == 10
    told = json.loads(capsys.readouterr().out)
    assert [day["before"] for day in told["days"]][:2] == ["files harmed", "archived"]
    pd.testing.assert_frame_equal(trade_history(settings=settings), frames.fills(traded), check_dtype=False)


def test_a_file_copied_back_from_a_backup_is_accepted(traded: Journal, settings: Settings) -> None:
    """Another time on the same content is no harm."""
    archive(traded, settings)
    os.utime(part(settings, "fills", MONDAY), (1, 1))
    assert len(trade_history(settings=settings)) == 91


def test_a_change_that_keeps_size_and_time_is_found_when_all_is_checked(traded: Journal, settings: Settings) -> None:
    """`--all` hashes every file, for what a file's size and time do not show."""
    archive(traded, settings)
    path = part(settings, "orders", MONDAY)
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [one.before for one in archive(traded, settings)] == [State.CURRENT] * 2
    assert [one.before for one in archive(traded, settings, thorough=True)] == [State.HARMED, State.CURRENT]


def test_a_journal_that_lost_rows_neither_overwrites_the_archive_nor_hides_it(
    traded: Journal, settings: Settings, tmp_path: Path
) -> None:
    """With an empty journal in place of the old one, archived days are still read, kept, and reported."""
    archive(traded, settings)
    other = Settings(home=tmp_path / "other", operator="alice")
    with Journal.open(other.journal_path, "engine") as empty:
        (settings.folder / FOLDER).rename(other.folder / FOLDER)
        assert [(one.before, one.written) for one in archive(empty, other)] == [(State.BEHIND, False)] * 2
        assert len(trade_history(settings=other)) == 61
        part(other, "fills", MONDAY).unlink()
        with pytest.raises(JournalError, match="backup"):
            trade_history(settings=other)


def test_what_a_crash_left_half_done_is_no_part_of_the_archive(traded: Journal, settings: Settings) -> None:
    """Files without a manifest are not read; the next run writes the day."""
    archive(traded, settings)
    (settings.folder / FOLDER / "manifests" / f"{MONDAY}.json").unlink()
    part(settings, "fills", MONDAY).write_bytes(b"half")
    pd.testing.assert_frame_equal(trade_history(settings=settings), frames.fills(traded), check_dtype=False)
    assert [one.before for one in archive(traded, settings)] == [State.NEW, State.CURRENT]
    assert len(manifests(settings.folder / FOLDER)) == 2


def test_statistics_are_those_of_the_analysis(traded: Journal, settings: Settings) -> None:
    """Counts, dollars and weighted bps equal `analysis.execution.slippage`, percentiles equal numpy's."""
    archive(traded, settings)
    keys = ["symbol", "side", "hour"]
    fills = frames.fills(traded)
    fills = fills[fills["source"] != "correction"]
    priced = with_slippage(fills.assign(hour=fills["at"].dt.tz_convert("America/New_York").dt.hour))
    expected = slippage(priced, keys).sort_values(keys, ignore_index=True)
    found = fill_statistics(settings=settings)
    for name in (*keys, "fills", "unmeasured", "notional_usd", "cost_usd", "cost_bps", "median_bps"):
        assert found[name].tolist() == pytest.approx(expected[name].tolist(), nan_ok=True), name
    low = priced.groupby(keys)["cost_bps"].quantile(0.05).tolist()
    assert found["p05_bps"].tolist() == pytest.approx(low, nan_ok=True)
    assert fill_statistics(MONDAY, MONDAY, settings, by=["strategy"])["fills"].tolist() == [26]


def test_a_query_only_reads_history(traded: Journal, settings: Settings, tmp_path: Path) -> None:
    """No writing, no other files, no second statement; what is wrong is said with what there is."""
    archive(traded, settings)
    (tmp_path / "other.csv").write_text("a\n1\n")
    for sql in (
        "COPY fills TO 'x.csv'", "SELECT 1; SELECT 2", "SELECT nothing FROM fills", "SELECT FROM WHERE",
        f"SELECT * FROM '{tmp_path / 'other.csv'}'", "DROP VIEW fills",
    ):  # fmt: skip
        with pytest.raises(SettingsError):
            query(sql, settings=settings)
    with pytest.raises(SettingsError, match="symbol"):
        fill_statistics(settings=settings, by=["symbl"])
    for wrong in ("9 March", datetime(2020, 3, 9)):  # noqa: DTZ001  # a time is no date
        with pytest.raises(SettingsError, match="not a trading date"):
            trade_history(wrong, settings=settings)
    with pytest.raises(SettingsError, match="after the end"):
        trade_history(TODAY, MONDAY, settings)


def test_nothing_to_read_is_said(settings: Settings, journal: Journal, tmp_path: Path) -> None:
    """An empty journal gives empty tables with their columns; no journal is an error."""
    assert list(trade_history(settings=settings).columns) == list(frames.fills(journal).columns)
    assert fill_statistics(settings=settings).empty
    with pytest.raises(JournalError, match="no journal"):
        trade_history(settings=Settings(home=tmp_path / "none"))


def test_the_command_waits_for_the_close_and_for_open_orders(
    traded: Journal, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The venue's time decides: running until the session closes, then until no order is open or 20:00 is past."""
    command = ["archive-trades", "--home", str(settings.home), "--account", settings.account_name]
    at = datetime.fromisoformat("2020-03-11T20:01:00+00:00")  # 16:01 in New York
    assert main(command) == 0
    assert "waits for its close at 16:00" in capsys.readouterr().out
    assert main([*command, "--date", "2020-03-11"]) == 2
    assert "running day" in capsys.readouterr().err
    assert main([*command, "--date", "2020-03-12"]) == 2
    traded.append("order.intended", intended("open"), at)
    traded.heartbeat("engine", {}, at)
    capsys.readouterr()
    assert main(command) == 0
    assert "1 orders are open" in capsys.readouterr().out
    traded.append("order.updated", updated("open", status="canceled"), at)
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "1 of 3 closed days archived" in out
    assert "2020-03-11" in out
    assert main([*command, "--date", "2020-03-07"]) == 2
    assert main([*command, "--date", "2020-03-09", "--all"]) == 2


def test_one_archiver_at_a_time(traded: Journal, settings: Settings) -> None:
    """A second one is told so instead of writing beside the first."""
    working = archive_days(traded, settings.folder, TODAY)
    next(working)
    with pytest.raises(JournalError, match="another archive-trades"):
        archive(traded, settings)
    assert len(list(working)) == 1


def test_a_day_archived_with_fewer_columns_is_read_and_archived_anew(traded: Journal, settings: Settings) -> None:
    """After a migration the journal speaks for the day; where it cannot, the old file is read, its new column null."""
    archive(traded, settings)
    path, card = (part(settings, "fills", MONDAY), settings.folder / FOLDER / "manifests" / f"{MONDAY}.json")
    old = pq.read_table(path, partitioning=None).drop_columns(["source"])
    pq.write_table(old, path)
    facts, stat = json.loads(card.read_text()), path.stat()
    facts["tables"]["fills"] |= {"version": "15 columns", "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    card.write_text(json.dumps(facts))
    assert trade_history(settings=settings)["source"].notna().all()
    facts["tables"]["fills"]["rows"] = 99  # more than the journal has: the archive speaks
    card.write_text(json.dumps(facts))
    assert trade_history(settings=settings)["source"].isna().sum() == 31
    facts["tables"]["fills"]["rows"] = 31
    card.write_text(json.dumps(facts))
    assert [one.before for one in archive(traded, settings)] == [State.GREW, State.CURRENT]
