"""Trading is halted: why, what is at risk meanwhile, and may it resume? Resumes by a typed confirmation."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, cast

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column, Table
from athena.core import decisions, frames
from athena.core.decisions import Decision
from athena.errors import AthenaError
from athena.model import Mode, Origin, Scope
from athena.playbooks.books import checks, market, pictures, prometheus
from athena.playbooks.books.acting import Plan, Truth, own_settings, phrase
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, of_decision, table

TITLE = "Trading halt"
QUESTIONS = {
    "halts": "What is halted, by whom, and why?",
    "matrix": "What does the decision matrix say?",
    "exposure": "What is held meanwhile?",
    "before": "What led to it?",
    "metrics": "What did the metrics say around it?",
    "resume": "May it resume?",
}


@answers(TITLE, QUESTIONS)
def assess(system: System, symbol: str = "") -> Assessment:
    """Every standing halt by its row of the matrix, with exposure and the resume checklist; `symbol` looks at one."""
    halts = [halt for halt in system.halts() if not symbol or halt.target in ("", symbol.upper())]
    limits = system.limits()
    decided = [decisions.halted(halt.origin.value, halt.owner, halt.reason, limits) for halt in halts]
    whole = decided or [decisions.halted(limits=limits)]
    findings = [_halted(halt, decision) for halt, decision in zip(halts, decided, strict=True)]
    findings += [agree(system), checks.engine(system), checks.settled(system), checks.reconciled(system)]
    ready = checklist(system, halts)
    findings += [_ready(ready, halts)]
    at_risk, held = exposure(system, QUESTIONS["exposure"])
    sections = {
        "halts": _halts(system, halts),
        "matrix": Section(QUESTIONS["matrix"], "The fired rows come first.", (matrix(whole),)),
        "exposure": at_risk,
        "before": _before(system),
        "metrics": prometheus.around_halts(system, QUESTIONS["metrics"], halts),
        "resume": _resume(ready, halts),
    }
    numbers = {"halts": len(halts), "positions": len(held), **_numbers(system)}
    return answer(TITLE, QUESTIONS, system, findings, sections, numbers, "Nothing is halted.", "Trade on.")


def plan(system: System, symbol: str = "", reason: str = "") -> Plan:
    """Resuming everything, or one symbol: exactly which halts would be cleared, and which would remain."""
    symbol = symbol.upper()
    again = partial(assess, system, symbol)
    title = f"Resume {symbol or 'all trading'}."
    if blocked := own_settings(system):
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, blocked)
    standing = system.halts()
    mine = [halt for halt in standing if _covers(halt, symbol)]
    remaining = [halt for halt in standing if not _covers(halt, symbol)]
    effect = [f"Clears: {halt}" for halt in mine] + [f"Remains: {halt}" for halt in remaining]
    effect.append("The checklist is asked again in the same transaction; a line that fails refuses.")
    blocked = "" if mine else "nothing of it is halted."
    blocked = blocked or ("" if reason.strip() else "reason is empty: say why it is safe again.")
    words = phrase(f"resume {symbol or 'everything'}", [halt.id for halt in standing])

    def do() -> list[str]:
        from athena.live.execution_guard import ExecutionGuard

        guard = ExecutionGuard.get_instance(system.settings)
        return str(guard.resume(symbol or None, None, reason, halt_ids=[halt.id for halt in mine])).splitlines()

    def read() -> Truth:
        left = [halt for halt in system.halts() if _covers(halt, symbol)]
        return Truth(not left, tuple(f"Still halted: {halt}" for halt in left) or (f"Read back: {_may_pass(system)}.",))

    return Plan(title, tuple(effect), words, do, read, again, blocked)


def _covers(halt: Any, symbol: str) -> bool:
    return halt.target == symbol and halt.scope is (Scope.SYMBOL if symbol else Scope.GLOBAL)


def checklist(system: System, halts: list[Any]) -> list[tuple[str, bool, str]]:
    """The guard's own checklist for clearing these halts, asked without a transaction: name, holds, detail."""
    from athena.live.guard_checklist import checklist as guards

    flag = system.flag()
    if flag is None:
        return [("guard flag", False, "it does not exist: no engine runs since this machine started")]
    try:
        asked = guards(flag)(cast(Any, system.journal), tuple(halts))
        lines = [(line.name, line.holds, line.seen) for line in asked if line.name != "journal writable"]
        lines.append(("engine vouches", flag.lease_seconds > 0, f"lease {max(0.0, flag.lease_seconds):.1f} s"))
        return lines
    finally:
        flag.close()


