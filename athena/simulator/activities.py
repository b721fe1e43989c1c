"""The account's book of executions and cash flows, and its pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from athena.model import OrderStatus, Side


@dataclass(frozen=True, slots=True)
class FillActivity:
    """One execution. `id` is "yyyymmddHHMMSSmmm::uuid" in New York time; the uuid is the execution_id of the update.

    Names on the wire: quantity=qty, cumulative_quantity=cum_qty, leaves_quantity=leaves_qty, at=transaction_time.
    """

    id: str
    at: datetime
    type: Literal["fill", "partial_fill"]
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    cumulative_quantity: Decimal
    leaves_quantity: Decimal
    order_status: OrderStatus
    activity_type: Literal["FILL"] = "FILL"

    @property
    def execution_id(self) -> str:
        return self.id.partition("::")[2]


@dataclass(frozen=True, slots=True)
class CashActivity:
    """A deposit (CSD) or a withdrawal (CSW). `net_amount` in signed dollars; at=created_at; its `date` is New York's."""

    id: str
    at: datetime
    net_amount: Decimal
    activity_type: Literal["CSD", "CSW"]
    description: str = ""


Activity = FillActivity | CashActivity
