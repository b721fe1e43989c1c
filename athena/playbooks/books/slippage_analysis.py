"""Fills cost more than they should: which symbols, when, and what does the matrix (25 and 50 bps) ask for?"""

from __future__ import annotations

import pandas as pd

from athena.analysis import slippage, style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.execution import slippage as by_mid
from athena.analysis.execution import with_slippage
from athena.core import decisions, frames
from athena.errors import AthenaError
from athena.playbooks.books import checks, market, prometheus
from athena.playbooks.books.order_rejections import since
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, of_decision

TITLE = "Slippage"
QUESTIONS = {
    "matrix": "What does the decision matrix say?",
    "symbol": "By symbol?",
    "terms": "What did the trades cost?",
    "worst": "Which fills were worst?",
    "after": "What did the price do after our fills?",
    "hour": "By hour (New York)?",
    "strategy": "By strategy?",
    "expected": "More than it should have cost?",
    "metrics": "What did the metrics say meanwhile?",
}


@answers(TITLE, QUESTIONS)
def assess(system: System, symbol: str = "", days: int = 1, hours: float = 0.0) -> Assessment:
    """Costs of the latest trading days, or the last hours, of all symbols or one, held against the limits as set."""
    start, span = since(system, days, hours)
    fills = frames.fills(system.journal, start=start)
    fills = fills[fills["source"] != "correction"]  # a booking back cost nobody anything
    fills = fills[fills["symbol"] == symbol.upper()] if symbol else fills
    orders = frames.orders(system.journal)
    given_up = pd.Series(True, orders.index) if start is None else orders["intended_venue_at"] >= start
    given_up &= ~orders["status"].isin(["refused", "not_sent"])
    given_up &= (orders["symbol"] == symbol.upper()) | (not symbol)
    taken = len(fills)
    fills = fills[fills["client_order_id"].isin(set(orders["client_order_id"]))]  # an outsider's may be untold yet
    orders = orders[given_up | orders["client_order_id"].isin(set(fills["client_order_id"]))]
    where = f"{symbol.upper()} in {span}" if symbol else span
    if fills.empty:
        reason = f"There is no fill of {where}."
        finding = Finding(
            "Was anything traded?", Verdict.UNKNOWN, "no fill", "", reason, "Choose a longer time: days=5."
        )
        return answer(TITLE, QUESTIONS, system, [finding, checks.engine(system)], {}, {"fills": 0}, "")
    limits = system.limits()
    low, high = (decisions.threshold(name, limits) for name in ("limit_orders_only_slippage_bps", "max_slippage_bps"))
    usual, why_not = _market(system, sorted(set(fills["symbol"])))
    kept = frames.kept_quotes(system.journal, start=start)
    judged = slippage.assess(
        orders,
        fills.reset_index(drop=True),
        kept=kept,
        market=usual,
        limit_orders_bps=float(low),
        halt_symbol_bps=float(high),
    )
    if "symbol" not in judged.sections:  # it could not be measured, and says why
        return answer(TITLE, QUESTIONS, system, judged.findings, judged.sections, judged.numbers, "")
    priced = by_mid(with_slippage(fills), ["symbol"])
    decided = [decisions.slippage(row.cost_bps, limits, symbol=str(row.symbol)) for row in priced.itertuples()]
    findings = [of_decision(f"What did {d.subject.split(':')[0]} cost?", d) for d in decided]
    findings += [_worst(fills, float(high)), _measured(judged, taken)]
    fired = {d.row.key for d in decided}
    words = "Mean slippage from the mid just before each fill, by symbol; the fired rows come first."
    unsaid = Section(QUESTIONS["expected"], f"Not known. {why_not}")
    sections = {
        "expected": unsaid,
        **judged.sections,
        "matrix": Section(QUESTIONS["matrix"], words, (matrix(decided),)),
        "metrics": _metrics(system, fills),
    }
    well = f"Every symbol's slippage is below {low} bps, {where}."
    numbers = {**judged.numbers, "rows_fired": sorted(fired)}
    return answer(TITLE, QUESTIONS, system, findings, sections, numbers, well, "Monitor, no action.")


def _metrics(system: System, fills: pd.DataFrame) -> Section:
    """Prometheus while these fills were recorded."""
    start, end = (moment.to_pydatetime() for moment in (fills["recorded_at"].min(), fills["recorded_at"].max()))
    wanted = (prometheus.SLIPPAGE, prometheus.LATENCY, prometheus.DATA_AGE)
    return prometheus.around(system, QUESTIONS["metrics"], wanted, start, end)


def _measured(judged: Assessment, fills: int) -> Finding:
    """Enough fills had a quote to be measured by."""
    unmeasured = fills - int(judged.numbers["fills"] - judged.numbers["unmeasured_fills"])
    check, rule, seen = (
        "Could it be measured?",
        "a quote before 9 of 10 fills",
        f"{fills - unmeasured} of {fills} fills",
    )
    if unmeasured <= 0.1 * fills:
        return Finding(check, Verdict.OK, seen, rule)
    reason = f"Only {seen} had a quote just before them."
    return Finding(check, Verdict.UNKNOWN, seen, rule, reason, "See the market-data stream: `athena health-check`.")


def _worst(fills: pd.DataFrame, high: float) -> Finding:
    """No single fill passed the limit at which the guard halts its symbol."""
    priced = with_slippage(fills)
    check, rule = "Did a single fill pass the limit?", f"at most {high:g} bps"
    dear = priced[priced["cost_bps"] > high].sort_values("cost_bps", ascending=False)
    if dear.empty:
        return Finding(check, Verdict.OK, f"worst {priced['cost_bps'].max():.1f} bps", rule)
    first = dear.iloc[0]
    seen = f"{len(dear)} did; {first['symbol']} {first['cost_bps']:.1f} bps"
    count = f"{len(dear)} fill{'s' * (len(dear) != 1)}"
    most = f"{first['symbol']} with {first['cost_bps']:.1f} bps at {style.moment(first['at'])}"
    reason = f"{count} cost more than {high:g} bps, most {most}."
    return Finding(
        check,
        Verdict.ATTENTION,
        seen,
        rule,
        reason,
        f"Look at the market of {first['symbol']}: the playbook `market_volatility`.",
    )


def _market(system: System, names: list[str]) -> tuple[pd.DataFrame | None, str]:
    """Each symbol's daily volatility and volume, for what a trade should cost; else None, and why."""
    try:
        bars = market.bars(system, names, sessions=30, minutes=390)
    except AthenaError as error:
        return None, f"The venue gave no bars: {error.message}"
    if bars.empty:
        return None, "The venue has no daily bars of these symbols."
    moved = bars.assign(r=bars.groupby("symbol")["close"].pct_change())
    found = moved.groupby("symbol").agg(volatility_bps=("r", "std"), adv_shares=("volume", "mean"))
    return found.assign(volatility_bps=found["volatility_bps"] * 1e4), ""
