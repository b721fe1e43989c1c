"""What the guard does by itself, once, with its evidence; and what a restart remembers of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from athena.config import Settings
from athena.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_checks import check
from athena.live.guard_load import load_book
from athena.live.guard_rules import Rules
from athena.model import CashFlow, Mode, Origin, Scope, Side
from tests.guard.conftest import (
    BOUND,
    NOON,
    D,
    Filled,
    exit_of,
    fill,
    intent,
    limit,
    make_journal,
    quote,
    reconciled,
    settings_in,
    take_fill,
)

BUY, SELL = Side.BUY, Side.SELL


def codes(guard: ExecutionGuard) -> list[str]:
    return [violation.type.value for violation in guard.violations]


def test_daily_loss_halts_everything_once(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> None:
    """A fall of the marks past the loss limit halts all, once, however many quotes follow."""
    engine.set_limit("max_daily_loss_dollars", 100)
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="90.01", ask="90.03"))
    assert handle.halts() == ()
    for _ in range(5):
        engine.on_quote(quote(bid="89.99", ask="90.01"))
    (halt,) = handle.halts()
    assert (halt.mode, halt.scope, halt.origin, halt.owner) == (
        Mode.HALTED,
        Scope.GLOBAL,
        Origin.GUARD,
        "max_daily_loss_dollars",
    )
    assert codes(handle) == ["DAILY_LOSS"]
    assert not engine.flag.allows()


def test_overridden_loss_counts_from_there(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> None:
    """After an override the same loss does not halt again at once; as much again does."""
    engine.set_limit("max_daily_loss_dollars", 100)
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    handle.resume(override=True)
    assert engine.check(intent(), NOON) is None
    engine.on_quote(quote(bid="85.99", ask="86.01"))
    assert handle.halts() == ()
    engine.on_quote(quote(bid="79.99", ask="80.01"))
    assert len(handle.halts()) == 1


@pytest.mark.parametrize("news", ["quote", "fill", "cash flow"])
def test_a_tightened_loss_limit_is_watched_without_an_order(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled, news: str
) -> None:
    """A loss limit that another process tightens binds at the next news of any kind, not at the next order."""
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="91.99", ask="92.01"))  # $80 lost
    handle.set_limit("max_daily_loss_dollars", 50)
    if news == "quote":
        engine.on_quote(quote(bid="91.99", ask="92.01"))
    elif news == "fill":
        take_fill(engine, fill(intent(BUY, "1"), "1", "92"))
    else:
        engine.on_cash_flow(CashFlow("f", "FEE", D("-0.01"), NOON))
    assert [halt.owner for halt in handle.halts()] == ["max_daily_loss_dollars"]
    assert not engine.flag.allows()


def test_a_loss_after_an_override_halts_without_an_order(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled
) -> None:
    """What is acknowledged is the loss of the override's moment: a fall right after it halts at the first quote."""
    engine.set_limit("max_daily_loss_dollars", 100)
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    handle.resume(override=True)
    engine.on_quote(quote(bid="79.99", ask="80.01"))
    assert [halt.owner for halt in handle.halts()] == ["max_daily_loss_dollars"]
    assert engine.gate.book.loss_acknowledged == 100


