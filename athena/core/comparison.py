"""The journal against the venue: every difference classified, with its evidence. Facts in, findings out.

missing fill    the venue executed it, the journal does not know it
unknown order   open at the venue, not Athena's: somebody else's
orphan          Athena's by its name and open at the venue, and the journal does not follow it
phantom         the journal counts on it (an open order, a fill), the venue has none
quantity        shares differ: of an order's fills, or of a position
price           the average price differs
cash            dollars differ
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from athena.journal.journal import Journal
from athena.model import ZERO, Fill, Order, OrderStatus, Position

OURS = "athena-"  # every client order id of Athena's begins so
CASH_TOLERANCE = Decimal("0.01")
PRICE_TOLERANCE = Decimal("0.01")
_AMENDED = (
    "SELECT * FROM fills WHERE broker_order_id IN (SELECT broker_order_id FROM fills WHERE source = 'correction')"
)


class Kind(StrEnum):
    """What is different: the words of this module's table."""

    MISSING_FILL = "missing fill"
    UNKNOWN_ORDER = "unknown order"
    ORPHAN = "orphan"
    PHANTOM = "phantom"
    QUANTITY = "quantity"
    PRICE = "price"
    CASH = "cash"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference; `subject` is the order, execution or symbol it is about. `urgent`: positions are doubtful."""

    kind: Kind
    symbol: str
    subject: str
    ours: str
    theirs: str
    evidence: str
    then: str
    urgent: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Equal in two looks when nothing about it moved."""
        return self.kind, self.subject, self.ours, self.theirs


def order_rows(journal: Journal) -> dict[str, Any]:
    """Orders by client id; of one with a busted or corrected trade, what the bookings of it add up to."""
    rows = {row["client_order_id"]: dict(row) for row in journal.query("SELECT * FROM orders")}
    by_broker = {row["broker_order_id"]: row for row in rows.values()}
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for fill in journal.query(_AMENDED):
        row = by_broker.get(fill["broker_order_id"])
        if row is not None:
            shares = Decimal(fill["quantity"]) * (1 if fill["side"] == row["side"] else -1)
            held, dollars = sums.get(row["client_order_id"], (ZERO, ZERO))
            sums[row["client_order_id"]] = held + shares, dollars + shares * Decimal(fill["price"])
    for name, (held, dollars) in sums.items():
        rows[name] |= {"filled_quantity": held, "average_fill_price": dollars / held if held else None}
    return rows


def compare_orders(ours: Mapping[str, Any], theirs: Iterable[Order]) -> list[Finding]:
    """Orders by client id: `ours` as the journal's rows, `theirs` all the venue lists in the time looked at."""
    found = []
    for order in theirs:
        name, row = order.client_order_id, ours.get(order.client_order_id)
        if row is None or (OrderStatus(row["status"]).is_final and order.status.is_open):
            if order.status.is_open or (row is None and order.filled_quantity):
                found.append(_unfollowed(order, row))
            continue
        mine = Decimal(row["filled_quantity"])
        if mine != order.filled_quantity:
            evidence = f"order {name}: the journal has {mine:f} shares filled, the venue {order.filled_quantity:f}"
            found.append(_finding(Kind.QUANTITY, order.symbol, name, mine, order.filled_quantity, evidence, True))
        elif mine and _apart(row["average_fill_price"], order.average_fill_price):
            own, other = Decimal(row["average_fill_price"]), order.average_fill_price or ZERO
            evidence = f"order {name}: filled at {own:f} by our fills, at {other:f} by the venue"
            found.append(_finding(Kind.PRICE, order.symbol, name, own, other, evidence))
        if OrderStatus(row["status"]).is_open and order.status.is_final:
            evidence = f"order {name} is {row['status']} in the journal and {order.status.value} at the venue"
            found.append(_finding(Kind.PHANTOM, order.symbol, name, row["status"], order.status.value, evidence))
    return found


def phantoms(open_rows: Iterable[Any], listed: Mapping[str, Order | None]) -> list[Finding]:
    """Open orders of the journal of which the venue, asked for each by its id, has none (`listed` is None)."""
    found = []
    for row in open_rows:
        name = row["client_order_id"]
        if name in listed and listed[name] is None:
            evidence = f"order {name} is {row['status']} in the journal; the venue, asked by its id, has none"
            found.append(_finding(Kind.PHANTOM, row["symbol"], name, row["status"], "none", evidence))
    return found


