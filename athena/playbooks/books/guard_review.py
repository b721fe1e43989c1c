"""Are the guard's limits right, and what did they do? Headroom, violations with their fix, who changed what."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.core import frames
from athena.core.rejections import violation
from athena.live.limits import LIMITS, show
from athena.playbooks.books import checks, pictures
from athena.playbooks.books.order_rejections import since
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, table
from athena.playbooks.books.trading_halt import agree

TITLE = "Guard review"
QUESTIONS = {
    "matrix": "What was violated, and what follows?",
    "limits": "Which limits bind, and how much room is left?",
    "when": "When did the guard act?",
    "orders": "Which were they?",
    "changes": "Who changed limits, and who halted?",
    "off": "Which protections are off?",
}
CORE = (
    "max_daily_loss_dollars",
    "max_position_per_symbol_dollars",
    "max_gross_exposure_dollars",
    "max_orders_per_minute",
    "max_consecutive_losses",
    "max_slippage_bps",
    "price_collar_bps",
    "max_order_notional_dollars",
    "max_disconnect_seconds",
    "drawdown_halt_percent",
)


@answers(TITLE, QUESTIONS)
def assess(system: System, days: int = 1) -> Assessment:
    """The limits as set, and the violations of the latest trading days."""
    start, span = since(system, days, 0.0)
    found = frames.violations(system.journal, start=start)
    counts = found["code"].value_counts()
    decided = [violation(str(code), f"{n} times", {"count": int(n)}) for code, n in counts.items()]
    own = [d for d in decided if d.row.severity.value != "OK"]
    findings = [
        _acted(system, own, span),
        checks.limits_used(system),
        agree(system),
        _core_on(system),
        checks.guard_free(system, worst=Verdict.ATTENTION),
    ]
    whole = decided or [violation("GUARD_HALTED")]
    marked = matrix(whole, only_fired=True) if decided else matrix(whole)
    if not decided:
        marked.frame["fired"] = ""
        marked.frame["on"] = ""
    words = f"{len(found)} violations in {span}; the rows that fired." if decided else f"None in {span}."
    sections = {
        "matrix": Section(QUESTIONS["matrix"], words, (marked,) if decided else ()),
        "limits": _limits(system),
        "when": _when(found),
        "orders": _latest(found),
        "changes": _changes(system),
        "off": _off(system),
    }
    numbers = {"violations": len(found), "codes": {str(code): int(n) for code, n in counts.items()}}
    return answer(
        TITLE,
        QUESTIONS,
        system,
        findings,
        sections,
        numbers,
        f"The guard is set, agrees with itself, and did not have to act in {span}.",
    )


def _acted(system: System, own: list[Any], span: str) -> Finding:
    check, rule = "Did the guard have to act?", "only refusals during a halt"
    if system.day is None:
        reason = "No trading day was opened yet: the guard had nothing to judge."
        return Finding(check, Verdict.UNKNOWN, "no day", rule, reason, "Start the engine: `athena engine`.")
    if not own:
        return Finding(check, Verdict.OK, "no", rule)
    first = max(own, key=lambda d: (d.row.severity.value == "STOP", d.inputs["count"]))
    told = ", ".join(f"{d.inputs['code']} × {d.inputs['count']}" for d in own)
    reason = f"In {span} the guard refused or acted: {told}."
    return Finding(check, Verdict.ATTENTION, told, rule, reason, first.row.recommended)


def _core_on(system: System) -> Finding:
    """The limits without which a mistake is not bounded are on."""
    check, rule = "Are the essential limits on?", f"all {len(CORE)}"
    limits = system.limits()
    off = [name for name in CORE if name in limits and limits[name] is None]
    if not off:
        return Finding(check, Verdict.OK, "all on", rule)
    return Finding(
        check,
        Verdict.ATTENTION,
        f"off: {', '.join(off)}",
        rule,
        f"{', '.join(off)} is off: nothing bounds it.",
        f"`athena limits {off[0]} VALUE`.",
    )


def _limits(system: System) -> Section:
    rules, used = system.rules(), checks.usage(system)
    changed = {(r["name"], r["target"]): r for r in system.journal.query("SELECT * FROM limits")}
    rows: list[list[Any]] = []
    shares: dict[str, float] = {}
    for name, value in system.limits().items():
        number = isinstance(value, Decimal | int) and not isinstance(value, bool) and value
        share = float(Decimal(used[name]) / Decimal(value)) if name in used and number else None
        if share is not None:
            shares[name] = min(share, 1.3) * 100
        row = changed.get((name, ""))
        rows.append([name, "", show(name, value), used.get(name), share, row["changed_by"] if row else "default"])
    rows += [
        [name, target, show(name, value), None, None, changed[name, target]["changed_by"]]
        for (name, target), value in sorted(rules.values.items())
        if target
    ]
    rows.sort(key=lambda row: -(row[4] or -1))
    columns = [
        Column("name", "Limit"),
        Column("target", "Only for"),
        Column("value", "Value"),
        Column("used", "Used"),
        Column("share", "Of it", style.percent),
        Column("by", "Set by"),
    ]
    shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
    tones = {
        name: style.RED if share >= 100 else style.ORANGE if share >= 80 else style.BLUE
        for name, share in shares.items()
    }
    draw = partial(pictures.bars, shares, "Used, % of the limit", tones=tones, lines=(80, 100)) if shares else None
    return Section(
        QUESTIONS["limits"],
        "The nearest to its limit first; dotted lines at 80 and 100 %.",
        (table("Limits", rows, *columns, cards=True, shown=60),),
        draw,
    )


def _when(found: pd.DataFrame) -> Section:
    if found.empty:
        return Section(QUESTIONS["when"], "It did not.")
    at = pd.DatetimeIndex(found["venue_at"].fillna(found["at"]))
    words = f"First {style.moment(at.min())}, last {style.moment(at.max())}."
    bucket = "1D" if at.max() - at.min() > pd.Timedelta(days=3) else "15min"
    return Section(
        QUESTIONS["when"], words, (), partial(pictures.counts_by_time, at, found["code"].tolist(), "Violations", bucket)
    )


def _latest(found: pd.DataFrame) -> Section:
    shown = found.assign(when=found["venue_at"].fillna(found["at"])).iloc[::-1].head(20).reset_index(drop=True)
    rows = shown[["when", "code", "symbol", "strategy", "message", "observed", "limit_value"]].to_numpy().tolist()
    columns = [
        Column("when", "At", style.moment),
        Column("code", "Code"),
        Column("symbol", "Symbol"),
        Column("strategy", "Strategy"),
        Column("message", "Message"),
        Column("observed", "Observed"),
        Column("limit_value", "Limit"),
    ]
    return Section(
        QUESTIONS["orders"], "The latest twenty.", (table("Violations, latest first", rows, *columns, cards=True),)
    )


def _changes(system: System) -> Section:
    rows = []
    for event in system.journal.events(kinds=("limit.set", "halt.set", "halt.cleared")):
        said = event.payload
        if event.kind == "limit.set":
            before, after = said.get("previous"), said.get("value")
            what = f"{said['name']} {said.get('target') or ''}".strip()
            rows.append(
                [
                    event.at,
                    event.actor,
                    what,
                    f"{'default' if before is None else before} → {after}",
                    said.get("reason"),
                ]
            )
        elif event.kind == "halt.set":
            what = f"halt {said.get('target') or 'everything'}"
            rows.append([event.at, event.actor, what, str(said.get("mode")), said.get("reason")])
        else:
            rows.append(
                [event.at, event.actor, "clear a halt", "override" if said.get("override") else "", said.get("reason")]
            )
    columns = [
        Column("at", "At", style.moment),
        Column("actor", "Who"),
        Column("what", "What"),
        Column("change", "Change"),
        Column("why", "Why"),
    ]
    shown = table("Latest twenty", rows[::-1][:20], *columns, empty="Nobody did.", cards=True)
    return Section(
        QUESTIONS["changes"], "By the journal, latest first; times are this machine's, shown as New York's.", (shown,)
    )


def _off(system: System) -> Section:
    rows = [[name, LIMITS[name].compares] for name, value in system.limits().items() if value is None]
    columns = [Column("name", "Limit"), Column("compares", "Would compare")]
    return Section(QUESTIONS["off"], "", (table("Off", rows, *columns, empty="None: every limit is on.", cards=True),))
