"""What an account holds, as the venue tells it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from athena.model import Side, trading_date
from athena.simulator.book import Book
from athena.simulator.decimals import SHARE_STEP, ZERO
from athena.simulator.errors import VenueError
from athena.simulator.orders import VenueOrder

if TYPE_CHECKING:
    from athena.simulator.exchange import Exchange


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as GET /v2/positions tells it. Signed quantities; dollars; `_plpc`, change_today as fractions of 1.

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


def describe(exchange: Exchange, book: Book, symbol: str) -> VenuePosition:
    """The account's position in a symbol it holds, on the last trade price."""
    holding = book.holdings[symbol]
    asset = exchange.assets[symbol]
    price = exchange.price(symbol, exchange.at)
    lastday = exchange.tape.previous_close(symbol, exchange.at)
    day_cost = holding.cost_today(trading_date(exchange.at), lastday)
    quantity, value = holding.quantity, holding.quantity * price
    held, _ = book.held(symbol, Side.SELL if quantity > 0 else Side.BUY)
    available = max(abs(quantity) - held, ZERO)
    return VenuePosition(
        asset_id=asset.id,
        symbol=symbol,
        exchange=asset.exchange,
        asset_marginable=asset.marginable,
        quantity=quantity,
        quantity_available=available if quantity > 0 else -available,
        average_entry_price=_rounded(holding.cost / quantity),
        cost_basis=holding.cost,
        market_value=value,
        current_price=price,
        lastday_price=price if lastday is None else lastday,
        change_today=_fraction(price - lastday, lastday) if lastday else ZERO,
        unrealized_pl=value - holding.cost,
        unrealized_plpc=_fraction(value - holding.cost, abs(holding.cost)),
        unrealized_intraday_pl=value - day_cost,
        unrealized_intraday_plpc=_fraction(value - day_cost, abs(day_cost)),
    )


def _fraction(part: Decimal, whole: Decimal) -> Decimal:
    return _rounded(part / whole) if whole else ZERO


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(SHARE_STEP).normalize() + ZERO
