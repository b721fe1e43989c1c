"""Setting and clearing halts from any process: the flag first, then the journal; never the other way round.

Standard library and the journal only: this is the path of `athena halt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athena.errors import AthenaError, GuardError, JournalMissing, ResumeRefused
from athena.live.guard_checklist import Ask, Line, shown
from athena.live.guard_flag import GuardFlag, H, L, R, S, boottime_ns, new_nonce
from athena.live.guard_rules import Halt, with_wait
from athena.model import Mode, Origin, Scope

if TYPE_CHECKING:
    from athena.journal.journal import Journal

WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Resumed:
    """Which halts a resume cleared, which restrictions remain, and whether any engine is there to trade."""

    cleared: tuple[Halt, ...]
    remaining: tuple[Halt, ...]
    override: bool
    engine_running: bool
    checks: tuple[Line, ...] = ()

    def __str__(self) -> str:
        lines = ["Resumed by OVERRIDE of the checklist." if self.override else "Resumed."]
        lines += [f"  cleared   {halt}" for halt in self.cleared] or ["  nothing was halted here"]
        lines += [f"  remains   {halt}" for halt in self.remaining]
        if not self.engine_running:
            lines.append("  The engine is not running: no order passes until it is started, and it starts halted.")
        return "\n".join(lines)


def open_journal(path: Path, actor: str) -> Journal:
    """The existing journal; raises JournalError, and never makes one: a halt of nothing must not look like a halt."""
    if not path.exists():
        home = path.parent.parent
        accounts = sorted(found.parent.name for found in home.glob(f"*/{path.name}"))
        known = f"{home} has {', '.join(accounts)}" if accounts else f"nothing of Athena's is in {home}"
        raise JournalMissing(f"there is no journal at {path}.", f"Check --home and --account: {known}.")
    from athena.journal.journal import Journal

    return Journal.open(path, actor)


def set_halt(
    flag: GuardFlag, journal: Callable[[], Journal], halt: Halt, *, wait: bool, venue_at: datetime | None = None
) -> Halt:
    """Make a halt binding and durable. A global HALTED one binds before the journal is even opened.

    With `wait`, returns when no order can reach the venue any more, or says in `detail` why that is not certain.
    Raises GuardError: the halt could not be journaled; a global one then still stands in the flag.
    """
    everything = halt.scope is Scope.GLOBAL and halt.mode is Mode.HALTED
    if everything:
        flag.halt(halt.nonce)
    try:
        with journal().transaction() as tx:
            tx.append("halt.set", _payload(halt), venue_at)
    except (AthenaError, OSError, ValueError, ImportError) as error:
        if everything:
            flag.halt(halt.nonce)
            if isinstance(error, JournalMissing) and not flag.lease_seconds > 0:
                raise GuardError(
                    f"NO LIVE SYSTEM IS HERE, so nothing that runs elsewhere was stopped: {error.message}"
                    " The flag of this home is set all the same.",
                    error.hint,
                ) from error
            raise GuardError(
                f"Trading IS halted by the flag, but the halt could not be journaled: {error}",
                "It holds until this machine restarts. Mend the journal, then halt again to record it.",
            ) from error
        hint = error.hint if isinstance(error, JournalMissing) else "Halt everything instead: athena halt."
        told = error.message if isinstance(error, JournalMissing) else str(error)
        raise GuardError(f"{halt.where} is NOT halted: {told}", hint) from error
    if everything:
        flag.halt(halt.nonce)
    flag.announce_change()
    if not wait:
        return halt
    return with_wait(halt, *wait_for_sends(flag))


def wait_for_sends(flag: GuardFlag, seconds: float = WAIT_SECONDS) -> tuple[bool, str]:
    """Wait until every order that was on its way when this was called is through; (True, "") or why that is unsure.

    A send that began later has seen the change that was written before this call.
    """
    written, deadline = boottime_ns(), time.monotonic() + seconds
    while True:
        began = flag.words[S]
        if began == 0 or began > written:
            return True, ""
        age = (boottime_ns() - began) / 1e9
        if boottime_ns() >= flag.words[L]:
            return False, f"the engine died or hung while sending an order ({age:.1f} s ago); see what the venue has"
        if time.monotonic() >= deadline:
            return False, f"an order sent {age:.1f} s ago is still unanswered; see what the venue has"
        time.sleep(_POLL_SECONDS)


def clear_halts(
    flag: GuardFlag,
    journal: Journal,
    named: Sequence[str],
    *,
    by: str,
    reason: str,
    override: bool = False,
    checklist: Ask | None = None,
    all_of: Callable[[Halt], bool] | None = None,
) -> tuple[tuple[Halt, ...], tuple[Halt, ...], tuple[Line, ...]]:
    """Clear the halts `named` in one commit, then acknowledge the flag's halt if nothing else keeps everything halted.

    Returns (cleared, remaining, checks). With `all_of`, the names must be all such halts that stand. Raises
    ResumeRefused when they are not, or when the checklist does not hold; a halt written to the flag meanwhile stands.
    """
    seen, names = flag.words[H], set(named)
    with journal.transaction() as tx:
        standing = tuple(map(Halt.from_row, tx.query("SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY at")))
        to_clear = tuple(halt for halt in standing if halt.id in names)
        remaining = tuple(halt for halt in standing if halt.id not in names)
        missing = names - {halt.id for halt in to_clear}
        if missing and checklist is not None and all_of is None:  # the operator named it
            raise ResumeRefused(f"{', '.join(sorted(missing))} does not stand any more.", "Look again: athena status.")
        newer = [halt for halt in remaining if all_of is not None and all_of(halt)]
        if newer:
            raise ResumeRefused(f"a halt came meanwhile: {newer[0]}.", "Look again, then resume.", ("no newer halt",))
        checks = checklist(tx, to_clear) if checklist else ()
        failed = tuple(line.name for line in checks if not line.holds)
        if failed and not override:
            first = next(line for line in checks if not line.holds)
            told = f"{first.next} " if first.next else ""
            raise ResumeRefused(f"not resumed: {shown(checks)}.", f"{told}Or override it, which is recorded.", failed)
        told = f"OVERRIDE of {', '.join(failed)}: {reason}" if failed else reason
        for halt in to_clear:
            tx.append("halt.cleared", {"id": halt.id, "by": by, "reason": told, "override": bool(failed)})
        free = not any(h.scope is Scope.GLOBAL and h.mode is Mode.HALTED for h in remaining)
        known = seen != 0 and tx.one("SELECT 1 FROM halts WHERE nonce = ?", (str(seen),)) is not None
    if free and known:
        flag.acknowledge(seen)  # only now that it is durable; a newer halt has another nonce and stays
    flag.announce_change()
    return to_clear, remaining, checks


def adopt(flag: GuardFlag, journal: Journal) -> Halt | None:
    """Record a halt that only the flag knows: whoever set it died, or could not reach the journal."""
    nonce = flag.words[H]
    halt = new_halt(
        "halt flag set by another process that died", owner="unknown", nonce=nonce, id=f"orphan-{nonce:016x}"
    )
    with journal.transaction() as tx:
        if nonce == 0 or tx.one("SELECT 1 FROM halts WHERE nonce = ?", (str(nonce),)) is not None:
            return None
        tx.append("halt.set", _payload(halt))
    flag.announce_change()
    return halt


def finish_resume(flag: GuardFlag, journal: Journal) -> bool:
    """Acknowledge a halt whose clearing is durable though whoever cleared it died before saying so to the flag."""
    seen = flag.words[H]
    if seen == 0 or flag.words[R] == seen:
        return False
    row = journal.one(
        "SELECT"
        " (SELECT COUNT(*) FROM halts WHERE cleared_at IS NULL AND scope = 'global' AND mode = 'halted') AS standing,"
        " (SELECT COUNT(*) FROM halts WHERE nonce = ? AND cleared_at IS NOT NULL) AS cleared",
        (str(seen),),
    )
    if row is None or row["standing"] or not row["cleared"]:
        return False
    flag.acknowledge(seen)
    flag.announce_change()
    return True


def new_halt(
    reason: str,
    *,
    scope: Scope = Scope.GLOBAL,
    target: str = "",
    mode: Mode = Mode.HALTED,
    origin: Origin = Origin.OPERATOR,
    owner: str = "",
    nonce: int | None = None,
    id: str = "",
    expires_at: datetime | None = None,
) -> Halt:
    """A halt not yet set; raises GuardError on a scope without target, a target without scope, a mode that allows."""
    if mode is Mode.ACTIVE:
        raise GuardError("A halt cannot be ACTIVE.", "Resume instead.")
    if (scope is Scope.GLOBAL) == bool(target):
        raise GuardError(
            f"A {scope.value} halt with target '{target}' means nothing.", "Name a symbol or a strategy, or none."
        )
    now = datetime.now(UTC)
    if expires_at is not None and (expires_at.tzinfo is None or not expires_at > now):
        raise GuardError(f"A halt cannot expire at {expires_at}.", "Give a time to come, with its time zone.")
    nonce = nonce or new_nonce()
    target = target.upper() if scope is Scope.SYMBOL else target
    return Halt(
        id or f"halt-{nonce:016x}", scope, target, mode, origin, owner or origin.value, reason, nonce, now, expires_at
    )


def _payload(halt: Halt) -> dict[str, Any]:
    return {
        "id": halt.id, "scope": halt.scope, "target": halt.target, "mode": halt.mode, "origin": halt.origin,
        "owner": halt.owner, "reason": halt.reason, "nonce": str(halt.nonce), "expires_at": halt.expires_at,
    }  # fmt: skip
