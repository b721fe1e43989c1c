"""Health: every component with its state, the age of what is known, and the next action."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import AthenaError, BrokerError, GuardError, JournalError, SettingsError
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.live import vitals
from athena.live.brokers.base import BrokerHealth
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode

if TYPE_CHECKING:
    from athena.live.strategies import Finding

EXIT_CODES = {Verdict.OK: 0, Verdict.ATTENTION: 10, Verdict.STOP: 11, Verdict.UNKNOWN: 12}
COLOURS = {Verdict.OK: "green", Verdict.ATTENTION: "yellow", Verdict.STOP: "red", Verdict.UNKNOWN: "magenta"}


@dataclass(frozen=True)
class Component:
    """One component: its verdict, what was seen, how old that is in seconds, and what to do about it."""

    name: str
    verdict: Verdict
    seen: str
    age_seconds: float | None = None
    next_action: str = ""


def health_check(settings: Settings, arguments: argparse.Namespace) -> int:
    """Look at everything once; the exit code is the worst verdict's."""
    components = look(settings)
    worst = max((c.verdict for c in components), key=lambda v: v.severity)
    if arguments.json:
        print(json.dumps({"verdict": worst, "components": [asdict(c) for c in components]}))
        return EXIT_CODES[worst]
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("component", "verdict", "seen", "age", "next"):
        table.add_column(heading, overflow="fold")
    for c in components:
        age = "" if c.age_seconds is None else words(c.age_seconds)
        table.add_row(c.name, f"[{COLOURS[c.verdict]}]{c.verdict}[/]", c.seen, age, c.next_action)
    console = Console(highlight=False)
    console.print(f"[{COLOURS[worst]} bold]{worst}[/] {settings.account_name}, venue {settings.venue.upper()}")
    console.print(table)
    return EXIT_CODES[worst]


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


def look(settings: Settings) -> list[Component]:
    """Every component, each looked at on its own: one that fails hides none of the others."""
    try:
        journal = Journal.open(settings.journal_path, actor="health-check", read_only=True)
    except JournalError as error:
        found = [Component("journal", Verdict.STOP, error.message, None, error.hint)]
        return [*found, _disk(settings), _venue(settings)]
    with journal:
        return [
            _journal(journal),
            _disk(settings),
            _engine(settings, journal),
            _guard(settings, journal),
            _venue(settings),
            _broker(journal),
            _market_data(journal),
            _reconciliation(journal),
            _metrics(journal),
        ]


