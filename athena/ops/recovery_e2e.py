"""The end-to-end test: a whole order life with one share, through engine and guard, seen at the venue, cleaned up."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.errors import AthenaError, EngineNotRunning, SettingsError
from athena.journal.journal import Journal
from athena.live.commands import CommandResult, request_sync, require_engine
from athena.live.execution_guard import ExecutionGuard
from athena.model import NEW_YORK, ZERO, Mode, Order, OrderStatus
from athena.ops.recovery_show import existing_journal, say, working

if TYPE_CHECKING:
    from athena.live.brokers.alpaca import AlpacaBroker
    from athena.live.brokers.handle import AlpacaHandle

    Handle = AlpacaBroker | AlpacaHandle

T = TypeVar("T")
BELOW = Decimal("0.98")  # a buy limit so far under the bid rests, and the guard's collar lets it pass
SEEN_SECONDS = 15.0
LOOK = "athena status, athena broker-reconciliation; then athena e2e-test again"
RESUME = "athena guard-state-check; athena resume REASON, then athena e2e-test again"
TIMEOUT = 40.0


@dataclass(frozen=True)
class Step:
    """One step: what was to happen, whether it did, and what proves it."""

    name: str
    done: bool
    proof: str


class StopHere(Exception):
    """The test ends early; what was begun is cleaned up. `verdict` is its end, `then` the operator's next step."""

    def __init__(self, verdict: Verdict, why: str, then: str = "") -> None:
        super().__init__(why)
        self.verdict, self.then = verdict, then


