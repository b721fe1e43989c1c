"""Data is lost or doubtful: what still holds, what can be restored to when, and what differs from the venue?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.core.curve import rebuild_curve
from athena.core.restore import as_of
from athena.errors import AthenaError, SettingsError
from athena.journal import Journal
from athena.journal.audit import rebuild, verify
from athena.journal.snapshots import FOLDER, list_snapshots, snapshot_now
from athena.model import NEW_YORK
from athena.playbooks.books import pictures
from athena.playbooks.books.acting import Plan, Truth, own_settings, phrase
from athena.playbooks.books.crash_recovery import holds
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, table
from athena.playbooks.books.venue_truth import compare

TITLE = "Data recovery"
QUESTIONS = {
    "journal": "Does the journal hold?",
    "snapshots": "What can be restored, and to when?",
    "state": "What did the portfolio look like then?",
    "curve": "Is the equity curve what the fills say?",
    "days": "Which days are missing?",
    "truth": "Does the venue say the same?",
}
ACTIONS = ("snapshot", "rebuild-tables")
FORMAT = "%Y-%m-%d %H:%M:%S"


@answers(TITLE, QUESTIONS)
def assess(system: System, timestamp: str = "") -> Assessment:
    """What holds, what can be restored, and the portfolio as of `timestamp` (New York time; "" is the last opening)."""
    held, journal = holds(system, QUESTIONS["journal"])
    saved, snapshots = _snapshots(system)
    state = _state(system, _moment(system, timestamp))
    exact, curve, off = _curve(system)
    gaps, days = _days(system)
    truth, told, _ = compare(system, QUESTIONS["truth"])
    sections = {"journal": journal, "snapshots": snapshots, "state": state, "curve": curve, "days": days, "truth": told}
    numbers = {"events": system.sequence, "curve_points_off": off}
    well = "The journal holds, its curve is what the fills say, and the venue says the same."
    return answer(TITLE, QUESTIONS, system, [held, exact, truth, gaps, saved], sections, numbers, well)


def plan(system: System, action: str = "snapshot") -> Plan:
    """Taking a snapshot now, or folding the journal's tables again from its events. Raises SettingsError."""
    if action not in ACTIONS:
        raise SettingsError(f"action is '{action}'; it is one of {', '.join(ACTIONS)}.")
    again = partial(assess, system)
    title = (
        "Take a snapshot of the journal."
        if action == "snapshot"
        else "Fold the journal's tables again from its events."
    )
    if blocked := own_settings(system):
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, blocked)
    if action == "snapshot":
        return _snapshot_plan(system, title, again)
    return _rebuild_plan(system, title, again)


def _snapshot_plan(system: System, title: str, again: Any) -> Plan:
    place = system.settings.backup_folder / FOLDER
    effect = (
        f"The journal ({system.sequence:,} events) is copied into {place}, the copy read through and hashed.",
        "Nothing else changes; the engine goes on.",
    )
    before = len(list_snapshots(place))

    def do() -> list[str]:
        with Journal.open(system.path, f"operator {system.settings.operator}") as journal:
            return [f"Taken: {snapshot_now(journal, system.settings, 'data_recovery playbook')}"]

    def read() -> Truth:
        from athena.journal.snapshots import check

        found = list_snapshots(place)
        if not found:
            return Truth(False, ("Read back: there is no snapshot.",))
        return Truth(len(found) >= 1, (f"Read back and read through: {check(found[0].path)}",))

    return Plan(title, effect, phrase("snapshot", before, system.path.name), do, read, again)


def _rebuild_plan(system: System, title: str, again: Any) -> Plan:
    differences = rebuild(system.journal, check_only=True).differences
    effect = [f"Put right: {difference}" for difference in differences[:10]] or [
        "Every table already says what the events say."
    ]
    if len(differences) > 10:
        effect.append(f"and {len(differences) - 10} rows more")
    blocked = "" if differences else "nothing differs: there is nothing to put right."
    if differences and system.alive:
        blocked = f"the engine is {system.engine_words}: stop it first, for this holds the write lock."

    def do() -> list[str]:
        with Journal.open(system.path, f"operator {system.settings.operator}") as journal:
            done = rebuild(journal)
        return [f"{len(done.differences)} rows of {done.events:,} events' tables were replaced."]

    def read() -> Truth:
        told = verify(system.path)
        return Truth(told.ok, (f"Read back: {told}",))

    return Plan(
        title, tuple(effect), phrase("rebuild tables", system.sequence, len(differences)), do, read, again, blocked
    )


def _moment(system: System, timestamp: str) -> datetime | None:
    if timestamp.strip():
        try:
            return datetime.strptime(timestamp.strip(), FORMAT).replace(tzinfo=NEW_YORK)
        except ValueError:
            raise SettingsError(
                f"timestamp is '{timestamp}'.", "Write it as 'YYYY-MM-DD HH:MM:SS', New York time."
            ) from None
    row = system.journal.one("SELECT opened_at FROM trading_days ORDER BY trading_date DESC LIMIT 1")
    return datetime.fromisoformat(row["opened_at"]) if row else None


