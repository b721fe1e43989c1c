"""Playbooks at the command line: run one or all, say the verdicts, find what was run before, drop what is old."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import PlaybookError, SettingsError
from athena.ops.health import COLOURS
from athena.playbooks.archive import Archive, Entry
from athena.playbooks.batch import Outcome
from athena.playbooks.publish import write_index
from athena.playbooks.registry import PLAYBOOKS, find
from athena.playbooks.runner import PlaybookRun, run_playbook


def daily_report(settings: Settings, arguments: argparse.Namespace) -> int:
    """Render the day's report; exit 0 when it reached its verdict, whatever that is, and 8 when it failed."""
    return run(settings, arguments, "daily_report", {"trading_date": arguments.date} if arguments.date else {})


def playbook(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run one playbook headless with `-p key=value` parameters, all of them text that the playbook's schema reads."""
    return run(settings, arguments, find(arguments.name).name, _given(arguments.parameter))


def playbooks(settings: Settings, arguments: argparse.Namespace) -> int:
    """List the playbooks: what each answers, its parameters with their defaults, its latest verdict."""
    latest: dict[str, Entry] = {}
    for entry in Archive(settings.reports).entries():
        latest.setdefault(entry.playbook, entry)
    if arguments.json:
        print(json.dumps([_described(name, latest.get(name)) for name in PLAYBOOKS]))
        return 0
    from rich.table import Table

    console = _console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for heading in ("Playbook", "Answers", "Parameters", "Latest"):
        table.add_column(heading)
    for name, one in PLAYBOOKS.items():
        takes = "\n".join(f"{p.name} = {p.default!r}  [dim]{p.doc}[/]" for p in one.parameters)
        last = latest.get(name)
        word = f"{_coloured(last.verdict)} {last.trading_date}" if last else "never run"
        acts = "" if one.reads_only else " [bold]It can act.[/]"
        table.add_row(f"[bold]{name}[/]", f"[bold]{one.question}[/]\n{one.answers}{acts}", takes, word)
    console.print(table)
    console.print("run one    athena playbook NAME -p parameter=value        all    athena render-all")
    return 0


def render_all(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run every playbook in parallel, acting in none; a table of verdicts; exit 8 when one of them failed."""
    from athena.playbooks.batch import render_all as render

    steps = _Progress(arguments.json)
    with steps:
        outcomes = render(
            tuple(PLAYBOOKS.values()),
            {"trading_date": arguments.date} if arguments.date else {},
            reports=settings.reports,
            settings=settings,
            who=settings.operator,
            why=arguments.why,
            progress=steps.told,
            single_file=arguments.single_file,
        )
    gone = _prune(settings, arguments.keep_days) if arguments.keep_days is not None else None
    if arguments.json:
        told = [_as_json(o.run) if o.run else {"playbook": o.name, "error": o.error} for o in outcomes]
        print(json.dumps({"runs": told, "pruned": gone}))
    else:
        _verdicts(outcomes, settings)
        if gone is not None:
            _console().print(f"pruned  {gone} runs older than {arguments.keep_days} days")
    return PlaybookError.exit_code if any(outcome.failed for outcome in outcomes) else 0


def reports(settings: Settings, arguments: argparse.Namespace) -> int:
    """Say where a playbook's run is: the latest, the latest good, as of a moment; or prune the archive."""
    if arguments.keep_days is not None:
        if arguments.name or arguments.good or arguments.date or arguments.as_of:
            told = "--keep-days deletes old runs of every playbook, and nothing narrows that. NOTHING WAS DONE."
            raise SettingsError(told, "athena reports --keep-days N, alone")
        gone = _prune(settings, arguments.keep_days)
        print(json.dumps({"pruned": gone}) if arguments.json else f"pruned {gone} runs")
        return 0
    archive = Archive(settings.reports)
    day, until = _date(arguments.date), _moment(arguments.as_of)
    if arguments.name:
        entries = [archive.find(arguments.name, trading_date=day, successful=arguments.good, as_of=until)]
    else:
        entries = archive.matching(trading_date=day, successful=arguments.good, as_of=until)
    if arguments.json:
        print(json.dumps([{**asdict(e), "html": str(archive.path(e, "html"))} for e in entries]))
        return 0
    from rich.markup import escape

    console = _console()
    for entry in entries[: arguments.number]:
        failed = "" if entry.succeeded else " (failed)"
        made = f"{entry.finished_at[:16].replace('T', ' ')} UTC by {escape(entry.who)}"
        console.print(f"{entry.trading_date}  {_coloured(entry.verdict)}{failed}  [bold]{entry.playbook}[/]  {made}")
        console.print(f"            {entry.reason}", markup=False)
        console.print(f"            {archive.path(entry, 'html')}", soft_wrap=True, markup=False)
    if not entries:
        none = "No report is like that" if arguments.good or day or until else "No report has been made yet"
        console.print(f"{none}: athena daily-report")
    return 0


def run(settings: Settings, arguments: argparse.Namespace, name: str, given: Mapping[str, object]) -> int:
    """Run a playbook, show what it came to and where its page is; exit 0 when it reached its verdict, else 8."""
    steps = _Progress(arguments.json)
    with steps:
        made = run_playbook(
            name,
            given,
            reports=settings.reports,
            settings=settings,
            who=settings.operator,
            why=arguments.why,
            progress=lambda *step: steps.told(name, *step),
            single_file=arguments.single_file,
            pdf=arguments.pdf,
            email=arguments.email,
        )
    if arguments.json:
        print(json.dumps(_as_json(made)))
    else:
        _show(made)
    return made.exit_code


class _Progress:
    """A line for each running playbook on standard error, gone when it is over; nothing with --json."""

    def __init__(self, quiet: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(30), TimeElapsedColumn())
        self._bars = Progress(*columns, console=_console(stderr=True), transient=True, disable=quiet)
        self._tasks: dict[str, Any] = {}

    def told(self, name: str, cell: int, cells: int, label: str) -> None:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._bars.add_task(name, total=None)
        self._bars.update(task, completed=cell, total=cells, description=f"{name}: {label[:40]}", visible=cell < cells)

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *details: object) -> None:
        self._bars.stop()


def _show(run: PlaybookRun) -> None:
    from rich.markup import escape

    console = _console()
    console.print(f"{_coloured(run.verdict)} {run.name} {run.trading_date}: {escape(run.reason or run.error)}")
    if run.action:
        console.print(f"next    {run.action}", markup=False)
    if run.changed:
        console.print(f"since   the run before: {run.changed}", markup=False)
    for label, path in (("page", run.html), ("pdf", run.pdf), ("e-mail", run.email)):
        if path:
            took = f"   ({run.seconds:.1f} s)" if label == "page" else ""
            console.print(f"{label:<7} {path}{took}", soft_wrap=True, markup=False)


def _verdicts(outcomes: list[Outcome], settings: Settings) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("Verdict", "Playbook", "Reason", "Since the run before", "s"):
        table.add_column(heading, justify="right" if heading == "s" else "left")
    for outcome in outcomes:
        run = outcome.run
        if run is None:
            table.add_row("[red bold]NOT RUN[/]", outcome.name, escape(outcome.error), "", "")
            continue
        word = _coloured(run.verdict) + ("" if run.succeeded else " (failed)")
        reason = run.reason if run.succeeded else run.error
        table.add_row(word, run.name, escape(reason), escape(run.changed) or "–", f"{run.seconds:.1f}")
    console = _console()
    console.print(table)
    console.print(f"index   {settings.reports / 'index.html'}", soft_wrap=True, markup=False)


def _as_json(run: PlaybookRun) -> dict[str, Any]:
    words = {name: getattr(run, name) for name in ("verdict", "reason", "action", "succeeded", "changed", "error")}
    files = {"html": run.html, "notebook": run.notebook, "result": run.result, "pdf": run.pdf, "email": run.email}
    paths = {name: str(path) if path else None for name, path in files.items()}
    return {"playbook": run.name, **words, **paths, "seconds": run.seconds, "numbers": dict(run.numbers)}


def _described(name: str, last: Entry | None) -> dict[str, Any]:
    one = PLAYBOOKS[name]
    takes = [{"name": p.name, "takes": p.kind.value, "default": p.default, "doc": p.doc} for p in one.parameters]
    latest = {"verdict": last.verdict, "trading_date": last.trading_date} if last else None
    about = {"question": one.question, "answers": one.answers, "reads_only": one.reads_only}
    return {"name": name, **about, "parameters": takes, "latest": latest}


def _given(pairs: list[str]) -> dict[str, object]:
    """`key=value` texts as parameters; raises SettingsError on one without '=' or given twice."""
    given: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SettingsError(f"'-p {pair}' is no parameter.", "Write it as -p name=value.")
        if name in given:
            raise SettingsError(f"'{name}' is given twice.", "Give it once.")
        given[name] = value
    return given


def _prune(settings: Settings, keep_days: int) -> int:
    if keep_days < 0:
        raise SettingsError(f"--keep-days is {keep_days}; it must not be negative.", "Give a number of days.")
    if not settings.reports.is_dir():
        return 0
    gone = Archive(settings.reports).prune(keep_days, datetime.now(UTC))
    write_index(settings.reports)
    return len(gone)


def _date(text: str) -> date | None:
    return _parsed(text, date.fromisoformat, "--date", "YYYY-MM-DD") if text else None


def _moment(text: str) -> datetime | None:
    """A moment in UTC unless it names its zone."""
    if not text:
        return None
    found: datetime = _parsed(text, datetime.fromisoformat, "--as-of", "'YYYY-MM-DD HH:MM', in UTC")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _parsed(text: str, read: Callable[[str], Any], option: str, form: str) -> Any:
    try:
        return read(text)
    except ValueError:
        raise SettingsError(f"{option} is '{text}'.", f"Write it as {form}.") from None


def _coloured(verdict: str) -> str:
    known = verdict if verdict in list(Verdict) else Verdict.UNKNOWN
    return f"[{COLOURS[Verdict(known)]} bold]{verdict}[/]"


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)
