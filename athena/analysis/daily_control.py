"""The daily report's evidence on control: what the guard did, how close the limits were, what is left for tomorrow."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from athena.analysis import figures, style
from athena.analysis.assessment import Finding, Section, findings_table
from athena.analysis.daily_facts import DayFacts
from athena.analysis.daily_limits import limit_use
from athena.analysis.tables import Column, Table, rows_of

GUARD, LIMITS, OVERNIGHT, TOMORROW = (
    "Who stopped trading, why, and for how long?",
    "How close did the day come to its limits?",
    "What is held overnight, and does the broker agree?",
    "What needs looking at tomorrow?",
)


def guard(facts: DayFacts) -> Section:
    """Halts in force and violations, on the day's clock."""
    record = facts.record
    end = record.venue_now or (record.equity["venue_at"].iloc[-1] if len(record.equity) else record.as_of)
    stops = record.halts.assign(
        what=[row.target or "all trading" for row in rows_of(record.halts)],
        lasted=[(end if pd.isna(row.to_at) else row.to_at) - row.from_at for row in rows_of(record.halts)],
        ended=[
            "still in force" if pd.isna(row.to_at) else row.cleared_by or "expired" for row in rows_of(record.halts)
        ],
    )
    halts = [
        Column("from_at", "From ET", style.clock),
        Column("to_at", "To ET", style.clock),
        Column("lasted", "Lasted", style.span),
        Column("what", "What"),
        Column("mode", "Mode"),
        Column("owner", "Who"),
        Column("reason", "Why"),
        Column("ended", "Ended by"),
    ]
    violations = [
        Column("venue_at", "Time ET", style.clock),
        Column("code", "Check"),
        Column("symbol", "Symbol"),
        Column("strategy", "Strategy"),
        Column("observed", "Observed"),
        Column("limit_value", "Limit"),
        Column("action", "Action"),
    ]
    tables = (
        Table("Halts in force during the day, venue time", stops, halts, "Trading was never halted.", cards=True),
        Table("Violations", record.violations, violations, "The guard had nothing to refuse.", cards=True, shown=25),
    )
    draw = (
        (lambda: figures.guard_timeline(stops, record.violations, end)) if len(stops) + len(record.violations) else None
    )
    return Section(GUARD, "Each bar is one halt from its setting to its clearing; × marks a violation.", tables, draw)


def limits(facts: DayFacts) -> Section:
    """What the day used of each limit, and the limits that are not measured here."""
    use = limit_use(facts)
    columns = [
        Column("name", "Limit"),
        Column("target", "For"),
        Column("used", "Used", right),
        Column("limit", "Limit", right),
        Column("headroom", "Headroom", right),
        Column("unit", "Unit"),
        Column("used_fraction", "Share used", style.percent),
        Column("basis", "Measured as"),
        Column("by", "Set by"),
    ]
    others = [Column("name", "Limit"), Column("target", "For"), Column("limit", "Value", right),
              Column("unit", "Unit"), Column("by", "Set by")]  # fmt: skip
    known = use["used_fraction"].notna()
    measured = use[known].sort_values("used_fraction", ascending=False, ignore_index=True)
    draw = (lambda: figures.limit_bars(measured)) if len(measured) else None
    none, rest = "No limit could be measured.", use[~known].reset_index(drop=True)
    tables = (
        Table("Limits at the end of the day, with what the day used of them", measured, columns, none, cards=True),
        Table("The other limits, whose use this report does not measure", rest, others, "None.", shown=80),
    )
    reading = "Bars show the share used at the day's worst moment; past 80 % needs a look."
    return Section(LIMITS, reading, tables, draw)


def overnight(facts: DayFacts) -> Section:
    """What is held at the close, and the last comparison with the broker."""
    columns = [
        Column("symbol", "Symbol"),
        Column("strategy", "Strategy"),
        Column("quantity", "Shares", style.shares),
        Column("average", "Average $", style.usd),
        Column("mark", "Close $", style.usd),
        Column("value", "Value $", style.usd),
        Column("unrealised", "Unrealised $", style.usd),
    ]
    record = facts.record
    checks = record.reconciliations.tail(1)
    result = checks.assign(
        result=["agrees" if row.ok else "; ".join(str(item) for item in row.breaks) for row in rows_of(checks)]
    )
    seen = [Column("venue_at", "Venue time", style.moment), Column("trigger", "Trigger"), Column("result", "Result")]
    tables = (
        Table("Positions at the close", facts.positions, columns, "Flat.", cards=True),
        Table(
            "Last comparison with the broker", result, seen, "The day was never compared with the broker.", cards=True
        ),
    )
    return Section(OVERNIGHT, "Negative shares are short. Value is at the day's last mark.", tables)


def tomorrow(findings: Sequence[Finding]) -> Section:
    """Every rule as it was applied, those that fired first."""
    fired = [finding for finding in findings if finding.fired]
    reading = (
        "Every rule below was applied by code; those that fired name the next step."
        if fired
        else "Nothing: no rule fired."
    )
    return Section(TOMORROW, reading, (findings_table("The decision matrix, as applied", findings),))


def right(value: object) -> str:
    """Already written numbers, set flush right."""
    return style.text(value)
