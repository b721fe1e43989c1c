"""What the venue says when it says no: Alpaca's HTTP status, code and message, one function for each case."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from decimal import Decimal

from athena.simulator.decimals import plain

BAD_REQUEST = 40010001
UNPROCESSABLE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
UNAUTHORIZED = 40110000


class VenueError(Exception):
    """A refusal as it goes on the wire: HTTP `status` and the body {"code", "message", **extra} (strings, lists)."""

    def __init__(self, status: int, code: int, message: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = dict(extra or {})

    @property
    def body(self) -> dict[str, object]:
        """The JSON body."""
        return {"code": self.code, "message": self.message, **self.extra}


def unauthorized() -> VenueError:
    """401: the key is not known."""
    return VenueError(401, UNAUTHORIZED, "request is not authorized")


def invalid(message: str) -> VenueError:
    """A malformed field: 422 with the validation code."""
    return VenueError(422, BAD_REQUEST, message)


def unprocessable(message: str) -> VenueError:
    """A well-formed request that the rules do not allow: 422."""
    return VenueError(422, UNPROCESSABLE, message)


def forbidden(message: str, **extra: object) -> VenueError:
    """The account may not do this now: 403."""
    return VenueError(403, FORBIDDEN, message, extra)


def insufficient_buying_power(available: Decimal, cost: Decimal) -> VenueError:
    """403 with what there is and what the order costs."""
    return forbidden("insufficient buying power", buying_power=plain(available), cost_basis=plain(cost))


def insufficient_quantity(
    symbol: str, requested: Decimal, existing: Decimal, held: Decimal, related: list[str]
) -> VenueError:
    """More shares than are held and not spoken for; `existing` and `held` unsigned."""
    available = max(existing - held, Decimal(0))
    return forbidden(
        f"insufficient qty available for order (requested: {plain(requested)}, available: {plain(available)})",
        available=plain(available),
        existing_qty=plain(existing),
        held_for_orders=plain(held),
        related_orders=related,
        symbol=symbol,
    )


def wash_trade(existing_order_id: str, kind: str) -> VenueError:
    """403: it could trade with the account's own order, which is named."""
    return forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        reject_reason=f"opposite side {kind} order exists",
    )


def auction_window(auction: str, opens: time, closes: time) -> VenueError:
    """OPG and CLS orders are taken between two times of the New York evening and the next day."""

    def spoken(at: time) -> str:
        return f"{(at.hour - 1) % 12 + 1}:{at:%M}{'am' if at.hour < 12 else 'pm'}"

    return forbidden(f"{auction} orders must be submitted after {spoken(opens)} and before {spoken(closes)}")


def unknown_asset(symbol: str) -> VenueError:
    """As POST says it; GET says `asset not found for X`, 404."""
    return unprocessable(f'asset "{symbol}" not found')


def unknown_order(order_id: str) -> VenueError:
    """404 of an order's id."""
    return VenueError(404, NOT_FOUND, f"order not found for {order_id}")


def no_position() -> VenueError:
    """404 of a position."""
    return VenueError(404, NOT_FOUND, "position does not exist")
