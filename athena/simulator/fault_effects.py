"""What faults do to the venue itself: states that last while a fault does, actions done once, cancels that race."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from athena.errors import SimulatorError
from athena.model import OrderStatus, OrderType, TimeInForce
from athena.simulator.book import Book, unfilled_shares
from athena.simulator.clock import Now
from athena.simulator.decimals import ZERO, plain
from athena.simulator.errors import VenueError
from athena.simulator.exchange import Exchange
from athena.simulator.fault_model import Fault, Kind
from athena.simulator.faults import FeedClock, Line
from athena.simulator.market_stream import MarketStream
from athena.simulator.orders import OrderRequest, VenueOrder
from athena.simulator.shocks import Shock
from athena.simulator.trade_stream import TradeStream

RACE_SECONDS = 0.3
FOREVER = timedelta(days=1)


class NotYet(Exception):
    """There is nothing to act on; the action waits."""


@dataclass(slots=True)
class Effects:
    """The venue's levers. Everything happens on the venue's event loop."""

    exchange: Exchange
    clock: Now
    feed: FeedClock
    market_stream: MarketStream
    trade_stream: TradeStream
    skew: timedelta = timedelta()

    def hold(self, faults: Collection[Fault]) -> None:
        """Brings every lasting state to what these faults, all active, make of it together."""
        for line, name in ((self.trade_stream.line, "trading"), (self.market_stream.line, "data")):
            _set(line, [fault for fault in faults if fault.stream in ("", name)], name)
        kinds = {fault.kind for fault in faults}
        if Kind.DATA_STALE not in kinds:
            self.feed.stopped_at = None
        elif self.feed.stopped_at is None:
            self.feed.stopped_at = self.clock.now()
        skews = [fault.seconds or 0.0 for fault in faults if fault.kind is Kind.CLOCK_SKEW]
        self.skew = timedelta(seconds=sum(skews))
        for book in self.exchange.books():
            book.without_power = _concerns(book, Kind.NO_BUYING_POWER, faults)
            book.trading_blocked = _concerns(book, Kind.TRADING_BLOCKED, faults)
        self._list({fault.symbol for fault in faults if fault.kind is Kind.SYMBOL_DELIST})

    def begin(self, fault: Fault) -> None:
        """What happens in the moment a fault begins, before its states hold."""
        if fault.kind is Kind.STREAM_RESTART:
            self._drop("")
        elif fault.kind is Kind.SYMBOL_HALT:
            now, lasts = self.clock.now(), FOREVER
            if fault.lasts_seconds is not None:
                speed = 1.0 if fault.on_venue_time else self.clock.speed
                lasts = min(timedelta(seconds=fault.lasts_seconds * speed), FOREVER)
            self.exchange.tape.add_shock(Shock(fault.symbol, now, now + lasts, halted=True))

    def act(self, fault: Fault) -> str:
        """Does an action; says what was done. Raises NotYet, or VenueError where the venue's rules forbid it."""
        self.exchange.advance()
        if fault.kind is Kind.STREAM_DROP:
            return self._drop(fault.stream)
        for book in self._books(fault):
            account = self.exchange.account_of(book)
            if fault.kind is Kind.EXTERNAL_ORDER and fault.side is not None:
                request = OrderRequest(
                    fault.symbol,
                    fault.side,
                    OrderType.MARKET if fault.price is None else OrderType.LIMIT,
                    TimeInForce.DAY,
                    quantity=fault.quantity,
                    limit_price=fault.price,
                    client_order_id=fault.client_order_id or None,
                )
                return f"order {account.submit(request).client_order_id}"
            if fault.kind is Kind.EXTERNAL_CLOSE and book.quantity(fault.symbol):
                return f"order {account.close_position(fault.symbol).client_order_id}"
            if fault.kind in (Kind.TRADE_BUST, Kind.TRADE_CORRECT) and (done := self._amend(book, fault)):
                return done
        raise NotYet

    def race(self, book: Book, order: VenueOrder, fault: Fault) -> None:
        """A cancel that loses: the order is pending_cancel, then fills (partly), then is canceled."""
        at = self.exchange.at
        book.put(replace(order, status=OrderStatus.PENDING_CANCEL, updated_at=at), "pending_cancel")
        seconds = RACE_SECONDS if fault.seconds is None else fault.seconds
        asyncio.get_running_loop().call_later(seconds, self._finish_race, book, order.id, fault.quantity)

    # Helpers

    def _finish_race(self, book: Book, order_id: str, wanted: Decimal | None) -> None:
        self.exchange.advance()
        order = book.orders[order_id]
        if not order.is_open:
            return
        unfilled = unfilled_shares(order)
        quantity = min(wanted or max(Decimal(int(unfilled / 2)), Decimal(1)), unfilled)
        price = order.limit_price or self.exchange.price(order.symbol, self.exchange.at)
        if quantity > 0:
            close = self.exchange.tape.previous_close(order.symbol, self.exchange.at)
            order = book.fill(order, quantity, price, unfilled - quantity, self.exchange.at, close)
        if order.is_open:
            self.exchange.end(book, order)
        self.exchange.commit()

    def _amend(self, book: Book, fault: Fault) -> str:
        """The last execution that stands, busted or corrected; "" where there is none."""
        fills = [fill for fill in book.executions().values() if fault.symbol in ("", fill.symbol)]
        if not fills:
            return ""
        last = fills[-1]
        bust = fault.kind is Kind.TRADE_BUST
        quantity, price = (ZERO, ZERO) if bust else (fault.quantity or last.quantity, fault.price or last.price)
        close = self.exchange.tape.previous_close(last.symbol, self.exchange.at)
        book.amend(last, quantity, price, self.exchange.at, close)
        self.exchange.commit()
        before = f"{plain(last.quantity)} {last.symbol} at {plain(last.price)}"
        became = "busted" if bust else f"became {plain(quantity)} at {plain(price)}"
        return f"execution {last.execution_id} ({before}) {became}"

    def _drop(self, stream: str) -> str:
        cut = 0
        for name, one in (("trading", self.trade_stream), ("data", self.market_stream)):
            if stream in ("", name):
                cut += len(one.connections)
                one.drop()
        return f"{cut} connections reset"

    def _books(self, fault: Fault) -> Iterable[Book]:
        return [book for book in self.exchange.books() if fault.account in ("", book.key_id)]

    def _list(self, delisted: set[str]) -> None:
        """Ends and restores listings, and rejects what is open in those that end."""
        exchange = self.exchange
        for symbol, asset in exchange.tape.assets.items():
            if symbol not in delisted:
                exchange.assets[symbol] = asset
            elif exchange.assets[symbol] == asset:
                exchange.assets[symbol] = replace(asset, status="inactive", tradable=False)
                for book in exchange.books():
                    for order in book.open_orders(symbol):
                        at = exchange.at
                        gone = replace(order, status=OrderStatus.REJECTED, failed_at=at, updated_at=at)
                        book.put(gone, "rejected")
        exchange.commit()


