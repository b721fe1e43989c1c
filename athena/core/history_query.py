"""Years of trading by DuckDB: archived days from Parquet, all others from the journal, no row twice.

    trade_history("2020-02-01", "2020-03-09")                    # fills, as `frames.fills` has them
    fill_statistics("2020-02-01", by=("symbol", "side", "hour")) # counts, dollars, slippage in bps
    query("SELECT strategy, sum(fee) FROM fills GROUP BY ALL")   # SQL over the tables of `TABLES`

`start` and `end` are New York trading dates (date or text), both included; without them, all there is. Each table of
each day comes from one place: the archive while it says what the journal says, else the journal, which also speaks for
today. Nothing is written. In SQL, `at` needs quotes ("at"), `<amount>_exact` is the exact amount as text, and `hour` is
New York's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from athena.config import Settings
from athena.core.archive import State, follows, marks, state_of
from athena.core.archive_files import FOLDER, manifests, problem
from athena.core.archive_tables import EXACT, TABLES, columns, read_day
from athena.errors import JournalError, SettingsError, did_you_mean
from athena.journal.journal import Journal

Day = date | str | None
KEYS = ("symbol", "side", "hour", "strategy", "trading_date", "source")
# As `analysis.execution` defines them: positive is cost, against the mid just before; crossed quotes are no quotes.
_STATISTICS = """
    WITH priced AS (
        SELECT {keys}, quantity * price AS notional, CASE WHEN bid > 0 AND ask >= bid THEN (bid + ask) / 2 END AS mid,
            quantity, CASE side WHEN 'buy' THEN price - mid ELSE mid - price END AS cost
        FROM fills WHERE source IS DISTINCT FROM 'correction'
    ), grouped AS (
        SELECT {keys}, count(cost) AS fills, count(*) - count(cost) AS unmeasured, sum(notional) AS notional_usd,
            sum(cost * quantity) AS cost_usd, cost_usd / sum(quantity * mid) * 1e4 AS cost_bps,
            quantile_cont(cost / mid * 1e4, [0.05, 0.5, 0.95]) AS spread
        FROM priced GROUP BY {keys}
    )
    SELECT * EXCLUDE (spread), spread[1] AS p05_bps, spread[2] AS median_bps, spread[3] AS p95_bps
    FROM grouped ORDER BY {keys}
"""


def trade_history(start: Day = None, end: Day = None, settings: Settings | None = None) -> pd.DataFrame:
    """Every fill from archive and journal, oldest first: the columns and types of `frames.fills`, corrections included.

    Raises JournalError: no journal, or an archived day is missing or altered; SettingsError on a date that is none.
    """
    names = ", ".join(f'"{name}"' for name in columns("fills"))
    found = query(f'SELECT {names} FROM fills ORDER BY "at", sequence', start, end, settings)
    return found.astype({"trading_date": "datetime64[us]"})


def fill_statistics(
    start: Day = None,
    end: Day = None,
    settings: Settings | None = None,
    *,
    by: Sequence[str] = ("symbol", "side", "hour"),
) -> pd.DataFrame:
    """Executions grouped by any of `KEYS`: how many, for how much, at what slippage.

    Columns: keys, fills (measured against a quote), unmeasured, notional_usd, cost_usd and cost_bps (weighted by the
    mid value traded; positive is cost), p05_bps, median_bps, p95_bps of single fills; nulls where none is measured.
    Corrections are no executions and are left out. Raises as `trade_history` does.
    """
    if unknown := [key for key in by if key not in KEYS]:
        raise SettingsError(
            f"fills are not grouped by '{unknown[0]}'.", did_you_mean(unknown[0], KEYS, ", ".join(KEYS))
        )
    if not by:
        raise SettingsError("fills are grouped by nothing.", f"Give some of {', '.join(KEYS)}.")
    return query(_STATISTICS.format(keys=", ".join(by)), start, end, settings)


def query(sql: str, start: Day = None, end: Day = None, settings: Settings | None = None) -> pd.DataFrame:
    """The answer to one SELECT over `TABLES` (fills, orders, equity, ...) of the days from start to end.

    Raises SettingsError when DuckDB does not understand it or it is no SELECT; JournalError as `trade_history` does.
    """
    first, last = _day(start), _day(end) or "9"
    if first > last:
        raise SettingsError(f"history from {first} to {last}: the start is after the end.", "Exchange them.")
    tables = [table for table in TABLES if table in sql.lower()]
    with _connected(settings or Settings.load(), first, last, tables) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise SettingsError("one SELECT is expected: history is only read.", "Write the result elsewhere.")
            answer: pa.Table = connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise SettingsError(
                f"the query cannot be answered: {error}", f'Tables: {", ".join(TABLES)}; quote the column "at".'
            ) from error
    frame: pd.DataFrame = answer.to_pandas()
    return frame


@contextmanager
def _connected(settings: Settings, start: str, end: str, tables: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with a view for each table; it can read the archive's files and nothing else."""
    archive = settings.folder / FOLDER
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute(f"SET allowed_directories = [{_text(archive)}]")
        connection.execute("SET enable_external_access = false")
        with Journal.open(settings.journal_path, "history", read_only=True) as journal, journal.reading():
            for table in tables:
                files, days = _sources(journal, archive, table, start, end)
                connection.register(f"{table}_of_journal", read_day(journal, table, days))
                sources = [f"SELECT * FROM {table}_of_journal"] if days or not files else []
                if files:
                    names = ", ".join(_text(path) for path in files)
                    sources.append(
                        f"SELECT * FROM read_parquet([{names}], hive_partitioning = false, union_by_name = true)"
                    )
                connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(sources)}")
        yield connection
    finally:
        connection.close()


def _sources(journal: Journal, archive: Path, table: str, start: str, end: str) -> tuple[list[Path], list[str]]:
    """Archived files, and the days to be read from the journal: together each day once."""
    kept, known = manifests(archive, start, end), marks(journal, table, start, end)
    files, days = [], []
    for day in sorted({*kept, *known}):
        part = kept[day].tables.get(table) if day in kept else None
        state = state_of(part, known.get(day), part is not None and follows(journal, kept[day]))
        if part is None or state is State.GREW or state is State.NEW:
            days.append(day)
        elif wrong := problem(archive, part):
            then = "athena archive-trades mends it from the journal."
            if state is State.BEHIND:
                then = f"The journal has less of {day}: bring the file back from a backup."
            raise JournalError(f"{wrong}.", then)
        elif part.file:
            files.append(archive / part.file)
    return files, days


def _day(value: Day) -> str:
    if value is None:
        return ""
    try:
        if isinstance(value, datetime):
            raise ValueError
        return (value if isinstance(value, date) else date.fromisoformat(value)).isoformat()
    except (TypeError, ValueError):
        raise SettingsError(f"'{value}' is not a trading date.", "Write 2020-03-09, or give a date.") from None


def _text(path: Path) -> str:
    return "'" + str(path.absolute()).replace("'", "''") + "'"


__all__ = ["EXACT", "KEYS", "fill_statistics", "query", "trade_history"]
