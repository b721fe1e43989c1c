"""Shares at average cost, exactly, and whose they are: the one rule for the portfolio, the engine and the reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from athena.model import ZERO

EXTERNAL, OPERATOR = "external", "operator"  # orders from outside, with what was held before; an operator's own orders
NO_STRATEGIES = frozenset({EXTERNAL, OPERATOR})
_UNIT = Decimal("0.0000000001")  # parts of a cost or a fee are cut to this, as venues do, so that sums stay exact


@dataclass(slots=True)
class Lot:
    """Shares (negative is short), what they cost (signed alike), and the profit realised on them, in dollars."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO

    def trade(self, signed: Decimal, price: Decimal) -> Decimal:
        """Take in a fill of `signed` shares; returns the profit it realised. Cost and profit lose no fraction."""
        profit = ZERO
        if self.quantity * signed < 0:
            closing = signed if abs(signed) < abs(self.quantity) else -self.quantity
            released = self.cost
            if closing != -self.quantity:
                released = _part(self.cost, -closing, self.quantity)
            profit = -closing * price - released
            self.quantity, self.cost, signed = self.quantity + closing, self.cost - released, signed - closing
        self.quantity += signed
        self.cost += signed * price
        self.realised += profit
        return profit

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.quantity * mark - self.cost

    @property
    def average_price(self) -> Decimal:
        return self.cost / self.quantity if self.quantity else ZERO


class Part(NamedTuple):
    """What one fill was to one owner: signed shares, fee, and the profit it realised."""

    owner: str
    signed: Decimal
    fee: Decimal
    realised: Decimal


class Book:
    """What each owner holds of each symbol, as a fold of fills in order.

    A strategy's fill is its own. Any other fill (an operator's exit, an order from outside) first closes what
    strategies hold on the opposite side, in order of their names, then what its own and the other such owner hold so;
    only the rest opens something of its own. So after an operator's flatten nobody believes to hold anything, and
    the exit's profit is that of the strategy whose shares it closed. What strategies hold never depends on `EXTERNAL`.
    """

    def __init__(self) -> None:
        self._symbols: dict[str, dict[str, Lot]] = {}

    def lot(self, owner: str, symbol: str) -> Lot:
        """The owner's lot; an empty one where it never traded the symbol."""
        return self._symbols.get(symbol, {}).get(owner) or Lot()

    def lots(self) -> dict[tuple[str, str], Lot]:
        """Every lot ever opened, by (owner, symbol)."""
        return {(owner, symbol): lot for symbol, lots in self._symbols.items() for owner, lot in lots.items()}

    def trade(self, owner: str, symbol: str, signed: Decimal, price: Decimal, fee: Decimal = ZERO) -> tuple[Part, ...]:
        """Take in a fill of the owner's order, and say whose it was; shares and fees of the parts add up exactly."""
        lots = self._symbols.setdefault(symbol, {})
        if owner not in NO_STRATEGIES:
            return (_take(lots, owner, signed, price, fee),)
        parts, paid = [], ZERO
        shares = list(_shares(lots, owner, signed))
        for name, part in shares[:-1]:
            parts.append(_take(lots, name, part, price, _part(fee, part, signed)))
            paid += parts[-1].fee
        name, part = shares[-1]
        return (*parts, _take(lots, name, part, price, fee - paid))

    def copy(self) -> Book:
        return deepcopy(self)


def _shares(lots: Mapping[str, Lot], owner: str, signed: Decimal) -> Iterator[tuple[str, Decimal]]:
    """Whose shares a fill closes, and the rest for its owner; at least one."""
    left = signed
    for name in sorted(lots, key=lambda name: (name in NO_STRATEGIES, name != owner, name)):
        held = lots[name].quantity
        if held * left < 0:
            part = left if abs(left) < abs(held) else -held
            yield name, part
            left -= part
    if left:
        yield owner, left


def _take(lots: dict[str, Lot], owner: str, signed: Decimal, price: Decimal, fee: Decimal) -> Part:
    lot = lots.get(owner)
    if lot is None:
        lot = lots[owner] = Lot()
    lot.fees += fee
    return Part(owner, signed, fee, lot.trade(signed, price))


def _part(amount: Decimal, shares: Decimal, whole: Decimal) -> Decimal:
    return (amount * shares / whole).quantize(_UNIT, ROUND_HALF_EVEN)
