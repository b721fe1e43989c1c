"""What an account holds: average cost, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from athena.simulator.errors import VenueError
from athena.simulator.orders import VenueOrder


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as GET /v2/positions tells it. Signed quantities; dollars; `_plpc` and change_today are fractions of 1.

    Names on the wire: quantity=qty, quantity_available=qty_available, average_entry_price=avg_entry_price; the rest
    as here. Alpaca's cost_basis and market_value are negative for a short position, as here.
    """

    asset_id: str
    symbol: str
    exchange: str
    asset_marginable: bool
    quantity: Decimal
    quantity_available: Decimal
    average_entry_price: Decimal
    cost_basis: Decimal
    market_value: Decimal
    current_price: Decimal
    lastday_price: Decimal
    change_today: Decimal
    unrealized_pl: Decimal
    unrealized_plpc: Decimal
    unrealized_intraday_pl: Decimal
    unrealized_intraday_plpc: Decimal

    @property
    def side(self) -> Literal["long", "short"]:
        return "long" if self.quantity > 0 else "short"


@dataclass(frozen=True, slots=True)
class CloseRow:
    """One row of close-all: HTTP status and the closing order, or the refusal."""

    symbol: str
    status: int
    body: VenueOrder | VenueError
