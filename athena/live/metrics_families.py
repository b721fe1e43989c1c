"""Metric families in Prometheus's shape: gauges, counters born at 0, and the two histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from athena.journal.timing import BOUNDS as TIME_BOUNDS
from athena.journal.timing import Times
from athena.live.api_latency import BOUNDS, ENDPOINTS, OUTCOMES, Latencies
from athena.live.metrics_counts import FILLS_MIN, RECENT_FILLS, RECENT_SECONDS, SLIPPAGE_BOUNDS, Counts


def gauge(name: str, told: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    """One value, with at most one set of labels."""
    family = GaugeMetricFamily(f"athena_{name}", told, labels=list(labels or ()))
    family.add_metric(list((labels or {}).values()), float(value))
    return family


def labelled(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    """A gauge with one value for each value of its label."""
    family = GaugeMetricFamily(f"athena_{name}", told, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def counter(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter, `_total` added to its name, with one value for each value of its label."""
    family = CounterMetricFamily(f"athena_{name}", told, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def counters(name: str, told: str, labels: tuple[str, str], values: Mapping[tuple[str, str], float]) -> Metric:
    """A counter with one value for each pair of its labels' values."""
    family = CounterMetricFamily(f"athena_{name}", told, labels=list(labels))
    for keys, value in values.items():
        family.add_metric(list(keys), value)
    return family


def times(name: str, told: str, found: Times) -> Metric:
    """A histogram of seconds from what a process counted."""
    counts, total, _ = found.read()
    family = HistogramMetricFamily(f"athena_{name}", told)
    family.add_metric([], _cumulative(TIME_BOUNDS, counts), total)
    return family


def slippage(counts: Counts) -> list[Metric]:
    """The histogram, its sum written by hand: the client leaves it out where a bucket is negative.

    `rate()` takes a sum that falls for a restart, and would tell of huge slippage after one good fill. So `_sum` adds
    up what slippage cost, and a fill better than the mid adds nothing; two counters have both sides apart.
    """
    told = "Fill against the mid just before it, positive when it costs; in _sum gains count as 0 (see _paid, _saved)."
    family = HistogramMetricFamily("athena_slippage_basis_points", told)
    buckets = _cumulative(SLIPPAGE_BOUNDS, counts.slippage)
    family.add_metric([], buckets, None)
    family.add_sample("athena_slippage_basis_points_sum", {}, counts.paid_bps)
    family.add_sample("athena_slippage_basis_points_count", {}, buckets[-1][1])
    told = "Sum of the slippage of all fills that {}. Signed mean: (rate(paid) - rate(saved)) / rate(count)."
    paid = CounterMetricFamily("athena_slippage_paid_basis_points", told.format("cost"), counts.paid_bps)
    saved = CounterMetricFamily("athena_slippage_saved_basis_points", told.format("gained"), counts.saved_bps)
    told = f"Mean slippage of its last {RECENT_FILLS} fills in {RECENT_SECONDS} s, of symbols with {FILLS_MIN} of them."
    recent = labelled("symbol_slippage_basis_points", told, "symbol", counts.recent_slippage(datetime.now(UTC)))
    return [family, paid, saved, recent]


def api_requests(latencies: Latencies) -> list[Metric]:
    """Requests by endpoint and outcome, all born at 0; and their times, where only good answers are born at 0.

    A histogram is 14 lines: with every outcome of every endpoint it would be most of the page and of its cost.
    """
    requests = CounterMetricFamily("athena_api_requests", "Requests to the venue.", labels=["endpoint", "outcome"])
    told = "Until the venue's answer begins, by kind of request and outcome."
    times = HistogramMetricFamily("athena_api_latency_seconds", told, labels=["endpoint", "outcome"])
    seen, none = latencies.read(), ([0] * (len(BOUNDS) + 1), 0.0)
    for endpoint in ENDPOINTS:
        for outcome in OUTCOMES:
            counts, total = seen.get((endpoint, outcome), none)
            requests.add_metric([endpoint, outcome], sum(counts))
            if total or outcome == "ok":
                times.add_metric([endpoint, outcome], _cumulative(BOUNDS, counts), total)
    return [requests, times]


def _cumulative(bounds: Sequence[float], counts: Iterable[int]) -> list[tuple[str, int]]:
    return list(zip([*map(str, bounds), "+Inf"], accumulate(counts), strict=True))