def e2e_test(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the order life; exit 0 when every step is proven, 10 when guard or hours forbid it, 11 when one failed."""
    if settings.venue == "live":
        raise SettingsError("e2e-test is refused on a live account: it trades.", "Run it with ATHENA_VENUE=paper.")
    if not settings.journal_path.exists():
        raise EngineNotRunning("engine: not running, and it never ran here.", "Start it: athena engine.")
    with existing_journal(settings, read_only=False) as journal:
        require_engine(journal)
        with working(arguments, "end-to-end test") as now:
            life = OrderLife(settings, journal, now)
            verdict, told = life.run(arguments.symbol)
    rows = [("done" if step.done else "FAILED", step.name, step.proof) for step in life.steps]
    facts = {"symbol": life.symbol, "steps": [asdict(step) for step in life.steps]}
    return say(arguments, verdict, told, facts, [("", ("", "step", "proof"), rows)], life.then)


class OrderLife:
    """The steps, and what they leave behind: nothing."""

    def __init__(self, settings: Settings, journal: Journal, now: Callable[[str], None]) -> None:
        from athena.live.brokers.alpaca import AlpacaBroker

        self.settings, self.journal, self.now = settings, journal, now
        self.broker: Handle = AlpacaBroker.get_instance(settings)
        self.symbol = self.then = ""
        self._opens: datetime | None = None  # of a market that is closed
        self.steps: list[Step] = []
        self._resting: str | None = None
        self._owed = False  # a share bought and not yet sold again
        self._began = journal.head()[0]
        self._loop = asyncio.new_event_loop()

    def run(self, symbol: str) -> tuple[Verdict, str]:
        """All steps in order; afterwards nothing of the test rests or is held."""
        try:
            self._prepare(symbol)
            self._limit()
            self._in_session()
            self._buy()
            self._sell()
            self._books()
            return Verdict.OK, f"{len(self.steps)} steps proven with 1 share of {self.symbol}, nothing left behind"
        except StopHere as end:
            self.then = end.then or LOOK
            return end.verdict, str(end)
        except SettingsError:
            raise
        except AthenaError as error:
            self.then = LOOK
            self._step("unexpected", False, str(error))
            return Verdict.STOP, f"the test failed: {error.message}"
        finally:
            self._clean_up()
            self._ask(self.broker.close())
            self._loop.close()

    def _prepare(self, symbol: str) -> None:
        self.now("choosing a symbol")
        self.symbol = symbol or self._choose()
        self._quote()
        clock = self._ask(self.broker.get_clock())
        self._opens = None if clock.is_open else clock.next_open
        self._step("venue", True, f"{self.settings.venue} account, market {'open' if clock.is_open else 'closed'}")
        result = self._command("subscribe", {"symbols": [self.symbol]})
        self._step("market data", result.ok, result.message)
        status = ExecutionGuard.get_instance(self.settings).get_status()
        if status.mode is not Mode.ACTIVE:
            self._refused_while_halted(status.mode, status.why)

    def _refused_while_halted(self, mode: Mode, why: str) -> None:
        """Halted, the test proves what it can: that the order is refused, and the venue never saw it."""
        result = self._command("test_order", {"symbol": self.symbol, "side": "buy", "limit_price": self._price()})
        name, status = str(result.get("client_order_id", "")), str(result.get("status", ""))
        seen = self._ask(self.broker.get_order(name)) if name else None
        proven = status == "refused" and seen is None
        if seen is not None and seen.status.is_open:
            self._resting = name
        self._step(
            "refused while halted", proven, f"{result.message}; the venue has {'it' if seen else 'no such order'}"
        )
        told = f"trading is {mode.value} ({why}): "
        told += (
            "the order was refused, as it must be, and nothing reached the venue"
            if proven
            else "but it was not refused"
        )
        raise StopHere(Verdict.ATTENTION if proven else Verdict.STOP, told, RESUME if proven else "")

    def _limit(self) -> None:
        self.now("a limit order far from the market")
        price = self._price()
        name = self._place({"side": "buy", "limit_price": price}, f"limit buy at {price} accepted")
        self._resting = name
        order = self._seen(name, lambda o: o.broker_order_id != "")
        self._step("seen at the venue", order is not None, _told(order))
        result = self._command("cancel_order", {"client_order_id": name})
        order = self._seen(name, lambda o: o.status.is_final)
        cancelled = order is not None and order.status is OrderStatus.CANCELED
        self._resting = None if cancelled else name
        self._step("cancelled", cancelled, f"{result.message}; venue: {_told(order)}")
        if order is not None and order.filled_quantity:
            self._owed = True
        self._must()

    def _in_session(self) -> None:
        """A market order sent now would only wait for the open: what is left is proven in a session."""
        if self._opens is None:
            return
        self._books()
        told = f"the market is closed: a resting order's life is proven with {self.symbol}, a fill is not"
        opens = f"{self._opens.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M}"
        raise StopHere(Verdict.ATTENTION, told, f"athena e2e-test again after the open, {opens} New York")

    def _buy(self) -> None:
        self.now("a market order of one share")
        before = self._held()
        name = self._place({"side": "buy"}, "market buy of 1 share filled")
        self._owed = True
        self._step("fill journaled", *self._fill(name))
        held = self._venue_shares()
        self._step("position", True, f"{before:+f} shares before; the venue holds {held:+f} now")
        self._must()

    def _sell(self) -> None:
        self.now("selling the share again")
        exits = self._held() >= 1  # a strategy may be short in it: then this is no exit
        name = self._place({"side": "sell", "exit": exits}, f"the share sold again{', as an exit' if exits else ''}")
        self._owed = False
        self._step("fill journaled", *self._fill(name))
        order = self._ask(self.broker.get_order(name))
        self._step("flat again", order is not None and order.status is OrderStatus.FILLED, _told(order))
        self._must()

    def _books(self) -> None:
        self.now("comparing the books")
        result = self._command("reconcile", {})
        self._step("books agree", result.ok, result.message)
        self._must()

    def _place(self, more: dict[str, Any], what: str) -> str:
        result = self._command("test_order", {"symbol": self.symbol, **more})
        name = str(result.get("client_order_id", ""))
        events = self.journal.events(after=self._began, kinds=("order.intended",))
        sequence = next((event.sequence for event in events if event.payload["client_order_id"] == name), None)
        proof = f"{result.message}; {name}" + (f", journaled as event {sequence}" if sequence else "")
        self._step(what, result.ok, proof)
        if result.get("status") == "refused":
            raise StopHere(Verdict.ATTENTION, f"the guard refused the order: {result.message}", RESUME)
        if not result.ok and not more.get("limit_price") and result.get("filled") not in (None, "0"):
            self._owed = more["side"] == "buy"
        self._resting = None if result.ok else name or None
        self._must()
        return name

    def _must(self) -> None:
        last = self.steps[-1]
        if not last.done:
            raise StopHere(Verdict.STOP, f"FAILED: {last.name}: {last.proof}")

    def _fill(self, name: str) -> tuple[bool, str]:
        row = self.journal.one("SELECT * FROM fills WHERE client_order_id = ?", (name,))
        if row is None:
            return False, f"no fill of {name} is journaled"
        return True, f"{row['quantity']} at {row['price']}, execution {row['execution_id']}, event {row['sequence']}"

    def _clean_up(self) -> None:
        """Whatever went wrong: cancel what rests, sell what was bought. Each failure is a step told."""
        try:
            if self._resting is not None:
                result = self._command("cancel_order", {"client_order_id": self._resting})
                self._step("cleaned up: cancel", result.ok, result.message)
            if self._owed:
                result = self._command("test_order", {"symbol": self.symbol, "side": "sell", "exit": self._held() >= 1})
                self._step("cleaned up: sell", result.ok, result.message)
        except AthenaError as error:
            self._step("clean up", False, f"{error} Look for 1 share of {self.symbol} and order {self._resting}.")

    def _choose(self) -> str:
        """The cheapest of those no strategy trades, else of the flat ones, else of all."""
        held = {p.symbol for p in Portfolio.from_journal(self.journal).positions()}
        traded = {symbol for strategy in self.settings.strategies for symbol in strategy.symbols}
        flat = [symbol for symbol in self.settings.symbols if symbol not in held]
        free = [symbol for symbol in flat if symbol not in traded]
        quotes = self._ask(self.broker.get_quotes(free or flat or self.settings.symbols))
        if not quotes:
            raise SettingsError(
                "no configured symbol has a quote.", "athena broker-connection-test; or --symbol SYMBOL"
            )
        return min(quotes.values(), key=lambda quote: quote.ask).symbol

    def _price(self) -> str:
        return str((self._quote().bid * BELOW).quantize(Decimal("0.01")))

    def _quote(self) -> Any:
        quote = self._ask(self.broker.get_quotes([self.symbol])).get(self.symbol)
        if quote is None:
            raise SettingsError(f"{self.symbol} has no quote.", "athena e2e-test --symbol SYMBOL with one that has")
        return quote

    def _held(self) -> Decimal:
        return Portfolio.from_journal(self.journal).position(self.symbol).quantity

    def _venue_shares(self) -> Decimal:
        return next((p.quantity for p in self._ask(self.broker.get_positions()) if p.symbol == self.symbol), ZERO)

    def _seen(self, name: str, wanted: Callable[[Order], bool]) -> Order | None:
        deadline = time.monotonic() + SEEN_SECONDS
        while True:
            order = self._ask(self.broker.get_order(name))
            if (order is not None and wanted(order)) or time.monotonic() > deadline:
                return order
            time.sleep(0.1)

    def _command(self, name: str, asked: dict[str, Any]) -> CommandResult:
        return request_sync(self.journal, name, asked, TIMEOUT)

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(question)

    def _step(self, name: str, done: bool, proof: str) -> None:
        self.steps.append(Step(name, done, proof))


def _told(order: Order | None) -> str:
    if order is None:
        return "the venue has no such order"
    return f"order {order.broker_order_id[:8]} is {order.status.value}, {order.filled_quantity:f} filled"