def _ready(lines: list[tuple[str, bool, str]], halts: list[Any]) -> Finding:
    check, rule = "May it resume?", "every line of the checklist"
    failed = [f"{name}: {detail}" for name, holds, detail in lines if not holds]
    if not halts:
        return Finding(check, Verdict.OK, "nothing to resume", rule)
    if not failed:
        return Finding(check, Verdict.OK, f"{len(lines)} of {len(lines)} lines hold", rule)
    reason = f"It may not resume: {'; '.join(failed)}."
    return Finding(
        check, Verdict.ATTENTION, f"{len(failed)} of {len(lines)} lines fail", rule, reason, "Mend these lines first."
    )


def _halted(halt: Any, decision: Decision) -> Finding:
    what = halt.where if halt.scope is not Scope.GLOBAL else "everything"
    mode = halt.mode.value.replace("_", "-")
    reason = f"{what[:1].upper()}{what[1:]} is {mode}: {halt.reason} (by {halt.owner})."
    return of_decision(f"Why is {what} {mode}?", decision, reason=reason)


def agree(system: System) -> Finding:
    """Flag and journal say the same; a halt that only the flag knows is somebody's who died."""
    from athena.live.guard_flag import H, R

    check, rule = "Do flag and journal agree?", "both halt, or neither"
    flag = system.flag()
    if flag is None:
        if not system.alive:
            return Finding(check, Verdict.OK, "no flag: nothing passes", rule)
        reason = "The engine lives, but its flag is not on this machine."
        return Finding(
            check, Verdict.UNKNOWN, "no flag here", rule, reason, "`athena guard-state-check`, where the engine runs."
        )
    try:
        refusing = flag.words[H] == 0 or flag.words[H] != flag.words[R]
        known = system.journal.one("SELECT 1 FROM halts WHERE nonce = ?", (str(flag.words[H]),)) is not None
    finally:
        flag.close()
    everything = any(h.scope is Scope.GLOBAL and h.mode is Mode.HALTED for h in system.halts())
    if refusing == everything:
        return Finding(check, Verdict.OK, "both halt" if refusing else "neither halts", rule)
    if refusing:
        why = "" if known else " No row explains it: whoever set it died, or could not write the journal."
        reason = f"The flag refuses every order, though no row of the journal halts everything.{why}"
        return Finding(
            check,
            Verdict.ATTENTION,
            "only the flag halts",
            rule,
            reason,
            "`athena guard-state-check`, then resume by name.",
        )
    reason = "The journal halts everything, and the flag lets pass."
    return Finding(check, Verdict.STOP, "only the journal halts", rule, reason, "Halt again now: `athena halt`.")


def _may_pass(system: System) -> str:
    flag = system.flag()
    try:
        passes = flag is not None and flag.allows()
    finally:
        if flag is not None:
            flag.close()
    left = system.halts()
    rest = f"; {len(left)} other halts stand" if left else ""
    return f"orders may pass{rest}" if passes else f"no order passes yet (engine {system.engine_words}){rest}"


def _halts(system: System, halts: list[Any]) -> Section:
    now = datetime.now(UTC)
    rows = [
        [h.where, h.mode.value.replace("_", "-"), h.owner, h.origin.value, h.reason, h.at, now - h.at] for h in halts
    ]
    columns = [
        Column("what", "What"),
        Column("mode", "Mode"),
        Column("owner", "Owner"),
        Column("origin", "By"),
        Column("reason", "Reason"),
        Column("at", "Since", style.moment),
        Column("age", "Ago", style.span),
    ]
    past = frames.halts(system.journal)
    past = past[past["cleared_at"].notna()].sort_values("cleared_at", ascending=False).head(10).reset_index(drop=True)
    where = [
        f"{row.scope} {row.target}".strip() if row.scope != "global" else "everything" for row in past.itertuples()
    ]
    past = past.assign(what=where, lasted=past["cleared_at"] - past["at"])
    shown = [
        Column("what", "What"),
        Column("owner", "Owner"),
        Column("reason", "Reason"),
        Column("lasted", "Lasted", style.span),
        Column("cleared_by", "Cleared by"),
        Column("cleared_reason", "Because"),
    ]
    standing = table("Standing halts", rows, *columns, empty="Nothing is halted.", cards=True)
    words = "Orders are refused, and open strategy orders cancelled where the settings say so; operators' exits pass."
    return Section(
        QUESTIONS["halts"], words if halts else "", (standing, Table("Cleared lately", past, shown, cards=True))
    )


