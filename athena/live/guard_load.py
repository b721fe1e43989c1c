"""The guard's book from the journal: what every engine start begins with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.live.guard_acting import DRAWDOWN_HALT, DRAWDOWN_REDUCE, LOSSES
from athena.live.guard_book import Book, OpenOrder
from athena.live.verdict import Code
from athena.lot import EXTERNAL
from athena.model import ZERO, CashFlow, OrderIntent, OrderStatus, OrderType, Side, is_transfer

if TYPE_CHECKING:
    from athena.journal.journal import Journal

_FINAL = "('refused', 'not_sent', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"
_OPEN = f"SELECT * FROM orders WHERE status NOT IN {_FINAL} AND quantity IS NOT NULL"
_TODAY = "SELECT * FROM orders WHERE trading_date = ? AND status != 'refused' ORDER BY intended_venue_at, intended_at"
_ACKNOWLEDGED = "SELECT MAX(cleared_at) FROM halts WHERE owner IN (?, ?) AND cleared_at IS NOT NULL"


def load_book(journal: Journal) -> Book:
    """Fold the account's fills, cash flows, open orders and day into a Book; linear in their number, once a start."""
    book = Book()
    day = journal.one("SELECT * FROM trading_days ORDER BY trading_date DESC LIMIT 1")
    if day is not None:
        book.open_day(date.fromisoformat(day["trading_date"]), Decimal(day["opening_equity"]))
    today, opened = (day["trading_date"], day["opened_at"]) if day is not None else ("", "")
    _openings(book, journal)
    applied = _fills(book, journal, today, opened)
    _marks(book, journal)
    _orders(book, journal, today, applied)
    for row in journal.query(
        "SELECT DISTINCT symbol FROM violations WHERE trading_date = ? AND code = ?", (today, Code.LIMIT_ORDERS_ONLY)
    ):
        book.of(row["symbol"]).limit_orders_only = True
    _peak(book, journal)
    return book


def _openings(book: Book, journal: Journal) -> None:
    account = journal.one("SELECT opening_cash FROM account")
    for row in journal.query("SELECT symbol, quantity, price, mark FROM openings"):
        symbol = book.of(row["symbol"])
        symbol.mark = Decimal(row["mark"] or 0)  # at cost, old losses would be this day's
        book.take(symbol, Decimal(row["quantity"]), Decimal(row["price"]))
    book.cash = Decimal(account["opening_cash"]) if account is not None else ZERO


def _fills(book: Book, journal: Journal, today: str, opened: str) -> dict[str, Decimal]:
    """Positions, cash and the day's results. Returns shares filled by client order id."""
    row = journal.one(_ACKNOWLEDGED, (LOSSES, LOSSES))
    acknowledged = row[0] or "" if row is not None else ""
    applied: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in journal.query("SELECT * FROM fills ORDER BY sequence"):
        symbol, sign = book.of(row["symbol"]), Side(row["side"]).sign
        quantity, price, fee = Decimal(row["quantity"]), Decimal(row["price"]), Decimal(row["fee"])
        realised = book.take(symbol, quantity * sign, price, fee)
        applied[row["client_order_id"]] += quantity
        if row["trading_date"] == today and row["source"] != "correction":  # nobody's execution to judge
            mid = (Decimal(row["bid"]) + Decimal(row["ask"])) / 2 if row["bid"] and row["ask"] else None
            counted = realised if row["recorded_at"] > acknowledged else None
            book.judge(row["client_order_id"], sign, quantity, price, fee, counted, mid)
    for row in journal.query("SELECT * FROM cash_flows"):
        flow = CashFlow(row["id"], row["kind"], Decimal(row["amount"]), datetime.fromisoformat(row["at"]))
        book.cash_flow(flow, today=row["at"] > opened)  # what came before is in the equity the day opened with
    return applied


def _marks(book: Book, journal: Journal) -> None:
    """The last known marks; the quotes themselves count as none until a fresh one comes."""
    for row in journal.query("SELECT symbol, bid, ask, last FROM marks"):
        symbol = book.symbols.get(row["symbol"])
        if symbol is None:
            continue
        if row["bid"] and row["ask"] and 0 < Decimal(row["bid"]) <= Decimal(row["ask"]):
            symbol.mark = (Decimal(row["bid"]) + Decimal(row["ask"])) / 2
        elif row["last"]:
            symbol.mark = Decimal(row["last"])
        book.restate(symbol)


