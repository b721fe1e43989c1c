"""A tape written by hand: each quote and print is what the test said, so that a fill can be predicted to the cent."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from athena.model import NEW_YORK, Bar, Quote, Trade, trading_date
from athena.simulator.assets import Asset
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange, TradeUpdate, VenueAccount
from athena.simulator.tape import Prices, Shock

KEY, SECRET = "KEY", "SECRET"


def ny(text: str, day: str = "2020-03-09") -> datetime:
    """A New York time of a day: ny("9:30") or ny("9:30:01")."""
    hours, minutes, *seconds = (int(part) for part in text.split(":"))
    at = datetime.combine(date.fromisoformat(day), datetime.min.time(), NEW_YORK)
    return at.replace(hour=hours, minute=minutes, second=seconds[0] if seconds else 0).astimezone(UTC)


class FakeTape:
    """Satisfies Tape with facts set by `show` and `print`."""

    def __init__(self, symbols: Sequence[str] = ("AAA", "BBB")) -> None:
        self.symbols = tuple(symbols)
        extra = [
            Asset("HTB", "Hard to borrow", shortable=False, fractionable=False),
            Asset("OLD", "Delisted", status="inactive", tradable=False),
        ]
        self.assets = {asset.symbol: asset for asset in [*(Asset(name, name) for name in symbols), *extra]}
        self.closes: dict[str, Decimal] = {}
        self.halts: set[str] = set()
        self._quotes: dict[str, list[Quote]] = defaultdict(list)
        self._trades: dict[str, list[Trade]] = defaultdict(list)

    def show(
        self,
        symbol: str,
        at: datetime,
        bid: str | Decimal,
        ask: str | Decimal,
        bid_size: int = 100,
        ask_size: int = 100,
    ) -> None:
        quote = Quote(symbol, Decimal(bid), Decimal(ask), Decimal(bid_size), Decimal(ask_size), at)
        insort(self._quotes[symbol], quote, key=lambda one: one.at)

    def print(self, symbol: str, at: datetime, price: str | Decimal, size: int = 100) -> None:
        insort(self._trades[symbol], Trade(symbol, Decimal(price), Decimal(size), at), key=lambda one: one.at)

    def quote(self, symbol: str, at: datetime) -> Quote | None:
        return next((quote for quote in reversed(self._quotes[symbol]) if quote.at <= at), None)

    def trade(self, symbol: str, at: datetime) -> Trade | None:
        return next((trade for trade in reversed(self._trades[symbol]) if trade.at <= at), None)

    def quotes(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Quote]:
        return [quote for quote in self._quotes[symbol] if start < quote.at <= end][:limit]

    def trades(self, symbol: str, start: datetime, end: datetime, limit: int | None = None) -> list[Trade]:
        return [trade for trade in self._trades[symbol] if start < trade.at <= end][:limit]

    def previous_close(self, symbol: str, at: datetime) -> Decimal | None:
        today = trading_date(at)
        earlier = [trade.price for trade in self._trades[symbol] if trading_date(trade.at) < today]
        return earlier[-1] if earlier else self.closes.get(symbol)

    def halted(self, symbol: str, at: datetime) -> bool:
        return symbol in self.halts

    def prices(self, symbol: str, at: datetime) -> Prices | None:
        raise NotImplementedError

    def bars(self, symbol: str, start: datetime, end: datetime, timeframe: timedelta | str) -> list[Bar]:
        raise NotImplementedError

    def add_shock(self, shock: Shock) -> None:
        raise NotImplementedError


class Venue:
    """An exchange over a FakeTape with one account, its updates as they were told, and a clock set by hand.

    It opens at `at` (by default 10:00 of a Monday) with AAA at 99.95 / 100.00, 100 shares shown a side.
    """

    def __init__(self, at: datetime | None = None, cash: str = "100000", state_path=None, tape=None, **options) -> None:
        at = at or ny("10:00")
        self.clock = ManualClock(at)
        self.tape = tape or FakeTape()
        if tape is None:
            for symbol in self.tape.symbols:
                self.tape.closes[symbol] = Decimal(100)
                self.tape.show(symbol, at, "99.95", "100.00")
                self.tape.print(symbol, at, "100.00")
        self.exchange = Exchange(
            self.tape, self.clock, state_path, keys={KEY: SECRET}, opening_cash=Decimal(cash), **options
        )
        self.account: VenueAccount = self.exchange.account(KEY, SECRET)
        self.updates: list[TradeUpdate] = []
        self.exchange.subscribe(self.account, self.updates.append)

    def tick(self, bid, ask, size: int = 100, *, symbol: str = "AAA", seconds: int = 1, last=None) -> None:
        """A new quote `seconds` on, a print at `last` when given, and the clock there."""
        at = self.clock.now() + timedelta(seconds=seconds)
        self.tape.show(symbol, at, str(bid), str(ask), size, size)
        if last is not None:
            self.tape.print(symbol, at, str(last))
        self.go(at)

    def go(self, at: datetime) -> None:
        self.clock.set(at)
        self.exchange.advance()

    @property
    def events(self) -> list[str]:
        return [update.event for update in self.updates]
