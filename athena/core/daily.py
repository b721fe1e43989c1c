"""The profit of a trading day, deposits and withdrawals left out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from athena.core.portfolio import Portfolio
from athena.errors import JournalError
from athena.journal.codec import day_of, from_text
from athena.journal.journal import Journal
from athena.model import ZERO, CashFlow


@dataclass(frozen=True, slots=True)
class DailyFigures:
    """A trading date's profit: equity - opening equity - transfers since. `source` says where the opening is from."""

    trading_date: date
    opening_equity: Decimal
    equity: Decimal
    transfers: Decimal
    source: str

    @property
    def pnl(self) -> Decimal:
        return self.equity - self.opening_equity - self.transfers


def daily_figures(journal: Journal, portfolio: Portfolio | None = None) -> DailyFigures:
    """Figures of the latest trading date the journal knows, at present marks.

    The opening is the day's own row, else the last equity recorded before it, else the equity the account was bound
    with. Raises JournalError when no account is bound.
    """
    portfolio = portfolio or Portfolio.from_journal(journal)
    day, opened_at, opening, source = _opening(journal)
    rows = journal.query("SELECT * FROM cash_flows WHERE at > ?", (opened_at,))
    flows = [CashFlow(r["id"], r["kind"], Decimal(r["amount"]), from_text(r["at"])) for r in rows]
    transfers = sum((flow.amount for flow in flows if flow.is_transfer), ZERO)
    return DailyFigures(date.fromisoformat(day), opening, portfolio.equity, transfers, source)


def _opening(journal: Journal) -> tuple[str, str, Decimal, str]:
    """The latest trading date, and the moment, equity and source of its opening."""
    account = journal.one("SELECT opening_equity, bound_at FROM account WHERE id = 1")
    if account is None:
        raise JournalError(f"{journal.path} has no account.", "Start the engine, which binds one.")
    latest = journal.one(
        "SELECT max(day) AS day FROM (SELECT max(trading_date) AS day FROM trading_days"
        " UNION SELECT max(trading_date) FROM equity UNION SELECT max(trading_date) FROM fills) AS days"
    )
    day = (latest and latest["day"]) or day_of(account["bound_at"])
    row = journal.one("SELECT opening_equity, opened_at FROM trading_days WHERE trading_date = ?", (day,))
    if row is not None:
        return day, row["opened_at"], Decimal(row["opening_equity"]), "day opened"
    row = journal.one(
        "SELECT equity, venue_at FROM equity WHERE trading_date < ? ORDER BY venue_at DESC, sequence DESC LIMIT 1",
        (day,),
    )
    if row is not None:
        return day, row["venue_at"], Decimal(row["equity"]), "last equity before"
    return day, account["bound_at"], Decimal(account["opening_equity"]), "account bound"
