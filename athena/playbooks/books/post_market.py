"""Post-market (16:00): is the day closed, reported, archived, and tomorrow planned?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.checklist import Question
from athena.analysis.execution import outcomes
from athena.analysis.tables import Column, Table
from athena.core import frames
from athena.errors import AthenaError, JournalError
from athena.journal.codec import from_text
from athena.journal.snapshots import FOLDER, list_snapshots
from athena.playbooks.books import checks, lists, market, pictures
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
}
ASKED = (
    Question(
        "connections", "Are unused broker connections closed?", "`athena check-brokers`; other programs with this key."
    ),
    Question(
        "archived", "Are the day's trades and logs archived?", "`athena archive-trades`, `athena archive-logs --apply`."
    ),
    Question(
        "metrics", "Are the strategies' performance metrics updated?", "The table below; `athena recalc-metrics`."
    ),
    Question(
        "tomorrow", "Are tomorrow's risk limits planned?", "`athena update-risk-params`; the playbook `limits_what_if`."
    ),
)


@with_answers(TITLE, QUESTIONS)
def assess(system: System, answers: str = "") -> Assessment:
    """The checklist of the venue's day; `answers` are journaled."""
    machine = [
        _closed(system),
        _complete(system),
        checks.settled(system),
        _no_open_orders(system),
        _reconciled_since(system),
        checks.violations(system),
        checks.guard_free(system, worst=Verdict.ATTENTION),
        _reported(system),
        _snapshot(system),
    ]
    day, pnl = _day(system)
    sections = {"day": day, "strategies": _strategies(system), "left": _left(system)}
    return lists.settle(TITLE, NAME, QUESTIONS, system, machine, ASKED, answers, sections, {"day_pnl_usd": pnl})


def ask(system: System) -> Ask:
    """The questions, to be answered here."""
    return Ask(system, NAME, ASKED)


def _session_open(system: System) -> bool | None:
    """By the venue, else by the engine's last word; None where neither says."""
    try:
        return bool(system.ask(lambda broker: broker.get_clock()).is_open)
    except AthenaError:
        session = system.heartbeat()[1].get("session")
        return None if session is None else session == "regular" or session == "open"


def _closed(system: System) -> Finding:
    check, rule = "Is the session over?", "the market is closed"
    is_open = _session_open(system)
    if is_open is None:
        return Finding(
            check,
            Verdict.UNKNOWN,
            "not known",
            rule,
            "Neither venue nor engine says whether it is open.",
            "`athena check-brokers`.",
        )
    if is_open:
        return Finding(
            check, Verdict.ATTENTION, "open", rule, "The session is still open.", "Run this again after 16:00."
        )
    return Finding(check, Verdict.OK, "closed", rule)


def _complete(system: System) -> Finding:
    """The record reaches the close."""
    from athena.analysis.daily_rules import CLOSE_GRACE
    from athena.playbooks.sources import day

    check, rule = "Does the record reach the close?", "equity to the close, less 5 min"
    if system.day is None:
        return Finding(check, Verdict.UNKNOWN, "no day", rule, "No trading day was opened yet.", "`athena engine`.")
    record = day(system.day.isoformat(), str(system.path))
    if record.session_close is None or record.equity.empty:
        return Finding(
            check, Verdict.UNKNOWN, "no equity", rule, f"{system.day} has no equity or no session.", "Ask the broker."
        )
    last = record.equity["venue_at"].iloc[-1]
    if last >= record.session_close - CLOSE_GRACE:
        return Finding(check, Verdict.OK, style.moment(last), rule)
    return Finding(
        check,
        Verdict.ATTENTION,
        style.moment(last),
        rule,
        f"The record ends at {style.clock(last)}.",
        "Wait for the close; else reconcile and run `daily_report`.",
    )


def _no_open_orders(system: System) -> Finding:
    check, rule = "Are there open orders?", "none after the close"
    found = system.open_orders()
    if not found:
        return Finding(check, Verdict.OK, "none", rule)
    names = ", ".join(sorted({row["symbol"] for row in found}))
    return Finding(
        check,
        Verdict.ATTENTION,
        f"{len(found)} ({names})",
        rule,
        f"{len(found)} orders are still open ({names}).",
        "`athena cancel-orders`.",
    )


def _reconciled_since(system: System) -> Finding:
    """Journal and venue agreed after the day's last fill."""
    check, rule = "Did the books agree after the last fill?", "a clean reconciliation since"
    row = system.journal.one("SELECT at, ok FROM reconciliations ORDER BY sequence DESC LIMIT 1")
    last = system.journal.one("SELECT max(recorded_at) FROM fills")
    if row is None:
        return Finding(
            check, Verdict.UNKNOWN, "never", rule, "Journal and venue were never compared.", "`athena reconcile`."
        )
    if not row["ok"]:
        return Finding(
            check, Verdict.STOP, "they differ", rule, "Journal and venue disagree.", "`athena broker-reconciliation`."
        )
    if last and last[0] and row["at"] < last[0]:
        return Finding(
            check,
            Verdict.UNKNOWN,
            "before the last fill",
            rule,
            "Nothing was compared since the last fill.",
            "`athena reconcile`.",
        )
    return Finding(check, Verdict.OK, f"{from_text(row['at']):%H:%M:%S} UTC", rule)


def _reported(system: System) -> Finding:
    """The day's report was rendered and reached its verdict."""
    check, rule, day = "Is the daily report rendered?", "today's, after the close", system.day
    place = system.settings.reports / str(day) / "daily_report.json"
    action = "`athena daily-report`."
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        done, said = bool(told["run"]["succeeded"]), str(told["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return Finding(
            check,
            Verdict.ATTENTION,
            "no",
            rule,
            f"There is no daily report of {day} in {system.settings.reports}.",
            action,
        )
    if not done:
        return Finding(check, Verdict.ATTENTION, "failed", rule, f"The daily report of {day} failed.", action)
    return Finding(check, Verdict.OK, f"rendered: {said}", rule)


def _snapshot(system: System) -> Finding:
    """The journal was copied, and the copy read through, since the day's close or within a day."""
    check, rule = "Is the journal backed up?", "a snapshot within 24 h"
    found = list_snapshots(system.settings.backup_folder / FOLDER)
    if not found:
        return Finding(
            check, Verdict.ATTENTION, "none", rule, "There is no snapshot of the journal.", "`athena snapshot`."
        )
    age = datetime.now(UTC) - found[0].taken_at
    seen = f"event {found[0].sequence:,}, {style.span(age)} ago"
    if age <= timedelta(hours=24):
        return Finding(check, Verdict.OK, seen, rule)
    return Finding(
        check, Verdict.ATTENTION, seen, rule, f"The newest snapshot is {style.span(age)} old.", "`athena snapshot`."
    )


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
