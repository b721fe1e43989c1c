"""What is held and what was earned: a pure fold of openings, fills, cash flows and marks, in exact Decimals.

    equity = opening cash + openings at cost + realised + unrealised - fees + income + transfers

Cost is by average; a flip through zero closes all, then opens. Deposits and withdrawals (`transfers`) are no profit;
dividends and interest (`income`) and fees are. Realised profit per symbol follows the account's net position, as a
broker's does; per strategy it follows that strategy's shares, whoever closed them (`athena.lot.Book`). In sum over a
symbol both give the same total.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import JournalError
from athena.journal.codec import decode, from_text, to_text
from athena.journal.journal import Journal
from athena.lot import EXTERNAL, Book, Lot
from athena.model import NEW_YORK, ZERO, CashFlow, Fill, Position, dollars

if TYPE_CHECKING:
    import pandas as pd

_FILLS = (
    "SELECT execution_id, strategy, symbol, side, quantity, price, fee FROM fills WHERE at <= ? ORDER BY at, sequence"
)


class Portfolio:
    """An account's positions and profit; `repr` shows equity, profit and what is held."""

    def __init__(self, cash: Decimal = ZERO, openings: Iterable[Position] = ()) -> None:
        self.cash = cash
        self.transfers = self.income = ZERO
        self._symbols: dict[str, Lot] = {}
        self._book = Book()
        self._marks: dict[str, Decimal] = {}
        self._taken: set[str] = set()  # executions
        self._flows: set[str] = set()
        for position in openings:
            self._net(position.symbol).trade(position.quantity, position.average_entry_price)
            self._book.trade(EXTERNAL, position.symbol, position.quantity, position.average_entry_price)
            if position.current_price is not None:
                self._marks[position.symbol] = position.current_price

    @classmethod
    def from_journal(cls, journal: Journal, as_of: datetime | None = None) -> Portfolio:
        """The portfolio the journal tells of, now or at a venue time `as_of`; from one snapshot of its tables.

        Marks are the latest prints (else mids) the engine left, or those of the last equity event up to `as_of`.
        Raises JournalError when no account is bound (yet).
        """
        until = "9999" if as_of is None else to_text(as_of)
        with journal.reading():
            account = journal.one("SELECT * FROM account WHERE id = 1")
            if account is None or account["bound_at"] > until:
                since = f" before {account['bound_at']}" if account else ""
                raise JournalError(f"{journal.path} has no account{since}.", "Start the engine, which binds one.")
            openings = journal.query("SELECT symbol, quantity, price, mark FROM openings")
            fills = journal.query(_FILLS, (until,))
            flows = journal.query("SELECT * FROM cash_flows WHERE at <= ?", (until,))
            marks = _marks(journal, None if as_of is None else until)
        held = [opening(row) for row in openings]
        portfolio = cls(Decimal(account["opening_cash"]), held)
        for execution, strategy, symbol, side, quantity, price, fee in fills:
            portfolio._taken.add(execution)
            signed = Decimal(quantity) if side == "buy" else -Decimal(quantity)
            portfolio._trade(strategy, symbol, signed, Decimal(price), Decimal(fee))
        for row in flows:
            portfolio.apply_cash_flow(
                CashFlow(row["id"], row["kind"], Decimal(row["amount"]), from_text(row["at"]), row["description"])
            )
        for symbol, price in marks.items():
            portfolio.mark(symbol, price)
        return portfolio

    def apply_fill(self, fill: Fill) -> Decimal:
        """Take a fill in once, however often it is told; returns the profit it realised on the net position."""
        if fill.execution_id in self._taken:
            return ZERO
        self._taken.add(fill.execution_id)
        return self._trade(fill.strategy, fill.symbol, fill.signed_quantity, fill.price, fill.fee)

    def apply_cash_flow(self, flow: CashFlow) -> None:
        """Take money in or out; a flow told twice counts once."""
        if flow.id in self._flows:
            return
        self._flows.add(flow.id)
        self.cash += flow.amount
        if flow.is_transfer:
            self.transfers += flow.amount
        else:
            self.income += flow.amount

    def mark(self, symbol: str, price: Decimal) -> None:
        """Value `symbol` at `price` from now on. Raises ValueError on a price that is not a positive number."""
        if not (price.is_finite() and price > 0):
            raise ValueError(f"{symbol} cannot be marked at {price}; a positive price is needed")
        self._marks[symbol] = price

    def remark(self, journal: Journal) -> None:
        """Value everything at the newest prices the engine left in the journal."""
        for symbol, price in _marks(journal, None).items():
            self._marks[symbol] = price

    def positions(self) -> tuple[Position, ...]:
        """What is held, by symbol; `current_price` is None where no price is known."""
        return tuple(self.position(symbol) for symbol, lot in sorted(self._symbols.items()) if lot.quantity)

    def position(self, symbol: str) -> Position:
        """One symbol's position; zero shares when none is held."""
        lot = self._symbols.get(symbol) or Lot()
        return Position(symbol, lot.quantity, lot.average_price, self._marks.get(symbol))

    @property
    def unmarked(self) -> tuple[str, ...]:
        """Symbols held without any known price: equity takes them at cost, so say so beside it."""
        return tuple(s for s, lot in sorted(self._symbols.items()) if lot.quantity and s not in self._marks)

    @property
    def equity(self) -> Decimal:
        """Cash and the marked value of what is held, in dollars."""
        return self.cash + sum((lot.cost + self._unrealised(s, lot) for s, lot in self._symbols.items()), ZERO)

    @property
    def realised_pnl(self) -> Decimal:
        """Profit of closed shares since the account was bound, before fees and income."""
        return sum((lot.realised for lot in self._symbols.values()), ZERO)

    @property
    def unrealised_pnl(self) -> Decimal:
        return sum((self._unrealised(symbol, lot) for symbol, lot in self._symbols.items()), ZERO)

    @property
    def fees(self) -> Decimal:
        """Fees of the fills, positive is cost. Fees that came as cash flows are in `income`, negative."""
        return sum((lot.fees for lot in self._symbols.values()), ZERO)

    @property
    def pnl(self) -> Decimal:
        """All profit since the account was bound: realised + unrealised - fees + income."""
        return self.realised_pnl + self.unrealised_pnl - self.fees + self.income

    @property
    def marks(self) -> dict[str, Decimal]:
        return dict(self._marks)

    def by_symbol(self) -> dict[str, Lot]:
        """Net position, cost, realised profit and fees of every symbol ever held."""
        return dict(self._symbols)

    def by_strategy(self) -> dict[tuple[str, str], Lot]:
        """The same of each (strategy, symbol); an operator's exit counts for the strategies whose shares it closed."""
        return self._book.lots()

    def table(self, by: str = "symbol") -> pd.DataFrame:
        """One row a symbol, or a (strategy, symbol) with by='strategy': for eyes, so in floats of dollars."""
        import pandas as pd

        lots = {("", s): lot for s, lot in self._symbols.items()} if by == "symbol" else self._book.lots()
        rows = [
            {"strategy": strategy, "symbol": symbol, "quantity": float(lot.quantity),
             "average_price": float(lot.average_price), "price": float(self._marks.get(symbol, "nan")),
             "market_value": float(lot.cost + self._unrealised(symbol, lot)), "realised_pnl": float(lot.realised),
             "unrealised_pnl": float(self._unrealised(symbol, lot)), "fees": float(lot.fees)}
            for (strategy, symbol), lot in sorted(lots.items())
        ]  # fmt: skip
        columns = ["strategy", "symbol", "quantity", "average_price", "price", "market_value", "realised_pnl"]
        frame = pd.DataFrame(rows, columns=[*columns, "unrealised_pnl", "fees"])
        return frame.drop(columns="strategy") if by == "symbol" else frame

    def __repr__(self) -> str:
        held = ", ".join(f"{p.quantity:f} {p.symbol}" for p in self.positions()) or "flat"
        return f"<Portfolio equity {dollars(self.equity)}, profit {dollars(self.pnl)}: {held}>"

    def _trade(self, strategy: str, symbol: str, signed: Decimal, price: Decimal, fee: Decimal) -> Decimal:
        self.cash -= signed * price + fee
        self._marks.setdefault(symbol, price)
        self._book.trade(strategy, symbol, signed, price, fee)
        net = self._net(symbol)
        net.fees += fee
        return net.trade(signed, price)

    def _net(self, symbol: str) -> Lot:
        net = self._symbols.get(symbol)
        if net is None:
            net = self._symbols[symbol] = Lot()
        return net

    def _unrealised(self, symbol: str, lot: Lot) -> Decimal:
        mark = self._marks.get(symbol)
        return ZERO if mark is None else lot.unrealised(mark)


