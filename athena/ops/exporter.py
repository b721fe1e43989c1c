"""The metrics of the live system from any process: `get_exporter().get_metrics_summary()`.

The engine's own page answers where there is one; where the engine is dead or has no port, the journal does, and the
summary says so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, build_opener

from athena.config import Settings
from athena.journal.journal import Journal

if TYPE_CHECKING:
    from prometheus_client import Metric

SCRAPE_SECONDS = 2.0
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]  # by name, then by labels


def get_exporter(settings: Settings | None = None) -> Exporter | None:
    """A handle on the live system's metrics, the engine alive or not; None only where no live system ever was."""
    settings = settings or Settings.load(lenient=True)
    return Exporter(settings) if settings.journal_path.exists() else None


class Exporter:
    """Reads the metrics of one live system; holds nothing open."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def url(self) -> str:
        """Where the engine said it serves its metrics; "" when it does not. Raises JournalError."""
        return str(_heartbeats(self.settings).get("metrics", {}).get("url") or "")

    def families(self) -> tuple[list[Metric], str]:
        """All metrics at this moment, and in words where they are from. Raises JournalError."""
        from athena.live.metrics import LiveMetrics
        from athena.live.metrics_server import live_metrics

        own = live_metrics(self.settings)
        if own is not None:
            return list(own.collect()), "this engine"
        said = _heartbeats(self.settings)
        url, problem = str(said.get("metrics", {}).get("url") or ""), "it has no metrics page"
        if url:
            try:
                return self._scrape(url), url
            except (OSError, HTTPException, ValueError) as error:
                problem = f"{url} does not answer ({getattr(error, 'reason', None) or error})"
        reader = LiveMetrics(self.settings)
        try:
            return list(reader.collect()), f"the journal: {problem}"
        finally:
            reader.close()

    def get_metrics_summary(self) -> MetricsSummary:
        """The figures an operator asks first, None where one is not known; a dict that shows itself as a table."""
        families, source = self.families()
        samples: Samples = {}
        for family in families:
            for sample in family.samples:
                samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return MetricsSummary(_summary(samples, source))

    def _scrape(self, url: str) -> list[Metric]:
        """Raises OSError, HTTPException; ValueError when it is not the page of this live system's engine."""
        from prometheus_client.parser import text_string_to_metric_families

        opener = build_opener(ProxyHandler({}))  # loopback never goes by a proxy
        with opener.open(url, timeout=SCRAPE_SECONDS) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        accounts = {s.labels.get("account") for f in families for s in f.samples if s.name == "athena_build_info"}
        if accounts != {self.settings.account_name}:
            raise ValueError("another program has that port now")
        return families

    def __repr__(self) -> str:
        return f"<Exporter of {self.settings.account_name}: {self.url or 'no page; reads the journal'}>"


class MetricsSummary(dict[str, Any]):
    """Figures by name. Prints as lines, shows as a table in a notebook and in rich."""

    def lines(self) -> list[tuple[str, str]]:
        """Name and value in words, "unknown" for None."""
        return [(name.replace("_", " "), _words(name, value)) for name, value in self.items()]

    def __str__(self) -> str:
        return "\n".join(f"{name:<28} {value}" for name, value in self.lines())

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False)
        for name, value in self.lines():
            table.add_row(name, Text(value))
        return table

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self.lines())
        return f'<table class="athena-metrics">{rows}</table>'


def _summary(samples: Samples, source: str) -> dict[str, Any]:
    age = _value(samples, "engine_heartbeat_age_seconds")
    orders = _by_label(samples, "orders_total")
    ended = sum(orders.values())
    fills = _value(samples, "slippage_basis_points_count") or 0
    paid, saved = (_value(samples, f"slippage_{side}_basis_points_total") or 0 for side in ("paid", "saved"))
    backup = _value(samples, "last_backup_timestamp_seconds")
    connection = _value(samples, "broker_connection_status")
    return {
        "engine": _engine(age),
        "source": source,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "guard_state": next((k for k, on in _by_label(samples, "guard_state").items() if on), None),
        "orders_pass": _flag(samples, "guard_orders_pass"),
        "halts_in_force": _count(samples, "guard_halts_in_force"),
        "guard_violations": _seen(_by_label(samples, "guard_violations_total")),
        "daily_pnl_dollars": _value(samples, "daily_pnl_dollars"),
        "daily_loss_limit_used_ratio": _value(samples, "daily_loss_limit_used_ratio"),
        "gross_exposure_dollars": _value(samples, "gross_exposure_dollars"),
        "orders": _seen(orders),
        "orders_filled_ratio": orders.get("filled", 0) / ended if ended else None,
        "open_orders": _count(samples, "open_orders"),
        "slippage_mean_bps": (paid - saved) / fills if fills else None,
        "api_latency_p95_seconds": _quantile(samples.get("athena_api_latency_seconds_bucket", {}), 0.95),
        "broker_connected": None if connection is None else connection == 2,
        "market_data_age_seconds": _value(samples, "market_data_age_seconds"),
        "reconciled": _flag(samples, "reconciled"),
        "reconciliation_breaks": _count(samples, "reconciliation_breaks"),
        "last_backup_at": datetime.fromtimestamp(backup, UTC).isoformat(timespec="seconds") if backup else None,
    }


def _engine(age: float | None) -> str:
    from athena.live.vitals import STALE_SECONDS

    if age is None:
        return "never ran on this journal"
    return "running" if age <= STALE_SECONDS else f"not running, last heartbeat {age:,.0f} s ago; figures as last known"


def _value(samples: Samples, name: str) -> float | None:
    return next(iter(samples.get(f"athena_{name}", {}).values()), None)


def _count(samples: Samples, name: str) -> int | None:
    value = _value(samples, name)
    return None if value is None else int(value)


def _flag(samples: Samples, name: str) -> bool | None:
    value = _value(samples, name)
    return None if value is None else value == 1


def _by_label(samples: Samples, name: str) -> dict[str, float]:
    """Values by the one label there is."""
    return {labels[0][1]: value for labels, value in samples.get(f"athena_{name}", {}).items()}


def _seen(counts: dict[str, float]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if count}


def _quantile(buckets: dict[tuple[tuple[str, str], ...], float], share: float) -> float | None:
    """As Prometheus's histogram_quantile over all series: linear within the bucket; None without observations."""
    cumulative: dict[float, float] = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        cumulative[bound] = cumulative.get(bound, 0) + count
    bounds = sorted(cumulative)
    wanted = share * cumulative[bounds[-1]] if bounds else 0
    if not wanted:
        return None
    low, below = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= wanted:
            inside = cumulative[bound] - below
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / inside
        low, below = bound, cumulative[bound]
    return None


def _words(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}" if name.endswith("dollars") else f"{value:,.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return str(value)


def _heartbeats(settings: Settings) -> dict[str, dict[str, Any]]:
    """Details by component. Raises JournalError."""
    with Journal.open(settings.journal_path, f"operator {settings.operator}", read_only=True) as journal:
        return {r["component"]: json.loads(r["details"]) for r in journal.query("SELECT * FROM heartbeats")}
