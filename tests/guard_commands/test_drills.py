"""The drills of test-guards: every limit has one, all pass, a guard that would not act is found, nothing is left."""

import asyncio
import os
from dataclasses import replace

import pytest

from athena.live.guard_flag import flag_path
from athena.live.limits import LIMITS
from athena.ops import guard_drills
from athena.ops.guard_scratch import ScratchGuard
from athena.simulator.synthetic import SyntheticTape


def run(names=(), drills=guard_drills.DRILLS):
    return asyncio.run(guard_drills.run(lambda result: None, names, drills))


def test_every_limit_is_driven_to_refusal_and_back():
    """Each limit refuses by its own code, on record, and the same kind of order reaches the venue again after it."""
    results = run()
    assert [result.limit for result in results] == list(LIMITS)
    assert [result for result in results if not result.ok] == []


def test_a_limit_that_does_not_act_fails_the_drill():
    """An order that passes, or is refused for another reason, is not taken for the limit's refusal."""
    drills = dict(guard_drills.DRILLS)
    drills["max_order_quantity"] = replace(drills["max_order_quantity"], strict=10)
    drills["max_open_orders"] = replace(drills["max_open_orders"], code="ORDER_RATE")
    drills.pop("allow_short")
    passed, other, missing = run(["max_order_quantity", "max_open_orders", "allow_short"], drills)
    assert (passed.acted, passed.evidence) == (False, "it passed")
    assert not other.acted
    assert other.evidence.startswith("expected ORDER_RATE")
    assert (missing.ok, missing.evidence) == (False, "no drill knows this limit")


def test_a_way_back_that_stays_refused_fails_the_drill():
    """A limit that cannot be lifted again is a failure too."""
    drill = replace(guard_drills.DRILLS["max_order_quantity"], restored=1)
    (result,) = run(["max_order_quantity"], {"max_order_quantity": drill})
    assert result.acted
    assert not result.came_back
    assert "ORDER_QUANTITY" in result.back


def test_a_scratch_guard_leaves_nothing():
    """Journal, flag and lock of a drill are its own and are gone after it, also when the drill fails."""

    async def drill():
        async with ScratchGuard(SyntheticTape(7, ("AAPL",))) as desk:
            paths = [desk.settings.journal_path, flag_path(desk.settings.journal_path)]
            assert all(os.path.exists(path) for path in paths)
            return_paths.extend([*paths, paths[1].with_suffix(".engine")])
            raise RuntimeError("the drill fails")

    return_paths = []
    with pytest.raises(RuntimeError, match="the drill fails"):
        asyncio.run(drill())
    assert [path for path in return_paths if os.path.exists(path)] == []
