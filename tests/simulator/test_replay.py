"""The replay tape: a user's own files, checked row by row."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import process_time

import pandas as pd
import pytest

from athena.errors import SimulatorError
from athena.model import NEW_YORK
from athena.simulator import market_files
from athena.simulator.replay import ReplayTape
from athena.simulator.tape import Shock

BARS = """symbol,timestamp,open,high,low,close,volume
SPY,2024-03-04T09:30:00-05:00,512.03,512.50,511.90,512.40,120000
SPY,2024-03-04T09:31:00-05:00,512.40,512.45,512.00,512.10,80001
SPY,2024-03-05T09:30:00-05:00,510.00,510.10,509.50,509.60,90000
"""
QUOTES = """symbol,timestamp,bid,ask,bid_size,ask_size
SPY,2024-03-04T14:30:00Z,512.00,512.02,300,500
SPY,2024-03-04T14:30:00.250Z,512.01,512.02,200,700
SPY,2024-03-04T14:31:00Z,512.10,512.13,100,100
"""


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


def write(folder: Path, text: str, name: str = "market.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_bars_come_back_as_they_were(tmp_path: Path) -> None:
    """Minute bars, and the daily bars and previous close made of them, are those of the file."""
    tape = ReplayTape.from_files([write(tmp_path, BARS)])
    first, second = tape.bars("SPY", at(2024, 3, 4, 9, 30), at(2024, 3, 4, 16), "1Min")
    assert (first.open, first.high, first.low, first.close, first.volume) == (
        Decimal("512.03"), Decimal("512.50"), Decimal("511.90"), Decimal("512.40"), 120_000,
    )  # fmt: skip
    assert (second.at, second.volume) == (at(2024, 3, 4, 9, 31), 80_001)
    (day,) = tape.bars("SPY", at(2024, 3, 4), at(2024, 3, 4, 20), "1Day")
    assert (day.open, day.low, day.close) == (Decimal("512.03"), Decimal("511.90"), Decimal("512.10"))
    assert tape.previous_close("SPY", at(2024, 3, 5, 10)) == Decimal("512.10")
    assert tape.previous_close("SPY", at(2024, 3, 4, 10)) is None


def test_bars_alone_are_quoted_with_the_stated_spread(tmp_path: Path) -> None:
    """Derived quotes lie around the prints, as wide as said, on the tick, and never show a bar's future."""
    tape = ReplayTape.from_files([write(tmp_path, BARS)], spread_bps=Decimal(10))
    found = tape.prices("SPY", at(2024, 3, 4, 9, 30))
    assert found is not None
    assert found.last == Decimal("512.03")
    assert (found.bid, found.ask) == (Decimal("511.77"), Decimal("512.29"))
    assert found.bid_size == found.ask_size == 1200
    prints = tape.trades("SPY", at(2024, 3, 4, 9, 29), at(2024, 3, 4, 9, 30, 59))
    assert [str(t.price) for t in prints] == [
        "512.03",
        "511.90",
        "512.50",
    ]  # it rose: low first; the close is still to come
    with pytest.raises(SimulatorError, match="spread"):
        ReplayTape.from_files([tmp_path / "market.csv"], spread_bps=Decimal("NaN"))


def test_quotes_are_replayed_exactly(tmp_path: Path) -> None:
    """Quotes stand from their own instant on; without bars, prints are their mids."""
    tape = ReplayTape.from_files([write(tmp_path, QUOTES)])
    assert tape.quote("SPY", at(2024, 3, 4, 9, 29)) is None
    found = tape.quote("SPY", at(2024, 3, 4, 9, 30) + timedelta(milliseconds=249))
    assert found is not None
    assert (found.bid, found.bid_size) == (Decimal("512.00"), 300)
    assert len(tape.quotes("SPY", at(2024, 3, 4, 9), at(2024, 3, 4, 10))) == 3
    trade = tape.trade("SPY", at(2024, 3, 4, 9, 30))
    assert trade is not None
    assert (trade.price, trade.size) == (Decimal("512.01"), 0)


