"""Trying to break it: races, exits among foreign orders, orders on both sides, odd numbers, two sets of settings."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from athena.config import Settings
from athena.errors import AthenaError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import H, R
from athena.live.verdict import Approved, Refused
from athena.model import Mode, OrderIntent, OrderStatus, OrderType, Scope, Side
from tests.guard.conftest import NOON, D, Filled, exit_of, intent, limit, order, reconciled, take_order

BUY, SELL = Side.BUY, Side.SELL


def code(verdict: Approved | Refused | None) -> str:
    assert isinstance(verdict, Refused), verdict
    return str(verdict.code)


def test_resumes_and_halts_at_once_end_in_agreement(
    engine: ExecutionGuard, handle: ExecutionGuard, settings: Settings
) -> None:
    """Threads that halt and resume against each other: whoever comes last, flag and journal say the same."""
    others = [ExecutionGuard(settings) for _ in range(3)]

    def work(guard: ExecutionGuard, halts: bool) -> None:
        for _ in range(15):
            try:
                guard.halt("race") if halts else guard.resume(reason="race", override=True)
            except AthenaError:
                continue

    threads = [threading.Thread(target=work, args=(guard, n == 0)) for n, guard in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    standing = [halt for halt in handle.halts() if halt.scope is Scope.GLOBAL and halt.mode is Mode.HALTED]
    halted = engine.flag.words[R] != engine.flag.words[H]
    assert halted or not standing
    last = handle.halt("the last word")
    assert not engine.flag.allows()
    assert last.id in {halt.id for halt in handle.halts()}
    for guard in others:
        guard.close()


def test_a_limit_lowered_between_check_and_gate_counts(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """A limit changed after the decision and before its commit decides the order."""
    gate, real, calls = engine.gate, engine.gate.check, []

    def check_then_lower(one: OrderIntent, now: datetime) -> Refused | None:
        verdict = real(one, now)
        calls.append(verdict)
        if len(calls) == 1:
            handle.set_limit("max_order_quantity", 5)
        return verdict

    gate.check = check_then_lower  # type: ignore[method-assign]
    assert code(engine.admit(intent(quantity="10"), NOON)) == "ORDER_QUANTITY"
    assert calls[0] is None


def test_exits_pass_beside_foreign_orders(engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled) -> None:
    """Halted, with orders of other programs open: what they have not claimed can be closed, and no share more."""
    filled(BUY, "10", "100.01")
    handle.halt("out")
    foreign = order(limit(SELL, "4", "120"), OrderStatus.NEW)
    take_order(engine, foreign)
    take_order(engine, order(limit(BUY, "50", "90"), OrderStatus.NEW))  # on the other side: no claim on ours
    assert code(engine.check(exit_of(SELL, "7"), NOON)) == "EXIT_EXCEEDS_POSITION"
    assert engine.admit(exit_of(SELL, "6"), NOON)
    assert code(engine.check(exit_of(SELL, "1"), NOON)) == "EXIT_EXCEEDS_POSITION"
    take_order(engine, replace(foreign, status=OrderStatus.CANCELED))
    assert engine.admit(exit_of(SELL, "4"), NOON)
    assert code(engine.check(exit_of(BUY, "1"), NOON)) == "EXIT_EXCEEDS_POSITION"


@pytest.mark.parametrize(
    ("side", "quantity", "passes"),
    [(SELL, "4", True), (SELL, "5", False), (SELL, "10", False), (BUY, "1", False)],
)
def test_reduce_only_with_orders_on_both_sides(
    engine: ExecutionGuard, handle: ExecutionGuard, filled: Filled, side: Side, quantity: str, passes: bool
) -> None:
    """Long 10 with 6 in open sells and 3 in open buys: only 4 more may be sold; open buys never make room to flip."""
    filled(BUY, "10", "100.01")
    assert engine.admit(limit(SELL, "6", "101"), NOON)
    assert engine.admit(limit(BUY, "3", "99"), NOON)
    handle.halt("careful", mode=Mode.REDUCE_ONLY)
    verdict = engine.check(intent(side, quantity, type=OrderType.LIMIT, limit_price=D("100")), NOON)
    assert (verdict is None) is passes, verdict


ODD = ["-0", "0", "-1", "NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1E+500", "-1E-500", "1E+999999"]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("field", ["quantity", "limit_price", "stop_price"])
def test_odd_numbers_are_refused_everywhere(engine: ExecutionGuard, filled: Filled, text: str, field: str) -> None:
    """Negative zero, huge, tiny, infinite and no numbers are refused with a code, exits included, and never raise."""
    filled(BUY, "10", "100.01")
    kind = OrderType.STOP_LIMIT if field == "stop_price" else OrderType.LIMIT
    stop = D("99.98") if field == "stop_price" else None
    good = intent(SELL, "5", type=kind, limit_price=D("99.90"), stop_price=stop)
    assert engine.check(good, NOON) is None
    odd = [replace(good, **{field: D(text)})]
    if field == "quantity":
        odd.append(exit_of(SELL, text))
    for one in odd:
        verdict = engine.admit(one, NOON)
        assert isinstance(verdict, Refused), (one, verdict)
        assert verdict.code != "JOURNAL_FAILED"


def test_huge_but_finite_arithmetic_does_not_overflow_into_a_pass(engine: ExecutionGuard) -> None:
    """A notional too large for the arithmetic context refuses instead of raising or rounding to something small."""
    engine.set_limit("max_order_quantity", 10**9)
    for quantity in ("1E+9", "999999999.999999999999999999999999999999"):
        assert isinstance(engine.admit(intent(quantity=quantity), NOON), Refused)


def test_quotes_of_nonsense_do_not_price_anything(engine: ExecutionGuard) -> None:
    """A quote that is NaN, infinite or crossed leaves the symbol unquoted, and the totals finite."""
    from tests.guard.conftest import quote

    for bid, ask in (
        ("NaN", "NaN"),
        ("100", "NaN"),
        ("NaN", "100"),
        ("101", "100"),
        ("0", "1"),
        ("-1", "1"),
        ("1", "Infinity"),
    ):
        later = NOON + timedelta(seconds=1)
        try:
            engine.on_quote(quote(bid=bid, ask=ask, at=later))
        except ArithmeticError:
            pytest.fail(f"a quote of {bid} / {ask} raised into the engine")
        assert code(engine.check(intent(), later)) == "QUOTE_STALE"
    assert engine.gate.book.gross.is_finite()


def test_two_processes_with_other_settings_share_one_truth(settings: Settings, engine: ExecutionGuard) -> None:
    """First limits in another process's settings change nothing that the live system has; its halts bind it."""
    other = ExecutionGuard(replace(settings, limits={"max_order_quantity": 1}, operator="else"))
    assert other.limits()["max_order_quantity"] == 10_000
    other.halt("from elsewhere")
    assert code(engine.admit(intent(), NOON)) == "GUARD_HALTED"
    reconciled(other)
    other.resume()
    assert engine.admit(intent(), NOON)
    elsewhere = ExecutionGuard(replace(settings, account="other"))
    assert elsewhere.flag.path != engine.flag.path  # another account is another system
    other.close()


def test_an_expiring_halt_takes_no_other_with_it(engine: ExecutionGuard, handle: ExecutionGuard) -> None:
    """When a timed halt ends beneath an untimed one of the same scope, everything stays halted."""
    handle.halt("stays")
    handle.halt("goes", expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    guardian = engine._guardian
    assert guardian is not None
    from tests.guard.conftest import until

    until(lambda: [halt.reason for halt in handle.halts()] == ["stays"])
    assert not engine.flag.allows()
    assert Decimal(engine.flag.words[H]) != engine.flag.words[R]
