"""Athena's books against the venue's: one look, its differences with evidence, and what persists.

A look asks for orders, positions, account, fills and cash flows. If any of that fails nothing is concluded. What is
certain (a missing fill, an order's state) is taken in as events; what differs in two looks in a row halts its symbol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from athena.core.comparison import Kind
from athena.errors import BrokerUnavailable
from athena.journal.codec import to_text
from athena.live.brokers.base import Broker
from athena.model import ZERO, Account, CashFlow, Fill, Order, Position

LOOK_SECONDS_MAX = 30.0
LOOKUPS_MAX = 50
CASH_TOLERANCE = Decimal("0.01")
PRICE_TOLERANCE = Decimal("0.0001")  # of the price: averages are rounded
PERSISTS = 2  # looks
DOUBT_DAYS = timedelta(days=2)  # how far back the orders of a doubtful symbol are asked for
UNANSWERED, ACCOUNT, QUERY, JOURNAL = "unanswered order", "account", "query", "journal"  # beside Kind's words


@dataclass(frozen=True)
class VenueLook:
    """What the venue said in one look, all of it readable. `fills_before` is our count of fills when it began.

    `doubted` are all recent orders of the symbols whose books differed in the look before.
    """

    account: Account
    positions: tuple[Position, ...]
    open_orders: tuple[Order, ...]
    looked_up: Mapping[str, Order | None]
    fills: tuple[Fill, ...]
    cash_flows: tuple[CashFlow, ...]
    fills_before: Mapping[str, int] = field(default_factory=dict)
    doubted: tuple[Order, ...] = ()
    begun: str = ""  # machine time, as stored
    unasked: tuple[str, ...] = ()  # open orders of ours that are left to the next look


@dataclass(frozen=True)
class Doubt:
    """What the next look asks for beside the rest: every order of these symbols since then."""

    symbols: frozenset[str] = frozenset()
    since: datetime | None = None


@dataclass(frozen=True)
class Break:
    """One difference: its kind (`Kind`, or unanswered order, account, query, journal), ours, theirs, the evidence.

    `action` is what was done about it. `difference` stays the same as long as it is the same difference.
    """

    kind: str
    symbol: str
    ours: str
    theirs: str
    evidence: str
    action: str = "watched"
    difference: str = ""

    def payload(self) -> dict[str, str]:
        names = ("kind", "symbol", "ours", "theirs", "evidence", "action")
        return {name: str(getattr(self, name)) for name in names}


async def take_look(
    broker: Broker,
    after: datetime | None,
    answered_open: Callable[[], Iterable[str]],
    fills_seen: Callable[[], Mapping[str, int]] = dict,
    doubt: Doubt | None = None,
    flows_after: datetime | None = None,
) -> VenueLook:
    """Ask the venue everything once. Raises BrokerError when any part cannot be had in full.

    `answered_open` gives the client ids of our open orders when asked; those the venue does not list as open are asked
    for one by one, so many in one look; the rest are `unasked`. Fills are asked last, so that none before the positions
    is missed. Cash flows are asked for since `flows_after`: they are listed under the date they are of.
    """
    async with asyncio.timeout(LOOK_SECONDS_MAX):
        before, begun = dict(fills_seen()), to_text(datetime.now(UTC))
        ours = set(answered_open())
        open_orders = await broker.get_orders("open")
        listed = {order.client_order_id for order in open_orders}
        unlisted = sorted(ours - listed)
        looked_up = {name: await broker.get_order(name) for name in unlisted[:LOOKUPS_MAX]}
        doubted: Iterable[Order] = ()
        if doubt is not None and doubt.symbols and doubt.since is not None:
            doubted = await broker.get_orders("all", doubt.since, sorted(doubt.symbols))
        positions = await broker.get_positions()
        account = await broker.get_account()
        flows = await broker.get_cash_flows(after if flows_after is None else flows_after)
        fills = await broker.get_fills(after)
    orders = (open_orders, "orders"), (doubted, "orders")
    for rows, what in (*orders, (positions, "positions"), (fills, "fills"), (flows, "cash flows")):
        if unreadable := getattr(rows, "unreadable", ()):
            first = unreadable[0]
            raise BrokerUnavailable(f"{len(unreadable)} {what} of the venue cannot be read: {first.reason}.")
    return VenueLook(
        account, tuple(positions), tuple(open_orders), looked_up, tuple(fills), tuple(flows), before, tuple(doubted),
        begun, tuple(unlisted[LOOKUPS_MAX:]),
    )  # fmt: skip


def compare_positions(ours: Mapping[str, Decimal], theirs: Iterable[Position], moving: set[str]) -> list[Break]:
    """Positions that differ, symbols that were being filled during the look left out: they are compared next time."""
    venue = {position.symbol: position.quantity for position in theirs}
    breaks = []
    for symbol in sorted((set(ours) | set(venue)) - moving):
        mine, other = ours.get(symbol, ZERO), venue.get(symbol, ZERO)
        if mine != other:
            evidence = f"our fills add up to {mine:f} shares, the venue reports {other:f}, and no fill explains it"
            difference = f"{other - mine:f}"
            breaks.append(Break(Kind.QUANTITY, symbol, f"{mine:f}", f"{other:f}", evidence, difference=difference))
    return breaks


def compare_prices(ours: Iterable[Position], theirs: Iterable[Position], moving: set[str]) -> list[Break]:
    """Average prices that differ though the shares agree; `averages.judge` tells which of them are breaks."""
    venue = {position.symbol: position for position in theirs}
    breaks = []
    for mine in ours:
        other = venue.get(mine.symbol)
        if mine.symbol in moving or other is None or mine.quantity != other.quantity or not mine.quantity:
            continue
        own, told = mine.average_entry_price, other.average_entry_price
        if abs(own - told) > max(CASH_TOLERANCE, told * PRICE_TOLERANCE):
            evidence = f"{mine.quantity:f} shares cost {own:.4f} each by our fills, {told:.4f} by the venue"
            difference = f"{told - own:.4f}"
            item = Break(Kind.PRICE, mine.symbol, f"{own:.4f}", f"{told:.4f}", evidence, difference=difference)
            breaks.append(item)
    return breaks


def compare_cash(ours: Decimal, theirs: Decimal) -> list[Break]:
    """Dollars that differ by more than a cent."""
    difference = theirs - ours
    if abs(difference) <= CASH_TOLERANCE:
        return []
    evidence = f"the venue reports {difference:+.2f} dollars more than fills and cash flows add up to"
    return [Break(Kind.CASH, "", f"{ours:.2f}", f"{theirs:.2f}", evidence, "reported", f"{difference:.2f}")]


def another_account(account: Account, number: str) -> Break:
    """The venue answers for an account that is not the books' (`number`): nothing it says is about them."""
    told = f"the venue answers for account {account.account_number}, the books are of {number}: nothing was taken in"
    return Break(ACCOUNT, "", number, account.account_number, told, difference=account.account_number)


