"""The trading floor: every open order of every account, worked against the tape as venue time goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from athena.model import OrderStatus, Quote, TimeInForce, Trade
from athena.simulator.book import Book
from athena.simulator.matching import AUCTIONS, IMMEDIATE, STOPS, Liquidity, heed, price_now, wanted, within_limit
from athena.simulator.orders import VenueOrder
from athena.simulator.tape import Tape
from athena.simulator.timetable import Boundary, Phase, phase_at, session_from

WINDOW = timedelta(minutes=5)
INSTANT = timedelta(microseconds=1)
AWAKE = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


class Floor:
    """Works open orders. `at` is the venue time up to which all is done; the exchange moves it."""

    def __init__(self, tape: Tape, at: datetime) -> None:
        self.tape = tape
        self.at = at
        self.liquidity = Liquidity()
        self.books: list[Book] = []

    # What the exchange calls as time goes by

    def run(self, until: datetime) -> None:
        """Works the orders that may trade in this phase through every quote and print in (at, until]."""
        phase = phase_at(self.at)
        while self.at < until:
            symbols = self._symbols(phase)
            if not symbols:
                break
            end = min(self.at + WINDOW, until)
            self._window(symbols, phase, self.at, end)
            self.at = end
        self.at = until

    def cross(self, boundary: Boundary) -> None:
        """The first instant of a phase: auctions, expiries, orders that wake, and a first look at the market."""
        self.at = boundary.at
        if boundary.phase is Phase.POST:
            self._closing_auction(boundary)
        for book, order in self._open():
            if order.expires_at is not None and order.expires_at <= self.at:
                self.expire(book, order)
            elif order.status is OrderStatus.ACCEPTED and wakes(order, boundary.phase):
                self.wake(book, order)
        for symbol in self._symbols(boundary.phase):
            trades = self.tape.trades(symbol, self.at - INSTANT, self.at)
            self._work(symbol, self.at, trades, self.quote(symbol), boundary.phase)

    # What an account's requests come down to

    def enter(self, book: Book, order: VenueOrder) -> VenueOrder:
        """Takes a new order onto the floor: queued until its session, or awake and given its first look."""
        phase = phase_at(self.at)
        if not wakes(order, phase):
            return book.put(replace(order, status=OrderStatus.ACCEPTED), "accepted")
        order = self.wake(book, order)
        if order.type in STOPS:
            last = self.tape.trade(order.symbol, self.at)
            order = book.put(heed(order, [last] if last else []))
        return self._match(book, order, self.quote(order.symbol), phase)

    def wake(self, book: Book, order: VenueOrder) -> VenueOrder:
        return book.put(replace(order, status=OrderStatus.NEW, updated_at=self.at), "new")

    def cancel(self, book: Book, order: VenueOrder) -> VenueOrder:
        ended = replace(order, status=OrderStatus.CANCELED, canceled_at=self.at, updated_at=self.at)
        return book.put(ended, "canceled")

    def expire(self, book: Book, order: VenueOrder) -> VenueOrder:
        ended = replace(order, status=OrderStatus.EXPIRED, expired_at=self.at, updated_at=self.at)
        return book.put(ended, "expired")

    def quote(self, symbol: str) -> Quote | None:
        """The quote of this trading day, or None where there is none yet."""
        quote = self.tape.quote(symbol, self.at)
        return quote if quote is not None and quote.at >= session_from(self.at).extended_open else None

    # How a symbol's orders are worked

    def _window(self, symbols: Iterable[str], phase: Phase, start: datetime, end: datetime) -> None:
        moments: dict[tuple[datetime, str], tuple[list[Trade], list[Quote]]] = {}
        current: dict[str, Quote | None] = {}
        for symbol in symbols:
            current[symbol] = self.quote(symbol)
            for quote in self.tape.quotes(symbol, start, end):
                moments.setdefault((quote.at, symbol), ([], []))[1].append(quote)
            for trade in self.tape.trades(symbol, start, end):
                moments.setdefault((trade.at, symbol), ([], []))[0].append(trade)
        for at, symbol in sorted(moments):
            trades, quotes = moments[at, symbol]
            if quotes:
                current[symbol] = quotes[-1]
            self.at = at
            self._work(symbol, at, trades, current[symbol], phase)

    def _work(self, symbol: str, at: datetime, trades: Sequence[Trade], quote: Quote | None, phase: Phase) -> None:
        if self.tape.halted(symbol, at):
            return
        for book in self.books:
            for order in book.open_orders(symbol):
                if not may_trade(order, phase):
                    continue
                if order.time_in_force is TimeInForce.OPG:
                    if trades:
                        self._auction(book, order, trades[0].price)
                    continue
                heeded = heed(order, trades)
                if heeded is not order:
                    book.put(heeded)
                self._match(book, heeded, quote, phase)

    def _match(self, book: Book, order: VenueOrder, quote: Quote | None, phase: Phase) -> VenueOrder:
        """Fills what can be filled of an order now; what must not rest is canceled."""
        if order.time_in_force in AUCTIONS or not may_trade(order, phase):
            return order
        price = None if quote is None or self.tape.halted(order.symbol, self.at) else price_now(order, quote)
        if quote is not None and price is not None:
            wants = wanted(order, price)
            takes = min(wants, self.liquidity.available(quote, order.side))
            if takes > 0 and (takes == wants or order.time_in_force is not TimeInForce.FOK):
                key, taken = self.liquidity.take(quote, order.side, takes)
                book.ledger.changes["taken", key] = taken
                order = self._fill(book, order, takes, price, wants - takes)
            elif wants <= 0:
                # What is left of a notional order buys less than the smallest fraction of a share.
                return self.cancel(book, order)
        if order.is_open and order.time_in_force in IMMEDIATE:
            order = self.cancel(book, order)
        return order

    def _fill(self, book: Book, order: VenueOrder, quantity: Decimal, price: Decimal, leaves: Decimal) -> VenueOrder:
        return book.fill(order, quantity, price, leaves, self.at, self.tape.previous_close(order.symbol, self.at))

    def _auction(self, book: Book, order: VenueOrder, price: Decimal) -> None:
        """The auction's price for all of the order, or nothing of it."""
        quantity = wanted(order, price)
        if within_limit(order, price):
            self._fill(book, order, quantity, price, quantity - quantity)
        else:
            self.cancel(book, order)

    def _closing_auction(self, boundary: Boundary) -> None:
        for book, order in self._open():
            if order.time_in_force is TimeInForce.CLS and order.status in AWAKE:
                last = self.tape.trade(order.symbol, self.at)
                traded = last is not None and last.at >= boundary.session.open
                if last is None or not traded or self.tape.halted(order.symbol, self.at):
                    self.cancel(book, order)
                else:
                    self._auction(book, order, last.price)

    def _symbols(self, phase: Phase) -> list[str]:
        """Symbols with an order that may trade now."""
        return sorted({order.symbol for _, order in self._open() if may_trade(order, phase)})

    def _open(self) -> list[tuple[Book, VenueOrder]]:
        return [(book, order) for book in self.books for order in book.open_orders()]


def wakes(order: VenueOrder, phase: Phase) -> bool:
    """True when the order, accepted earlier or now, goes to the market in this phase."""
    return phase is Phase.REGULAR or (order.extended_hours and phase.is_extended)


def may_trade(order: VenueOrder, phase: Phase) -> bool:
    """True when the order is at the market and this phase is one of its own."""
    return order.status in AWAKE and order.time_in_force is not TimeInForce.CLS and wakes(order, phase)
