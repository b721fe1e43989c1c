"""The journal as pandas DataFrames: one query each, times aware (UTC), money as float.

Here, and only here, exact amounts become floats: good for statistics and figures, never for reconciling or deciding
on orders. An empty result keeps its columns and their types. Every function takes either `day` (a New York trading
date) or `start` and `end` (aware times, end exclusive; the venue's time where the table has one), or nothing for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from athena.errors import JournalError
from athena.journal.codec import decode, from_text, to_text
from athena.journal.event import COLUMNS
from athena.journal.journal import Journal
from athena.model import CashFlow

Moment = datetime | None
_TIMES = {
    "at", "venue_at", "decided_at", "intended_at", "intended_venue_at", "acknowledged_at", "updated_at",
    "final_venue_at", "recorded_at", "quoted_at", "expires_at", "cleared_at", "requested_at", "finished_at",
}  # fmt: skip
_MONEY = {
    "quantity", "limit_price", "stop_price", "filled_quantity", "average_fill_price", "decision_price", "bid", "ask",
    "price", "fee", "equity", "cash", "realised_pnl", "unrealised_pnl", "amount",
}  # fmt: skip
_JSON = {"payload", "arguments", "result", "breaks", "checked"}
_FLAGS = {"extended_hours", "ok"}
_VENUE_TIME = "COALESCE(venue_at, at)"


def orders(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Orders by the time they were intended; see the journal's `orders` for the columns."""
    return _frame(journal, "orders", "COALESCE(intended_venue_at, intended_at)", day, start, end)


def fills(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Executions by venue time; `bid` and `ask` are the quote just before, NaN where unknown."""
    return _frame(journal, "fills", "at", day, start, end, order="at, sequence")


def equity(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Equity points in dollars by venue time."""
    return _frame(journal, "equity", "venue_at", day, start, end, order="venue_at, sequence")


def violations(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """What the guard refused or acted on, and why."""
    return _frame(journal, "violations", _VENUE_TIME, day, start, end, order="sequence")


def kept_quotes(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Quotes in force `offset_ms` after a moment `at`, of what `kind` and `subject` name: a fill, an order's end, a
    close. `quoted_at` is the quote's own time."""
    return _frame(journal, "kept_quotes", "at", day, start, end, order="at, kind, subject, offset_ms")


def cash_flows(journal: Journal, day: date | None = None, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Deposits, withdrawals, dividends, interest and fees, signed dollars."""
    return _frame(journal, "cash_flows", "at", day, start, end)


def halts(journal: Journal, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Halts by when they were set; `cleared_at` is NaT while one stands."""
    return _frame(journal, "halts", _VENUE_TIME, None, start, end)


def commands(journal: Journal, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Commands to the engine and their results, by machine time."""
    return _frame(journal, "commands", "requested_at", None, start, end)


def reconciliations(journal: Journal, start: Moment = None, end: Moment = None) -> pd.DataFrame:
    """Comparisons with the venue; `breaks` holds a list of dicts."""
    return _frame(journal, "reconciliations", _VENUE_TIME, None, start, end, order="sequence")


def events(
    journal: Journal, kinds: Iterable[str] | None = None, start: Moment = None, end: Moment = None
) -> pd.DataFrame:
    """The journal's own lines, of some kinds or all, by machine time; `payload` holds dicts."""
    wanted = [] if kinds is None else list(kinds)
    which = "" if kinds is None else f"kind IN ({', '.join('?' * len(wanted))})"
    return _frame(journal, "events", "at", None, start, end, order="sequence", columns=COLUMNS, also=(which, wanted))


def equity_curve(journal: Journal, start: Moment = None, end: Moment = None) -> pd.Series[float]:
    """Equity in dollars by venue time, the account's binding first.

    `.attrs['flows']` lists deposits and withdrawals as (time, signed dollars). Where several points share a time the
    last one holds. Raises JournalError when there is not one point.
    """
    where, values = _between("venue_at", start, end)
    with journal.reading():
        points = journal.query(
            "SELECT venue_at, equity FROM (SELECT sequence, venue_at, equity FROM equity"
            f" UNION ALL SELECT 0, bound_at, opening_equity FROM account) AS points{where} ORDER BY venue_at, sequence",
            values,
        )
        where, values = _between("at", start, end)
        moved = journal.query(f"SELECT id, kind, amount, at FROM cash_flows{where} ORDER BY at", values)
    if not points:
        span = "" if start is None and end is None else f" from {start or 'the beginning'} to {end or 'now'}"
        raise JournalError(f"{journal.path} has no equity recorded{span}.", "Start the engine, or ask for other dates.")
    curve = pd.Series([float(row[1]) for row in points], _times([row[0] for row in points], "at"), name="equity")
    curve = curve[~curve.index.duplicated(keep="last")]
    flows = [CashFlow(row["id"], row["kind"], Decimal(row["amount"]), from_text(row["at"])) for row in moved]
    curve.attrs["flows"] = [(pd.Timestamp(flow.at), float(flow.amount)) for flow in flows if flow.is_transfer]
    return curve


def _frame(
    journal: Journal,
    table: str,
    time: str,
    day: date | None,
    start: Moment,
    end: Moment,
    *,
    order: str = "",
    columns: str = "*",
    also: tuple[str, list[str]] = ("", []),
) -> pd.DataFrame:
    if day is not None and (start is not None or end is not None):
        raise ValueError("give a day, or start and end, not both")
    day_values = [] if day is None else [day.isoformat()]
    where, values = _between(time, start, end, *(also[0], "trading_date = ?" if day_values else ""))
    sql = f"SELECT {columns} FROM {table}{where} ORDER BY {order or time}"
    names, rows = journal.table(sql, [*values, *also[1], *day_values])
    frame = pd.DataFrame([tuple(row) for row in rows], columns=names)
    for name in names:
        if name in _TIMES:
            frame[name] = _times(frame[name], name)
        elif name in _MONEY:
            frame[name] = frame[name].astype(float)
        elif name in _JSON:
            frame[name] = [None if text is None else decode(text) for text in frame[name]]
        elif name in _FLAGS:
            frame[name] = frame[name].astype(bool)
        elif name == "trading_date":
            frame[name] = pd.to_datetime(frame[name], format="%Y-%m-%d")
    return frame


def _between(column: str, start: Moment, end: Moment, *conditions: str) -> tuple[str, list[str]]:
    bounds = [(f"{column} >= ?", start), (f"{column} < ?", end)]
    wanted = [(condition, to_text(at)) for condition, at in bounds if at is not None]
    clauses = [condition for condition, _ in wanted] + [condition for condition in conditions if condition]
    return (f" WHERE {' AND '.join(clauses)}" if clauses else ""), [value for _, value in wanted]


def _times(values: pd.Series[str] | list[str], name: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(values, format="ISO8601", utc=True), name=name)
