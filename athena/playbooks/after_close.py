"""The work after the close, one function a step: report, trades, logs, next day's limits, and last the snapshot.

    for done in after_close.run(settings, who="schedule", why="16:00"):
        print(done)                                       # what was done, and what was read back from where it went

Each step stands alone and may be repeated: what is done already is found done. None changes a limit, an order or the
guard. A step never raises AthenaError: what went wrong is its outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from athena.config import Settings
from athena.errors import AthenaError, SettingsError, did_you_mean
from athena.journal.journal import Journal


class State(StrEnum):
    """How a step ended. WAITS: nothing is wrong, but the day is not over for it yet."""

    DONE = "DONE"
    WAITS = "WAITS"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Done:
    """One step's outcome: `told` in words, as read back; `then` is the next action, "" where there is none."""

    step: str
    state: State
    told: str
    then: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.state:<6} {self.step:<8} {self.told}" + (f" Next: {self.then}" if self.then else "")

    def to_dict(self) -> dict[str, Any]:
        """Only JSON's types."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Step:
    """What a step is called, what it would do in words, and the function that does it."""

    name: str
    effect: str
    do: Callable[[Settings, str, str], Done]


def run(settings: Settings, *, who: str, why: str, only: Sequence[str] = ()) -> Iterator[Done]:
    """Every step in order, or `only` the named ones; raises SettingsError on an unknown name before the first."""
    if unknown := [name for name in only if name not in STEPS]:
        known = ", ".join(STEPS)
        raise SettingsError(f"'{unknown[0]}' is no post-market step.", did_you_mean(unknown[0], STEPS, known))
    return (perform(step, settings, who=who, why=why) for name, step in STEPS.items() if not only or name in only)


def perform(step: Step, settings: Settings, *, who: str, why: str) -> Done:
    """Do one step; an AthenaError becomes its outcome."""
    try:
        return step.do(settings, who, why)
    except AthenaError as error:
        return Done(step.name, State.FAILED, error.message, error.hint)


def report(settings: Settings, who: str, why: str) -> Done:
    """Render the daily report of the latest trading day; its result file is read back."""
    from athena.playbooks.runner import run_playbook

    made = run_playbook("daily_report", reports=settings.reports, settings=settings, who=who, why=why)
    facts: dict[str, Any] = {"page": str(made.html), "verdict": made.verdict, "trading_date": str(made.trading_date)}
    if not made.succeeded:
        return Done("report", State.FAILED, f"The report failed: {made.error}", f"Open {made.html}.", facts)
    told = json.loads(made.result.read_text(encoding="utf-8"))
    if (told["verdict"], told["trading_date"]) != (made.verdict, str(made.trading_date)):
        return Done("report", State.FAILED, f"{made.result} does not read back as the run.", "Render it again.", facts)
    words = f"{made.trading_date}: {told['verdict']}, {told['reason']} {made.html}"
    return Done("report", State.DONE, words, "" if told["verdict"] == "OK" else told["action"], facts)


def trades(settings: Settings, who: str, why: str) -> Done:
    """Archive every closed day that has news; each file is read back and compared with the journal."""
    from athena.core.archive import State as Kept
    from athena.core.archive import archive_days
    from athena.core.sessions import not_over

    with _journal(settings, who) as journal:
        before, waits = not_over(journal, settings)
        found = list(archive_days(journal, settings.folder, before))
    written = [one.trading_date for one in found if one.written]
    bad = [one for one in found if one.before in {Kept.HARMED, Kept.BEHIND}]
    facts = {"archived": written, "closed_days": len(found), "waits": waits, "need_attention": [b.why for b in bad]}
    if bad:
        return Done("trades", State.FAILED, f"{bad[0].trading_date}: {bad[0].why}", "`athena archive-trades`.", facts)
    words = f"{len(found)} closed days are archived; {', '.join(written) or 'none'} written now and read back."
    if waits:
        return Done("trades", State.WAITS, f"{words} {waits}.", "Run this step again later.", facts)
    return Done("trades", State.DONE, words, "", facts)


def logs(settings: Settings, who: str, why: str) -> Done:
    """Compress the account's logs into the archive, each read back; nothing is removed."""
    from athena.core import log_archive

    folder = settings.folder / log_archive.FOLDER
    made, entries = log_archive.archive_logs(folder, log_archive.logs_of(settings))
    missing = [name for name in entries if not (folder / name).is_file()]
    facts = {"archived": [one.file for one in made], "in_archive": len(entries), "missing": missing}
    if missing:
        lost = f"{len(missing)} archived logs are missing, first {missing[0]}."
        return Done("logs", State.FAILED, lost, "Bring them back from a backup.", facts)
    words = f"{len(made)} logs archived now and read back; the archive lists {len(entries)}, all there."
    return Done("logs", State.DONE, words, "", facts)


