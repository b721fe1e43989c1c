"""The daily report's decision matrix: each rule compares one observation with its thresholds and names the next step.

Written as passing conditions, so that what is missing never passes. Thresholds of drawdown and slippage are the
operators' own matrices.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Finding, Verdict
from athena.analysis.daily_conduct import (
    broker_connected,
    guard_acted,
    halts_ended,
    rejections,
    slippage,
    slippage_measured,
)
from athena.analysis.daily_facts import DayFacts, DayRecord
from athena.analysis.daily_limits import limit_use
from athena.analysis.style import plural
from athena.analysis.tables import rows_of

CLOSE_GRACE = timedelta(minutes=5)  # how long before the close the last equity may have been recorded
LIMIT_NEAR = 0.8
DRAWDOWN_TIERS = (
    (0.15, Verdict.STOP, "Emergency stop: halt, and review by hand before anything trades."),
    (0.10, Verdict.STOP, "Halt new entries and review the exits: `athena halt --reduce-only`."),
    (0.05, Verdict.ATTENTION, "Reduce position sizes by 25 %: `athena reduce-position-sizes --factor 0.75`."),
)
OK, ATTENTION, STOP, UNKNOWN = Verdict.OK, Verdict.ATTENTION, Verdict.STOP, Verdict.UNKNOWN


def judge(facts: DayFacts) -> list[Finding]:
    """Every rule, applied, in the order a reader should hear of them."""
    return [
        is_complete(facts.record),
        explained(facts),
        reconciled(facts.record, facts.fills),
        orders_settled(facts.record),
        drawdown(facts),
        halts_ended(facts.record),
        *slippage(facts),
        *limits_kept(facts),
        slippage_measured(facts),
        rejections(facts.record),
        guard_acted(facts.record),
        broker_connected(facts.record),
    ]


def is_complete(record: DayRecord) -> Finding:
    """The record reaches the close of a session that is over."""
    check, rule = "Does the record reach the close?", f"to the close, less {style.span(CLOSE_GRACE)}"
    if record.session_close is None:
        reason = f"{record.trading_date} is no session of the exchange."
        return Finding(check, UNKNOWN, "no session", rule, reason, "Name a trading day.")
    if record.equity.empty:
        reason = f"No equity was recorded on {record.trading_date}."
        return Finding(
            check,
            UNKNOWN,
            "no equity",
            rule,
            reason,
            "Ask the broker for the day, and find out why the engine kept none.",
        )
    last = record.equity["venue_at"].iloc[-1]
    inputs = {"last": last, "close": record.session_close, "engine_alive": record.engine_alive}
    if last >= record.session_close - CLOSE_GRACE:
        return Finding(check, OK, style.clock(last), rule, inputs=inputs)
    if record.engine_alive and (record.venue_now or last) < record.session_close:
        left = style.span(record.session_close - (record.venue_now or last))
        reason = f"The day is still running; it closes in {left}."
        return Finding(check, UNKNOWN, style.clock(last), rule, reason, "Run this again after the close.", inputs)
    reason = f"The record ends at {style.clock(last)}, {style.span(record.session_close - last)} before the close."
    action = "Reconcile with the broker, then run this again; find out why the engine stopped."
    return Finding(check, UNKNOWN, style.clock(last), rule, reason, action, inputs)


def explained(facts: DayFacts) -> Finding:
    """Equity changed by what fills, marks, fees and transfers explain."""
    check, identity = "Do the books close?", facts.identity
    if identity is None:
        why = f"no closing price for {', '.join(facts.unpriced)}" if facts.unpriced else "equity is missing at one end"
        reason = f"Profit cannot be reconciled: {why}."
        return Finding(
            check, UNKNOWN, "not computable", "unexplained within tolerance", reason, "Reconcile with the broker."
        )
    gap, allowed = identity.unexplained, identity.tolerance
    serious = max(allowed, Decimal(1), abs(identity.equity_start) / 10_000)
    rule = f"± {style.dollars(allowed)}; STOP past {style.dollars(serious)} (1 bp of equity)"
    inputs = {"unexplained_usd": gap, "tolerance_usd": allowed, "stop_usd": serious}
    if abs(gap) <= allowed:
        return Finding(check, OK, f"{style.dollars(gap)}", rule, inputs=inputs)
    reason = f"{style.dollars(gap)} of the day's change in equity is unexplained."
    action = "Compare fills and cash with the broker: `athena broker-reconciliation`."
    return Finding(
        check, ATTENTION if abs(gap) <= serious else STOP, f"{style.dollars(gap)}", rule, reason, action, inputs
    )


def reconciled(record: DayRecord, fills: pd.DataFrame) -> Finding:
    """The last comparison with the broker came after the last fill and found no break."""
    check, rule = "Does the broker agree?", "a clean reconciliation after the last fill"
    action = "Run `athena broker-reconciliation`."
    if record.reconciliations.empty:
        return Finding(check, ATTENTION, "never compared", rule, "The day was never compared with the broker.", action)
    last = record.reconciliations.iloc[-1]
    inputs = {"ok": bool(last["ok"]), "at": last["venue_at"], "breaks": len(last["breaks"])}
    if not last["ok"]:
        reason = f"The broker and the journal disagree in {plural(len(last['breaks']), 'place')}."
        return Finding(
            check,
            STOP,
            plural(len(last["breaks"]), "break"),
            rule,
            reason,
            f"{action} Trade nothing until it is clean.",
            inputs,
        )
    late = not fills.empty and not pd.isna(last["venue_at"]) and fills["at"].max() > last["venue_at"]
    if late:
        after = int((fills["at"] > last["venue_at"]).sum())
        reason = f"{plural(after, 'fill')} came after the last comparison with the broker."
        return Finding(check, ATTENTION, style.clock(last["venue_at"]), rule, reason, action, inputs)
    return Finding(check, OK, f"clean at {style.clock(last['venue_at'])}", rule, inputs=inputs)


def orders_settled(record: DayRecord) -> Finding:
    """No order's end is unknown."""
    unknown = record.orders[record.orders["status"].isin(["unknown", "intended"])]
    inputs = {"orders": unknown["client_order_id"].tolist()}
    if unknown.empty:
        return Finding("Is every order's end known?", OK, "all known", "no order unknown", inputs=inputs)
    reason = f"{plural(len(unknown), 'order')} may or may not have reached the venue."
    action = "Ask by client order id: `athena reconcile-orders`."
    return Finding(
        "Is every order's end known?", STOP, plural(len(unknown), "order"), "no order unknown", reason, action, inputs
    )


