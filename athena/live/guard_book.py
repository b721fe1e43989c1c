"""What the guard knows of the account, kept by O(1) steps per event: positions, open orders, marks, the day's figures.

The book believes the worst: an open order counts in full until its fills have arrived or the venue said it is final,
and a final order whose reported fills have not arrived yet still counts for those.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from athena.live.guard_symbol import NEVER, OpenOrder, SymbolBook
from athena.model import (
    NEW_YORK,
    ZERO,
    CashFlow,
    Clock,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    Purpose,
    Quote,
    Side,
    Trade,
    trading_date,
)

__all__ = ["Book", "OpenOrder", "SymbolBook"]

VOLUME_WINDOW = timedelta(minutes=5)
_DUST_DOLLARS = Decimal(100)  # below this measured notional an order's slippage judges nothing
_RATE_BOUND = 100_001


class Book:
    """All symbols, and the account's totals at their worst; what the checks read is a plain attribute."""

    def __init__(self) -> None:
        self.symbols: dict[str, SymbolBook] = {}
        self.open: dict[str, SymbolBook] = {}  # client order id -> its symbol's book
        self.cash = self.value = ZERO
        self.gross = self.net_up = self.net_down = ZERO
        self.day: date | None = None
        self.day_start = self.day_end = datetime.min.replace(tzinfo=UTC)
        self.opening_equity: Decimal | None = None
        self.starting_equity: Decimal | None = None  # opening equity and the day's transfers: its loss counts from here
        self.transfers = self.all_transfers = ZERO  # deposits less withdrawals, of the day and ever: not profit
        self.loss_acknowledged = ZERO  # an override resumed trading in spite of this loss; a restart forgets it
        self.peak = ZERO  # of equity less all transfers
        self.buying_power: Decimal | None = None
        self.ordered = ZERO  # dollars ordered since buying power was read
        self.rates: dict[str, deque[datetime]] = {"": deque(maxlen=_RATE_BOUND)}  # venue times, by target
        self.messages: deque[int] = deque(maxlen=_RATE_BOUND)  # boot times, ns
        self.cancels: deque[int] = deque(maxlen=_RATE_BOUND)
        self.losses = 0  # closing orders in a row that lost money
        self.results: dict[str, Decimal] = {}  # the day's closing orders: realised so far, latest last
        self.slippage: dict[
            str, tuple[Decimal, Decimal]
        ] = {}  # the day's orders: measured notional, dollars worse than mid
        self.unclaimed: dict[str, Decimal] = {}  # the day's executions of orders not told yet, by order
        self.clock: Clock | None = None
        self.last_session: date | None = None  # the last day on which the venue was seen open

    @property
    def equity(self) -> Decimal:
        return self.cash + self.value

    @property
    def daily_loss(self) -> Decimal | None:
        """Dollars lost since the day opened, realised and on current marks, without deposits; None before it opened."""
        return None if self.starting_equity is None else self.starting_equity - self.cash - self.value

    @property
    def drawdown_percent(self) -> Decimal:
        """Fall from the peak in per cent of it; money paid in or out moves neither."""
        top = self.peak + self.all_transfers
        return (top - self.cash - self.value) / top * 100 if top > 0 else ZERO

    def of(self, symbol: str) -> SymbolBook:
        """The symbol's book, made when first named."""
        book = self.symbols.get(symbol)
        if book is None:
            book = self.symbols[symbol] = SymbolBook(symbol)
        return book

    # What happens

    def intended(self, intent: OrderIntent, venue_now: datetime, dollars: Decimal, boottime_ns: int) -> None:
        """An order was let through; from now on it counts."""
        book = self.of(intent.symbol)
        self.add(
            book,
            OpenOrder(
                intent.client_order_id, intent.strategy, intent.side, intent.quantity, intent.type, intent.limit_price
            ),
        )
        self.ordered += dollars
        self.messages.append(boottime_ns)
        if intent.purpose is not Purpose.EXIT:  # exits are not limited, and do not use up what limits others
            self.count(intent.symbol, intent.strategy, venue_now)
            book.recent.append((venue_now, intent))

    def count(self, symbol: str, strategy: str, venue_now: datetime) -> None:
        """One more order let through, for the account, its symbol and its strategy."""
        for key in ("", f"symbol:{symbol}", f"strategy:{strategy}"):
            rate = self.rates.get(key)
            if rate is None:
                rate = self.rates[key] = deque(maxlen=_RATE_BOUND)
            rate.append(venue_now)

    def quote(self, quote: Quote) -> None:
        """A new best bid and offer; an empty or crossed one leaves the symbol unquoted until a good one comes."""
        book = self.of(quote.symbol)
        if book.quote_at is not None and quote.at < book.quote_at:
            return  # late: the newer one stands
        bid, ask = quote.bid, quote.ask
        if not (bid.is_finite() and ask.is_finite() and 0 < bid <= ask):  # comparing a NaN would raise
            book.quote_at = None
            return
        book.bid, book.ask, book.quote_at = bid, ask, quote.at
        book.mark = (bid + ask) / 2
        if book.worst:
            self.restate(book)

    def trade(self, trade: Trade) -> None:
        """A print: its size counts for the window's volume; one without a size counts for nothing."""
        if not trade.size.is_finite():
            return
        book = self.of(trade.symbol)
        book.volumes.append((trade.at, trade.size))
        book.volume += trade.size
        expired = trade.at - VOLUME_WINDOW
        while book.volumes[0][0] <= expired:
            book.volume -= book.volumes.popleft()[1]

    def order(self, order: Order) -> None:
        """The venue's latest word on an order, own or other; what is left falls by fills or a final state only."""
        book = self.open.get(order.client_order_id)
        if book is None:
            if order.status.is_final or order.quantity is None:
                return
            book = self.of(order.symbol)  # placed outside Athena: counted, owned by no strategy
            new = OpenOrder(
                order.client_order_id, "", order.side, order.quantity, order.type, order.limit_price,
                order.filled_quantity,
            )  # fmt: skip
            # Filled before the account was bound, or by executions that came first, or that a look will still tell.
            new.included = max(ZERO, order.filled_quantity - self.unclaimed.pop(order.client_order_id, ZERO))
            new.included_until = order.updated_at or NEVER
            self.add(book, new)
        known = book.open[order.client_order_id]
        if order.status is OrderStatus.FILLED and known.status is not OrderStatus.FILLED:
            self.completed(book, known.strategy, known.side, known.quantity)
        known.status = order.status
        known.quantity = order.quantity if order.quantity is not None else known.quantity
        known.limit_price = order.limit_price if order.limit_price is not None else known.limit_price
        self._settle(book, known, order.filled_quantity if order.status.is_final else known.quantity)

    def fill(self, fill: Fill, mid: Decimal | None) -> Decimal | None:
        """Take in one execution, once. Returns its order's slippage in bps when it can be judged."""
        book = self.of(fill.symbol)
        realised = self.take(book, fill.quantity * fill.side.sign, fill.price, fill.fee)
        known = book.open.get(fill.client_order_id)
        if known is None:
            self.unclaimed[fill.client_order_id] = self.unclaimed.get(fill.client_order_id, ZERO) + fill.quantity
        elif fill.at <= known.included_until and fill.quantity <= known.included:
            known.included -= fill.quantity
        else:
            known.applied += fill.quantity
            filled_final = known.applied + max(ZERO, known.remaining - fill.quantity)
            self._settle(book, known, filled_final if known.status.is_final else known.quantity)
        return self.judge(fill.client_order_id, fill.side.sign, fill.quantity, fill.price, fill.fee, realised, mid)

    def judge(
        self, client_order_id: str, sign: int, quantity: Decimal, price: Decimal, fee: Decimal,
        realised: Decimal | None, mid: Decimal | None,
    ) -> Decimal | None:  # fmt: skip
        """The day's figures of an order: its result if it closed something, its slippage if the mid was known."""
        if realised is not None:
            result = self.results.pop(client_order_id, ZERO) + realised - fee
            self.results[client_order_id] = result  # at the end: the latest
            self.losses = 0
            for result in reversed(self.results.values()):
                if not result < 0:
                    break
                self.losses += 1
        if mid is None or not mid > 0:
            return None
        notional, cost = self.slippage.get(client_order_id, (ZERO, ZERO))
        notional, cost = notional + mid * quantity, cost + sign * (price - mid) * quantity
        self.slippage[client_order_id] = (notional, cost)
        return cost / notional * 10_000 if notional >= _DUST_DOLLARS else None

    def cash_flow(self, flow: CashFlow, *, today: bool = True) -> None:
        self.cash += flow.amount
        if flow.is_transfer:
            self.all_transfers += flow.amount
            if today:
                self.transfers += flow.amount
                if self.opening_equity is not None:
                    self.starting_equity = self.opening_equity + self.transfers

    def tell_time(self, clock: Clock) -> None:
        self.clock = clock
        if clock.is_open:
            self.last_session = trading_date(clock.at)

    def open_day(self, day: date, opening_equity: Decimal | None) -> None:
        """The trading date and the equity it opened with; a new date begins the daily figures again.

        Money that came before is in that equity, also where the date had begun at the night's first quote.
        """
        if day != self.day:
            self._begin(day)
        self.transfers = ZERO
        self.opening_equity = self.starting_equity = opening_equity

    def _begin(self, day: date) -> None:
        self.day = day
        self.day_start, self.day_end = (
            datetime.combine(d, time(), NEW_YORK).astimezone(UTC) for d in (day, day + timedelta(days=1))
        )
        self.transfers = self.loss_acknowledged = ZERO
        self.losses = 0
        self.results.clear()
        self.slippage.clear()
        self.unclaimed.clear()
        self.rates.clear()
        self.rates[""] = deque(maxlen=_RATE_BOUND)
        for book in self.symbols.values():
            book.limit_orders_only = False
            book.identical.clear()
            book.recent.clear()

    def touch_peak(self) -> None:
        level = self.cash + self.value - self.all_transfers
        if level > self.peak:
            self.peak = level

    # How it is kept

    def add(self, book: SymbolBook, order: OpenOrder) -> None:
        """Begin to count an order in full, less what was filled."""
        book.open[order.client_order_id] = order
        self.open[order.client_order_id] = book
        self._settle(book, order, order.quantity)

    def take(self, book: SymbolBook, signed: Decimal, price: Decimal, fee: Decimal = ZERO) -> Decimal | None:
        """Average-cost position keeping. Returns realised dollars if the execution closed something, else None."""
        if not signed:
            return None
        before, after, realised = book.position, book.position + signed, None
        if before and (before > 0) != (signed > 0):
            closed = min(abs(signed), abs(before))
            realised = (price - book.average_price) * (closed if before > 0 else -closed)
            if abs(signed) > abs(before):
                book.average_price = price
        else:
            book.average_price = (abs(before) * book.average_price + abs(signed) * price) / abs(after)
        book.position = after
        self.cash -= signed * price + fee
        if not book.mark:
            book.mark = price
        self.restate(book)
        return realised

    def restate(self, book: SymbolBook) -> None:
        """Take the symbol's old share out of the totals and put its present one in."""
        position, mark = book.position, book.mark
        book.up, book.down = up, down = position + book.buys, position - book.sells
        book.worst = worst = max(up, -down)  # never below |position|: both sides' open shares are positive
        was_value, was_gross, was_up, was_down = book.share
        book.share = value, gross, net_up, net_down = position * mark, worst * mark, up * mark, down * mark
        self.value += value - was_value
        self.gross += gross - was_gross
        self.net_up += net_up - was_up
        self.net_down += net_down - was_down

    def completed(self, book: SymbolBook, strategy: str, side: Side, quantity: Decimal) -> None:
        """An order was filled whole: one more equal to the last, or the first of another kind."""
        last = book.identical.get(strategy)
        times = last[2] + 1 if last is not None and last[0] is side and last[1] == quantity else 1
        book.identical[strategy] = (side, quantity, times)

    def _settle(self, book: SymbolBook, order: OpenOrder, bound: Decimal) -> None:
        """What is left is `bound` less the executions taken in; a final order with nothing left is forgotten."""
        remaining = max(ZERO, bound - order.applied)
        change, order.remaining = remaining - order.remaining, remaining
        if order.status.is_final and not remaining:
            book.open.pop(order.client_order_id, None)
            self.open.pop(order.client_order_id, None)
        if change:
            if order.side is Side.BUY:
                book.buys += change
            else:
                book.sells += change
            self.restate(book)
