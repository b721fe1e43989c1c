"""A guard of its own for drills: scratch journal, scratch flag, the simulator's exchange in this process.

It trades through the same `admit`, `sending` and `submit` as the engine, and feeds the guard as the engine does.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from athena.config import Settings
from athena.journal.journal import Journal
from athena.live.brokers.base import BrokerEvent, OrderUpdated, QuoteReceived, TradeReceived
from athena.live.brokers.paper import PaperBroker
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import flag_path
from athena.live.order_book import OrderBook
from athena.live.verdict import Approved, Code, Refused
from athena.model import BrokerState, Fill, Order, OrderIntent, OrderStatus, OrderType, Quote, Side, trading_date
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.tape import Tape

MORNING = datetime(2020, 3, 9, 14, 30, tzinfo=UTC)  # an hour after the open
EVENING = datetime(2020, 3, 9, 20, 30, tzinfo=UTC)  # half an hour after the close
SYMBOL = "AAPL"


class ScratchGuard:
    """`async with ScratchGuard(tape, cash=..., start=...) as desk`: resumed, quoted, and removed without a trace."""

    def __init__(self, tape: Tape, cash: int = 100_000, start: datetime = MORNING) -> None:
        self._tape, self._cash, self.clock = tape, Decimal(cash), ManualClock(start)
        self._folder = tempfile.TemporaryDirectory(prefix="athena-drill-")
        self.settings = Settings(home=Path(self._folder.name), account="drill", operator="test-guards")
        self._count = 0

    async def __aenter__(self) -> Self:
        settings, cash = self.settings, self._cash
        settings.folder.mkdir(parents=True)
        with Journal.open(settings.journal_path, "test-guards") as journal:
            bound = {"venue": "paper", "account_number": "DRILL", "positions": [], "cash": cash, "equity": cash}
            journal.append("account.bound", bound | {"last_equity": cash}, self.clock.now())
            day = {"trading_date": str(trading_date(self.clock.now())), "opening_equity": cash}
            journal.append("day.opened", day, self.clock.now())
        self.guard = ExecutionGuard(settings)
        self.guard.start(reason="a drill")
        self.guard.start_guardian()
        self.orders = OrderBook(self.guard.journal)
        self.broker = PaperBroker(Exchange(self._tape, self.clock), cash=cash)
        await self.broker.connect(self._listen)
        await self.broker.subscribe([SYMBOL])
        self.guard.on_broker_state(BrokerState.CONNECTED)
        self.guard.on_clock(await self.broker.get_clock())
        self.guard.on_account(await self.broker.get_account())
        self.broker.pump()
        self.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.broker.close()
        self.guard.close()
        path = flag_path(self.settings.journal_path)
        for left in (path, path.with_suffix(".engine")):
            with suppress(FileNotFoundError):
                os.unlink(left)
        self._folder.cleanup()

    @property
    def quote(self) -> Quote:
        found = self._tape.quote(SYMBOL, self.clock.now())
        if found is None:
            raise LookupError(f"the tape has no quote of {SYMBOL} at {self.clock.now()}")
        return found

    def intent(self, side: Side, quantity: int, limit: Decimal | None = None) -> OrderIntent:
        """A strategy's order, each its own decision."""
        self._count += 1
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        price = None if limit is None else limit.quantize(Decimal("0.01"))
        return OrderIntent(f"drill {self._count}", SYMBOL, side, Decimal(quantity), kind, price, strategy="drill")

    async def send(self, intent: OrderIntent) -> Approved | Refused:
        """As the engine: admit, take the last look, submit; what follows at the venue is taken in."""
        verdict = self.guard.admit(intent, self.clock.now())
        if isinstance(verdict, Approved):
            self.orders.expect(intent, datetime.now(UTC), self.clock.now())
            with self.guard.sending(verdict) as clear:
                if not clear:  # halted between the approval and the sending
                    self.guard.on_order(self._not_sent(intent))
                    return Refused(Code.GUARD_HALTED, "halted between approval and sending", "halted", "active")
                order = await self.broker.submit(verdict)
            self._take(order, None, "answer", order.updated_at or self.clock.now())
            self.broker.pump()
        return verdict

    async def round_trips(self, quantity: int, until_halted: bool = False, most: int = 12) -> None:
        """Buy and sell at the market: each trip loses the spread."""
        for _ in range(most if until_halted else 1):
            for side in (Side.BUY, Side.SELL):
                if not await self.send(self.intent(side, quantity)):
                    return  # the rule has acted
                await self.step(11)  # equal orders within ten seconds are refused

    async def step(self, seconds: float) -> None:
        """Let venue time pass, and the market with it."""
        self.clock.advance(seconds=seconds)
        self.broker.pump()

    def limit(self, name: str, value: Any) -> None:
        self.guard.set_limit(name, value, reason="drill")

    def resume(self, symbol: str | None = None) -> None:
        """Lift what a drill has caused; a drill has no operator who could mend the cause first."""
        self.guard.resume(symbol, reason="drill", override=True)

    async def wait_halted(self, seconds: float = 4.0) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.guard.is_active and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # it is a thread
            await asyncio.sleep(0.02)

    def _not_sent(self, intent: OrderIntent) -> Order:
        why = "halted before it was sent"
        return self.orders.settle(intent.client_order_id, OrderStatus.NOT_SENT, why, "drill", self.clock.now())

    def _listen(self, event: BrokerEvent) -> None:
        match event:
            case QuoteReceived(quote):
                self.guard.on_quote(quote)
            case TradeReceived(trade):
                self.guard.on_trade(trade)
            case OrderUpdated(order, _, fill, at):
                self._take(order, fill, "stream", at)

    def _take(self, order: Order, fill: Fill | None, source: str, at: datetime) -> None:
        nbbo = None if fill is None else self._tape.quote(fill.symbol, fill.at)
        news = self.orders.take(order, fill, source, at, nbbo)
        if news.fill is not None:
            self.guard.on_fill(news.fill, nbbo.bid if nbbo else None, nbbo.ask if nbbo else None)
        if news.order is not None:
            self.guard.on_order(self.orders.order(news.order.client_order_id))
