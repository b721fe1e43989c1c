"""The equity curve worked out again from fills, cash flows and the prices each point was valued at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from athena.core.portfolio import Portfolio, opening
from athena.errors import JournalError
from athena.journal.codec import decode, from_text, to_text
from athena.journal.journal import Journal
from athena.model import CashFlow, Fill, Side

ON_ITS_WAY = timedelta(seconds=60)
TOLERANCE = Decimal("0.01")
FIELDS = ("equity", "cash", "realised_pnl", "unrealised_pnl")


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curve: as journaled (with earlier corrections), and as all that is known today gives it."""

    sequence: int
    venue_at: str
    stored: dict[str, Decimal | None]
    rebuilt: dict[str, Decimal]

    @property
    def difference(self) -> Decimal:
        """Rebuilt equity minus the stored one, in dollars."""
        return self.rebuilt["equity"] - (self.stored["equity"] or Decimal(0))

    @property
    def differs(self) -> bool:
        return abs(self.difference) > TOLERANCE or abs(self.rebuilt["cash"] - (self.stored["cash"] or 0)) > TOLERANCE


def rebuild_curve(journal: Journal) -> Iterator[Point]:
    """Every equity point in the order it was journaled, worked out with what is known today of its time.

    That is all that was journaled before the point, and what happened by its venue time and was journaled later by
    more than a minute: news that was merely on its way does not make a point wrong. Raises JournalError when no account
    is bound.
    """
    account = journal.one("SELECT * FROM account WHERE id = 1")
    if account is None:
        raise JournalError(f"{journal.path} has no account.", "Start the engine, which binds one.")
    openings = journal.query("SELECT symbol, quantity, price, mark FROM openings")
    portfolio = Portfolio(Decimal(account["opening_cash"]), map(opening, openings))
    news = _news(journal)
    journaled = sorted(news, key=lambda one: one.sequence, reverse=True)  # the next one is last
    happened = sorted(news, key=lambda one: (one.at, one.sequence), reverse=True)
    sql = "SELECT q.*, e.at, e.payload FROM equity q JOIN events e ON e.sequence = q.sequence ORDER BY q.sequence"
    for row in journal.query(sql):
        while journaled and journaled[-1].sequence < row["sequence"]:
            journaled.pop().enter(portfolio)
        late = to_text(from_text(row["at"]) + ON_ITS_WAY)
        while happened and happened[-1].at <= row["venue_at"]:
            if (one := happened.pop()).recorded_at > late:
                one.enter(portfolio)
        for symbol, price in (decode(row["payload"]).get("marks") or {}).items():
            portfolio.mark(symbol, Decimal(price))
        stored = {name: None if row[name] is None else Decimal(row[name]) for name in FIELDS}
        yield Point(row["sequence"], row["venue_at"], stored, {name: getattr(portfolio, name) for name in FIELDS})


@dataclass(frozen=True, slots=True)
class _News:
    """A fill or a cash flow: when it happened (venue), when it was journaled (machine), and as which event."""

    at: str
    recorded_at: str
    sequence: int
    fact: Fill | CashFlow

    def enter(self, portfolio: Portfolio) -> None:
        """Harmless when it is told twice."""
        if isinstance(self.fact, Fill):
            portfolio.apply_fill(self.fact)
        else:
            portfolio.apply_cash_flow(self.fact)


def _news(journal: Journal) -> list[_News]:
    found = [_News(r["at"], r["recorded_at"], r["sequence"], _fill(r)) for r in journal.query("SELECT * FROM fills")]
    told: dict[str, tuple[str, int]] = {}
    for event in journal.events(kinds=("cash_flow", "correction")):
        told.setdefault(event.payload.get("id") or f"correction-{event.sequence}", (to_text(event.at), event.sequence))
    for row in journal.query("SELECT * FROM cash_flows"):
        flow = CashFlow(row["id"], row["kind"], Decimal(row["amount"]), from_text(row["at"]))
        found.append(_News(row["at"], *told[row["id"]], flow))
    return found


def _fill(row: Any) -> Fill:
    return Fill(
        row["execution_id"], row["client_order_id"], "", row["symbol"], Side(row["side"]), Decimal(row["quantity"]),
        Decimal(row["price"]), from_text(row["at"]), row["strategy"], Decimal(row["fee"]),
    )  # fmt: skip
