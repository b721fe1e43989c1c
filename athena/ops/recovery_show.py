"""How recovery's commands speak: a spinner while they work, then one table and one next step, or JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import JournalError
from athena.journal.journal import Journal
from athena.ops.health import COLOURS, EXIT_CODES

Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]
"""A title, headings, rows of cells."""
ROWS_MAX = 40
SHORT = 12
PIPE_WIDTH = 160


def existing_journal(settings: Settings, *, read_only: bool = True) -> Journal:
    """The journal there is: recovery never makes a new one. Raises JournalError when there is none."""
    if not settings.journal_path.exists():
        raise JournalError(f"there is no journal at {settings.journal_path}.", "Check --home and --account.")
    return Journal.open(settings.journal_path, f"operator {settings.operator}", read_only=read_only)


@contextmanager
def working(arguments: argparse.Namespace, what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal's stderr; the yielded function changes its words."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if arguments.json or not console.is_terminal:
        yield lambda text: None
        return
    with console.status(what) as status:
        yield status.update


def say(
    arguments: argparse.Namespace,
    verdict: Verdict,
    words: str,
    facts: Mapping[str, Any],
    tables: Iterable[Table] = (),
    then: str = "",
) -> int:
    """Show verdict, tables (title, headings, rows) and the next step; the verdict's exit code.

    With `--json` only `facts` are printed, beside verdict, message and next step.
    """
    if arguments.json:
        told = {"verdict": verdict, "message": words, "next": then, **facts}
        print(json.dumps(told, default=str))
        return EXIT_CODES[verdict]
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(f"[{COLOURS[verdict]} bold]{verdict}[/] {escape(words)}", soft_wrap=True)
    for title, headings, rows in tables:
        if not rows:
            continue
        console.print(f"\n[bold]{escape(title)}[/]" if title else "")
        table = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
        for column, heading in enumerate(headings):
            widest = max(len(str(row[column])) for row in rows[:ROWS_MAX])
            whole = widest if widest <= SHORT else None  # numbers and names are never cut or folded
            table.add_column(heading, overflow="fold", min_width=whole)
        for row in rows[:ROWS_MAX]:
            table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
        console.print(table)
        if len(rows) > ROWS_MAX:
            console.print(f"… and {len(rows) - ROWS_MAX} more; --json lists all")
    if then:
        console.print(f"\nnext    {escape(then)}", soft_wrap=True)
    return EXIT_CODES[verdict]
