"""Playbooks at the command line: render one, say its verdict, where the page is, and what to do."""

from __future__ import annotations

import argparse
import json

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.ops.health import COLOURS
from athena.playbooks.runner import PlaybookRun, run_playbook


def daily_report(settings: Settings, arguments: argparse.Namespace) -> int:
    """Render the day's report; exit 0 when it reached its verdict, whatever that is, and 8 when it failed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(highlight=False, stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=arguments.json) as bar:
        task = bar.add_task("starting a kernel", total=None)

        def progress(cell: int, cells: int, label: str) -> None:
            bar.update(task, completed=cell, total=cells, description=label[:40])

        run = run_playbook(
            "daily_report",
            {"trading_date": arguments.date} if arguments.date else {},
            reports=settings.reports,
            settings=settings,
            who=settings.operator,
            why=arguments.why,
            progress=progress,
        )
    _show(run, as_json=arguments.json)
    return run.exit_code


def _show(run: PlaybookRun, *, as_json: bool) -> None:
    if as_json:
        facts = {"verdict": run.verdict, "reason": run.reason, "action": run.action, "succeeded": run.succeeded}
        files = {"html": str(run.html), "notebook": str(run.notebook), "result": str(run.result)}
        print(json.dumps({**facts, **files, "error": run.error, "seconds": run.seconds, "numbers": dict(run.numbers)}))
        return
    from rich.console import Console

    console = Console(highlight=False)
    colour = COLOURS[Verdict(run.verdict)]
    console.print(f"[{colour} bold]{run.verdict}[/] {run.name} {run.trading_date}: {run.reason or run.error}")
    if run.action:
        console.print(f"next    {run.action}")
    console.print(f"page    {run.html}   ({run.seconds:.1f} s)", soft_wrap=True)
