"""Values of limits: read from what people write, combined with overrides so that the strictest wins, shown with units.

A limit is set for everything (target ""), for a symbol ("symbol:AAPL") or for a strategy ("strategy:mean-reversion").
Values are journaled as plain JSON (decimals as text); "off" takes a limit away where that is allowed. The limits
themselves are in `limit_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from athena.errors import GuardError, did_you_mean
from athena.live.limit_table import ASCENDING, LIMITS, OF_A_TARGET, SUFFIXES, Limit, Unit, Value
from athena.model import dollars

__all__ = [
    "LIMITS",
    "NEVER",
    "Limit",
    "Unit",
    "Value",
    "check_order",
    "effective",
    "loosens",
    "parse",
    "show",
    "to_json",
]

NEVER = Decimal("Infinity")  # what an absent maximum compares against: everything finite passes, NaN still refuses


def parse(name: str, value: Any, *, target: str = "") -> Value:
    """The limit's value in its type; raises GuardError naming the limit, the value and what is accepted."""
    limit = LIMITS.get(name)
    if limit is None:
        raise GuardError(f"'{name}' is not a limit.", did_you_mean(name, LIMITS, "athena limits lists them."))
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
    for names in ASCENDING:
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
        return dollars(Decimal(value))
    return f"{value}" if limit.unit in {Unit.COUNT, Unit.CHOICE, Unit.RATIO} else f"{value} {limit.unit.value}"


def effective(values: Mapping[tuple[str, str], Value], symbol: str = "", strategy: str = "") -> dict[str, Value]:
    """Every limit as it binds one symbol and strategy: the strictest of everything's, the symbol's, the strategy's."""
    targets = [f"symbol:{symbol}"] * bool(symbol) + [f"strategy:{strategy}"] * bool(strategy)
    return {
        name: _strictest(limit, [values.get((name, ""), limit.default), *(values.get((name, t)) for t in targets)])
        for name, limit in LIMITS.items()
    }


def loosens(name: str, before: Value, after: Value) -> bool:
    """Whether a change of one limit lets anything pass that did not before."""
    limit = LIMITS[name]
    if limit.unit is Unit.SYMBOLS:  # of the allowed ones fewer are stricter, of the restricted ones more
        was, now = (None if v is None else frozenset(v) for v in (before, after))  # type: ignore[arg-type]
        if limit.optional:
            return was is not None and (now is None or not now <= was)
        return not (now or frozenset()) >= (was or frozenset())
    return after != before and _strictest(limit, [before, after]) != after


def _strictest(limit: Limit, candidates: list[Value]) -> Value:
    given: list[Any] = [value for value in candidates if value is not None]
    if not given:
        return None
    if limit.unit is Unit.FLAG:
        return limit.strict if limit.strict in given else not limit.strict
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
    if target and limit.name not in OF_A_TARGET:
        raise GuardError(f"{limit.name} speaks of the whole account; it cannot be set for {target}.")


def _number(limit: Limit, value: Any) -> Decimal | int:
    text = str(value).strip().lower().replace(",", "").replace("_", "") if isinstance(value, str) else None
    if text is not None:
        text = text.removeprefix("$") if limit.unit is Unit.DOLLARS else text
        for suffix in SUFFIXES.get(limit.unit, ()):
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
