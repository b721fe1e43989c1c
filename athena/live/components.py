"""The live system's own parts, judged once for everybody: health-check shows them, the engine's /-/ready obeys them.

Everything is read from the journal: it answers with the engine hung or dead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from athena.config import Settings
from athena.core.decisions import Severity
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.live import vitals
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode

NEEDED = ("journal", "disk", "engine", "reconciliation", "broker streams")  # to be ready; a halt is another question


@dataclass(frozen=True)
class Component:
    """One component: its verdict, what was seen, how old that is in seconds, and what to do about it."""

    name: str
    verdict: Severity
    seen: str
    age_seconds: float | None = None
    next_action: str = ""


def components(journal: Journal, settings: Settings) -> list[Component]:
    """Journal, disk, engine, guard, broker's streams, market data and books, in this order. Raises JournalError."""
    return [judge(journal, settings) for judge in _PARTS.values()]


def not_ready(journal: Journal, settings: Settings) -> list[str]:
    """Why the engine is not ready to trade, in words; empty when it is. Raises JournalError."""
    bad = (Severity.STOP, Severity.UNKNOWN)
    found = [_PARTS[name](journal, settings) for name in NEEDED]
    missing = [f"{one.name}: {one.seen}" for one in found if one.verdict in bad]
    heard = vitals.beat(journal)
    if heard is not None and heard.alive:
        if heard.details.get("state") != "running":
            missing.append(f"the engine is {heard.details.get('state') or 'not running'}")
        if not heard.details.get("reconciled"):
            missing.append("the books are not reconciled with the venue")
    return missing


def disk(settings: Settings) -> Component:
    """Room where the journal is."""
    free = vitals.disk_free_megabytes(settings.folder)
    if free > vitals.DISK_FREE_MEGABYTES_MIN:
        return Component("disk", Severity.OK, f"{free / 1000:,.1f} GB free")
    return Component("disk", Severity.STOP, f"{free:,.0f} MB free", None, f"free some space at {settings.folder} now")


def _journal(journal: Journal, settings: Settings) -> Component:
    sequence, _ = journal.head()
    newest = journal.one("SELECT at FROM events WHERE sequence = ?", (sequence,))
    if newest is None:
        return Component("journal", Severity.OK, "empty: nothing has happened yet", None, "athena engine")
    return Component("journal", Severity.OK, f"{sequence:,} events, readable", vitals.age(from_text(newest["at"])))


def _engine(journal: Journal, settings: Settings) -> Component:
    heard = vitals.beat(journal)
    if heard is None:
        return Component("engine", Severity.ATTENTION, "never ran", None, "athena engine")
    since, state = heard.age_seconds, heard.details.get("state", "running")
    if not heard.alive:
        guard = ExecutionGuard.get_instance(settings).get_status()
        silent = guard.lease_seconds > 0 and not heard.stopped
        then = "see the disk, and engine.log" if silent else "athena engine; it starts halted"
        return Component("engine", Severity.STOP, "stopped" if heard.stopped else guard.engine, since, then)
    return Component("engine", Severity.OK, f"pid {heard.pid}, {state}", since)


def _guard(journal: Journal, settings: Settings) -> Component:
    rows = journal.query("SELECT scope, target, mode, owner, reason FROM halts WHERE cleared_at IS NULL ORDER BY at")
    if not rows:
        status = ExecutionGuard.get_instance(settings).get_status()  # the flag may refuse though no halt is journaled
        if status.mode is Mode.ACTIVE:
            return Component("guard", Severity.OK, "active, no halt")
        return Component("guard", Severity.STOP, status.why, None, "athena guard-state-check")
    told = "; ".join(f"{r['mode']} {r['target'] or r['scope']}: {r['reason']} ({r['owner']})" for r in rows)
    everything = any(r["scope"] == "global" for r in rows)
    return Component("guard", Severity.STOP if everything else Severity.ATTENTION, told, None, "athena resume REASON")


def _broker(journal: Journal, settings: Settings) -> Component:
    heard, engine = vitals.beat(journal, "broker"), vitals.beat(journal)
    if heard is None:
        return Component("broker streams", Severity.UNKNOWN, "no engine has connected yet", None, "athena engine")
    state, since = heard.details.get("state", "unknown"), heard.age_seconds
    if not heard.fresh or engine is None or not engine.alive:
        return Component("broker streams", Severity.UNKNOWN, f"last known {state}", since, "athena engine")
    if state == "connected":
        return Component("broker streams", Severity.OK, state, since)
    told = f"the broker's streams are {state}"
    return Component("broker streams", Severity.STOP, told, since, "athena status; the engine reconnects by itself")


def _market_data(journal: Journal, settings: Settings) -> Component:
    heard = vitals.quotes(journal)
    if heard is None:
        return Component("market data", Severity.UNKNOWN, "no quote yet", None, "athena start-market-data")
    verdict, next_action = (Severity.OK, "") if heard.fresh else (Severity.ATTENTION, "is the market open?")
    return Component("market data", verdict, f"{heard.symbols} symbols", heard.age_seconds, next_action)


def _books(journal: Journal, settings: Settings) -> Component:
    last = vitals.books(journal)
    if last is None:
        return Component(
            "reconciliation", Severity.UNKNOWN, "never compared", None, "athena engine, then athena reconcile"
        )
    since = last.age_seconds
    if not last.ok:
        return Component("reconciliation", Severity.STOP, last.differences, since, "athena broker-reconciliation")
    if not last.fresh:
        return Component("reconciliation", Severity.ATTENTION, "agreed when last compared", since, "athena reconcile")
    return Component("reconciliation", Severity.OK, "orders, fills, positions, cash agree", since)


_PARTS: Mapping[str, Callable[[Journal, Settings], Component]] = {
    "journal": _journal,
    "disk": lambda journal, settings: disk(settings),
    "engine": _engine,
    "guard": _guard,
    "broker streams": _broker,
    "market data": _market_data,
    "reconciliation": _books,
}
