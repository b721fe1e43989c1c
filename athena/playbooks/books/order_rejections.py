"""Orders are rejected: by whom, for which cause, and what is the fix of each?"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import orders as analysis
from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.core import frames
from athena.core.rejections import rejection, rejections, violation
from athena.lot import EXTERNAL
from athena.model import Scope
from athena.playbooks.books import checks, pictures
from athena.playbooks.books.acting import Plan, Truth, own_journal, phrase
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, of_decision, table

TITLE = "Order rejections"
QUESTIONS = {
    "matrix": "What is the cause, and what is the fix?",
    "causes": "Which orders did not go, and why?",
    "when": "When, and is it still going on?",
    "guard": "What did our own guard refuse?",
    "stuck": "Which orders are stuck?",
    "broker": "Is the broker itself well?",
}


@answers(TITLE, QUESTIONS)
def assess(system: System, days: int = 1, hours: float = 0.0) -> Assessment:
    """The venue's rejections by cause over the latest trading days, or the last hours of venue time."""
    orders, violations, span = _read(system, days, hours)
    if orders.empty:
        reason = f"There is no order in {span}."
        finding = Finding("Were there orders?", Verdict.UNKNOWN, "none", "", reason, "Choose a longer time: days=5.")
        return answer(
            TITLE, QUESTIONS, system, [finding, checks.engine(system)], {"broker": _broker(system)}, {"orders": 0}, ""
        )
    now = system.venue_now or system.read_at
    judged = analysis.assess(orders, violations, now=now, explain=_cause, failed_only=True)
    rejected = orders[orders["status"] == "rejected"]
    sent = int(judged.numbers["sent"])
    whole = rejections([_words(error) for error in rejected["error"]], sent)
    each = [rejection(_words(error)) for error in rejected["error"].drop_duplicates()]
    stuck = next(finding for finding in judged.findings if finding.check == "Stuck orders")
    first = of_decision(
        "Does the venue take the orders?", whole, reason=f"{whole.subject[:1].upper()}{whole.subject[1:]}, in {span}."
    )
    findings = [first, stuck, *_guard_findings(violations, len(orders))]
    findings += [checks.streams(system)] if system.alive else []
    causes = rejected["error"].map(lambda words: rejection(_words(words)).row.when)
    sections = {
        "matrix": Section(
            QUESTIONS["matrix"],
            "Each cause that was seen, first; then the others the system knows.",
            (matrix([*each, whole]),),
        ),
        "causes": Section(QUESTIONS["causes"], judged.sections["causes"].reading, judged.sections["causes"].tables),
        "when": _when(rejected, causes),
        "guard": _guard(violations),
        "stuck": Section(QUESTIONS["stuck"], "", judged.sections["stuck"].tables),
        "broker": _broker(system),
    }
    numbers = {
        **judged.numbers,
        "rejected_share": len(rejected) / sent if sent else None,
        "violations": len(violations),
    }
    return answer(
        TITLE,
        QUESTIONS,
        system,
        findings,
        sections,
        numbers,
        f"The venue takes the orders: {whole.subject}, in {span}.",
    )


def plan(system: System, days: int = 1, hours: float = 0.0) -> Plan:
    """Halting what the venue keeps rejecting until its cause is mended: one symbol, or the strategy most come from."""
    again = partial(assess, system, days, hours)
    title = "Halt what is rejected."
    if blocked := own_journal(system):
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, blocked)
    orders, _, span = _read(system, days, hours)
    rejected = orders[orders["status"] == "rejected"] if len(orders) else orders
    if not len(rejected):
        why = f"the venue rejected nothing in {span}."
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, why)
    scope, target, n = _source(rejected)
    row = Counter(rejection(_words(error)).row for error in rejected["error"]).most_common(1)[0][0]
    share = f"{n} of {len(rejected)} rejections in {span}"
    effect = (
        f"Halts {scope.value} {target}: {share}. Everything else trades on.",
        *(["The engine cancels its open strategy orders; positions stay, and an operator's exits pass."]
          if system.settings.cancel_on_halt else ["Its open orders and positions stay; an operator's exits pass."]),
        f"Most often: {row.when}. {row.recommended}",
        f"Resume it when that is mended: athena resume --{scope.value} {target} REASON.",
    )  # fmt: skip
    standing = any((halt.scope, halt.target) == (scope, target) for halt in system.halts())
    blocked = f"{scope.value} {target} is halted already." if standing else ""

    def do() -> list[str]:
        from athena.live.execution_guard import ExecutionGuard

        guard = ExecutionGuard.get_instance(system.settings)
        return [str(guard.halt(f"{share}: {row.when}", scope=scope, target=target))]

    def read() -> Truth:
        found = [str(halt) for halt in system.halts() if (halt.scope, halt.target) == (scope, target)]
        return Truth(bool(found), tuple(f"Read back: {halt}." for halt in found) or ("Read back: no such halt.",))

    return Plan(title, effect, phrase(f"halt {target}", scope, standing), do, read, again, blocked)


