"""Equity has fallen: how far against the thresholds, is it unusual, market or strategy, and what breaches next?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pandas as pd

from athena.analysis import drawdown
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.attribution import Attribution, attribute
from athena.analysis.drawdown import Tiers
from athena.analysis.exposure import market_betas
from athena.core import decisions, frames
from athena.journal.codec import to_text
from athena.lot import EXTERNAL, Book
from athena.model import ZERO, CashFlow
from athena.playbooks.books import checks, market
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, reframe

TITLE = "Drawdown"
QUESTIONS = {
    "matrix": "What does the decision matrix say?",
    "history": "How deep, and how often before?",
    "cause": "Market crash or strategy failure?",
    "standing": "Is it unusual for this account?",
    "shape": "Is the present one deep or long among them?",
    "breach": "What would breach a limit?",
}
CAUSE = "Market or strategy?"
BARS_MAX = 400  # times between peak and valley at which the market's part is counted


@answers(TITLE, QUESTIONS)
def assess(system: System, index: str = market.INDEX, sessions: int = 0) -> Assessment:
    """The present drawdown of all equity the journal has, or of the last sessions, against the limits as set."""
    curve = frames.equity_curve(system.journal)
    curve = _latest(curve, sessions)
    limits = system.limits()
    first, second, third = (
        float(decisions.threshold(f"drawdown_{name}_percent", limits)) / 100
        for name in ("reduce_size", "reduce_only", "halt")
    )
    tiers = Tiers(first, second, third, float(decisions.threshold("drawdown_size_factor", limits)))
    returns = market.returns(system, [*market.symbols(system), index])
    whole, named = returns.market(index)
    betas = market_betas(returns.frame, whole).dropna() if len(returns.frame) else pd.Series(dtype=float)
    why, why_not = _attribution(system, curve, returns, index, betas)
    judged = drawdown.assess(
        curve,
        kind="equity",
        tiers=tiers,
        beta_usd=_beta(system, betas),
        headroom_usd=_headroom(system, limits),
        attribution=why,
    )
    if "now_fraction" not in judged.numbers:
        return reframe(judged, TITLE, QUESTIONS, system)
    fired = decisions.drawdown(-judged.numbers["now_fraction"] * 100, limits)
    sections: dict[str, Section] = dict(judged.sections)
    sections["matrix"] = Section(QUESTIONS["matrix"], f"{fired.subject}.", (matrix([fired]),))
    if why is None:
        sections["cause"] = Section(QUESTIONS["cause"], f"Not known. {why_not}")
    shallow = -judged.numbers["now_fraction"] < first
    seen = [
        replace(f, verdict=Verdict.OK) if shallow and f.check == CAUSE and f.verdict is Verdict.ATTENTION else f
        for f in judged.findings
    ]
    findings = [*seen, *_no_cause(why, why_not, shallow), checks.guard_free(system, worst=Verdict.ATTENTION)]
    told = answer(TITLE, QUESTIONS, system, findings, sections, judged.numbers, seen[0].reason, "Monitor.")
    return replace(told, facts={**told.facts, **judged.facts, "market": named, "prices": returns.source})


def _no_cause(why: Attribution | None, why_not: str, shallow: bool) -> list[Finding]:
    """In a drawdown that asks for something, not knowing its cause is a finding."""
    if why is not None or shallow:
        return []
    reason = f"Whether market or strategy made the loss is not known: {why_not}"
    return [Finding(CAUSE, Verdict.UNKNOWN, "not known", "", reason, "Get prices: `athena check-brokers`.")]


def _latest(curve: pd.Series, sessions: int) -> pd.Series:
    if sessions <= 0:
        return curve
    days = pd.DatetimeIndex(curve.index).tz_convert("America/New_York").date
    kept = curve[days >= sorted(set(days))[-sessions:][0]]
    kept.attrs = {"flows": [(at, amount) for at, amount in curve.attrs.get("flows", []) if at >= kept.index[0]]}
    return pd.Series(kept)


def _beta(system: System, betas: pd.Series) -> float | None:
    """Dollars of market held; None where a position's beta or price is not known."""
    held = system.portfolio().positions()
    values = {position.symbol: position.market_value for position in held}
    if any(value is None or symbol not in betas.index for symbol, value in values.items()):
        return None
    return float(sum(float(value or 0) * float(betas[symbol]) for symbol, value in values.items()))


