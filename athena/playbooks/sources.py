"""Reads one trading day out of the journal into the frames `athena.analysis.daily` judges.

Everything is one read-only connection and stored facts; where something is missing, the record says so in `problem`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis.daily import DayRecord
from athena.analysis.tables import rows_of
from athena.core.trading_days import TradingDays
from athena.errors import JournalError, SettingsError
from athena.journal import Journal
from athena.journal.codec import day_of, from_text
from athena.live.vitals import Beat, beat
from athena.model import CashFlow, trading_date
from athena.playbooks.books.system import settings_of

_ORDERS = (  # an order of an earlier day whose end is still unknown concerns this day too
    "SELECT * FROM orders WHERE trading_date = ? OR (status IN ('unknown', 'intended') AND trading_date < ?)"
    " ORDER BY intended_at"
)
_STATES = "SELECT at, broker, state, reason FROM broker_states WHERE at >= ? AND at < ? ORDER BY sequence"
_MONEY = {
    "quantity", "price", "fee", "bid", "ask", "equity", "cash", "realised_pnl", "unrealised_pnl", "amount",
    "filled_quantity", "average_fill_price", "limit_price", "stop_price", "decision_price", "opening_equity",
}  # fmt: skip
_TIMES = {
    "at", "venue_at", "recorded_at", "intended_at", "intended_venue_at", "acknowledged_at", "changed_at", "cleared_at",
    "expires_at",
}  # fmt: skip


def day(date_text: str = "", journal: str = "") -> DayRecord:
    """The record of a trading day: `YYYY-MM-DD`, or "" for the latest in the journal; `journal` "" is the settings'.

    A journal or a day that is not there gives a record whose `problem` says so. Raises SettingsError on a date that
    is no date, and on settings or a calendar.toml that cannot be used.
    """
    path = Path(journal).expanduser().resolve() if journal else None
    settings = settings_of(path)
    path, days = path or settings.journal_path, TradingDays.load(settings)
    now = datetime.now(UTC)
    asked = _date(date_text) if date_text else None
    try:
        with Journal.open(path, "playbook", read_only=True) as opened:
            chosen = asked or latest_trading_date(opened)
            if chosen is None:
                return DayRecord(trading_date(now), str(path), now, "The journal holds no trading day yet.")
            with opened.reading():
                return _read(opened, chosen, now, days)
    except JournalError as error:
        return DayRecord(asked or trading_date(now), str(path), now, f"The journal cannot be read: {error}")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"'{text}' is not a date.", "Write it as YYYY-MM-DD.") from None


def latest_trading_date(journal: Journal) -> date | None:
    """The last day that was opened or has equity recorded; None in an empty journal."""
    row = journal.one(
        "SELECT max(d) FROM (SELECT max(trading_date) d FROM trading_days UNION SELECT max(trading_date) FROM equity)"
    )
    return None if row is None or row[0] is None else date.fromisoformat(row[0])


def _read(journal: Journal, chosen: date, now: datetime, days: TradingDays) -> DayRecord:
    text = chosen.isoformat()
    account = journal.one("SELECT * FROM account WHERE id = 1")
    facts = {key: account[key] for key in account.keys()} if account else {}  # noqa: SIM118 (a Row iterates values)
    sequence = journal.head()[0]
    if not journal.query(
        "SELECT 1 FROM trading_days WHERE trading_date = ? UNION SELECT 1 FROM equity WHERE trading_date = ?",
        (text, text),
    ):
        kept: Any = journal.one("SELECT min(trading_date), max(trading_date) FROM equity")
        known = f" It has {kept[0]} to {kept[1]}." if kept and kept[0] else " It has none."
        return DayRecord(
            chosen, str(journal.path), now, f"{chosen} is not in the journal.{known}", sequence, account=facts
        )
    curve = _frame(
        journal,
        "SELECT e.sequence, e.venue_at, e.equity, v.at FROM equity e JOIN events v USING (sequence)"
        " WHERE e.trading_date = ? ORDER BY e.venue_at, e.sequence",
        (text,),
    )
    start, marks_start = _start(journal, text)
    heard = beat(journal)
    begins, ends = _machine_span(journal, text)
    session = days.on(chosen)
    return DayRecord(
        trading_date=chosen,
        journal=str(journal.path),
        as_of=now,
        sequence=sequence,
        venue_now=_venue_now(heard, curve, chosen),
        engine_alive=heard is not None and heard.alive,
        session_open=session.opens.astimezone(UTC) if session else None,
        session_close=session.closes.astimezone(UTC) if session else None,
        account=facts,
        equity_start=start,
        opening_equity=_opening(journal, text),
        marks_start=marks_start,
        marks_end=_marks(journal, None if curve.empty else int(curve["sequence"].iloc[-1])),
        openings=_frame(journal, "SELECT symbol, quantity, price FROM openings"),
        fills=_fills(journal, text),
        equity=curve,
        closes=_closes(journal, text),
        cash_flows=_flows(journal, text),
        orders=_frame(journal, _ORDERS, (text, text)),
        violations=_frame(journal, "SELECT * FROM violations WHERE trading_date = ? ORDER BY sequence", (text,)),
        halts=_halts(journal, curve, begins, ends, text),
        limits=_limits(journal, text),
        reconciliations=_reconciliations(journal, begins, ends),
        broker_states=_frame(journal, _STATES, (begins, ends)),
    )  # fmt: skip


def _frame(journal: Journal, sql: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
    """The rows of a read, columns named even where there are none: money as Decimal, times aware, days as dates."""
    names, rows = journal.table(sql, parameters)
    frame = pd.DataFrame([tuple(row) for row in rows], columns=names, dtype=object)
    for name in names:
        if name in _MONEY:
            frame[name] = pd.Series([None if v is None else Decimal(v) for v in frame[name]], dtype=object)
        elif name in _TIMES:
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        elif name == "trading_date":
            frame[name] = pd.Series([date.fromisoformat(v) for v in frame[name]], dtype=object)
    return frame


def _start(journal: Journal, text: str) -> tuple[Decimal | None, dict[str, Decimal]]:
    """Equity at the end of the day before, with the marks in it; on the first day, what the account was bound with."""
    row = journal.one(
        "SELECT sequence, equity FROM equity WHERE trading_date < ?"
        " ORDER BY trading_date DESC, venue_at DESC, sequence DESC LIMIT 1",
        (text,),
    )
    if row:
        return Decimal(row["equity"]), _marks(journal, row["sequence"])
    account = journal.one("SELECT opening_equity FROM account WHERE id = 1")
    openings = journal.query("SELECT symbol, coalesce(mark, price) AS price FROM openings")
    prices = {r["symbol"]: Decimal(r["price"]) for r in openings}
    return (Decimal(account["opening_equity"]), prices) if account else (None, prices)


def _opening(journal: Journal, text: str) -> tuple[datetime, Decimal] | None:
    """When the day was opened and with how much, the base of the daily loss limit."""
    row = journal.one("SELECT opened_at, opening_equity FROM trading_days WHERE trading_date = ?", (text,))
    return (from_text(row["opened_at"]), Decimal(row["opening_equity"])) if row else None


def _marks(journal: Journal, sequence: int | None) -> dict[str, Decimal]:
    """The prices that went into one equity event."""
    row = journal.one("SELECT payload FROM events WHERE sequence = ?", (sequence,)) if sequence else None
    found = (json.loads(row["payload"]).get("marks") or {}) if row else {}
    return {symbol: Decimal(price) for symbol, price in found.items() if price is not None}


def _venue_now(heard: Beat | None, curve: pd.DataFrame, chosen: date) -> datetime | None:
    """The latest venue time known of; a heartbeat of a later day is no news of this one."""
    known: list[datetime] = [] if curve.empty else [curve["venue_at"].iloc[-1].to_pydatetime()]
    if heard and heard.venue_at and trading_date(heard.venue_at) == chosen:
        known.append(heard.venue_at)
    return max(known, default=None)


def _fills(journal: Journal, text: str) -> pd.DataFrame:
    return _frame(
        journal,
        "SELECT execution_id, client_order_id, strategy, symbol, side, quantity, price, fee, at, trading_date, bid, ask"
        " FROM fills WHERE trading_date <= ? ORDER BY at, sequence",
        (text,),
    )


def _closes(journal: Journal, text: str) -> pd.DataFrame:
    """The account's opening, and the last equity of each day up to this one."""
    return _frame(
        journal,
        "SELECT trading_date, equity FROM (SELECT trading_date, equity, row_number() OVER"
        " (PARTITION BY trading_date ORDER BY venue_at DESC, sequence DESC) n FROM equity WHERE trading_date <= ?)"
        " WHERE n = 1 ORDER BY trading_date",
        (text,),
    )


