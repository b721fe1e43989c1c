"""What may go wrong under a running guard, done to it: full disk, frozen writer, hung database, clocks, SIGBUS.

Each ends in a refusal or in a dead process, never in an order; the rest of the table is in test_flag and test_halting.
"""

from __future__ import annotations

import ast
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from athena.config import Settings
from athena.errors import GuardError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import E, GuardFlag, boottime_ns
from athena.live.guard_rules import Rules
from athena.live.guardian import Guardian
from athena.live.verdict import Approved
from athena.model import Mode, Scope
from tests.guard.conftest import NOON, intent, quote, until

ROOT = Path(__file__).parents[2]

ENGINE = """
import os, sys
from pathlib import Path
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import boottime_ns
from tests.guard.conftest import NOON, heard, intent, quote, reconciled, settings_in
from dataclasses import replace
guard = ExecutionGuard(settings_in(Path(sys.argv[1])))
for name in ("max_orders_per_minute", "max_messages_per_minute", "max_open_orders", "max_open_orders_per_symbol"):
    guard.set_limit(name, 100_000)
for name in ("position_per_symbol", "gross_exposure", "net_exposure"):
    guard.set_limit(f"max_{name}_dollars", 10**8)
guard.set_limit("max_duplicate_orders", 1000)
guard.start()
guard.start_guardian()
reconciled(guard)
guard.resume()
guard.on_quote(quote())
"""


@contextmanager
def python(code: str, settings: Settings) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, str(settings.home)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        try:
            yield child
        finally:
            child.kill()


FULL = (
    ENGINE
    + """
import resource
files = [guard.settings.journal_path, Path(f"{guard.settings.journal_path}-wal")]
size = max(os.path.getsize(file) for file in files) + 20_000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
verdicts = [guard.admit(replace(intent(), key=str(n)), NOON) for n in range(40)]
print(sum(map(bool, verdicts)), {str(v.code) for v in verdicts if not v}, flush=True)
try:
    guard.halt("while the disk is full")
except Exception as error:
    print(type(error).__name__, "IS halted by the flag" in str(error), guard.flag.allows(), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(guard.journal.one("SELECT COUNT(*) FROM orders")[0], guard.journal.verify().ok, flush=True)
guard.halt("there is space again")
print(sorted(halt.reason for halt in guard.halts())[-1], flush=True)
"""
)


def test_full_disk_refuses_and_loses_nothing(settings: Settings) -> None:
    """With no space an intent is refused, a halt stands in the flag and says so; afterwards the journal is whole."""
    with python(FULL, settings) as child:
        assert child.stdout is not None
        told = child.stdout.read().splitlines()
    passed, codes = told[0].split(" ", 1)
    assert int(passed) < 40
    assert codes == "{'JOURNAL_FAILED'}"
    assert told[1:] == ["GuardError True False", f"{passed} True", "there is space again"]


WRITER = """
import sqlite3, sys
from tests.guard.conftest import settings_in
from pathlib import Path
connection = sqlite3.connect(settings_in(Path(sys.argv[1])).journal_path, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("holding", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


def test_a_frozen_writer_refuses_orders_and_delays_no_halt(
    engine: ExecutionGuard, handle: ExecutionGuard, settings: Settings
) -> None:
    """A process stopped inside its transaction: orders are refused within seconds, a halt binds within milliseconds."""
    with python(WRITER, settings) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        refused = engine.admit(intent(), NOON)
        assert not isinstance(refused, Approved)
        assert (refused.code, time.monotonic() - began < 8) == ("JOURNAL_FAILED", True)
        assert engine.flag.allows()  # reading goes on: the guardian vouches
        thread = threading.Thread(target=lambda: handle.halt("frozen"))
        thread.start()
        until(lambda: not engine.flag.allows(), 1)
    thread.join(10)
    assert [halt.reason for halt in handle.halts()] == ["frozen"]


def test_a_hung_database_lets_the_lease_run_out(engine: ExecutionGuard) -> None:
    """When the guardian's read never returns, no one vouches any more, and nothing passes two seconds later."""
    guardian = engine._guardian
    assert guardian is not None
    assert guardian._journal is not None
    with guardian._journal._lock:  # as a database that does not answer
        until(lambda: not engine.flag.allows(), 4)
        refused = engine.check(intent(), NOON)
        assert refused is not None
        assert refused.code == "GUARD_UNSURE"