def check(fault: Fault, exchange: Exchange) -> None:
    """Raises SimulatorError for a fault on a symbol or an account this venue does not have."""
    known = exchange.tape.symbols if fault.kind is Kind.SYMBOL_HALT else exchange.tape.assets
    if fault.symbol and fault.symbol not in known:
        raise SimulatorError(f"The venue does not list '{fault.symbol}'.")
    if fault.account and fault.account not in {book.key_id for book in exchange.books()}:
        raise SimulatorError(f"The venue has no account '{fault.account}'.", "It is an account's key id.")


def refusal(error: VenueError) -> str:
    """What the fault log says where the venue itself refused."""
    return f"refused: {error.status} {error.message}"


def _set(line: Line, faults: Collection[Fault], name: str) -> None:
    kinds = {fault.kind for fault in faults}
    line.mute = Kind.STREAM_MUTE in kinds
    line.answers_pings = all(fault.pings for fault in faults if fault.kind is Kind.STREAM_MUTE)
    line.refuses = Kind.STREAM_REFUSE in kinds
    line.down = Kind.STREAM_RESTART in kinds
    if name == "trading" and Kind.TRADING_STALE in kinds:
        line.flowing.clear()
    else:
        line.flowing.set()


def _concerns(book: Book, kind: Kind, faults: Iterable[Fault]) -> bool:
    return any(fault.kind is kind and fault.account in ("", book.key_id) for fault in faults)