@pytest.fixture
def overridden(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> ExecutionGuard:
    """The engine's guard, halted at a loss of $100 of $100 and resumed by override, with 10 shares of $90."""
    engine.set_limit("max_daily_loss_dollars", 100)
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    handle.resume(override=True)
    assert engine.check(intent(), NOON) is None
    return engine


def test_an_automatic_lift_acknowledges_no_loss(overridden: ExecutionGuard, handle: ExecutionGuard) -> None:
    """After an override each outage and its lift grants nothing: as much again as was acknowledged halts for good."""
    for price in (82, 81):
        overridden.on_quote(quote(bid=f"{price}", ask=f"{price}"))
        handle.halt("the venue is gone", origin=Origin.CONNECTIVITY)
        assert overridden.check(intent(), NOON).code == "GUARD_HALTED"  # type: ignore[union-attr]
        handle.lift(Origin.CONNECTIVITY, "back, and the books agree")
        assert overridden.check(intent(), NOON) is None
        assert overridden.gate.book.loss_acknowledged == 100
    overridden.on_quote(quote(bid="80", ask="80"))
    assert [halt.owner for halt in handle.halts()] == ["max_daily_loss_dollars"]


def test_a_lift_at_a_smaller_loss_counts_it_whole_again(overridden: ExecutionGuard, handle: ExecutionGuard) -> None:
    """Once the loss is under its limit again a lift takes the acknowledgement back."""
    handle.halt("the venue is gone", origin=Origin.CONNECTIVITY)
    overridden.on_quote(quote(bid="90.02", ask="90.04"))
    handle.lift(Origin.CONNECTIVITY, "back, and the books agree")
    overridden.on_quote(quote(bid="89.99", ask="90.01"))
    assert [halt.owner for halt in handle.halts()] == ["max_daily_loss_dollars"]


def test_a_resume_without_override_acknowledges_no_loss(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled
) -> None:
    """A checklist that saw only the last minute's smaller loss clears the halt; it comes straight back."""
    engine.set_limit("max_daily_loss_dollars", 100)
    filled(BUY, "10", "100")
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    reconciled(engine)
    assert not handle.resume().override
    engine.on_quote(quote(bid="89.99", ask="90.01"))
    assert [halt.owner for halt in handle.halts()] == ["max_daily_loss_dollars"]
    assert engine.gate.book.loss_acknowledged == 0


def test_an_override_elsewhere_acknowledges_no_loss(overridden: ExecutionGuard, handle: ExecutionGuard) -> None:
    """The checklist of a symbol's halt does not ask for the day's loss, so its override does not answer for it."""
    overridden.on_quote(quote(bid="85", ask="85"))
    handle.halt("odd", scope=Scope.SYMBOL, target="AAPL")
    overridden.on_quote(quote(bid="85", ask="85"))
    assert handle.resume("AAPL", override=True).override
    overridden.on_quote(quote(bid="85", ask="85"))
    assert overridden.gate.book.loss_acknowledged == 100


def test_a_restart_forgets_what_was_acknowledged(
    overridden: ExecutionGuard, handle: ExecutionGuard, settings: Settings
) -> None:
    """The next start counts the whole loss, and asks for an override of its own halt, which acknowledges it."""
    overridden.close()
    again = ExecutionGuard(settings)
    again.start()
    again.start_guardian()
    assert again.gate.book.loss_acknowledged == 0
    again.gate.book.quote(quote(bid="89.99", ask="90.01"))  # as from the journal's marks, before any news
    assert handle.resume(override=True).override
    assert again.check(intent(), NOON) is None
    assert again.gate.book.loss_acknowledged == 100
    again.close()


def measure_no_slippage(engine: ExecutionGuard) -> None:
    engine.set_limit("max_slippage_bps", "off")
    engine.set_limit("limit_orders_only_slippage_bps", "off")


def lose(filled: Filled, times: int, gain: str = "-1") -> None:
    for _ in range(times):
        filled(BUY, "3", "100")
        filled(SELL, "3", str(100 + Decimal(gain)))


def test_consecutive_losses_end_in_reduce_only(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> None:
    """Losing closes in a row lead to reduce-only; a profit between begins anew; resuming acknowledges the streak."""
    engine.set_limit("max_consecutive_losses", 2)
    measure_no_slippage(engine)
    engine.set_limit("max_duplicate_orders", 100)
    lose(filled, 1)
    lose(filled, 1, "1")
    lose(filled, 1)
    assert handle.halts() == ()
    lose(filled, 1)
    (halt,) = handle.halts()
    assert (halt.mode, halt.owner) == (Mode.REDUCE_ONLY, "max_consecutive_losses")
    assert engine.check(intent(), NOON).code == "REDUCE_ONLY"  # type: ignore[union-attr]
    reconciled(engine)
    handle.resume()
    assert engine.check(intent(), NOON) is None
    assert engine.gate.book.losses == 0


def test_one_order_in_parts_is_one_loss(engine: ExecutionGuard, filled: Filled) -> None:
    """Ten losing executions of one closing order are one loss; the order's sum decides."""
    filled(BUY, "10", "100")
    one = intent(SELL, "10")
    assert engine.admit(one, NOON)
    for _ in range(9):
        take_fill(engine, fill(one, "1", "99"))
    assert engine.gate.book.losses == 1
    take_fill(engine, fill(one, "1", "120"))
    assert engine.gate.book.losses == 0


@pytest.mark.parametrize(
    ("price", "limited", "halted"),
    [
        ("100.24", False, False),
        ("100.26", True, False),
        ("100.50", True, False),
        ("100.51", True, True),
        ("99", False, False),
    ],
)
def test_slippage_steps(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled, price: str, limited: bool, halted: bool
) -> None:
    """From 25 bps worse than the mid only limit orders pass that day; beyond 50 the symbol halts, with evidence."""
    one = filled(BUY, "2", price, "99.99", "100.01")
    assert engine.gate.book.of("AAPL").limit_orders_only is limited
    assert [halt.target for halt in handle.halts()] == (["AAPL"] if halted else [])
    if limited and not halted:
        assert engine.check(intent(), NOON).code == "LIMIT_ORDERS_ONLY"  # type: ignore[union-attr]
        assert engine.check(limit(BUY, "3", "100"), NOON) is None
    if halted:
        assert one.client_order_id in handle.halts()[0].reason
        assert engine.check(intent(symbol="MSFT"), NOON) is None
    assert codes(handle) == ["LIMIT_ORDERS_ONLY"] * limited + ["SLIPPAGE"] * halted


def test_slippage_of_dust_and_of_unknown_mid_judges_nothing(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled
) -> None:
    """Below $100 measured, or without a quote just before the fill, slippage is not a finding."""
    filled(BUY, "0.9", "110", "99.99", "100.01")
    filled(BUY, "4", "110", at=NOON + timedelta(seconds=3))  # the book's own quote is too old to be "just before"
    assert handle.halts() == ()
    filled(BUY, "5", "110", at=NOON + timedelta(seconds=2))
    assert len(handle.halts()) == 1


def test_slippage_flag_ends_with_the_day(engine: ExecutionGuard, filled: Filled) -> None:
    """Limit orders only is for the rest of that trading day."""
    filled(BUY, "2", "100.30", "99.99", "100.01")
    tomorrow = NOON + timedelta(days=1)
    engine.on_quote(quote(at=tomorrow))
    assert engine.check(intent(), tomorrow) is None


@pytest.mark.parametrize(
    ("mark", "mode", "factor"),
    [("951", None, "1"), ("950", None, "0.75"), ("900", Mode.REDUCE_ONLY, "0.75"), ("850", Mode.HALTED, "0.75")],
)
def test_drawdown_tiers(tmp_path: object, mark: str, mode: Mode | None, factor: str) -> None:
    """5% below the peak sizes shrink to three quarters, 10% is reduce-only, 15% halts."""
    settings = settings_in(
        tmp_path,
        limits={
            "max_daily_loss_dollars": 100_000,
            "max_position_per_symbol_dollars": 200_000,
            "max_order_notional_dollars": 200_000,
        },
    )  # type: ignore[arg-type]
    make_journal(settings)
    guard = ExecutionGuard(settings)
    guard.start()
    guard.start_guardian()
    reconciled(guard)
    guard.resume()
    guard.on_quote(quote(bid="1000", ask="1000"))
    one = intent(BUY, "100")
    assert guard.admit(one, NOON)
    take_fill(guard, fill(one, "100", "1000"))
    guard.on_quote(quote(bid=mark, ask=mark))
    assert [halt.mode for halt in guard.halts()] == ([mode] if mode else [])
    assert guard.gate.rules.factor == D(factor)
    assert guard.gate.rules.bounds("AAPL", "operator").max_order_quantity == 10_000 * D(factor)
    guard.close()


def test_too_many_cancels_only_warn(engine: ExecutionGuard) -> None:
    """Cancels past their limit leave one violation a minute and nothing is refused."""
    engine.set_limit("max_cancels_per_minute", 3)
    assert engine.check(intent(), NOON) is None
    for _ in range(10):
        engine.on_cancel()
    assert codes(engine) == ["CANCEL_RATE"]
    assert engine.halts() == ()


def test_restart_remembers_the_day(engine: ExecutionGuard, settings: Settings, filled: Filled) -> None:
    """After a crash the book folded from the journal equals the one that lived: nothing of the day is forgotten."""
    measure_no_slippage(engine)
    engine.set_limit("max_duplicate_orders", 100)
    lose(filled, 2)
    engine.set_limit("limit_orders_only_slippage_bps", 25)
    filled(BUY, "4", "100.30", "99.99", "100.01", strategy="s")
    resting = limit(BUY, "7", "99", strategy="s")
    assert engine.admit(resting, NOON)
    take_fill(engine, fill(resting, "2", "99"))
    before = engine.gate.book
    engine.close()
    again = ExecutionGuard(settings)
    again.start()
    after = again.gate.book
    for name in (
        "cash",
        "transfers",
        "opening_equity",
        "losses",
        "results",
        "daily_loss",
        "gross",
        "net_up",
        "net_down",
        "day",
    ):
        if name not in {
            "gross",
            "net_up",
            "net_down",
            "daily_loss",
        }:  # those are by marks: the quotes were not journaled
            assert getattr(after, name) == getattr(before, name), name
    symbol, was = after.of("AAPL"), before.of("AAPL")
    for name in ("position", "average_price", "buys", "sells", "worst", "limit_orders_only", "identical"):
        assert getattr(symbol, name) == getattr(was, name), name
    assert len(after.rates[""]) == len(before.rates[""])
    assert len(after.rates["strategy:s"]) == 2
    again.close()


PHONE = {
    "client_order_id": "phone", "broker_order_id": "b", "symbol": "AAPL", "side": "sell", "type": "limit",
    "time_in_force": "day", "quantity": "100", "limit_price": "101", "average_fill_price": "101",
    "strategy": "external", "source": "reconciliation",
}  # fmt: skip


@pytest.fixture
def bound_late(tmp_path: Path) -> Iterator[Journal]:
    """A journal bound with 150 shares while half of a sale of 100, placed outside, was filled already."""
    settings = settings_in(tmp_path)
    settings.folder.mkdir(parents=True)
    with Journal.open(settings.journal_path, "test") as journal:
        held = [{"symbol": "AAPL", "quantity": "150", "price": "100"}]
        journal.append("account.bound", BOUND | {"positions": held}, NOON)
        journal.append("day.opened", {"trading_date": "2020-03-09", "opening_equity": "100000"}, NOON)
        journal.append("order.updated", PHONE | {"status": "partially_filled", "filled_quantity": "50"}, NOON)
        yield journal


def look(journal: Journal, ok: bool) -> None:
    journal.append("reconciliation", {"trigger": "test", "ok": ok, "breaks": [], "checked": {}}, NOON)


def sold(journal: Journal, quantity: str, filled: str, status: str = "filled") -> None:
    """The venue executes more of the sale from outside, and says how much of it is filled by now."""
    one = {"execution_id": f"b@{filled}", "client_order_id": "phone", "broker_order_id": "b", "strategy": "external"}
    one |= {"symbol": "AAPL", "side": "sell", "quantity": quantity, "price": "101", "fee": "0", "at": NOON}
    journal.append("fill", one | {"source": "stream"}, NOON)
    journal.append("order.updated", PHONE | {"status": status, "filled_quantity": filled}, NOON)


@pytest.mark.parametrize(
    ("looks", "waiting"), [([], 50), ([True], 50), ([False, True], 0), ([True, True], 0), ([True, False], 50)]
)
def test_a_restart_does_not_wait_for_fills_of_before_the_binding(
    bound_late: Journal, looks: list[bool], waiting: int
) -> None:
    """Once a whole look after the order's last word found the books equal, an exit of all that is held passes."""
    sold(bound_late, "50", "100")
    for ok in looks:
        look(bound_late, ok)
    book = load_book(bound_late)
    assert (book.of("AAPL").position, book.of("AAPL").sells) == (100, waiting)
    refused = check(book, Rules.load(bound_late).bounds("AAPL", "operator"), exit_of(SELL, "100"), NOON, 0)
    assert (refused is None) == (waiting == 0)


def test_a_restart_waits_for_fills_of_after_the_last_look(bound_late: Journal) -> None:
    """What is open of the order counts less what was filled before; shares told since the last look count as well."""
    look(bound_late, True)
    look(bound_late, True)
    assert load_book(bound_late).of("AAPL").sells == 50
    sold(bound_late, "20", "100")  # the execution of 30 more is not in the journal
    assert load_book(bound_late).of("AAPL").sells == 80
