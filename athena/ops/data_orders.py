"""Orders by how they ended; the failed ones by cause, each cause with its fix."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.decisions import Severity
from athena.core.rejections import REJECTED_SHARE, rejection, violation
from athena.journal.journal import Journal
from athena.ops.recovery_show import Table, say, working

_FAILED = ("rejected", "refused", "not_sent", "unknown")
_BY = {"rejected": "the venue", "refused": "the guard", "not_sent": "nobody: not sent", "unknown": "nobody: no answer"}
_LOST = {
    "not_sent": ("never reached the venue", "athena check-brokers; the strategy may decide again"),
    "unknown": ("no answer found yet", "athena reconcile-orders; it counts as open until the venue says"),
}
_WORDS_MAX = 60


@dataclass
class Cause:
    """Failed orders with one cause: who refused, how many, which symbols, strategies, last words, and the fix."""

    cause: str
    by: str
    fix: str
    severity: Severity
    orders: int = 0
    symbols: Counter[str] = field(default_factory=Counter)
    strategies: Counter[str] = field(default_factory=Counter)
    last_at: str = ""
    last_words: str = ""

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"symbols": dict(self.symbols), "strategies": dict(self.strategies)}


def order_analysis(settings: Settings, arguments: argparse.Namespace) -> int:
    """Group failed orders by cause; exit 10 when the venue rejected more than 5 % of what was sent."""
    with (
        Journal.open(settings.journal_path, "order-analysis", read_only=True) as journal,
        working(arguments, "reading"),
    ):
        sql = "SELECT DISTINCT trading_date AS day FROM orders ORDER BY day DESC LIMIT ?"
        days = [row["day"] for row in journal.query(sql, (arguments.days,))]
        rows = _orders(journal, min(days)) if days else []
    counts = Counter(row["status"] for row in rows)
    causes = group(rows)
    rejected, sent = counts["rejected"], len(rows) - counts["refused"] - counts["not_sent"]
    failed = sum(counts[status] for status in _FAILED)
    many = rejected > REJECTED_SHARE * sent
    lost = counts["unknown"] > 0
    span = f"{days[-1]} to {days[0]}" if len(days) > 1 else days[0] if days else "no orders yet"
    told = f"{span}: {len(rows):,} orders, {sent:,} sent, {failed:,} failed"
    told += f"; the venue rejected {rejected} ({rejected / sent:.1%} of those sent)" if sent else ""
    tables: list[Table] = []
    if not arguments.failed_only:
        total = [(status, f"{n:,}", f"{n / len(rows):.1%}") for status, n in counts.most_common()]
        tables.append(("by outcome", ("status", "orders", "share"), total))
    listed = [(c.orders, c.by, c.cause, _few(c.symbols), _few(c.strategies), c.fix) for c in causes]
    tables.append(("failed, by cause", ("n", "refused by", "cause", "symbols", "strategies", "fix"), listed))
    tables.append(
        (
            "the last words of each",
            ("cause", "at (UTC)", "words"),
            [(c.cause, c.last_at[11:19], c.last_words) for c in causes],
        )
    )
    facts = {
        "days": days,
        "orders": len(rows),
        "sent": sent,
        "outcomes": dict(counts),
        "causes": [c.to_dict() for c in causes],
    }
    verdict = Verdict.ATTENTION if many or lost else Verdict.OK
    then = causes[0].fix if causes and verdict is not Verdict.OK else ""
    return say(arguments, verdict, told, facts, tables, then)


def group(rows: list[Any]) -> list[Cause]:
    """Causes of the failed among these order rows, the most frequent first."""
    found: dict[tuple[str, str], Cause] = {}
    for row in rows:
        status = row["status"]
        if status not in _FAILED:
            continue
        words = str(row["message"] or row["error"] or "")
        if status in _LOST:
            cause, fix = _LOST[status]
            severity = Severity.ATTENTION
        else:
            decision = rejection(row["error"]) if status == "rejected" else violation(row["code"] or "", words)
            cause, fix, severity = decision.row.when, decision.row.recommended, decision.severity
            if status == "refused":
                cause = f"{cause} ({row['code'] or 'no code'})"
        one = found.setdefault((status, cause), Cause(cause, _BY[status], fix, severity))
        one.orders += 1
        one.symbols[row["symbol"]] += 1
        one.strategies[row["strategy"]] += 1
        if row["intended_at"] >= one.last_at:
            one.last_at, one.last_words = row["intended_at"], words
    return sorted(found.values(), key=lambda cause: -cause.orders)


def _orders(journal: Journal, since: str) -> list[dict[str, Any]]:
    """The orders since a trading date; a refused one with the guard's code and words."""
    violations = journal.query("SELECT * FROM violations WHERE trading_date >= ? ORDER BY sequence", (since,))
    refusals = {row["client_order_id"]: row for row in violations if row["client_order_id"]}
    found = [dict(row) for row in journal.query("SELECT * FROM orders WHERE trading_date >= ?", (since,))]
    for row in found:
        refusal = refusals.get(row["client_order_id"]) if row["status"] == "refused" else None
        row |= {"code": refusal["code"] if refusal else "", "message": refusal["message"] if refusal else ""}
    return found


def _few(counts: Counter[str]) -> str:
    text = ", ".join(f"{name} {n}" for name, n in counts.most_common())
    return text if len(text) <= _WORDS_MAX else f"{text[:_WORDS_MAX]}…"
