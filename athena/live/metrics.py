"""The live system's metrics, read at each scrape from journal, heartbeats and guard flag: nothing on the order path.

Any process can read them; only in the engine's own are there request times. Names are the operators' playbook's and
Prometheus's rules hold: base units, `_total` counters born at 0, labels from closed sets. What is not known is left
out, but a timestamp of what never happened is 0, so that "too old" holds of it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from athena.config import Settings
from athena.errors import AthenaError, JournalError
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.journal.snapshots import FOLDER, list_snapshots
from athena.journal.timing import CHECKS, COMMITS
from athena.live.api_latency import LATENCIES
from athena.live.components import not_ready
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import H, R
from athena.live.limits import LIMITS, parse
from athena.live.metrics_counts import Counts
from athena.live.metrics_families import api_requests, counter, counters, gauge, labelled, slippage, times
from athena.live.metrics_telling import telling
from athena.live.vitals import STALE_SECONDS
from athena.model import BrokerState, Mode, OrderStatus, Origin

LOSS_LIMIT = "max_daily_loss_dollars"
_FINAL = ", ".join(f"'{status}'" for status in ("refused", "not_sent", "filled", "canceled", "expired", "rejected"))
_OPEN = (  # word for word the condition of the index orders_open
    f"SELECT COUNT(*), MIN(intended_at) FROM orders WHERE status NOT IN ({_FINAL}, '{OrderStatus.REPLACED}')"
)
_UNANSWERED = (
    f"SELECT MIN(updated_at) FROM orders WHERE status NOT IN ({_FINAL}, '{OrderStatus.REPLACED}')"
    " AND status IN ('intended', 'unknown', 'pending_cancel', 'pending_replace', 'pending_new')"
)
_RECONCILED = "SELECT at, ok, breaks FROM reconciliations ORDER BY sequence DESC LIMIT 1"
_STARTED = (
    "SELECT MAX(sequence) FROM events WHERE kind = 'engine.started'"
    " AND kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity')"
)


class LiveMetrics(Collector):
    """A `prometheus_client` collector of one live system; `since` is the event its counters begin after."""

    def __init__(self, settings: Settings, since: int | None = None) -> None:
        self.settings, self._since = settings, since
        self._journal: Journal | None = None
        self._counts: Counts | None = None
        self._snapshots = (-1, 0.0)  # the folder's change time, and when the newest in it was taken
        self._lock = threading.Lock()
        self._seconds = 0.0  # of the last collection

    def collect(self) -> Iterator[Metric]:
        """Every metric, from one look at everything."""
        with self._lock:
            begun = time.perf_counter()
            found = list(self._all())
            self._seconds = time.perf_counter() - begun
        yield from found

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def readiness(self) -> list[str]:
        """Why the engine is not ready to trade; empty when it has reconciled and its streams are up."""
        with self._lock:
            try:
                return not_ready(self._open(), self.settings)
            except JournalError as error:
                return [error.message]

    def liveness(self) -> float | None:
        """Seconds since the engine's loop last said that it lives; None when it never did. Raises JournalError."""
        with self._lock:
            return self._heartbeats(self._open())[2]

    # ---------------------------------------------------------------------------------------------------- what is read

    def _open(self) -> Journal:
        if self._journal is None or not self._journal.in_place():
            if self._journal is not None:
                self._journal.close()
            self._journal = Journal.open(self.settings.journal_path, "metrics", read_only=True)
        return self._journal

    def _all(self) -> Iterator[Metric]:
        yield from self._build()
        yield gauge("metrics_collect_seconds", "Time the last collection of these metrics took.", self._seconds)
        yield from api_requests(LATENCIES)
        yield times("journal_commit_seconds", "Until a commit of this process is on disk.", COMMITS)
        yield times("guard_check_seconds", "Deciding on an order, the decision's commit included.", CHECKS)
        errors = CounterMetricFamily("athena_journal_errors", "What the journal's database refused this process.")
        errors.add_metric([], COMMITS.read()[2])
        yield errors
        try:
            journal = self._open()
            engine, broker, age = self._heartbeats(journal)
            if self._counts is None:
                if self._since is None:
                    row = journal.one(_STARTED)
                    self._since = (row and row[0]) or 0
                self._counts = Counts(self._since, _symbols(self.settings))
            self._counts.catch_up(journal)
            read = [
                *self._engine(engine, age), *self._broker(broker, age), *_profit(journal, engine.get("guard") or {}),
                *_orders(journal, self._counts), *_reconciliation(journal), *self._guard(journal, self._counts),
                *_alerts(self._counts), *telling(journal, self.settings),
            ]  # fmt: skip
        except JournalError:
            yield gauge("journal_readable", "1 when the journal can be read.", 0)
            return
        yield gauge("journal_readable", "1 when the journal can be read.", 1)
        yield from read
        yield from slippage(self._counts)
        yield from self._disk()

    def _heartbeats(self, journal: Journal) -> tuple[dict[str, Any], dict[str, Any], float | None]:
        """Details of the engine's and the broker's heartbeat, and the age of the former in machine seconds."""
        known = journal.query("SELECT component, started_at, at, details FROM heartbeats")
        rows = {row["component"]: row for row in known}
        engine, broker = rows.get("engine"), rows.get("broker")
        return (
            {**json.loads(engine["details"]), "started_at": engine["started_at"]} if engine else {},
            json.loads(broker["details"]) if broker else {},
            _age(engine["at"]) if engine else None,
        )

    def _build(self) -> Iterator[Metric]:
        s = self.settings
        facts = {"version": version("athena"), "python": platform.python_version(), "account": s.account_name}
        yield InfoMetricFamily("athena_build", "This engine.", {**facts, "venue": s.venue})

    def _engine(self, details: Mapping[str, Any], age: float | None) -> Iterator[Metric]:
        fresh = age is not None and age <= STALE_SECONDS
        if age is not None:
            yield gauge("engine_heartbeat_age_seconds", "Since the engine's loop last said that it lives.", age)
        ready = fresh and details.get("state") == "running" and bool(details.get("reconciled"))
        yield gauge("engine_ready", "1 when the engine runs and its books agree with the venue.", ready)
        quotes = details.get("market_data_age_seconds")
        if quotes is None and details.get("symbols"):  # it never heard one: silent for as long as it runs
            quotes = _age(details["started_at"]) * float(details.get("speed") or 1)
        if quotes is not None and age is not None:
            told = "Venue time since the newest quote of any symbol; since the engine's start where it heard none."
            yield gauge("market_data_age_seconds", told, quotes + (0 if fresh else age))
        yield gauge(
            "venue_speed", "The venue's clock against this one: 1, but for a simulator.", details.get("speed") or 1
        )
        yield gauge("market_open", "1 in the venue's regular session.", details.get("session") == "open")

    def _broker(self, details: Mapping[str, Any], age: float | None) -> Iterator[Metric]:
        fresh = age is not None and age <= STALE_SECONDS
        state = BrokerState(details.get("state") or "disconnected") if fresh else BrokerState.DISCONNECTED
        name = {"broker": str(details.get("name") or "alpaca")}
        told = "State of the broker's streams: " + ", ".join(f"{s.number} {s.value}" for s in BrokerState) + "."
        yield gauge("broker_connection_status", told, state.number, name)
        yield gauge("broker_connected", "1 when all streams are up.", state is BrokerState.CONNECTED, name)
        if (skew := details.get("clock_skew_seconds")) is not None:
            yield gauge("clock_offset_seconds", "This machine's clock against the venue's.", skew)

    def _guard(self, journal: Journal, counts: Counts) -> Iterator[Metric]:
        row = journal.one("SELECT mode FROM guard WHERE id = 1")
        mode, passes, lease = Mode(row["mode"]) if row else Mode.HALTED, False, 0.0
        try:
            flag = ExecutionGuard.get_instance(self.settings).flag
            passes, lease = flag.allows(), max(0.0, flag.lease_seconds)
            if flag.words[H] == 0 or flag.words[R] != flag.words[H]:
                mode = Mode.HALTED
        except (AthenaError, ValueError, OSError):  # ValueError: the engine has let go of it
            mode = Mode.HALTED
        states = {known.value: int(known is mode) for known in Mode}
        yield labelled("guard_state", "1 for the mode trading is in.", "state", states)
        yield gauge("guard_orders_pass", "1 when orders without a halt of their own pass.", passes and mode == "active")
        yield gauge("guard_lease_remaining_seconds", "How long the guardian's promise to watch still stands.", lease)
        standing = journal.query("SELECT scope, mode, origin FROM halts WHERE cleared_at IS NULL")
        yield gauge("guard_halts_in_force", "Halts that stand, of any scope.", len(standing))
        stops = {row["origin"] for row in standing if row["scope"] == "global" and row["mode"] == Mode.HALTED}
        origins = {known.value: known.value in stops for known in Origin} | {"unknown": mode == "halted" and not stops}
        yield labelled("guard_halted", "1 where a halt of that origin stops all trading.", "origin", origins)
        yield counter("guard_halts", "Halts set, by who set them.", "source", counts.halts)
        told = "What the guard's rules refused or did, refused orders included."
        yield counter("guard_violations", told, "rule", counts.violations)
        yield counter("orders_refused", "Orders the guard refused.", "reason", counts.refused)

    def _disk(self) -> Iterator[Metric]:
        path = self.settings.journal_path
        for name, file, told in (
            ("journal_size_bytes", path, "The journal's file."),
            ("journal_wal_bytes", path.with_name(path.name + "-wal"), "The journal's write-ahead log."),
        ):
            with suppress(OSError):
                yield gauge(name, told, file.stat().st_size)
        with suppress(OSError):
            disk = os.statvfs(path.parent)
            yield gauge("disk_free_bytes", "Left on the journal's disk.", disk.f_bavail * disk.f_frsize)
            yield gauge("disk_free_ratio", "Left on the journal's disk, of all.", disk.f_bavail / (disk.f_blocks or 1))
        yield gauge("last_backup_timestamp_seconds", "When the newest snapshot was taken; 0: never.", self._backup())

    def _backup(self) -> float:
        folder = self.settings.backup_folder / FOLDER
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return 0.0
        if changed != self._snapshots[0]:
            newest = next(iter(list_snapshots(folder)), None)
            self._snapshots = (changed, newest.taken_at.timestamp() if newest else 0.0)
        return self._snapshots[1]