def test_rules_that_cannot_be_read_refuse_until_they_are(
    engine: ExecutionGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change whose rules are unreadable refuses every order, with a new flag's empty words; news do not raise."""

    def unreadable(_: object) -> Rules:
        raise ValueError("no JSON")

    with monkeypatch.context() as patched:
        patched.setattr(Rules, "load", unreadable)
        engine.flag.words[E] = 0
        for _ in range(2):
            engine.on_quote(quote())
            refused = engine.check(intent(), NOON)
            assert refused is not None
            assert refused.code == "GUARD_UNSURE"
    engine.on_quote(quote())
    assert engine.check(intent(), NOON) is None


CUT = (
    ENGINE
    + """
print("ready", flush=True)
for n in range(10**6):
    began = boottime_ns()
    if guard.admit(replace(intent(), key=str(n)), NOON):
        print(began, flush=True)
"""
)


def test_a_flag_cut_under_a_live_engine_closes_it(settings: Settings) -> None:
    """Cutting the mapped file kills the engine at its next look (SIGBUS), or it refuses; no order begins after it."""
    with python(CUT, settings) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.readline()
        os.truncate(GuardFlag.open(settings.journal_path).path, 0)
        cut = boottime_ns()
        try:
            child.wait(3)
        except subprocess.TimeoutExpired:
            child.kill()
        approved = [int(line) for line in child.stdout.read().split() if line.isdigit()]
        assert child.wait() in {-signal.SIGBUS, -signal.SIGKILL}
    assert [at for at in approved if at > cut] == []
    assert not GuardFlag.open(settings.journal_path).allows()


def test_a_venue_clock_set_back_only_refuses(engine: ExecutionGuard) -> None:
    """Venue time running backwards makes quotes lie in the future and rates stay used: stricter, never laxer."""
    engine.set_limit("max_orders_per_minute", 2)
    for _ in range(2):
        assert engine.admit(intent(), NOON)
    refused = engine.check(intent(), NOON - timedelta(seconds=3))
    assert refused is not None
    assert refused.code == "ORDER_RATE"
    refused = engine.check(intent(), NOON - timedelta(minutes=5))
    assert refused is not None
    assert refused.code == "QUOTE_STALE"
    engine.on_quote(quote(at=NOON - timedelta(minutes=5)))  # late news does not replace the newer quote
    assert engine.gate.book.of("AAPL").quote_at == NOON
    refused = engine.check(intent(), NOON - timedelta(days=1))
    assert refused is not None
    assert refused.code == "DAY_NOT_OPEN"


def test_a_wall_clock_set_forward_ends_no_halt_early(started: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A halt for an hour stands though the machine's clock jumps by two; set back, it stands as well."""
    ahead = timedelta()
    guardian = Guardian(started.gate, lambda: handle.journal, lambda: datetime.now(UTC) + ahead)
    halt = handle.halt("an hour", mode=Mode.REDUCE_ONLY, expires_at=datetime.now(UTC) + timedelta(hours=1))
    short = handle.halt(
        "a moment", scope=Scope.SYMBOL, target="AAPL", expires_at=datetime.now(UTC) + timedelta(seconds=0.2)
    )
    guardian._expire(handle.journal, started.flag)
    ahead = timedelta(hours=2)
    guardian._expire(handle.journal, started.flag)
    assert halt.id in {h.id for h in handle.halts()}
    ahead = timedelta()
    time.sleep(0.25)  # the time itself is what is tested
    guardian._expire(handle.journal, started.flag)
    assert {h.id for h in handle.halts()} & {halt.id, short.id} == {halt.id}


def test_no_decision_asks_the_wall_clock() -> None:
    """Flag, checks, gate, book and acting know venue time and boot time only: the machine's date cannot matter."""
    for module in ("guard_flag", "guard_checks", "guard_gate", "guard_book", "guard_acting", "guard_refusals"):
        tree = ast.parse((ROOT / f"athena/live/{module}.py").read_text())
        asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {"now", "time", "utcnow"}
        assert not asked, module


def _falls_through(node: ast.expr) -> str:
    """The name of what may be a Refused and is used as a truth value."""
    target = node.func if isinstance(node, ast.Call) else node
    name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
    called = isinstance(node, ast.Call) and (name in {"check", "reload"} or name.startswith("_check_"))
    return name if called or name in {"refused", "strictest"} else ""


def test_a_refusal_is_never_lost_by_its_falsehood() -> None:
    """A Refused is false: no `or`, `and`, `not` or bare `if` in the guard may take one for nothing found."""
    for path in [*sorted((ROOT / "athena/live").glob("*guard*.py")), ROOT / "athena/live/limit_replay.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            tested: list[ast.expr] = []
            if isinstance(node, ast.BoolOp):
                tested = node.values
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                tested = [node.operand]
            elif isinstance(node, ast.If | ast.IfExp | ast.While):
                tested = [node.test]
            assert not [name for each in tested if (name := _falls_through(each))], f"{path.name}:{node.lineno}"


def test_a_halt_with_a_full_journal_is_retried_and_recorded(settings: Settings, handle: ExecutionGuard) -> None:
    """The database at its size limit: the halt stands, says what to do, and the same command later records it."""
    limited = sqlite3.connect(settings.journal_path)
    pages = limited.execute("PRAGMA page_count").fetchone()[0]
    limited.close()
    handle.journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(GuardError, match="IS halted by the flag") as told:
        handle.halt("x" * 2_000_000)  # more than the free space inside its pages
    assert "disk" in str(told.value)
    handle.journal._connection.execute("PRAGMA max_page_count = 1000000")
    assert handle.halt("space again").clean
