"""What a strategy is: quotes in, intents out, with parameters that are checked before anything runs.

A strategy decides; it never sends. It is deterministic: the same quotes and fills give the same intents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from athena.errors import SettingsError, did_you_mean
from athena.model import ZERO, Fill, OrderIntent, OrderType, Quote, Side


@dataclass(frozen=True, slots=True)
class Context:
    """What a strategy may know besides the quote. Times are the venue's; `position` is what this strategy holds.

    `entry_price` is the average it was entered at, None when flat.

    `working` says that an order of this strategy in this symbol is still open. `next_number` counts the strategy's
    decisions in this symbol on this trading date, over restarts too.
    """

    strategy: str
    now: datetime
    trading_date: date
    seconds_to_close: float
    position: Decimal
    entry_price: Decimal | None
    working: bool
    next_number: int

    def gain_bps(self, mid: float) -> float:
        """Gain of the position at this mid against its entry, in basis points; 0 when flat."""
        if not self.position or not self.entry_price:
            return 0.0
        entry = float(self.entry_price)
        return (mid - entry) / entry * 10_000 * (1 if self.position > 0 else -1)

    def order(
        self, quote: Quote, signed_quantity: Decimal, reason: str, limit_price: Decimal | None = None
    ) -> OrderIntent:
        """An intent to buy (positive) or sell (negative) shares; its key names date and number, so it is made once."""
        return OrderIntent(
            key=f"{self.trading_date.isoformat()}:{self.next_number}",
            symbol=quote.symbol,
            side=Side.BUY if signed_quantity > 0 else Side.SELL,
            quantity=abs(signed_quantity),
            type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            limit_price=limit_price,
            strategy=self.strategy,
            decision_price=quote.mid,
            decided_at=self.now,
            reason=reason,
        )


class Strategy(Protocol):
    """A named decision maker in some symbols.

    The engine calls `on_quote` for each of its symbols' quotes while the session is open, and `on_fill` for its own
    fills. `cancel_after_seconds`: its orders that stay open longer (venue time) are cancelled.
    """

    @property
    def name(self) -> str: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def cancel_after_seconds(self) -> float: ...

    def on_quote(self, quote: Quote, context: Context) -> Sequence[OrderIntent]: ...

    def on_fill(self, fill: Fill) -> None: ...


def shares_for(dollars: float, price: float) -> Decimal:
    """Whole shares that cost at most so many dollars."""
    return Decimal(math.floor(dollars / price)) if price > 0 else ZERO


P = TypeVar("P")


def parameters_from(kind: type[P], given: Mapping[str, Any], strategy: str) -> P:
    """The frozen parameter record of a strategy from its settings.

    `kind` is a dataclass of floats, ints and bools with defaults and a `check()` that returns what is wrong, or "".
    Raises SettingsError naming strategy, parameter and value, and the nearest name for an unknown one.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known, f"Known: {', '.join(sorted(known))}.")
            raise SettingsError(f"strategy {strategy}: '{name}' is not a parameter.", hint)
        values[name] = _typed(value, str(known[name].type), f"strategy {strategy}: {name}")
    missing = [f.name for f in known.values() if f.default is MISSING and f.name not in values]
    if missing:
        raise SettingsError(f"strategy {strategy}: parameter '{missing[0]}' is missing.")
    made = kind(**values)
    if wrong := made.check():  # type: ignore[attr-defined]
        raise SettingsError(f"strategy {strategy}: {wrong}.")
    return made


def _typed(value: Any, kind: str, where: str) -> Any:
    if kind == "bool":
        if not isinstance(value, bool):
            raise SettingsError(f"{where} is {value!r}; true or false is expected.")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SettingsError(f"{where} is {value!r}; a finite number is expected.")
    if kind == "int" and value != int(value):
        raise SettingsError(f"{where} is {value!r}; a whole number is expected.")
    return int(value) if kind == "int" else float(value)


def check_common(record: Any) -> str:
    """What is wrong with sizes and waits that every example shares, or ""."""
    for name in (
        "dollars", "position_dollars_max", "cooldown_seconds", "cancel_after_seconds", "warmup_seconds",
        "take_profit_bps", "stop_bps",
    ):  # fmt: skip
        if getattr(record, name) <= 0:
            return f"{name} is {getattr(record, name):g}; it must be positive"
    if record.position_dollars_max < record.dollars:
        return f"position_dollars_max {record.position_dollars_max:g} is less than dollars {record.dollars:g}"
    if record.flat_before_close_seconds < 0:
        return f"flat_before_close_seconds is {record.flat_before_close_seconds:g}; it must not be negative"
    return ""
