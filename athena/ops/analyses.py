"""Playbooks answered in the terminal: verdict, checks, tables; `--render` publishes the page instead."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from athena.analysis.assessment import Assessment
from athena.analysis.tables import Table
from athena.config import Settings
from athena.errors import SettingsError
from athena.ops.health import COLOURS, EXIT_CODES

ROWS_MAX = 12


def drawdown(settings: Settings, arguments: argparse.Namespace) -> int:
    """How deep the account is under water and why; exit codes of the verdict: 0, 10, 11, 12."""
    return _answer(settings, arguments, "drawdown_assessment", {"sessions": arguments.sessions})


def position_correlation(settings: Settings, arguments: argparse.Namespace) -> int:
    """Whether the positions are one bet; exit codes of the verdict."""
    return _answer(settings, arguments, "correlation_matrix", {"method": arguments.method})


def slippage_analysis(settings: Settings, arguments: argparse.Namespace) -> int:
    """What fills cost, by symbol, against the matrix; exit codes of the verdict."""
    given = {"symbol": arguments.symbol, "days": arguments.days, "hours": arguments.hours}
    return _answer(settings, arguments, "slippage_analysis", given)


def market_volatility(settings: Settings, arguments: argparse.Namespace) -> int:
    """Whether the market is as usual; exit codes of the verdict."""
    return _answer(settings, arguments, "market_volatility", {"symbols": ",".join(arguments.symbols)})


def _answer(settings: Settings, arguments: argparse.Namespace, name: str, given: Mapping[str, Any]) -> int:
    if arguments.render:
        from athena.ops.reports import run

        return run(settings, arguments, name, given)
    for extra in ("single_file", "pdf", "email"):
        if getattr(arguments, extra):
            told = f"--{extra.replace('_', '-')} is of the published page. NOTHING WAS DONE."
            raise SettingsError(told, "Add --render.")
    from athena.ops.recovery_show import working
    from athena.playbooks.books.system import connect

    with working(arguments, name.replace("_", " ")):
        system = connect(str(settings.journal_path), settings=settings)
        report: Assessment = import_module(f"athena.playbooks.books.{name}").assess(system, **given)
    if arguments.json:
        print(json.dumps(report.to_dict()))
    else:
        _show(report)
    return EXIT_CODES[report.verdict]


def _show(report: Assessment) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    colour = COLOURS[report.verdict]
    console.print(f"[{colour} bold]{report.verdict}[/]", end=" ")
    console.print(report.reason, markup=False, soft_wrap=True)
    console.print(f"next    {report.action}", markup=False, soft_wrap=True)
    _print(console, report.matrix)
    for key, section in report.sections.items():
        unsaid = section.reading.startswith("Not known") and report.reason not in section.reading
        if key == "matrix" or not (section.tables or unsaid):
            continue
        console.print(f"\n[bold]{section.question}[/]")
        if section.reading:
            console.print(section.reading, markup=False, style="dim", soft_wrap=True)
        for table in section.tables:
            _print(console, table)
    console.print("\npage    the same with its figures: --render", markup=False)


def _print(console: Any, table: Table) -> None:
    """A table as the page has it, cut to what fits a screen."""
    from rich.table import Table as RichTable
    from rich.text import Text

    if table.frame.empty:
        console.print(f"{table.caption}: {table.empty}", markup=False)
        return
    shown = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in table.columns:
        shown.add_column(column.label, justify="right" if column.is_number else "left", overflow="fold")
    rows = table.frame[[column.key for column in table.columns]].itertuples(index=False, name=None)
    for number, row in enumerate(rows):
        if number < ROWS_MAX or number >= len(table.frame) - table.totals:
            cells = [Text(column.write(value)) for column, value in zip(table.columns, row, strict=True)]
            shown.add_row(*cells)
    console.print(shown)
    if len(table.frame) > ROWS_MAX + table.totals:
        console.print(f"… and {len(table.frame) - ROWS_MAX} more; --json has all", markup=False)
