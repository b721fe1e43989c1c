"""Snapshots at the command line: take one, list them, restore one into a new file; and verify the journal."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, astuple
from datetime import UTC, datetime

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import SettingsError
from athena.journal import snapshots
from athena.journal.codec import from_text
from athena.journal.head import check_heads, read_heads, record_head
from athena.journal.journal import Journal
from athena.journal.restored import last_restored, mark_restored, restore
from athena.ops.health import words
from athena.ops.recovery_show import Table, existing_journal, say, working

_IN_DOUBT = (
    "messages that go out marked as possible repeats", "messages held; athena notifications lists them",
    "runs not made again by themselves; athena schedule --list offers them",
)  # fmt: skip
_HEADINGS = ("file", "taken (UTC)", "last event", "MB", "why")


def snapshot(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take a snapshot now, or list those there are; exit 3 when the journal is damaged."""
    folder = settings.backup_folder / snapshots.FOLDER
    if arguments.list:
        found = snapshots.list_snapshots(folder)
        told = f"{len(found)} snapshots in {folder}" if found else f"there are no snapshots in {folder}"
        verdict, then = (Verdict.OK, "") if found else (Verdict.ATTENTION, "athena snapshot")
        rows = [_row(one) for one in found]
        return say(arguments, verdict, told, {"snapshots": [s.to_dict() for s in found]}, [("", _HEADINGS, rows)], then)
    began = time.monotonic()
    with (
        existing_journal(settings) as journal,
        working(arguments, "copying the journal and reading the copy through"),
    ):
        before = {one.path for one in snapshots.list_snapshots(folder)}
        made = snapshots.snapshot_now(journal, settings, arguments.reason or "asked by an operator")
        after = {one.path for one in snapshots.list_snapshots(folder)}
    removed = sorted(path.name for path in before - after)
    told = f"snapshot of {made.sequence:,} events, read through and hashed in {time.monotonic() - began:.1f} s"
    facts = {"snapshot": made.to_dict() | {"path": str(made.path)}, "removed_by_retention": removed}
    gone = [(name,) for name in removed]
    tables: list[Table] = [("", _HEADINGS, [_row(made)]), ("removed by the retention", ("file",), gone)]
    then = f"to restore: athena restore-snapshot {made.path} --to NEW_FILE"
    return say(arguments, Verdict.OK, told, facts, tables, then)


def restore_snapshot(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a snapshot into a new file, verified there; say what the outside record knows beyond its end."""
    file, to = arguments.file, arguments.to.absolute()
    if not file.exists() and (named := settings.backup_folder / snapshots.FOLDER / file.name).exists():
        file = named
    if to == file.absolute():
        raise SettingsError("--to names the snapshot itself.", "Name a new file.")
    with working(arguments, "checking the snapshot, copying it, and folding the copy's events again"):
        reason = arguments.reason or "asked by an operator"
        card, doubt = restore(file, to, who=f"operator {settings.operator}", reason=reason)
    heads = read_heads(settings.backup_folder / "heads.log")
    last = max((head.sequence for head in heads), default=card.sequence)
    beyond = max(0, last - card.sequence)
    told = f"restored {card.sequence:,} events into {to} and marked it as restored; chain and tables hold"
    rows = [
        ("snapshot", file),
        ("taken", f"{card.taken_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("last event in it", f"{card.sequence:,}, hash {card.head[:16]}"),
        ("last event recorded outside", f"{last:,}" if heads else "none recorded"),
        ("events known and not in it", f"{beyond:,}; fills among them come back from the venue by reconciliation"),
        *((meaning, ", ".join(ids)) for meaning, ids in zip(_IN_DOUBT, astuple(doubt), strict=True) if ids),
    ]
    facts = {"restored": str(to), "snapshot": card.to_dict(), "events": card.sequence, "events_beyond": beyond}
    facts["in_doubt"] = asdict(doubt)
    if to == settings.journal_path.absolute():
        then = 'athena verify-journal --accept-head "WHY", athena broker-reconciliation, athena engine'
    else:
        then = (
            f"stop the engine, move {settings.journal_path} with its -wal and -shm aside, move {to} there, then "
            'athena verify-journal --accept-head "WHY" and athena broker-reconciliation'
        )
    return say(arguments, Verdict.OK, told, facts, [("", ("", ""), rows)], then)


def verify_journal(settings: Settings, arguments: argparse.Namespace) -> int:
    """Check pages, chain, tables, and that no tail is lost since the last recorded head; exit 3 when one fails.

    `--accept-head REASON` records, after that, that the journal as it is now is the one to go on with.
    """
    reason = arguments.accept_head
    with existing_journal(settings, read_only=not reason) as journal:
        with working(arguments, "reading every page and folding the events again"):
            found = journal.verify()
            heads = check_heads(journal, settings) if found.first_broken is None else None
        if reason and heads is not None and found.ok:
            was = f"; until now: {heads.problem}" if heads.problem else ""
            if heads.last is not None and heads.problem:
                _mark_lost(journal, from_text(heads.last.at), reason)
            journal.append("note", {"text": f"the journal is accepted as it is: {reason}{was}"})
            record_head(journal, settings, force=True, word="accepted")
            heads = check_heads(journal, settings)
    told = [str(found)] + ([str(heads)] if heads is not None else [])
    good = found.ok and (heads is None or heads.ok)
    outside = None if heads is None else {"ok": heads.ok, "recorded": heads.recorded, "problem": heads.problem}
    facts = {
        "ok": good, "events": found.events, "head": found.head, "first_broken": found.first_broken,
        "problem": found.problem, "differences": [str(one) for one in found.differences], "outside": outside,
    }  # fmt: skip
    lost = heads is not None and not heads.ok
    then = "" if good else "athena snapshot --list, athena restore-snapshot FILE --to NEW"
    if lost:
        then += '; to go on with the journal as it is: athena verify-journal --accept-head "WHY"'
    elif not found.ok and found.first_broken is None:
        then = "stop the engine, then athena rebuild-equity-curve --apply puts the tables right from the events"
    say(arguments, Verdict.OK if good else Verdict.STOP, "; ".join(told), facts, (), then)
    return 0 if good else 3


def _mark_lost(journal: Journal, noticed_at: datetime, reason: str) -> None:
    """A tail lost without `restore-snapshot` leaves the same in doubt; one that it explains has its mark already."""
    mark, last = last_restored(journal), next(journal.events(after=journal.head()[0] - 1), None)
    if last is not None and (mark is None or mark.at < noticed_at):
        mark_restored(journal, source="a journal that lost its tail", as_of=last.at, reason=reason)


def _row(one: snapshots.Snapshot) -> tuple[str, ...]:
    old = words((datetime.now(UTC) - one.taken_at).total_seconds())
    taken, size = f"{one.taken_at:%Y-%m-%d %H:%M:%S} ({old} ago)", f"{one.size / 1e6:.1f}"
    return one.path.name, taken, f"{one.sequence:,}", size, one.reason