def exposure(system: System, question: str) -> tuple[Section, list[Any]]:
    """Positions, open orders and equity now, and the positions themselves."""
    try:
        portfolio = system.portfolio()
    except AthenaError as error:
        return Section(question, f"Not known. {error.message}"), []
    held = portfolio.positions()
    rows = [
        [p.symbol, p.quantity, p.average_entry_price, p.current_price, p.market_value, p.unrealised_pnl] for p in held
    ]
    columns = [
        Column("symbol", "Symbol"),
        Column("quantity", "Shares", style.shares),
        Column("price", "Entry, $", style.usd),
        Column("mark", "Mark, $", style.usd),
        Column("value", "Value, $", style.usd),
        Column("gain", "Unrealised, $", style.usd),
    ]
    orders = [
        [
            o["symbol"],
            o["side"],
            o["type"],
            Decimal(o["quantity"] or 0),
            Decimal(o["filled_quantity"] or 0),
            o["status"],
        ]
        for o in system.open_orders()
    ]
    order_columns = [
        Column("symbol", "Symbol"),
        Column("side", "Side"),
        Column("type", "Type"),
        Column("quantity", "Shares", style.shares),
        Column("filled", "Filled", style.shares),
        Column("status", "Status"),
    ]
    values = {p.symbol: float(p.market_value) for p in held if p.market_value is not None}
    values = dict(sorted(values.items(), key=lambda item: -abs(item[1])))
    draw = partial(pictures.bars, values, "Market value, $ (short is negative)") if values else None
    gross = sum(abs(value) for value in values.values())
    words = f"Equity {style.dollars(portfolio.equity)}, gross {style.dollars(gross)}. Positions go on moving."
    tables = (
        table("Positions", rows, *columns, empty="Nothing is held."),
        table("Open orders", orders, *order_columns),
    )
    return Section(question, words, tables, draw), list(held)


def _before(system: System) -> Section:
    day = system.day
    if day is None:
        return Section(QUESTIONS["before"], "Not known. No trading day was opened yet.")
    today = market.equity_of(system, day)
    found = frames.violations(system.journal, day)
    at = found["venue_at"].fillna(found["at"])
    found = found.assign(when=at).tail(15).iloc[::-1].reset_index(drop=True)
    columns = [
        Column("when", "At", style.moment),
        Column("code", "Code"),
        Column("symbol", "Symbol"),
        Column("message", "Message"),
        Column("observed", "Observed"),
        Column("limit_value", "Limit"),
    ]
    marks = pd.DataFrame({"at": at, "text": found["code"].reindex(at.index, fill_value="")})
    draw = partial(pictures.curve, today, "Equity, $", marks=marks) if len(today) > 1 else None
    words = f"{day}: the equity of the day, a cross for each violation; below, the latest violations."
    return Section(
        QUESTIONS["before"], words, (Table("Violations of the day, latest first", found, columns, cards=True),), draw
    )


def _resume(lines: list[tuple[str, bool, str]], halts: list[Any]) -> Section:
    rows = [["OK" if holds else "STOP", name, detail] for name, holds, detail in lines]
    columns = [Column("verdict", ""), Column("name", "Check"), Column("detail", "Seen")]
    words = "The guard asks these lines itself when it resumes." if halts else "Nothing needs resuming."
    own = [h for h in halts if h.origin is Origin.OPERATOR]
    words += f" {len(own)} were set by people: ask them first." if own else ""
    return Section(QUESTIONS["resume"], words, (table("Checklist", rows, *columns),))


def _numbers(system: System) -> dict[str, Any]:
    used = checks.usage(system)
    return {"day_pnl_usd": used.get("pnl"), "consecutive_losses": used.get("max_consecutive_losses")}
