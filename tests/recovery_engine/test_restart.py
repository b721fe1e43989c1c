"""`athena gradual-restart`: stages entered, held, failed and fallen back from, on a session in this process."""

import json
from decimal import Decimal

import pytest

from athena.errors import GuardError
from athena.live import guard_resuming
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Origin, Scope
from athena.ops.restart import OWNER, Restart
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


def test_somebody_elses_halt_of_everything_is_not_lifted(trading):
    """The command says whose halt stands, and does nothing."""
    trading.guard.halt("wait for me", mode=Mode.HALTED, origin=Origin.OPERATOR)
    with pytest.raises(GuardError, match="wait for me"):
        restart(trading).run(0.05, lambda *_, **__: None)
    assert own(trading) == []
    assert json.dumps([halt.reason for halt in trading.guard.halts()]).count("wait for me") == 1
