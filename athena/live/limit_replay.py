"""What would these limits have refused? The journal's own events, in order, through the guard's own checks.

An order that a candidate refuses takes no further part: its fills are left out of the book the later orders meet.
Halts apply as they were recorded. Each order is judged by the quote journaled with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.live.guard_book import Book
from athena.live.guard_checks import check, price_of
from athena.live.guard_probe import wide_open
from athena.live.guard_rules import Halt, Rules
from athena.live.limits import LIMITS, Value, parse
from athena.model import (
    ZERO,
    CashFlow,
    Fill,
    Mode,
    Order,
    OrderIntent,
    OrderStatus,
    OrderType,
    Origin,
    Purpose,
    Quote,
    Scope,
    Side,
    TimeInForce,
    trading_date,
)

if TYPE_CHECKING:
    from athena.journal.event import Event
    from athena.journal.journal import Journal

Limits = Mapping[tuple[str, str], Value]
KINDS = (
    "account.bound", "day.opened", "order.intended", "order.refused", "order.updated", "fill", "cash_flow", "equity",
    "halt.set", "halt.cleared", "limit.set",
)  # fmt: skip
NOT_REPLAYED = frozenset({
    "max_quote_age_seconds", "max_participation_rate", "min_buying_power_dollars", "trading_session",
    "max_messages_per_minute",
})  # fmt: skip
"""Limits that compare what the journal does not keep: ages, volume, buying power, the venue's clock, cancels."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One journaled order and both answers: what the guard said then, and what these limits say; "" is passed."""

    sequence: int
    at: datetime
    trading_date: date
    client_order_id: str
    symbol: str
    strategy: str
    side: str
    quantity: Decimal
    notional: Decimal
    recorded: str
    replayed: str
    observed: str
    limit: str


def load_record(journal: Journal) -> list[Event]:
    """The events a replay needs, oldest first."""
    return list(journal.events(kinds=KINDS))


def replay(record: Iterable[Event], candidate: Limits | None = None) -> list[Judged]:
    """Every journaled order judged again, under the limits of its time with `candidate`'s put over them."""
    return _Replay(candidate or {}).run(record)


class _Recorded(OrderIntent):
    """An intent read back: its key is the client order id it had."""

    __slots__ = ()

    @property
    def client_order_id(self) -> str:
        return self.key


