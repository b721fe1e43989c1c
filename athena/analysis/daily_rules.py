"""The daily report's decision matrix: each rule compares one observation with its thresholds and names the next step.

Written as passing conditions, so that what is missing never passes. Thresholds of drawdown and slippage are the
operators' own matrices.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from athena.analysis import execution, style
from athena.analysis.assessment import Finding, Verdict
from athena.analysis.daily_facts import DayFacts, DayRecord
from athena.analysis.daily_limits import limit_use
from athena.analysis.tables import rows_of

CLOSE_GRACE = timedelta(minutes=5)  # how long before the close the last equity may have been recorded
REJECTED_SHARE = 0.05
LIMIT_NEAR = 0.8
DRAWDOWN_TIERS = (
    (0.15, Verdict.STOP, "Emergency stop: halt, and review by hand before anything trades."),
    (0.10, Verdict.STOP, "Halt new entries and review the exits: `athena halt --mode reduce-only`."),
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
        reason = f"The broker and the journal disagree in {_plural(len(last['breaks']), 'place')}."
        return Finding(
            check,
            STOP,
            _plural(len(last["breaks"]), "break"),
            rule,
            reason,
            f"{action} Trade nothing until it is clean.",
            inputs,
        )
    late = not fills.empty and not pd.isna(last["venue_at"]) and fills["at"].max() > last["venue_at"]
    if late:
        after = int((fills["at"] > last["venue_at"]).sum())
        reason = f"{_plural(after, 'fill')} came after the last comparison with the broker."
        return Finding(check, ATTENTION, style.clock(last["venue_at"]), rule, reason, action, inputs)
    return Finding(check, OK, f"clean at {style.clock(last['venue_at'])}", rule, inputs=inputs)


def orders_settled(record: DayRecord) -> Finding:
    """No order's end is unknown."""
    unknown = record.orders[record.orders["status"].isin(["unknown", "intended"])]
    inputs = {"orders": unknown["client_order_id"].tolist()}
    if unknown.empty:
        return Finding("Is every order's end known?", OK, "all known", "no order unknown", inputs=inputs)
    reason = f"{_plural(len(unknown), 'order')} may or may not have reached the venue."
    action = "Ask by client order id: `athena reconcile-orders`."
    return Finding(
        "Is every order's end known?", STOP, _plural(len(unknown), "order"), "no order unknown", reason, action, inputs
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
        f"{style.fine_percent(depth)} over {_plural(len(facts.close_drawdown), 'close')}",
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


def slippage(facts: DayFacts) -> list[Finding]:
    """Each symbol's weighted slippage, by the operators' 25 and 50 bps; only the symbols past them are listed."""
    rule = "25 bps limit orders, 50 bps halt the symbol"
    table = execution.slippage(facts.fills, ["symbol"])
    past = table[table["cost_bps"] >= execution.LIMIT_ORDERS_BPS]
    findings = []
    for row in rows_of(past):
        high = row.cost_bps > execution.HALT_SYMBOL_BPS
        reason = f"{row.symbol} cost {style.bps(row.cost_bps)} bps on {_plural(row.fills, 'fill')}."
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
    reason = f"{missing} of {_plural(n, 'fill')} had no quote to measure slippage against."
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
    reason = f"The venue rejected {rejected} of {_plural(len(sent), 'order')}."
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
    return Finding(check, ATTENTION, _plural(len(standing), "halt"), "none in force", reason, action, {"halts": names})


def guard_acted(record: DayRecord) -> Finding:
    """The guard had nothing to refuse, but for what a standing halt refuses."""
    lines = record.violations  # one that stands for several refusals alike says how many
    codes = lines.assign(times=lines.get("times", 1)).groupby("code")["times"].sum().sort_values(ascending=False)
    if codes.empty:
        return Finding("Did the guard have to act?", OK, "no violations", "none")
    listed = ", ".join(f"{code} × {n}" for code, n in codes.items())
    reason = f"{_plural(int(codes.sum()), 'violation')}: {listed}."
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
    reason = f"The connection to the broker was lost {_plural(len(lost), 'time')}, last: {why}."
    return Finding(
        check,
        ATTENTION,
        f"lost {len(lost)} times",
        "never lost",
        reason,
        "Run `athena check-brokers` before the open.",
        inputs,
    )


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _halt_name(row: Any) -> str:
    place = "all trading" if row.scope == "global" else row.target
    return f"{place} by {row.owner or row.origin}"