def test_quotes_and_bars_of_one_symbol_join(tmp_path: Path) -> None:
    """With both, quotes come from the quotes and prints from the bars; shocks apply as on any tape."""
    tape = ReplayTape.from_files([write(tmp_path, BARS), write(tmp_path, QUOTES, "quotes.csv")])
    found = tape.prices("SPY", at(2024, 3, 4, 9, 30))
    assert found is not None
    assert (found.bid, found.last) == (Decimal("512.00"), Decimal("512.03"))
    tape.add_shock(Shock("SPY", at(2024, 3, 4, 9, 30, 30), at(2024, 3, 4, 9, 30, 40), spread_multiple=20))
    spreads = [tape.quote("SPY", at(2024, 3, 4, 9, 30, second)) for second in (29, 30, 39, 40)]
    assert [str(q.ask - q.bid) for q in spreads if q] == ["0.01", "0.20", "0.20", "0.01"]
    assert tape.assets["SPY"].shortable
    assert not tape.assets["ZZHTB"].shortable


def test_daily_bars_fill_their_session(tmp_path: Path) -> None:
    """A bar at New York's midnight runs from the open to the close of that day, an early close included."""
    rows = "AMD,2024-07-03T00:00:00-04:00,160,166,159,163.5,4000\nAMD,2024-07-05T00:00:00-04:00,164,172,163,171,8000\n"
    tape = ReplayTape.from_files([write(tmp_path, "symbol,timestamp,open,high,low,close,volume\n" + rows)])
    morning, evening = tape.trade("AMD", at(2024, 7, 3, 9, 30)), tape.trade("AMD", at(2024, 7, 3, 13))
    assert morning is not None
    assert evening is not None
    assert (morning.price, evening.price) == (160, Decimal("163.5"))
    assert [bar.close for bar in tape.bars("AMD", at(2024, 7, 1), at(2024, 7, 6), "1Day")] == [Decimal("163.50"), 171]


def test_parquet_and_alpacas_own_names_are_read(tmp_path: Path) -> None:
    """A Parquet file with typed columns and alpaca-py's column names gives the same market as the CSV."""
    frame = pd.read_csv(write(tmp_path, QUOTES)).rename(columns={"bid": "bid_price", "ask": "ask_price"})
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], format="ISO8601")
    frame.assign(tape="A", conditions="R").to_parquet(tmp_path / "market.parquet", index=False)
    parquet, text = (ReplayTape.from_files([tmp_path / name]) for name in ("market.parquet", "market.csv"))
    span = ("SPY", at(2024, 3, 4, 4), at(2024, 3, 4, 20))
    assert parquet.quotes(*span) == text.quotes(*span)
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    frame.to_parquet(tmp_path / "naive.parquet", index=False)
    with pytest.raises(SimulatorError, match=r"naive\.parquet, row 1: .*zone"):
        ReplayTape.from_files([tmp_path / "naive.parquet"])


