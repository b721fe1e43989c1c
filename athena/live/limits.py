"""Every limit of the guard: its name, unit, default, bounds and what it compares; overrides; the strictest wins.

A limit is set for everything (target ""), for a symbol ("symbol:AAPL") or for a strategy ("strategy:mean-reversion").
Values are journaled as plain JSON (decimals as text); "off" takes a limit away where that is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any

from athena.errors import GuardError

Value = Decimal | int | bool | str | tuple[str, ...] | None
NEVER = Decimal("Infinity")  # what an absent maximum compares against: everything finite passes, NaN still refuses


class Unit(StrEnum):
    """What a limit's number counts; a suffix in text must agree ("25 bps", "$5,000", "30 s")."""

    DOLLARS = "dollars"
    SHARES = "shares"
    BPS = "bps"
    PERCENT = "percent"
    SECONDS = "seconds"
    RATIO = "ratio"
    COUNT = "count"
    FLAG = "true/false"
    SYMBOLS = "symbols"
    CHOICE = "choice"


_SUFFIXES = {
    Unit.DOLLARS: ("dollars", "usd", "$"),
    Unit.SHARES: ("shares",),
    Unit.BPS: ("bps",),
    Unit.PERCENT: ("percent", "%"),
    Unit.SECONDS: ("seconds", "s"),
}
_NUMBERS = frozenset({Unit.DOLLARS, Unit.SHARES, Unit.BPS, Unit.PERCENT, Unit.SECONDS, Unit.RATIO, Unit.COUNT})


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit; `low` and `high` are the values it accepts, both included; of a `floor` the higher is stricter."""

    name: str
    unit: Unit
    default: Value
    low: Any
    high: Any
    compares: str
    optional: bool = False
    floor: bool = False
    scaled: bool = False  # shrinks in a drawdown
    choices: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        return self.unit in _NUMBERS


D = Decimal
_BIG = D("1e9")
_MUCH = 100_000
# fmt: off
_ALL = (
    # The playbook's
    Limit("max_daily_loss_dollars", Unit.DOLLARS, D(2000), D(1), _BIG,
          "opening equity plus transfers, less equity now; reached: everything halts"),
    Limit("max_position_per_symbol_dollars", Unit.DOLLARS, D(20_000), D(0), _BIG,
          "position if all open orders on that side fill, at the dearer of ask and order price", scaled=True),
    Limit("max_orders_per_minute", Unit.COUNT, 60, 0, _MUCH,
          "orders let through in the last 60 s of venue time"),
    Limit("max_consecutive_losses", Unit.COUNT, 5, 1, 1000,
          "closing orders in a row that lost money today; reached: reduce-only", optional=True),
    Limit("max_slippage_bps", Unit.BPS, D(50), D("0.1"), D(10_000),
          "an order's fills against the mid just before each; beyond it: the symbol halts", optional=True),
    Limit("limit_orders_only_slippage_bps", Unit.BPS, D(25), D("0.1"), D(10_000),
          "the same; reached: limit orders only in that symbol for the day", optional=True),
    Limit("max_disconnect_seconds", Unit.SECONDS, D(30), D(1), D(3600),
          "machine time without the venue; beyond it: everything halts until it is back and reconciled", optional=True),
    Limit("drawdown_reduce_size_percent", Unit.PERCENT, D(5), D("0.1"), D(100),
          "fall from peak equity; reached: sizes shrink to drawdown_size_factor", optional=True),
    Limit("drawdown_reduce_only_percent", Unit.PERCENT, D(10), D("0.1"), D(100),
          "fall from peak equity; reached: reduce-only", optional=True),
    Limit("drawdown_halt_percent", Unit.PERCENT, D(15), D("0.1"), D(100),
          "fall from peak equity; reached: everything halts", optional=True),
    Limit("drawdown_size_factor", Unit.RATIO, D("0.75"), D("0.01"), D(1),
          "what remains of the limits on size in the first drawdown tier"),
    # One order
    Limit("max_order_notional_dollars", Unit.DOLLARS, D(10_000), D(0), _BIG,
          "quantity times the dearer of ask and order price", scaled=True),
    Limit("max_order_quantity", Unit.SHARES, D(10_000), D(0), _BIG,
          "quantity", scaled=True),
    Limit("price_collar_bps", Unit.BPS, D(500), D(1), D(10_000),
          "how far a limit price may reach through the other side of the quote", optional=True),
    Limit("max_quote_age_seconds", Unit.SECONDS, D(30), D("0.05"), D(86_400),
          "venue time since the symbol's last quote"),
    Limit("max_participation_rate", Unit.RATIO, None, D("0.0001"), D(1),
          "quantity against the symbol's volume of the last five minutes of venue time", optional=True),
    Limit("allowed_symbols", Unit.SYMBOLS, None, None, None,
          "the only symbols that may be traded", optional=True),
    Limit("restricted_symbols", Unit.SYMBOLS, (), None, None,
          "symbols that may not be traded"),
    Limit("allow_short", Unit.FLAG, True, None, None,
          "whether open sells may exceed the shares held"),
    Limit("trading_session", Unit.CHOICE, "any", None, None,
          "session in which orders may go, by the venue's clock", choices=("any", "extended", "regular")),
    # All orders together
    Limit("max_gross_exposure_dollars", Unit.DOLLARS, D(150_000), D(0), _BIG,
          "sum over symbols of the worst position that open orders allow", optional=True, scaled=True),
    Limit("max_net_exposure_dollars", Unit.DOLLARS, D(150_000), D(0), _BIG,
          "longs less shorts if only the open orders on one side fill", optional=True, scaled=True),
    Limit("min_buying_power_dollars", Unit.DOLLARS, None, D(0), _BIG,
          "the account's buying power less what was ordered since it was read", optional=True, floor=True),
    Limit("max_open_orders", Unit.COUNT, 200, 0, _MUCH,
          "orders open before this one", optional=True),
    Limit("max_open_orders_per_symbol", Unit.COUNT, 20, 0, _MUCH,
          "orders open in the symbol before this one", optional=True),
    Limit("duplicate_order_window_seconds", Unit.SECONDS, D(10), D("0.1"), D(3600),
          "venue time in which equal orders (symbol, strategy, side, quantity, prices) are counted", optional=True),
    Limit("max_duplicate_orders", Unit.COUNT, 3, 1, 1000,
          "equal orders within that window, this one included"),
    Limit("max_identical_executions", Unit.COUNT, 100, 1, _MUCH,
          "orders filled in a row by one strategy with equal symbol, side and quantity", optional=True),
    Limit("prevent_self_crossing", Unit.FLAG, True, None, None,
          "whether an order that could trade with one's own open order is refused: the venue would reject it"),
    Limit("max_messages_per_minute", Unit.COUNT, 180, 1, _MUCH,
          "orders and cancels in the last 60 s of machine time; cancels always go", optional=True),
    Limit("max_cancels_per_minute", Unit.COUNT, 100, 0, _MUCH,
          "cancels in the last 60 s of machine time: a warning, never a refusal", optional=True),
)
# fmt: on
LIMITS: Mapping[str, Limit] = {limit.name: limit for limit in _ALL}
_OF_A_TARGET = frozenset({
    "max_position_per_symbol_dollars", "max_orders_per_minute", "max_slippage_bps", "limit_orders_only_slippage_bps",
    "max_order_notional_dollars", "max_order_quantity", "price_collar_bps", "max_quote_age_seconds",
    "max_participation_rate", "allow_short", "trading_session", "max_open_orders_per_symbol",
    "duplicate_order_window_seconds", "max_duplicate_orders", "max_identical_executions", "prevent_self_crossing",
})  # fmt: skip
_ASCENDING = (
    ("limit_orders_only_slippage_bps", "max_slippage_bps"),
    ("drawdown_reduce_size_percent", "drawdown_reduce_only_percent", "drawdown_halt_percent"),
)


def parse(name: str, value: Any, *, target: str = "") -> Value:
    """The limit's value in its type; raises GuardError naming the limit, the value and what is accepted."""
    limit = LIMITS.get(name)
    if limit is None:
        raise GuardError(f"'{name}' is not a limit{_nearest(name)}.", "`athena limits` lists them.")
    _check_target(limit, target)
    if value is None or (isinstance(value, str) and value.strip().lower() in {"off", "none"}):
        if limit.optional:
            return None
        raise GuardError(f"{name} cannot be off.", _accepted(limit))
    if limit.unit is Unit.FLAG:
        return _flag(limit, value)
    if limit.unit is Unit.SYMBOLS:
        return _symbols(limit, value)
    if limit.unit is Unit.CHOICE:
        if value not in limit.choices:
            raise _bad(limit, value)
        return str(value)
    return _number(limit, value)


