"""`athena gradual-restart`: stages entered, held, failed and fallen back from, on a session in this process."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from athena.errors import GuardError
from athena.live import approvals, guard_resuming
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Origin, Scope
from athena.ops.restart import OWNER, SCALED, Restart
from tests.engine.session import Trading


class Half(Restart):
    """The restart with the engine's answer to `reconcile` given by this process, where no desk serves commands."""

    trading = None

    def _reconcile(self):
        return self.trading.look("restart").ok


@pytest.fixture
def trading(tmp_path, monkeypatch):
    made = Trading(tmp_path)
    # No desk serves commands in a session by hand: what the engine would do when asked is done here.
    monkeypatch.setattr(guard_resuming, "reconcile_now", lambda journal: made.look("resume"))
    yield made
    made.close()


def beat(trading, **more):
    facts = {"state": "running", "strategies": {"scripted": ["AAPL"], "other": ["MSFT"]}, "failures": []}
    trading.journal.heartbeat("engine", facts | more, trading.clock.now())
    streams = {"streams": {"trading": "connected", "data": "connected"}, "state": "connected"}
    trading.journal.heartbeat("broker", streams | {"clock_skew_seconds": 0.0}, trading.clock.now())


def restart(trading):
    beat(trading)
    made = Half(ExecutionGuard(trading.settings), trading.journal, "scripted", Decimal("0.25"))
    made.trading = trading
    return made


def own(trading):
    return sorted((h.scope.value, h.target, h.mode.value) for h in trading.guard.halts() if h.owner == OWNER)


def test_each_stage_restricts_less_and_full_leaves_nothing_of_it(trading):
    """Halted, reduce-only, one strategy at a quarter of its limits, full: and an operator's halt is untouched."""
    mine = trading.guard.halt("mine", scope=Scope.SYMBOL, target="MSFT")
    said, seen = [], []

    def say(stage, what, **facts):
        said.append((stage, what))
        seen.append((stage, own(trading), trading.guard.limits("strategy:scripted")["max_order_notional_dollars"]))

    assert restart(trading).run(0.05, say, lambda seconds: beat(trading))
    assert [stage for stage, what in said if what == "entered"] == ["reconcile", "exits", "one", "full"]
    by_stage = {stage: (halts, limit) for stage, halts, limit in seen}
    assert by_stage["reconcile"] == ([("global", "", "halted")], Decimal(10_000))
    assert by_stage["exits"] == ([("global", "", "reduce_only")], Decimal(10_000))
    assert by_stage["one"] == ([("strategy", "other", "halted")], Decimal(2_500))
    assert by_stage["full"] == ([], Decimal(10_000))
    assert [halt.id for halt in trading.guard.halts()] == [mine.id]


def test_an_unhealthy_stage_falls_back_by_itself_and_stays_there(trading):
    """A failure in the second stage leads back to the first, three times, and there it stands with exit code 10."""
    said = []

    def worse(seconds):
        exits = said and said[-1][0] == "exits"
        beat(trading, failures=["task marks"] if exits else [])

    stands = restart(trading).run(1.0, lambda stage, what, **facts: said.append((stage, what)), worse)
    assert not stands
    assert said.count(("exits", "failed")) == 3
    assert said[-1] == ("reconcile", "stands")
    assert ("global", "", "halted") in own(trading)
    assert not trading.guard.is_active


@pytest.mark.parametrize("origin", [Origin.OPERATOR, Origin.GUARD, Origin.STARTUP])
def test_a_halt_of_everything_that_comes_meanwhile_is_neither_lifted_nor_passed_by(trading, origin):
    """HALT pressed by a colleague, the daily loss, an engine that crashed and started: it falls back and stands."""
    said, came = [], []

    def say(stage, what, **facts):
        said.append((stage, what))

    def halting(seconds):
        beat(trading)
        if said[-1] == ("one", "entered") and not came:
            came.append(trading.guard.halt("meanwhile", origin=origin, owner="somebody"))

    assert not restart(trading).run(1.0, say, halting)
    assert said[-1][1] == "stands"
    assert "full" not in {stage for stage, _ in said}
    assert came[0].id in {halt.id for halt in trading.guard.halts()}


