"""Money that came or went without a trade, as the books take it in: once, and at the moment they did.

Of a dividend, a fee or a deposit the venue tells a date, which may be one of days ago. Equity has the money from the
moment the books take it in: only with that moment do a day's profit and a curve less its transfers hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from athena.model import CashFlow

if TYPE_CHECKING:
    from athena.journal.journal import Journal

LISTED_LATE = timedelta(days=7)  # a fee or dividend may be listed under a date of days before


def flows_since(journal: Journal, after: datetime | None) -> datetime | None:
    """Since when the venue is asked for cash flows when fills are asked for since `after`."""
    if after is None:
        return None
    bound = journal.latest("account.bound")
    # What had come before the binding is in its cash; a journal that did not note which flows those were asks for none.
    noted = bound is not None and "flows" in bound.payload
    return after - LISTED_LATE if noted else after


def new_flows(journal: Journal, told: Iterable[CashFlow], now: datetime) -> list[tuple[CashFlow, dict[str, Any]]]:
    """Of what the venue tells the flows that are not in the books, as they enter them `now`, and their payloads."""
    found: list[tuple[CashFlow, dict[str, Any]]] = []
    known: set[str] | None = None
    for flow in told:
        if known is None:
            bound = journal.latest("account.bound")
            known = {row["id"] for row in journal.query("SELECT id FROM cash_flows")}
            known |= set(() if bound is None else bound.payload.get("flows", ()))
        if flow.id not in known:
            known.add(flow.id)
            entered = replace(flow, at=now)
            names = ("id", "kind", "amount", "at", "description")
            found.append((entered, {name: getattr(entered, name) for name in names} | {"dated": flow.at}))
    return found
