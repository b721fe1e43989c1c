"""Orders and fills: their rows from what was intended, what the venue said and what was filled.

Late and repeated news do no harm: a final order opens again only where a reconciliation found it open in look after
look (`reopened`), the filled quantity never falls, what only Athena thinks (intended, unknown) never hides what the
venue said, and where fills account for the whole filled quantity the average price is theirs.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from athena.errors import JournalError
from athena.journal.codec import day_of, decimal_text
from athena.journal.entry import Database, Entry, insert, kind, money, text
from athena.model import CASH_CORRECTION, ZERO, OrderStatus

_FACTS = (
    "client_order_id", "strategy", "symbol", "side", "type", "time_in_force", "quantity", "limit_price", "stop_price",
    "decision_price", "decided_at", "bid", "ask", "reason", "purpose", "extended_hours",
)  # fmt: skip
_ORDER = " ".join(_FACTS) + (
    " status filled_quantity broker_order_id error acknowledged_at final_venue_at"
    " intended_at intended_venue_at updated_at trading_date"
)
_INSERT_ORDER = insert("orders", _ORDER)
_INSERT_ORDER_ONCE = insert("orders", _ORDER, " ON CONFLICT (client_order_id) DO NOTHING")


def _order_row(entry: Entry, status: str, *, broker_order_id: str | None = None, seen: bool = False) -> tuple[Any, ...]:
    p = entry.payload
    *facts, purpose, extended_hours = map(p.get, _FACTS)
    final_at = entry.when if status == "refused" else None
    return (
        *facts, purpose or "strategy", 1 if extended_hours else 0, status, "0", broker_order_id, p.get("error"),
        entry.at if seen else None, final_at, entry.at, entry.venue_at, entry.at, entry.day,
    )  # fmt: skip


@kind("order.intended")
def _order_intended(db: Database, entry: Entry) -> None:
    money(entry, "quantity", "limit_price", "stop_price", "decision_price", "bid", "ask")
    db.execute(_INSERT_ORDER, _order_row(entry, "intended"))


@kind("order.refused")
def _order_refused(db: Database, entry: Entry) -> None:
    # A refused duplicate must not touch the order it duplicates; and what was refused may be nonsense of any type.
    told = {name: text(entry.payload.get(name)) for name in _FACTS[:-1]}
    told |= {name: told[name] or "" for name in ("strategy", "symbol", "side", "type")}
    told["extended_hours"] = entry.payload.get("extended_hours")
    db.execute(_INSERT_ORDER_ONCE, _order_row(entry._replace(payload=told), "refused"))
    _violation(db, entry)


@kind("order.updated")
def _order_updated(db: Database, entry: Entry) -> None:
    p = entry.payload
    identity = p["client_order_id"]
    money(entry, "filled_quantity", "average_fill_price")
    if not db.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (identity,)).fetchall():
        _external(db, entry)
    _settle(
        db, identity, at=entry.at, when=entry.when, status=p.get("status"), filled=p.get("filled_quantity"),
        average=p.get("average_fill_price"), broker_order_id=p.get("broker_order_id"), error=p.get("error"),
        reopened=bool(p.get("reopened")),
    )  # fmt: skip


def _external(db: Database, entry: Entry) -> None:
    """An order placed by someone else, on a phone or a web page: taken in when its facts are told."""
    p = entry.payload
    for name in ("symbol", "side", "type"):
        if not p.get(name):
            raise JournalError(f"order {p['client_order_id']} is not in the journal and its {name} is not told.")
    money(entry, "quantity", "limit_price", "stop_price")
    told = {**p, "strategy": p.get("strategy") or "external"}
    db.execute(_INSERT_ORDER, _order_row(entry._replace(payload=told), "unknown", seen=True))


_INSERT_FILL = insert(
    "fills",
    "execution_id sequence client_order_id broker_order_id strategy symbol side quantity price fee at recorded_at"
    " trading_date bid ask source",
    " ON CONFLICT (execution_id) DO NOTHING",
)


@kind("fill")
def _fill(db: Database, entry: Entry) -> None:
    p = entry.payload
    identity = p.get("client_order_id") or ""
    quantity, price, fee, bid, ask = money(entry, "quantity", "price", "fee", "bid", "ask")
    if quantity is None or price is None or Decimal(quantity) <= 0 or Decimal(price) < 0:
        raise JournalError(f"fill {p['execution_id']}: {quantity} at {price} cannot be; both are positive.")
    if p["side"] not in ("buy", "sell"):
        raise JournalError(f"fill {p['execution_id']}: side is {p['side']!r}; buy or sell.")
    strategy = p.get("strategy")
    if not strategy:
        row = db.execute("SELECT strategy FROM orders WHERE client_order_id = ?", (identity,)).fetchall()
        strategy = row[0][0] if row else "external"
    at = p["at"]
    row = (
        p["execution_id"], entry.sequence, identity, p.get("broker_order_id"), strategy, p["symbol"], p["side"],
        quantity, price, fee or "0", at, entry.at, day_of(at), bid, ask, p.get("source"),
    )  # fmt: skip
    if db.execute(_INSERT_FILL, row).rowcount:
        _settle(db, identity, at=entry.at, when=entry.when, broker_order_id=p.get("broker_order_id"))


_INSERT_CORRECTION = insert("cash_flows", "id kind amount at trading_date description")


@kind("correction")
def _correction(db: Database, entry: Entry) -> None:
    """Shares or dollars an operator set right after a recovery. Told apart from executions by its source."""
    p = entry.payload
    identity, why = f"correction-{entry.sequence}", p["reason"]
    quantity, price, cash = money(entry, "quantity", "price", "cash")
    if p.get("symbol"):
        if quantity is None or price is None or not Decimal(quantity) or Decimal(price) < 0:
            raise JournalError(f"correction of {p['symbol']}: {quantity} at {price} cannot be.")
        side, shares = ("buy", quantity) if Decimal(quantity) > 0 else ("sell", decimal_text(-Decimal(quantity)))
        row = (
            identity, entry.sequence, "", None, "correction", p["symbol"], side, shares, price, "0", entry.when,
            entry.at, entry.day, None, None, "correction",
        )  # fmt: skip
        db.execute(_INSERT_FILL, row)
    if cash is not None:
        db.execute(_INSERT_CORRECTION, (identity, CASH_CORRECTION, cash, entry.when, entry.day, why))


_INSERT_VIOLATION = insert(
    "violations",
    "sequence at venue_at trading_date code message symbol strategy observed limit_value client_order_id action times",
)


@kind("violation")
def _violation(db: Database, entry: Entry) -> None:
    p = entry.payload
    described = (p.get(name) for name in ("symbol", "strategy", "observed", "limit_value", "client_order_id", "action"))
    row = (entry.sequence, entry.at, entry.venue_at, entry.day, p["code"], p.get("message") or "")
    db.execute(_INSERT_VIOLATION, (*row, *map(text, described), p.get("times") or 1))


_OURS = {OrderStatus.INTENDED, OrderStatus.UNKNOWN}  # not yet the venue's word
_NOT_VENUE = _OURS | {OrderStatus.REFUSED, OrderStatus.NOT_SENT}
_UNFILLED = _OURS | {
    OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.ACCEPTED_FOR_BIDDING, OrderStatus.HELD,
}  # fmt: skip
_PRICE_UNIT = Decimal("0.00000001")
_SELECT = (
    "SELECT status, quantity, filled_quantity, average_fill_price, broker_order_id, error, acknowledged_at,"
    " final_venue_at FROM orders WHERE client_order_id = ?"
)
_UPDATE = (
    "UPDATE orders SET status = ?, filled_quantity = ?, average_fill_price = ?, broker_order_id = ?, error = ?,"
    " acknowledged_at = ?, final_venue_at = ?, updated_at = ? WHERE client_order_id = ?"
)


def _settle(
    db: Database,
    client_order_id: str,
    *,
    at: str,
    when: str,
    status: str | None = None,
    filled: str | None = None,
    average: str | None = None,
    broker_order_id: str | None = None,
    error: str | None = None,
    reopened: bool = False,
) -> None:
    """Bring one orders row up to date; an unknown order is left for the update that describes it."""
    found = db.execute(_SELECT, (client_order_id,)).fetchall()
    if not found:
        return
    was, quantity, had, had_average, had_id, had_error, acknowledged, final_at = found[0]
    executed, cost = _executed(db, client_order_id)
    known = max(Decimal(had), Decimal(filled or 0), executed)
    if executed and executed == known:
        price = decimal_text((cost / executed).quantize(_PRICE_UNIT).normalize())
    else:
        price = average if average is not None and Decimal(filled or 0) == known else had_average
    whole = quantity is not None and known >= Decimal(quantity)
    now = _next(OrderStatus(was), OrderStatus(status or was), known, whole, reopened)
    if now not in _NOT_VENUE:
        acknowledged = acknowledged or at
    if reopened and now.is_open:
        had_error = None  # why it was taken for final
    final_at = final_at or when if now.is_final else None
    shares = decimal_text(known) if known != Decimal(had) else had
    row = (now.value, shares, price, broker_order_id or had_id, error or had_error, acknowledged, final_at, at)
    db.execute(_UPDATE, (*row, client_order_id))


def _executed(db: Database, client_order_id: str) -> tuple[Decimal, Decimal]:
    """Shares and dollars of the order's fills."""
    rows = db.execute("SELECT quantity, price FROM fills WHERE client_order_id = ?", (client_order_id,)).fetchall()
    shares, cost = ZERO, ZERO
    for quantity, price in rows:
        shares += Decimal(quantity)
        cost += Decimal(quantity) * Decimal(price)
    return shares, cost


def _next(was: OrderStatus, told: OrderStatus, filled: Decimal, whole: bool, reopened: bool) -> OrderStatus:
    if told in _OURS and was not in _OURS:
        told = was
    if filled and told in _UNFILLED:
        told = OrderStatus.PARTIALLY_FILLED
    if whole and filled and (told.is_open or told is was):
        told = OrderStatus.FILLED
    if was is OrderStatus.NOT_SENT and told not in _OURS:  # that was our inference; the venue knows better
        return told
    if was is OrderStatus.FILLED or (was.is_final and told.is_open and not reopened):
        return was
    return told
