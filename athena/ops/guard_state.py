"""`athena guard-state-check`: the guard's three layers side by side, and every disagreement by its name."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.decisions import Decision, halted
from athena.live.guard_flag import SIZE, E, GuardFlag, H, L, R, S, boottime_ns, flag_path
from athena.live.guard_rules import Halt
from athena.live.vitals import Beat, beat
from athena.model import Mode, Scope
from athena.ops.health import COLOURS, EXIT_CODES, words

if TYPE_CHECKING:
    from athena.journal.journal import Journal

SENDING_SECONDS = 30.0


@dataclass(frozen=True)
class Disagreement:
    """Two layers say different things. `verdict`: STOP where the laxer one is wrong, ATTENTION where both refuse."""

    verdict: Verdict
    what: str
    next_action: str


@dataclass(frozen=True)
class GuardState:
    """Each layer in words (label, value), the halts with their matrix rows, and what does not fit together."""

    row: dict[str, str]
    flag: dict[str, str]
    gate: dict[str, str]
    halts: tuple[Halt, ...]
    decisions: tuple[Decision, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def verdict(self) -> Verdict:
        return max((d.verdict for d in self.disagreements), key=lambda v: v.severity, default=Verdict.OK)

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value, "row": self.row, "flag": self.flag, "gate": self.gate,
            "halts": [{"id": h.id, "text": str(h), "row": d.row.key, "recommended": d.row.recommended}
                      for h, d in zip(self.halts, self.decisions, strict=True)],
            "disagreements": [asdict(d) for d in self.disagreements],
        }  # fmt: skip


def guard_state_check(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the layers; exit 0 when they agree, 10 when they differ and all refuse, 11 when one would let pass."""
    from athena.journal.journal import Journal

    with Journal.open(settings.journal_path, "guard-state-check", read_only=True) as journal:
        found = look(settings, journal)
    if arguments.json:
        print(json.dumps(found.to_dict(), default=str))
        return EXIT_CODES[found.verdict]
    _show(settings, found)
    return EXIT_CODES[found.verdict]


def look(settings: Settings, journal: Journal) -> GuardState:
    """Read the three layers once, changing none of them; a flag that does not exist is not made."""
    row = journal.one("SELECT epoch, mode, nonce, updated_at FROM guard WHERE id = 1")
    standing = journal.query("SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY at")
    halts = tuple(map(Halt.from_row, standing))
    known = {str(r["nonce"]): r["cleared_at"] for r in journal.query("SELECT nonce, cleared_at FROM halts")}
    path = flag_path(settings.journal_path)
    flag = GuardFlag(path) if path.exists() and path.stat().st_size >= SIZE else None
    layers = _Layers(row, halts, known, beat(journal), flag, path)
    try:
        return GuardState(
            layers.row_words(), layers.flag_words(), layers.gate_words(), halts,
            tuple(halted(h.origin.value, h.owner, h.reason) for h in halts), tuple(layers.disagreements()),
        )  # fmt: skip
    finally:
        if flag is not None:
            flag.close()


