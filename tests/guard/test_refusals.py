"""Refusals that repeat: the first on record at once, the rest as one line with their number, none of them lost."""

from __future__ import annotations

from datetime import timedelta

from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import boottime_ns
from athena.live.guard_refusals import WINDOW_SECONDS
from athena.model import Scope, Side
from tests.guard.conftest import NOON, exit_of, intent


def counted(guard: ExecutionGuard) -> int:
    row = guard.journal.one("SELECT COALESCE(SUM(times), 0), COUNT(*) FROM violations")
    assert row is not None
    assert row[0] == guard.get_status().violations_today == sum(v.times for v in guard.violations)
    return int(row[0])


def storm(guard: ExecutionGuard, times: int, strategy: str = "s", symbol: str = "AAPL") -> None:
    for _ in range(times):
        assert not guard.admit(intent(strategy=strategy, symbol=symbol), NOON)


def pass_window(guard: ExecutionGuard, windows: int = 1) -> None:
    guard.gate.refusals.tell(guard.journal, boottime_ns() + windows * (WINDOW_SECONDS + 1) * 10**9)


def test_a_storm_is_two_lines_with_its_number(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A thousand refusals of one strategy leave its first at once and one line for the rest, in every count."""
    handle.halt("stop")
    before = engine.journal.head()[0]
    storm(engine, 1000)
    assert engine.journal.head()[0] == before + 1
    pass_window(engine)
    assert engine.journal.head()[0] == before + 2
    assert counted(handle) == 1000
    first, rest = handle.violations
    assert (first.times, rest.times, rest.type, rest.strategy) == (1, 999, first.type, "s")
    assert "999 times" in str(rest)


def test_each_strategy_symbol_and_code_has_its_own_first(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Another strategy, another symbol or another reason is news, whatever storm is going on."""
    handle.halt("odd", scope=Scope.SYMBOL, target="AAPL")
    handle.halt("odd", scope=Scope.SYMBOL, target="MSFT")
    storm(engine, 3)
    storm(engine, 3, "t")
    storm(engine, 3, "s", "MSFT")
    handle.resume("AAPL", override=True)
    assert not engine.admit(intent(strategy="s", quantity="1000000"), NOON)
    assert [violation.times for violation in handle.violations] == [1, 1, 1, 1]
    engine.gate.tell_refusals(all_=True)
    assert counted(handle) == 10


def test_a_storm_that_goes_on_is_one_line_a_window(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """While it lasts each window adds one line; when it has ended the next refusal is a first again."""
    handle.halt("stop")
    for number in (1, 2, 3):
        storm(engine, 10)
        pass_window(engine, number)
    assert [violation.times for violation in handle.violations] == [1, 9, 10, 10]
    engine.gate.refusals.tell(engine.journal, boottime_ns() + 60 * 10**9)
    storm(engine, 1)
    assert [violation.times for violation in handle.violations] == [1, 9, 10, 10, 1]


def test_an_operators_exit_is_never_folded(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Every refused exit has its own line: an operator reads them one by one."""
    for _ in range(3):
        assert not engine.admit(exit_of(Side.SELL, "5"), NOON + timedelta(seconds=1))
    assert [violation.times for violation in handle.violations] == [1, 1, 1]


def test_a_graceful_end_tells_the_rest(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Closing the engine's guard journals what was counted; the chain and the tables agree."""
    handle.halt("stop")
    storm(engine, 50)
    engine.close()
    row = handle.journal.one("SELECT SUM(times) FROM violations")
    assert row is not None
    assert row[0] == 50
    assert handle.journal.verify().ok
