"""How do our orders fare? Fill rate, rejections by cause with the fix, latency, cancels, orders that are stuck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd

from athena.analysis import style, trade_figures
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.execution import causes, latency_ms, outcomes
from athena.analysis.inputs import answered, need
from athena.analysis.tables import Column, Table, rows_of
from athena.model import OrderStatus

COLUMNS = ("client_order_id", "strategy", "symbol", "type", "status", "quantity", "filled_quantity", "error",
           "intended_at", "intended_venue_at", "acknowledged_at")  # fmt: skip
_WAITING = {
    "intended",
    "unknown",
    "pending_new",
    "pending_cancel",
    "pending_replace",
    "accepted_for_bidding",
    "stopped",
    "suspended",
}


class Cause(Protocol):
    """What explains one rejection: its cause and its fix in words."""

    when: str
    recommended: str


@dataclass(frozen=True)
class Thresholds:
    """Shares of what was sent, milliseconds and seconds; beyond them a row fires."""

    rejected_share: float = 0.05
    fill_rate_min: float = 0.5
    cancelled_share: float = 0.5
    latency_p95_ms: float = 1000.0
    waiting_seconds: float = 30.0  # in a state that should pass at once
    market_order_seconds: float = 60.0  # a market order that is still open
    orders_min: int = 10  # with fewer sent, shares are shown and not judged


@answered("Orders")
def assess(
    orders: pd.DataFrame,
    violations: pd.DataFrame,
    *,
    now: datetime,
    explain: Callable[[str], Cause] | None = None,
    failed_only: bool = False,
    thresholds: Thresholds | None = None,
) -> Assessment:
    """How orders ended, why some did not go, how fast the venue answered, and which are stuck.

    orders, violations: the journal's. now: the venue's time, aware. explain: the venue's words to a cause and a fix.
    failed_only leaves out how orders ended and how fast the venue answered.
    """
    need(orders, COLUMNS, "the orders")
    need(violations, ("code", "message", "symbol", "client_order_id"), "the violations")
    if now.tzinfo is None:
        raise ValueError(f"{now} is a naive time; give it a time zone")
    if not orders["client_order_id"].is_unique:
        raise ValueError("an order is there twice; drop the repeats first")
    limits = thresholds or Thresholds()
    if orders.empty:
        finding = Finding(
            "Were there orders?",
            Verdict.UNKNOWN,
            "none",
            "",
            "There is no order to look at.",
            "Choose another time span.",
        )
        return Assessment(
            "Orders", finding.verdict, finding.reason, finding.action, now, (finding,), {}, {"orders": 0}, {}
        )
    whole = outcomes(orders.assign(all="all"), "all").iloc[0]
    why = _explained(causes(orders, violations), explain)
    held_up = stuck(orders, now, limits)
    delay = latency_ms(orders)
    cancelled = int(((orders["status"] == "canceled") & ~(orders["filled_quantity"].astype(float) > 0)).sum())
    sent = int(whole["sent"])
    findings = _findings(whole, cancelled, why, held_up, delay, limits)
    verdict, reason, action = conclude(findings, "Orders go through as they should.", "Nothing to do.")
    numbers = {
        "orders": len(orders), "sent": sent, "refused": int(whole["refused"]), "rejected": int(whole["rejected"]),
        "fill_rate_fraction": float(whole["fill_rate"]), "quantity_rate_fraction": float(whole["quantity_rate"]),
        "cancelled": cancelled, "stuck": len(held_up), "answered": len(delay),
        **{f"latency_p{p}_ms": float(np.percentile(delay, p)) if len(delay) else None for p in (50, 95, 99)},
    }  # fmt: skip
    sections = _sections(orders, why, held_up, delay, failed_only)
    return Assessment(
        "Orders", verdict, reason, action, now, tuple(findings), sections, numbers, {"failed_only": failed_only}
    )


def _findings(
    whole: Any, cancelled: int, why: pd.DataFrame, held_up: pd.DataFrame, delay: Any, limits: Thresholds
) -> list[Finding]:
    sent = int(whole["sent"])
    return [
        _rejected(int(whole["rejected"]), sent, why, limits),
        _stuck(held_up),
        _share(
            "Fill rate",
            float(whole["fill_rate"]),
            sent,
            limits.fill_rate_min,
            limits,
            least=True,
            action="Look at limit prices and at what was cancelled.",
        ),
        _share(
            "Cancelled with nothing done",
            cancelled / sent if sent else np.nan,
            sent,
            limits.cancelled_share,
            limits,
            least=False,
            action="Find out why the strategy cancels so much.",
        ),
        _slow(delay, limits),
    ]


def stuck(orders: pd.DataFrame, now: datetime, limits: Thresholds | None = None) -> pd.DataFrame:
    """Open orders that should not be: waiting for an answer, market orders still open, day orders of an earlier day.

    Columns: client_order_id, symbol, strategy, type, status, age_seconds (venue time), why; oldest first.
    """
    limits = limits or Thresholds()
    names = ["client_order_id", "symbol", "strategy", "type", "status", "age_seconds", "why"]
    final = {str(status) for status in OrderStatus if status.is_final}
    still = orders[~orders["status"].astype(str).isin(final)]
    began = pd.to_datetime(still["intended_venue_at"], utc=True).fillna(pd.to_datetime(still["intended_at"], utc=True))
    age = (pd.Timestamp(now) - began).dt.total_seconds()
    waits = still["status"].astype(str).isin(_WAITING) & ~(age <= limits.waiting_seconds)
    market = (still["type"].astype(str) == "market") & ~(age <= limits.market_order_seconds)
    day = (still["time_in_force"].astype(str) == "day") if "time_in_force" in still else pd.Series(False, still.index)
    stale = day & (age > 86400)
    why = np.select(
        [waits, stale, market], ["no answer yet", "a day order of an earlier day", "a market order still open"], ""
    )
    found = still.assign(age_seconds=age, why=why)[names]
    return found[found["why"] != ""].sort_values("age_seconds", ascending=False, na_position="first", ignore_index=True)


def _explained(why: pd.DataFrame, explain: Callable[[str], Cause] | None) -> pd.DataFrame:
    """The causes with what they mean and the fix: for the venue's words, which only `explain` understands."""
    means, fixes = [], []
    for row in rows_of(why):
        cause = explain(f"{row.cause} {row.code}".strip()) if explain is not None and row.by == "venue" else None
        means.append(cause.when if cause else "")
        fixes.append(
            cause.recommended
            if cause
            else "See the limit it names."
            if row.by == "guard"
            else "Read the venue's words."
        )
    return why.assign(means=means, fix=fixes)


