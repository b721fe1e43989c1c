"""The daily report's rules on trading: execution, rejections, halts, the guard and the connection."""

from __future__ import annotations

from typing import Any

from athena.analysis import execution, style
from athena.analysis.assessment import Finding, Verdict
from athena.analysis.daily_facts import DayFacts, DayRecord
from athena.analysis.style import plural
from athena.analysis.tables import rows_of

REJECTED_SHARE = 0.05
OK, ATTENTION, STOP, UNKNOWN = Verdict.OK, Verdict.ATTENTION, Verdict.STOP, Verdict.UNKNOWN


def slippage(facts: DayFacts) -> list[Finding]:
    """Each symbol's weighted slippage, by the operators' 25 and 50 bps; only the symbols past them are listed."""
    rule = "25 bps limit orders, 50 bps halt the symbol"
    table = execution.slippage(facts.fills, ["symbol"])
    past = table[table["cost_bps"] >= execution.LIMIT_ORDERS_BPS]
    findings = []
    for row in rows_of(past):
        high = row.cost_bps > execution.HALT_SYMBOL_BPS
        reason = f"{row.symbol} cost {style.bps(row.cost_bps)} bps on {plural(row.fills, 'fill')}."
        action = (
            f"Keep {row.symbol} halted and find out why its spread opened."
            if high
            else f"Trade {row.symbol} by limit orders."
        )
        inputs = {"cost_bps": row.cost_bps, "fills": row.fills, "cost_usd": row.cost_usd}
        observed = f"{style.bps(row.cost_bps)} bps, n = {row.fills}"
        findings.append(Finding(f"What did {row.symbol} cost?", ATTENTION, observed, rule, reason, action, inputs))
    if not findings:
        worst = table["cost_bps"].max() if len(table) else None
        findings.append(Finding("What did execution cost?", OK, f"worst symbol {style.bps(worst)} bps", rule))
    return findings


def slippage_measured(facts: DayFacts) -> Finding:
    """Every fill had a quote to be measured against."""
    missing, n = int(facts.fills["cost_bps"].isna().sum()), len(facts.fills)
    check, rule, inputs = "Was slippage measured?", "a quote before every fill", {"missing": missing, "fills": n}
    if not missing:
        return Finding(check, OK, f"{n} of {n} fills", rule, inputs=inputs)
    reason = f"{missing} of {plural(n, 'fill')} had no quote to measure slippage against."
    return Finding(
        check, ATTENTION, f"{n - missing} of {n} fills", rule, reason, "Check the market-data stream.", inputs
    )


def rejections(record: DayRecord) -> Finding:
    """The venue rejected less than 5 % of what was sent."""
    check, rule = "Did the venue take the orders?", f"rejected below {style.percent(REJECTED_SHARE)}"
    sent = record.orders[~record.orders["status"].isin(["refused", "not_sent"])]
    rejected = int((sent["status"] == "rejected").sum())
    inputs = {"rejected": rejected, "sent": len(sent)}
    if rejected <= REJECTED_SHARE * len(sent):
        return Finding(check, OK, f"{rejected} of {len(sent)} rejected", rule, inputs=inputs)
    reason = f"The venue rejected {rejected} of {plural(len(sent), 'order')}."
    return Finding(
        check,
        ATTENTION,
        f"{rejected} of {len(sent)}",
        rule,
        reason,
        "Run `athena order-analysis --failed-only`.",
        inputs,
    )


def halts_ended(record: DayRecord) -> Finding:
    """No halt outlived the day."""
    check, standing = "Is trading free of halts?", record.halts[record.halts["to_at"].isna()]
    if standing.empty:
        return Finding(check, OK, "none in force", "none in force")
    names = ", ".join(_halt_name(row) for row in rows_of(standing))
    reason = f"Still halted: {names}."
    action = "See who owns each halt below; resume by its name once its cause is gone."
    return Finding(check, ATTENTION, plural(len(standing), "halt"), "none in force", reason, action, {"halts": names})


def guard_acted(record: DayRecord) -> Finding:
    """The guard had nothing to refuse, but for what a standing halt refuses."""
    lines = record.violations  # one that stands for several refusals alike says how many
    codes = lines.assign(times=lines.get("times", 1)).groupby("code")["times"].sum().sort_values(ascending=False)
    if codes.empty:
        return Finding("Did the guard have to act?", OK, "no violations", "none")
    listed = ", ".join(f"{code} × {n}" for code, n in codes.items())
    reason = f"{plural(int(codes.sum()), 'violation')}: {listed}."
    return Finding(
        "Did the guard have to act?",
        ATTENTION,
        listed,
        "none",
        reason,
        "Read the violations below, cause by cause.",
        dict(codes),
    )


def broker_connected(record: DayRecord) -> Finding:
    """The last connection state of the day was connected."""
    check = "Did the connection hold?"
    if record.broker_states.empty:
        return Finding(check, OK, "no change recorded", "connected")
    lost = record.broker_states[record.broker_states["state"].isin(["reconnecting", "error"])]
    inputs: dict[str, Any] = {"losses": len(lost)}
    if lost.empty:
        return Finding(check, OK, "never lost", "never lost", inputs=inputs)
    why = lost["reason"].iloc[-1] or "no reason given"
    reason = f"The connection to the broker was lost {plural(len(lost), 'time')}, last: {why}."
    return Finding(
        check,
        ATTENTION,
        f"lost {len(lost)} times",
        "never lost",
        reason,
        "Run `athena check-brokers` before the open.",
        inputs,
    )


def _halt_name(row: Any) -> str:
    place = "all trading" if row.scope == "global" else row.target
    return f"{place} by {row.owner or row.origin}"
