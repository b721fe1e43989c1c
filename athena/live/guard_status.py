"""The guard's state on one screen: may orders pass, why not, who halted what, how much of each limit is used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.live.guard_book import Book
from athena.live.guard_flag import GuardFlag, H, R
from athena.live.guard_rules import Halt, Rules
from athena.live.limits import LIMITS, Value, show
from athena.live.vitals import beat
from athena.model import Mode, dollars

if TYPE_CHECKING:
    from athena.journal.journal import Journal


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit: its value, how much is used (None when nothing measures it), and the share of it that is used."""

    name: str
    value: Value
    used: str | None
    ratio: float | None
    target: str = ""

    @property
    def use(self) -> str:
        """How much is used, with its unit; "" when nothing measures it."""
        return "" if self.used is None else show(self.name, Decimal(self.used))

    def __str__(self) -> str:
        share = "" if self.ratio is None else f"{self.ratio:5.0%}"
        return f"{f'{self.name} {self.target}':40} {show(self.name, self.value):>16}  {self.use:>14} {share}"


@dataclass(frozen=True)
class GuardStatus:
    """What the guard says at one moment, in any process."""

    account: str
    venue: str
    mode: Mode
    passes: bool  # orders without a halt of their own may pass
    why: str
    engine: str
    engine_running: bool
    lease_seconds: float
    epoch: int
    halts: tuple[Halt, ...]
    limits: tuple[LimitLine, ...]
    daily_pnl_dollars: Decimal | None
    violations_today: int
    at: datetime

    def __str__(self) -> str:
        pnl = "unknown" if self.daily_pnl_dollars is None else dollars(self.daily_pnl_dollars, signed=True)
        lines = [
            f"GUARD {self.mode.value.upper().replace('_', '-')}  {self.account} ({self.venue.upper()})  {self.why}",
            f"engine: {self.engine}",
            f"day's P&L: {pnl}   violations today: {self.violations_today}",
        ]
        lines += [f"  halt   {halt}" for halt in self.halts] or ["  no halts"]
        always = "max_daily_loss_dollars"  # the one that ends the day; shown although nothing is measured yet
        shown = (line for line in self.limits if line.ratio is not None or line.target or line.name == always)
        lines += [f"  limit  {line}" for line in shown]
        return "\n".join(lines)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """For --json: only JSON's types."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]

    def __rich__(self) -> Any:
        from rich.panel import Panel
        from rich.text import Text

        colour = {Mode.ACTIVE: "green", Mode.REDUCE_ONLY: "yellow", Mode.HALTED: "red"}[self.mode]
        return Panel(Text(str(self)), border_style=colour, title="execution guard")

    def _repr_html_(self) -> str:
        from html import escape

        colour = {Mode.ACTIVE: "#1a7f37", Mode.REDUCE_ONLY: "#9a6700", Mode.HALTED: "#cf222e"}[self.mode]
        return f'<pre style="border-left:6px solid {colour};padding-left:1em">{escape(str(self))}</pre>'


def read_status(flag: GuardFlag, journal: Journal, account: str, venue: str, book: Book | None) -> GuardStatus:
    """Assemble the status from the flag, the journal and, in the engine's process, its own book."""
    rules = Rules.load(journal)
    heard, usage, alive, safe = _engine(journal, flag.lease_seconds > 0)
    passes = flag.allows()
    running = alive and flag.lease_seconds > 0
    if book is not None:
        usage = usage_of(book)
    elif not running or not usage:
        from athena.live.guard_load import load_book

        usage = usage_of(load_book(journal))
    halted = flag.words[H] == 0 or flag.words[R] != flag.words[H]
    mode = Mode.HALTED if halted else rules.mode
    row = journal.one("SELECT COALESCE(SUM(times), 0) FROM violations WHERE trading_date = ?", (usage.get("day", ""),))
    return GuardStatus(
        account, venue, mode, passes and rules.mode is Mode.ACTIVE, why(passes, halted, rules.mode, running, safe),
        heard, running, round(max(0.0, flag.lease_seconds), 3), rules.epoch, rules.halts, _lines(rules, usage),
        Decimal(usage["pnl"]) if usage.get("pnl") else None, row[0] if row else 0, datetime.now(UTC),
    )  # fmt: skip


def usage_of(book: Book) -> dict[str, str]:
    """How much of each measured limit is used, as text; the engine puts it into its heartbeat under `guard`."""
    loss = book.daily_loss
    worst = max((s.share[1] for s in book.symbols.values()), default=Decimal(0))
    minute = book.rates[""]
    recent = sum(1 for at in minute if (minute[-1] - at).total_seconds() < 60) if minute else 0
    usage = {
        "day": str(book.day or ""),
        "pnl": "" if loss is None else f"{-loss:.2f}",
        "max_daily_loss_dollars": "" if loss is None else f"{max(loss, Decimal(0)):.2f}",
        "max_position_per_symbol_dollars": f"{worst:.2f}",
        "max_gross_exposure_dollars": f"{book.gross:.2f}",
        "max_net_exposure_dollars": f"{max(book.net_up, -book.net_down):.2f}",
        "max_orders_per_minute": str(recent),
        "max_consecutive_losses": str(book.losses),
        "max_open_orders": str(len(book.open)),
        "max_open_orders_per_symbol": str(max((len(s.open) for s in book.symbols.values()), default=0)),
        "drawdown_halt_percent": f"{max(book.drawdown_percent, Decimal(0)):.2f}",
    }
    return {name: used for name, used in usage.items() if used}


def why(passes: bool, halted: bool, mode: Mode, running: bool, safe: bool) -> str:
    """May orders pass, and if not why: from the flag (`passes`, `halted`), the journal's mode, and the engine."""
    if passes and mode is Mode.ACTIVE:
        return "the guard lets orders pass, but the engine is in SAFE MODE and makes none" if safe else "orders pass"
    if halted and mode is not Mode.HALTED:
        return "orders refused: the flag is halted by what is not journaled, or new here (a reboot, a copied journal)"
    if mode is not Mode.ACTIVE:
        return "only reducing orders pass" if mode is Mode.REDUCE_ONLY and passes else "orders refused"
    return (
        "orders refused: the engine is not running"
        if not running
        else "orders refused: the guardian's lease has run out"
    )


def _engine(journal: Journal, leased: bool) -> tuple[str, dict[str, str], bool, bool]:
    heard = beat(journal)
    if heard is None:
        return "never ran on this journal", {}, False, False
    text = f"running, pid {heard.pid}" if heard.alive else f"not running, {heard.silence}"
    if leased and not heard.alive and not heard.stopped:  # its guardian still vouches: it lives, and cannot write
        text = f"SILENT though it lives ({heard.silence}): see the disk"
    return (
        text,
        dict(heard.details.get("guard") or {}),
        heard.alive,
        heard.alive and bool(heard.details.get("safe_mode")),
    )


def _lines(rules: Rules, usage: dict[str, str]) -> tuple[LimitLine, ...]:
    lines = [_line(name, rules.value(name), usage.get(name)) for name in LIMITS]
    lines += [
        LimitLine(name, value, None, None, target) for (name, target), value in sorted(rules.values.items()) if target
    ]
    return tuple(lines)


def _line(name: str, value: Value, used: str | None) -> LimitLine:
    if used is None or isinstance(value, bool) or not isinstance(value, Decimal | int) or not value:
        return LimitLine(name, value, used, None)
    return LimitLine(name, value, used, float(Decimal(used) / Decimal(value)))
