"""The synthetic tape: real closes, plausible days, the same for the same seed."""

from __future__ import annotations

import csv
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise
from time import process_time

import numpy as np
import pytest

from athena.errors import SimulatorError
from athena.model import NEW_YORK
from athena.simulator import sessions
from athena.simulator.synthetic import ANCHOR_FILE, SyntheticTape
from athena.simulator.tape import Shock

CALM = date(2020, 2, 5)


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


NOON = new_york(2020, 2, 5, 12)


@pytest.fixture(scope="module")
def tape() -> SyntheticTape:
    return SyntheticTape(seed=7)


def session(day: date = CALM) -> sessions.Session:
    found = sessions.session_on(day)
    assert found is not None
    return found


def test_days_end_at_the_real_close(tape: SyntheticTape) -> None:
    """The last regular print, the daily bar and the next day's previous close are the file's close, to the cent."""
    text = files("athena.simulator").joinpath("data", ANCHOR_FILE).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    for before, row in list(pairwise(rows))[::12]:
        day = session(date.fromisoformat(row["date"]))
        for symbol in ("AAPL", "RRC"):
            close = Decimal(row[symbol]).quantize(Decimal("0.01"))
            (bar,) = tape.bars(symbol, day.open - timedelta(hours=10), day.close, "1Day")
            found = tape.prices(symbol, day.close)
            assert found is not None
            assert bar.close == found.last == close
            assert found.bid <= close <= found.ask
            assert tape.previous_close(symbol, day.open) == Decimal(before[symbol]).quantize(Decimal("0.01"))


def test_quotes_are_possible(tape: SyntheticTape) -> None:
    """Bids lie below asks, prices on whole cents, sizes in round lots, times in order, in calm and in crash."""
    for day in (CALM, date(2020, 3, 16), date(2019, 12, 24)):
        for symbol in ("AAPL", "RRC", "ZZHTB"):
            quotes = tape.quotes(symbol, session(day).open, session(day).open + timedelta(minutes=20))
            assert len(quotes) > 1000
            assert all(Decimal(0) < quote.bid < quote.ask for quote in quotes)
            assert all(quote.bid % Decimal("0.01") == quote.ask % Decimal("0.01") == 0 for quote in quotes)
            assert all(quote.bid_size >= 100 and quote.bid_size % 100 == 0 for quote in quotes)
            assert all(a.at < b.at for a, b in pairwise(quotes))


def test_days_have_the_shape_of_days(tape: SyntheticTape) -> None:
    """Volume is U-shaped; spreads are wider at the open, outside regular hours and in a crash."""
    day = session()

    def volume(start: datetime) -> Decimal:
        return sum((bar.volume for bar in tape.bars("KO", start, start + timedelta(minutes=29), "1Min")), Decimal(0))

    def spread(start: datetime) -> float:
        return float(np.mean([q.spread_bps for q in tape.quotes("KO", start, start + timedelta(minutes=5))]))

    assert volume(day.open) > 2 * volume(NOON) < volume(day.close - timedelta(minutes=30))
    assert volume(day.open - timedelta(hours=2)) < volume(NOON) / 10
    assert spread(day.open) > 1.5 * spread(NOON)
    assert spread(day.close + timedelta(hours=1)) > 2 * spread(NOON)
    assert spread(new_york(2020, 3, 16, 12)) > 1.5 * spread(NOON)


def test_symbols_move_together(tape: SyntheticTape) -> None:
    """Five-minute returns of large caps correlate, by the market's common factor."""
    returns = []
    for symbol in ("MSFT", "JPM", "KO", "PG"):
        bars = tape.bars(symbol, session().open, session().close - timedelta(minutes=5), "5Min")
        returns.append(np.diff(np.log([float(bar.close) for bar in bars])))
    assert np.corrcoef(returns)[np.triu_indices(4, 1)].min() > 0.25


def test_the_same_seed_is_the_same_market(tape: SyntheticTape) -> None:
    """A quote depends on seed, symbol and time alone: not on what was asked before, nor on which symbols are loaded."""
    other = SyntheticTape(seed=7, symbols=["PFE", "KO"])
    other.quotes("PFE", session(date(2020, 6, 1)).open, session(date(2020, 6, 1)).close, limit=5)
    assert other.quote("KO", NOON) == tape.quote("KO", NOON)
    assert other.trades("KO", NOON, NOON + timedelta(minutes=1)) == tape.trades("KO", NOON, NOON + timedelta(minutes=1))
    assert SyntheticTape(seed=8).quote("KO", NOON) != tape.quote("KO", NOON)


