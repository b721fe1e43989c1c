"""Athena's books against the venue's: one look, its differences with evidence, and what persists.

A look asks for orders, positions, account, fills and cash flows. If any of that fails nothing is concluded. What is
certain (a missing fill, an order's state) is taken in as events; what differs in two looks in a row halts its symbol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from athena.errors import BrokerUnavailable
from athena.live.brokers.base import Broker
from athena.model import ZERO, Account, CashFlow, Fill, Order, Position

LOOK_SECONDS_MAX = 30.0
LOOKUPS_MAX = 50
CASH_TOLERANCE = Decimal("0.01")
PERSISTS = 2  # looks


@dataclass(frozen=True)
class VenueLook:
    """What the venue said in one look, all of it readable. `fills_before` is our count of fills when it began."""

    account: Account
    positions: tuple[Position, ...]
    open_orders: tuple[Order, ...]
    looked_up: Mapping[str, Order | None]
    fills: tuple[Fill, ...]
    cash_flows: tuple[CashFlow, ...]
    fills_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Break:
    """One difference: its kind (position, cash, phantom order, reopened order, unanswered order, query), ours, theirs.

    `action` is what was done about it.
    """

    kind: str
    symbol: str
    ours: str
    theirs: str
    evidence: str
    action: str = "watched"
    difference: str = ""

    def payload(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("kind", "symbol", "ours", "theirs", "evidence", "action")}


async def take_look(
    broker: Broker,
    after: datetime | None,
    answered_open: Callable[[], Iterable[str]],
    fills_seen: Callable[[], Mapping[str, int]] = dict,
) -> VenueLook:
    """Ask the venue everything once. Raises BrokerError when any part cannot be had in full.

    `answered_open` gives the client ids of our open orders when asked; those the venue does not list as open are asked
    for one by one. Fills are asked last, so that none before the positions is missed.
    """
    async with asyncio.timeout(LOOK_SECONDS_MAX):
        before = dict(fills_seen())
        ours = set(answered_open())
        open_orders = await broker.get_orders("open")
        listed = {order.client_order_id for order in open_orders}
        looked_up = {name: await broker.get_order(name) for name in sorted(ours - listed)[:LOOKUPS_MAX]}
        positions = await broker.get_positions()
        account = await broker.get_account()
        flows = await broker.get_cash_flows(after)
        fills = await broker.get_fills(after)
    for rows, what in ((open_orders, "orders"), (positions, "positions"), (fills, "fills"), (flows, "cash flows")):
        if unreadable := getattr(rows, "unreadable", ()):
            first = unreadable[0]
            raise BrokerUnavailable(f"{len(unreadable)} {what} of the venue cannot be read: {first.reason}.")
    return VenueLook(account, tuple(positions), tuple(open_orders), looked_up, tuple(fills), tuple(flows), before)


def compare_positions(ours: Mapping[str, Decimal], theirs: Iterable[Position], moving: set[str]) -> list[Break]:
    """Positions that differ, symbols that were being filled during the look left out: they are compared next time."""
    venue = {position.symbol: position.quantity for position in theirs}
    breaks = []
    for symbol in sorted((set(ours) | set(venue)) - moving):
        mine, other = ours.get(symbol, ZERO), venue.get(symbol, ZERO)
        if mine != other:
            evidence = f"our fills add up to {mine:f} shares, the venue reports {other:f}, and no fill explains it"
            difference = f"{other - mine:f}"
            breaks.append(Break("position", symbol, f"{mine:f}", f"{other:f}", evidence, difference=difference))
    return breaks


def compare_cash(ours: Decimal, theirs: Decimal) -> list[Break]:
    difference = theirs - ours
    if abs(difference) <= CASH_TOLERANCE:
        return []
    evidence = f"the venue reports {difference:+.2f} dollars more than fills and cash flows add up to"
    return [Break("cash", "", f"{ours:.2f}", f"{theirs:.2f}", evidence, "reported", f"{difference:.2f}")]


class PersistentBreaks:
    """Counts how often the same difference was seen in a row; looks that skipped a symbol leave its count alone."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[str, int]] = {}

    def count(self, found: Iterable[Break], skipped: set[str]) -> dict[tuple[str, str], int]:
        """Take one look's breaks in; how many looks each has now been there, unchanged."""
        now: dict[tuple[str, str], tuple[str, int]] = {}
        for item in found:
            key = (item.kind, item.symbol)
            difference, times = self._seen.get(key, ("", 0))
            now[key] = (item.difference, times + 1 if difference == item.difference else 1)
        kept = {key: value for key, value in self._seen.items() if key[1] in skipped and key not in now}
        self._seen = now | kept
        return {key: value[1] for key, value in now.items()}


@dataclass(frozen=True)
class Outcome:
    """What one reconciliation found and did."""

    trigger: str
    ok: bool
    breaks: tuple[Break, ...]
    checked: Mapping[str, Any]
    settled: bool = True  # False: look again soon, something was moving or seen for the first time

    def payload(self) -> dict[str, Any]:
        breaks = [item.payload() for item in self.breaks]
        return {"trigger": self.trigger, "ok": self.ok, "breaks": breaks, "checked": dict(self.checked)}

    @property
    def message(self) -> str:
        if self.ok:
            return "orders, fills, positions and cash agree with the venue"
        first = self.breaks[0] if self.breaks else None
        where = f" in {first.symbol}" if first and first.symbol else ""
        return f"{len(self.breaks)} difference(s): {first.kind}{where}, {first.evidence}" if first else "not compared"