BAD_BARS = [
    ("SPY,2024-03-04T09:32:00,1,1,1,1,1", "zone"),
    ("SPY,04/03/2024 09:32,1,1,1,1,1", "ISO 8601"),
    ("SPY,,1,1,1,1,1", "ISO 8601"),
    ("SPY,2024-03-06T09:32:00-05:00,abc,1,1,1,1", "open is not a number: 'abc'"),
    ("SPY,2024-03-06T09:32:00-05:00,1,1,1,NaN,1", "close is not a number: 'NaN'"),
    ("SPY,2024-03-06T09:32:00-05:00,1,inf,1,1,1", "high is not a number: 'inf'"),
    ("SPY,2024-03-06T09:32:00-05:00,1,1,1,1", "volume is not a number: ''"),
    ("SPY,2024-03-06T09:32:00-05:00,1,1,1,1,-5", "volume is negative"),
    ("SPY,2024-03-06T09:32:00-05:00,0,1,0,1,5", "open is not above zero"),
    ("SPY,2024-03-06T09:32:00-05:00,2,1,1,1,5", "high 1 lies below open 2"),
    ("SPY,2024-03-06T09:32:00-05:00,2,3,2.5,3,5", "low 2.5 lies above open 2"),
    ("SPY,2024-03-05T09:30:00-05:00,1,1,1,1,5", "does not come after"),
    ("SPY,2024-03-09T09:32:00-05:00,1,1,1,1,5", "04:00 to 20:00"),
    ("SPY,2024-03-06T03:32:00-05:00,1,1,1,1,5", "04:00 to 20:00"),
    ("SPY,1822-03-06T13:32:00-05:00,1,1,1,1,5", "04:00 to 20:00"),
    (",2024-03-06T09:32:00-05:00,1,1,1,1,5", "symbol"),
    ("spy,2024-03-06T09:32:00-05:00,1,1,1,1,5", "symbol 'spy'"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_BARS, ids=[reason for _, reason in BAD_BARS])
def test_a_bad_bar_is_refused_by_line_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    """The message names the file, the line in the file, and what is wrong with it."""
    path = write(tmp_path, BARS + row + "\nSPY,also bad\n")
    with pytest.raises(SimulatorError) as refused:
        ReplayTape.from_files([path])
    assert f"{path}, line 5: " in refused.value.message
    assert reason in refused.value.message


def test_a_bad_quote_is_refused_by_line_and_reason(tmp_path: Path) -> None:
    """Crossed quotes, negative sizes and unsorted times are refused; empty lines are passed over, and counted."""
    for row, reason in (
        ("SPY,2024-03-04T14:32:00Z,512.10,512.09,1,1", "bid 512.10 is above ask 512.09"),
        ("SPY,2024-03-04T14:32:00Z,512.10,512.19,1,-1", "ask_size is negative: -1"),
        ("SPY,2024-03-04T14:30:59Z,512.10,512.19,1,1", "comes before"),
    ):
        path = write(tmp_path, f"{QUOTES}\n{row}\n")
        with pytest.raises(SimulatorError, match=f"line 6: .*{reason}"):
            ReplayTape.from_files([path])


def test_a_row_out_of_order_is_found_across_pieces(tmp_path: Path) -> None:
    """Order is checked over the whole file, though it is read in pieces, and line numbers run on."""
    late = "SPY,2024-03-04T09:35:00-05:00,1,1,1,1,1\n"
    path = write(tmp_path, f"{BARS}QQQ,2024-03-04T09:30:00-05:00,1,1,1,1,1\n{late}")
    with pytest.raises(SimulatorError, match="line 6: SPY at 2024-03-04T09:35:00-05:00 does not come after"):
        market_files.read(path, rows_at_once=2)


def test_a_wrong_file_is_said_plainly(tmp_path: Path) -> None:
    """Unknown and missing columns, other tables, empty, ragged, binary, absent and doubled files are named."""
    header, row = BARS.splitlines()[:2]
    wrong = {
        "unknown.csv": (f"{header},colour\n{row},red\n", "unknown column.*'colour'"),
        "missing.csv": (f"{header.removesuffix(',volume')}\n", "lacks column.*'volume'"),
        "other.csv": ("a,b\n1,2\n", "neither bars nor quotes"),
        "empty.csv": ("", "no CSV"),
        "header.csv": (f"{header}\n", "no rows"),
        "ragged.csv": (f"{header}\n{row}\n{row},7\n", "no CSV"),
        "wide.csv": (f"{header}\n{row},7\n", "line 2: more fields"),
        "text.parquet": ("not parquet at all", "no Parquet"),
    }
    for name, (text, reason) in wrong.items():
        with pytest.raises(SimulatorError, match=f"{name}.*{reason}"):
            ReplayTape.from_files([write(tmp_path, text, name)])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00symbol")
    for name, reason in (("binary.csv", "no CSV"), ("absent.csv", "Cannot read"), ("absent.parquet", "Cannot read")):
        with pytest.raises(SimulatorError, match=f"{reason}|{name}"):
            ReplayTape.from_files([tmp_path / name])
    with pytest.raises(SimulatorError, match="two bars"):
        ReplayTape.from_files([write(tmp_path, BARS, "a.csv"), write(tmp_path, BARS, "b.csv")])
    with pytest.raises(SimulatorError, match="at least one"):
        ReplayTape.from_files([])


def test_a_long_file_is_read_in_reasonable_time(tmp_path: Path) -> None:
    """A quarter of a million minute bars load within seconds."""
    minutes = pd.date_range("2024-03-04T14:30:00Z", periods=390, freq="min")
    lines = [f"{minute:%Y-%m-%dT%H:%M:%SZ},10.0,10.5,9.5,10.1,1000" for minute in minutes]
    rows = "\n".join(f"S{number},{line}" for number in range(640) for line in lines)
    path = write(tmp_path, f"symbol,timestamp,open,high,low,close,volume\n{rows}\n")
    started = process_time()
    tape = ReplayTape.from_files([path])
    assert process_time() - started < 20
    assert len(tape.bars("S639", at(2024, 3, 4, 4), at(2024, 3, 4, 20), "1Min")) == 390
