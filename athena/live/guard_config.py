"""`guard.config`: limits as attributes. Reading one asks the journal; assigning one changes the live limit, durably.

guard.config.max_daily_loss_dollars
guard.config.max_position_per_symbol_dollars *= 0.5
guard.config.for_symbol("AAPL").max_order_quantity = 200
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.errors import GuardError, did_you_mean
from athena.live.limits import LIMITS, Value, show

if TYPE_CHECKING:
    from athena.live.guard_handle import GuardHandle


class LimitValue(Decimal):
    """An exact amount that also takes a float in arithmetic, by the digits that are written: `limit * 0.5` is exact."""

    __slots__ = ()

    @staticmethod
    def _exact(other: Any) -> Any:
        return Decimal(str(other)) if isinstance(other, float) else other

    def __add__(self, other: Any) -> Any:
        return _wrap(Decimal.__add__(self, self._exact(other)))

    def __sub__(self, other: Any) -> Any:
        return _wrap(Decimal.__sub__(self, self._exact(other)))

    def __rsub__(self, other: Any) -> Any:
        return _wrap(Decimal.__rsub__(self, self._exact(other)))

    def __mul__(self, other: Any) -> Any:
        return _wrap(Decimal.__mul__(self, self._exact(other)))

    def __truediv__(self, other: Any) -> Any:
        return _wrap(Decimal.__truediv__(self, self._exact(other)))

    def __rtruediv__(self, other: Any) -> Any:
        return _wrap(Decimal.__rtruediv__(self, self._exact(other)))

    __radd__, __rmul__ = __add__, __mul__


def _wrap(result: Any) -> Any:
    return LimitValue(result) if isinstance(result, Decimal) else result


class GuardConfig:
    """The limits of everything, or of one symbol or strategy; the repr is the table."""

    __slots__ = ("_guard", "_target")

    def __init__(self, guard: GuardHandle, target: str = "") -> None:
        object.__setattr__(self, "_guard", guard)
        object.__setattr__(self, "_target", target)

    def for_symbol(self, symbol: str) -> GuardConfig:
        return GuardConfig(self._guard, f"symbol:{symbol.upper()}")

    def for_strategy(self, strategy: str) -> GuardConfig:
        return GuardConfig(self._guard, f"strategy:{strategy}")

    def __getattr__(self, name: str) -> Any:
        if name not in LIMITS:
            raise AttributeError(f"'{name}' is not a limit. {did_you_mean(name, LIMITS)}".rstrip())
        value = self._guard.limits()[name] if not self._target else self._guard.limits(self._target)[name]
        return LimitValue(value) if isinstance(value, Decimal) else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in LIMITS:
            raise GuardError(f"'{name}' is not a limit.", did_you_mean(name, LIMITS, "guard.config lists them."))
        self._guard.set_limit(name, value, target=self._target, reason="guard.config")

    def __dir__(self) -> list[str]:
        return [*LIMITS, "for_strategy", "for_symbol"]

    def __repr__(self) -> str:
        values: dict[str, Value] = self._guard.limits(self._target)
        lines = [f"Limits of {self._target or 'everything'}"]
        lines += [f"  {name:34} {show(name, value):>16}  {LIMITS[name].compares}" for name, value in values.items()]
        return "\n".join(lines)
