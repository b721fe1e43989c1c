"""Quotes kept for analysis: the one in force at each moment, bounded, dropped where it cannot be known."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.core import frames
from athena.journal import Journal
from athena.live import kept_quotes
from athena.live.kept_quotes import QuoteKeeper
from athena.live.market_data import MarketData
from athena.model import Fill, Quote, Side
from tests.engine.session import Trading

AT = datetime(2020, 3, 9, 15, tzinfo=UTC)
D = Decimal


def second(seconds):
    return AT + timedelta(seconds=seconds)


class Market:
    """Quotes of A by hand, each to market and keeper as the engine gives them."""

    def __init__(self):
        self.market = MarketData()
        self.keeper = QuoteKeeper(self.market)

    def quote(self, seconds, mid):
        quote = Quote("A", D(mid) - D("0.01"), D(mid) + D("0.01"), D(100), D(100), second(seconds))
        self.market.on_quote(quote)
        if "A" in self.keeper.waiting:
            self.keeper.on_quote("A", quote.at)

    def fill(self, now=0.1, name="x", close=None):
        fill = Fill(name, "o", "b", "A", Side.BUY, D(10), D(100), AT)
        self.keeper.on_fill(fill, second(now), close)

    def kept(self, tmp_path):
        """{offset in seconds: mid} of what was written."""
        with Journal.open(tmp_path / "j.sqlite3", "engine") as journal:
            self.keeper.flush(journal)
            found = frames.kept_quotes(journal)
        return {row.offset_ms / 1000: round((row.bid + row.ask) / 2, 4) for row in found.itertuples()}


@pytest.fixture
def world():
    return Market()


def test_each_horizon_gets_the_quote_in_force_at_it(world, tmp_path):
    """A quote holds until the next one; one that came exactly at a horizon is in force at it."""
    world.quote(-20, 99)
    world.quote(-0.5, 100)
    world.fill()
    for seconds, mid in ((0.04, 101), (0.06, 102), (1, 103), (14, 104), (61, 105)):
        world.quote(seconds, mid)
    assert world.kept(tmp_path) == {-15: 99, -1: 99, 0: 100, 0.05: 101, 1: 103, 15: 104, 60: 104}
    world.keeper.look(second(301), True)
    assert world.kept(tmp_path).get(300) is None  # a quote of before may still be under way
    world.keeper.look(second(303), True)
    assert world.kept(tmp_path)[300] == 105
    assert world.keeper.waiting == {}


def test_what_cannot_be_known_is_not_kept(world, tmp_path, monkeypatch):
    """Not past the close, while disconnected, of a fill learnt of late, without any quote, or past the bound."""
    world.fill(name="no quote yet")
    world.quote(-1, 100)
    world.fill(now=90, name="late")
    world.fill(name="before the close", close=second(20))
    world.keeper.look(second(10), False)
    world.keeper.look(second(400), True)
    monkeypatch.setattr(kept_quotes, "ROWS_MAX", len(world.keeper._rows))
    world.fill(name="too many")
    assert world.keeper.dropped == 2  # just before the fill, and at it
    with Journal.open(tmp_path / "j.sqlite3", "engine") as journal:
        world.keeper.flush(journal)
        rows = [(r["subject"], r["offset_ms"]) for r in journal.query("SELECT subject, offset_ms FROM kept_quotes")]
    assert set(rows) == {
        ("before the close", -1000), ("before the close", 0), ("before the close", 15000),
        ("no quote yet", 15000), ("no quote yet", 60000), ("no quote yet", 300000),
    }  # fmt: skip


def test_an_engine_keeps_them_around_its_fills_at_an_orders_end_and_at_the_close(tmp_path):
    """A session: a market order, a limit order that is cancelled, the close; no event is written for any of it."""
    trading = Trading(tmp_path)
    try:
        trading.resume().strategy.wants["AAPL"] = (10, None)
        trading.go(30)
        trading.strategy.wants["MSFT"] = (10, trading.resting("MSFT"))
        trading.go(420)
        trading.clock.set(datetime(2020, 3, 9, 19, 59, 58, tzinfo=UTC))
        trading.go(20)
        found = frames.kept_quotes(trading.journal)
        fills = frames.fills(trading.journal)
        [cancelled] = trading.journal.query("SELECT client_order_id FROM orders WHERE status = 'canceled'")
        assert trading.journal.verify().ok
    finally:
        trading.close()
    fill = found[found["kind"] == "fill"]
    assert set(fill["subject"]) == set(fills["execution_id"])
    assert {0, 50, 1000, 15000, 60000, 300000} <= set(fill["offset_ms"])
    due = fill["at"] + fill["offset_ms"].map(lambda ms: timedelta(milliseconds=ms))
    assert (fill["quoted_at"] <= due).all()
    own = fill[fill["offset_ms"] == 0].set_index("subject").loc[fills["execution_id"]]
    assert own["bid"].tolist() == fills["bid"].tolist()
    assert found.loc[found["kind"] == "order", "subject"].tolist() == [cancelled[0]]
    assert set(found.loc[found["kind"] == "close", "symbol"]) == {"AAPL", "MSFT"}