def snapshot(settings: Settings, who: str, why: str) -> Done:
    """Copy the journal; the copy is read through, and its end compared with the journal's."""
    from athena.journal import snapshots

    with _journal(settings, who) as journal:
        before = journal.head()[0]
        made = snapshots.snapshot_now(journal, settings, f"post-market: {why}")
    read = snapshots.check(made.path)
    facts = {"snapshot": str(made.path), **read.to_dict()}
    if read.sequence < before:
        words = f"{made.path.name} ends at event {read.sequence:,}; the journal had {before:,} before."
        return Done("snapshot", State.FAILED, words, "`athena snapshot`.", facts)
    words = f"{read.sequence:,} events, {read.size / 1e6:.1f} MB, read through and hashed: {made.path.name}"
    return Done("snapshot", State.DONE, words, "", facts)


def limits(settings: Settings, who: str, why: str) -> Done:
    """Propose next day's limits and say what they would have refused; the proposals are journaled, none is applied."""
    from athena.live.guard_rules import Rules
    from athena.live.limit_proposals import propose
    from athena.live.limit_replay import load_record
    from athena.live.limits import show
    from athena.playbooks.proposing import gather, what_if

    with _journal(settings, who) as journal:
        record = load_record(journal)
        found = propose(gather(settings, journal, record), Rules.load(journal).values)
        effects = what_if(record, found, {})
        lines = [f"{p.label} {show(p.name, p.current)} → {show(p.name, p.proposed)}" for p in found]
        text = f"limits proposed for the next day: {len(lines)}"
        payload = {"text": text, "proposals": [one.to_dict() for one in found], "by": who, "why": why}
        event = journal.append("note", payload | {"effects": effects.reason})
        back = next(iter(journal.events(after=event.sequence - 1, kinds=("note",))), None)
    facts = {"proposals": payload["proposals"], "effects": effects.reason, "sequence": event.sequence}
    if back is None or back.payload.get("text") != text:
        return Done("limits", State.FAILED, "The journal does not read back the proposals.", "`athena verify-journal`.")
    if not found:
        return Done("limits", State.DONE, "No limit would change on this evidence.", "", facts)
    words = f"{'; '.join(lines)}. {effects.reason} Journaled as event {event.sequence:,}; nothing was changed."
    return Done("limits", State.DONE, words, '`athena update-risk-params --apply --reason "..."`.', facts)


def _journal(settings: Settings, who: str) -> Journal:
    from athena.errors import JournalError

    if not settings.journal_path.exists():
        raise JournalError(
            f"there is no journal at {settings.journal_path}.", "Check ATHENA_HOME, or start the engine."
        )
    return Journal.open(settings.journal_path, who)


STEPS: Mapping[str, Step] = {
    step.name: step
    for step in (
        Step("report", "The daily report of the latest trading day is rendered into the archive of reports.", report),
        Step("trades", "Every closed day that is not archived yet is written to Parquet.", trades),
        Step("logs", "Logs are compressed into the archive; none is removed.", logs),
        Step("limits", "Next day's limits are proposed and journaled as a note; none is changed.", limits),
        Step("snapshot", "The journal is copied into the backups, and the copy read through.", snapshot),
    )
}

__all__ = ["STEPS", "Done", "State", "Step", "limits", "logs", "perform", "report", "run", "snapshot", "trades"]