def opening(row: Any) -> Position:
    """What an account came with of one symbol: its cost, and the venue's price of it when it was bound."""
    mark = None if row["mark"] is None else Decimal(row["mark"])
    return Position(row["symbol"], Decimal(row["quantity"]), Decimal(row["price"]), mark)


def get_daily_pnl(settings: Settings | None = None) -> Decimal:
    """Profit or loss of the live system's trading day in dollars, deposits left out. Raises JournalError."""
    from athena.core.daily import daily_figures

    with _open(settings) as journal:
        return daily_figures(journal).pnl


def get_positions(settings: Settings | None = None) -> tuple[Position, ...]:
    """What the live system holds, as its journal tells. Raises JournalError."""
    with _open(settings) as journal:
        return Portfolio.from_journal(journal).positions()


def get_equity_curve(
    settings: Settings | None = None, start: datetime | date | None = None, end: datetime | date | None = None
) -> pd.Series[float]:
    """Equity in dollars (floats, for analysis) by venue time (`at`, UTC), from the account's binding on.

    A date means New York's midnight; `end` is exclusive. `.attrs['flows']` lists deposits and withdrawals as (time,
    signed dollars): they are no profit. Raises JournalError when there is no journal or not one point in the range.
    """
    from athena.core.frames import equity_curve

    with _open(settings) as journal:
        return equity_curve(journal, _moment(start), _moment(end))


