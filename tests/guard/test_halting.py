"""Halts and resumes from other processes: flag first, rows with owners, nothing cleared by accident."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from athena.cli import main
from athena.config import Settings
from athena.errors import GuardError, ResumeRefused
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, H, S, boottime_ns
from athena.live.verdict import Approved
from athena.model import BrokerState, Mode, Origin, Scope, Side
from tests.guard.conftest import NOON, Filled, heard, intent, reconciled, until


def test_halt_binds_before_it_is_journaled(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """While the journal is locked by another, the flag already refuses, and the halt is recorded when the lock goes."""
    blocker = sqlite3.connect(engine.settings.journal_path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=lambda: handle.halt("locked out"))
    thread.start()
    until(lambda: not engine.flag.allows(), 2)
    assert engine.check(intent(), NOON) is not None
    blocker.execute("ROLLBACK")
    thread.join(10)
    assert [halt.reason for halt in handle.halts()] == ["locked out"]
    blocker.close()


@pytest.mark.parametrize("scope", ["symbol", "strategy"])
def test_scoped_halt_binds_only_its_own(engine: ExecutionGuard, handle: ExecutionGuard, scope: str) -> None:
    """A symbol's or a strategy's halt from another process binds the very next order of it and no other."""
    target = {"symbol": "AAPL", "strategy": "s"}[scope]
    handle.halt("odd", scope=Scope(scope), target=target)
    assert engine.admit(intent(strategy="s"), NOON).code == "GUARD_HALTED"  # type: ignore[union-attr]
    assert engine.admit(intent(symbol="MSFT", strategy="t"), NOON)
    handle.resume(**{scope: target}, override=True)
    assert engine.admit(intent(strategy="s"), NOON)


def test_halt_between_decision_and_journal_is_caught_at_the_gate(
    engine: ExecutionGuard, handle: ExecutionGuard
) -> None:
    """Rules that changed while an order was decided are seen inside the commit: it is decided again."""
    gate, real = engine.gate, engine.gate.check
    calls = []

    def check_then_halt(*arguments: object) -> object:
        verdict = real(*arguments)  # type: ignore[arg-type]
        calls.append(verdict)
        if len(calls) == 1:
            handle.halt("in between", scope=Scope.SYMBOL, target="AAPL")
        return verdict

    gate.check = check_then_halt  # type: ignore[method-assign, assignment]
    assert engine.admit(intent(), NOON).code == "GUARD_HALTED"  # type: ignore[union-attr]
    assert calls[0] is None


def test_constant_change_ends_in_a_refusal(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """An order whose rules change at every attempt is refused after a bounded number of them."""
    gate, real = engine.gate, engine.gate.check

    def check_then_change(*arguments: object) -> object:
        verdict = real(*arguments)  # type: ignore[arg-type]
        handle.set_limit("max_open_orders", 150)
        return verdict

    gate.check = check_then_change  # type: ignore[method-assign, assignment]
    assert engine.admit(intent(), NOON).code == "GUARD_BUSY"  # type: ignore[union-attr]


@pytest.mark.parametrize("scope", [Scope.GLOBAL, Scope.SYMBOL])
def test_approval_is_void_after_a_halt(engine: ExecutionGuard, handle: ExecutionGuard, scope: Scope) -> None:
    """A halt after the approval stops the send; for a global one not even a resume revives it."""
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    handle.halt("wait", scope=scope, target="" if scope is Scope.GLOBAL else "AAPL")
    if scope is Scope.GLOBAL:
        handle.resume(override=True)
    with engine.sending(verdict) as clear:
        assert not clear


def test_approval_survives_a_change_elsewhere(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A halt of another symbol does not take back an order already admitted."""
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    handle.halt("odd", scope=Scope.SYMBOL, target="MSFT")
    with engine.sending(verdict) as clear:
        assert clear
    with engine.sending(verdict) as again:
        assert not again  # one approval, one send


