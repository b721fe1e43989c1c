"""What an operator can do from a control room: each verb calls a handle, journaled with operator, notebook and reason.

The desk decides nothing: guard and engine refuse what must not be. It only insists that an operator saw what he acts
upon: a phrase names the state it was shown in, and a limit or a halt that is another by now is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import AthenaError, BrokerError, EngineNotRunning, GuardError, SettingsError
from athena.journal.journal import Journal
from athena.live.commands import request_sync
from athena.live.execution_guard import ExecutionGuard, Halt, Resumed
from athena.live.limits import Value, parse, show
from athena.model import Mode, Scope
from athena.playbooks.books.acting import phrase

if TYPE_CHECKING:
    from athena.live.guard_checklist import Line
    from athena.widgets.snapshot import Snapshot

Say = Callable[[str], None]
COMMAND_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """One action as it would be done now: its exact effect, and the phrase that confirms having seen it."""

    title: str
    effect: tuple[str, ...]
    phrase: str
    halts: tuple[str, ...] = ()  # the ids of those it lifts


class Desk:
    """The handles of one live system, for one notebook."""

    def __init__(self, settings: Settings, path: Path, notebook: str) -> None:
        self.settings, self.path, self.notebook = settings, path, notebook
        self.actor = f"operator {settings.operator}, {notebook}"
        self.guard = ExecutionGuard(settings)
        self.guard.actor = self.actor

    def close(self) -> None:
        self.guard.close()

    # ------------------------------------------------------------------------------------------------ halts, resuming

    def checklist(self, where: str = "") -> tuple[Line, ...]:
        """What must hold to resume everything, `symbol:AAPL` or `strategy:NAME`; empty when nothing is halted there."""
        self._own()
        symbol, strategy = _where(where)
        return self.guard.checklist(symbol, strategy)

    def halts(self, where: str = "") -> tuple[Halt, ...]:
        """The halts that stand there."""
        symbol, strategy = _where(where)
        scope = Scope.SYMBOL if symbol else Scope.STRATEGY if strategy else Scope.GLOBAL
        target = symbol or strategy or ""
        return tuple(h for h in self.guard.halts() if (h.scope, h.target) == (scope, target))

    def resume_plan(self, where: str = "", *, reduce_only: bool = False) -> Plan:
        """What a resume would lift and what would remain. Raises GuardError where nothing is halted."""
        self._own()
        standing, own = self.guard.halts(), self.halts(where)
        if not own:
            raise GuardError(f"Nothing is halted for {_named(where)}.", "")
        remains = [halt for halt in standing if halt not in own]
        effect = [f"Lifts {halt}" for halt in own] + [f"Remains: {halt}" for halt in remains]
        if reduce_only:
            effect.insert(0, f"First restricts {_named(where)} to orders that make positions smaller.")
        words = f"{'reduce-only' if reduce_only else 'resume'} {_named(where)}"
        ids = sorted(halt.id for halt in own)
        return Plan(words, tuple(effect), phrase(words, ids), tuple(ids))

    def resume(self, plan: Plan, where: str, reason: str, typed: str, say: Say, *, override: bool = False) -> Resumed:
        """Lift exactly the halts of the plan. Raises ResumeRefused, ApprovalNeeded (asked by that), GuardError."""
        self._confirmed(self.resume_plan(where, reduce_only=plan.title.startswith("reduce-only")), plan, reason, typed)
        symbol, strategy = _where(where)
        if plan.title.startswith("reduce-only"):
            self._reduce_only(where, reason, say)
        say("asking the engine to reconcile, then the checklist")
        made = self.guard.resume(symbol, strategy, reason, halt_ids=plan.halts, override=override)
        for line in str(made).splitlines():
            say(line.strip())
        if not where:
            from athena.ops.control import _lift_suspension

            if told := _lift_suspension(self.settings):
                say(told)
        return made

    def _reduce_only(self, where: str, reason: str, say: Say) -> None:
        """The restriction that is to remain, before anything is lifted; one that stands already serves."""
        symbol, strategy = _where(where)
        if any(h.mode is Mode.REDUCE_ONLY and h.owner == self.settings.operator for h in self.halts(where)):
            raise GuardError(
                "Your own reduce-only stands already and would be lifted too.", "Resume, then set it anew."
            )
        scope = Scope.SYMBOL if symbol else Scope.STRATEGY if strategy else Scope.GLOBAL
        halt = self.guard.halt(reason, scope=scope, target=symbol or strategy or "", mode=Mode.REDUCE_ONLY)
        say(f"set: {halt}; it stays until you resume it, also if the next step is refused")

    def staged(self, reason: str, say: Say, stage_seconds: float, stopped: Callable[[], bool]) -> bool:
        """`athena gradual-restart`: True at full, False where it stands at an earlier stage."""
        from athena.ops.restart import STAGES, Restart

        self._own()
        self._needs(reason)
        with self._journal() as journal:
            journal.append("note", {"text": f"gradual restart begun: {reason}", "notebook": self.notebook})
            restart = Restart(self.guard, journal, "", Decimal("0.25"))

            def sleep(seconds: float) -> None:
                import time

                if stopped():
                    raise GuardError(f"Stopped by you; it stands at stage {restart.stage}.", "Start again, or resume.")
                time.sleep(seconds)

            def tell(stage: str, what: str, **facts: Any) -> None:
                told = "; ".join(str(value) for value in facts.values())
                say(f"{STAGES.index(stage) + 1}/4 {stage} {what}{f': {told}' if told else ''}")

            return restart.run(stage_seconds, tell, sleep)

    def approve(self, request_id: str, say: Say) -> None:
        """Approve another operator's request; it takes effect with this. Raises GuardError: own, expired, stale."""
        self._own()
        made = self.guard.approve(request_id)
        say(str(made) if isinstance(made, Resumed) else f"approved: the limit is {made} now")

    # --------------------------------------------------------------------------------------------------------- limits

    def set_limit(self, name: str, text: Any, target: str, reason: str, seen: Value) -> Value:
        """Change a limit, if it still is what was `seen`. Raises GuardError (both values named), ApprovalNeeded."""
        self._own()
        self._needs(reason)
        return self.guard.set_limit(name, text, target=target, reason=reason, seen=(seen,))

    def undo_limit(self, change: Mapping[str, Any], reason: str) -> Value:
        """Set a limit back to what it was before one change, as a new change, if that change is still the last."""
        name, target = str(change["name"]), str(change.get("target") or "")
        before = parse(name, change.get("previous"), target=target)
        after = parse(name, change["value"], target=target)
        told = reason or f"undo of {show(name, before)} -> {show(name, after)}"
        return self.set_limit(name, before, target, told, after)

    # --------------------------------------------------------------------------------------------- orders, the engine

    def cancel(self, client_order_id: str, reason: str, say: Say) -> None:
        """Have the engine cancel one order and say what became of it."""
        self._ask("cancel_order", {"client_order_id": client_order_id}, reason, say)

    def cancel_all(self, reason: str, say: Say) -> None:
        """Have the engine cancel every open order at the venue."""
        self._ask("cancel_all", {}, reason, say)

    def close_plan(self, symbol: str, snapshot: Snapshot) -> Plan:
        """What closing a position would do now. Raises GuardError where none is held."""
        self._own()
        status = snapshot.status
        held = next((p for p in status.positions if p["symbol"] == symbol), None) if status else None
        if held is None or status is None:
            raise GuardError(f"There is no position in {symbol}.", "")
        quantity = Decimal(held["quantity"])
        resting = [o["client_order_id"] for o in status.open_orders if o["symbol"] == symbol]
        worth = f", worth ${abs(Decimal(held['market_value'])):,.2f} at the last price" if held["market_value"] else ""
        effect = [f"Cancels {len(resting)} open orders in {symbol} first." if resting else "No order rests there."]
        side = "Sells" if quantity > 0 else "Buys"
        effect.append(f"{side} {abs(quantity):f} {symbol} at market{worth}.")
        effect.append("An operator's exit: it passes in every mode, under the guard's short list of checks.")
        words = f"close {symbol}"
        return Plan(words, tuple(effect), phrase(words, held["quantity"]))

    def close_position(self, plan: Plan, symbol: str, snapshot: Snapshot, reason: str, typed: str, say: Say) -> None:
        """Close one position through the engine, if it still is what the plan was of."""
        self._confirmed(self.close_plan(symbol, snapshot), plan, reason, typed)
        self._ask("close_position", {"symbol": symbol}, reason, say)

    def reconnect(self, reason: str, say: Say) -> None:
        """Have the engine open its connections to the venue anew."""
        self._ask("reconnect", {}, reason, say)

    def reconcile(self, reason: str, say: Say) -> None:
        """Have the engine compare orders, fills, positions and cash with the venue now."""
        self._ask("reconcile", {}, reason, say)

    def ask_venue(self, say: Say) -> None:
        """Ask the venue itself now, past the engine: latency, clock, account flags. Raises BrokerError on problems."""
        import asyncio

        from athena.live.brokers.alpaca import AlpacaBroker

        health = asyncio.run(AlpacaBroker.get_instance(self.settings).health_check())
        for name, value in health.rows():
            say(f"{name}: {value}")
        row = self.guard.journal.one("SELECT account_number FROM account") if self.path.exists() else None
        if row is not None and health.account_number and row["account_number"] != health.account_number:
            raise BrokerError(f"the venue answers for account {health.account_number}, the journal is another's.",
                              "Do not act from here: check keys and account.")  # fmt: skip
        if health.latency_seconds is None:
            raise BrokerError("the venue did not answer.", "See Alpaca's status page, and this machine's network.")

    def _ask(self, name: str, arguments: dict[str, Any], reason: str, say: Say) -> None:
        self._own()
        if not self.path.exists():
            raise EngineNotRunning("engine: not running, and it never ran here.", "athena engine")
        asked = arguments | {"reason": self._signed(reason or "asked in the control room")}
        with self._journal() as journal:
            answer = request_sync(journal, name, asked, COMMAND_SECONDS)
        say(answer.message or "done")
        if not answer.ok:
            raise AthenaError(f"{name.replace('_', ' ')} did not succeed.", "athena status; then ask again.")

    # ------------------------------------------------------------------------------------------------------ playbooks

    def run_playbook(
        self, name: str, given: Mapping[str, Any], reason: str, progress: Callable[[int, int, str], None]
    ) -> Any:
        """Run one playbook headless and note it in the journal; the run, as `playbooks.runner` returns it."""
        from athena.playbooks.runner import run_playbook

        made = run_playbook(
            name, given, reports=self.settings.reports, settings=self.settings, who=self.settings.operator,
            why=self._signed(reason or "asked in the control room"), progress=progress,
            single_file=True,  # a page that Jupyter serves may load no script beside it
        )  # fmt: skip
        if self.path.exists():
            with self._journal() as journal:
                text = f"ran the playbook {name}: {made.verdict if made.succeeded else 'FAILED'}"
                journal.append("note", {"text": text, "reason": reason, "notebook": self.notebook})
        return made

    # -------------------------------------------------------------------------------------------------------- helpers

    def _journal(self) -> Journal:
        return Journal.open(self.path, self.actor)

    def _own(self) -> None:
        """Refuse to act on a copy of a journal, or with the keys of another venue."""
        if self.path.resolve() != self.settings.journal_path.resolve():
            raise GuardError(f"{self.path.name} is no live system's journal: a copy is only read.", "")
        if not self.path.exists():
            return
        row = self.guard.journal.one("SELECT venue FROM account WHERE id = 1")
        if row is not None and row["venue"] != self.settings.venue:
            raise GuardError(
                f"the journal is an account of {row['venue']}; this kernel has the keys of {self.settings.venue}.",
                "Open the control room with that venue's settings.",
            )

    def _needs(self, reason: str) -> None:
        if not reason.strip():
            raise SettingsError("a reason is needed.", "Write why; it is recorded with your name.")

    def _confirmed(self, now: Plan, shown: Plan, reason: str, typed: str) -> None:
        self._needs(reason)
        if now.phrase != shown.phrase:
            raise GuardError("The state has changed since it was shown; nothing was done.", "Look at it again.")
        if typed.strip() != now.phrase:
            raise GuardError(f"You typed '{typed.strip()}'; nothing was done.", f"Type exactly: {now.phrase}")

    def _signed(self, reason: str) -> str:
        return f"{reason} [{self.notebook}]"


def _where(text: str) -> tuple[str | None, str | None]:
    kind, _, name = text.partition(":")
    if not text:
        return None, None
    if kind not in ("symbol", "strategy") or not name.strip():
        raise SettingsError(f"'{text}' is no place to resume.", "It is everything, symbol:AAPL or strategy:NAME.")
    return (name.strip().upper(), None) if kind == "symbol" else (None, name.strip())


def _named(where: str) -> str:
    return where.partition(":")[2] or "everything"
