"""Health: every component with its state, the age of what is known, and the next action."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.decisions import Severity
from athena.errors import AthenaError, BrokerError, GuardError, JournalError, SettingsError
from athena.journal.journal import Journal
from athena.live.brokers.base import BrokerHealth
from athena.live.components import Component, components, disk
from athena.live.vitals import beat
from athena.ops import health_parts

if TYPE_CHECKING:
    from athena.live.strategies import Finding

EXIT_CODES = {Verdict.OK: 0, Verdict.ATTENTION: 10, Verdict.STOP: 11, Verdict.UNKNOWN: 12}
COLOURS = {Verdict.OK: "green", Verdict.ATTENTION: "yellow", Verdict.STOP: "red", Verdict.UNKNOWN: "magenta"}


def health_check(settings: Settings, arguments: argparse.Namespace) -> int:
    """Look at everything once; the exit code is the worst verdict's."""
    components = look(settings)
    worst = max((Verdict(c.verdict.value) for c in components), key=lambda v: v.severity)
    if arguments.json:
        print(json.dumps({"verdict": worst, "components": [asdict(c) for c in components]}))
    else:
        _screen(settings, components, worst)
    return EXIT_CODES[worst]


def look(settings: Settings) -> list[Component]:
    """Every component, each looked at on its own: one that fails hides none of the others; servers at once."""
    found: list[Component] = []
    watched = False
    try:
        with Journal.open(settings.journal_path, actor="health-check", read_only=True) as journal:
            found = [*components(journal, settings), *health_parts.parts(journal, settings, dict(os.environ))]
            watched = beat(journal, "alerts") is not None
    except JournalError as error:
        broken = Component("journal", Severity.STOP, error.message, None, error.hint)
        found = [broken, disk(settings), health_parts.contacts(settings)]
    skew: list[float | None] = [None]
    venue, *others = health_parts.asked(
        [partial(_venue, settings, skew), *health_parts.servers(settings, watched)]
    )  # fmt: skip
    return [*found[:4], venue, *found[4:], *others, health_parts.clock(skew[0])]


def _screen(settings: Settings, found: list[Component], worst: Verdict) -> None:
    """One line a component, a second only where something is to be done."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, expand=False)
    for width, ratio in ((14, None), (9, None), (None, 1), (7, None)):
        table.add_column(width=width, ratio=ratio, no_wrap=width is not None)
    for c in found:
        said = escape(c.seen) + (f"\n[bold]→ {escape(c.next_action)}[/]" if c.verdict != "OK" and c.next_action else "")
        old = "" if c.age_seconds is None else words(c.age_seconds)
        table.add_row(c.name, f"[{COLOURS[Verdict(c.verdict.value)]}]{c.verdict}[/]", said, old)
    console = Console(highlight=False)
    bad = [c.name for c in found if c.verdict == worst.value]
    why = f": {', '.join(bad)}" if worst is not Verdict.OK else ""
    console.print(f"[{COLOURS[worst]} bold]{worst}[/] {settings.account_name}, venue {settings.venue.upper()}{why}")
    console.print(table)


def check_brokers(settings: Settings, arguments: argparse.Namespace) -> int:
    """Ask every configured broker now; exit 5 when one does not answer, 10 when one has problems."""
    from athena.live.brokers import BROKER_REGISTRY

    found: list[BrokerHealth] = []
    for broker_class in BROKER_REGISTRY.values():
        broker = broker_class.get_instance(settings)
        if broker is not None:
            found.append(asyncio.run(broker.health_check()))
    if arguments.json:
        print(json.dumps([{**dict(h.rows()), "healthy": h.healthy, "broker": h.broker} for h in found]))
    else:
        print("\n".join(repr(health) for health in found))
    if any(health.latency_seconds is None for health in found):
        return BrokerError.exit_code
    return 0 if all(not health.problems for health in found) else EXIT_CODES[Verdict.ATTENTION]


def validate_strategies(settings: Settings, arguments: argparse.Namespace) -> int:
    """Check strategies, first limits and symbols as a start would; exit 2 when one is wrong, 12 when one is unknown."""
    from athena.live.strategies import validate_strategies as validate

    found = [*validate(settings), _first_limits(settings), _symbols(settings)]
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in found], default=str))
    for finding in found if not arguments.json else ():
        word = "?    " if not finding.checked else "ok   " if finding.ok else "WRONG"
        print(f"{word}  {finding.strategy:<16} {finding.message} {finding.hint}".rstrip())
    if any(finding.checked and not finding.ok for finding in found):
        return 2
    return 0 if all(finding.checked for finding in found) else EXIT_CODES[Verdict.UNKNOWN]


def _first_limits(settings: Settings) -> Finding:
    """Whether the settings' [limits] could be set."""
    from athena.live.limits import parse
    from athena.live.strategies import Finding

    try:
        for name, value in settings.limits.items():
            parse(name, value)
    except GuardError as error:
        return Finding("limits", False, error.message, error.hint)
    return Finding("limits", True, f"{len(settings.limits)} in the settings")


def _symbols(settings: Settings) -> Finding:
    """What the venue says of the configured symbols; where it does not answer, that they were not checked."""
    from athena.live.brokers.alpaca import AlpacaBroker
    from athena.live.strategies import Finding, make_strategies
    from athena.live.symbols import wrong_symbols

    try:
        wrong = asyncio.run(wrong_symbols(AlpacaBroker.get_instance(settings), settings, make_strategies(settings)))
    except BrokerError as error:
        told = f"not checked, the venue did not answer: {error.message}"
        return Finding("symbols", True, told, error.hint, checked=False)
    except SettingsError as error:
        return Finding("symbols", True, f"not checked: {error.message}", checked=False)
    told = "; ".join(map(str, wrong)) or "every configured symbol is tradable at the venue"
    return Finding("symbols", not wrong, told, "Mend athena.toml." if wrong else "")


def _venue(settings: Settings, skew: list[float | None]) -> Component:
    """Asks the venue; its clock's distance is left in `skew`."""
    from athena.live.brokers.alpaca import AlpacaBroker

    name = f"{settings.venue} REST"
    try:
        health = asyncio.run(AlpacaBroker.get_instance(settings).health_check())
    except AthenaError as error:
        return Component(name, Severity.STOP, error.message, None, error.hint)
    skew[0], latency = health.clock_skew_seconds, health.latency_seconds
    if latency is None:
        next_action = "athena simulator" if settings.venue == "simulator" else "check network and Alpaca's status page"
        return Component(name, Severity.STOP, "; ".join(health.problems) or "no answer", None, next_action)
    market = {True: "open", False: "closed", None: "unknown"}[health.market_open]
    return Component(name, Severity.OK, f"answers in {latency * 1000:.0f} ms, market {market}")


def words(seconds: float) -> str:
    """A duration as people say it: 4 s, 12 min, 3 h, 2 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