def check_order(values: Mapping[str, Value]) -> None:
    """Refuse tiers that are not ascending; `values` are the effective ones of one target. Raises GuardError."""
    for names in _ASCENDING:
        present = [(name, values[name]) for name in names if isinstance(values.get(name), Decimal)]
        for (lower, a), (higher, b) in pairwise(present):
            if not a <= b:  # type: ignore[operator]
                raise GuardError(f"{lower} ({a}) must not be above {higher} ({b}).", "Change the other one first.")


def to_json(value: Value) -> Any:
    """What `limit.set` journals: numbers as text, so that no decimal passes through a float."""
    if isinstance(value, tuple):
        return list(value)
    return format(value, "f") if isinstance(value, Decimal) else value


def show(name: str, value: Value) -> str:
    """The value with its unit, for people."""
    limit = LIMITS[name]
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if limit.unit is Unit.DOLLARS:
        return f"${value:,.2f}"
    return f"{value}" if limit.unit in {Unit.COUNT, Unit.CHOICE, Unit.RATIO} else f"{value} {limit.unit.value}"


def effective(values: Mapping[tuple[str, str], Value], symbol: str = "", strategy: str = "") -> dict[str, Value]:
    """Every limit as it binds one symbol and strategy: the strictest of everything's, the symbol's, the strategy's."""
    targets = [f"symbol:{symbol}"] * bool(symbol) + [f"strategy:{strategy}"] * bool(strategy)
    return {
        name: _strictest(limit, [values.get((name, ""), limit.default), *(values.get((name, t)) for t in targets)])
        for name, limit in LIMITS.items()
    }


