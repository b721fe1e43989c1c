"""Asking the strategies: each quote goes to those of its symbol, each decision gets a number that is used once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from athena.live.order_book import OrderBook
from athena.live.strategies.base import Context, Strategy
from athena.lot import Book
from athena.model import OrderIntent, Quote, trading_date

if TYPE_CHECKING:
    from athena.journal.journal import Journal

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0  # of the Tick's time, after an order the venue refused


class Deciders:
    """The strategies with what each holds and has decided so far."""

    def __init__(self, strategies: Sequence[Strategy], journal: Journal, book: OrderBook) -> None:
        self._journal, self._book = journal, book
        self.holdings = Book()
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._rejected: dict[tuple[str, str], tuple[float, float]] = {}  # how long a pause, until when (monotonic)
        self._of_symbol: dict[str, list[Strategy]] = {}
        for strategy in strategies:
            for symbol in strategy.symbols:
                self._of_symbol.setdefault(symbol, []).append(strategy)

    def of(self, symbol: str) -> Sequence[Strategy]:
        return self._of_symbol.get(symbol, ())

    def rejected(self, strategy: str, symbol: str, monotonic: float) -> None:
        """The venue refused its order: it is not asked again for a while, longer each time, so that no storm builds."""
        pause = min(self._rejected.get((strategy, symbol), (PAUSE_SECONDS / 2, 0.0))[0] * 2, PAUSE_SECONDS_MAX)
        self._rejected[strategy, symbol] = (pause, monotonic + pause)

    def accepted(self, strategy: str, symbol: str) -> None:
        """The venue took an order of its: the pauses begin anew."""
        self._rejected.pop((strategy, symbol), None)

    def paused(self, strategy: str, symbol: str, monotonic: float) -> bool:
        return monotonic < self._rejected.get((strategy, symbol), (0.0, 0.0))[1]

    def intents(
        self, strategy: Strategy, quote: Quote, now: datetime, seconds_to_close: float
    ) -> Iterator[OrderIntent]:
        """What a strategy wants at a quote. Raises whatever it raises, and ValueError for an order not its own."""
        name, symbol, today = strategy.name, quote.symbol, trading_date(now)
        number = self._numbers.get((name, symbol, today.isoformat()), 1)
        held = self.holdings.lot(name, symbol)
        entry = held.average_price if held.quantity else None
        working = self._book.working(name, symbol)
        context = Context(name, now, today, seconds_to_close, held.quantity, entry, working, number)
        for intent in strategy.on_quote(quote, context):
            if intent.strategy != name or intent.symbol not in strategy.symbols:
                raise ValueError(f"it ordered {intent.symbol} as '{intent.strategy}', which is not its own")
            yield self._numbered(intent, today.isoformat(), number)

    def _numbered(self, intent: OrderIntent, today: str, number: int) -> OrderIntent:
        """The intent with the next decision number that the journal has not seen, also from before a restart."""
        while self._journal.one("SELECT 1 FROM orders WHERE client_order_id = ?", (intent.client_order_id,)):
            number += 1
            intent = replace(intent, key=f"{today}:{number}")
        self._numbers[intent.strategy, intent.symbol, today] = number + 1
        return intent
