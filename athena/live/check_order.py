"""Would this order pass now? The guard's own checks on the journal's book; nothing is journaled, nothing is sent.

found = check_order("AAPL", "buy", 100, limit_price=190)
found.passes, found.binds, found.largest
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_book import VOLUME_WINDOW, Book
from athena.live.guard_checks import check
from athena.live.guard_flag import boottime_ns
from athena.live.guard_load import load_book
from athena.live.guard_probe import LimitCheck, largest, probe, scaled
from athena.live.guard_rules import Rules
from athena.live.limits import effective, show
from athena.live.verdict import Code, Refused
from athena.live.vitals import beat
from athena.model import Mode, OrderIntent, OrderType, Quote, Side

if TYPE_CHECKING:
    from athena.journal.journal import Journal

Result = TypeVar("Result")


@dataclass(frozen=True)
class OrderCheck:
    """The answer: whether it would pass, why not, what each limit would leave, and how many shares could go.

    `refused` is the guard's own refusal at this moment; `limits` are judged apart from halts, so that they can be read
    while trading is halted.
    """

    intent: OrderIntent
    refused: Refused | None
    limits: tuple[LimitCheck, ...]
    largest: int
    quote: Quote | None
    venue_now: datetime
    notes: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return self.refused is None

    @property
    def binds(self) -> LimitCheck | None:
        """The limit that refuses, else the one most used by this order."""
        first = next((line for line in self.limits if not line.passes), None)
        return first or max(self.limits, key=lambda line: line.share, default=None)

    @property
    def words(self) -> str:
        """The order as people say it."""
        i = self.intent
        at = f" at {i.limit_price}" if i.limit_price is not None else " at market"
        return f"{i.side.value} {i.quantity:f} {i.symbol}{at}" + (f", stop {i.stop_price}" if i.stop_price else "")

    def to_dict(self) -> dict[str, Any]:
        """Only JSON's types."""
        refused, binds, quote = self.refused, self.binds, self.quote
        return {
            "order": self.words,
            "passes": self.passes,
            "refused": None if refused is None else {
                "code": str(refused.code), "message": refused.message, "observed": refused.observed,
                "limit": refused.limit,
            },
            "binds": binds.name if binds else None,
            "largest_quantity": self.largest,
            "limits": [line.to_dict() for line in self.limits],
            "quote": None if quote is None else {"bid": str(quote.bid), "ask": str(quote.ask), "at": f"{quote.at}"},
            "venue_now": f"{self.venue_now}",
            "notes": list(self.notes),
        }  # fmt: skip

    def __str__(self) -> str:
        r = self.refused
        lines = [f"{'PASSES' if r is None else 'REFUSED'}  {self.words}"]
        if r is not None:
            compared = f" ({r.observed or '?'} against {r.limit})" if r.limit else ""
            lines.append(f"  {r.code}: {r.message}{compared}")
        if self.binds is not None:
            binds = self.binds
            lines.append(f"  binds: {binds.name}, {show(binds.name, binds.value)}")
        lines.append(f"  largest quantity that would pass, halts aside: {self.largest}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        colour = "#1a7f37" if self.passes else "#cf222e"
        return f'<pre style="border-left:6px solid {colour};padding-left:1em">{escape(str(self))}</pre>'


def check_order(
    symbol: str,
    side: str | Side,
    quantity: Any,
    limit_price: Any = None,
    stop_price: Any = None,
    *,
    strategy: str = "operator",
    settings: Settings | None = None,
) -> OrderCheck:
    """Judge one order as the engine's guard would at this moment. Nothing is journaled.

    The quote is the engine's last one; where it has none, the venue is asked, so that the limits can still be read.
    Raises SettingsError for a side or number that is none, JournalError without a journal.
    """
    intent = _intent(symbol, side, quantity, limit_price, stop_price, strategy)
    guard = ExecutionGuard.get_instance(settings)
    rules, book = Rules.load(guard.journal), load_book(guard.journal)
    venue_now, notes = _venue_now(guard.journal)
    quote = _engines_quote(guard.journal, intent.symbol)
    unquoted = None
    if quote is not None:
        venue_now = max(venue_now, quote.at)
    else:
        why = f"the engine has no quote of {intent.symbol}"
        unquoted = Refused(Code.QUOTE_STALE, why, "none", show("max_quote_age_seconds", Decimal(0)))
        quote, told = _venues_quote(guard.settings, intent.symbol, venue_now)
        notes += told
    if quote is not None:
        book.quote(quote)
    _ask_account(guard.settings, book, rules, intent, notes)
    tier = rules.bounds("", "")
    if book.drawdown_percent >= tier.drawdown_reduce_size_percent:
        rules.scale(tier.drawdown_size_factor)
        notes.append(f"a drawdown of {book.drawdown_percent:.1f} % shrinks the limits on size to {rules.factor}")
    now_ns = boottime_ns()
    refused = _halted(guard, rules, intent)
    if refused is None:
        refused = unquoted
    if refused is None:  # a Refused is false in a condition, so no `or`
        refused = check(book, rules.bounds(intent.symbol, strategy), intent, venue_now, now_ns)
    free = Rules(rules.epoch, Mode.ACTIVE, (), rules.values)  # the limits, halts aside
    free.scale(rules.factor)
    lines = probe(book, scaled(free, intent.symbol, strategy), intent, venue_now, now_ns)
    most = largest(book, free.bounds(intent.symbol, strategy), intent, venue_now, now_ns)
    return OrderCheck(intent, refused, lines, most, quote, venue_now, tuple(notes))


def _intent(symbol: str, side: str | Side, quantity: Any, limit: Any, stop: Any, strategy: str) -> OrderIntent:
    try:
        way = Side(str(side).lower())
    except ValueError:
        raise SettingsError(f"side is '{side}'; it is buy or sell.") from None
    shares = _amount("quantity", quantity)
    limit_price = None if limit is None else _amount("limit price", limit)
    stop_price = None if stop is None else _amount("stop price", stop)
    kinds = {
        (False, False): OrderType.MARKET,
        (True, False): OrderType.LIMIT,
        (False, True): OrderType.STOP,
        (True, True): OrderType.STOP_LIMIT,
    }
    kind = kinds[limit_price is not None, stop_price is not None]
    return OrderIntent("check-order", symbol.upper(), way, shares, kind, limit_price, stop_price, strategy=strategy)


def _amount(name: str, value: Any) -> Decimal:
    try:
        amount = Decimal(str(value).replace(",", "").removeprefix("$"))
    except InvalidOperation:
        raise SettingsError(f"{name} is '{value}'; a number is expected.") from None
    if not (amount.is_finite() and amount > 0):
        raise SettingsError(f"{name} is {value}; a positive number is expected.")
    return amount


def _halted(guard: ExecutionGuard, rules: Rules, intent: OrderIntent) -> Refused | None:
    """What refuses whatever the order is: a halt, the flag, or no engine to vouch."""
    status = guard.get_status()
    halt = rules.strictest(intent.symbol, intent.strategy)
    if halt is not None and halt.mode is Mode.HALTED:
        return Refused(Code.GUARD_HALTED, str(halt), "halted", "active")
    if not guard.flag.allows():
        code = Code.GUARD_UNSURE if rules.mode is Mode.ACTIVE else Code.GUARD_HALTED
        return Refused(code, f"{status.why}; engine {status.engine}")
    return None


def _venue_now(journal: Journal) -> tuple[datetime, list[str]]:
    """The venue's time by the engine's last heartbeat, carried on while the engine lives."""
    heard = beat(journal)
    if heard is None or heard.venue_now is None:
        return datetime.now(UTC), ["the engine never ran here; judged at this machine's time"]
    told = f"the engine is not running; judged as of {heard.venue_now:%Y-%m-%d %H:%M:%S} UTC, venue time"
    return heard.venue_now, [] if heard.alive else [told]


def _engines_quote(journal: Journal, symbol: str) -> Quote | None:
    row = journal.one("SELECT * FROM marks WHERE symbol = ?", (symbol,))
    if row is None or not (row["bid"] and row["ask"]):
        return None
    sizes = (Decimal(row["bid_size"] or 0), Decimal(row["ask_size"] or 0))
    return Quote(symbol, Decimal(row["bid"]), Decimal(row["ask"]), *sizes, datetime.fromisoformat(row["venue_at"]))


def _venues_quote(settings: Settings, symbol: str, venue_now: datetime) -> tuple[Quote | None, list[str]]:
    """The venue's own quote, dated now, for a symbol the engine does not stream; and what to do about that."""
    broker = _broker(settings)
    try:
        asset = wait(broker.get_asset(symbol))
        if asset is None:
            return None, [f"{symbol} is not a symbol of the venue"]
        quote = wait(broker.get_quotes([symbol])).get(symbol)
    except AthenaError as error:
        return None, [f"the venue could not be asked: {error.message}"]
    stream = f"have it streamed: athena start-market-data {symbol}"
    if quote is None:
        return None, [f"the venue has no quote of {symbol} either; {stream}"]
    return replace(quote, at=venue_now), [f"limits judged by the venue's quote {quote.bid} / {quote.ask}; {stream}"]


def _ask_account(settings: Settings, book: Book, rules: Rules, intent: OrderIntent, notes: list[str]) -> None:
    """What only the venue knows, where a limit compares it: buying power, the session, recent volume."""
    values = effective(rules.values, intent.symbol, intent.strategy)
    broker = _broker(settings)
    try:
        if values["min_buying_power_dollars"] is not None:
            book.buying_power = wait(broker.get_account()).buying_power
        if values["trading_session"] != "any":
            book.tell_time(wait(broker.get_clock()))
        if values["max_participation_rate"] is not None:
            now = wait(broker.get_clock()).at
            bars = wait(broker.get_bars([intent.symbol], now - VOLUME_WINDOW, now, timedelta(minutes=1)))
            book.of(intent.symbol).volume = sum((bar.volume for bar in bars.get(intent.symbol, ())), Decimal(0))
    except AthenaError as error:
        notes.append(f"the venue could not be asked: {error.message}")


def _broker(settings: Settings) -> Any:
    from athena.live.brokers.alpaca import AlpacaBroker

    return AlpacaBroker.get_instance(settings)


def wait(asked: Coroutine[Any, Any, Result]) -> Result:
    """The answer, in a notebook's running loop too."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asked).result()
