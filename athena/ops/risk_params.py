"""`athena update-risk-params`: next day's limits from the journal's evidence, tried on the journaled days first."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from athena.analysis.assessment import Assessment, Verdict
from athena.config import Settings
from athena.errors import SettingsError
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_rules import Rules
from athena.live.limit_proposals import Evidence, Proposal, propose
from athena.ops.health import EXIT_CODES
from athena.playbooks.proposing import gather, what_if


def update_risk_params(settings: Settings, arguments: argparse.Namespace) -> int:
    """Propose, replay, and with --apply set the limits; exit 10 when a change would have refused many orders."""
    if arguments.apply and not arguments.reason:
        raise SettingsError("--apply needs --reason.", 'For example: --apply --reason "calmer week, reviewed"')
    from athena.live.limit_replay import load_record

    with Journal.open(settings.journal_path, "update-risk-params", read_only=True) as journal:
        record = load_record(journal)
        values = Rules.load(journal).values
        evidence = gather(settings, journal, record, ask_venue=not arguments.offline)
    found = propose(evidence, values)
    wanted = [p for p in found if not arguments.only or p.name in arguments.only]
    if unknown := [name for name in arguments.only or () if name not in {p.name for p in found}]:
        proposed = ", ".join(sorted({p.name for p in found})) or "none"
        raise SettingsError(f"--only {unknown[0]}: no change of it is proposed.", f"Proposed are: {proposed}")
    report = what_if(record, wanted, {"account": settings.account_name, "journal_events": len(record)})
    if arguments.json:
        out = {"proposals": [p.to_dict() for p in wanted], "evidence": dict(evidence.sources)} | report.to_dict()
        applied = _apply(settings, wanted, arguments.reason) if arguments.apply and not arguments.dry_run else []
        print(json.dumps(out | {"applied": [one.to_dict() for one in applied]}))
        return 0 if applied else EXIT_CODES[report.verdict]
    _show(settings, wanted, evidence, report)
    if arguments.apply and wanted:
        from athena.ops.limit_changes import tell_changes

        made = _apply(settings, wanted, arguments.reason, dry_run=arguments.dry_run)
        by = f"{settings.account_name}, by {settings.operator}: {arguments.reason}"
        tell_changes(made, by, dry_run=arguments.dry_run)
        return 0
    if wanted:
        print('next: athena update-risk-params --apply --reason "..." (--only NAME applies one); nothing was changed')
    return EXIT_CODES[report.verdict]


def _apply(settings: Settings, wanted: Sequence[Proposal], reason: str, *, dry_run: bool = False) -> list[Any]:
    from athena.ops.limit_changes import change

    ExecutionGuard.get_instance(settings)
    return change(settings, [(p.name, p.target, p.proposed) for p in wanted], reason, dry_run=dry_run)


def _show(settings: Settings, wanted: Sequence[Proposal], evidence: Evidence, report: Assessment) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from athena.live.limits import show
    from athena.ops.health import COLOURS

    console, table = Console(highlight=False), Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    told = "; ".join(f"{name}: {source}" for name, source in evidence.sources.items())
    console.print(f"evidence  {told}", markup=False)
    if not wanted:
        console.print("no limit would change on this evidence")
        return
    for heading in ("limit", "now", "proposed", "would refuse", "why"):
        table.add_column(heading, justify="left" if heading in {"limit", "why"} else "right", overflow="fold")
    effects = {row["label"]: row for row in report["effects"].tables[0].frame.to_dict("records")}
    for one in wanted:
        effect = effects[one.label]
        arrow = "[green]▼[/]" if one.tightens else "[yellow]▲[/]"
        refuses = f"{effect['refused']} {effect['codes'].split(' × ')[0]}".strip()
        proposed = f"{arrow} {show(one.name, one.proposed)}"
        table.add_row(escape(one.label), show(one.name, one.current), proposed, refuses, escape(one.reason))
    console.print(table)
    repeats = report.findings[0]
    console.print(f"replay    {repeats.observed}", markup=False)
    for label, effect in effects.items():
        if label not in {one.label for one in wanted}:
            freed = f", lets through {effect['freed']} that were refused" if effect["freed"] else ""
            console.print(f"{label}: would have refused {effect['refused']} of {report.numbers['let_through']}"
                          f" orders worth ${effect['notional']:,.0f}{freed}", markup=False)  # fmt: skip
    colour = COLOURS[Verdict(report.verdict)]
    console.print(f"[{colour} bold]{report.verdict}[/] {escape(report.reason)}")
