"""Halts and limits as the journal holds them at one epoch, compiled so that a check only compares.

`Rules.bounds(symbol, strategy)` is made once per pair and epoch: the strictest mode and the strictest of each limit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.errors import GuardError
from athena.live.limits import LIMITS, NEVER, Unit, Value, effective, parse
from athena.model import Mode, Origin, Scope

if TYPE_CHECKING:
    from athena.journal.journal import Journal

_ABSENT_COUNT = 10**18


@dataclass(frozen=True, slots=True)
class Halt:
    """One restriction with its owner, cleared only by its id. `clean`: no order is still on its way."""

    id: str
    scope: Scope
    target: str
    mode: Mode
    origin: Origin
    owner: str
    reason: str
    nonce: int
    at: datetime
    expires_at: datetime | None = None
    clean: bool = True
    detail: str = ""  # of the wait for orders in flight: "" when clean

    @property
    def where(self) -> str:
        """What it restricts, in words."""
        return {Scope.GLOBAL: "everything"}.get(self.scope, f"{self.scope.value} {self.target}")

    def __str__(self) -> str:
        wait = "" if self.clean else f"; NOT CLEAN: {self.detail}"
        until = f", until {self.expires_at:%Y-%m-%d %H:%M:%S %Z}" if self.expires_at else ""
        mode = self.mode.value.replace("_", "-")
        return f"{self.where} {mode} by {self.owner} ({self.origin.value}): {self.reason}{until} [{self.id}]{wait}"

    def applies(self, symbol: str, strategy: str) -> bool:
        """True when an order of this symbol and strategy is under it; a broker's halt is everyone's."""
        if self.scope is Scope.SYMBOL:
            return self.target == symbol
        if self.scope is Scope.STRATEGY:
            return self.target == strategy
        return True

    @classmethod
    def from_row(cls, row: Any) -> Halt:
        return cls(
            row["id"], Scope(row["scope"]), row["target"], Mode(row["mode"]), Origin(row["origin"]), row["owner"],
            row["reason"], int(row["nonce"]), datetime.fromisoformat(row["at"]),
            datetime.fromisoformat(row["expires_at"]) if row["expires_at"] else None,
        )  # fmt: skip


class Bounds:
    """What binds the orders of one symbol and strategy, ready to compare: an absent maximum is beyond every number."""

    __slots__ = (
        *LIMITS, "cheapest", "dearest", "duplicate_window", "halt", "listed", "mode", "participates", "quote_age",
        "rates",
    )  # fmt: skip

    def __init__(
        self, values: dict[str, Any], rates: tuple[tuple[str, int], ...], halt: Halt | None, symbol: str
    ) -> None:
        for name, value in values.items():
            limit = LIMITS[name]
            if value is None and limit.is_number:
                value = _ABSENT_COUNT if limit.unit is Unit.COUNT else Decimal(0) if limit.floor else NEVER
            setattr(self, name, value)
        self.rates, self.halt, self.mode = rates, halt, halt.mode if halt else Mode.ACTIVE
        collar, window = values["price_collar_bps"], values["duplicate_order_window_seconds"]
        self.dearest = NEVER if collar is None else 1 + collar / 10_000
        self.cheapest = Decimal(0) if collar is None else 1 - collar / 10_000
        self.quote_age = timedelta(seconds=float(values["max_quote_age_seconds"]))
        self.duplicate_window = timedelta(seconds=float(window or 0))
        self.participates = values["max_participation_rate"] is not None
        allowed = values["allowed_symbols"]
        self.listed = "" if allowed is None or symbol in allowed else "allowed_symbols"
        if symbol in values["restricted_symbols"]:
            self.listed = "restricted_symbols"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Rules:
    """Halts and limits of one epoch."""

    def __init__(self, epoch: int, mode: Mode, halts: tuple[Halt, ...], values: dict[tuple[str, str], Value]) -> None:
        self.epoch, self.mode, self.halts, self.values = epoch, mode, halts, values
        self.factor = Decimal(1)  # of the scaled limits; less in a drawdown
        self.compiled: dict[tuple[str, str], Bounds] = {}  # what `bounds` has made so far

    @classmethod
    def load(cls, journal: Journal) -> Rules:
        """Read one consistent epoch. Raises JournalError; GuardError if limits keep changing under the reader."""
        for _ in range(50):
            row = journal.one("SELECT epoch, mode FROM guard WHERE id = 1")
            if row is None:
                raise GuardError("The journal has no guard row.", "Run athena verify-journal.")
            halts = tuple(map(Halt.from_row, journal.query("SELECT * FROM halts WHERE cleared_at IS NULL ORDER BY at")))
            limits = journal.query("SELECT name, target, value FROM limits")
            again = journal.one("SELECT epoch FROM guard WHERE id = 1")
            if again is not None and again[0] == row["epoch"]:
                values = {
                    (name, target): parse(name, json.loads(text)) for name, target, text in limits if name in LIMITS
                }
                return cls(row["epoch"], Mode(row["mode"]), halts, values)
        raise GuardError("Halts and limits change faster than they can be read.", "See who changes them: athena audit.")

    def bounds(self, symbol: str, strategy: str) -> Bounds:
        """What binds orders of this symbol and strategy."""
        key = (symbol, strategy)
        bounds = self.compiled.get(key)
        if bounds is None:
            if len(self.compiled) > 10_000:
                self.compiled.clear()
            bounds = self.compiled[key] = self._compile(symbol, strategy)
        return bounds

    def scale(self, factor: Decimal) -> None:
        """Shrink (or restore) the scaled limits."""
        if factor != self.factor:
            self.factor = factor
            self.compiled.clear()

    def strictest(self, symbol: str = "", strategy: str = "") -> Halt | None:
        """The halt that decides for this symbol and strategy, None when trading is free."""
        return max(
            (h for h in self.halts if h.applies(symbol, strategy)), key=lambda h: h.mode.strictness, default=None
        )

    def owned_by(self, owner: str, target: str = "") -> bool:
        return any(halt.owner == owner and halt.target == target for halt in self.halts)

    def value(self, name: str, target: str = "") -> Value:
        """The limit as set for a target, else its default."""
        return self.values.get((name, target), LIMITS[name].default)

    def _compile(self, symbol: str, strategy: str) -> Bounds:
        values = effective(self.values, symbol, strategy)
        if self.factor != 1:
            for name, limit in LIMITS.items():
                if limit.scaled and isinstance(values[name], Decimal):
                    values[name] = values[name] * self.factor  # type: ignore[operator]
        targets = (f"symbol:{symbol}", f"strategy:{strategy}")
        rates = [("", self.value("max_orders_per_minute"))]  # a target's own rate counts the target's own orders
        rates += [
            (t, self.values["max_orders_per_minute", t]) for t in targets if ("max_orders_per_minute", t) in self.values
        ]
        return Bounds(values, tuple(rates), self.strictest(symbol, strategy), symbol)  # type: ignore[arg-type]


def with_wait(halt: Halt, clean: bool, detail: str) -> Halt:
    """The halt with what came of waiting for orders in flight."""
    return replace(halt, clean=clean, detail=detail)
