"""Asking the guard: would this order pass, does every limit work, what is configured and by whom."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import GuardError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_rules import Rules
from athena.live.limits import LIMITS, Unit, Value, effective, show
from athena.model import dollars
from athena.ops.health import EXIT_CODES

if TYPE_CHECKING:
    from athena.live.check_order import OrderCheck
    from athena.live.guard_status import LimitLine
    from athena.ops.guard_drills import DrillResult


def check_order(settings: Settings, arguments: argparse.Namespace) -> int:
    """Say whether one order would pass now, and what each limit would leave; exit 4 when it would be refused."""
    from athena.live.check_order import check_order as ask

    found = ask(
        arguments.symbol, arguments.side, arguments.quantity, arguments.limit, arguments.stop,
        strategy=arguments.strategy, settings=settings,
    )  # fmt: skip
    if arguments.json:
        print(json.dumps(found.to_dict()))
    else:
        _show_order(found)
    return 0 if found.passes else GuardError.exit_code


def test_guards(settings: Settings, arguments: argparse.Namespace) -> int:
    """Drive every limit to refusal and back on a scratch guard; exit 11 when one did not act or did not come back."""
    from athena.ops.guard_drills import run

    if not arguments.json:
        print(f"Every limit, on a scratch journal, flag and venue; nothing of {settings.account_name} is touched")
    results = asyncio.run(run(lambda result: None if arguments.json else _tell_drill(result)))
    failed = [result for result in results if not result.ok]
    if arguments.json:
        print(json.dumps({"ok": not failed, "limits": [asdict(result) | {"ok": result.ok} for result in results]}))
    else:
        seconds = sum(result.seconds for result in results)
        acted = sum(result.acted for result in results)
        back = sum(result.came_back for result in results)
        print(f"{acted} of {len(results)} limits acted, {back} came back, in {seconds:.1f} s")
        if failed:
            print(f"next: do not trade; report {', '.join(result.limit for result in failed)}")
    return EXIT_CODES[Verdict.STOP] if failed else 0


WIDE_COLUMNS = 150


@dataclass(frozen=True)
class ConfigLine:
    """One limit as it is set for one target: since when, by whom and why, how much is used, what is odd about it."""

    name: str
    target: str
    value: str
    default: str
    unit: str
    compares: str
    changed_at: str
    changed_by: str
    reason: str
    version: int
    used: str
    headroom: str
    warning: str


def review_guard_config(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show every limit with its history and headroom; exit 10 when one is off or laxer than its default."""
    lines = config_lines(settings)
    warned = [line for line in lines if line.warning]
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines]))
        return EXIT_CODES[Verdict.ATTENTION] if warned else 0
    _show_config(lines, settings)
    return EXIT_CODES[Verdict.ATTENTION] if warned else 0


def config_lines(settings: Settings) -> list[ConfigLine]:
    """Every limit, then every override."""
    guard = ExecutionGuard.get_instance(settings)
    rules, used = Rules.load(guard.journal), {line.name: line for line in guard.get_status().limits if not line.target}
    rows = {(row["name"], row["target"]): row for row in guard.journal.query("SELECT * FROM limits")}
    keys = [(name, "") for name in LIMITS] + sorted(key for key in rules.values if key[1])
    return [_line(name, target, rules, rows.get((name, target)), used.get(name)) for name, target in keys]


def _line(name: str, target: str, rules: Rules, row: Any, used: LimitLine | None) -> ConfigLine:
    limit, value = LIMITS[name], rules.value(name, target)
    warning = _override_warning(name, target, value, rules) if target else _warning(name, value)
    ratio = used.ratio if used and not target else None
    return ConfigLine(
        name, target, show(name, value), show(name, limit.default), limit.unit.value, limit.compares,
        row["changed_at"] if row else "", row["changed_by"] if row else "", (row["reason"] or "") if row else "",
        row["version"] if row else 0, (used.used or "") if used and not target else "",
        "" if ratio is None else f"{max(0.0, 1 - ratio):.0%}", warning,
    )  # fmt: skip


def _warning(name: str, value: Value) -> str:
    default = LIMITS[name].default
    if value == default:
        return ""
    if value is None:
        return f"off; by default {show(name, default)}"
    return f"laxer than its default of {show(name, default)}" if is_laxer(name, value, default) else ""


