"""The account's book of executions and cash flows, and its pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from athena.model import NEW_YORK, OrderStatus, Side, trading_date
from athena.simulator.errors import invalid

MOST_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class FillActivity:
    """One execution. `id` is "yyyymmddHHMMSSmmm::uuid" in New York time; the uuid is the execution_id of the update.

    A trade_bust takes the execution `previous_id` back; a trade_correct stands in its place.
    Names on the wire: quantity=qty, cumulative_quantity=cum_qty, leaves_quantity=leaves_qty, at=transaction_time.
    """

    id: str
    at: datetime
    type: Literal["fill", "partial_fill", "trade_bust", "trade_correct"]
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    cumulative_quantity: Decimal
    leaves_quantity: Decimal
    order_status: OrderStatus
    activity_type: Literal["FILL"] = "FILL"
    previous_id: str | None = None

    @property
    def execution_id(self) -> str:
        return self.id.partition("::")[2]


@dataclass(frozen=True, slots=True)
class CashActivity:
    """A deposit (CSD) or withdrawal (CSW): `net_amount` in signed dollars; at=created_at; its `date` is New York's."""

    id: str
    at: datetime
    net_amount: Decimal
    activity_type: Literal["CSD", "CSW"]
    description: str = ""


Activity = FillActivity | CashActivity


def activity_id(at: datetime, unique: str) -> str:
    """Alpaca's form: New York time to the millisecond, then a UUID."""
    local = at.astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}::{unique}"


def page(
    activities: Sequence[Activity],
    *,
    types: Sequence[str] | None,
    on: date | None,
    after: datetime | None,
    until: datetime | None,
    direction: Literal["asc", "desc"],
    page_size: int,
    page_token: str | None,
) -> tuple[Activity, ...]:
    """One page of `activities`, which are in order of time. VenueError 422 for a size or a token that is none."""
    if not 1 <= page_size <= MOST_PER_PAGE:
        raise invalid(f"page_size must be between 1 and {MOST_PER_PAGE}")
    ordered = activities if direction == "asc" else activities[::-1]
    if page_token is not None:
        place = next((index for index, one in enumerate(ordered) if one.id == page_token), None)
        if place is None:
            raise invalid("invalid page_token")
        ordered = ordered[place + 1 :]
    found: list[Activity] = []
    for one in ordered:
        if (
            (types is None or one.activity_type in types)
            and (on is None or trading_date(one.at) == on)
            and (after is None or one.at > after)
            and (until is None or one.at < until)
        ):
            found.append(one)
            if len(found) == page_size:
                break
    return tuple(found)
