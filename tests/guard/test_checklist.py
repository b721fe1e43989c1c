"""The checklist for resuming as data: each line holds, or says what was seen and what to do."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from athena.config import Settings
from athena.errors import ResumeRefused
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_checklist import Line
from athena.model import Mode, Origin, Scope
from tests.guard.conftest import HEALTHY, heard, quote, reconciled


def line(guard: ExecutionGuard, name: str, symbol: str | None = None) -> Line:
    (found,) = [each for each in guard.checklist(symbol) if each.name.startswith(name)]
    return found


def test_every_line_of_a_healthy_system_holds(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """After a reconciliation on a healthy connection all lines hold, and a resume does what they say."""
    assert handle.checklist() == ()  # nothing is halted
    handle.halt("look")
    assert not line(handle, "reconciled").holds
    reconciled(handle)
    lines = handle.checklist()
    assert {each.name for each in lines} == {
        "journal writable", "reconciled", "streams fresh", "clock skew", "daily loss", "cause: tester",
    }  # fmt: skip
    assert all(each.holds and not each.next for each in lines), lines
    assert handle.resume().checks == lines


@pytest.mark.parametrize(
    ("broker", "name"),
    [
        ({"state": "reconnecting"}, "streams fresh"),
        ({"streams": {"trading": "connected", "data": "disconnected"}}, "streams fresh"),
        ({"streams": {"trading": "reconnecting", "data": "connected"}}, "streams fresh"),
        ({"clock_skew_seconds": 2.5}, "clock skew"),
        ({"clock_skew_seconds": -2.5}, "clock skew"),
    ],
)
def test_a_sick_connection_refuses(
    engine: ExecutionGuard, handle: ExecutionGuard, broker: dict[str, Any], name: str
) -> None:
    """Any stream down, or clocks apart, refuses with that line's name and a next step."""
    handle.halt("look")
    reconciled(handle)
    heard(handle, **broker)
    found = line(handle, name)
    assert not found.holds
    assert found.next
    with pytest.raises(ResumeRefused) as refused:
        handle.resume()
    assert refused.value.failed == (name,)


def test_a_connected_row_of_one_stream_is_not_a_connection(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """The last journaled row may be any stream's; only the broker's own heartbeat counts."""
    engine.halt("gone", origin=Origin.CONNECTIVITY)
    reconciled(handle)
    heard(handle, state="disconnected")
    handle.journal.append(
        "broker.state", {"broker": "alpaca/data", "state": "connected", "previous": "connecting", "reason": ""}
    )
    with pytest.raises(ResumeRefused, match="broker is disconnected"):
        handle.resume()


def test_silence_and_missing_measurements_do_not_hold(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """No heartbeat, an old one, one from the future or one without a measured skew: unknown refuses."""
    handle.halt("look")
    heartbeats = sqlite3.connect(handle.settings.journal_path, isolation_level=None)
    for seconds in (6, -30):
        heard(handle)
        at = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        heartbeats.execute("UPDATE heartbeats SET at = ?", (at,))
        assert not line(handle, "streams fresh").holds
    heartbeats.close()
    unmeasured = {key: value for key, value in HEALTHY.items() if key != "clock_skew_seconds"}
    handle.journal.heartbeat("broker", unmeasured)
    assert line(handle, "streams fresh").holds
    assert line(handle, "clock skew").seen == "not measured"


@pytest.mark.parametrize(("age", "speed", "holds"), [(5, 1, True), (31, 1, False), (31, 390, True), (None, 1, False)])
def test_quotes_must_arrive_while_the_session_is_open(
    engine: ExecutionGuard, handle: ExecutionGuard, age: float | None, speed: float, holds: bool
) -> None:
    """Connected streams that bring no quotes in an open session are not fresh."""
    handle.halt("look")
    heard(handle)
    facts = {"state": "running", "session": "open", "market_data_age_seconds": age, "speed": speed}
    handle.journal.heartbeat("engine", facts)
    assert line(handle, "streams fresh").holds is holds


def test_an_old_reconciliation_is_old_by_sequence(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A reconciliation before the halt does not count, though a clock set back makes its time the later one."""
    handle.journal.append("reconciliation", {"trigger": "t", "ok": True, "breaks": [], "checked": {}})
    heard(handle)
    halt = handle.halt("look")
    later = sqlite3.connect(handle.settings.journal_path, isolation_level=None)
    later.execute("UPDATE halts SET at = '2001-01-01T00:00:00.000000Z' WHERE id = ?", (halt.id,))
    later.execute("UPDATE reconciliations SET at = '2099-01-01T00:00:00.000000Z'")
    later.close()
    assert not line(handle, "reconciled").holds


def test_a_halt_elsewhere_does_not_age_the_reconciliation(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Resuming everything needs a look after everything's halts; one of a symbol that came later asks for its own."""
    handle.halt("look")
    reconciled(handle)
    handle.halt("odd", scope=Scope.SYMBOL, target="AAPL")
    assert line(handle, "reconciled").holds
    assert not line(handle, "reconciled", "AAPL").holds


@pytest.mark.parametrize(("bid", "ask", "holds"), [("100", "100.5", True), ("100", "102", False), ("0", "1", False)])
def test_slippage_is_addressed_when_the_spread_is_back(
    engine: ExecutionGuard, handle: ExecutionGuard, bid: str, ask: str, holds: bool
) -> None:
    """A symbol halted for slippage resumes when half its spread is inside the limit again; no quote is no evidence."""
    engine.halt("slipped", scope=Scope.SYMBOL, target="AAPL", origin=Origin.GUARD, owner="max_slippage_bps")
    reconciled(handle)
    assert not line(handle, "cause", "AAPL").holds
    handle.journal.put_marks([quote(bid=bid, ask=ask)])
    assert line(handle, "cause", "AAPL").holds is holds


@pytest.mark.parametrize(("fall", "holds"), [("14.99", True), ("15.00", False), (None, False)])
def test_drawdown_is_addressed_below_its_tier(
    engine: ExecutionGuard, handle: ExecutionGuard, fall: str | None, holds: bool
) -> None:
    """A drawdown halt resumes when the fall, as the engine tells it, is under the tier; unknown is not under."""
    engine.halt("fell", origin=Origin.GUARD, owner="drawdown_halt_percent")
    handle.journal.heartbeat("engine", {"state": "stopped", "guard": {"drawdown_halt_percent": fall} if fall else {}})
    assert line(handle, "cause").holds is holds


def test_a_locked_journal_is_a_line(settings: Settings, handle: ExecutionGuard) -> None:
    """While another process holds the journal, the checklist answers with that line instead of an error."""
    handle.halt("look")
    blocker = sqlite3.connect(settings.journal_path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    (found,) = handle.checklist()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (found.name, found.holds) == ("journal writable", False)
    assert "locked" in found.seen


def test_without_an_engine_only_rows_are_cleared(handle: ExecutionGuard) -> None:
    """With no engine nothing trades: what only an engine can show is not asked, and the line says so."""
    handle.halt("look", mode=Mode.REDUCE_ONLY)
    assert [each.name for each in handle.checklist()] == ["journal writable", "engine"]


def test_resuming_nothing_is_harmless(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """With nothing halted there is nothing to check, and nothing to approve."""
    handle.set_limit("require_second_approver", True)
    assert handle.resume().cleared == ()