def test_interrupted_in_the_third_stage_the_next_run_knows_what_the_limits_were(trading):
    """Ctrl-C leaves the stage standing, smaller limits included; the next run restores them at full."""
    trading.guard.set_limit("max_order_notional_dollars", "8000", target="strategy:scripted", reason="an operator's")

    def interrupt(seconds):
        beat(trading)
        if ("strategy", "other", "halted") in own(trading):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restart(trading).run(0.05, lambda *_, **__: None, interrupt)
    assert trading.guard.limits("strategy:scripted")["max_order_notional_dollars"] == Decimal(2_000)
    assert restart(trading).run(0.05, lambda *_, **__: None, lambda seconds: beat(trading))
    assert trading.guard.limits("strategy:scripted")["max_order_notional_dollars"] == Decimal(8_000)
    assert own(trading) == []


@pytest.fixture
def bob(trading):
    """A second operator of a system where nothing is lifted without one."""
    trading.guard.set_limit(approvals.SETTING, True)
    guard = ExecutionGuard(replace(trading.settings, operator="bob"))
    yield guard
    guard.close()


def test_with_a_second_approver_each_stage_waits_for_another_operator(trading, bob):
    """The stage before is held until all that the next one lifts is approved; at full the limits are as before."""
    said = []

    def approving(seconds):
        beat(trading)
        if said[-1][1] == "waits":
            for request in bob.requests():
                bob.approve(request.id)

    assert restart(trading).run(0.05, lambda stage, what, **facts: said.append((stage, what, facts)), approving)
    assert [(stage, what) for stage, what, _ in said] == [
        ("reconcile", "entered"), ("reconcile", "waits"), ("exits", "entered"), ("exits", "waits"), ("one", "entered"),
        ("one", "waits"), ("full", "entered"), ("full", "reached"),
    ]  # fmt: skip
    assert len(said[-3][2]["next"].split()) == len(SCALED) + 3  # "athena approve", the limits, the halts: at once
    assert own(trading) == []
    assert trading.guard.limits("strategy:scripted")["max_order_notional_dollars"] == Decimal(10_000)
    cleared = trading.journal.query("SELECT DISTINCT cleared_by FROM halts WHERE owner = ?", (OWNER,))
    assert [row[0] for row in cleared] == [f"{trading.settings.operator}, approved by bob"]


def test_unapproved_in_time_it_stands_where_it_was_and_an_unhealthy_wait_falls_back(trading, bob, monkeypatch):
    """The requests run out: the stage before stands. While it waits the stage is watched all the same."""
    monkeypatch.setattr(approvals, "EXPIRY", timedelta(seconds=0.3))
    said = []

    def say(stage, what, **facts):
        said.append((stage, what))

    def worse(seconds):
        beat(trading, failures=["task marks"])

    assert not restart(trading).run(0.05, say, lambda seconds: beat(trading) if said[-1][1] == "entered" else worse(0))
    assert said.count(("reconcile", "failed")) == 3
    said.clear()
    assert not restart(trading).run(0.05, say, lambda seconds: beat(trading))
    assert said == [("reconcile", "entered"), ("reconcile", "waits"), ("reconcile", "stands")]
    assert ("global", "", "halted") in own(trading)
    assert not trading.guard.is_active


def test_somebody_elses_halt_of_everything_is_not_lifted(trading):
    """The command says whose halt stands, and does nothing."""
    trading.guard.halt("wait for me", mode=Mode.HALTED, origin=Origin.OPERATOR)
    with pytest.raises(GuardError, match="wait for me"):
        restart(trading).run(0.05, lambda *_, **__: None)
    assert own(trading) == []
    assert json.dumps([halt.reason for halt in trading.guard.halts()]).count("wait for me") == 1