def is_laxer(name: str, value: Value, than: Value) -> bool:
    """Whether a value lets more pass than another, by the rule with which the strictest wins."""
    limit = LIMITS[name]
    if value == than:
        return False
    if value is None or than is None:
        return value is None
    if limit.unit is Unit.SYMBOLS:
        inside = set(value) <= set(than)  # type: ignore[arg-type]
        return not inside if name == "allowed_symbols" else not set(than) <= set(value)  # type: ignore[arg-type]
    both: dict[tuple[str, str], Value] = {(name, ""): than, (name, "symbol:X"): value}
    return effective(both, "X")[name] != value


def _override_warning(name: str, target: str, value: Value, rules: Rules) -> str:
    of_all = rules.value(name)
    if is_laxer(name, value, of_all):
        return f"without effect: {show(name, of_all)} for everything is stricter"
    return ""


def _show_order(found: OrderCheck) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    word = "[green bold]PASSES[/]" if found.passes else "[red bold]REFUSED[/]"
    quote = found.quote
    market = f"   market {quote.bid} / {quote.ask}" if quote else ""
    console.print(f"{word} {found.words}{market}")
    refused = found.refused
    if refused is not None:
        compared = f" ({refused.observed} against {refused.limit})" if refused.limit and refused.observed else ""
        console.print(f"  {refused.code}: {refused.message}{compared}", markup=False)
        from athena.core.rejections import violation

        console.print(f"  recommended: {violation(refused.code).row.recommended}", markup=False)
    if found.limits:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("limit", "value", "compared", "headroom", ""):
            table.add_column(heading, justify="left" if heading in {"limit", ""} else "right")
        binds = found.binds
        for line in found.limits:
            room = line.headroom
            mark = f"[red]{line.code}[/]" if not line.passes else "[yellow]binds first[/]" if line is binds else ""
            table.add_row(line.name, show(line.name, line.value), _amount(line.name, line.observed),
                          _amount(line.name, room), mark)  # fmt: skip
        console.print(table)
        console.print(f"at most {found.largest:,} shares would pass, halts aside")
    for note in found.notes:
        console.print(f"note: {note}", markup=False)


def _amount(name: str, value: Decimal | None) -> str:
    if value is None:
        return ""
    if LIMITS[name].unit is Unit.DOLLARS:
        return dollars(value)
    return f"{value:,.1f}" if LIMITS[name].unit in {Unit.SECONDS, Unit.BPS} else f"{value:,f}"


def _tell_drill(result: DrillResult) -> None:
    mark = "ok    " if result.ok else "FAILED"
    acted = f"{result.code or 'NOTHING'}: {result.evidence}"
    back = f"{'back' if result.came_back else 'NOT BACK'}: {result.back}"
    print(f"{mark} {result.limit:34} {acted:78.78} {back}", flush=True)


def _show_config(lines: list[ConfigLine], settings: Settings) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, table = Console(highlight=False), Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    wide = console.width >= WIDE_COLUMNS
    more = ("default", "changed", "compares") if wide else ()  # what a narrow terminal gets a line of its own for
    for heading in ("limit", "value", "used", "left", *more):
        right = heading in {"value", "default", "used", "left"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "limit", overflow="fold")
    for line in lines:
        value = f"[yellow]{line.value}[/]" if line.warning else line.value
        by = f"{line.changed_at[:16].replace('T', ' ')} by {line.changed_by}: {line.reason}" if line.version else ""
        rest = (line.default, escape(by), line.compares) if wide else ()
        table.add_row(line.name, value, line.used, line.headroom, *rest)
        if line.target:
            table.add_row(f"[dim]  of {line.target.replace(':', ' ')} alone[/]")
    told = [] if wide else [(x, f"{x.changed_at[:10]} by {x.changed_by}: {x.reason}") for x in lines if x.version]
    warned = [line for line in lines if line.warning]
    verdict = "[yellow bold]ATTENTION[/]" if warned else "[green bold]OK[/]"
    counts = f"{len(LIMITS)} limits, {len(lines) - len(LIMITS)} overrides, {sum(1 for x in lines if x.version)} set"
    console.print(f"{verdict} {settings.account_name}: {counts}, {len(warned)} warnings")
    for line in warned:
        console.print(f"[yellow]warning[/] {line.name}{_of(line)}: {escape(line.warning)}")
    console.print(table)
    for line, by in told:
        console.print(f"[bold]{line.name}{_of(line)}[/] (default {line.default}) {escape(by)}")
    if not wide:
        console.print("What each compares: athena review-guard-config --json, or a terminal of 150 columns.")


def _of(line: ConfigLine) -> str:
    return f" of {line.target.replace(':', ' ')}" if line.target else ""