def _flows(journal: Journal, text: str) -> pd.DataFrame:
    """Money by the day whose readings first have it: of an evening or a weekend that is the next session's."""
    frame = _frame(
        journal,
        "SELECT id, kind, amount, at, day AS trading_date, description FROM (SELECT *, coalesce((SELECT"
        " min(trading_date) FROM equity WHERE venue_at >= cash_flows.at), trading_date) AS day FROM cash_flows)"
        " WHERE day <= ? ORDER BY at",
        (text,),
    )
    return frame.assign(
        is_transfer=[CashFlow(row.id, row.kind, row.amount, row.at).is_transfer for row in rows_of(frame)]
    )


def _machine_span(journal: Journal, text: str) -> tuple[str, str]:
    """Machine times, as stored text, from the last reading of the day before to the first of the next day."""
    first = journal.one(
        "SELECT max(e.at) FROM events e JOIN equity q USING (sequence) WHERE q.trading_date < ?", (text,)
    )
    after = journal.one(
        "SELECT min(e.at) FROM events e JOIN equity q USING (sequence) WHERE q.trading_date > ?", (text,)
    )
    return (first and first[0]) or "", (after and after[0]) or "9"


def _halts(journal: Journal, curve: pd.DataFrame, begins: str, ends: str, text: str) -> pd.DataFrame:
    """Halts in force at any time of the day, with `from_at` and `to_at` in venue time.

    A halt set by a process that does not know the venue's clock is placed by machine time, between the equity readings
    around it.
    """
    frame = _frame(journal, "SELECT * FROM halts ORDER BY at")
    cleared = {
        json.loads(row["payload"])["id"]: row["venue_at"]
        for row in journal.query(
            "SELECT payload, venue_at FROM events WHERE kind = 'halt.cleared' ORDER BY sequence DESC"
        )
    }
    spans = []
    for row in rows_of(frame):
        known = cleared.get(row.id)
        end = pd.NaT if pd.isna(row.cleared_at) else _place(row.cleared_at, known and from_text(known), curve)
        if pd.isna(end) and not pd.isna(row.expires_at):
            end = _place(row.expires_at, None, curve)
        spans.append((_place(row.at, None if pd.isna(row.venue_at) else row.venue_at, curve), end))
    frame["from_at"] = pd.Series([span[0] for span in spans], index=frame.index, dtype="datetime64[us, UTC]")
    frame["to_at"] = pd.Series([span[1] for span in spans], index=frame.index, dtype="datetime64[us, UTC]")
    in_day = [_touches(row, begins, ends, text) for row in rows_of(frame)]
    return frame[pd.Series(in_day, index=frame.index, dtype=bool)].reset_index(drop=True)