class _Replay:
    """The book and the rules of one pass through the record."""

    def __init__(self, candidate: Limits) -> None:
        self._candidate, self._set = candidate, dict[tuple[str, str], Value]()
        self._halts: dict[str, Halt] = {}
        self._book, self._dropped, self._final = Book(), set[str](), set[str]()
        self._rules: Rules | None = None
        self._judged: list[Judged] = []

    def run(self, record: Iterable[Event]) -> list[Judged]:
        for event in record:
            match event.kind:
                case "order.intended" | "order.refused":
                    self._judge(event)
                case "fill":
                    self._fill(event.payload)
                case "order.updated":
                    self._order(event.payload)
                case "equity":
                    self._marks(event.payload["marks"])
                case "day.opened":
                    opening = Decimal(event.payload["opening_equity"])
                    self._book.open_day(date.fromisoformat(event.payload["trading_date"]), opening)
                case "account.bound":
                    self._bound(event.payload)
                case "cash_flow":
                    self._cash(event.payload)
                case "limit.set":
                    self._limit(event.payload)
                case "halt.set":
                    self._halts[event.payload["id"]] = _halt(event)
                    self._rules = None
                case "halt.cleared":
                    self._halts.pop(event.payload["id"], None)
                    self._rules = None
        return self._judged

    @property
    def rules(self) -> Rules:
        if self._rules is None:
            unknown = {name: wide_open()[name] for name in NOT_REPLAYED}
            values = self._set | dict(self._candidate)
            values = {key: value for key, value in values.items() if key[0] not in unknown}
            values |= {(name, ""): value for name, value in unknown.items()}
            standing = tuple(self._halts.values())
            mode = max((h.mode for h in standing if h.scope is Scope.GLOBAL), key=lambda m: m.strictness, default=None)
            self._rules = Rules(0, mode or Mode.ACTIVE, standing, values)
        return self._rules

    def _judge(self, event: Event) -> None:
        p, at, book = event.payload, event.venue_at or event.at, self._book
        if event.kind == "order.refused" and p["code"] == "DUPLICATE_ORDER_ID":
            return
        try:
            intent = _intent(p)
        except (ArithmeticError, ValueError, TypeError):
            return  # what was refused because it was no order cannot be judged by its size
        if p.get("bid") and p.get("ask"):
            book.quote(Quote(intent.symbol, Decimal(p["bid"]), Decimal(p["ask"]), ZERO, ZERO, at))
        tier = self.rules.bounds("", "")
        book.touch_peak()
        shrunk = book.drawdown_percent >= tier.drawdown_reduce_size_percent
        self.rules.scale(tier.drawdown_size_factor if shrunk else Decimal(1))
        now_ns = int(event.at.timestamp() * 1e9)
        bounds = self.rules.bounds(intent.symbol, intent.strategy)
        refused = check(book, bounds, intent, at, now_ns)
        recorded = p["code"] if event.kind == "order.refused" else ""
        notional = intent.quantity * price_of(book.of(intent.symbol), intent)
        if refused is None and not recorded:
            book.intended(intent, at, ZERO if intent.purpose is Purpose.EXIT else notional, now_ns)
        else:
            self._dropped.add(p["client_order_id"])
        said = ("", "", "") if refused is None else (str(refused.code), refused.observed, refused.limit)
        self._judged.append(
            Judged(
                event.sequence, at, trading_date(at), p["client_order_id"], intent.symbol, intent.strategy,
                intent.side.value, intent.quantity, notional, recorded, *said,
            )
        )  # fmt: skip

    def _fill(self, p: Mapping[str, Any]) -> None:
        if p["client_order_id"] in self._dropped:
            return
        bid, ask = p.get("bid"), p.get("ask")
        mid = (Decimal(bid) + Decimal(ask)) / 2 if bid and ask else None
        fill = Fill(
            p["execution_id"], p["client_order_id"], p.get("broker_order_id") or "", p["symbol"], Side(p["side"]),
            Decimal(p["quantity"]), Decimal(p["price"]), datetime.fromisoformat(p["at"]), p.get("strategy") or "",
            Decimal(p.get("fee") or 0),
        )  # fmt: skip
        slipped = self._book.fill(fill, mid)
        bound = self.rules.bounds(fill.symbol, fill.strategy).limit_orders_only_slippage_bps
        if slipped is not None and slipped >= bound:
            self._book.of(fill.symbol).limit_orders_only = True

    def _order(self, p: Mapping[str, Any]) -> None:
        name, status = p["client_order_id"], OrderStatus(p["status"])
        book = self._book.open.get(name)
        if p.get("reopened"):
            self._final.discard(name)
        if name in self._dropped or name in self._final or (book is None and not p.get("symbol")):
            return  # what is final stays so, whatever older news says
        if status.is_final:
            self._final.add(name)
        known = book.open[name] if book is not None else None
        side = known.side if known else Side(p["side"])
        kind = known.type if known else OrderType(p["type"])
        quantity = p.get("quantity") or (known.quantity if known else None)
        self._book.order(
            Order(
                name, p.get("broker_order_id") or "", book.symbol if book else p["symbol"], side, kind, TimeInForce.DAY,
                status, None if quantity is None else Decimal(quantity),
                Decimal(p.get("filled_quantity") or 0), None, _amount(p.get("limit_price")),
            )
        )  # fmt: skip

    def _marks(self, marks: Mapping[str, str]) -> None:
        for symbol, price in marks.items():
            book = self._book.of(symbol)
            book.mark = Decimal(price)
            self._book.restate(book)

    def _bound(self, p: Mapping[str, Any]) -> None:
        for position in p.get("positions") or ():
            book = self._book.of(position["symbol"])
            book.mark = Decimal(position.get("mark") or 0)
            self._book.take(book, Decimal(position["quantity"]), Decimal(position["price"]))
        self._book.cash = Decimal(p["cash"])

    def _cash(self, p: Mapping[str, Any]) -> None:
        flow = CashFlow(p["id"], p["kind"], Decimal(p["amount"]), datetime.fromisoformat(p["at"]))
        self._book.cash_flow(flow)

    def _limit(self, p: Mapping[str, Any]) -> None:
        if p["name"] in LIMITS:
            self._set[p["name"], p.get("target") or ""] = parse(p["name"], p["value"])
            self._rules = None


def _halt(event: Event) -> Halt:
    p = event.payload
    return Halt(
        p["id"], Scope(p["scope"]), p.get("target") or "", Mode(p["mode"]), Origin(p["origin"]), p.get("owner") or "",
        p.get("reason") or "", int(p.get("nonce") or 0), event.at,
    )  # fmt: skip


def _intent(p: Mapping[str, Any]) -> OrderIntent:
    return _Recorded(
        p["client_order_id"], p["symbol"], Side(p["side"]), Decimal(p["quantity"]), OrderType(p["type"]),
        _amount(p.get("limit_price")), _amount(p.get("stop_price")), strategy=p["strategy"],
        purpose=Purpose(p.get("purpose") or "strategy"),
    )  # fmt: skip


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
