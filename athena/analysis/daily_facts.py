"""One trading day as recorded (`DayRecord`) and what follows from it by arithmetic alone (`DayFacts`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from athena.analysis import curves, execution, pnl
from athena.analysis.tables import rows_of
from athena.lot import EXTERNAL, Book
from athena.model import ZERO

CENT = Decimal("0.01")


_FILLS = "execution_id strategy symbol side quantity price fee at trading_date bid ask"
_ORDERS = (
    "client_order_id strategy symbol status quantity filled_quantity error limit_price decision_price"
    " intended_at intended_venue_at acknowledged_at"
)
_VIOLATIONS = "venue_at code message symbol strategy observed limit_value client_order_id action"
_HALTS = "scope target mode origin owner reason from_at to_at cleared_by cleared_reason"


def _columns(text: str) -> Callable[[], pd.DataFrame]:
    """Makes the empty frame with these columns."""
    return lambda: pd.DataFrame(columns=text.split())


@dataclass(frozen=True)
class DayRecord:
    """One trading day as the journal has it; frames have the journal's column names, money as Decimal, aware times.

    `problem` says why there is no such day, and then nothing else need be filled. fills: all up to and including the
    day. equity: the day's curve. closes: last equity of each earlier day and of this one. halts: those in force at any
    time of the day, with `from_at` and `to_at` in venue time (NaT: still in force). marks: price by symbol that went
    into the equity at the start and at the end. opening_equity: when the day was opened and with how much.
    """

    trading_date: date
    journal: str
    as_of: datetime
    problem: str = ""
    sequence: int = 0
    venue_now: datetime | None = None
    engine_alive: bool = False
    session_open: datetime | None = None
    session_close: datetime | None = None
    account: Mapping[str, Any] = field(default_factory=dict)
    equity_start: Decimal | None = None
    marks_start: Mapping[str, Decimal] = field(default_factory=dict)
    marks_end: Mapping[str, Decimal] = field(default_factory=dict)
    opening_equity: tuple[datetime, Decimal] | None = None
    openings: pd.DataFrame = field(default_factory=_columns("symbol quantity price"))
    fills: pd.DataFrame = field(default_factory=_columns(_FILLS))
    equity: pd.DataFrame = field(default_factory=_columns("venue_at equity"))
    closes: pd.DataFrame = field(default_factory=_columns("trading_date equity"))
    cash_flows: pd.DataFrame = field(default_factory=_columns("kind amount at trading_date is_transfer"))
    orders: pd.DataFrame = field(default_factory=_columns(_ORDERS))
    violations: pd.DataFrame = field(default_factory=_columns(_VIOLATIONS))
    halts: pd.DataFrame = field(default_factory=_columns(_HALTS))
    limits: pd.DataFrame = field(default_factory=_columns("name target value version changed_at changed_by"))
    reconciliations: pd.DataFrame = field(default_factory=_columns("at venue_at trigger ok breaks"))
    broker_states: pd.DataFrame = field(default_factory=_columns("at broker state reason"))

    def __repr__(self) -> str:
        return f"<{' · '.join(self._line())}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f'<div class="athena"><p class="soft">{escape(" · ".join(self._line()))}</p></div>'

    def _line(self) -> list[str]:
        """Account and venue, the day, and how old the data is: what a reader checks first."""
        from athena.analysis import style

        venue = str(self.account.get("venue", "no account"))
        money = "REAL MONEY" if venue == "live" else "no real money" if self.account else "nothing bound"
        end = "no equity recorded" if self.equity.empty else f"data to {style.moment(self.equity['venue_at'].iloc[-1])}"
        engine = "engine running" if self.engine_alive else "engine not running"
        number = f"account {self.account['account_number']}" if self.account.get("account_number") else ""
        parts = [
            f"{venue} ({money})",
            number,
            f"trading day {self.trading_date}",
            end,
            engine,
            f"journal at {self.sequence}",
        ]
        return [part for part in parts if part]


@dataclass(frozen=True)
class DayFacts:
    """What follows from a record by arithmetic alone; `assess` judges it."""

    record: DayRecord
    fills: pd.DataFrame  # the day's, with slippage
    parts: pd.DataFrame  # the same by whose shares they were: an operator's exit is its strategies'
    profit: pd.DataFrame  # by symbol and strategy
    net: pd.DataFrame  # by symbol, of the account's net position, as the broker counts
    book: Book  # at the end of the day
    realised: pd.Series
    identity: pnl.Identity | None
    curve: pd.Series  # equity of the day less its transfers, from the start of the day
    closes: pd.Series  # equity of each close in dollars, all transfers taken out
    close_drawdown: pd.Series  # of those closes, fractions

    @property
    def unpriced(self) -> list[str]:
        return sorted(set(self.profit.loc[~self.profit["priced"].astype(bool), "symbol"]))

    @property
    def positions(self) -> pd.DataFrame:
        """Held at the end, by symbol and strategy, in Decimals; mark, value and unrealised are None without a mark."""
        rows = []
        for (strategy, symbol), lot in sorted(self.book.lots().items(), key=lambda item: item[0][::-1]):
            if lot.quantity:
                mark = self.record.marks_end.get(symbol)
                value = None if mark is None else lot.quantity * mark
                gain = None if mark is None else lot.unrealised(mark)
                rows.append([symbol, strategy, lot.quantity, lot.average_price, mark, value, gain])
        names = ["symbol", "strategy", "quantity", "average", "mark", "value", "unrealised"]
        return pd.DataFrame(rows, columns=names, dtype=object)


def work_out(record: DayRecord) -> DayFacts:
    """Folds, measures and reconciles the record. Raises ValueError naming what cannot be true in it."""
    today = record.fills["trading_date"] == record.trading_date
    fills = record.fills[today].reset_index(drop=True)
    table, book, parts = pnl.profit(fills, _before(record, today), record.marks_start, record.marks_end)
    net, realised = _net(record, fills, today)
    flows = record.cash_flows
    moved = flows[flows["is_transfer"].astype(bool)] if len(flows) else flows
    closes, falls = _closes(record, moved)
    return DayFacts(
        record=record,
        fills=execution.with_slippage(fills),
        parts=execution.with_slippage(parts),
        profit=table,
        net=net,
        book=book,
        realised=realised,
        identity=_identity(record, net, len(fills)),
        curve=_day_curve(record, moved),
        closes=closes,
        close_drawdown=falls,
    )


def _net(record: DayRecord, fills: pd.DataFrame, today: pd.Series) -> tuple[pd.DataFrame, pd.Series]:
    """The P&L by symbol of the account's net position, and what each of the day's fills realised."""
    before = _before(replace(record, fills=record.fills.assign(strategy="")), today, owner="")
    table, _, parts = pnl.profit(fills.assign(strategy=""), before, record.marks_start, record.marks_end)
    return table, parts["realised"]


def _before(record: DayRecord, today: pd.Series, owner: str = EXTERNAL) -> Book:
    """The book at the start of the day; what the account held when it was bound is the owner's."""
    book = Book()
    for row in rows_of(record.openings):
        book.trade(owner, row.symbol, row.quantity, row.price)
    pnl.take_in(record.fills[~today], book)
    return book