def test_ranges_join_without_gap_or_overlap(tape: SyntheticTape) -> None:
    """(start, end] ranges put end to end give what one range gives, over a night too; a limit keeps the oldest."""
    start, middle, end = new_york(2020, 2, 5, 15, 59), new_york(2020, 2, 5, 20), new_york(2020, 2, 6, 4, 10)
    whole = tape.quotes("KO", start, end)
    assert tape.quotes("KO", start, middle) + tape.quotes("KO", middle, end) == whole
    assert tape.quotes("KO", start, end, limit=7) == whole[:7]
    prints = tape.trades("KO", start, end)
    assert tape.trades("KO", start, middle) + tape.trades("KO", middle, end, limit=10**6) == prints
    assert all(start < found.at <= end for found in [*whole, *prints])


def test_bars_are_their_prints(tape: SyntheticTape) -> None:
    """A bar is the open, high, low, close, volume of the prints in [start, start + width), and nothing later."""
    start = new_york(2020, 2, 5, 10)
    prints = [
        t for t in tape.trades("KO", start - timedelta(seconds=1), start + timedelta(minutes=15)) if t.at >= start
    ]
    now = start + timedelta(minutes=14, seconds=30)
    bars = tape.bars("KO", start, now, timedelta(minutes=15))
    seen = [t for t in prints if t.at <= now]
    assert len(bars) == 1
    assert bars[0].at == start
    prices = [t.price for t in seen]
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close) == (prices[0], max(prices), min(prices), prices[-1])
    assert bars[0].volume == sum(t.size for t in seen)
    assert bars[0].low <= (bars[0].vwap or 0) <= bars[0].high
    hours = tape.bars("KO", new_york(2020, 2, 5, 4), new_york(2020, 2, 5, 20), "1Hour")
    assert [bar.at.astimezone(NEW_YORK).hour for bar in hours] == list(range(4, 20))
    week = tape.bars("KO", new_york(2020, 2, 3), new_york(2020, 2, 7, 23), "1Day")
    assert [bar.at.astimezone(NEW_YORK).day for bar in week] == [3, 4, 5, 6, 7]


def test_closed_hours_show_the_evening_before(tape: SyntheticTape) -> None:
    """On a Sunday the latest quote and print are Friday evening's, and the previous close is Friday's."""
    sunday = new_york(2020, 2, 9, 12)
    quote, trade = tape.quote("KO", sunday), tape.trade("KO", sunday)
    assert quote is not None
    assert trade is not None
    assert quote.at.astimezone(NEW_YORK).date() == trade.at.astimezone(NEW_YORK).date() == date(2020, 2, 7)
    (friday,) = tape.bars("KO", new_york(2020, 2, 7), new_york(2020, 2, 8), "1Day")
    assert tape.previous_close("KO", sunday) == friday.close


def test_what_the_tape_does_not_hold_is_said(tape: SyntheticTape) -> None:
    """Times outside the file name its range; unknown symbols and timeframes name what there is."""
    for at in (new_york(2019, 12, 2, 12), new_york(2020, 7, 1, 12), new_york(2024, 1, 5)):
        with pytest.raises(SimulatorError, match="2019-12-03 to 2020-06-30"):
            tape.quote("AAPL", at)
    with pytest.raises(SimulatorError, match="2019-12-03 to 2020-06-30"):
        tape.bars("AAPL", new_york(2024, 1, 5), new_york(2024, 1, 6), "1Day")
    with pytest.raises(SimulatorError, match=r"'TSLA'.*AAPL"):
        tape.quote("TSLA", NOON)
    with pytest.raises(SimulatorError, match="'ZZDEL'"):
        SyntheticTape(symbols=["AAPL", "ZZDEL"])
    for timeframe in ("1Week", "0Min", timedelta(seconds=90), timedelta(days=2)):
        with pytest.raises(SimulatorError, match="no bars of"):
            tape.bars("KO", NOON, NOON, timeframe)


