"""Are the positions one bet? Correlation, now against usual, diversification and exposure of what is held."""

from __future__ import annotations

from athena.analysis import positions, value_at_risk
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.exposure import market_betas
from athena.analysis.positions import Thresholds, to_series
from athena.errors import AthenaError, SettingsError
from athena.playbooks.books import market
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, reframe

TITLE = "Position correlation"
QUESTIONS = {
    "together": "Are all positions moving together, now against usual?",
    "correlation": "Which positions are the same bet?",
    "exposure": "How much is held, in how few names?",
    "risk": "What could these positions lose in a session?",
}


@answers(TITLE, QUESTIONS)
def assess(
    system: System, method: str = "ledoit_wolf", sessions: int = 30, minutes: int = 30, index: str = market.INDEX
) -> Assessment:
    """What is held now, by returns of so many minutes over so many sessions. Raises SettingsError on another method."""
    if method not in positions.METHODS:
        raise SettingsError(f"method is '{method}'; it is one of {', '.join(positions.METHODS)}.")
    portfolio = system.portfolio()
    held = {p.symbol: float(p.market_value) for p in portfolio.positions() if p.market_value is not None}
    if portfolio.unmarked:
        reason = f"There is no price of {', '.join(portfolio.unmarked)}, which is held."
        finding = Finding(
            "Is every position priced?", Verdict.UNKNOWN, "no", "yes", reason, "`athena start-market-data`."
        )
        return answer(TITLE, QUESTIONS, system, [finding], {}, {"positions": len(held)}, "")
    if not held:
        finding = Finding("Is anything held?", Verdict.OK, "nothing", "", "", "")
        words = "Nothing is held: there is nothing to be correlated."
        nothing = {key: Section(question, words) for key, question in QUESTIONS.items()}
        return answer(TITLE, QUESTIONS, system, [finding], nothing, {"positions": 0}, words)
    returns = market.returns(system, [*held, index], sessions=sessions, minutes=minutes)
    own = returns.frame.reindex(columns=list(held))
    whole, named = returns.market(index)
    betas = market_betas(own, whole) if len(own) else None
    judged = positions.assess(
        own,
        kind="returns",
        held=to_series(held),
        equity=float(portfolio.equity),
        betas=betas,
        method=method,
        thresholds=_limits(system, float(portfolio.equity)),
    )
    sections, numbers = dict(judged.sections), dict(judged.numbers)
    sections["risk"] = _risk(_could_lose(system, held, float(portfolio.equity)))
    if len(held) == 1:
        alone = f"Only {next(iter(held))} is held."
        sections |= {key: Section(QUESTIONS[key], alone) for key in ("together", "correlation")}
        kept = [f for f in judged.findings if f.verdict is not Verdict.UNKNOWN]
        finding = Finding("How many bets are these?", Verdict.OK, "1 position, 1 bet", "")
        return answer(
            TITLE, QUESTIONS, system, [*kept, finding], sections, numbers, f"{alone} There is nothing to be correlated."
        )
    told = Assessment(
        judged.title,
        judged.verdict,
        judged.reason,
        judged.action,
        judged.as_of,
        judged.findings,
        sections,
        numbers,
        {**judged.facts, "market": named, "prices": returns.source},
    )
    return reframe(told, TITLE, QUESTIONS, system)


def _limits(system: System, equity: float) -> Thresholds:
    """Gross and net by the guard's own limits, as shares of equity."""
    limits = system.limits()

    def share(name: str) -> float | None:
        value = limits.get(name)
        return None if value is None or equity <= 0 else float(value) / equity

    return Thresholds(
        gross_fraction=share("max_gross_exposure_dollars"), net_fraction=share("max_net_exposure_dollars")
    )


def _could_lose(system: System, held: dict[str, float], equity: float) -> Assessment | None:
    """VaR and ES by the venue's daily prices; None where it does not answer."""
    try:
        bars = market.bars(system, held, sessions=500, minutes=390)
    except AthenaError:
        return None
    closes = bars.pivot(index="at", columns="symbol", values="close").reindex(columns=list(held))
    return value_at_risk.assess(closes / closes.shift(1) - 1, kind="returns", held=to_series(held), equity=equity)


def _risk(risk: Assessment | None) -> Section:
    question = QUESTIONS["risk"]
    if risk is None:
        return Section(question, "Not known. The venue was not reached for daily prices.")
    if risk.verdict is Verdict.UNKNOWN or not risk.sections:
        return Section(question, f"Not known. {risk.reason}")
    first = next(iter(risk.sections.values()))
    return Section(question, f"{risk.reason} {first.reading}".strip(), first.tables, first.draw)
