"""What do the metrics say? The key-metrics dashboard by Prometheus, each figure beside the journal's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.execution import slippage as by_mid
from athena.analysis.execution import with_slippage
from athena.analysis.tables import Column
from athena.core import decisions, frames
from athena.errors import SettingsError
from athena.playbooks.books import checks, pictures
from athena.playbooks.books.prometheus import MACHINE_TIME, SAMPLE_SECONDS_MAX, SLIPPAGE, Metrics, read
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, table

TITLE = "Monitoring"
QUESTIONS = {
    "alerts": "Which alerts fire?",
    "pnl": "What is the day's profit?",
    "orders": "How many orders are filled?",
    "slippage": "What do fills cost on average?",
    "violations": "What did the guard refuse in the last hour?",
    "latency": "How fast does the broker answer?",
    "source": "Where do these figures come from?",
}
HOURS_MAX = 24 * 14
PNL_AGREES_DOLLARS = 1.0  # apart by a scrape's age
LATENCY_SECONDS_MAX = 1.0
MONITOR = "`make monitor`, or set ATHENA_PROMETHEUS_URL."


@dataclass(frozen=True)
class Panel:
    """One of the playbook's five: its query as sent, the axis, how a value and a hover are written."""

    query: str
    axis: str
    form: Callable[[float], str]
    hover: str
    tick: str


PANELS: Mapping[str, Panel] = {
    "pnl": Panel("athena_daily_pnl_dollars{$}", "Profit of the day, $", style.dollars, "$%{y:,.2f}", ",.2~f"),
    "orders": Panel(  # summed: the playbook's own divides each status by itself
        'sum(rate(athena_orders_total{status="filled",$}[5m])) / sum(rate(athena_orders_total{$}[5m]))',
        "Share of orders filled, 5 minutes",
        lambda v: f"{v:.0%}",
        "%{y:.0%}",
        ".0%",
    ),
    "slippage": Panel(
        SLIPPAGE.query,
        "Mean slippage, bps, 5 minutes",
        lambda v: f"{v:.1f} bps",
        "%{y:.1f} bps",
        ".1f",
    ),
    "violations": Panel(
        "sum(increase(athena_guard_violations_total{$}[1h]))",
        "Violations in the hour before",
        lambda v: f"{v:,.0f}",
        "%{y:,.0f}",
        ",.2~f",
    ),
    "latency": Panel(
        "histogram_quantile(0.95, sum by (le) (rate(athena_api_latency_seconds_bucket{$}[5m])))",
        "Broker's answer, 95th percentile, s",
        lambda v: f"{v * 1000:,.0f} ms",
        "%{y:.3f} s",
        ".2~g",
    ),
}
NOW = {
    "alerts": 'sum by (alertname, severity) (ALERTS{alertstate="firing",alertname!="Watchdog"})',
    "rules": "sum by (rule) (increase(athena_guard_violations_total{$}[1h])) > 0",
}


@answers(TITLE, QUESTIONS)
def assess(system: System, hours: float = 1.0) -> Assessment:
    """The dashboard of the last hours of machine time; with Prometheus down the journal answers what it can."""
    if not 0 < hours <= HOURS_MAX:
        raise SettingsError(f"hours is {hours:g}; more than 0 and at most {HOURS_MAX} are expected.")
    now = datetime.now(UTC)
    queries = {name: panel.query for name, panel in PANELS.items()}
    metrics = read(system.settings, queries, now - timedelta(hours=hours), now, now=NOW)
    known = _by_journal(system)
    findings = [
        _answers(metrics),
        *([] if metrics.problem else [_alerts(metrics), _agrees(metrics, known)]),
        _slippage(system, metrics, known),
        checks.violations(system),
        *([] if metrics.problem else [_latency(metrics)]),
        checks.limits_used(system),
    ]
    sections = {name: _panel(name, metrics, known) for name in PANELS}
    sections["violations"] = _violations(metrics, known, sections["violations"])
    sections |= {"alerts": _alert_table(metrics), "source": _source(metrics, hours)}
    numbers = {f"{name}_prometheus": metrics.latest(name) for name in PANELS}
    numbers |= {f"{name}_journal": value for name, value in known.values.items()}
    well = "No alert fires, and Prometheus says what the journal says."
    return answer(TITLE, QUESTIONS, system, findings, sections, numbers, well)


