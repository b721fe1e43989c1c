"""Years of fills: 1e7 in the archive with a journal's own, grouped through the API, beside raw DuckDB on the files."""

import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from athena.config import Settings
from athena.core import history_query
from athena.core.archive_files import FOLDER, Manifest, Part, part_path, sha256_of, write_manifest, write_part
from athena.core.archive_tables import to_arrow
from athena.journal.journal import Journal
from tests.benchmarks.rows import Row

FILLS, DAYS, SYMBOLS, TIMES = 10_000_000, 50, 500, 5
FIRST = date(2020, 3, 9)
_RAW = """
    SELECT symbol, side, hour, count(*) AS n, sum(price * quantity) AS notional,
        sum(CASE side WHEN 'buy' THEN price - (bid + ask) / 2 ELSE (bid + ask) / 2 - price END * quantity)
            / sum((bid + ask) / 2 * quantity) * 1e4 AS bps,
        quantile_cont(CASE side WHEN 'buy' THEN price - (bid + ask) / 2 ELSE (bid + ask) / 2 - price END
            / ((bid + ask) / 2) * 1e4, [0.05, 0.5, 0.95]) AS spread
    FROM read_parquet('{files}') GROUP BY symbol, side, hour ORDER BY symbol, side, hour
"""


def rows():
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(home=Path(name))
        _generate(settings)
        files = settings.folder / FOLDER / "fills" / "*" / "part.parquet"
        ours = plain = np.inf
        for _ in range(TIMES):
            began = time.perf_counter()
            found = history_query.fill_statistics(settings=settings)
            ours = min(ours, time.perf_counter() - began)
            began = time.perf_counter()
            with duckdb.connect() as connection:
                raw = connection.sql(_RAW.format(files=files)).to_arrow_table().to_pandas()
            plain = min(plain, time.perf_counter() - began)
        today = _TODAYS
        if found["fills"].sum() != raw["n"].sum() + today or len(found) != len(raw):
            raise RuntimeError("the API and raw DuckDB disagree")
        began = time.perf_counter()
        day = history_query.fill_statistics(FIRST, FIRST, settings)
        day_seconds = time.perf_counter() - began
        if day["fills"].sum() != FILLS // DAYS:
            raise RuntimeError("one day is not one day")
    name = f"{FILLS:,} fills and today's {today} to {len(raw):,} groups"
    return [
        Row(name, ours * 1000, "ms", "raw DuckDB on the same Parquet", plain * 1000, ours / plain, "≤ 1.3"),
        Row(f"one day of them, {FILLS // DAYS:,} fills", day_seconds * 1000, "ms"),
    ]


_TODAYS = 1000


def _generate(settings):
    """The archive as `archive-trades` lays it out, values drawn at random; and a journal with today's fills."""
    rng, archive, size = np.random.default_rng(5), settings.folder / FOLDER, FILLS // DAYS
    symbols = pa.array([f"S{number:03d}" for number in range(SYMBOLS)])
    cents = np.arange(1, 100_001)
    texts = {
        "price": pa.array([f"{c / 100:.2f}" for c in cents]),
        "quantity": pa.array([str(q) for q in range(1, 501)]),
    }
    schema = to_arrow("fills", []).schema
    for number in range(DAYS):
        day, symbol, side = FIRST + timedelta(days=number), rng.integers(0, SYMBOLS, size), rng.integers(0, 2, size)
        seconds = np.sort(rng.integers(0, 23_400_000_000, size))
        at = np.datetime64(f"{day}T13:30:00", "us") + seconds.astype("timedelta64[us]")
        bid = 2_000 + symbol * 50 + rng.integers(0, 100, size)
        ask, price, quantity = bid + 4, bid + rng.integers(-2, 7, size), rng.integers(1, 501, size)
        facts = {
            "symbol": symbols.take(pa.array(symbol)), "side": pa.array(["buy", "sell"]).take(pa.array(side)),
            "execution_id": pa.array(np.arange(size) + number * size).cast(pa.string()),
            "sequence": pa.array(np.arange(size) + number * size), "at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "hour": pa.array((9.5 + seconds / 3.6e9).astype("int8")), "quantity": pa.array(quantity.astype(float)),
            "quantity_exact": texts["quantity"].take(pa.array(quantity - 1)), "fee": pa.array(np.zeros(size)),
        }  # fmt: skip
        for name, value in (("price", price), ("bid", bid), ("ask", ask)):
            facts |= {name: pa.array(value / 100), f"{name}_exact": texts["price"].take(pa.array(value - 1))}
        table = pa.table(
            [facts.get(field.name, pa.nulls(size, field.type)).cast(field.type) for field in schema], schema
        )
        path = archive / part_path("fills", str(day))
        write_part(path, table)
        stat, file = path.stat(), part_path("fills", str(day))
        part = Part(size, "", 0, size, {}, file, sha256_of(path), stat.st_size, stat.st_mtime_ns)
        write_manifest(archive, Manifest(str(day), "", 0, "", {"fills": part}))
    at = datetime(2020, 6, 1, 14, 0, tzinfo=UTC)
    with Journal.open(settings.journal_path, actor="bench") as journal, journal.transaction() as tx:
        for number in range(_TODAYS):
            fact = {"symbol": f"S{number % SYMBOLS:03d}", "side": "buy", "quantity": "10", "price": "20.02", "fee": "0"}
            ids = {"execution_id": f"today{number}", "client_order_id": "", "strategy": "s", "at": at}
            tx.append("fill", {**fact, **ids, "bid": "20.00", "ask": "20.04"}, at)
