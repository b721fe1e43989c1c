"""The execution guard: its check, its halt, its gate, each beside a yardstick.

With ATHENA_BENCH_NAUTILUS naming the Python of an environment that has nautilus_trader 1.221, its compiled RiskEngine
is measured in alternate runs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, H, boottime_ns
from athena.model import OrderStatus, Side
from tests.benchmarks.journal import _raw
from tests.benchmarks.rows import Row
from tests.guard.conftest import (
    NOON,
    intent,
    limit,
    make_journal,
    order,
    quote,
    reconciled,
    remove_flag,
    settings_in,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
STARTS, CHECKS, HALTS, ORDERS = 20, 20_000, 200, 400
SPIN = "while True: pass"
WATCH = """
import sys
from pathlib import Path
from athena.live.guard_flag import GuardFlag, boottime_ns
flag = GuardFlag.open(Path(sys.argv[1]))
for line in sys.stdin:
    print("watching", flush=True)
    while flag.allows():
        pass
    print(boottime_ns(), flush=True)
"""


def rows():
    folder = Path(tempfile.mkdtemp(prefix="athena-bench-"))
    guard = _engine(folder)
    try:
        return [*_halt_command(guard), *_checks(guard), *_seen_elsewhere(guard), *_gate(guard, folder)]
    finally:
        guard.close()
        remove_flag(guard.settings)
        shutil.rmtree(folder, ignore_errors=True)


def _engine(folder):
    """A running guard with every limit on and overrides for its symbol and strategy."""
    settings = settings_in(folder)
    make_journal(settings)
    guard = ExecutionGuard(settings)
    for name, value in {
        "max_orders_per_minute": 90_000, "max_messages_per_minute": 90_000, "max_open_orders": 90_000,
        "max_gross_exposure_dollars": 10**8, "max_net_exposure_dollars": 10**8, "allowed_symbols": ["AAPL", "MSFT"],
        "min_buying_power_dollars": None, "max_participation_rate": None, "max_quote_age_seconds": 86_400,
    }.items():  # fmt: skip
        guard.set_limit(name, value)
    for name, value in {"max_position_per_symbol_dollars": 19_000, "max_order_quantity": 5000, "price_collar_bps": 400,
                        "max_order_notional_dollars": 9_500, "max_slippage_bps": 45}.items():  # fmt: skip
        guard.set_limit(name, value, target="symbol:AAPL")
        guard.set_limit(name, value, target="strategy:s")
    guard.start()
    guard.start_guardian()
    reconciled(guard)
    guard.resume(override=True)
    guard.on_quote(quote())
    return guard


# The check


def _checks(guard):
    one = limit(Side.BUY, "10", "100.00", strategy="s")
    assert guard.check(one, NOON) is None
    own, theirs, python = [], [], os.environ.get("ATHENA_BENCH_NAUTILUS", "")
    for _ in range(4):
        own += _timed(guard.gate.check, one, CHECKS)
        if python:
            command = [python, str(ROOT / "tests/benchmarks/nautilus_check.py"), "5000"]
            told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
            theirs += [int(word) for word in told.stdout.split()]
    half, tail = _percentiles(own)
    found = [
        Row("guard check, all limits, p50", half / 1e3, "µs"),
        Row("guard check, all limits, p99", tail / 1e3, "µs"),
    ]
    if theirs:
        half_, tail_ = _percentiles(theirs)
        beside = "NautilusTrader's RiskEngine"
        found = [
            Row("guard check, all limits, p50", half / 1e3, "µs", beside, half_ / 1e3, half / half_, "≤ 0.8"),
            Row("guard check, all limits, p99", tail / 1e3, "µs", beside, tail_ / 1e3, tail / tail_),
        ]
    for number in range(3000):
        guard.on_quote(quote(f"S{number}"))
        guard.on_order(order(limit(Side.BUY, "1", "9", symbol=f"S{number}"), OrderStatus.NEW))
    many, _ = _percentiles(_timed(guard.gate.check, one, CHECKS))
    return [
        *found,
        Row("the same with 3,000 symbols and open orders", many / 1e3, "µs", "without", half / 1e3, many / half),
    ]


def _timed(check, one, times):
    took, tick = [], time.perf_counter_ns
    for _ in range(times):
        began = tick()
        check(one, NOON)
        took.append(tick() - began)
    return took


def _percentiles(took):
    took = sorted(took)
    return took[len(took) // 2], took[len(took) * 99 // 100]


# The halt


def _halt_command(guard):
    """From the start of `athena halt` to the flag, compiled files present, as a shell would start it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "athena.cli", "halt", "bench", "--home", str(guard.settings.home)]
    bare, took, flag = [], [], guard.flag
    for number in range(STARTS + 1):
        began = boottime_ns()
        subprocess.run([sys.executable, "-c", ""], check=True)
        bare.append((boottime_ns() - began) / 1e6)
        was, began = flag.words[H], boottime_ns()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, cwd=ROOT):
            while flag.words[H] == was:
                time.sleep(0.0002)
            if number:  # the first may compile
                took.append((boottime_ns() - began) / 1e6)
    guard.resume(reason="bench", override=True)
    took.sort()
    half, empty = took[len(took) // 2], sorted(bare)[len(bare) // 2]
    return [
        Row("athena halt: start to flag, p50", half, "ms", "python -c ''", empty, half / empty, "≤ 100 ms"),
        Row(f"athena halt: start to flag, slowest of {STARTS}", took[-1], "ms"),
    ]


def _seen_elsewhere(guard):
    """From the halt's return in one process to the refusal in another."""
    idle = _latencies(guard)
    with _busy(os.cpu_count() or 1):
        busy = _latencies(guard)
    return [
        Row("halt to refusal elsewhere, idle, p99", idle[len(idle) * 99 // 100], "ms", bound="≤ 1 ms"),
        Row("halt to refusal elsewhere, all cores busy, p99", busy[len(busy) * 99 // 100], "ms", bound="≤ 20 ms"),
    ]


def _latencies(guard):
    flag, took = GuardFlag.open(guard.settings.journal_path), []
    known = flag.words[H]
    command = [sys.executable, "-c", WATCH, str(guard.settings.journal_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        for _ in range(HALTS):
            other.stdin.write("go\n")
            other.stdin.flush()
            other.stdout.readline()
            began = boottime_ns()
            nonce = flag.halt()
            took.append(max(0, int(other.stdout.readline()) - began) / 1e6)
            flag.acknowledge(nonce)
        other.stdin.close()
    flag.acknowledge(flag.halt(known))
    flag.close()
    return sorted(took)


@contextmanager
def _busy(cores):
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(cores)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()


# The gate


def _gate(guard, folder):
    """A checked, gated, durable intent beside the bare driver's commit of one row, in alternate runs on one disk."""
    own, raw = [], []
    for part in range(4):
        raw.append(_raw(folder / f"raw{part}.sqlite3", ORDERS))
        orders = [replace(intent(quantity="1"), key=f"{part}-{number}") for number in range(ORDERS)]
        began = spent = 0.0
        for number, one in enumerate(orders):
            at = NOON + timedelta(seconds=15 * (part * ORDERS + number))
            began = time.perf_counter()
            verdict = guard.admit(one, at)
            spent += time.perf_counter() - began
            assert verdict, verdict
            guard.on_order(order(one, OrderStatus.CANCELED))
        own.append(ORDERS / spent)
    mine, bare = sorted(own)[len(own) // 2], sorted(raw)[len(raw) // 2]
    beside = "raw sqlite3, one row a commit"
    return [Row("admit: checked, gated, durable", mine, "orders/s", beside, bare, bare / mine, "≤ 1.5")]
