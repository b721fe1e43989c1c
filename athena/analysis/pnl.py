"""Profit and loss by average cost, exact to the cent, and the identity that ties it to the change of equity.

    equity at end = equity at start + realised + change of unrealised − fees + income + transfers + unexplained

Income is dividends and interest; transfers are deposits and withdrawals. What is left unexplained is shown, never
spread over the other lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from athena.model import ZERO

Key = tuple[str, str]  # symbol, strategy
PROFIT_COLUMNS = [
    "symbol",
    "strategy",
    "quantity_start",
    "quantity_end",
    "realised",
    "unrealised",
    "fees",
    "total",
    "priced",
]


@dataclass
class Lot:
    """Shares held (negative is short) and what they cost, both signed alike; the average price is their quotient."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    def trade(self, signed_quantity: Decimal, price: Decimal) -> Decimal:
        """Takes one fill in and returns the profit it realised in dollars; a flip closes first, then opens."""
        closing = ZERO
        if self.quantity * signed_quantity < 0:
            closing = max(-abs(self.quantity), -abs(signed_quantity)) * (1 if self.quantity > 0 else -1)
        released = self.cost * -closing / self.quantity if closing else ZERO
        self.cost += (signed_quantity - closing) * price - released
        self.quantity += signed_quantity
        return -closing * price - released

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.quantity * mark - self.cost


def take_in(fills: pd.DataFrame, lots: dict[Key, Lot]) -> pd.Series:
    """Folds fills into `lots`, in their order, and returns what each realised.

    fills: symbol, strategy, side ('buy' or 'sell'), quantity, price (Decimals, quantity > 0). Raises ValueError on
    another side or a quantity that is not positive.
    """
    realised: list[Decimal] = []
    columns = [fills[name] for name in ("symbol", "strategy", "side", "quantity", "price")]
    for symbol, strategy, side, quantity, price in zip(*columns, strict=True):
        if side not in ("buy", "sell") or not quantity > 0:
            raise ValueError(f"a fill of {symbol} has side {side!r} and quantity {quantity}; nothing can be concluded")
        lot = lots.setdefault((symbol, strategy), Lot())
        realised.append(lot.trade(quantity if side == "buy" else -quantity, price))
    return pd.Series(realised, index=fills.index, dtype=object)


def profit(
    fills: pd.DataFrame,
    lots: Mapping[Key, Lot],
    marks_before: Mapping[str, Decimal],
    marks_after: Mapping[str, Decimal],
) -> tuple[pd.DataFrame, dict[Key, Lot], pd.Series]:
    """The period's P&L by symbol and strategy, the lots at its end, and what each fill realised.

    fills: the period's, as in `take_in`, plus fee. lots: held at its start. marks: prices of the start and of the end,
    in dollars. Columns: PROFIT_COLUMNS; total = realised + unrealised − fees, where `unrealised` is its *change*.
    A position without a mark is not priced: its unrealised and total are None and `priced` is False.
    """
    after = {key: Lot(lot.quantity, lot.cost) for key, lot in lots.items()}
    gained = take_in(fills, after)
    by_key: Any = fills.assign(realised=gained).groupby(["symbol", "strategy"], sort=True)
    sums = {key: (sum(rows["realised"], ZERO), sum(rows["fee"], ZERO)) for key, rows in by_key}
    rows = []
    for key in sorted(
        {key for key, lot in after.items() if lot.quantity} | {k for k, v in lots.items() if v.quantity} | set(sums)
    ):
        realised, fees = sums.get(key, (ZERO, ZERO))
        start, end = lots.get(key, Lot()), after[key]
        worth = [_unrealised(start, marks_before.get(key[0])), _unrealised(end, marks_after.get(key[0]))]
        change = None if worth[0] is None or worth[1] is None else worth[1] - worth[0]
        total = None if change is None else realised + change - fees
        rows.append([*key, start.quantity, end.quantity, realised, change, fees, total, change is not None])
    return pd.DataFrame(rows, columns=PROFIT_COLUMNS, dtype=object), after, gained


def _unrealised(lot: Lot, mark: Decimal | None) -> Decimal | None:
    if not lot.quantity:
        return ZERO
    return None if mark is None else lot.unrealised(mark)


@dataclass(frozen=True)
class Identity:
    """The lines that tie equity at the start to equity at the end, in dollars; positive adds to equity."""

    equity_start: Decimal
    realised: Decimal
    unrealised: Decimal
    fees: Decimal  # paid: positive, and subtracted
    income: Decimal
    transfers: Decimal
    equity_end: Decimal
    tolerance: Decimal

    @property
    def profit(self) -> Decimal:
        """Realised + change of unrealised − fees + income."""
        return self.realised + self.unrealised - self.fees + self.income

    @property
    def unexplained(self) -> Decimal:
        return self.equity_end - self.equity_start - self.transfers - self.profit

    @property
    def holds(self) -> bool:
        return abs(self.unexplained) <= self.tolerance

    def lines(self) -> pd.DataFrame:
        """One row a line: line, amount."""
        rows = [
            ("Equity at the start", self.equity_start),
            ("Realised", self.realised),
            ("Unrealised change", self.unrealised),
            ("Fees on fills", -self.fees),
            ("Dividends, interest, other charges", self.income),
            ("Deposits and withdrawals", self.transfers),
            ("Unexplained", self.unexplained),
            ("Equity at the end", self.equity_end),
        ]
        return pd.DataFrame(rows, columns=["line", "amount"])


def by(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The P&L summed by 'symbol' or 'strategy', largest loss first; a sum with an unpriced part is None."""
    numbers = ["realised", "unrealised", "fees", "total"]
    rows = []
    for name, part in table.groupby(key, sort=True):
        sums = [None if part[column].isna().any() else sum(part[column], ZERO) for column in numbers]
        rows.append([name, *sums])
    frame = pd.DataFrame(rows, columns=[key, *numbers], dtype=object)
    order = sorted(range(len(frame)), key=lambda i: (frame["total"].iloc[i] is None, frame["total"].iloc[i] or ZERO))
    return frame.iloc[order].reset_index(drop=True)