def _snapshots(system: System) -> tuple[Finding, Section]:
    place = system.settings.backup_folder / FOLDER
    found = list_snapshots(place)
    rows = [[one.taken_at, one.sequence, one.size / 1e6, one.reason, one.path.name] for one in found[:20]]
    columns = [
        Column("at", "Taken", style.moment),
        Column("sequence", "Up to event", style.count),
        Column("size", "MB", style.bps),
        Column("reason", "Why"),
        Column("file", "File"),
    ]
    section = Section(
        QUESTIONS["snapshots"],
        f"In {place}. Restore into a new file: `athena restore-snapshot FILE --to NEW`.",
        (table("Snapshots, newest first", rows, *columns, empty="None was taken yet."),),
    )
    check, rule = "Is there a snapshot to go back to?", "one within 24 h"
    if not found:
        return Finding(
            check, Verdict.ATTENTION, "none", rule, "No snapshot of the journal exists.", "Take one: `athena snapshot`."
        ), section
    age = datetime.now(UTC) - found[0].taken_at
    seen = f"event {found[0].sequence:,}, {style.span(age)} ago"
    if age <= timedelta(hours=24):
        return Finding(check, Verdict.OK, seen, rule), section
    return Finding(
        check, Verdict.ATTENTION, seen, rule, f"The newest snapshot is {style.span(age)} old.", "`athena snapshot`."
    ), section


def _state(system: System, moment: datetime | None) -> Section:
    if moment is None:
        return Section(QUESTIONS["state"], "Not known. No trading day was opened yet.")
    try:
        then, now = as_of(system.journal, moment), system.portfolio()
    except AthenaError as error:
        return Section(QUESTIONS["state"], f"Not known. {error.message}")
    before = {p.symbol: p.quantity for p in then.portfolio.positions()}
    after = {p.symbol: p.quantity for p in now.positions()}
    rows = [[s, before.get(s, Decimal(0)), after.get(s, Decimal(0))] for s in sorted({*before, *after})]
    rows += [["cash, $", then.portfolio.cash, now.cash]]
    columns = [Column("what", ""), Column("then", "Then", style.usd), Column("now", "Now", style.usd)]
    words = (
        f"As of {style.moment(moment)}: event {then.sequence:,}, equity {style.dollars(then.portfolio.equity)}, "
        f"{len(then.open_orders)} open orders, {len(then.halts)} halts. "
        "`athena restore-portfolio --timestamp '...'` compares it with the venue."
    )
    return Section(QUESTIONS["state"], words, (table("Shares and cash, then and now", rows, *columns),))


def _curve(system: System) -> tuple[Finding, Section, int | None]:
    """Each equity point against one worked out again from fills and prices."""
    check, rule = "Is the equity curve what the fills say?", "every point to the cent"
    try:
        points = list(rebuild_curve(system.journal))
    except AthenaError as error:
        finding = Finding(check, Verdict.UNKNOWN, "not known", rule, error.message, error.hint)
        return finding, Section(QUESTIONS["curve"], f"Not known. {error.message}"), None
    wrong = [point for point in points if point.differs]
    rows = [[pd.Timestamp(p.venue_at), p.stored["equity"], p.rebuilt["equity"], p.difference] for p in wrong[:20]]
    columns = [
        Column("at", "At", style.moment),
        Column("stored", "Journaled, $", style.usd),
        Column("rebuilt", "Worked out, $", style.usd),
        Column("off", "Difference, $", style.usd),
    ]
    kept = {pd.Timestamp(p.venue_at): float(p.rebuilt["equity"]) for p in points}
    series = pd.Series(kept, dtype=float)
    series.index = pd.DatetimeIndex(series.index)
    series = series.sort_index()
    draw = partial(pictures.curve, series, "Equity worked out again, $") if len(series) > 1 else None
    words = f"{len(points) - len(wrong)} of {len(points)} points are what fills, cash flows and prices give."
    section = Section(QUESTIONS["curve"], words, (table("Points that differ", rows, *columns),), draw)
    if not points:
        return (
            Finding(check, Verdict.UNKNOWN, "no point", rule, "No equity was recorded yet.", "`athena engine`."),
            section,
            0,
        )
    if not wrong:
        return Finding(check, Verdict.OK, f"{len(points):,} points", rule), section, 0
    most = max((abs(point.difference) for point in wrong), default=Decimal(0))
    reason = (
        f"{len(wrong)} of {len(points)} equity points differ from what the fills say, by up to {style.dollars(most)}."
    )
    return (
        Finding(check, Verdict.ATTENTION, f"{len(wrong)} differ", rule, reason, "`athena rebuild-equity-curve`."),
        section,
        len(wrong),
    )


def _days(system: System) -> tuple[Finding, Section]:
    """Sessions of the exchange between the first and the last day that the journal knows nothing of."""
    check, rule = "Is every session in the journal?", "equity on each"
    days = {row[0] for row in system.journal.query("SELECT DISTINCT trading_date FROM equity")}
    if not days:
        return (
            Finding(check, Verdict.UNKNOWN, "no day", rule, "The journal has no day yet.", "`athena engine`."),
            Section(QUESTIONS["days"], "Not known. The journal has no day yet."),
        )
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    between = (first + timedelta(days) for days in range((last - first).days + 1))
    sessions = [str(day) for day in between if system.days.on(day)]
    missing = [day for day in sessions if day not in days]
    rows = [[day] for day in missing]
    words = f"{len(sessions) - len(missing)} of {len(sessions)} sessions from {first} to {last} have equity."
    section = Section(QUESTIONS["days"], words, (table("Missing sessions", rows, Column("day", "Session")),))
    if not missing:
        return Finding(check, Verdict.OK, f"{len(sessions)} sessions", rule), section
    reason = f"{len(missing)} sessions have no equity, {missing[0]} first."
    return Finding(
        check,
        Verdict.ATTENTION,
        f"{len(missing)} missing",
        rule,
        reason,
        "`athena download-trades`, `athena merge-trade-data`.",
    ), section
