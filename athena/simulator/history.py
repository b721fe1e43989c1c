"""The account's equity over time, computed from its activities and the tape."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PortfolioHistory:
    """Equity and profit (deposits excluded) at each `timestamp` (the beginning of each window), in dollars."""

    timestamp: tuple[datetime, ...]
    equity: tuple[Decimal, ...]
    profit_loss: tuple[Decimal, ...]
    profit_loss_pct: tuple[Decimal | None, ...]
    base_value: Decimal
    base_value_asof: date | None
    timeframe: str
    cashflow: dict[str, tuple[Decimal, ...]]
