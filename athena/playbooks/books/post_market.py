"""Post-market (16:00): is the day closed, reported, archived, and tomorrow planned?"""

from __future__ import annotations

import json
from functools import partial

from athena.analysis import style
from athena.analysis.assessment import Assessment, Section, Verdict
from athena.analysis.checklist import Question
from athena.analysis.execution import outcomes
from athena.analysis.tables import Column, Table
from athena.core import frames
from athena.errors import AthenaError, JournalError
from athena.playbooks import after_close
from athena.playbooks.books import checks, closing, lists, market, pictures
from athena.playbooks.books.acting import Plan, Truth, own_journal, phrase
from athena.playbooks.books.asking import Ask
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answers as with_answers
from athena.playbooks.books.telling import table

TITLE, NAME = "Post-market checklist", "post_market"
QUESTIONS = {
    "machine": "Is the day closed?",
    "operator": "What only you can say?",
    "day": "How did the day end?",
    "strategies": "How did each strategy do?",
    "left": "What is left over the night?",
    "limits": "Which limits are proposed for tomorrow?",
}
ASKED = (
    Question(
        "connections", "Are unused broker connections closed?", "`athena check-brokers`; other programs with this key."
    ),
    Question("metrics", "Did each strategy do what it should?", "The tables below; the playbook `daily_report`."),
    Question("tomorrow", "Are tomorrow's risk limits planned?", "The proposals below; the playbook `limits_what_if`."),
)


@with_answers(TITLE, QUESTIONS)
def assess(system: System, answers: str = "") -> Assessment:
    """The checklist of the venue's day; `answers` are journaled."""
    machine = [
        closing.closed(system),
        closing.complete(system),
        checks.settled(system),
        closing.no_open_orders(system),
        closing.reconciled_since(system),
        checks.violations(system),
        checks.guard_free(system, worst=Verdict.ATTENTION),
        closing.reported(system),
        closing.curve(system),
        closing.archived(system),
        closing.saved(system),
        closing.proposed(system),
    ]
    day, pnl = _day(system)
    sections = {"day": day, "strategies": _strategies(system), "left": _left(system), "limits": _limits(system)}
    return lists.settle(TITLE, NAME, QUESTIONS, system, machine, ASKED, answers, sections, {"day_pnl_usd": pnl})


def ask(system: System) -> Ask:
    """The questions, to be answered here."""
    return Ask(system, NAME, ASKED)


def plan(system: System) -> Plan:
    """The work after the close, `athena.playbooks.after_close`; it changes no limit, no order, and not the guard."""
    title, again = "Do the work after the close.", partial(assess, system)
    effect = tuple(f"{step.name}: {step.effect}" for step in after_close.STEPS.values())
    if blocked := own_journal(system):
        return Plan(title, effect, "", tuple, lambda: Truth(False, ()), again, blocked)
    done: list[after_close.Done] = []

    def do() -> list[str]:
        who = f"operator {system.settings.operator}"
        done.extend(after_close.run(system.settings, who=who, why="post_market playbook"))
        return [str(one) for one in done]

    def read() -> Truth:
        failed = [one for one in done if one.state is after_close.State.FAILED]
        waits = [one.step for one in done if one.state is after_close.State.WAITS]
        told = "; ".join(f"{one.step} failed: {one.told}" for one in failed) or "every step reads back"
        return Truth(not failed, (f"{told}{', but ' + ', '.join(waits) + ' waits' if waits else ''}.",))

    return Plan(title, effect, phrase("after the close", system.day), do, read, again)


def _limits(system: System) -> Section:
    row = closing.proposals(system)
    if row is None:
        return Section(QUESTIONS["limits"], "None was proposed since the last fill: the action below does it.")
    told = json.loads(row["payload"])
    rows = [[p["limit"], p["target"].replace(":", " "), p["current"], p["proposed"], p["reason"]]
            for p in told["proposals"]]  # fmt: skip
    columns = [Column("limit", "Limit"), Column("target", "Of"), Column("current", "Now"),
               Column("proposed", "Proposed"), Column("reason", "Why")]  # fmt: skip
    words = f"{told.get('effects', '')} Nothing is changed by proposing; `athena update-risk-params` applies."
    shown = table("Proposals", rows, *columns, empty="No limit would change.", cards=True)
    return Section(QUESTIONS["limits"], words.strip(), (shown,))


def _day(system: System) -> tuple[Section, float | None]:
    from athena.core.daily import daily_figures

    try:
        figures = daily_figures(system.journal)
    except JournalError as error:
        return Section(QUESTIONS["day"], f"Not known. {error.message}"), None
    rows = [
        ["Opening equity", figures.opening_equity],
        ["Transfers", figures.transfers],
        ["Profit", figures.pnl],
        ["Equity", figures.equity],
    ]
    today = market.equity_of(system, figures.trading_date)
    draw = partial(pictures.curve, today, "Equity, $") if len(today) > 1 else None
    shown = table(f"{figures.trading_date}", rows, Column("line", ""), Column("amount", "$", style.usd))
    words = f"{figures.trading_date}: {style.dollars(figures.pnl)}. The whole day is in the playbook `daily_report`."
    return Section(QUESTIONS["day"], words, (shown,), draw), float(figures.pnl)


def _strategies(system: System) -> Section:
    orders = frames.orders(system.journal, system.day) if system.day else frames.orders(system.journal).iloc[:0]
    ended = outcomes(orders, "strategy")
    columns = [
        Column("strategy", "Strategy"),
        Column("decided", "Decided", style.count),
        Column("refused", "Refused", style.count),
        Column("sent", "Sent", style.count),
        Column("filled", "Filled", style.count),
        Column("rejected", "Rejected", style.count),
        Column("fill_rate", "Fill rate", style.percent),
    ]
    return Section(
        QUESTIONS["strategies"], "Orders of the day by how they ended.", (Table("Strategies", ended, columns),)
    )


def _left(system: System) -> Section:
    try:
        held = system.portfolio().positions()
    except AthenaError as error:
        return Section(QUESTIONS["left"], f"Not known. {error.message}")
    rows = [[p.symbol, p.quantity, p.market_value, p.unrealised_pnl] for p in held]
    columns = [
        Column("symbol", "Symbol"),
        Column("quantity", "Shares", style.shares),
        Column("value", "Value, $", style.usd),
        Column("gain", "Unrealised, $", style.usd),
    ]
    return Section(
        QUESTIONS["left"],
        "What is held is exposed to the night.",
        (table("Positions", rows, *columns, empty="Nothing is held."),),
    )