def test_the_awkward_assets_are_listed(tape: SyntheticTape) -> None:
    """The listing has one symbol that cannot be shorted and one delisted; ids are stable UUIDs."""
    assert not tape.assets["ZZHTB"].shortable
    assert "ZZHTB" in tape.symbols
    assert tape.assets["ZZDEL"].status == "inactive"
    assert "ZZDEL" not in tape.symbols
    assert len({asset.id for asset in tape.assets.values()}) == len(tape.assets)
    assert tape.assets["AAPL"].id == SyntheticTape(seed=3).assets["AAPL"].id


def test_a_spread_blow_out_lasts_as_long_as_it_says() -> None:
    """A shock added while running multiplies the spread within [start, end) of its symbol, and nothing else."""
    tape, plain = SyntheticTape(seed=7, symbols=["KO", "PFE"]), SyntheticTape(seed=7, symbols=["KO", "PFE"])
    assert tape.quote("KO", NOON) == plain.quote("KO", NOON)
    end = NOON + timedelta(minutes=10)
    tape.add_shock(Shock("KO", NOON, end, spread_multiple=40, size_multiple=0.5))
    for at in (NOON, end - timedelta(seconds=1)):
        wide, usual = tape.quote("KO", at), plain.quote("KO", at)
        assert wide is not None
        assert usual is not None
        assert abs((wide.ask - wide.bid) - 40 * (usual.ask - usual.bid)) <= Decimal("0.01")
        assert abs(wide.mid - usual.mid) <= Decimal("0.01")
        assert wide.bid_size == usual.bid_size / 2
    for at in (NOON - timedelta(seconds=1), end):
        assert tape.quote("KO", at) == plain.quote("KO", at)
    assert tape.quote("PFE", NOON) == plain.quote("PFE", NOON)


def test_a_fall_and_a_halt() -> None:
    """A price move shifts quotes and prints of every symbol; a halt prints nothing and shows no size."""
    tape, plain = SyntheticTape(seed=7, symbols=["KO"]), SyntheticTape(seed=7, symbols=["KO"])
    end = NOON + timedelta(minutes=10)
    tape.add_shock(Shock("*", NOON, end, price_move=-0.07))
    fallen, usual = tape.prices("KO", NOON), plain.prices("KO", NOON)
    assert fallen is not None
    assert usual is not None
    assert float(fallen.bid / usual.bid) == pytest.approx(0.93, abs=0.001)
    tape.add_shock(Shock("KO", NOON, end, halted=True))
    assert tape.halted("KO", NOON)
    assert not tape.halted("KO", end)
    assert tape.trades("KO", NOON, end - timedelta(seconds=1)) == []
    stands = tape.quote("KO", NOON + timedelta(minutes=5))
    assert stands is not None
    assert (stands.bid_size, stands.ask_size, stands.bid) == (0, 0, fallen.bid)


def test_impossible_shocks_are_refused(tape: SyntheticTape) -> None:
    """A shock needs zoned times in order, finite multiples within bounds, and a symbol of the tape."""
    later = NOON + timedelta(minutes=1)
    for wrong in (
        {"spread_multiple": float("nan")},
        {"spread_multiple": 0},
        {"price_move": -1},
        {"size_multiple": -1},
        {"end": NOON},
        {"start": datetime(2020, 2, 5)},  # noqa: DTZ001 (what is refused)
    ):
        with pytest.raises(SimulatorError, match="shock"):
            Shock(**{"symbol": "KO", "start": NOON, "end": later, **wrong})
    with pytest.raises(SimulatorError, match="TSLA"):
        tape.add_shock(Shock("TSLA", NOON, later, spread_multiple=2))


def test_the_tape_is_fast(tape: SyntheticTape) -> None:
    """A point read takes microseconds, a symbol-day milliseconds; the bounds leave room for a busy machine."""
    tape.prices("AAPL", NOON)
    started = process_time()
    for _ in range(2000):
        tape.prices("AAPL", NOON)
    assert (process_time() - started) / 2000 < 50e-6
    best = min(_seconds_to_make(tape, symbol) for symbol in ("HD", "JNJ", "JPM", "LLY"))
    assert best < 0.05


def _seconds_to_make(tape: SyntheticTape, symbol: str) -> float:
    started = process_time()
    tape.prices(symbol, new_york(2020, 5, 5, 12))
    return process_time() - started
