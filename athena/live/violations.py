"""Violations as the journal has them: what a rule refused or did, with what it saw and the limit it met."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from athena.live.verdict import Code

if TYPE_CHECKING:
    from athena.journal.journal import Journal

MOST = 5_000


@dataclass(frozen=True, slots=True)
class Violation:
    """One line of the violations table. `timestamp` is local time without zone, as `datetime.now()` is."""

    timestamp: datetime
    at: datetime
    type: Code
    message: str
    symbol: str
    strategy: str
    observed: str
    limit: str
    action: str
    client_order_id: str
    sequence: int
    times: int = 1  # of a line that stands for several refusals alike

    def __str__(self) -> str:
        seen = f"{self.observed} / {self.limit}"
        often = f" {self.times} times" if self.times > 1 else ""
        return f"{self.timestamp:%Y-%m-%d %H:%M:%S} {self.type.value} {self.symbol}: {self.message} ({seen}){often}"


def violations(journal: Journal, most: int = MOST) -> list[Violation]:
    """The latest violations, oldest first."""
    rows = journal.query("SELECT * FROM violations ORDER BY sequence DESC LIMIT ?", (most,))
    return [_from_row(row) for row in reversed(rows)]


def order_times(journal: Journal) -> list[datetime]:
    """Local naive times of the orders let through in the last hour of machine time."""
    from athena.journal.codec import to_text

    since = to_text(datetime.now(UTC) - timedelta(hours=1))
    sql = "SELECT intended_at FROM orders WHERE status != 'refused' AND intended_at > ? ORDER BY intended_at"
    return [naive_local(datetime.fromisoformat(row["intended_at"])) for row in journal.query(sql, (since,))]


def naive_local(at: datetime) -> datetime:
    """The aware time as `datetime.now()` would have told it here."""
    return at.astimezone().replace(tzinfo=None)


def _from_row(row: Any) -> Violation:
    at = datetime.fromisoformat(row["at"])
    try:
        code = Code(row["code"])
    except ValueError:
        code = Code.UNKNOWN
    return Violation(
        naive_local(at), at, code, row["message"], row["symbol"] or "", row["strategy"] or "", row["observed"] or "",
        row["limit_value"] or "", row["action"] or "", row["client_order_id"] or "", row["sequence"], row["times"],
    )  # fmt: skip
