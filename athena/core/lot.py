"""Shares of one symbol at average cost, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from athena.model import ZERO

_COST_UNIT = Decimal("0.0000000001")  # parts of a cost are cut to this, as venues do, so that sums stay exact


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
                released = (self.cost * -closing / self.quantity).quantize(_COST_UNIT, ROUND_HALF_EVEN)
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
