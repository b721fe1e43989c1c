"""The few facts every screen shows, cheap enough to be asked each second by every tab: a handful of rows and the flag.

What cannot be read is UNKNOWN, with why. Standard library and the guard only: the Jupyter server has it.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

from athena.config import Settings
from athena.errors import AthenaError
from athena.journal.journal import Journal
from athena.live.guard_flag import GuardFlag, H, R
from athena.live.guard_rules import Halt
from athena.live.guard_status import why
from athena.live.vitals import beat
from athena.model import Mode, Scope

FRESH_SECONDS = 0.25  # several tabs ask at once: one reading serves them
HALTS_MOST = 100


class Glance:
    """One live system, read at most every `FRESH_SECONDS`; any thread may ask."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._flag: GuardFlag | None = None
        self._last: tuple[float, dict[str, Any]] = (-1.0, {})
        self._reasons: dict[str, str] = {}  # of halts, given after them
        self._noted = 0

    def read(self) -> dict[str, Any]:
        """The facts as JSON has them. Never raises: an unreadable journal is `problem`, and the flag is told alone."""
        with self._lock:
            at, facts = self._last
            if time.monotonic() - at > FRESH_SECONDS:
                facts = self._read()
                self._last = (time.monotonic(), facts)
            return facts

    def flag_words(self) -> tuple[bool, bool, float]:
        """(orders pass the flag, it is halted, seconds of lease); a flag that is not there passes nothing."""
        flag = self._flag
        if flag is None or not flag.is_current():
            if flag is not None:
                flag.close()
            self._flag = flag = GuardFlag.open(self.settings.journal_path)
        return flag.allows(), flag.words[H] == 0 or flag.words[R] != flag.words[H], flag.lease_seconds

    def close(self) -> None:
        with self._lock:
            self._forget()
            if self._flag is not None:
                self._flag.close()
                self._flag = None

    def _read(self) -> dict[str, Any]:
        settings = self.settings
        facts: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(), "account": settings.account_name, "account_number": "",
            "venue": settings.venue, "operator": settings.operator, "home": str(settings.home), "mode": "unknown",
            "passes": False, "why": "", "halts": [], "halts_total": 0, "problem": "",
            "engine": {"running": False, "text": "unknown", "age_seconds": None},
        }  # fmt: skip
        if not settings.journal_path.exists():
            return facts | {
                "why": "nothing has run here yet", "problem": f"there is no journal at {settings.journal_path}.",
            }  # fmt: skip
        try:
            passes, halted, lease = self.flag_words()
            facts |= {"mode": str(Mode.HALTED) if halted else "unknown"}
            return facts | self._from_journal(passes, halted, lease)
        except (AthenaError, OSError, ValueError, KeyError) as error:
            self._forget()
            return facts | {"why": "the journal cannot be read", "problem": str(error)}

    def _from_journal(self, passes: bool, halted: bool, lease: float) -> dict[str, Any]:
        if self._journal is None or not self._journal.in_place():
            self._forget()
            self._journal = Journal.open(self.settings.journal_path, "control room", read_only=True)
        journal = self._journal
        row = journal.one("SELECT mode FROM guard WHERE id = 1")
        mode = Mode.HALTED if halted or row is None else Mode(row["mode"])
        halts = [
            Halt.from_row(found)
            for found in journal.query(
                "SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY scope <> 'global', at DESC"
            )
        ]
        for note in journal.events(self._noted, ("note",)):
            self._noted = note.sequence
            if "halt" in note.payload:
                self._reasons[str(note.payload["halt"])] = str(note.payload.get("reason") or "")
        engine, alive, safe = self._engine(journal, lease)
        bound = journal.one("SELECT venue, account_number FROM account")
        told = Mode.HALTED if row is None else Mode(row["mode"])
        return {
            "account_number": bound["account_number"] if bound else "",
            "venue": bound["venue"] if bound else self.settings.venue,
            "mode": str(mode), "passes": passes and told is Mode.ACTIVE, "safe_mode": safe,
            "why": why(passes, halted, told, alive, safe), "engine": engine,
            "halts": [_told(halt, self._reasons.get(halt.id, "")) for halt in halts[:HALTS_MOST]],
            "halts_total": len(halts),
        }  # fmt: skip

    def _engine(self, journal: Journal, lease: float) -> tuple[dict[str, Any], bool, bool]:
        """The engine by heartbeat and lease: the lease of a dead or hung one runs out within two seconds."""
        heard = beat(journal)
        if heard is None:
            return {"running": False, "text": "never ran on this journal", "age_seconds": None}, False, False
        alive, text = heard.alive, f"running, pid {heard.pid}" if heard.alive else f"not running, {heard.silence}"
        if alive and lease <= 0:
            text, alive = f"not answering for {-lease:.0f} s: dead or hung", False
        safe = alive and bool(heard.details.get("safe_mode"))
        return {"running": alive, "text": text, "age_seconds": round(heard.age_seconds, 1)}, alive, safe

    def _forget(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal, self._noted = None, 0
            self._reasons.clear()


def _told(halt: Halt, reason: str) -> dict[str, Any]:
    return {
        "id": halt.id, "scope": str(halt.scope), "target": halt.target, "mode": str(halt.mode), "owner": halt.owner,
        "origin": str(halt.origin), "reason": reason or halt.reason, "at": halt.at.isoformat(),
        "where": "everything" if halt.scope is Scope.GLOBAL else halt.where,
        "age_seconds": round((datetime.now(UTC) - halt.at).total_seconds(), 1),
    }  # fmt: skip