def _rejected(rejected: int, sent: int, why: pd.DataFrame, limits: Thresholds) -> Finding:
    most = why[why["by"] == "venue"].head(1)
    high = sent > 0 and rejected > limits.rejected_share * sent
    seen = f"{rejected} of {sent} sent"
    action = str(most["fix"].iloc[0]) if len(most) else ""
    named = f", most for: {most['means'].iloc[0] or most['cause'].iloc[0]}" if len(most) else ""
    return Finding(
        "Rejected by the venue",
        Verdict.ATTENTION if high else Verdict.OK,
        seen,
        style.percent(limits.rejected_share),
        f"The venue rejected {seen}{named}." if high else "",
        action,
        {"rejected": rejected, "sent": sent},
    )


def _stuck(held_up: pd.DataFrame) -> Finding:
    n = len(held_up)
    reason = (
        ""
        if not n
        else f"{n} open orders should not be, {held_up['client_order_id'].iloc[0]} ({held_up['why'].iloc[0]}) first."
    )
    return Finding(
        "Stuck orders",
        Verdict.STOP if n and (held_up["why"] == "no answer yet").any() else Verdict.ATTENTION if n else Verdict.OK,
        str(n),
        "0",
        reason,
        "`athena reconcile`, then cancel what should not stand: `athena cancel-orders`.",
        {"stuck": n},
    )