def _touches(row: Any, begins: str, ends: str, text: str) -> bool:
    """Set before the day ended and cleared, if at all, after it began; by trading dates where venue time is known."""
    from athena.journal.codec import to_text

    set_at = day_of(to_text(row.from_at)) if not pd.isna(row.venue_at) else None
    early = set_at <= text if set_at else to_text(row.at) < ends
    return early and (
        pd.isna(row.to_at) or to_text(row.cleared_at if not pd.isna(row.cleared_at) else row.expires_at) >= begins
    )


def _place(at: Any, venue_at: Any, curve: pd.DataFrame) -> Any:
    if venue_at is not None and not pd.isna(venue_at):
        return pd.Timestamp(venue_at)
    if len(curve) < 2:
        return pd.Timestamp(at)
    order = curve.sort_values("at")
    machine, venue = (pd.DatetimeIndex(order[name]).as_unit("us").asi8.astype(float) for name in ("at", "venue_at"))
    return pd.Timestamp(int(np.interp(pd.Timestamp(at).timestamp() * 1e6, machine, venue)), unit="us", tz="UTC")


def _limits(journal: Journal, day: str) -> pd.DataFrame:
    """Every limit as it stood when the day's record ended, overrides included; one that was never set is its default.

    Columns: name, target, value (as journaled), changed_by ("default" where nobody set it).
    """
    from athena.live.limits import LIMITS, to_json

    after = journal.one("SELECT min(sequence) FROM equity WHERE trading_date > ?", (day,))
    end = after[0] if after and after[0] else journal.head()[0] + 1
    found = {(name, ""): (to_json(limit.default), "default") for name, limit in LIMITS.items()}
    for event in journal.events(kinds=("limit.set",)):
        if event.sequence < end:
            told = event.payload
            found[told["name"], told.get("target") or ""] = (told["value"], told.get("by") or event.actor)
    rows = [(name, target, value, by) for (name, target), (value, by) in sorted(found.items())]
    return pd.DataFrame(rows, columns=["name", "target", "value", "changed_by"], dtype=object)


def _reconciliations(journal: Journal, begins: str, ends: str) -> pd.DataFrame:
    frame = _frame(
        journal,
        "SELECT at, venue_at, trigger, ok, breaks FROM reconciliations WHERE at >= ? AND at < ? ORDER BY sequence",
        (begins, ends),
    )
    return frame.assign(ok=[bool(v) for v in frame["ok"]], breaks=[json.loads(v) for v in frame["breaks"]])
