"""The archived tables as Arrow: which columns, of which type, and what must add up.

An amount is kept twice: `price` as a float, for statistics at full speed, and `price_exact` as the journal's own text,
so that not one digit is lost whatever its scale. (A decimal128 would fix one scale for all time, and sums slower.)
Times are aware, in UTC, to the microsecond. Fills have one column more: `hour`, New York's, of their time.
What a refused order told and is no number or time is null here; the journal keeps its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa

from athena.journal.journal import Journal
from athena.model import NEW_YORK, ZERO

# `$` an amount, `@` a time, `#` a whole number, `?` yes or no, `.` a date; the rest is text.
_COLUMNS = {
    "fills": "execution_id #sequence client_order_id broker_order_id strategy symbol side $quantity $price $fee @at"
    " @recorded_at .trading_date $bid $ask source",
    "orders": "client_order_id broker_order_id strategy symbol side type time_in_force $quantity $limit_price"
    " $stop_price ?extended_hours purpose status $filled_quantity $average_fill_price $decision_price @decided_at $bid"
    " $ask reason error @intended_at @intended_venue_at @acknowledged_at @updated_at @final_venue_at .trading_date",
    "equity": "#sequence @venue_at .trading_date $equity $cash $realised_pnl $unrealised_pnl",
    "violations": "#sequence @at @venue_at .trading_date code message symbol strategy observed limit_value"
    " client_order_id action #times",
    "kept_quotes": ".trading_date kind subject #offset_ms symbol @at $bid $ask @quoted_at",
}
_ORDER_BY = {
    "fills": "at, sequence",
    "orders": "COALESCE(intended_venue_at, intended_at), client_order_id",
    "equity": "venue_at, sequence",
    "violations": "sequence",
    "kept_quotes": "kind, subject, offset_ms",
}
_TYPES = {
    "#": pa.int64(), "$": pa.float64(), "@": pa.timestamp("us", "UTC"), "?": pa.bool_(), ".": pa.date32(),
}  # fmt: skip
TABLES = tuple(_COLUMNS)
EXACT = "_exact"


def columns(table: str) -> list[str]:
    """Names of the journal's columns of `table`, in the archive's order."""
    return [word.lstrip("#$@?.") for word in _COLUMNS[table].split()]


def read_day(journal: Journal, table: str, days: Sequence[str]) -> pa.Table:
    """The journal's rows of some trading dates, in the order of `frames`; with no date, no rows but every column."""
    slots, found = ", ".join("?" * len(days)), []
    if days:
        sql = f"SELECT {', '.join(columns(table))} FROM {table} WHERE trading_date IN ({slots})"
        found = journal.query(f"{sql} ORDER BY {_ORDER_BY[table]}", list(days))
    return to_arrow(table, [tuple(row) for row in found])


def to_arrow(table: str, rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows as the journal stores them, typed; see the module's words for amounts."""
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns(table))
    made: dict[str, pa.Array] = {}
    for word, column in zip(_COLUMNS[table].split(), values, strict=True):
        sort, name = word[0], word.lstrip("#$@?.")
        if sort == "$":
            made[name] = _cast([_finite(value) for value in column], pa.float64())
            made[name + EXACT] = pa.array(column, pa.string())
        elif sort == "?":
            made[name] = pa.array([None if value is None else bool(value) for value in column], pa.bool_())
        else:
            made[name] = _cast(column, _TYPES.get(sort, pa.string()))
    if table == "fills":
        at = pd.DatetimeIndex(made["at"].to_pandas()).tz_convert(NEW_YORK)
        made["hour"] = pa.array(at.hour, pa.int8())
    return pa.table(made)


def sums(table: str, found: pa.Table) -> dict[str, str]:
    """What must add up, exactly, between journal and archive: sums over the exact columns, as text."""

    def amounts(name: str) -> list[Decimal]:
        return [ZERO if value is None else Decimal(value) for value in found[name + EXACT].to_pylist()]

    if table == "fills":
        quantity, price = amounts("quantity"), amounts("price")
        notional = sum((q * p for q, p in zip(quantity, price, strict=True)), ZERO)
        added = {"quantity": sum(quantity, ZERO), "notional_usd": notional, "fee": sum(amounts("fee"), ZERO)}
    elif table == "violations":
        added = {"times": sum(map(Decimal, found["times"].to_pylist()), ZERO)}
    else:
        wanted = {"orders": ("filled_quantity",), "equity": ("equity", "cash"), "kept_quotes": ("bid", "ask")}[table]
        added = {name: sum(amounts(name), ZERO) for name in wanted}
    return {name: f"{value:f}" for name, value in added.items()}


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None  # NaN is not smaller either


def _cast(column: Sequence[Any], wanted: pa.DataType) -> pa.Array:
    told = pa.array(column, pa.string()) if wanted not in (pa.int64(), pa.float64()) else pa.array(column, wanted)
    try:
        return told.cast(wanted)
    except pa.ArrowInvalid:
        return pa.concat_arrays([_one(value, wanted) for value in column])


def _one(value: Any, wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array([value], pa.string()).cast(wanted)
    except pa.ArrowInvalid:
        return pa.nulls(1, wanted)