def _source(rejected: pd.DataFrame) -> tuple[Scope, str, int]:
    """A symbol that several strategies are rejected in, else the strategy with the most; and how many are its."""
    symbols, strategies = rejected["symbol"].value_counts(), rejected["strategy"].value_counts()
    if symbols.iloc[0] == len(rejected) or strategies.index[0] == EXTERNAL:
        return Scope.SYMBOL, str(symbols.index[0]), int(symbols.iloc[0])
    return Scope.STRATEGY, str(strategies.index[0]), int(strategies.iloc[0])


def _words(error: Any) -> str | None:
    return None if pd.isna(error) else str(error)


def _cause(words: str) -> Any:
    """The row of the matrix that the venue's words belong to."""
    return rejection(words).row


def _read(system: System, days: int, hours: float) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    start, span = since(system, days, hours)
    journal = system.journal
    return frames.orders(journal, start=start), frames.violations(journal, start=start), span


def since(system: System, days: int, hours: float) -> tuple[pd.Timestamp | None, str]:
    """Where the latest trading days, or the last hours before the latest order or equity point, begin; and in words."""
    if hours > 0:
        row = system.journal.one("SELECT max(venue_at) FROM equity")
        now = pd.Timestamp(row[0]) if row and row[0] else pd.Timestamp(system.venue_now or system.read_at)
        return now - timedelta(hours=hours), f"the last {hours:g} h"
    rows = system.journal.query(
        "SELECT trading_date FROM trading_days ORDER BY trading_date DESC LIMIT ?", (max(1, days),)
    )
    if not rows:
        return None, "the journal"
    first, last = rows[-1][0], rows[0][0]
    return pd.Timestamp(first, tz="America/New_York"), last if first == last else f"{first} to {last}"


def _guard_findings(violations: pd.DataFrame, orders: int) -> list[Finding]:
    """Our own refusals: those during a halt are the halt's doing, others name a limit."""
    own = violations[violations["client_order_id"].notna() & ~violations["code"].isin(["GUARD_HALTED", "REDUCE_ONLY"])]
    check, rule = "Does the guard let the orders pass?", "at most 5 % refused, halts aside"
    if len(own) <= 0.05 * orders:
        return [Finding(check, Verdict.OK, f"{len(own)} of {orders} refused", rule)]
    commonest = own["code"].value_counts().index[0]
    told = violation(commonest)
    reason = f"The guard refused {len(own)} of {orders} orders, most for {commonest} ({told.row.when})."
    return [Finding(check, Verdict.ATTENTION, f"{len(own)} of {orders} refused", rule, reason, told.row.recommended)]


def _when(rejected: pd.DataFrame, causes: pd.Series) -> Section:
    if rejected.empty:
        return Section(QUESTIONS["when"], "The venue rejected nothing.")
    at = pd.DatetimeIndex(rejected["intended_venue_at"].fillna(rejected["intended_at"]))
    words = f"First {style.moment(at.min())}, last {style.moment(at.max())}."
    span = at.max() - at.min()
    bucket = "1D" if span > timedelta(days=3) else "15min"
    return Section(
        QUESTIONS["when"], words, (), partial(pictures.counts_by_time, at, causes.tolist(), "Orders rejected", bucket)
    )


def _guard(violations: pd.DataFrame) -> Section:
    rows: list[list[Any]] = []
    for code, part in violations.groupby("code"):
        row, names = (
            violation(str(code)).row,
            ", ".join(sorted({name for name in part["symbol"] if isinstance(name, str) and name})),
        )
        rows.append([row.severity.value, len(part), code, row.when, row.recommended, names])
    rows.sort(key=lambda row: -row[1])
    columns = [
        Column("verdict", ""),
        Column("n", "Orders", style.count),
        Column("code", "Code"),
        Column("when", "That is"),
        Column("fix", "Fix"),
        Column("symbols", "Symbols"),
    ]
    found = table("Refused or acted on, by code", rows, *columns, empty="The guard refused nothing.", cards=True)
    return Section(QUESTIONS["guard"], "Refusals never reach the venue.", (found,))


def _broker(system: System) -> Section:
    age, said = system.heartbeat("broker")
    if age is None:
        return Section(QUESTIONS["broker"], "Not known. No engine has connected yet.")
    streams = ", ".join(f"{name} {state}" for name, state in said.get("streams", {}).items())
    rows: list[list[Any]] = [
        ["state", said.get("state")],
        ["streams", streams],
        ["heard of", f"{style.span(age)} ago"],
        ["latency", f"{float(said['latency_seconds']) * 1000:.1f} ms" if said.get("latency_seconds") else None],
        ["requests left this minute", f"{said.get('rate_limit_remaining')} of {said.get('rate_limit')}"],
        ["unreadable answers", said.get("unreadable")],
        ["problems", "; ".join(said.get("problems", ())) or "none"],
    ]
    venue = checks.venue(system)
    rows.append(["asked now", venue.observed if venue.verdict is Verdict.OK else venue.reason])
    return Section(
        QUESTIONS["broker"],
        "By the engine's last heartbeat, and asked from here.",
        (table("Broker", rows, Column("what", ""), Column("value", "Seen")),),
    )