def compare_fills(ours: Mapping[str, Any], theirs: Iterable[Fill]) -> list[Finding]:
    """Executions by id; `ours` only those of the time the venue was asked for."""
    found, seen = [], set()
    for fill in theirs:
        seen.add(fill.execution_id)
        told, row = f"{fill.side.value} {fill.quantity:f} at {fill.price:f}", ours.get(fill.execution_id)
        if row is None:
            evidence = f"execution {fill.execution_id}, {told} at {fill.at:%Y-%m-%d %H:%M:%S} UTC, is not journaled"
            found.append(_finding(Kind.MISSING_FILL, fill.symbol, fill.execution_id, "none", told, evidence, True))
        elif (row["side"], Decimal(row["quantity"]), Decimal(row["price"])) != (fill.side, fill.quantity, fill.price):
            own = f"{row['side']} {row['quantity']} at {row['price']}"
            kind = Kind.PRICE if Decimal(row["quantity"]) == fill.quantity else Kind.QUANTITY
            evidence = f"execution {fill.execution_id}: {own} in the journal, {told} at the venue"
            found.append(_finding(kind, fill.symbol, fill.execution_id, own, told, evidence, kind is Kind.QUANTITY))
    for identity, row in ours.items():
        if identity not in seen and row["source"] != "correction":
            own = f"{row['side']} {row['quantity']} at {row['price']}"
            evidence = f"execution {identity}, {own} at {row['at']}, is journaled; the venue has none of that id"
            found.append(_finding(Kind.PHANTOM, row["symbol"], identity, own, "none", evidence, True))
    return found


def compare_positions(ours: Iterable[Position], theirs: Iterable[Position]) -> list[Finding]:
    """Shares by symbol, and the average price where the shares agree."""
    mine, venue = {p.symbol: p for p in ours}, {p.symbol: p for p in theirs}
    found = []
    for symbol in sorted(mine.keys() | venue.keys()):
        own = mine[symbol].quantity if symbol in mine else ZERO
        other = venue[symbol].quantity if symbol in venue else ZERO
        if own != other:
            evidence = f"{symbol}: our fills add up to {own:f} shares, the venue holds {other:f} ({other - own:+f})"
            found.append(_finding(Kind.QUANTITY, symbol, symbol, own, other, evidence, True))
        elif own and abs(mine[symbol].average_entry_price - venue[symbol].average_entry_price) > PRICE_TOLERANCE:
            a, b = (side[symbol].average_entry_price for side in (mine, venue))
            evidence = f"{symbol}: {own:f} shares cost {a:.4f} each by our fills, {b:.4f} by the venue"
            found.append(_finding(Kind.PRICE, symbol, symbol, f"{a:.4f}", f"{b:.4f}", evidence))
    return found


def compare_cash(ours: Decimal, theirs: Decimal) -> list[Finding]:
    """Dollars, to the cent."""
    if abs(theirs - ours) <= CASH_TOLERANCE:
        return []
    evidence = f"the venue has {theirs - ours:+,.2f} dollars more than fills and cash flows add up to"
    return [_finding(Kind.CASH, "", "cash", f"{ours:.2f}", f"{theirs:.2f}", evidence)]


def persistent(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """What both of two looks found: a difference that moves between them was news under way."""
    keys = {finding.key for finding in first}
    return [finding for finding in second if finding.key in keys]


def _unfollowed(order: Order, row: Any) -> Finding:
    name, told = order.client_order_id, f"{order.side.value} {order.quantity} {order.symbol}, {order.status.value}"
    if row is None and not name.startswith(OURS):
        evidence = f"order {name} ({told}) is at the venue and not in the journal; its name is not Athena's"
        return _finding(Kind.UNKNOWN_ORDER, order.symbol, name, "none", order.status, evidence, True)
    ours = "none" if row is None else row["status"]
    evidence = f"order {name} ({told}) is Athena's by its name; the journal has {ours}"
    return _finding(Kind.ORPHAN, order.symbol, name, ours, order.status, evidence, True)


_THEN = {
    Kind.MISSING_FILL: "the engine's reconciliation takes it in: athena reconcile (or start the engine)",
    Kind.UNKNOWN_ORDER: "find who placed it; athena cancel-orders SYMBOL cancels it too",
    Kind.ORPHAN: "athena reconcile has the engine follow it; athena cancel-orders SYMBOL ends it",
    Kind.PHANTOM: "athena reconcile settles it from the venue; a fill that never was: athena restore-portfolio",
    Kind.QUANTITY: "athena reconcile; if it stays, athena restore-portfolio --timestamp 'last good time'",
    Kind.PRICE: "look at the fills: athena download-trades, athena merge-trade-data",
    Kind.CASH: "look for a fee, dividend or transfer at the venue; athena reconcile takes cash flows in",
}


def _finding(
    kind: Kind, symbol: str, subject: str, ours: object, theirs: object, evidence: str, urgent: bool = False
) -> Finding:
    mine, other = (f"{value:f}" if isinstance(value, Decimal) else str(value) for value in (ours, theirs))
    return Finding(kind, symbol, subject, mine, other, evidence, _THEN[kind].replace("SYMBOL", symbol), urgent)


def _apart(ours: str | None, theirs: Decimal | None) -> bool:
    return ours is None or theirs is None or abs(Decimal(ours) - theirs) > PRICE_TOLERANCE
