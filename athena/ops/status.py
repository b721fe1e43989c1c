"""The live system on one screen, from the journal and the flag alone: it answers with the engine hung or dead."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.core.daily import daily_figures
from athena.core.portfolio import Portfolio
from athena.journal.codec import to_text
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.limits import show
from athena.live.vitals import beat, books
from athena.model import ZERO, Mode, OrderStatus, dollars
from athena.ops.health import words
from athena.ops.health_parts import troubles

if TYPE_CHECKING:
    from rich.console import RenderableType

    from athena.live.guard_status import GuardStatus

LINES_MAX = 8
SAFE = "   [yellow bold]SAFE MODE: no new orders, exits pass[/]"
FINAL = tuple(status.value for status in OrderStatus if status.is_final)
MODE_COLOURS = {Mode.ACTIVE: "green", Mode.REDUCE_ONLY: "yellow", Mode.HALTED: "red"}


@dataclass(frozen=True)
class SystemStatus:
    """What the journal and the flag say of a live system at one moment. Rows are plain mappings, as JSON has them."""

    account: str
    venue: str
    account_number: str
    guard: GuardStatus
    broker: dict[str, Any]
    reconciliation: dict[str, Any]
    positions: list[dict[str, Any]]
    open_orders: list[dict[str, Any]]
    equity: str
    daily_pnl: str
    unmarked: tuple[str, ...]
    safe_mode: bool  # the running engine sends no new order, whatever the guard says
    positions_unsure_since: str | None = None  # UTC: since then positions are only what was last known
    around: tuple[str, ...] = ()  # what around the engine waits for a person: messages, alerts, schedule

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "guard": self.guard.to_dict()}


def status(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the status; exit 0 whatever it says (health-check judges)."""
    found = gather(settings)
    if arguments.json:
        print(json.dumps(found.to_dict(), default=str))
        return 0
    _print(_screen(found))
    return 0


def show_limits(found: SystemStatus, *, as_json: bool = False) -> int:
    """Every limit with its value and how much of it is used."""
    lines = found.guard.limits
    if as_json:
        print(json.dumps([{**row, "value": str(row["value"])} for row in found.guard.to_dict()["limits"]]))
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("limit", "for", "value", "used", "headroom"):
        table.add_column(heading, justify="left" if heading in {"limit", "for"} else "right")
    for line in lines:
        value, used = show(line.name, line.value), line.use
        table.add_row(line.name, escape(line.target or "everything"), value, used, _headroom(line.ratio))
    _print([table])
    return 0


def gather(settings: Settings) -> SystemStatus:
    """Read it all once. Raises JournalError when there is no journal: nothing is invented.

    Before an engine bound an account, guard, halts and limits are told all the same, and the money is unknown.
    """
    guard = ExecutionGuard.get_instance(settings).get_status()
    with Journal.open(settings.journal_path, actor="status", read_only=True) as journal:
        bound = journal.one("SELECT 1 FROM account") is not None
        found = assemble(settings, journal, guard, Portfolio.from_journal(journal) if bound else None)
        return replace(found, around=troubles(journal, settings))


def assemble(settings: Settings, journal: Journal, guard: GuardStatus, portfolio: Portfolio | None) -> SystemStatus:
    """The status from what was read already; no portfolio means that no account is bound yet."""
    account = journal.one("SELECT venue, account_number FROM account")
    held = portfolio or Portfolio(ZERO)
    return SystemStatus(
        account=settings.account_name,
        venue=account["venue"] if account else settings.venue,
        account_number=account["account_number"] if account else "",
        guard=guard,
        broker=_broker(journal),
        reconciliation=_reconciliation(journal),
        positions=[_position(p) for p in held.positions()],
        open_orders=_open_orders(journal),
        equity=f"{held.equity:.2f}" if portfolio else "",
        daily_pnl=f"{daily_figures(journal, portfolio).pnl:.2f}" if portfolio else "",
        unmarked=held.unmarked,
        safe_mode=guard.engine_running and _safe_mode(journal),
        positions_unsure_since=_unsure_since(journal),
    )


def _unsure_since(journal: Journal) -> str | None:
    """Since when what is held is only what was last known: the venue is gone, or the engine that would hear of it."""
    heard = beat(journal)
    if heard is None:
        return None
    since = heard.details.get("positions_unsure_since") if heard.alive else to_text(heard.at)
    return None if since is None else str(since)


def _safe_mode(journal: Journal) -> bool:
    heard = beat(journal)
    return bool(heard and heard.details.get("safe_mode"))


def _broker(journal: Journal) -> dict[str, Any]:
    heard = beat(journal, "broker")
    if heard is None:
        return {"state": "unknown", "age_seconds": None}
    state = heard.details.get("state", "unknown") if heard.fresh else "unknown"
    return {**heard.details, "state": state, "age_seconds": round(heard.age_seconds, 1)}


def _reconciliation(journal: Journal) -> dict[str, Any]:
    last = books(journal)
    if last is None:
        return {"ok": None, "age_seconds": None, "breaks": []}
    return {
        "ok": last.ok,
        "at": to_text(last.at),
        "age_seconds": round(last.age_seconds, 1),
        "trigger": last.trigger,
        "breaks": list(last.breaks),
    }