@contextmanager
def _open(settings: Settings | None) -> Iterator[Journal]:
    settings = settings or Settings.load()
    with Journal.open(settings.journal_path, f"operator {settings.operator}", read_only=True) as journal:
        yield journal


def _moment(at: datetime | date | None) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return at
    return datetime.combine(at, time(), NEW_YORK)


def _marks(journal: Journal, until: str | None) -> dict[str, Decimal]:
    """Prices by symbol: of the last equity event, and over them, when the present is asked for, the live ones."""
    sql = "SELECT sequence FROM equity WHERE venue_at <= ? ORDER BY sequence DESC LIMIT 1"
    point = journal.one(sql, (until or "9999",))
    prices: dict[str, Decimal] = {}
    if point is not None:
        event = journal.one("SELECT payload FROM events WHERE sequence = ?", (point["sequence"],))
        recorded = decode(event["payload"]).get("marks") if event else None
        prices = {symbol: Decimal(price) for symbol, price in (recorded or {}).items()}
    if until is None:
        for row in journal.query("SELECT symbol, bid, ask, last FROM marks"):
            if row["last"] is not None:
                prices[row["symbol"]] = Decimal(row["last"])
            elif row["bid"] is not None and row["ask"] is not None:
                prices[row["symbol"]] = (Decimal(row["bid"]) + Decimal(row["ask"])) / 2
    return {symbol: price for symbol, price in prices.items() if price.is_finite() and price > 0}
