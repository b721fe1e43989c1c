"""The guardian: a thread of the engine that vouches for the guard ten times a second, or lets its lease run out.

It looks whether flag and journal are still the files the engine maps, records halts that only the flag knows, finishes
interrupted resumes, ends halts whose time is over, and halts when the venue has been gone too long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.errors import AthenaError
from athena.live.guard_flag import GuardFlag, H, R, S, boottime_ns
from athena.live.guard_halting import adopt, clear_halts, finish_resume
from athena.live.guard_rules import Rules
from athena.live.verdict import Code
from athena.model import Origin

if TYPE_CHECKING:
    from athena.journal.journal import Journal
    from athena.live.guard_gate import Gate

INTERVAL_SECONDS = 0.1
_ORPHAN_NS = 1_000_000_000  # how long a halt's setter may take to journal it before it counts as dead
DISCONNECT = "max_disconnect_seconds"


class Guardian:
    """Watches over one gate from its own thread and its own journal connection."""

    def __init__(
        self, gate: Gate, open_journal: Callable[[], Journal], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._gate, self._open, self._now = gate, open_journal, now
        self._journal: Journal | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._orphan = (0, 0)  # nonce without a row, boot time it was first seen
        self._ticks = 0
        self._over: dict[str, int] = {}  # halt that has a time -> boot time at which that is over
        self.doubt = ""  # what was wrong at the last tick

    def start(self) -> None:
        """Vouch once, so that the lease stands when this returns, then go on in the background."""
        self.tick()
        self._thread = threading.Thread(target=self._run, name="athena-guardian", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop vouching: the lease ends at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self._gate.flag.expire()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.tick()

    def tick(self) -> None:
        """One look at everything; the lease is renewed only if all of it went well. Never raises."""
        gate = self._gate
        try:
            if not gate.flag.is_current():
                self._reopen_flag()
            if gate.broken:
                return
            if self._journal is None:
                self._journal = self._open()
            if not (gate.journal.in_place() and self._journal.in_place()):
                gate.broken = (
                    f"the journal {gate.journal.path} was removed or replaced; restart the engine on the right one"
                )
                gate.flag.halt()
                gate.flag.expire()
                return
            self._look(self._journal)
            if self._ticks % 10 == 1:
                gate.tell_refusals()
            if not self._stop.is_set():
                gate.flag.renew()
            self.doubt = ""
        except Exception as error:  # whatever it is: what cannot be vouched for must not trade
            self.doubt = f"{type(error).__name__}: {error}"
            gate.flag.halt()
            gate.flag.expire()
            if self._journal is not None and isinstance(error, AthenaError):
                self._journal.close()
                self._journal = None

    def _look(self, journal: Journal) -> None:
        flag = self._gate.flag
        self._ticks += 1
        halted = flag.words[H]
        if halted == 0:
            flag.halt()
        elif flag.words[R] != halted:
            self._unacknowledged(journal, flag, halted)
        self._disconnected(journal)
        if self._ticks % 10 == 1:
            self._expire(journal, flag)

    def _unacknowledged(self, journal: Journal, flag: GuardFlag, nonce: int) -> None:
        if journal.one("SELECT 1 FROM halts WHERE nonce = ?", (str(nonce),)) is not None:
            finish_resume(flag, journal)
            return
        if self._orphan[0] != nonce:
            self._orphan = (nonce, boottime_ns())
        elif boottime_ns() - self._orphan[1] >= _ORPHAN_NS:
            adopt(flag, journal)

    def _expire(self, journal: Journal, flag: GuardFlag) -> None:
        """End halts whose time is over by the wall clock and by the seconds since they were first seen here.

        Both must agree: a clock that is set forward ends no halt early, one that is set back only makes it longer.
        """
        now, boot = self._now(), boottime_ns()
        rows = journal.query("SELECT id, expires_at FROM halts WHERE cleared_at IS NULL AND expires_at IS NOT NULL")
        left = {row["id"]: (datetime.fromisoformat(row["expires_at"]) - now).total_seconds() for row in rows}
        self._over = {id: self._over.get(id, boot + int(seconds * 1e9)) for id, seconds in left.items()}
        ids = [id for id, seconds in left.items() if seconds <= 0 and boot >= self._over[id]]
        if ids:
            clear_halts(flag, journal, ids, by="guardian", reason="its time is over")

    def _disconnected(self, journal: Journal) -> None:
        """Halt when the venue is gone too long, by what stands now: the gate's rules are read anew only by its news."""
        since = self._gate.disconnected_ns
        if not since:
            return
        rules = Rules.load(journal)
        limit, gone = rules.value(DISCONNECT), (boottime_ns() - since) / 1e9
        if isinstance(limit, Decimal) and gone > limit and not rules.owned_by(DISCONNECT):
            why = f"the venue has been gone for {gone:.1f} s"
            self._gate.acting.act(
                DISCONNECT, Code.DISCONNECTED, why, f"{gone:.1f} s", limit, None, origin=Origin.CONNECTIVITY
            )

    def _reopen_flag(self) -> None:
        """The flag's file was removed, replaced or cut: use the one processes will open from now on, halted."""
        gate = self._gate
        fresh, sending = GuardFlag(gate.flag_path), 0
        if gate.flag.is_whole():
            gate.flag.halt()  # whoever still maps the old one
            sending = gate.flag.words[S]
        fresh.words[S] = sending
        fresh.halt()
        gate.flag = fresh
