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

from athena.lot import Book, Lot, Part
from athena.model import ZERO

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


def take_in(fills: pd.DataFrame, book: Book) -> pd.DataFrame:
    """Folds fills into `book`, in their order; returns them by whose shares they were, with `realised` in dollars.

    fills: symbol, strategy, side ('buy' or 'sell'), quantity, price, fee (Decimals, quantity > 0). A fill of a strategy
    stays one row; an operator's or outside exit becomes one for each strategy whose shares it closed (`athena.lot`).
    Raises ValueError on another side or a quantity that is not positive.
    """
    rows: list[int] = []
    parts: list[Part] = []
    columns = [fills[name] for name in ("symbol", "strategy", "side", "quantity", "price", "fee")]
    for number, (symbol, strategy, side, quantity, price, fee) in enumerate(zip(*columns, strict=True)):
        if side not in ("buy", "sell") or not quantity > 0:
            raise ValueError(f"a fill of {symbol} has side {side!r} and quantity {quantity}; nothing can be concluded")
        taken = book.trade(strategy, symbol, quantity if side == "buy" else -quantity, price, fee)
        rows += [number] * len(taken)
        parts += taken
    return fills.iloc[rows].assign(
        strategy=pd.Series([part.owner for part in parts], index=fills.index[rows], dtype=object).to_numpy(),
        quantity=_objects([abs(part.signed) for part in parts]),
        fee=_objects([part.fee for part in parts]),
        realised=_objects([part.realised for part in parts]),
    )


def _objects(values: list[Decimal]) -> Any:
    return pd.Series(values, dtype=object).to_numpy()


def profit(
    fills: pd.DataFrame, before: Book, marks_before: Mapping[str, Decimal], marks_after: Mapping[str, Decimal]
) -> tuple[pd.DataFrame, Book, pd.DataFrame]:
    """The period's P&L by symbol and strategy, the book at its end, and the fills by whose shares they were.

    fills: the period's, as in `take_in`. before: the book at its start. marks: prices of the start and of the end,
    in dollars. Columns: PROFIT_COLUMNS; total = realised + unrealised − fees, where `unrealised` is its *change*.
    A position without a mark is not priced: its unrealised and total are None and `priced` is False.
    """
    after = before.copy()
    parts = take_in(fills, after)
    held = {key for book in (before, after) for key, lot in book.lots().items() if lot.quantity}
    rows = []
    for symbol, strategy in sorted(
        {(s, o) for o, s in held} | set(zip(parts["symbol"], parts["strategy"], strict=True))
    ):
        start, end = before.lot(strategy, symbol), after.lot(strategy, symbol)
        realised, fees = end.realised - start.realised, end.fees - start.fees
        worth = [_unrealised(start, marks_before.get(symbol)), _unrealised(end, marks_after.get(symbol))]
        change = None if worth[0] is None or worth[1] is None else worth[1] - worth[0]
        total = None if change is None else realised + change - fees
        quantities = [start.quantity, end.quantity]
        rows.append([symbol, strategy, *quantities, realised, change, fees, total, change is not None])
    return pd.DataFrame(rows, columns=PROFIT_COLUMNS, dtype=object), after, parts


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
