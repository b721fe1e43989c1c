"""check_order and the guard it speaks for: the same verdict, the same limit, and nothing written."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from athena.errors import SettingsError
from athena.live.check_order import check_order
from athena.live.execution_guard import ExecutionGuard
from athena.model import OrderIntent, OrderType, Scope, Side
from athena.ops.guard_scratch import SYMBOL, ScratchGuard
from athena.simulator.synthetic import SyntheticTape

TAPE = SyntheticTape(7, (SYMBOL,))


def on_a_desk(work, **facts):
    """Runs `work(desk)` with a live guard beside it and a heartbeat that says so."""

    async def run():
        async with ScratchGuard(TAPE, **facts) as desk:
            beat(desk)
            try:
                return await work(desk)
            finally:
                ExecutionGuard.get_instance(desk.settings).close()

    return asyncio.run(run())


def beat(desk):
    desk.guard.journal.heartbeat("engine", {"state": "running", "speed": 1}, desk.clock.now())
    desk.guard.journal.put_marks([desk.quote])


ORDERS = [
    # side, quantity, limit as a multiple of the ask, limits set before
    ("buy", 10, None, {}),
    ("buy", 10, "1.0", {}),
    ("sell", 10, None, {}),
    ("buy", 1000, None, {}),
    ("buy", 10, "1.2", {}),
    ("buy", 20_000, "0.5", {}),
    ("sell", 10, None, {"allow_short": False}),
    ("buy", 10, None, {"max_order_quantity": 9}),
    ("buy", 10, None, {"max_gross_exposure_dollars": 100}),
    ("buy", 10, None, {"max_orders_per_minute": 0}),
    ("buy", 10, None, {"restricted_symbols": [SYMBOL]}),
    ("sell", 300, None, {}),
]


@pytest.mark.parametrize(("side", "quantity", "multiple", "limits"), ORDERS)
def test_same_verdict_as_the_engines_guard(side, quantity, multiple, limits):
    """Another process's check_order gives the code and the numbers that the engine's own guard gives."""

    async def work(desk):
        await desk.send(desk.intent(Side.BUY, 20))  # so that there is a position and a history
        for name, value in limits.items():
            desk.limit(name, value)
        price = None if multiple is None else (desk.quote.ask * Decimal(multiple)).quantize(Decimal("0.01"))
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        intent = OrderIntent("k", SYMBOL, Side(side), Decimal(quantity), kind, price)
        theirs = desk.guard.check(intent, desk.clock.now())
        ours = check_order(SYMBOL, side, quantity, price, settings=desk.settings)
        return theirs, ours

    theirs, ours = on_a_desk(work)
    assert ours.passes is (theirs is None)
    if theirs is not None:
        assert (ours.refused.code, ours.refused.observed, ours.refused.limit) == (
            theirs.code, theirs.observed, theirs.limit,
        )  # fmt: skip


def test_nothing_is_journaled_and_the_largest_quantity_is_exact():
    """Asking leaves no event; the largest quantity passes, one share more does not."""

    async def work(desk):
        before = desk.guard.journal.head()
        most = check_order(SYMBOL, "buy", 10, settings=desk.settings).largest
        passes = [check_order(SYMBOL, "buy", most + n, settings=desk.settings).passes for n in (0, 1)]
        return before == desk.guard.journal.head(), most, passes

    unchanged, most, passes = on_a_desk(work)
    assert unchanged
    assert most > 0
    assert passes == [True, False]


def test_headroom_counts_this_order_and_what_is_open():
    """A limit's headroom is what remains after this order, open orders included; the binding one is named."""

    async def work(desk):
        await desk.send(desk.intent(Side.BUY, 10, desk.quote.bid * Decimal("0.98")))  # rests
        desk.limit("max_position_per_symbol_dollars", 2000)
        return check_order(SYMBOL, "buy", 15, settings=desk.settings), desk.quote.ask

    found, ask = on_a_desk(work)
    line = next(one for one in found.limits if one.name == "max_position_per_symbol_dollars")
    assert line.observed == (25 * ask).quantize(Decimal("0.01"))
    assert line.headroom == Decimal(2000) - line.observed
    assert found.binds is line
    assert next(one for one in found.limits if one.name == "max_open_orders").observed == 1
    facts = found.to_dict()
    assert facts["passes"] is True
    assert facts["binds"] == "max_position_per_symbol_dollars"


def test_a_halt_refuses_and_the_limits_can_still_be_read():
    """Under a symbol's halt the order is refused by it, with every limit's headroom beside."""

    async def work(desk):
        desk.guard.halt("spread", scope=Scope.SYMBOL, target=SYMBOL)
        return check_order(SYMBOL, "buy", 10, settings=desk.settings)

    found = on_a_desk(work)
    assert found.refused.code == "GUARD_HALTED"
    assert "spread" in found.refused.message
    assert found.limits
    assert all(line.passes for line in found.limits)


def test_drawdown_shrinks_what_check_order_allows():
    """In the first tier the limits on size are the shrunk ones, and it says so."""

    async def work(desk):
        desk.limit("drawdown_reduce_size_percent", "0.1")
        before = check_order(SYMBOL, "buy", 10, settings=desk.settings).largest
        equity = {"equity": 10_050, "cash": 10_050, "realised_pnl": 0, "unrealised_pnl": 0, "marks": {}}
        desk.guard.journal.append("equity", equity, desk.clock.now())  # it once was 0.5 % more than now
        return before, check_order(SYMBOL, "buy", 10, settings=desk.settings)

    before, after = on_a_desk(work, cash=10_000)
    assert after.largest < before
    assert any("shrinks" in note for note in after.notes)


def test_stale_quote_of_the_engine_refuses():
    """An engine whose quote is old would refuse, and so does the answer."""

    async def work(desk):
        later = desk.clock.now() + timedelta(seconds=90)
        desk.guard.journal.heartbeat("engine", {"state": "running", "speed": 1}, later)
        return check_order(SYMBOL, "buy", 10, settings=desk.settings)

    found = on_a_desk(work)
    assert found.refused.code == "QUOTE_STALE"
    assert [line.name for line in found.limits if not line.passes] == ["max_quote_age_seconds"]


@pytest.mark.parametrize("arguments", [("byu", 1), ("buy", "ten"), ("buy", 0), ("buy", "NaN"), ("buy", -1)])
def test_nonsense_is_refused_by_name(arguments, tmp_path):
    """A side or number that is none raises SettingsError before anything is read."""
    with pytest.raises(SettingsError):
        check_order(SYMBOL, *arguments)
