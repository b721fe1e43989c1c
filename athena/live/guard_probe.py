"""Asking the guard's own checks one limit at a time: what would it compare, and would that alone refuse?

Nothing here decides anything the guard would not: each answer is `guard_checks.check` under rules in which every other
limit is wide open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from athena.live.guard_book import Book
from athena.live.guard_checks import check
from athena.live.guard_rules import Bounds, Rules
from athena.live.limits import LIMITS, Limit, Unit, Value, effective, show
from athena.live.verdict import Code, Refused
from athena.model import Mode, OrderIntent

_HUGE = 10**15
_LONG = Decimal(10**9)  # seconds: longer than any record, and still a timedelta
_PAIRED = {"max_duplicate_orders": ("duplicate_order_window_seconds",)}  # one says how many, the other in what time
_SECOND = {name for names in _PAIRED.values() for name in names}
_NUMBER = re.compile(r"-?\$?-?[\d,]*\.?\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit held against one order: what the guard would compare with it, and whether it alone would refuse.

    `observed` is in the limit's unit, None where it is not a number; `headroom` is what it leaves beyond this order.
    """

    name: str
    value: Value
    observed: Decimal | None
    passes: bool
    code: str = ""
    message: str = ""

    @property
    def headroom(self) -> Decimal | None:
        value = self.value
        if self.observed is None or isinstance(value, bool) or not isinstance(value, Decimal | int):
            return None
        return self.observed - value if LIMITS[self.name].floor else value - self.observed

    @property
    def share(self) -> float:
        """How much of the limit is used with this order; 0 where that has no meaning."""
        value = self.value
        if self.observed is None or isinstance(value, bool) or not isinstance(value, Decimal | int) or not value:
            return 0.0
        return float(value / self.observed if LIMITS[self.name].floor and self.observed else self.observed / value)

    def to_dict(self) -> dict[str, Any]:
        room = self.headroom
        return {
            "limit": self.name, "value": show(self.name, self.value), "passes": self.passes, "code": self.code,
            "observed": None if self.observed is None else f"{self.observed:f}",
            "headroom": None if room is None else f"{room:f}",
        }  # fmt: skip


def wide_open() -> dict[str, Value]:
    """Limits that refuse nothing."""
    return {name: _open(limit) for name, limit in LIMITS.items()}


def bounds_of(values: Mapping[str, Value], symbol: str, strategy: str) -> Bounds:
    """What a set of limits for everything means to one symbol and strategy, halts aside."""
    return Rules(0, Mode.ACTIVE, (), {(name, ""): value for name, value in values.items()}).bounds(symbol, strategy)


def scaled(rules: Rules, symbol: str, strategy: str) -> dict[str, Value]:
    """Every limit as it binds this symbol and strategy now, shrunk where a drawdown shrinks it."""
    values = effective(rules.values, symbol, strategy)
    if rules.factor != 1:
        for name, limit in LIMITS.items():
            if limit.scaled and isinstance(value := values[name], Decimal):
                values[name] = value * rules.factor
    return values


def probe(
    book: Book, values: Mapping[str, Value], intent: OrderIntent, venue_now: datetime, now_ns: int
) -> tuple[LimitCheck, ...]:
    """Each limit that has something to say to this order; `values` are the effective ones for it.

    Empty when the order is refused whatever the limits are: it is no order, has no quote, or the day is not open.
    """

    def ask(limits: Mapping[str, Value]) -> Refused | None:
        return check(book, bounds_of(limits, intent.symbol, intent.strategy), intent, venue_now, now_ns)

    if ask(wide_open()) is not None:
        return ()
    found = []
    for name, limit in LIMITS.items():
        if values[name] is None or name in _SECOND:
            continue
        alone = wide_open() | {other: values[other] for other in _PAIRED.get(name, ())}
        refused = ask(alone | {name: values[name]})
        strictest = ask(alone | {name: _shut(limit)}) if limit.is_number else refused
        if refused is None and strictest is None:
            continue  # not a limit on an order, or the order takes risk away
        said = strictest if refused is None else refused  # a Refused is false
        observed = _number(said.observed) if said is not None and limit.is_number and _compares(said) else None
        code, why = (str(refused.code), refused.message) if refused is not None else ("", "")
        found.append(LimitCheck(name, values[name], observed, refused is None, code, why))
    return tuple(found)


def largest(
    book: Book, bounds: Bounds, intent: OrderIntent, venue_now: datetime, now_ns: int, most: int = 10_000_000
) -> int:
    """The most whole shares of this order that would pass; 0 when not even one would."""
    from dataclasses import replace

    def passes(shares: int) -> bool:
        return check(book, bounds, replace(intent, quantity=Decimal(shares)), venue_now, now_ns) is None

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if passes(middle) else (low, middle - 1)
    return low


def _open(limit: Limit) -> Value:
    if limit.name == "max_quote_age_seconds":
        return _LONG
    if limit.name == "drawdown_size_factor":
        return Decimal(1)
    if limit.unit is Unit.FLAG:
        return limit.name != "prevent_self_crossing"
    if limit.unit is Unit.SYMBOLS:
        return None if limit.optional else ()
    if limit.unit is Unit.CHOICE:
        return limit.choices[0]
    if limit.optional:
        return None
    return _HUGE if limit.unit is Unit.COUNT else Decimal(_HUGE)


def _shut(limit: Limit) -> Value:
    """A value that everything the limit compares is beyond."""
    if limit.unit is Unit.SECONDS:
        return -_LONG
    if limit.unit is Unit.COUNT:
        return -1
    return Decimal(_HUGE if limit.floor else -_HUGE)


def _compares(refused: Refused) -> bool:
    """False where the guard's two numbers are not the limit's unit: prices of a collar, shares of a rate."""
    return refused.code not in {Code.PRICE_COLLAR, Code.PARTICIPATION, Code.INVALID_ORDER}


def _number(text: str) -> Decimal | None:
    found = _NUMBER.search(text)
    return Decimal(found[0].replace("$", "").replace(",", "")) if found else None
