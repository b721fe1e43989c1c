"""A scrape of a busy engine's metrics, and what a request's observation costs, beside prometheus_client's own."""

import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.request import urlopen

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from athena.config import Settings
from athena.journal.journal import Journal
from athena.journal.timing import BOUNDS as TIME_BOUNDS
from athena.journal.timing import Times
from athena.live.api_latency import BOUNDS, ENDPOINTS, Latencies
from athena.live.metrics import LiveMetrics
from athena.live.metrics_server import MetricsServer
from athena.model import Quote
from tests.benchmarks.rows import Row

SYMBOLS = [f"S{number:03}" for number in range(500)]
BETWEEN = 200  # fills from one scrape to the next
SCRAPES, OBSERVATIONS = 30, 50_000
AT = datetime(2020, 3, 9, 15, tzinfo=UTC)


def rows():
    with tempfile.TemporaryDirectory() as name:
        settings = replace(Settings.load({}, home=Path(name)), metrics_port=0, symbols=tuple(SYMBOLS))
        settings.folder.mkdir(parents=True)
        with Journal.open(settings.journal_path, "benchmark") as journal:
            idle, busy = _scrapes(settings, journal)
    return [
        Row("scrape, 500 symbols, nothing happened", idle, "ms", *_beside(idle), "<= 20"),
        Row(f"scrape, 500 symbols, {BETWEEN} fills since the last", busy, "ms", *_beside(busy), "<= 20"),
        _observation(),
        _decision(),
    ]


def _scrapes(settings, journal):
    """Median milliseconds over HTTP, idle and with fills in between."""
    price = Decimal("100.00")
    journal.put_marks([Quote(symbol, price, price + 1, price, price, AT) for symbol in SYMBOLS])
    journal.heartbeat("engine", {"state": "running", "symbols": SYMBOLS, "guard": {"pnl": "1.00"}}, AT)
    journal.heartbeat("broker", {"state": "connected", "name": "alpaca"}, AT)
    metrics = LiveMetrics(settings, since=0)
    with MetricsServer(0, metrics) as server:
        _get(server.url)
        idle = sorted(_get(server.url) for _ in range(SCRAPES))
        busy = sorted(_after_fills(server.url, journal, number) for number in range(SCRAPES // 3))
    metrics.close()
    return idle[len(idle) // 2], busy[len(busy) // 2]


def _after_fills(url, journal, number):
    with journal.transaction() as transaction:
        for one in range(BETWEEN):
            identity = f"{number}-{one}"
            transaction.append("fill", {
                "execution_id": identity, "client_order_id": identity, "broker_order_id": identity, "strategy": "s",
                "symbol": SYMBOLS[one], "side": "buy", "quantity": "1", "price": "100.5", "fee": "0", "at": AT,
                "bid": "100", "ask": "101",
            })  # fmt: skip
    return _get(url)


def _get(url):
    began = time.perf_counter()
    with urlopen(url, timeout=5) as answer:
        answer.read()
    return (time.perf_counter() - began) * 1000


def _beside(ours):
    """As many histograms of requests held by prometheus_client, only written out: no journal, no HTTP."""
    registry = CollectorRegistry()
    histogram = Histogram("api", "the same", ["endpoint", "outcome"], buckets=BOUNDS, registry=registry)
    for endpoint in ENDPOINTS:
        histogram.labels(endpoint, "ok")
    taken = []
    for _ in range(SCRAPES):
        began = time.perf_counter()
        generate_latest(registry)
        taken.append((time.perf_counter() - began) * 1000)
    value = sorted(taken)[SCRAPES // 2]
    return "prometheus_client, the request histogram alone", value, ours / value


def _observation():
    latencies, path = Latencies(), "/v2/orders"

    def ours():
        with latencies.watch("POST", path) as watch:
            watch.status = 200

    histogram = Histogram("api", "the same", ["endpoint", "outcome"], buckets=BOUNDS, registry=CollectorRegistry())

    def theirs():
        with histogram.labels("orders_submit", "ok").time():
            pass

    own, other = _microseconds(ours), _microseconds(theirs)
    beside = "prometheus_client, labels().time()"
    return Row("one request observed, in its lane", own, "µs", beside, other, own / other, "<= 5")


def _decision():
    """What the guard adds to each order for its own histogram: two looks at the clock and an observation."""
    found = Times()
    histogram = Histogram("check", "the same", buckets=TIME_BOUNDS, registry=CollectorRegistry())

    def ours():
        begun = time.perf_counter()
        found.observe(time.perf_counter() - begun)

    def theirs():
        with histogram.time():
            pass

    own, other = _microseconds(ours), _microseconds(theirs)
    return Row(
        "one decision observed, on the order path", own, "µs", "prometheus_client, time()", other, own / other, "<= 5"
    )


def _microseconds(function):
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(OBSERVATIONS // 5):
            function()
        best = min(best, (time.perf_counter() - began) / (OBSERVATIONS // 5))
    return best * 1e6