def _strictest(limit: Limit, candidates: list[Value]) -> Value:
    given: list[Any] = [value for value in candidates if value is not None]
    if not given:
        return None
    if limit.unit is Unit.FLAG:
        strict = limit.name == "prevent_self_crossing"
        return strict if strict in given else not strict
    strictest: Value
    if limit.unit is Unit.SYMBOLS:
        strictest = given[0]
    elif limit.unit is Unit.CHOICE:
        strictest = max(given, key=limit.choices.index)
    else:
        strictest = max(given) if limit.floor or limit.name == "duplicate_order_window_seconds" else min(given)
    return strictest


def _check_target(limit: Limit, target: str) -> None:
    kind, _, name = target.partition(":")
    if target and (kind not in {"symbol", "strategy"} or not name):
        raise GuardError(f"'{target}' is not a target.", "Use symbol:AAPL or strategy:NAME, or leave it out.")
    if target and limit.name not in _OF_A_TARGET:
        raise GuardError(f"{limit.name} speaks of the whole account; it cannot be set for {target}.")


def _number(limit: Limit, value: Any) -> Decimal | int:
    text = str(value).strip().lower().replace(",", "").replace("_", "") if isinstance(value, str) else None
    if text is not None:
        text = text.removeprefix("$") if limit.unit is Unit.DOLLARS else text
        for suffix in _SUFFIXES.get(limit.unit, ()):
            text = text.removesuffix(suffix).strip()
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise ValueError
        number = Decimal(text if text is not None else str(value))
    except (InvalidOperation, ValueError):
        raise _bad(limit, value) from None
    if not number.is_finite():
        raise _bad(limit, value)
    if limit.unit is Unit.COUNT:
        whole = number.to_integral_value(ROUND_FLOOR)
        if whole != number and not isinstance(
            value, float | Decimal
        ):  # arithmetic (61 * 0.5) rounds down; text is a slip
            raise _bad(limit, value)
        number = whole
    if not limit.low <= number <= limit.high:
        raise _bad(limit, value)
    return int(number) if limit.unit is Unit.COUNT else number


def _flag(limit: Limit, value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise _bad(limit, value)


def _symbols(limit: Limit, value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    try:
        names = sorted({str(item).strip().upper() for item in items} - {""})
    except TypeError:
        raise _bad(limit, value) from None
    if not all(name.replace(".", "").replace("/", "").isalnum() for name in names):
        raise _bad(limit, value)
    return tuple(names)


def _bad(limit: Limit, value: Any) -> GuardError:
    return GuardError(f"{limit.name} cannot be {value!r}.", _accepted(limit))


def _accepted(limit: Limit) -> str:
    off = ", or off" if limit.optional else ""
    if limit.unit is Unit.FLAG:
        return "It is true or false."
    if limit.unit is Unit.SYMBOLS:
        return f"It is a list of symbols{off}."
    if limit.unit is Unit.CHOICE:
        return f"It is one of {', '.join(limit.choices)}."
    whole = "a whole number" if limit.unit is Unit.COUNT else limit.unit.value
    return (
        f"It is {whole} from {limit.low} to {limit.high:f}{off}."
        if isinstance(limit.high, Decimal)
        else f"It is {whole} from {limit.low} to {limit.high}{off}."
    )


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, list(LIMITS), 1, 0.6)
    return f"; did you mean '{found[0]}'?" if found else ""