def _share(
    check: str, value: float, sent: int, limit: float, limits: Thresholds, *, least: bool, action: str
) -> Finding:
    inputs = {"fraction": value, "sent": sent}
    threshold = f"{'at least' if least else 'at most'} {style.percent(limit)}"
    if sent < limits.orders_min:
        seen = f"{style.percent(value)} of {sent} sent: too few to judge"
        return Finding(check, Verdict.OK, seen, threshold, inputs=inputs)
    good = value >= limit if least else value <= limit
    seen = f"{style.percent(value)} of {sent} sent"
    return Finding(
        check,
        Verdict.OK if good else Verdict.ATTENTION,
        seen,
        threshold,
        "" if good else f"{check}: {seen}.",
        action,
        inputs,
    )


def _slow(delay: pd.Series, limits: Thresholds) -> Finding:
    check, threshold = "Latency, p95", f"at most {limits.latency_p95_ms:.0f} ms"
    if delay.empty:
        return Finding(check, Verdict.OK, "no order was answered", threshold)
    if (delay < 0).any():
        reason = f"{int((delay < 0).sum())} orders were answered before they were intended: a clock is wrong."
        return Finding(check, Verdict.UNKNOWN, "negative", threshold, reason, "Check the machine's clock (NTP).")
    p95 = float(np.percentile(delay, 95))
    good = p95 <= limits.latency_p95_ms
    seen = f"{p95:.0f} ms, n = {len(delay)}"
    return Finding(check, Verdict.OK if good else Verdict.ATTENTION, seen, threshold,
                   "" if good else f"One order in twenty waits {p95:.0f} ms or more for its answer.",
                   "`athena check-brokers`.", {"latency_p95_ms": p95, "answered": len(delay)})  # fmt: skip


def _sections(
    orders: pd.DataFrame, why: pd.DataFrame, held_up: pd.DataFrame, delay: pd.Series, failed_only: bool
) -> dict[str, Section]:
    causes_columns = (Column("by", "By"), Column("count", "Orders", style.count), Column("cause", "In their words"),
        Column("code", "Code"),
                      Column("means", "That is"), Column("fix", "Fix"), Column("symbols", "Symbols"))  # fmt: skip
    stuck_columns = (
        Column("client_order_id", "Order"),
        Column("symbol", "Symbol"),
        Column("strategy", "Strategy"),
        Column("type", "Type"),
        Column("status", "Status"),
        Column("age_seconds", "Age", style.span),
        Column("why", "Why"),
    )
    sections = {
        "causes": Section(
            "Which orders did not go, and why?",
            "The guard's refusals by code, the venue's by its words.",
            (Table("Causes", why, causes_columns, "Every order went.", cards=True),),
        ),
        "stuck": Section("Which orders are stuck?", "", (Table("Open, and should not be", held_up, stuck_columns),)),
    }
    if failed_only:
        return sections
    ends: list[tuple[str, str, style.Format]] = [
        ("decided", "Decided", style.count), ("refused", "Refused", style.count), ("sent", "Sent", style.count),
        ("filled", "Filled", style.count), ("partial", "In part", style.count), ("rejected", "Rejected", style.count),
        ("unfilled", "Nothing done", style.count), ("pending", "Pending", style.count),
        ("fill_rate", "Fill rate", style.percent), ("quantity_rate", "Of shares", style.percent),
    ]  # fmt: skip
    more: Any = tuple(Column(*end) for end in ends)
    tables = tuple(
        Table(f"By {key}", outcomes(orders, key), (Column(key, key.capitalize()), *more))
        for key in ("strategy", "symbol")
    )
    sections["ends"] = Section("How did orders end?", "", tables)
    if len(delay):
        quantiles = [50, 90, 95, 99, 100]
        table = pd.DataFrame({"percentile": quantiles, "ms": np.percentile(delay, quantiles)})
        columns = (Column("percentile", "Percentile", style.count), Column("ms", "ms", style.bps))
        sections["latency"] = Section(
            "How fast does the venue answer?",
            f"Intent journaled to answer, machine time; n = {len(delay)}.",
            (Table("Latency", table, columns),),
            partial(trade_figures.latency, delay.to_numpy(dtype=float)),
        )
    return sections
