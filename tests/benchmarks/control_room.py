"""What an open control room costs: a look, eight hours of looks, the memory and the journal statements they take."""

import gc
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from athena.config import Settings
from athena.journal.journal import Journal
from athena.journal.migrate import create
from athena.live.guard_flag import GuardFlag
from athena.model import Quote
from athena.widgets.room import ControlRoom
from tests.benchmarks.rows import Row
from tests.support.counting import Counting

SYMBOLS = [f"S{number:03}" for number in range(100)]
ORDERS, HOURS = 2_000, 8
LOOKS = HOURS * 3600
AT = datetime(2020, 3, 9, 15, tzinfo=UTC)
PRICE = Decimal("100.00")


def rows():
    with tempfile.TemporaryDirectory() as name:
        settings = Settings.load({}, home=Path(name), simulator_url="http://127.0.0.1:9")
        settings.folder.mkdir(parents=True)
        create(settings.journal_path)
        with Journal.open(settings.journal_path, "benchmark") as journal:
            _fill(journal)
            return [*_looks(settings, journal), *_morning(settings, journal)]


def _fill(journal):
    """An account with 100 positions by 2,000 filled orders, and 20 open ones."""
    bound = {"venue": "simulator", "account_number": "A1", "cash": "10000000", "equity": "10000000"}
    journal.append("account.bound", bound | {"last_equity": "10000000", "positions": []}, AT)
    journal.append("day.opened", {"trading_date": "2020-03-09", "opening_equity": "10000000"}, AT)
    for start in range(0, ORDERS, 500):
        with journal.transaction() as tx:
            for number in range(start, start + 500):
                _order(tx, number)
    _beat(journal)


def _order(tx, number, *, fill=True):
    symbol, identity = SYMBOLS[number % len(SYMBOLS)], f"o{number}"
    tx.append("order.intended", {
        "client_order_id": identity, "strategy": "s", "symbol": symbol, "side": "buy", "type": "market",
        "time_in_force": "day", "quantity": "1", "decided_at": AT,
    }, AT)  # fmt: skip
    if fill:
        tx.append("fill", {
            "execution_id": f"x{number}", "client_order_id": identity, "broker_order_id": f"b{number}",
            "strategy": "s", "symbol": symbol, "side": "buy", "quantity": "1", "price": "100.00", "fee": "0",
            "at": AT + timedelta(seconds=number), "bid": None, "ask": None, "source": "stream",
        }, AT)  # fmt: skip


def _beat(journal):
    """What a live engine writes each second: two heartbeats, the prices, and the flag's lease."""
    GuardFlag.open(journal.path).renew(3600)
    guard = {"day": "2020-03-09", "pnl": "1.00", "max_orders_per_minute": "3"}
    journal.heartbeat("engine", {"state": "running", "symbols": SYMBOLS, "speed": 1, "guard": guard}, AT)
    journal.heartbeat("broker", {"state": "connected", "streams": {"data": "connected"}, "uptime_seconds": 9}, AT)
    journal.put_marks([Quote(symbol, PRICE, PRICE + 1, PRICE, PRICE, AT) for symbol in SYMBOLS])


def _looks(settings, journal):
    reader = Counting(settings)
    first = _milliseconds(reader.read)
    idle, idle_cost = _measured(reader, lambda number: None)
    alive, alive_cost = _measured(reader, lambda number: _beat(journal))

    def trading(number):
        with journal.transaction() as tx:
            _order(tx, ORDERS + number)
        _beat(journal)

    busy, busy_cost = _measured(reader, trading)
    reader.close()
    at = f"{len(SYMBOLS)} positions, {ORDERS:,} orders"
    return [
        Row(f"opening, {at}", first, "ms", bound="<= 2000"),
        Row("a look, nothing committed", idle, "ms", bound="<= 1"),
        Row("  statements of it", idle_cost, "statements", bound="1"),
        Row("a look, a live engine", alive, "ms", bound="<= 25"),
        Row("  statements of it", alive_cost, "statements", bound="<= 40"),
        Row("a look, an order and a fill since", busy, "ms", bound="<= 50"),
        Row("  statements of it", busy_cost, "statements", bound="<= 45"),
    ]


def _measured(reader, between, times=30):
    """Median milliseconds and statements of a look, after what happens in between."""
    took, counted = [], []
    for number in range(times):
        between(number)
        reader.statements = 0
        took.append(_milliseconds(reader.read))
        counted.append(reader.statements)
    return statistics.median(took), statistics.median(counted)


def _morning(settings, journal):
    """Eight hours of looks by a whole room, each second of them a heartbeat's writing, as fast as they go."""
    room = ControlRoom(settings, settings.journal_path)
    room.widget()
    room.source.reader = reader = Counting(settings)
    for _ in range(500):
        room._hear(room.source.refresh())
    gc.collect()
    before, objects, begun = _resident(), len(gc.get_objects()), time.perf_counter()
    reader.statements = 0
    for number in range(LOOKS):
        if number % 4 == 0:  # the others cost one statement; the engine's writing is not what is measured
            journal.heartbeat("engine", {"state": "running", "guard": {"pnl": f"{number}.00"}}, AT)
        if number % 60 == 0:
            room.nav.value = (room.nav.value + 1) % len(room.views)
        room._hear(room.source.refresh())
    seconds = time.perf_counter() - begun
    gc.collect()
    grown, more = _resident() - before, len(gc.get_objects()) - objects
    statements = reader.statements / LOOKS
    room.stop()
    return [
        Row(f"{HOURS} h of a whole room, a look", seconds / LOOKS * 1000, "ms", bound="<= 25"),
        Row("  resident memory grown", grown / 1e6, "MB", "at its beginning", before / 1e6, grown / before, "<= 0.1"),
        Row("  Python objects grown", more, "objects", bound="<= 5,000"),
        Row("  statements a look", statements, "statements", bound="<= 20"),
    ]


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _milliseconds(function):
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    for row in rows():
        print(os.linesep.join([str(row)]))
