"""What a start found: how the last run ended, how much of the journal was verified, what the venue said.

The report is said in one line, and journaled whole in a note; the next start continues its verification from there.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.journal.chain import GENESIS, link
from athena.journal.event import COLUMNS
from athena.journal.head import check_heads
from athena.journal.journal import RARE

if TYPE_CHECKING:
    from athena.journal.journal import Journal
    from athena.live.reconciliation import Outcome

VERIFY_SECONDS = 2.0
_PAGE = 2_000
_REPORT = "startup.report"


@dataclass(frozen=True)
class LastRun:
    """How the engine before this one ended; `heard_at` is machine time. `clean` also when there was none."""

    clean: bool
    pid: int | None = None
    heard_at: datetime | None = None
    silent_seconds: float | None = None

    def __str__(self) -> str:
        if self.clean:
            return "the last run ended cleanly" if self.heard_at else "the first run on this journal"
        heard = "before its first heartbeat"
        if self.heard_at is not None:
            ago = self.silent_seconds or 0.0
            when = f"{ago:.0f} s ago" if ago >= 0 else "which is still to come: this clock was set back"
            heard = f"last heard of at {self.heard_at:%Y-%m-%d %H:%M:%S} UTC, {when}"
        return f"the last run ended uncleanly (pid {self.pid}, {heard})"


def last_run(journal: Journal) -> LastRun:
    """Read from the journal how the last run ended, before this one writes anything."""
    sql = f"SELECT kind, pid FROM events WHERE kind IN ('engine.started', 'engine.stopped') AND {RARE}"
    last = journal.one(f"{sql} ORDER BY sequence DESC LIMIT 1")
    beat = journal.one("SELECT pid, at FROM heartbeats WHERE component = 'engine'")
    if last is None:
        return LastRun(True)
    # A heartbeat of before the crashed process's start is not its own.
    heard = datetime.fromisoformat(beat["at"]) if beat is not None and beat["pid"] == last["pid"] else None
    silent = None if heard is None else (datetime.now(UTC) - heard).total_seconds()
    return LastRun(last["kind"] == "engine.stopped", last["pid"], heard, silent)


@dataclass(frozen=True)
class Verified:
    """The events from `first` to `last` were read and hold; `until` is the journal's end. `problem` is "" or a break.

    `earlier` says who verified the events before `first`: "" when there are none.
    """

    first: int
    last: int
    until: int
    head: str
    problem: str = ""
    earlier: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem

    def __str__(self) -> str:
        if self.problem:
            return f"THE JOURNAL IS BROKEN: {self.problem}"
        if self.until == 0:
            return "the journal is new"
        if self.last < self.first:
            return f"journal verified at an earlier start up to its end, event {self.last:,}"
        told = f"journal verified from event {self.first:,} to {self.last:,}"
        told += f" ({self.earlier})" if self.earlier else ""
        more = self.until - self.last
        return told + (f"; {more:,} newer ones were not read now: athena verify-journal" if more > 0 else "")


async def verify_tail(journal: Journal, settings: Settings, seconds: float = VERIFY_SECONDS) -> Verified:
    """Walk the chain from where the last start's report left off, at most so long, and compare the recorded heads.

    Raises JournalError when the journal or the recorded heads cannot be read.
    """
    until, _ = journal.head()
    if not (heads := check_heads(journal, settings)).ok:
        return Verified(1, 0, until, "", heads.problem)
    first, previous, earlier = _left_off(journal)
    last, deadline = first - 1, time.monotonic() + seconds
    while last < until and time.monotonic() < deadline:
        sql = f"SELECT {COLUMNS} FROM events WHERE sequence > ? ORDER BY sequence LIMIT {_PAGE}"
        for *fields, previous_hash, own in journal.query(sql, (last,)):
            if fields[0] != last + 1:
                return Verified(first, last, until, previous, f"event {last + 1} is missing", earlier)
            if previous_hash != previous or link(previous, fields) != own:
                told = f"event {last + 1} is not what was written, or does not follow from the one before it"
                return Verified(first, last, until, previous, told, earlier)
            last, previous = last + 1, str(own)
        await asyncio.sleep(0)
    return Verified(first, last, until, previous, "", earlier)


def _left_off(journal: Journal) -> tuple[int, str, str]:
    """The first event no start has verified yet, the hash before it, and who vouched for the events before."""
    sql = f"SELECT at, payload FROM events WHERE kind = 'note' AND {RARE} ORDER BY sequence DESC LIMIT 50"
    for row in journal.query(sql):
        report = json.loads(row["payload"]).get(_REPORT)
        if isinstance(report, Mapping) and not report["verified"]["problem"]:
            last, head = int(report["verified"]["last"]), str(report["verified"]["head"])
            here = journal.one("SELECT hash FROM events WHERE sequence = ?", (last,))
            if last and here is not None and here["hash"] == head:
                return last + 1, head, f"those before at the start of {row['at'][:19].replace('T', ' ')}"
    return 1, GENESIS, ""


@dataclass(frozen=True)
class StartupReport:
    """What a start found, and what the operator does next. Seconds are the machine's, since the start began."""

    last_run: LastRun
    verified: Verified
    outcome: Outcome
    halts: tuple[str, ...]
    unanswered: int
    safe_mode: bool
    halted_seconds: float
    reconciled_seconds: float

    def payload(self) -> dict[str, Any]:
        """As journaled: text and the figures."""
        figures = {
            "last_run": str(self.last_run), "clean": self.last_run.clean, "verified": asdict(self.verified),
            "reconciled": self.outcome.ok, "differences": self.outcome.message, "halts": list(self.halts),
            "unanswered_orders": self.unanswered, "safe_mode": self.safe_mode,
            "halted_seconds": f"{self.halted_seconds:.3f}", "reconciled_seconds": f"{self.reconciled_seconds:.3f}",
        }  # fmt: skip
        return {"text": str(self), _REPORT: figures}

    def __str__(self) -> str:
        parts = [self.outcome.message]
        if self.unanswered:
            parts.append(f"{self.unanswered} order(s) without an answer are looked up")
        parts += [str(self.last_run), str(self.verified)]
        if len(self.halts) > 1:
            parts.append(f"{len(self.halts)} halts stand")
        if self.safe_mode:
            parts.append("SAFE MODE: no new orders")
        return "; ".join(parts)