@dataclass(frozen=True)
class Known:
    """The same figures by the journal, for the latest trading day; a missing one is not known."""

    values: Mapping[str, float]
    curve: pd.Series
    violations: pd.DataFrame


def _by_journal(system: System) -> Known:
    day = system.day
    if day is None:
        return Known({}, pd.Series(dtype=float), pd.DataFrame())
    values: dict[str, float] = {}
    if "pnl" in (used := checks.usage(system)):
        values["pnl"] = float(Decimal(used["pnl"]))
    orders = frames.orders(system.journal, day)
    if len(orders):
        values["orders"] = float((orders["status"] == "filled").mean())
    fills = frames.fills(system.journal, day)
    if len(fills):
        cost = by_mid(with_slippage(fills).assign(all=""), ["all"])
        values["slippage"] = float(cost["cost_bps"].iloc[0])
    found = frames.violations(system.journal, day)
    values["violations"] = float(found["times"].sum()) if len(found) else 0.0
    equity = frames.equity(system.journal, day)
    curve = pd.Series(dtype=float)
    if len(equity):
        curve = pd.Series(equity["equity"].astype(float).to_numpy(), index=pd.DatetimeIndex(equity["venue_at"]))
    return Known(values, curve, found)


def _answers(metrics: Metrics) -> Finding:
    check, rule = "Is this engine watched?", f"a sample younger than {SAMPLE_SECONDS_MAX:.0f} s"
    if metrics.problem:
        reason = f"{metrics.problem} The journal answers instead, but nobody watches."
        return Finding(check, Verdict.ATTENTION, "no", rule, reason, f"Start Prometheus: {MONITOR}")
    age = metrics.age_seconds or 0.0
    if age <= SAMPLE_SECONDS_MAX:
        return Finding(check, Verdict.OK, f"last sample {style.span(age)} ago", rule)
    reason = f"Prometheus answers, but its last sample of this engine is {style.span(age)} old."
    return Finding(check, Verdict.ATTENTION, style.span(age), rule, reason, "Does the engine run? `make status`.")


def _alerts(metrics: Metrics) -> Finding:
    check, rule = "Do alerts fire?", "none but Watchdog"
    firing = metrics.labelled.get("alerts", {})
    if not firing:
        return Finding(check, Verdict.OK, "none", rule)
    critical = any("critical" in name.split() for name in firing)
    names = ", ".join(name.split()[0] for name in firing)
    verdict = Verdict.STOP if critical else Verdict.ATTENTION
    return Finding(check, verdict, names, rule, f"Firing: {names}.", "Open the alert's playbook page: reports/.")


def _agrees(metrics: Metrics, known: Known) -> Finding:
    """A metric that drifts from the journal must not be trusted, nor what alerts on it."""
    check, rule = "Does Prometheus say what the journal says?", f"profit within ${PNL_AGREES_DOLLARS:,.2f}"
    told, own = metrics.latest("pnl"), known.values.get("pnl")
    if told is None or own is None:
        return Finding(check, Verdict.UNKNOWN, "not known", rule, "One of the two has no profit.", "Start the engine.")
    seen = f"{style.dollars(told)} and {style.dollars(own)}"
    moved = metrics["pnl"].dropna().diff().abs().max() if len(metrics["pnl"]) > 1 else 0.0
    if abs(told - own) <= PNL_AGREES_DOLLARS + float(moved or 0.0):  # the market moves between a scrape and now
        return Finding(check, Verdict.OK, seen, rule)
    reason = f"Prometheus has a profit of {style.dollars(told)}, the journal {style.dollars(own)}."
    return Finding(check, Verdict.ATTENTION, seen, rule, reason, "Trust the journal; look at the age of the scrape.")


def _slippage(system: System, metrics: Metrics, known: Known) -> Finding:
    limit = float(decisions.threshold("max_slippage_bps", system.limits()))
    check, rule = "Is the mean slippage bearable?", f"below {limit:g} bps"
    value = metrics.latest("slippage")
    value = known.values.get("slippage") if value is None else value
    if value is None:
        return Finding(check, Verdict.OK, "no fill measured", rule)
    if value < limit:
        return Finding(check, Verdict.OK, f"{value:.1f} bps", rule)
    reason = f"Fills cost {value:.1f} bps on average."
    return Finding(check, Verdict.ATTENTION, f"{value:.1f} bps", rule, reason, "Run the playbook `slippage_analysis`.")


