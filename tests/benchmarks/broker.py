"""One order to the simulator and back through alpaca-py, beside a bare HTTP request to the same server."""

import asyncio
import statistics
import time

import requests

from tests.benchmarks.rows import Row
from tests.support.broker import approve, connected, settings_for
from tests.support.simulator import running_simulator

TRIPS = 150


def rows():
    with running_simulator() as simulator:
        bare = _bare(simulator.url)
        order, read = asyncio.run(_trips(simulator.url))
    beside = "bare HTTP GET /v2/clock"
    return [
        Row("order round trip, p50", _p(order, 50), "ms", beside, _p(bare, 50), _p(order, 50) / _p(bare, 50)),
        Row("order round trip, p99", _p(order, 99), "ms", beside, _p(bare, 99), _p(order, 99) / _p(bare, 99)),
        Row("account read, p50", _p(read, 50), "ms", beside, _p(bare, 50), _p(read, 50) / _p(bare, 50)),
    ]


async def _trips(url):
    orders, reads = [], []
    async with connected(settings_for(url)) as (broker, _):
        for _ in range(TRIPS):
            approved = approve(quantity=1)
            began = time.perf_counter()
            await broker.submit(approved)
            orders.append(time.perf_counter() - began)
            began = time.perf_counter()
            await broker.get_account()
            reads.append(time.perf_counter() - began)
    return orders, reads


def _bare(url):
    session = requests.Session()
    session.trust_env = False
    headers = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}
    taken = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        session.get(f"{url}/v2/clock", headers=headers, timeout=5).raise_for_status()
        taken.append(time.perf_counter() - began)
    return taken


def _p(seconds, percent):
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1000
