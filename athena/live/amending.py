"""Trades that the venue takes back or corrects: the books follow by events, never by editing what was journaled.

The venue's word on an order (how much of it is filled, at what average) decides. The execution that explains it, or all
we had of the order, is booked back at its price, and what the venue has now in its place: fills of source "correction".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.core.comparison import Kind
from athena.live.order_payloads import EXTERNAL, fill_payload
from athena.live.reconciliation import CASH_TOLERANCE, Break
from athena.model import ZERO, Fill, Order, Side

if TYPE_CHECKING:
    from athena.live.engine import Engine

AMENDED = frozenset({"trade_bust", "trade_correct"})
TICK = Decimal("0.0001")
PLACES_TOLD = 4  # an average is taken for rounded to these, where it is not told in more
Part = tuple[Side, Decimal, Decimal]
_STANDING = "SELECT * FROM fills WHERE broker_order_id = ? ORDER BY sequence"


def amend(engine: Engine, order: Order) -> list[Break]:
    """Book what changed about an order's executions after the fact; nothing when our fills are what the venue has.

    Nor of an order from before an operator's correction, which made shares and cash the venue's as it found them.
    """
    rows = engine.journal.query(_STANDING, (order.broker_order_id,))
    ours, dollars = ZERO, ZERO
    by_price: dict[Decimal, Decimal] = {}
    for row in rows:
        shares = Decimal(row["quantity"]) * (1 if row["side"] == order.side else -1)
        price = Decimal(row["price"])
        by_price[price] = by_price.get(price, ZERO) + shares
        ours, dollars = ours + shares, dollars + shares * price
    theirs, average = order.filled_quantity, order.average_fill_price or ZERO
    if not rows or theirs > ours or (theirs == ours and abs(theirs * average - dollars) <= _rounding(order)):
        return []  # more at the venue is a fill still to come, not an amendment
    corrected = engine.journal.latest("correction")
    if corrected is not None and corrected.sequence > rows[0]["sequence"]:
        return []  # an operator set the books right since, maybe for this: what still differs is told, and halts
    number = sum(1 for row in rows if row["source"] == "correction")
    strategy = str(rows[0]["strategy"]) or EXTERNAL
    parts = _one_execution(order, rows, by_price, ours, dollars)
    if not parts:
        parts = [(order.side.opposite if shares > 0 else order.side, abs(shares), price)
                 for price, shares in by_price.items() if shares]  # fmt: skip
        parts += [(order.side, theirs, average)] if theirs else []
    for index, part in enumerate(parts, start=number + 1):
        _book(engine, order, strategy, f"{order.broker_order_id}/correction-{index}", *part)
    evidence = (
        f"order {order.client_order_id}: {ours:f} shares for {dollars:.2f} were booked, the venue now has {theirs:f} "
        f"for {theirs * average:.2f}: a trade was busted or corrected"
    )
    kind = Kind.PRICE if theirs == ours else Kind.QUANTITY
    return [Break(kind, order.symbol, f"{ours:f}", f"{theirs:f}", evidence, "corrected by events")]


def _one_execution(
    order: Order, rows: Iterable[Any], standing: Mapping[Decimal, Decimal], ours: Decimal, dollars: Decimal
) -> list[Part]:
    """The one execution whose bust, or whose correction to a price of whole ticks, explains it all; else nothing.

    Exact where an average, which venues round, is not.
    """
    theirs, cost = order.filled_quantity, order.filled_quantity * (order.average_fill_price or ZERO)
    rounding = _rounding(order)
    corrected: list[Part] = []
    for row in rows:
        quantity, price = Decimal(row["quantity"]), Decimal(row["price"])
        if row["side"] != order.side or standing[price] < quantity:
            continue  # booked back already
        back, left = (order.side.opposite, quantity, price), theirs - (ours - quantity)
        missing = cost - (dollars - quantity * price)
        if left == 0 and abs(missing) <= rounding:
            return [back]
        if left > 0 and not corrected:
            exact = missing / left
            ticked = exact.quantize(TICK)
            allowed = max(TICK / 100, rounding / left if theirs > left else ZERO)
            if ticked > 0 and abs(exact - ticked) <= allowed < TICK / 2:
                corrected = [back, (order.side, left, ticked)]
    return corrected


def _rounding(order: Order) -> Decimal:
    """Dollars that an order's cost may be off for its average being told in so many places, trailing zeros not."""
    told = order.average_fill_price
    places = PLACES_TOLD if told is None else max(PLACES_TOLD, -int(told.as_tuple().exponent))
    return max(CASH_TOLERANCE, order.filled_quantity * Decimal(1).scaleb(-places) / 2)


def _book(
    engine: Engine, order: Order, strategy: str, execution_id: str, side: Side, quantity: Decimal, price: Decimal
) -> None:
    """One booking back or anew. Without a client order id: it is no execution of the order, whose row stays."""
    at = order.updated_at or engine.clock.now()
    fill = Fill(execution_id, "", order.broker_order_id, order.symbol, side, quantity, price, at, strategy)
    engine.journal.append("fill", fill_payload(fill, "correction", None), at)
    engine.booked(fill)