def compare_account(account: Account) -> list[Break]:
    """An account whose orders the venue refuses altogether."""
    blocked = {"trading is blocked": account.trading_blocked, "the account is blocked": account.account_blocked}
    return [
        Break(ACCOUNT, "", "open", word, f"the venue says of account {account.account_number}: {word}", difference=word)
        for word, is_so in blocked.items()
        if is_so
    ]


class PersistentBreaks:
    """Counts how often the same difference was seen in a row; looks that skipped a symbol leave its count alone.

    Cash is compared in no look that skipped any.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], tuple[str, int]] = {}

    def count(self, found: Iterable[Break], skipped: set[str]) -> dict[tuple[str, str, str], int]:
        """Take one look's breaks in; how many looks each has now been there, unchanged, by `key_of`."""
        now: dict[tuple[str, str, str], tuple[str, int]] = {}
        for item in found:
            difference, times = self._seen.get(key_of(item), ("", 0))
            now[key_of(item)] = (item.difference, times + 1 if difference == item.difference else 1)
        unseen = {key: value for key, value in self._seen.items() if key not in now}
        kept = {key: value for key, value in unseen.items() if key[1] in skipped or (skipped and key[0] == Kind.CASH)}
        self._seen = now | kept
        return {key: value[1] for key, value in now.items()}

    @property
    def symbols(self) -> set[str]:
        """The symbols whose shares differed in the last look."""
        return {symbol for kind, symbol, _ in self._seen if kind == Kind.QUANTITY and symbol}

    @property
    def cash(self) -> bool:
        return any(kind == Kind.CASH for kind, _, _ in self._seen)


def key_of(item: Break) -> tuple[str, str, str]:
    """What makes two breaks the same: kind, symbol, and the order where it is about one."""
    about_order = item.kind not in (Kind.QUANTITY, Kind.CASH)
    return str(item.kind), item.symbol, item.difference if about_order else ""


@dataclass(frozen=True)
class Outcome:
    """What one reconciliation found and did. `repaired` was certain and is in the books now; `ok` does not mind it."""

    trigger: str
    ok: bool
    breaks: tuple[Break, ...]
    checked: Mapping[str, Any]
    settled: bool = True  # False: look again soon, something was moving or seen for the first time
    repaired: tuple[Break, ...] = ()

    def payload(self) -> dict[str, Any]:
        breaks = [item.payload() for item in self.breaks]
        checked = dict(self.checked) | {"repaired": [item.payload() for item in self.repaired]}
        return {"trigger": self.trigger, "ok": self.ok, "breaks": breaks, "checked": checked}

    @property
    def message(self) -> str:
        mended = f"; {len(self.repaired)} difference(s) were repaired" if self.repaired else ""
        if self.ok:
            return f"orders, fills, positions and cash agree with the venue{mended}"
        first = self.breaks[0] if self.breaks else None
        if first is None and self.checked.get("unasked"):
            return f"{self.checked['unasked']} open orders are still to be asked for{mended}"
        where = f" in {first.symbol}" if first and first.symbol else ""
        if first is None:
            return f"not compared: orders were filling during the look{mended}"
        return f"{len(self.breaks)} difference(s): {first.kind}{where}, {first.evidence}{mended}"