def _position(position: Any) -> dict[str, Any]:
    value, gain = position.market_value, position.unrealised_pnl
    return {
        "symbol": position.symbol,
        "quantity": f"{position.quantity:f}",
        "average_entry_price": f"{position.average_entry_price:.4f}",
        "market_value": None if value is None else f"{value:.2f}",
        "unrealised_pnl": None if gain is None else f"{gain:.2f}",
    }


def _open_orders(journal: Journal) -> list[dict[str, Any]]:
    rows = journal.query(
        "SELECT client_order_id, symbol, side, type, quantity, filled_quantity, limit_price, status, strategy,"
        f" intended_at FROM orders WHERE status NOT IN ({', '.join('?' * len(FINAL))}) ORDER BY intended_at",
        FINAL,
    )
    return [dict(row) for row in rows]


def _screen(found: SystemStatus) -> list[RenderableType]:
    """The screen from the most to the least urgent: is trading allowed, is it alive, what do we hold."""
    from rich.markup import escape
    from rich.table import Table

    guard = found.guard
    colour = MODE_COLOURS[guard.mode]
    venue = (
        "[white on red bold] LIVE MONEY [/]"
        if found.venue == "live"
        else f"[bold]{found.venue.upper()}[/] (no real money)"
    )
    mode = guard.mode.value.replace("_", "-").upper()
    parts: list[Any] = [
        f"[{colour} bold]{mode}[/] {guard.why}   {found.account} {found.account_number}  {venue}",
        f"engine    {_mark(guard.engine_running)} {guard.engine}{SAFE if found.safe_mode else ''}",
        f"broker    {_mark(found.broker['state'] == 'connected')} {found.broker['state']}{_ago(found.broker)}",
        f"books     {_books(found.reconciliation)}",
        f"day P&L   {_signed(found.daily_pnl)}   equity {_dollars(found.equity)}   violations {guard.violations_today}",
    ]
    parts += [f"watch     {_mark(False)} {escape(line)}" for line in found.around]
    parts += [f"[{colour}]halt[/]      {escape(str(halt))}" for halt in guard.halts[:LINES_MAX]]
    parts += [f"          … and {len(guard.halts) - LINES_MAX} more"] * (len(guard.halts) > LINES_MAX)
    used = sorted((line for line in guard.limits if line.ratio is not None), key=lambda line: -(line.ratio or 0))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for line in used[:LINES_MAX]:
        table.add_row("limit", line.name, line.target, show(line.name, line.value), line.use, _headroom(line.ratio))
    parts.append(table)
    if found.positions_unsure_since:
        since = found.positions_unsure_since[:19].replace("T", " ")
        parts.append(f"[yellow bold]positions UNKNOWN since {since} UTC; as last known:[/]")
    parts += _rows(
        "position", found.positions, ("symbol", "quantity", "average_entry_price", "market_value", "unrealised_pnl")
    )
    parts += _rows(
        "order", found.open_orders, ("symbol", "side", "type", "quantity", "filled_quantity", "status", "strategy")
    )
    if found.unmarked:
        parts.append(f"[yellow]no price for {', '.join(found.unmarked)}: equity and P&L leave them at cost[/]")
    return parts


def _rows(name: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[Any]:
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return [f"no {name}s" if name == "position" else f"no open {name}s"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in columns:
        numeric = column not in {"symbol", "side", "type", "status", "strategy"}
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left")
    for row in rows[:LINES_MAX]:
        table.add_row(*("?" if row[column] is None else escape(str(row[column])) for column in columns))
    more = [f"… and {len(rows) - LINES_MAX} more {name}s"] if len(rows) > LINES_MAX else []
    return [table, *more]


def _books(reconciliation: dict[str, Any]) -> str:
    if reconciliation["ok"] is None:
        return "[yellow]?[/] never reconciled with the venue"
    from rich.markup import escape

    told = "agree with the venue" if reconciliation["ok"] else escape(f"DIFFER: {reconciliation['breaks']}")
    return f"{_mark(reconciliation['ok'])} {told}{_ago(reconciliation)}"


def _mark(good: bool) -> str:
    return "[green]ok[/]  " if good else "[red]BAD[/] "


def _ago(row: dict[str, Any]) -> str:
    return "" if row["age_seconds"] is None else f" ({words(row['age_seconds'])} ago)"


def _headroom(ratio: float | None) -> str:
    if ratio is None:
        return ""
    colour = "green" if ratio < 0.5 else "yellow" if ratio < 0.8 else "red"
    return f"[{colour}]{max(0.0, 1 - ratio):.0%} left[/]"


def _dollars(text: str) -> str:
    return dollars(Decimal(text)) if text else "unknown"


def _signed(text: str) -> str:
    if not text:
        return "unknown"
    colour = "red" if text.startswith("-") else "green"
    return f"[{colour}]{dollars(Decimal(text), signed=True)}[/]"


def _print(parts: list[Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for part in parts:
        console.print(part, overflow="fold")