class _Layers:
    """What was read, and how it compares."""

    def __init__(
        self,
        row: Any,
        halts: tuple[Halt, ...],
        known: dict[str, str],
        heard: Beat | None,
        flag: GuardFlag | None,
        path: Path,
    ) -> None:
        self.row, self.halts, self.known, self.flag, self.path = row, halts, known, flag, path
        self.mode = Mode(row["mode"]) if row else Mode.HALTED
        words = flag.words if flag else None
        self.h, self.r, self.lease, self.e, self.s = ([words[i] for i in (H, R, L, E, S)]) if words else [0] * 5
        self.now = boottime_ns()
        self.acknowledged = self.h != 0 and self.h == self.r
        self.leased = self.now < self.lease
        self.details = heard.details if heard else {}
        self.pid = heard.pid if heard else None
        self.age = heard.age_seconds if heard else None
        self.alive = heard is not None and heard.alive

    def row_words(self) -> dict[str, str]:
        if self.row is None:
            return {"row": "missing"}
        return {
            "mode": self.mode.value, "epoch": str(self.row["epoch"]), "nonce": _hex(int(self.row["nonce"] or 0)),
            "halts standing": str(len(self.halts)), "changed": self.row["updated_at"] or "never",
        }  # fmt: skip

    def flag_words(self) -> dict[str, str]:
        if self.flag is None:
            return {"file": f"missing or cut: {self.path}"}
        return {
            "says": ("allows" if self.leased else "no halt, but no lease: refuses") if self.acknowledged else "halted",
            "H latest halt": _hex(self.h),
            "R acknowledged": _hex(self.r),
            "E last change": _hex(self.e),
            "S sending since": f"{(self.now - self.s) / 1e9:.1f} s" if self.s else "nothing on its way",
            "file": str(self.path),
        }

    def gate_words(self) -> dict[str, str]:
        lease = (self.lease - self.now) / 1e9
        heard = "never" if self.age is None else f"{words(self.age)} ago, state {self.details.get('state', '?')}"
        return {
            "lease": f"{lease:.2f} s left" if self.leased else f"run out {words(-lease)} ago" if self.lease else "none",
            "engine": f"pid {self.pid}, alive" if self.alive else "not running",
            "heartbeat": heard,
            "its mode": str(self.details.get("mode", "?")),
        }

    def disagreements(self) -> list[Disagreement]:
        """Every pair that does not fit; a reading a moment apart can show one that the next look does not."""
        found: list[Disagreement] = []

        def tell(verdict: Verdict, what: str, next_action: str) -> None:
            found.append(Disagreement(verdict, what, next_action))

        stop, warn = Verdict.STOP, Verdict.ATTENTION
        globals_ = [h for h in self.halts if h.scope is Scope.GLOBAL]
        strictest = max((h.mode for h in globals_), key=lambda m: m.strictness, default=Mode.ACTIVE)
        if self.row is None:
            tell(stop, "the journal has no guard row", "athena verify-journal")
        elif strictest is not self.mode and not (self.row["updated_at"] is None and not self.halts):
            why = f"the guard row says {self.mode.value}, its halts say {strictest.value}"
            tell(stop if self.mode.strictness < strictest.strictness else warn, why, "athena verify-journal")
        if self.flag is None:
            if self.alive:
                tell(stop, "the flag's file is gone while an engine runs", "athena halt; restart the engine")
            return [*found, *self._engine()]
        if self.mode is Mode.HALTED and self.acknowledged:
            tell(stop, "the journal says halted, the flag allows", "athena halt NOW, then find out who wrote the flag")
        if self.mode is not Mode.HALTED and self.h and not self.acknowledged:
            if str(self.h) not in self.known:
                tell(warn, f"the flag is halted by {_hex(self.h)}, which no journal row explains", "wait a second: the"
                     " engine records it; else athena halt, then athena resume REASON")  # fmt: skip
            else:
                tell(warn, "the journal is not halted, the flag still is: a resume was not finished",
                     "athena resume REASON")  # fmt: skip
        if self.h == 0 and self.mode is not Mode.HALTED:
            tell(warn, "the flag is new (rebooted?) and refuses, the journal says active", "athena halt, then resume")
        return [*found, *self._engine()]

    def _engine(self) -> list[Disagreement]:
        found = []
        stop, warn = Verdict.STOP, Verdict.ATTENTION
        if self.leased and not self.alive:
            found.append(
                Disagreement(stop, "the lease stands and no engine tells that it lives", "athena halt; find it")
            )
        if self.alive and not self.leased and self.details.get("state") == "running":
            why = "the engine lives and its guardian does not vouch: every order is refused"
            found.append(Disagreement(warn, why, "read the engine's log; restart it"))
        told = self.details.get("mode")
        if self.alive and told and told != self.mode.value:
            why = f"the engine's last heartbeat says {told}, the journal {self.mode.value}"
            found.append(Disagreement(warn, why, "look again in a second"))
        if self.s and (self.now - self.s) / 1e9 > SENDING_SECONDS:
            why = f"an order has been on its way for {(self.now - self.s) / 1e9:.0f} s"
            found.append(Disagreement(warn, why, "athena reconcile: see what the venue has"))
        late = [h for h in self.halts if h.expires_at and h.expires_at < datetime.now(UTC)]
        found += [Disagreement(warn, f"{h.id} should have expired", "athena engine; or athena resume") for h in late]
        return found


def _hex(word: int) -> str:
    return f"{word:016x}" if word else "zero"


def _show(settings: Settings, found: GuardState) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    agree = "the three layers agree" if not found.disagreements else "the layers DISAGREE"
    console.print(f"[{COLOURS[found.verdict]} bold]{found.verdict}[/] {settings.account_name}: {agree}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=False)
    for title, layer in (("journal row", found.row), ("flag", found.flag), ("gate and lease", found.gate)):
        for number, (label, value) in enumerate(layer.items()):
            table.add_row(f"[bold]{title}[/]" if number == 0 else "", label, escape(value))
    console.print(table)
    for halt, decision in zip(found.halts, found.decisions, strict=True):
        console.print(f"halt  {halt}\n      {decision.row.when}: {decision.row.recommended}", markup=False)
        console.print(f"      by itself: {decision.row.automatic}", markup=False)
    for one in found.disagreements:
        console.print(f"[{COLOURS[one.verdict]} bold]{one.verdict}[/] {escape(one.what)}")
        console.print(f"      next: {one.next_action}", markup=False)
