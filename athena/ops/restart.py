"""`athena gradual-restart`: trading comes back in stages, each held until it has been healthy for a while.

    1 reconcile   everything halted; the books must agree with the venue
    2 exits       reduce-only: positions may only become smaller
    3 one         one strategy, at a fraction of its limits; the others halted
    4 full        nothing of this command's remains

What a stage restricts are halts and limits of this command's own; nobody else's are touched. Restrictions of the next
stage are set before those of the last are lifted. A stage that fails falls back by itself; Ctrl-C leaves it standing.
Where a second approver is required, each lifting is asked for, and the stage before is held and watched meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from athena.config import Settings
from athena.errors import ApprovalNeeded, AthenaError, GuardError, SettingsError
from athena.journal.codec import decode, to_text
from athena.journal.journal import Journal
from athena.live.approvals import EXPIRY, requests
from athena.live.commands import request_sync, require_engine
from athena.live.execution_guard import ExecutionGuard, Halt
from athena.live.limits import LIMITS
from athena.live.vitals import beat, books
from athena.model import Mode, Origin, Scope

OWNER = "gradual-restart"
STAGES = ("reconcile", "exits", "one", "full")
SCALED = ("max_position_per_symbol_dollars", "max_order_notional_dollars", "max_orders_per_minute")
CHECK_SECONDS, PATIENCE_CHECKS = 1.0, 3  # a stage fails when it was unhealthy in so many looks in a row
FALLS_MAX = 3
REJECTIONS_MAX = 3
RECONCILED_SECONDS = 150.0
UNAPPROVED = "nobody approved in time"
ATTENTION = 10  # exit code: it stands at an earlier stage


def gradual_restart(settings: Settings, arguments: argparse.Namespace) -> int:
    """Bring trading back in stages; 0 at full, 10 when it had to stay at an earlier one."""
    if not 0 < arguments.fraction <= 1:
        raise SettingsError(f"--fraction is {arguments.fraction}; expected more than 0, at most 1.")

    def say(stage: str, what: str, **facts: Any) -> None:
        if arguments.json:
            print(json.dumps({"stage": stage, "what": what, **facts}, default=str), flush=True)
        else:
            told = "; ".join(str(value) for value in facts.values())
            print(f"{STAGES.index(stage) + 1}/4 {stage:<10} {what}{f': {told}' if told else ''}", flush=True)

    guard = ExecutionGuard.get_instance(settings)
    with Journal.open(settings.journal_path, actor=f"operator {settings.operator}") as journal:
        restart = Restart(guard, journal, arguments.strategy, Decimal(str(arguments.fraction)))
        try:
            return 0 if restart.run(arguments.stage_seconds, say) else ATTENTION
        except KeyboardInterrupt:
            say(restart.stage, "stands", why="interrupted; go on with athena gradual-restart, or athena resume")
            return ATTENTION


@dataclass(frozen=True)
class Restriction:
    """One halt that a stage needs."""

    scope: Scope
    target: str
    mode: Mode

    def is_(self, halt: Halt) -> bool:
        return halt.owner == OWNER and (halt.scope, halt.target, halt.mode) == (self.scope, self.target, self.mode)


class Restart:
    """The stages of one live system's restart. Raises EngineNotRunning, GuardError for somebody else's halt."""

    def __init__(self, guard: ExecutionGuard, journal: Journal, strategy: str, fraction: Decimal) -> None:
        self._guard, self._journal, self._fraction = guard, journal, fraction
        beat = require_engine(journal)
        self._strategies = tuple(beat.get("strategies", {}))
        if strategy and strategy not in self._strategies:
            known = ", ".join(self._strategies) or "none"
            raise SettingsError(f"the engine runs no strategy '{strategy}'.", f"It runs {known}.")
        self._first = strategy or next(iter(self._strategies), "")
        self._last = "exits" if beat.get("safe_mode") else "full"
        self.stage = STAGES[0]
        self._since = self._begun = datetime.now(UTC)
        self._asked: list[str] = []  # requests that wait for a second operator

    def run(self, stage_seconds: float, say: Callable[..., None], sleep: Callable[[float], None] = time.sleep) -> bool:
        """Through the stages; False when it gave up and stands at an earlier one."""
        self._others()
        falls, index = 0, 0
        while True:
            problem = self._try(STAGES[index])
            while self._asked and not problem:
                problem = self._wait(STAGES[index], say, sleep) or self._try(STAGES[index])
            if problem == UNAPPROVED:
                say(self.stage, "stands", why=f"{problem}; ask again with athena gradual-restart")
                return False
            problem = problem or self._hold(stage_seconds, say, sleep)
            if not problem:
                if self.stage == self._last:
                    full = self.stage == "full"
                    say(self.stage, "reached", why="trading as usual" if full else "safe mode goes no further")
                    return full
                index += 1
                continue
            falls, index = falls + 1, max(0, index - 1)
            say(self.stage, "failed", why=problem)
            self._apply(STAGES[index], lift=False)
            if falls >= FALLS_MAX:
                say(self.stage, "stands", why=f"{falls} failures; find the cause, then start again")
                return False
            say(self.stage, "fallen back to")

    def _try(self, stage: str) -> str:
        """Enter a stage; what keeps it from being entered, or ""."""
        self._asked = []
        try:
            self._apply(stage)
        except GuardError as refused:  # the checklist does not hold
            return str(refused)
        return ""

    def _wait(self, stage: str, say: Callable[..., None], sleep: Callable[[float], None]) -> str:
        """Until another operator has approved what the next stage lifts; what went wrong meanwhile, or ""."""
        asked, bad = set(self._asked), 0
        minutes = EXPIRY.total_seconds() / 60
        say(self.stage, "waits", why=f"a second operator must approve stage '{stage}' within {minutes:.0f} minutes",
            next=f"athena approve {' '.join(self._asked)}")  # fmt: skip
        while True:
            sleep(CHECK_SECONDS)
            mine = [request for request in requests(self._journal) if request.id in asked]
            if all(request.approved_by for request in mine):
                return ""
            if not all(request.approved_by or request.pending for request in mine):
                return UNAPPROVED
            problems = self.problems()
            bad = bad + 1 if problems else 0
            if bad >= PATIENCE_CHECKS:
                return "; ".join(problems)

    def _ask_or(self, act: Callable[[], Any]) -> None:
        """Do it, or remember the request that was filed in its place."""
        try:
            act()
        except ApprovalNeeded as needed:
            self._asked.append(needed.request)

    def _hold(self, seconds: float, say: Callable[..., None], sleep: Callable[[float], None]) -> str:
        """Watch the stage so long; what was wrong in several looks in a row, or ""."""
        say(self.stage, "entered", seconds=f"held {seconds:g} s", restricts=self._words())
        deadline, bad = time.monotonic() + seconds, 0
        if self.stage == STAGES[0] and not self._reconcile():
            return "the books do not agree with the venue: athena reconcile"
        while True:  # a stage ends healthy: what is wrong in its last look has the same patience
            sleep(min(CHECK_SECONDS, max(0.05, deadline - time.monotonic())))
            problems = self.problems()
            bad = bad + 1 if problems else 0
            if bad >= PATIENCE_CHECKS:
                return "; ".join(problems)
            if not problems and time.monotonic() >= deadline:
                return ""

    def _reconcile(self) -> bool:
        try:
            return request_sync(self._journal, "reconcile", timeout=30).ok
        except AthenaError:
            return False

    # ------------------------------------------------------------------------------------------------------ health

    def problems(self) -> list[str]:
        """What speaks against this stage now; empty means healthy."""
        found = []
        heard = beat(self._journal)
        if heard is None or not heard.alive:
            return ["the engine is not running"]
        if heard.details.get("failures"):
            found.append(f"failed: {', '.join(heard.details['failures'])}")
        if heard.details.get("positions_unsure_since"):
            found.append("the venue is disconnected")
        if (last := books(self._journal)) is None:
            found.append("never reconciled")
        elif not last.ok:
            found.append("the books differ from the venue's")
        elif last.age_seconds > RECONCILED_SECONDS:
            found.append("the last reconciliation is old")
        found += [f"halted meanwhile: {halt}" for halt in self._guard.halts() if self._speaks_against(halt)]
        sql = "SELECT count(*) AS n FROM orders WHERE status = 'rejected' AND updated_at > ?"
        row = self._journal.one(sql, (to_text(self._since),))
        if row is not None and row["n"] > REJECTIONS_MAX:
            found.append(f"{row['n']} orders were rejected in this stage: athena order-analysis --failed-only")
        return found

    def _speaks_against(self, halt: Halt) -> bool:
        """Somebody else's halt of everything, and whatever the system halted since this run began: not ours to lift.

        An engine that crashed and started meanwhile is one of these: what follows a crash is an operator's to judge.
        It goes on speaking after a fall back; an operator's own halt of one symbol or strategy is no one's failure.
        """
        if halt.owner == OWNER:
            return False
        everything = halt.scope is Scope.GLOBAL and halt.origin is not Origin.STARTUP
        return everything or (halt.origin is not Origin.OPERATOR and halt.at > self._begun)

    def _others(self) -> None:
        """Raise GuardError while somebody else's halt of everything stands: this command lifts its own only."""
        others = [h for h in self._guard.halts() if h.scope is Scope.GLOBAL and h.origin is not Origin.STARTUP]
        if others:
            raise GuardError(f"{others[0]} stands, and is not this command's.", "Resume it first: athena resume REASON")

    # ------------------------------------------------------------------------------------------------ what binds

    def _wanted(self, stage: str) -> list[Restriction]:
        if stage == "reconcile":
            return [Restriction(Scope.GLOBAL, "", Mode.HALTED)]
        if stage == "exits":
            return [Restriction(Scope.GLOBAL, "", Mode.REDUCE_ONLY)]
        others = [name for name in self._strategies if name != self._first] if stage == "one" else []
        return [Restriction(Scope.STRATEGY, name, Mode.HALTED) for name in others]

    def _apply(self, stage: str, *, lift: bool = True) -> None:
        """Set what the stage needs, then lift what it does not. Raises GuardError; then only the first was done.

        What needs a second operator is asked for, and the stage is not entered yet.

        Without `lift`, and at the first stage, restrictions are only added: falling back asks nobody's permission.
        """
        wanted, standing = self._wanted(stage), self._guard.halts()
        for one in wanted:
            if not any(one.is_(halt) for halt in standing):
                why = f"gradual restart, stage {STAGES.index(stage) + 1}: {stage}"
                self._guard.halt(
                    why, scope=one.scope, target=one.target, mode=one.mode, origin=Origin.STARTUP, owner=OWNER
                )
        if stage == "one":
            self._shrink()
        if lift and stage != "reconcile":
            if stage != "one":
                self._restore()
            kept = [halt.id for halt in self._guard.halts() if any(one.is_(halt) for one in wanted)]
            gone = [h.id for h in self._guard.halts() if h.origin is Origin.STARTUP
                    and h.id not in kept and not self._speaks_against(h)]  # fmt: skip
            if gone:
                self._ask_or(partial(self._guard.resume, reason=f"{OWNER}: stage {stage}", halt_ids=gone))
        if not self._asked:
            self.stage, self._since = stage, datetime.now(UTC)

    def _shrink(self) -> None:
        """The first strategy's limits at the fraction; what they were is kept in the reason."""
        target = f"strategy:{self._first}"
        if not self._first or self._shrunk():
            return
        for name in SCALED:
            row = self._journal.one("SELECT value FROM limits WHERE name = ? AND target = ?", (name, target))
            value = self._guard.limits(target)[name]
            if isinstance(value, (int, Decimal)):
                less = value * self._fraction
                small = max(1, int(less)) if isinstance(value, int) else less
                was = row["value"] if row else "null"
                self._guard.set_limit(name, small, target=target, reason=f"{OWNER}: was {was}")

    def _restore(self) -> None:
        for row in self._shrunk():
            was = decode(str(row["reason"]).removeprefix(f"{OWNER}: was "))
            value = LIMITS[row["name"]].high if was is None else was  # unset again is as wide as it goes
            name, target = row["name"], row["target"]
            why = f"gradual restart: as before{', no limit of its own' if was is None else ''}"
            self._ask_or(partial(self._guard.set_limit, name, value, target=target, reason=why))

    def _shrunk(self) -> list[Any]:
        return self._journal.query("SELECT * FROM limits WHERE reason LIKE ?", (f"{OWNER}: was %",))

    def _words(self) -> str:
        return {
            "reconcile": "nothing trades",
            "exits": "positions may only become smaller",
            "one": f"only {self._first or 'no strategy'}, at {self._fraction:.0%} of its limits",
            "full": "nothing is restricted any more",
        }[self.stage]
