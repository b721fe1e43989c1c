"""`athena decision-matrices`: the operators' matrices applied to the live system, the fired row of each marked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.decisions import Decision, drawdown, halted, slippage, worst
from athena.core.rejections import rejections, violation
from athena.errors import SettingsError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_load import load_book
from athena.live.guard_rules import Halt
from athena.ops.health import COLOURS, EXIT_CODES

if TYPE_CHECKING:
    from athena.journal.journal import Journal

MATRICES = ("halts", "drawdown", "slippage", "rejections", "violations")


def decision_matrices(settings: Settings, arguments: argparse.Namespace) -> int:
    """Apply every matrix, or the one named, to the latest trading day; the exit code is the most urgent row's."""
    if arguments.matrix and arguments.matrix not in MATRICES:
        raise SettingsError(f"'{arguments.matrix}' is not a matrix.", f"They are {', '.join(MATRICES)}.")
    guard = ExecutionGuard.get_instance(settings)
    found = apply_all(guard.journal, guard.limits(), arguments.matrix)
    verdict = Verdict(worst(found).value)
    if arguments.json:
        print(json.dumps({"verdict": verdict, "decisions": [decision.to_dict() for decision in found]}))
        return EXIT_CODES[verdict]
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"[{COLOURS[verdict]} bold]{verdict}[/] {settings.account_name}, by the operators' matrices")
    for decision in found:
        console.print()
        if arguments.matrix:
            console.print(str(decision), markup=False, soft_wrap=True)
            continue
        colour = COLOURS[Verdict(decision.severity.value)]
        console.print(f"[{colour}]{decision.severity:9}[/] [bold]{decision.matrix}[/]: ", end="")
        console.print(decision.subject, markup=False)
        console.print(f"          recommended: {decision.row.recommended}", markup=False)
        console.print(f"          by itself:   {decision.row.automatic}", markup=False)
    return EXIT_CODES[verdict]


def apply_all(journal: Journal, limits: Mapping[str, Any], only: str = "") -> list[Decision]:
    """The decisions on what stands now and on the latest trading day, in the order an operator reads them."""
    row = journal.one("SELECT MAX(trading_date) AS day FROM trading_days")
    day = (row and row["day"]) or ""
    found: list[Decision] = []
    if only in {"", "halts"}:
        rows = journal.query("SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY at")
        found += [halted(h.origin.value, h.owner, h.reason, limits) for h in map(Halt.from_row, rows)] or [halted()]
    if only in {"", "drawdown"}:
        known = journal.one("SELECT 1 FROM account") is not None
        found.append(drawdown(load_book(journal).drawdown_percent if known else None, limits))
    if only in {"", "slippage"}:
        found += _slippage(journal, day, limits) or [slippage(None, limits, symbol="no fills")] * bool(only)
    if only in {"", "rejections"}:
        orders = journal.query(
            "SELECT status, error FROM orders WHERE trading_date = ? AND status NOT IN ('refused', 'not_sent')", (day,)
        )
        found.append(rejections([order["error"] for order in orders if order["status"] == "rejected"], len(orders)))
    if only in {"", "violations"}:
        counts = journal.query(
            "SELECT code, SUM(times) AS n FROM violations WHERE trading_date = ? GROUP BY code ORDER BY n DESC", (day,)
        )
        told = [violation(one["code"], f"{one['n']} on {day}", {"count": one["n"]}) for one in counts]
        found += told or [violation("NONE", f"on {day}")]
    return found


def _slippage(journal: Journal, day: str, limits: Mapping[str, Any]) -> list[Decision]:
    """Each symbol's weighted slippage of the day past the first tier; the worst alone when none is."""
    from datetime import date

    from athena.analysis import execution
    from athena.core import frames

    fills = frames.fills(journal, date.fromisoformat(day)) if day else None
    if fills is None or fills.empty:
        return []
    table = execution.slippage(execution.with_slippage(fills), ["symbol"])
    decisions = [slippage(row["cost_bps"], limits, symbol=row["symbol"]) for row in table.to_dict("records")]
    return [one for one in decisions if one.row.key != "below"] or decisions[:1]