def test_halt_returns_after_the_send_in_flight(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A halt set while an order is being sent waits for it, and says that nothing is on its way any more."""
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    done: list[object] = []
    with engine.sending(verdict) as clear:
        assert clear
        thread = threading.Thread(target=lambda: done.append(handle.halt("now")))
        thread.start()
        until(lambda: not engine.flag.allows(), 2)
        time.sleep(0.05)  # the halt has long been journaled: it is waiting for us
        assert not done
    thread.join(5)
    assert done[0].clean  # type: ignore[attr-defined]


def test_halt_does_not_wait_for_the_dead(settings: Settings, handle: ExecutionGuard) -> None:
    """A send left behind by an engine that died is told of, and not waited for."""
    GuardFlag.open(settings.journal_path).words[S] = boottime_ns() - 10**9
    began = time.monotonic()
    halt = handle.halt("now")
    assert not halt.clean
    assert "died or hung" in halt.detail
    assert time.monotonic() - began < 2


def test_clearing_one_halt_never_clears_another(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Symbol, strategy, reconciliation and operator halts are separate rows; each resume clears its own scope."""
    handle.halt("a", scope=Scope.SYMBOL, target="AAPL")
    handle.halt("b", scope=Scope.STRATEGY, target="s")
    handle.halt("c", mode=Mode.REDUCE_ONLY)
    engine.halt("d", scope=Scope.SYMBOL, target="AAPL", origin=Origin.RECONCILIATION)
    engine.lift(Origin.RECONCILIATION, "agrees again", scope=Scope.SYMBOL, target="AAPL")
    assert {halt.reason for halt in handle.halts()} == {"a", "b", "c"}
    result = handle.resume(override=True)
    assert {halt.reason for halt in result.cleared} == {"c"}
    assert {halt.reason for halt in result.remaining} == {"a", "b"}
    with pytest.raises(GuardError, match="operator"):
        engine.lift(Origin.OPERATOR, "no")


def test_resume_refuses_until_reconciled_after_the_halt(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """The checklist wants a reconciliation newer than the halt; a failed one does not count; override is recorded."""
    heard(handle)
    handle.halt("look")
    with pytest.raises(ResumeRefused, match="reconciled") as refused:
        handle.resume(reason="early")
    assert refused.value.failed == ("reconciled",)
    assert not engine.flag.allows()
    handle.journal.append("reconciliation", {"trigger": "t", "ok": False, "breaks": [], "checked": {}})
    with pytest.raises(ResumeRefused):
        handle.resume(reason="still early")
    result = handle.resume(reason="I know", override=True)
    assert result.override
    row = handle.journal.one("SELECT cleared_reason, cleared_by FROM halts ORDER BY cleared_at DESC LIMIT 1")
    assert row is not None
    assert row["cleared_reason"] == "OVERRIDE of reconciled: I know"
    assert engine.admit(intent(), NOON)


def test_resume_refuses_while_the_loss_limit_is_breached(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A day's loss beyond its limit keeps trading halted until the limit is raised or the checklist overridden."""
    handle.halt("loss")
    reconciled(handle)
    facts = {"equity": "97000", "cash": "97000", "realised_pnl": "0", "unrealised_pnl": "0", "marks": {}}
    handle.journal.append("equity", facts, NOON)
    with pytest.raises(ResumeRefused, match=r"\$3,000.00 of \$2,000.00"):
        handle.resume()
    handle.set_limit("max_daily_loss_dollars", 5000)
    reconciled(handle)
    assert handle.resume().cleared


def test_newer_halt_makes_a_late_resume_fail(
    engine: ExecutionGuard, handle: ExecutionGuard, settings: Settings
) -> None:
    """A resume that names the halts it saw fails when another came, and trading stays halted."""
    other = ExecutionGuard(settings)
    handle.halt("first")
    real = handle.halts
    handle.halts = lambda: (real(), other.halt("second"))[0]  # type: ignore[method-assign]
    reconciled(other)
    with pytest.raises(ResumeRefused, match="came meanwhile"):
        handle.resume(override=True)
    assert not engine.flag.allows()
    assert {halt.reason for halt in other.halts()} == {"first", "second"}
    other.close()


def test_resume_by_id_leaves_the_rest(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Naming one of two global halts clears it alone; the other keeps everything halted."""
    first, second = handle.halt("first"), handle.halt("second")
    reconciled(handle)
    assert handle.resume(halt_ids=[second.id]).remaining == (handle.halts()[0],)
    assert not engine.flag.allows()
    with pytest.raises(ResumeRefused, match="does not stand"):
        handle.resume(halt_ids=[second.id])
    assert handle.resume(halt_ids=[first.id]).cleared
    until(engine.flag.allows)


def test_halt_of_a_dead_process_is_adopted(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A flag set by a process that died before journaling becomes a halt on record, which a resume must name."""
    engine.flag.halt()
    until(lambda: bool(handle.halts()), 5)
    (halt,) = handle.halts()
    assert (halt.reason, halt.origin) == ("halt flag set by another process that died", Origin.OPERATOR)
    assert not engine.flag.allows()


def test_resume_without_engine_does_not_pass_over_an_orphan(handle: ExecutionGuard) -> None:
    """With no guardian to adopt it, the resume itself records the orphan and refuses."""
    handle.flag.halt()
    with pytest.raises(ResumeRefused, match="unrecorded"):
        handle.resume()
    assert handle.resume(reason="seen").cleared


def test_interrupted_resume_is_finished(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A resume that died after its commit and before the flag is completed by the guardian."""
    halt = handle.halt("x")
    handle.journal.append(
        "halt.cleared", {"id": halt.id, "by": "tester", "reason": "killed after this", "override": False}
    )
    until(engine.flag.allows)


def test_halt_with_expiry_ends_by_itself(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A halt that was given a time clears itself then, and no other with it."""
    handle.halt("stays", scope=Scope.SYMBOL, target="AAPL")
    handle.halt("goes", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    assert not engine.flag.allows()
    until(engine.flag.allows)
    assert [halt.reason for halt in handle.halts()] == ["stays"]
    with pytest.raises(GuardError, match="expire"):
        handle.halt("too late", expires_at=datetime.now(UTC) - timedelta(seconds=1))


def test_disconnection_halts_and_only_its_own_halt_is_lifted(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """The venue gone past its limit halts everything; coming back lifts that halt and not the operator's."""
    handle.set_limit("max_disconnect_seconds", 1)
    assert engine.check(intent(), NOON) is None
    engine.on_broker_state(BrokerState.RECONNECTING)
    until(lambda: bool(handle.halts()), 5)
    assert handle.halts()[0].origin is Origin.CONNECTIVITY
    handle.halt("mine too")
    engine.on_broker_state(BrokerState.CONNECTED)
    engine.lift(Origin.CONNECTIVITY, "back and reconciled")
    assert [halt.reason for halt in handle.halts()] == ["mine too"]
    assert not engine.flag.allows()


def test_a_second_outage_halts_without_an_order_between(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """The guardian goes by halts and limits as they stand: no quote and no order needs to come after the first lift."""
    handle.set_limit("max_disconnect_seconds", 1)
    for _ in range(2):
        engine.gate.disconnected_ns = boottime_ns() - 2_000_000_000
        until(lambda: not engine.flag.allows() and bool(handle.halts()), 5)
        assert [halt.origin for halt in handle.halts()] == [Origin.CONNECTIVITY]
        engine.on_broker_state(BrokerState.CONNECTED)
        engine.lift(Origin.CONNECTIVITY, "back and reconciled")
        until(engine.flag.allows, 5)


def test_start_is_halted_and_replaces_earlier_starts(started: ExecutionGuard, settings: Settings) -> None:
    """Every engine start halts; the halt of an earlier start does not pile up."""
    started.close()
    second = ExecutionGuard(settings)
    halt = second.start()
    second.start_guardian()
    assert second.halts() == (halt,) or [h.id for h in second.halts()] == [halt.id]
    assert not second.flag.allows()
    second.close()


def test_resume_without_engine_says_so(handle: ExecutionGuard) -> None:
    """Clearing an operator's halt works with no engine, and tells that nothing trades all the same."""
    handle.halt("x")
    result = handle.resume(reason="done")
    assert not result.engine_running
    assert "engine is not running" in str(result)
    assert not handle.get_status().passes
    assert "engine is not running" in handle.get_status().why


def test_playbook_snippets(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> None:
    """The playbook's lines run as they stand on a handle, top-level await included."""
    filled(Side.BUY, "10", "100.01")
    engine.admit(intent(Side.BUY, "1000000"), NOON)
    guard = handle
    reconciled(engine)
    guard.is_active = True
    before = guard.config.max_position_per_symbol_dollars
    guard.config.max_position_per_symbol_dollars *= 0.5
    assert guard.config.max_position_per_symbol_dollars == before / 2
    recent = [v for v in guard.violations if v.timestamp > datetime.now() - timedelta(hours=1)]  # noqa: DTZ005
    assert [f"{v.type.value}" for v in recent] == ["ORDER_QUANTITY"]
    assert f"{recent[0].timestamp}: {recent[0].type.value} - {recent[0].message}"
    assert len([t for t in guard._order_timestamps if t > datetime.now() - timedelta(minutes=1)]) == 1  # noqa: DTZ005
    asyncio.run(guard.force_halt("Manual halt"))
    assert not guard.is_active
    reconciled(engine)
    asyncio.run(guard.resume_trading())
    assert guard.is_active
    asyncio.run(guard.force_halt("", symbol="aapl"))
    assert engine.admit(intent(), NOON).code == "GUARD_HALTED"  # type: ignore[union-attr]
    assert "AAPL" in str(guard.get_status())
    guard.is_active = False
    assert not guard.is_active


BROKEN: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "corrupt": lambda path: path.write_bytes(b"not a database at all" * 500),
    "empty folder": lambda path: [item.unlink() for item in path.parent.iterdir()] and None,
}


@pytest.mark.parametrize("damage", list(BROKEN))
def test_halt_with_a_broken_journal_sets_the_flag_and_says_so(
    settings: Settings, handle: ExecutionGuard, damage: str
) -> None:
    """A missing or corrupt journal leaves the flag set, raises GuardError, and creates no journal."""
    flag = GuardFlag.open(settings.journal_path)
    flag.acknowledge(flag.halt())
    flag.renew(60)
    BROKEN[damage](settings.journal_path)
    with pytest.raises(GuardError, match="IS halted by the flag"):
        handle.halt("help")
    assert not flag.allows()
    assert damage == "corrupt" or not settings.journal_path.exists()
    with pytest.raises(GuardError, match="NOT halted"):
        handle.halt("help", scope=Scope.SYMBOL, target="AAPL")


def test_a_halt_under_a_mistyped_home_says_that_nothing_lives_there(
    settings: Settings, handle: ExecutionGuard, tmp_path: Path
) -> None:
    """The flag of that place is set; the message says that nothing was stopped, and which accounts the home has."""
    mistyped = ExecutionGuard(replace(settings, account="simulatr"))
    for scope, target, told in ((Scope.GLOBAL, "", "NO LIVE SYSTEM IS HERE"), (Scope.SYMBOL, "AAPL", "NOT halted")):
        with pytest.raises(GuardError, match=told) as raised:
            mistyped.halt("help", scope=scope, target=target)
        assert settings.account_name in raised.value.hint
    assert mistyped.flag.words[H] != 0
    assert not mistyped.settings.journal_path.exists()
    mistyped.close()


HALT = """
import sys
from athena.config import Settings
from athena.live.execution_guard import ExecutionGuard
guard = ExecutionGuard.get_instance(Settings.load(lenient=True))
guard.flag.halt()
early = set(sys.modules)
guard.halt("from the command line")
heavy = {"pandas", "numpy", "alpaca", "plotly", "sqlalchemy", "aiohttp", "rich", "asyncio"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
wasted = heavy | {"sqlite3", "logging", "socket", "subprocess", "email", "http", "argparse"}
assert not wasted & early, wasted & early
print(sum(name.startswith("athena") for name in early))
"""


def test_flag_is_set_before_anything_slow_is_imported(engine: ExecutionGuard, settings: Settings) -> None:
    """A new process sets the flag with a score of Athena's modules: no database, network or table before it.

    How long that takes, `make bench ARGS=guard` tells.
    """
    done = subprocess.run(
        [sys.executable, "-c", HALT], env=os.environ | {"ATHENA_HOME": str(settings.home)},
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip
    assert not engine.flag.allows()
    assert int(done.stdout) <= 20


def test_words_and_reason_are_both_recorded_and_a_limits_mistyped_target_is_doubted(
    handle: ExecutionGuard, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """`athena halt AAPL --reason WHY` keeps both; `athena limits ... --symbol APPL` is set, and not in silence."""
    at_home = ["--home", str(settings.home)]
    assert main(["halt", "AAPL", "--reason", "bad prints", *at_home]) == 0
    assert [halt.reason for halt in handle.halts() if halt.origin is Origin.OPERATOR] == ["AAPL: bad prints"]
    assert main(["limits", "max_order_quantity", "50", "--symbol", "APPL", "--reason", "thin", *at_home]) == 0
    assert "APPL is no symbol of this system, so it may bind nothing. Did you mean 'AAPL'?" in capsys.readouterr().err
    assert main(["limits", "max_order_quantity", "50", "--symbol", "AAPL", "--reason", "thin", *at_home]) == 0
    assert capsys.readouterr().err == ""
