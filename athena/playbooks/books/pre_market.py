"""Pre-market (8:00): is the system well, what did the night do, and do limits and strategies fit today?"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.checklist import Question
from athena.analysis.tables import Column
from athena.errors import AthenaError
from athena.live.limits import LIMITS, show
from athena.model import NEW_YORK
from athena.playbooks.books import checks, lists, market, pictures
from athena.playbooks.books.asking import Ask
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answers as with_answers
from athena.playbooks.books.telling import table

TITLE, NAME = "Pre-market checklist", "pre_market"
QUESTIONS = {
    "machine": "Is the system ready?",
    "operator": "What only you can say?",
    "overnight": "What did the night do?",
    "limits": "Which limits bind today?",
}
ASKED = (
    Question("limits", "Are the daily loss limits right for today's market?", "The limits below; `athena limits`."),
    Question(
        "sizes",
        "Do the position limits fit today's volatility?",
        "The playbook `market_volatility`; `athena update-risk-params`.",
    ),
    Question(
        "strategies",
        "Are the strategies' parameters still valid?",
        "`athena validate-strategies`; news, earnings, halts.",
    ),
)
LOSS_OF_EQUITY = (Decimal("0.001"), Decimal("0.05"))
SIGMAS, SHARE_OF_LOSS = 2.0, 0.5


@with_answers(TITLE, QUESTIONS)
def assess(system: System, answers: str = "") -> Assessment:
    """The checklist of today; `answers` are journaled. Raises SettingsError for an answer that is none."""
    machine = [
        checks.engine(system),
        checks.streams(system),
        checks.venue(system),
        checks.reconciled(system),
        checks.settled(system),
        checks.guard_free(system),
        _violations(system),
        _loss_limit(system),
        _sizes(system),
        strategies(system),
        checks.disk(system),
    ]
    overnight, moved = _overnight(system)
    sections = {"overnight": overnight, "limits": _limits(system)}
    return lists.settle(TITLE, NAME, QUESTIONS, system, machine, ASKED, answers, sections, {"overnight_usd": moved})


def ask(system: System) -> Ask:
    """The questions, to be answered here."""
    return Ask(system, NAME, ASKED)


def _violations(system: System) -> Finding:
    """The last day's violations, for the morning after."""
    found = checks.violations(system)
    return Finding(
        "Are there pending guard violations?",
        found.verdict,
        found.observed,
        found.threshold,
        found.reason.replace("today", f"on {system.day}"),
        found.action,
        found.inputs,
    )


def _loss_limit(system: System) -> Finding:
    """The daily loss limit is set, and is a plausible part of equity."""
    check = "Is the daily loss limit a sane part of equity?"
    low, high = LOSS_OF_EQUITY
    rule = f"{style.percent(low)} to {style.percent(high)} of equity"
    limit = system.limits()["max_daily_loss_dollars"]
    if limit is None:
        return Finding(
            check,
            Verdict.STOP,
            "off",
            rule,
            "No daily loss limit is set.",
            "`athena limits max_daily_loss_dollars 2000`.",
        )
    try:
        equity = system.portfolio().equity
    except AthenaError as error:
        return Finding(
            check, Verdict.UNKNOWN, style.dollars(limit), rule, f"Equity is not known: {error.message}", error.hint
        )
    if equity <= 0:
        return Finding(
            check, Verdict.STOP, style.dollars(equity), rule, f"Equity is {style.dollars(equity)}.", "Do not trade."
        )
    share = Decimal(limit) / equity
    seen = f"{style.dollars(limit)}, {style.fine_percent(share)} of {style.dollars(equity)}"
    if low <= share <= high:
        return Finding(check, Verdict.OK, seen, rule, inputs={"share": float(share)})
    return Finding(
        check,
        Verdict.ATTENTION,
        seen,
        rule,
        f"The daily loss limit is {seen}.",
        "`athena limits max_daily_loss_dollars VALUE`.",
    )