def _profit(journal: Journal, usage: Mapping[str, str]) -> Iterator[Metric]:
    row = journal.one("SELECT value FROM limits WHERE name = ? AND target = ''", (LOSS_LIMIT,))
    value = parse(LOSS_LIMIT, json.loads(row["value"])) if row else LIMITS[LOSS_LIMIT].default
    limit = float(str(value))
    yield gauge("daily_loss_limit_dollars", "Loss of a day at which everything halts.", limit)
    if usage.get("pnl"):
        told = "Profit of the trading day, unrealised included, deposits left out."
        yield gauge("daily_pnl_dollars", told, float(usage["pnl"]))
        used = float(usage.get(LOSS_LIMIT) or 0) / limit
        yield gauge("daily_loss_limit_used_ratio", "The day's loss over its limit.", used)
    if usage.get("max_gross_exposure_dollars"):
        told = "Sum over symbols of the worst position that open orders allow."
        yield gauge("gross_exposure_dollars", told, float(usage["max_gross_exposure_dollars"]))


def _orders(journal: Journal, counts: Counts) -> Iterator[Metric]:
    yield counter("orders", "Orders by how they ended, each counted once.", "status", counts.orders)
    row = journal.one(_OPEN)
    number, oldest = (row[0], row[1]) if row else (0, None)
    yield gauge("open_orders", "Orders that are not over yet.", number)
    age = _age(oldest) if oldest else 0.0
    yield gauge("oldest_open_order_age_seconds", "Since the oldest open order was decided; 0 without one.", age)
    row = journal.one(_UNANSWERED)
    age = _age(row[0]) if row and row[0] else 0.0
    yield gauge(
        "oldest_unanswered_order_age_seconds", "Since the venue owes an answer to an order; 0: it does not.", age
    )


