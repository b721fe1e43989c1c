"""The post-market checklist's live checks: what a machine can know of a closed day."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from athena.analysis import style
from athena.analysis.assessment import Finding, Verdict
from athena.core.curve import rebuild_curve
from athena.core.sessions import not_over
from athena.errors import AthenaError
from athena.journal.codec import from_text
from athena.journal.snapshots import FOLDER, list_snapshots
from athena.playbooks.books.system import System

THEN = "The action below, or `athena post-market`."


def _session_open(system: System) -> bool | None:
    """By the venue, else by the engine's last word, else closed where the record reaches the close; None: not known."""
    try:
        return bool(system.ask(lambda broker: broker.get_clock()).is_open)
    except AthenaError:
        session = system.heartbeat()[1].get("session")
        if session is not None:
            return session in {"regular", "open"}
        last, hours = system.venue_now, system.days.on(system.day) if system.day else None
        return False if last and hours and last >= hours.closes else None


def closed(system: System) -> Finding:
    """The venue, its engine, or the record itself says that the day's session is over."""
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


def complete(system: System) -> Finding:
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


def no_open_orders(system: System) -> Finding:
    """Nothing is left at the venue over the night."""
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


def reconciled_since(system: System) -> Finding:
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


def reported(system: System) -> Finding:
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


def curve(system: System) -> Finding:
    """The day's equity, worked out again from its fills."""
    check, rule = "Are the day's figures what its fills say?", "every point to the cent"
    points = [p for p in rebuild_curve(system.journal) if system.day and p.venue_at >= system.day.isoformat()]
    wrong = [point for point in points if point.differs]
    if not points:
        return Finding(check, Verdict.UNKNOWN, "no point", rule, "No equity was recorded that day.", "`athena engine`.")
    if not wrong:
        return Finding(check, Verdict.OK, f"{len(points):,} points", rule)
    most = style.dollars(max(abs(point.difference) for point in wrong))
    reason = f"{len(wrong)} of {len(points)} equity points differ from what the fills say, by up to {most}."
    return Finding(check, Verdict.ATTENTION, f"{len(wrong)} differ", rule, reason, "`athena recalc-metrics`.")


def archived(system: System) -> Finding:
    """Every closed day's trades are in the archive as the journal has them."""
    from athena.core.archive import pending

    check, rule = "Are the closed days archived?", "all, as journaled"
    before, waits = not_over(system.journal, system.settings)
    left = pending(system.journal, system.settings.folder, before)
    if left:
        reason = f"{len(left)} closed days are not archived as the journal has them, {left[0]} first."
        return Finding(check, Verdict.ATTENTION, f"{len(left)} to do", rule, reason, THEN)
    if waits:
        return Finding(check, Verdict.ATTENTION, waits, rule, f"The archive waits: {waits}.", "Run this again later.")
    return Finding(check, Verdict.OK, "all", rule)


def proposals(system: System) -> Any:
    """The latest journaled proposal of limits; None where fills came after it."""
    row = system.journal.one(
        "SELECT e.payload, e.sequence FROM events e WHERE e.kind = 'note' AND e.payload LIKE '%\"proposals\"%'"
        " ORDER BY e.sequence DESC LIMIT 1"
    )
    last = system.journal.one("SELECT max(sequence) FROM fills")
    return row if row and (not last or not last[0] or row["sequence"] > last[0]) else None


def proposed(system: System) -> Finding:
    """Next day's limits were worked out after the day's last fill."""
    check, rule, row = "Are tomorrow's limits proposed?", "proposals since the last fill", proposals(system)
    if row is None:
        reason = "No limits were proposed since the last fill."
        return Finding(check, Verdict.ATTENTION, "none", rule, reason, THEN)
    return Finding(
        check, Verdict.OK, f"{len(json.loads(row['payload'])['proposals'])}, event {row['sequence']:,}", rule
    )


def saved(system: System) -> Finding:
    """The journal was copied, and the copy read through, after the day's last fill and within a day."""
    check, rule = "Is the journal backed up?", "a snapshot within 24 h, and since the last fill"
    found = list_snapshots(system.settings.backup_folder / FOLDER)
    if not found:
        return Finding(check, Verdict.ATTENTION, "none", rule, "There is no snapshot of the journal.", THEN)
    age, last = datetime.now(UTC) - found[0].taken_at, system.journal.one("SELECT max(sequence) FROM fills")
    seen = f"event {found[0].sequence:,}, {style.span(age)} ago"
    if last and last[0] and found[0].sequence < last[0]:
        return Finding(check, Verdict.ATTENTION, seen, rule, "Fills came after the newest snapshot.", THEN)
    if age <= timedelta(hours=24):
        return Finding(check, Verdict.OK, seen, rule)
    return Finding(check, Verdict.ATTENTION, seen, rule, f"The newest snapshot is {style.span(age)} old.", THEN)
