"""The latest quotes and trades, and their marks for other processes. (The broker conflates what the engine lags.)"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from athena.model import Quote, Trade

if TYPE_CHECKING:
    from athena.journal.journal import Journal

HISTORY = 32  # quotes of each symbol, for what was in force a moment ago


class MarketData:
    """What the market last said of each symbol; O(1) per event."""

    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}
        self.trades: dict[str, Trade] = {}
        self._history: dict[str, deque[Quote]] = {}
        self._changed: set[str] = set()
        self.count = 0

    def on_quote(self, quote: Quote) -> None:
        self.quotes[quote.symbol] = quote
        if (history := self._history.get(quote.symbol)) is None:
            history = self._history[quote.symbol] = deque(maxlen=HISTORY)
        history.append(quote)
        self._changed.add(quote.symbol)
        self.count += 1

    def on_trade(self, trade: Trade) -> None:
        self.trades[trade.symbol] = trade
        self._changed.add(trade.symbol)

    def mark(self, symbol: str) -> Decimal | None:
        """Price to value a position at, in dollars, as the venue does: the last trade, else the mid, else None."""
        if (trade := self.trades.get(symbol)) is not None:
            return trade.price
        quote = self.quotes.get(symbol)
        return None if quote is None else quote.mid

    def nbbo_before(self, symbol: str, at: datetime) -> Quote | None:
        """The quote in force at a moment, such as just before a fill; None when what is known is later than it."""
        return next((quote for quote in reversed(self._history.get(symbol, ())) if quote.at <= at), None)

    def age_seconds(self, now: datetime) -> float | None:
        """Age of the newest quote of all, in venue seconds."""
        newest = max((quote.at for quote in self.quotes.values()), default=None)
        return None if newest is None else max(0.0, (now - newest).total_seconds())

    def flush(self, journal: Journal) -> None:
        """Write the marks that changed since the last call; telemetry, so nothing waits for it."""
        changed, self._changed = self._changed, set()
        if changed:
            quotes = [self.quotes[s] for s in changed if s in self.quotes]
            journal.put_marks(quotes, [self.trades[s] for s in changed if s in self.trades])
