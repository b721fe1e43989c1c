"""Shares held and what they cost, by average cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from athena.simulator.decimals import ZERO, share_of_cost


@dataclass(slots=True)
class Holding:
    """Shares (signed) and what they cost (signed dollars), by average cost.

    `day_cost` is the same with shares held overnight taken at the close before `day`: it gives the day's own profit.
    """

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    day: date = date.min
    day_cost: Decimal = ZERO

    def cost_today(self, today: date, previous_close: Decimal | None) -> Decimal:
        if self.day == today or previous_close is None:
            return self.day_cost if self.day == today else self.cost
        return self.quantity * previous_close

    def fill(self, signed: Decimal, price: Decimal, today: date, previous_close: Decimal | None) -> Decimal:
        """Takes in a fill; the profit it realised."""
        day_cost = self.cost_today(today, previous_close)
        _, self.day_cost, _ = fold(self.quantity, day_cost, signed, price)
        self.day = today
        self.quantity, self.cost, realised = fold(self.quantity, self.cost, signed, price)
        return realised


def fold(quantity: Decimal, cost: Decimal, signed: Decimal, price: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Quantity and cost after a fill of `signed` shares, and the profit realised, by average cost.

    Exact: cost and profit together always change by `signed * price`.
    """
    if quantity * signed >= 0:
        return quantity + signed, cost + signed * price, ZERO
    closed = min(abs(signed), abs(quantity)) * (1 if signed > 0 else -1)
    removed = share_of_cost(cost, abs(closed), abs(quantity))
    realised = -closed * price - removed
    return quantity + signed, cost - removed + (signed - closed) * price, realised