def _before_binding(journal: Journal, rows: Iterable[Any], applied: dict[str, Decimal]) -> None:
    """Count what orders from outside had filled before the account was bound: it is in the opening positions.

    No execution of it will ever come. That is certain once a look at the venue that began after the journal's last word
    on the order found the books equal; until then shares without an execution may still be on their way.
    """
    looks = journal.query("SELECT at, ok FROM reconciliations ORDER BY sequence DESC LIMIT 2")
    if len(looks) < 2 or not looks[0]["ok"]:
        return
    for row in rows:
        if row["strategy"] == EXTERNAL and row["updated_at"] < looks[1]["at"]:  # the last look began after this one
            name = row["client_order_id"]
            applied[name] = max(applied[name], Decimal(row["filled_quantity"]))


def _orders(book: Book, journal: Journal, today: str, applied: dict[str, Decimal]) -> None:
    """Open orders in full; final ones for fills that never came in; the day's rates and repetitions."""
    opened, rows = journal.query(_OPEN), journal.query(_TODAY, (today,))
    _before_binding(journal, (*opened, *rows), applied)
    for row in opened:
        _count(book, row, applied, Decimal(row["quantity"]))
    newest = max((row["intended_venue_at"] or "" for row in rows), default="")
    since = datetime.fromisoformat(newest) - timedelta(hours=1) if newest else None
    for row in rows:
        status = OrderStatus(row["status"])
        if status.is_final and Decimal(row["filled_quantity"]) > applied.get(row["client_order_id"], ZERO):
            _count(book, row, applied, Decimal(row["filled_quantity"]))
        if status is OrderStatus.FILLED:
            book.completed(book.of(row["symbol"]), row["strategy"], Side(row["side"]), Decimal(row["quantity"] or 0))
        if row["purpose"] == "exit" or not row["intended_venue_at"] or since is None:
            continue
        if row["strategy"] == EXTERNAL:  # not let through by this guard; one for dollars names no shares
            continue
        at = datetime.fromisoformat(row["intended_venue_at"])
        if at > since:
            book.count(row["symbol"], row["strategy"], at)
            book.of(row["symbol"]).recent.append((at, _intent(row)))


def _count(book: Book, row: Any, applied: dict[str, Decimal], bound: Decimal) -> None:
    order = OpenOrder(
        row["client_order_id"], row["strategy"], Side(row["side"]), bound, OrderType(row["type"]),
        _amount(row["limit_price"]), applied.get(row["client_order_id"], ZERO), OrderStatus(row["status"]),
    )  # fmt: skip
    book.add(book.of(row["symbol"]), order)


def _intent(row: Any) -> OrderIntent:
    return OrderIntent(
        "", row["symbol"], Side(row["side"]), Decimal(row["quantity"]), OrderType(row["type"]),
        _amount(row["limit_price"]), _amount(row["stop_price"]), strategy=row["strategy"],
    )  # fmt: skip


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _peak(book: Book, journal: Journal) -> None:
    """Highest equity less transfers since the last drawdown halt was cleared (that acknowledged the fall)."""
    row = journal.one(_ACKNOWLEDGED, (DRAWDOWN_HALT, DRAWDOWN_REDUCE))
    since = row[0] or "" if row is not None else ""
    rows = journal.query("SELECT at, kind, amount FROM cash_flows ORDER BY at")
    flows = [(at, amount) for at, kind, text in rows if is_transfer(kind, amount := Decimal(text))]
    paid, next_flow = ZERO, 0
    sql = "SELECT q.venue_at, q.equity FROM equity q JOIN events e ON e.sequence = q.sequence WHERE e.at > ?"
    for venue_at, equity in journal.query(sql + " ORDER BY q.sequence", (since,)):
        while next_flow < len(flows) and flows[next_flow][0] <= venue_at:
            paid += flows[next_flow][1]
            next_flow += 1
        book.peak = max(book.peak, Decimal(equity) - paid)
    book.touch_peak()
