"""Limits: what they accept, how they combine, and that a change is durable, owned and in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from athena.errors import GuardError
from athena.live.execution_guard import ExecutionGuard
from athena.live.limits import LIMITS, effective, parse
from tests.guard.conftest import D


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_daily_loss_dollars", "$2,500", D(2500)),
        ("max_daily_loss_dollars", 0.1 + 2, D("2.1")),
        ("max_slippage_bps", "40 bps", D(40)),
        ("max_quote_age_seconds", "15s", D(15)),
        ("drawdown_halt_percent", "12%", D(12)),
        ("max_orders_per_minute", 30.5, 30),
        ("max_slippage_bps", "off", None),
        ("allow_short", "no", False),
        ("restricted_symbols", "gme, amc", ("AMC", "GME")),
        ("trading_session", "regular", "regular"),
    ],
)
def test_values_as_people_write_them(name: str, value: Any, expected: Any) -> None:
    """Text with a unit, separators, floats and lists become exact values."""
    assert parse(name, value) == expected


BAD: list[tuple[str, Any]] = [
    *(("max_daily_loss_dollars", value) for value in (-1, 0, "NaN", "inf", "50 bps", "off", None, True, 1e30, [1], "")),
    ("max_orders_per_minute", "30.5"), ("max_orders_per_minute", -1), ("max_slippage_bps", "1%"),
    ("allow_short", "maybe"), ("allow_short", 1), ("trading_session", "night"),
    ("restricted_symbols", 5), ("restricted_symbols", ["A; DROP"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_value_names_the_limit_and_its_bounds(name: str, value: Any) -> None:
    """Wrong sign, unit, type or size: refused with the limit's name and what it accepts."""
    with pytest.raises(GuardError, match=name) as error:
        parse(name, value)
    assert error.value.hint


def test_unknown_limit_suggests_the_nearest() -> None:
    """A slip of the pen is answered with the name that was meant."""
    with pytest.raises(GuardError, match="Did you mean 'max_daily_loss_dollars'"):
        parse("max_dayly_loss_dollars", 1)


def test_tiers_keep_their_order(handle: ExecutionGuard) -> None:
    """The first step of slippage or drawdown may not lie above the second."""
    with pytest.raises(GuardError, match="must not be above"):
        handle.set_limit("max_slippage_bps", 20)
    with pytest.raises(GuardError, match="must not be above"):
        handle.set_limit("drawdown_reduce_size_percent", 11)
    assert handle.limits()["max_slippage_bps"] == 50


@pytest.mark.parametrize("name", [name for name, limit in LIMITS.items() if limit.is_number])
def test_strictest_wins(name: str) -> None:
    """Of everything's, a symbol's and a strategy's value the strictest binds, and an override never loosens."""
    values: dict[tuple[str, str], Any] = {(name, ""): D(10), (name, "symbol:AAPL"): D(5), (name, "strategy:s"): D(20)}
    floor = LIMITS[name].floor or name == "duplicate_order_window_seconds"
    assert effective(values, "AAPL", "s")[name] == (20 if floor else 5)
    assert effective(values, "MSFT", "t")[name] == 10
    assert effective({(name, "symbol:AAPL"): D("1e9")}, "AAPL")[name] == (
        D("1e9") if floor else LIMITS[name].default or D("1e9")
    )


def test_change_is_versioned_and_owned(handle: ExecutionGuard) -> None:
    """Who changed a limit from what to what is in the journal, and the epoch moves."""
    handle.config.max_daily_loss_dollars = 1500
    handle.config.for_symbol("aapl").max_order_quantity = 50
    handle.config.max_daily_loss_dollars *= 0.5
    row = handle.journal.one("SELECT * FROM limits WHERE name = 'max_daily_loss_dollars'")
    assert row is not None
    assert (row["value"], row["version"], row["changed_by"]) == ('"750.0"', 2, "tester")
    last = list(handle.journal.events(kinds=["limit.set"]))[-1]
    assert (last.payload["previous"], last.payload["value"]) == ("1500", "750.0")
    assert handle.config.for_symbol("AAPL").max_order_quantity == 50
    assert handle.config.max_order_quantity == 10_000


def test_account_limit_has_no_target(handle: ExecutionGuard) -> None:
    """A limit of the whole account cannot be set for a symbol, nor anything for a nonsense target."""
    with pytest.raises(GuardError, match="whole account"):
        handle.set_limit("max_daily_loss_dollars", 5, target="symbol:AAPL")
    with pytest.raises(GuardError, match="not a target"):
        handle.set_limit("max_order_quantity", 5, target="AAPL")


def test_config_values_take_floats_exactly(handle: ExecutionGuard) -> None:
    """A limit read from the config multiplies with a float as written: no binary noise."""
    value = handle.config.max_position_per_symbol_dollars
    for result, expected in (
        (value * 0.1, "2000.0"),
        (0.1 * value, "2000.0"),
        (value + 0.1, "20000.1"),
        (value / 0.5, "40000"),
        (1.5 - value, "-19998.5"),
    ):
        assert isinstance(result, Decimal)
        assert result == D(expected)
    with pytest.raises(AttributeError, match="Did you mean"):
        _ = handle.config.max_position_per_symbol_dolars
    with pytest.raises(GuardError, match="not a limit"):
        handle.config.nonsense = 1
    assert "max_daily_loss_dollars" in repr(handle.config)