def _latency(metrics: Metrics) -> Finding:
    check, rule = "Does the broker answer in time?", f"95 of 100 within {LATENCY_SECONDS_MAX:g} s"
    value = metrics.latest("latency")
    if value is None or value <= LATENCY_SECONDS_MAX:
        return Finding(check, Verdict.OK, "not asked lately" if value is None else f"{value * 1000:,.0f} ms", rule)
    reason = f"Its answers take {value:.1f} s (95th percentile)."
    return Finding(check, Verdict.ATTENTION, f"{value:.1f} s", rule, reason, "`athena broker-connection-test`.")


def _panel(name: str, metrics: Metrics, known: Known) -> Section:
    panel, values = PANELS[name], metrics[name].dropna()
    own = known.values.get(name)
    day = "the day's, by the journal" if name != "violations" else "of the day, by the journal"
    none = "the journal does not keep it" if name == "latency" else "none on the day, by the journal"
    told = f"{panel.form(own)}, {day}" if own is not None else none
    if len(values) > 1:
        shown = panel.query.replace("{$}", "").replace(",$}", "}")
        words = f"{panel.form(float(values.iloc[-1]))} by Prometheus; {told}. Query: {shown}"
        draw = partial(
            pictures.curve, values, panel.axis, form=panel.hover, tick=panel.tick, time=MACHINE_TIME
        )  # fmt: skip
        return Section(QUESTIONS[name], words, (), draw)
    why = metrics.problem or "Prometheus has no sample of it in this time."
    reading = f"{told[:1].upper()}{told[1:]}. {why}"
    if name == "pnl" and len(known.curve) > 1:
        return Section(QUESTIONS[name], reading, (), partial(pictures.curve, known.curve, "Equity by the journal, $"))
    return Section(QUESTIONS[name], reading)


def _violations(metrics: Metrics, known: Known, panel: Section) -> Section:
    """By rule: Prometheus' hour, and the journal's day beside it."""
    by_rule = metrics.labelled.get("rules", {})
    day: dict[str, int] = {}
    if len(known.violations):
        day = {str(code): int(n) for code, n in known.violations.groupby("code")["times"].sum().items()}
    names = sorted({*by_rule, *day})
    rows = [[name, f"{by_rule[name]:,.0f}" if name in by_rule else None, day.get(name)] for name in names]
    columns = [Column("rule", "Rule"), Column("hour", "Last hour"), Column("day", "The day, by the journal")]
    draw = panel.draw
    if draw is None and len(known.violations):
        at = pd.DatetimeIndex(known.violations["venue_at"].fillna(known.violations["at"]))
        draw = partial(pictures.counts_by_time, at, known.violations["code"].tolist(), "Violations a quarter hour")
    return Section(panel.question, panel.reading, (table("By rule", rows, *columns),), draw)


def _alert_table(metrics: Metrics) -> Section:
    if metrics.problem:
        return Section(QUESTIONS["alerts"], f"Not known. {metrics.problem}")
    rows = [list(name.rpartition(" ")[::2]) for name in metrics.labelled.get("alerts", {})]
    columns = [Column("name", "Alert"), Column("severity", "Severity")]
    words = "By Prometheus, now; Watchdog always fires and is left out."
    return Section(QUESTIONS["alerts"], words, (table("Firing", rows, *columns, empty="No alert fires."),))


def _source(metrics: Metrics, hours: float) -> Section:
    rows: list[list[str | None]] = [
        ["address", metrics.url],
        ["state", metrics.problem or "answers"],
        ["last sample of this engine", style.span(metrics.age_seconds) if metrics.age_seconds is not None else None],
        ["time shown", f"the last {hours:g} h of machine time; the journal's figures are the trading day's"],
    ]
    columns = [Column("what", ""), Column("value", "")]
    return Section(QUESTIONS["source"], "", (table("Prometheus", rows, *columns),))