def _headroom(system: System, limits: Mapping[str, Any]) -> dict[str, float]:
    """What the day may still lose."""
    used, most = checks.usage(system).get("max_daily_loss_dollars"), limits.get("max_daily_loss_dollars")
    return {} if used is None or most is None else {"daily loss": float(Decimal(most) - Decimal(used))}


def _attribution(
    system: System, curve: pd.Series, returns: market.Returns, index: str, betas: pd.Series
) -> tuple[Attribution | None, str]:
    """The loss from the peak to now by its causes; None, and why, where it cannot be split."""
    journal = system.journal
    stored = journal.query("SELECT venue_at, equity FROM equity ORDER BY venue_at, sequence")
    exact = {pd.Timestamp(row["venue_at"]): Decimal(row["equity"]) for row in stored}
    marks = market.marks(system)
    times = [at for at in curve.index if at in exact]
    flows = _flows(journal)
    flat = _without(curve, flows)
    if not times:
        return None, "The journal has no equity point."
    peak = times[int(flat[times].to_numpy().argmax())]
    if peak == times[-1]:
        return None, "The equity is at its peak."
    if peak not in marks.index:
        return None, "The journal has no prices of the peak."
    end = times[-1]
    between = marks[(marks.index >= peak) & (marks.index <= end)]
    between = between[~between.index.duplicated(keep="last")]
    step = max(1, len(between) // BARS_MAX)
    chosen = between.iloc[[*range(0, len(between) - 1, step), len(between) - 1]]
    fills = frames.fills(journal)
    book = _book(journal, peak)
    inside = fills[(fills["at"] > peak) & (fills["at"] <= end)].reset_index(drop=True)
    path, named = returns.market(index)
    level = (1 + path.fillna(0.0)).cumprod() if len(path) else path
    if level.empty:
        return None, f"There is no price of a market ({named})."
    stood = level.reindex(level.index.union(chosen.index)).ffill().fillna(1.0).loc[chosen.index]
    income = sum((flow.amount for flow in flows if peak < flow.at <= end and not flow.is_transfer), ZERO)
    transfers = sum((flow.amount for flow in flows if peak < flow.at <= end and flow.is_transfer), ZERO)
    try:
        return attribute(
            equity_start=exact[peak],
            equity_end=exact[end],
            fills=inside,
            before=book,
            prices=_filled(chosen, inside),
            market=stood,
            betas={str(symbol): float(beta) for symbol, beta in betas.items()},
            transfers=transfers,
            income=income,
        ), ""
    except ValueError as error:
        return None, f"{str(error)[:1].upper()}{str(error)[1:]}."


def _filled(prices: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Prices carried on while nothing was held, and before the first mark the price of the first fill."""
    first = fills.groupby("symbol")["price"].first()
    whole = prices.reindex(columns=sorted({*prices.columns, *first.index}))
    return whole.ffill().fillna(first.reindex(whole.columns)).bfill()


def _flows(journal: Any) -> list[CashFlow]:
    rows = journal.query("SELECT * FROM cash_flows ORDER BY at")
    return [CashFlow(r["id"], r["kind"], Decimal(r["amount"]), pd.Timestamp(r["at"]).to_pydatetime()) for r in rows]


def _without(curve: pd.Series, flows: list[CashFlow]) -> pd.Series:
    """The curve less the transfers since its first point, so that a deposit makes no peak."""
    flat = curve.astype(float).copy()
    for flow in flows:
        if flow.is_transfer and flow.at > flat.index[0]:
            flat[flat.index >= flow.at] -= float(flow.amount)
    return flat


def _book(journal: Any, until: pd.Timestamp) -> Book:
    """Whose shares were held at a time."""
    book = Book()
    for row in journal.query("SELECT symbol, quantity, price FROM openings"):
        book.trade(EXTERNAL, row["symbol"], Decimal(row["quantity"]), Decimal(row["price"]))
    for row in journal.query(
        "SELECT symbol, strategy, side, quantity, price, fee FROM fills WHERE at <= ? ORDER BY at, sequence",
        (to_text(until.to_pydatetime()),),
    ):
        signed = Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
        book.trade(row["strategy"], row["symbol"], signed, Decimal(row["price"]), Decimal(row["fee"]))
    return book