def _sizes(system: System) -> Finding:
    """A bad day in the largest position allowed stays within half of the day's loss limit."""
    check = "Does the position limit fit the volatility?"
    rule = f"two sigma of it at most {SHARE_OF_LOSS:.0%} of the loss limit"
    limits = system.limits()
    most, loss = limits["max_position_per_symbol_dollars"], limits["max_daily_loss_dollars"]
    if most is None or loss is None:
        return Finding(
            check, Verdict.ATTENTION, "a limit is off", rule, "Position or loss limit is off.", "`athena limits`."
        )
    try:
        bars = market.bars(system, market.symbols(system), sessions=20, minutes=390)
    except AthenaError as error:
        why = f"No daily prices: {error.message}"
        return Finding(check, Verdict.UNKNOWN, "not known", rule, why, "`athena check-brokers`.")
    sigma = bars.assign(r=bars.groupby("symbol")["close"].pct_change()).groupby("symbol")["r"].std().dropna()
    if sigma.empty:
        return Finding(
            check, Verdict.UNKNOWN, "no daily prices", rule, "The venue has no daily prices.", "`athena check-brokers`."
        )
    wildest, value = str(sigma.idxmax()), float(sigma.max())
    cost = SIGMAS * value * float(most)
    seen = f"{style.dollars(cost)} in {wildest}, which moves {style.percent(value)} a day"
    inputs = {"cost_usd": cost, "sigma": value, "symbol": wildest}
    if cost <= SHARE_OF_LOSS * float(loss):
        return Finding(check, Verdict.OK, seen, rule, inputs=inputs)
    share = cost / float(loss)
    reason = f"Two sigma in a full {wildest} cost {style.dollars(cost)}, {share:.0%} of the daily loss limit."
    return Finding(check, Verdict.ATTENTION, seen, rule, reason, "`athena update-risk-params` proposes limits.", inputs)


def strategies(system: System) -> Finding:
    """Every configured strategy would start."""
    from athena.live.strategies import validate_strategies

    check, rule = "Would every strategy start?", "parameters in range, symbols configured"
    try:
        found = validate_strategies(system.settings)
    except AthenaError as error:
        return Finding(check, Verdict.STOP, "no", rule, error.message, error.hint)
    wrong = [one for one in found if not one.ok]
    if wrong:
        reason = f"{wrong[0].strategy}: {wrong[0].message}"
        return Finding(
            check, Verdict.STOP, f"{len(wrong)} of {len(found)} wrong", rule, reason, "`athena validate-strategies`."
        )
    return Finding(check, Verdict.OK, f"{len(found)} would start" if found else "none configured", rule)


def _overnight(system: System) -> tuple[Section, float | None]:
    """Positions at their marks now against the marks of the last equity point of a day before today."""
    try:
        portfolio = system.portfolio()
    except AthenaError as error:
        return Section(QUESTIONS["overnight"], f"Not known. {error.message}"), None
    kept = market.marks(system)
    now = system.venue_now
    today = now.astimezone(NEW_YORK).date() if now else None
    before = kept[[at.tz_convert(NEW_YORK).date() != today for at in kept.index]] if len(kept) else kept
    last = before.ffill().iloc[-1].dropna() if len(before) else pd.Series(dtype=float)
    rows: list[list[Any]] = []
    for position in portfolio.positions():
        then = float(last[position.symbol]) if position.symbol in last else None
        price = None if position.current_price is None else float(position.current_price)
        change = None if then is None or price is None else float(position.quantity) * (price - then)
        rows.append([position.symbol, position.quantity, then, price, change])
    total = sum(row[4] for row in rows if row[4] is not None) if rows else 0.0
    columns = [
        Column("symbol", "Symbol"),
        Column("quantity", "Shares", style.shares),
        Column("then", "Then, $", style.usd),
        Column("now", "Now, $", style.usd),
        Column("change", "Change, $", style.usd),
    ]
    known = {row[0]: row[4] for row in rows if row[4] is not None}
    draw = partial(pictures.bars, known, "Overnight, $") if known else None
    since = style.moment(before.index[-1]) if len(before) else "no earlier day"
    words = f"Positions of now, from {since} to the latest marks: {style.dollars(total)}."
    return Section(
        QUESTIONS["overnight"], words, (table("Overnight", rows, *columns, empty="Nothing is held."),), draw
    ), total


def _limits(system: System) -> Section:
    rules, used = system.rules(), checks.usage(system)
    rows = [
        [name, show(name, value), used.get(name), LIMITS[name].compares]
        for name, value in system.limits().items()
        if value is not None and (name in used or name.startswith("max_"))
    ]
    rows += [
        [f"{name} {target}", show(name, value), None, "override"]
        for (name, target), value in sorted(rules.values.items())
        if target
    ]
    columns = [Column("name", "Limit"), Column("value", "Value"), Column("used", "Used"), Column("doc", "Compares")]
    words = "As the next order will meet them. Change one with `athena limits NAME VALUE`."
    return Section(QUESTIONS["limits"], words, (table("Limits in force", rows, *columns, cards=True),))