def _alerts(counts: Counts) -> Iterator[Metric]:
    """What came in by the webhook, and what was done about it."""
    yield counters("alerts_received", "Firings and ends told by Alertmanager.", ("severity", "status"), counts.alerts)
    told = "Playbook runs that nobody watched, by verdict, or that they reached none."
    yield counters("playbook_runs", told, ("playbook", "result"), counts.playbook_runs)
    told = "Attempts to deliver a message; dead: the last of one."
    yield counters("notifications", told, ("channel", "result"), counts.notifications)


def _symbols(settings: Settings) -> list[str]:
    """Configured symbols: those a label may have."""
    return sorted({*settings.symbols, *(symbol for s in settings.strategies for symbol in s.symbols)})


def _reconciliation(journal: Journal) -> Iterator[Metric]:
    row = journal.one(_RECONCILED)
    at, breaks = (0.0, 0) if row is None else (from_text(row["at"]).timestamp(), len(json.loads(row["breaks"] or "[]")))
    yield gauge("reconciled", "1 when the books agreed with the venue at the last look.", bool(row and row["ok"]))
    yield gauge("reconciliation_breaks", "Differences found at the last look.", breaks)
    yield gauge("last_reconciliation_timestamp_seconds", "When the books were last compared; 0: never.", at)


def _age(text: str) -> float:
    return max(0.0, (datetime.now(UTC) - from_text(text)).total_seconds())
