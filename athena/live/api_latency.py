"""How long the venue takes to answer, by kind of request and outcome: counted in the lanes' own threads, in memory.

Standard library only, and no client of any metrics system: 2 µs a request. `athena.live.metrics` reads it at a scrape.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from typing import Any

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds, each included
ENDPOINTS = (
    "account", "activities", "assets", "clock", "configuration", "market_data", "orders_cancel", "orders_read",
    "orders_replace", "orders_submit", "positions", "positions_close", "other",
)  # fmt: skip
OUTCOMES = ("ok", "refused", "rate_limited", "failed", "timeout")  # 2xx, other 4xx, 429, 5xx or no connection, silence
_ORDERS = {"GET": "orders_read", "POST": "orders_submit", "PATCH": "orders_replace", "DELETE": "orders_cancel"}
_REST = {"assets": "assets", "clock": "clock", "stocks": "market_data"}


class Latencies:
    """Counts of one process's requests; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], list[int]] = {}  # per bound, and one beyond; not cumulative
        self._sums: dict[tuple[str, str], float] = {}

    def observe(self, method: str, path: str, outcome: str, seconds: float) -> None:
        """Count one request: `path` as sent, without query; `outcome` of OUTCOMES."""
        key = (endpoint_of(method, path), outcome)
        bucket = bisect_left(BOUNDS, seconds)
        with self._lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = [0] * (len(BOUNDS) + 1)
                self._sums[key] = 0.0
            counts[bucket] += 1
            self._sums[key] += seconds

    def read(self) -> dict[tuple[str, str], tuple[list[int], float]]:
        """(endpoint, outcome) -> requests per bucket, and their seconds in sum."""
        with self._lock:
            return {key: (list(counts), self._sums[key]) for key, counts in self._counts.items()}

    def watch(self, method: str, path: str) -> Watch:
        """A context that times one request; tell it the status when an answer comes."""
        return Watch(self, method, path)


class Watch:
    """One request under way: without a status at its end it was a timeout, or failed."""

    __slots__ = ("_begun", "_latencies", "_method", "_path", "status")

    def __init__(self, latencies: Latencies, method: str, path: str) -> None:
        self._latencies, self._method, self._path, self.status = latencies, method, path, 0

    def __enter__(self) -> Watch:
        self._begun = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        seconds = time.perf_counter() - self._begun
        silent = kind is not None and "Timeout" in kind.__name__
        outcome = "timeout" if silent else outcome_of(self.status)
        self._latencies.observe(self._method, self._path, outcome, seconds)


def endpoint_of(method: str, path: str) -> str:
    """One of ENDPOINTS: never an order id or a symbol, so that there are only so many series."""
    parts = path.partition("?")[0].split("/", 4)  # "", "v2", "orders", ...
    room = parts[2].partition(":")[0] if len(parts) > 2 else ""
    if room == "orders":
        return _ORDERS.get(method, "other")
    if room == "account":
        below = parts[3] if len(parts) > 3 else ""
        return {"": "account", "activities": "activities", "configurations": "configuration"}.get(below, "other")
    if room == "positions":
        return "positions_close" if method == "DELETE" else "positions"
    return _REST.get(room, "other")


def outcome_of(status: int) -> str:
    """One of OUTCOMES for an HTTP status; 0 when there was none."""
    if 200 <= status < 300:
        return "ok"
    if status == 429:
        return "rate_limited"
    return "refused" if 400 <= status < 500 else "failed"


LATENCIES = Latencies()  # this process's
