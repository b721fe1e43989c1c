"""The daily report: one trading day's record in, its assessment out. `assess(record)` is the whole of it."""

from __future__ import annotations

from typing import Any

from athena.analysis import curves, execution, style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.daily_facts import DayFacts, DayRecord, work_out
from athena.analysis.daily_rules import judge
from athena.analysis.daily_sections import QUESTIONS, build

__all__ = ["DayRecord", "assess", "numbers"]


def assess(record: DayRecord) -> Assessment:
    """The day's verdict with its evidence; a day that cannot be judged is UNKNOWN and says why, never an exception."""
    if record.problem:
        return _unknown(record, record.problem)
    try:
        facts = work_out(record)
        findings = judge(facts)
    except ValueError as error:
        return _unknown(record, f"The record cannot be right: {error}.", "Run `athena verify-journal`, then reconcile.")
    verdict, reason, action = conclude(
        findings, "The day's books close, and nothing needs attention.", "Nothing to do; plan tomorrow's limits."
    )
    return Assessment(
        title=f"Daily report {record.trading_date}",
        verdict=verdict,
        reason=f"{_profit(facts)}{reason}",
        action=action,
        as_of=record.venue_now or record.as_of,
        findings=tuple(findings),
        sections=build(facts, findings),
        numbers=numbers(facts),
        facts=_facts(record),
    )


def numbers(facts: DayFacts) -> dict[str, Any]:
    """The key figures with their units in their names; None is not known."""
    identity, record, priced = facts.identity, facts.record, facts.fills
    pull = curves.underwater_dollars(facts.curve - facts.curve.iloc[0]) if len(facts.curve) else facts.curve
    whole = execution.outcomes(record.orders.assign(all="all"), "all")
    measured = execution.slippage(priced.assign(all="all"), ["all"])
    return {
        "equity_start_usd": record.equity_start,
        "equity_end_usd": None if record.equity.empty else record.equity["equity"].iloc[-1],
        "profit_usd": identity.profit if identity else None,
        "realised_usd": identity.realised if identity else None,
        "unrealised_change_usd": identity.unrealised if identity else None,
        "fees_usd": identity.fees if identity else None,
        "unexplained_usd": identity.unexplained if identity else None,
        "unexplained_tolerance_usd": identity.tolerance if identity else None,
        "drawdown_day_usd": float(pull.min()) if len(pull) else None,
        "drawdown_closes_fraction": float(facts.close_drawdown.iloc[-1]) if len(facts.close_drawdown) else None,
        "fills": len(priced),
        "orders_sent": 0 if whole.empty else int(whole["sent"].iloc[0]),
        "orders_refused": 0 if whole.empty else int(whole["refused"].iloc[0]),
        "orders_rejected": 0 if whole.empty else int(whole["rejected"].iloc[0]),
        "fill_rate_fraction": None if whole.empty else whole["fill_rate"].iloc[0],
        "slippage_usd": None if measured.empty else measured["cost_usd"].iloc[0],
        "slippage_bps": None if measured.empty else measured["cost_bps"].iloc[0],
        "slippage_unmeasured_fills": 0 if measured.empty else int(measured["unmeasured"].iloc[0]),
        "halts": len(record.halts),
        "violations": int(record.violations.assign(times=record.violations.get("times", 1))["times"].sum()),
        "positions": len(facts.positions),
    }


def _profit(facts: DayFacts) -> str:
    """The day's profit in words, ahead of everything else; nothing where it cannot be worked out, which a rule says."""
    identity, start = facts.identity, facts.record.equity_start
    if identity is None:
        return ""
    share = f" ({style.signed_percent(float(identity.profit / start))})" if start else ""
    return f"P&L {style.dollars(identity.profit)}{share}. "


def _facts(record: DayRecord) -> dict[str, Any]:
    return {
        "trading_date": record.trading_date,
        "journal": record.journal,
        "sequence": record.sequence,
        "venue": record.account.get("venue"),
        "account_number": record.account.get("account_number"),
        "read_at": record.as_of,
    }


def _unknown(
    record: DayRecord, reason: str, action: str = "Give the day another date, or start the engine."
) -> Assessment:
    sections = {key: Section(question, f"Not known. {reason}") for key, question in QUESTIONS.items()}
    finding = Finding("Is the day in the journal?", Verdict.UNKNOWN, "no", "yes", reason, action)
    return Assessment(
        f"Daily report {record.trading_date}", Verdict.UNKNOWN, reason, action,
        record.venue_now or record.as_of, (finding,), sections, {}, _facts(record),
    )  # fmt: skip