def _identity(record: DayRecord, table: pd.DataFrame, fills: int) -> pnl.Identity | None:
    """None where equity is not known at both ends, or a position has no price: then nothing can be reconciled."""
    if record.equity_start is None or record.equity.empty or not table["priced"].all():
        return None
    flows = record.cash_flows[record.cash_flows["trading_date"] == record.trading_date]
    is_transfer = flows["is_transfer"].astype(bool)
    positions = int((table["quantity_end"] != 0).sum() + (table["quantity_start"] != 0).sum())
    return pnl.Identity(
        equity_start=record.equity_start,
        realised=sum(table["realised"], ZERO),
        unrealised=sum(table["unrealised"], ZERO),
        fees=sum(table["fees"], ZERO),
        income=sum(flows.loc[~is_transfer, "amount"], ZERO),
        transfers=sum(flows.loc[is_transfer, "amount"], ZERO),
        equity_end=record.equity["equity"].iloc[-1],
        tolerance=CENT * (2 + fills + positions),
    )


def _day_curve(record: DayRecord, moved: pd.DataFrame) -> pd.Series:
    """Equity less the day's transfers; the start of the day is its first point, so that a gap at the open shows."""
    curve = _series(record.equity["equity"], record.equity["venue_at"])
    if curve.empty:
        return curve
    today = moved[moved["trading_date"] == record.trading_date]
    if record.equity_start is not None:
        first = curve.index[0] - pd.Timedelta(seconds=1)
        curve = pd.concat([pd.Series([float(record.equity_start)], index=pd.DatetimeIndex([first])), curve])
        # Money that came before the first reading is in that reading but not in the start.
        at = pd.DatetimeIndex(today["at"]).map(lambda moment: max(moment, curve.index[1]))
    else:
        at = pd.DatetimeIndex(today["at"])
    return curves.without_flows(curve, _series(today["amount"], at))


def _closes(record: DayRecord, moved: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Equity less transfers, and the drawdown, of each day's close; no drawdown where equity is not positive."""
    index = pd.DatetimeIndex(pd.to_datetime(record.closes["trading_date"]), tz="UTC")
    equity = pd.Series(record.closes["equity"].astype(float).to_numpy(), index=index)
    if equity.empty or (equity <= 0).any():
        return equity, pd.Series(dtype=float)
    days = pd.DatetimeIndex(pd.to_datetime(moved["trading_date"]), tz="UTC")
    flows = pd.Series(moved["amount"].astype(float).to_numpy(), index=days)
    return curves.without_flows(equity, flows), curves.underwater(equity, flows)


def _series(values: pd.Series, at: Any) -> pd.Series:
    index = pd.DatetimeIndex(at)
    if index.tz is None:
        index = index.tz_localize("UTC")
    series = pd.Series(values.astype(float).to_numpy(), index=index).sort_index(kind="stable")
    return series[~series.index.duplicated(keep="last")]
