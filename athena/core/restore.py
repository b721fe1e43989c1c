"""The state of a live system as of a time: the fold of its events, stopped there.

state = as_of(journal, datetime(2024, 1, 15, 9, 30, tzinfo=NEW_YORK))
state.portfolio, state.open_orders, state.halts, state.late
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from athena.core.comparison import CASH_TOLERANCE
from athena.core.portfolio import Portfolio
from athena.errors import JournalError
from athena.journal import sqlite
from athena.journal.codec import decode, to_text
from athena.journal.entry import Entry
from athena.journal.event import COLUMNS
from athena.journal.journal import Journal
from athena.journal.projections import fold
from athena.model import ZERO, OrderStatus, Position

_FINAL = tuple(status.value for status in OrderStatus if status.is_final)


@dataclass(frozen=True)
class State:
    """What the journal knew at `moment`: its first `sequence` events, folded. `repr` sums it up.

    `late` lists executions of before `moment` that were journaled only afterwards; the portfolio does not have them.
    """

    moment: datetime
    sequence: int
    portfolio: Portfolio
    open_orders: tuple[dict[str, Any], ...]
    halts: tuple[dict[str, Any], ...]
    limits: dict[str, Any]
    late: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        more = (
            f", {len(self.open_orders)} open orders, {len(self.halts)} halts"
            + f", {len(self.late)} late fills" * bool(self.late)
        )
        return f"<State as of {self.moment:%Y-%m-%d %H:%M:%S %Z}, event {self.sequence}: {self.portfolio!r}{more}>"


@dataclass(frozen=True)
class Correction:
    """One event that would make the books equal the venue's: `kind` and `payload` as they are journaled, and why."""

    kind: str
    payload: Mapping[str, Any]
    why: str


def last_event(journal: Journal, moment: datetime) -> int:
    """The last event before the first that happened, by the venue's time, after `moment`.

    Events that carry no venue time belong to where they stand. Raises JournalError when nothing was journaled by then.
    """
    text = to_text(moment)
    row = journal.one("SELECT min(sequence) AS first FROM events WHERE venue_at > ?", (text,))
    last = journal.head()[0] if row is None or row["first"] is None else int(row["first"]) - 1
    known = journal.one("SELECT min(venue_at) AS first, max(venue_at) AS last FROM events")
    if last == 0 or known is None or known["first"] is None or known["first"] > text:
        since = f"; it begins at {known['first']}" if known and known["first"] else ""
        raise JournalError(f"{journal.path} knows nothing of {text}{since}.", "Ask for a later time, in New York time.")
    return last


def fold_until(journal: Journal, sequence: int) -> Journal:
    """A read-only journal in memory whose tables are the fold of the first `sequence` events; close it after use."""
    source = sqlite.connect(journal.path, read_only=True)
    try:
        scratch = sqlite.scratch(source)
        try:
            scratch.execute(sqlite.BEGIN_READ)
            rows = source.execute(f"SELECT {COLUMNS} FROM events WHERE sequence <= ? ORDER BY sequence", (sequence,))
            fold(scratch, map(_entry, rows))
            # The latest equity event holds the prices positions were valued at.
            kept = source.execute(
                f"SELECT {COLUMNS} FROM events WHERE kind = 'equity' AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
                (sequence,),
            ).fetchall()
            scratch.executemany(f"INSERT INTO events ({COLUMNS}) VALUES ({', '.join('?' * 10)})", map(tuple, kept))
            scratch.commit()
        except BaseException:
            scratch.close()
            raise
    finally:
        source.close()
    return Journal(journal.path, scratch, f"as of event {sequence}", read_only=True)


def as_of(journal: Journal, moment: datetime) -> State:
    """The state at a venue time. Raises JournalError when no account was bound by then; ValueError on a naive time."""
    sequence, text = last_event(journal, moment), to_text(moment)
    with fold_until(journal, sequence) as then:
        slots = ", ".join("?" * len(_FINAL))
        orders = then.query(f"SELECT * FROM orders WHERE status NOT IN ({slots}) ORDER BY intended_at", _FINAL)
        halts = then.query("SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY at")
        limits = then.query("SELECT name, target, value FROM limits")
        portfolio = Portfolio.from_journal(then)
    late = journal.query("SELECT * FROM fills WHERE at <= ? AND sequence > ? ORDER BY at", (text, sequence))
    return State(
        moment, sequence, portfolio, tuple(map(dict, orders)), tuple(map(dict, halts)),
        {f"{row['name']} {row['target']}".strip(): decode(row["value"]) for row in limits}, tuple(map(dict, late)),
    )  # fmt: skip


def corrections(ours: Portfolio, positions: Iterable[Position], cash: Decimal) -> list[Correction]:
    """What makes the books' shares and cash equal the venue's, where no execution explains a difference.

    Shares that go leave at what they cost us, shares that come enter at the venue's average price: no profit is
    invented. What remains of cash is corrected apart, unless it is what every comparison calls agreement: venues round
    to the cent. Neither is an execution, and neither is called one.
    """
    mine, venue = {p.symbol: p for p in ours.positions()}, {p.symbol: p for p in positions}
    found, moved = [], ZERO
    for symbol in sorted(mine.keys() | venue.keys()):
        own, other = (side[symbol].quantity if symbol in side else ZERO for side in (mine, venue))
        parts = ((-own, True), (other, False)) if own * other < 0 else ((other - own, own * (other - own) < 0),)
        for delta, leaves in parts:
            if not delta:
                continue
            price = (mine if leaves else venue)[symbol].average_entry_price
            payload = {"symbol": symbol, "quantity": delta, "price": price}
            why = f"{symbol}: the journal has {own:f} shares, the venue {other:f}; {delta:+f} at {price:.4f}"
            found.append(Correction("correction", payload, why))
            moved -= delta * price
    if abs(difference := cash - (ours.cash + moved)) > CASH_TOLERANCE:
        why = f"cash: after that the journal has {difference:+,.2f} dollars too {'few' if difference > 0 else 'many'}"
        found.append(Correction("correction", {"cash": difference}, why))
    return found


def _entry(row: Any) -> Entry:
    sequence, at, venue_at, kind, actor, host, pid, payload, _, _ = row
    return Entry(sequence, at, venue_at, kind, actor, host, pid, decode(payload))