def limits_kept(facts: DayFacts) -> list[Finding]:
    """Each limit whose use can be measured, against 80 % and 100 %."""
    findings = []
    for row in rows_of(limit_use(facts).dropna(subset=["used_fraction"])):
        name = f"{row.name} ({row.target})" if row.target else row.name
        observed, rule = f"{row.used} of {row.limit} {row.unit}", f"below {style.percent(LIMIT_NEAR)}"
        inputs = {"used": row.used_number, "limit": row.limit_number, "basis": row.basis}
        if row.used_fraction < LIMIT_NEAR:
            findings.append(Finding(f"Was {name} kept?", OK, observed, rule, inputs=inputs))
            continue
        past = row.used_fraction >= 1
        hard = past and row.name == "max_daily_loss_dollars"
        reason = f"{name} {'was reached' if past else 'came close'}: {observed} ({row.basis})."
        action = "Review by hand before trading resumes." if hard else f"Review what drove {name} before the open."
        findings.append(
            Finding(f"Was {name} kept?", STOP if hard else ATTENTION, observed, rule, reason, action, inputs)
        )
    return findings


def drawdown(facts: DayFacts) -> Finding:
    """The close against the highest close so far, by the operators' tiers."""
    check, rule = "How far below the peak did it close?", "5 % reduce, 10 % no entries, 15 % stop"
    if facts.close_drawdown.empty:
        return Finding(
            check,
            UNKNOWN,
            "not computable",
            rule,
            "Drawdown is not known: no positive equity.",
            "Ask the broker for equity.",
        )
    depth = -float(facts.close_drawdown.iloc[-1])
    observed, inputs = (
        f"{style.fine_percent(depth)} over {plural(len(facts.close_drawdown), 'close')}",
        {"drawdown_fraction": depth},
    )
    for tier, verdict, action in DRAWDOWN_TIERS:
        if not depth < tier:
            return Finding(
                check,
                verdict,
                observed,
                rule,
                f"Equity closed {style.fine_percent(depth)} below its peak.",
                action,
                inputs,
            )
    return Finding(check, OK, observed, rule, inputs=inputs)