def words(seconds: float) -> str:
    """A duration as people say it: 4 s, 12 min, 3 h, 2 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _journal(journal: Journal) -> Component:
    sequence, _ = journal.head()
    newest = journal.one("SELECT at FROM events WHERE sequence = ?", (sequence,))
    if newest is None:
        return Component("journal", Verdict.OK, "empty: nothing has happened yet", None, "athena engine")
    return Component("journal", Verdict.OK, f"{sequence:,} events, readable", vitals.age(from_text(newest["at"])))


def _disk(settings: Settings) -> Component:
    free = vitals.disk_free_megabytes(settings.folder)
    if free > vitals.DISK_FREE_MEGABYTES_MIN:
        return Component("disk", Verdict.OK, f"{free:,.0f} MB free")
    return Component("disk", Verdict.STOP, f"{free:,.0f} MB free", None, f"free some space at {settings.folder} now")


def _engine(settings: Settings, journal: Journal) -> Component:
    heard = vitals.beat(journal)
    if heard is None:
        return Component("engine", Verdict.ATTENTION, "never ran", None, "athena engine")
    since, state = heard.age_seconds, heard.details.get("state", "running")
    if not heard.alive:
        guard = ExecutionGuard.get_instance(settings).get_status()
        silent = guard.lease_seconds > 0 and not heard.stopped
        then = "see the disk, and engine.log" if silent else "athena engine; it starts halted"
        return Component("engine", Verdict.STOP, "stopped" if heard.stopped else guard.engine, since, then)
    return Component("engine", Verdict.OK, f"pid {heard.pid}, {state}", since)


def _guard(settings: Settings, journal: Journal) -> Component:
    rows = journal.query("SELECT scope, target, mode, owner, reason FROM halts WHERE cleared_at IS NULL ORDER BY at")
    if not rows:
        status = ExecutionGuard.get_instance(settings).get_status()  # the flag may refuse though no halt is journaled
        if status.mode is Mode.ACTIVE:
            return Component("guard", Verdict.OK, "active, no halt")
        return Component("guard", Verdict.STOP, status.why, None, "athena guard-state-check")
    told = "; ".join(f"{r['mode']} {r['target'] or r['scope']}: {r['reason']} ({r['owner']})" for r in rows)
    everything = any(r["scope"] == "global" for r in rows)
    return Component("guard", Verdict.STOP if everything else Verdict.ATTENTION, told, None, "athena resume REASON")


def _venue(settings: Settings) -> Component:
    from athena.live.brokers.alpaca import AlpacaBroker

    name = f"{settings.venue} REST"
    try:
        health = asyncio.run(AlpacaBroker.get_instance(settings).health_check())
    except AthenaError as error:
        return Component(name, Verdict.STOP, error.message, None, error.hint)
    latency = health.latency_seconds
    if latency is None:
        next_action = "athena simulator" if settings.venue == "simulator" else "check network and Alpaca's status page"
        return Component(name, Verdict.STOP, "; ".join(health.problems) or "no answer", None, next_action)
    market = {True: "open", False: "closed", None: "unknown"}[health.market_open]
    return Component(name, Verdict.OK, f"answers in {latency * 1000:.0f} ms, market {market}")


def _broker(journal: Journal) -> Component:
    heard, engine = vitals.beat(journal, "broker"), vitals.beat(journal)
    if heard is None:
        return Component("broker streams", Verdict.UNKNOWN, "no engine has connected yet", None, "athena engine")
    state, since = heard.details.get("state", "unknown"), heard.age_seconds
    if not heard.fresh or engine is None or not engine.alive:
        return Component("broker streams", Verdict.UNKNOWN, f"last known {state}", since, "athena engine")
    connected = state == "connected"
    next_action = "" if connected else "athena status; the engine reconnects by itself"
    return Component("broker streams", Verdict.OK if connected else Verdict.STOP, state, since, next_action)


def _market_data(journal: Journal) -> Component:
    heard = vitals.quotes(journal)
    if heard is None:
        return Component("market data", Verdict.UNKNOWN, "no quote yet", None, "athena start-market-data")
    verdict, next_action = (Verdict.OK, "") if heard.fresh else (Verdict.ATTENTION, "is the market open?")
    return Component("market data", verdict, f"{heard.symbols} symbols", heard.age_seconds, next_action)


def _reconciliation(journal: Journal) -> Component:
    last = vitals.books(journal)
    if last is None:
        return Component("reconciliation", Verdict.UNKNOWN, "never", None, "athena engine, then athena reconcile")
    since = last.age_seconds
    if not last.ok:
        return Component("reconciliation", Verdict.STOP, last.differences, since, "athena broker-reconciliation")
    if not last.fresh:
        return Component("reconciliation", Verdict.ATTENTION, "agreed", since, "athena reconcile")
    return Component("reconciliation", Verdict.OK, "orders, fills, positions and cash agree", since)


def _metrics(journal: Journal) -> Component:
    heard = vitals.beat(journal, "metrics")
    if heard is None:
        return Component("metrics", Verdict.UNKNOWN, "never served", None, "athena engine")
    details, since = heard.details, heard.age_seconds
    if details["problem"]:
        return Component("metrics", Verdict.ATTENTION, details["problem"], since, "set ATHENA_METRICS_PORT to another")
    if since > 4 * vitals.STALE_SECONDS:
        return Component(
            "metrics", Verdict.UNKNOWN, f"{details['url']} until the engine stopped", since, "athena engine"
        )
    return Component("metrics", Verdict.OK, details["url"], since)
