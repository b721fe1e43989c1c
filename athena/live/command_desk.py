"""Carrying out what operators ask for: each command is one short procedure that ends in a sentence and its facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.errors import AthenaError, BrokerError
from athena.live.events import CommandFinished, CommandRequested, ExitRequested
from athena.model import ZERO, OrderIntent, OrderType, Purpose, Side

if TYPE_CHECKING:
    from athena.live.runner import Runner

CANCELLED_SECONDS = 8.0
FILLED_SECONDS = 15.0
POLL_SECONDS = 0.02
LOOK_SECONDS = 0.25  # between two looks at the venue's own list

Result = tuple[bool, dict[str, Any]]


class CommandDesk:
    """Runs the procedures against a `Runner`; never raises, a failure is the command's result."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self._engine = runner, runner.engine

    async def run(self, command: CommandRequested) -> None:
        procedure = getattr(self, f"_{command.name}", None)
        try:
            if procedure is None:
                ok, result = False, {"message": f"'{command.name}' is not a command of the engine"}
            else:
                ok, result = await procedure(command.id, command.arguments)
        except (AthenaError, TimeoutError) as error:
            ok, result = False, {"message": f"{command.name} failed: {error or type(error).__name__}"}
        except Exception as error:
            ok, result = False, {"message": f"{command.name} failed: {type(error).__name__}: {error}"}
            self._runner.failed(f"command {command.name}", error)
        self._engine.process(CommandFinished(command.id, ok, result))

    async def _ping(self, _: str, arguments: Mapping[str, Any]) -> Result:
        return True, {"message": "the engine answers", "venue_time": self._engine.clock.now()}

    async def _reconcile(self, _: str, arguments: Mapping[str, Any]) -> Result:
        outcome = await self._runner.looker.look("command")
        if not outcome.settled:  # something moved, or is seen for the first time: look once more
            await asyncio.sleep(1.0)
            outcome = await self._runner.looker.look("command, second look")
        return outcome.ok, {"message": outcome.message, **outcome.payload()}

    async def _reconnect(self, _: str, arguments: Mapping[str, Any]) -> Result:
        connected = await self._engine.broker.reconnect()
        state = self._engine.broker.state.value
        return connected, {"message": f"the broker is {state}", "connected": connected}

    async def _subscribe(self, _: str, arguments: Mapping[str, Any]) -> Result:
        asked = [str(symbol).upper() for symbol in arguments["symbols"]]
        new = [symbol for symbol in asked if symbol not in self._runner.subscribed]
        unknown = [symbol for symbol in new if await self._engine.broker.get_asset(symbol) is None]
        if unknown:
            return False, {"message": f"the venue knows no {', '.join(unknown)}; nothing was changed"}
        await self._runner.subscribe(asked)
        names = sorted(self._runner.subscribed)
        return True, {"message": f"streaming {', '.join(names)}", "symbols": names}

    async def _stop(self, _: str, arguments: Mapping[str, Any]) -> Result:
        self._runner.stop("asked by command")
        return True, {"message": "the engine is stopping"}

    async def _cancel_order(self, _: str, arguments: Mapping[str, Any]) -> Result:
        name = str(arguments["client_order_id"])
        row = self._engine.journal.one("SELECT status FROM orders WHERE client_order_id = ?", (name,))
        if row is None:
            return False, {"message": f"there is no order {name}"}
        tracked = self._engine.book.get(name)
        if tracked is not None:
            self._engine.cancel(tracked, time.monotonic())
            await until(lambda: self._engine.book.get(name) is None, CANCELLED_SECONDS)
        status = self._engine.book.order(name).status
        return status.is_final, {"message": f"order {name} is {status.value}", "status": status}

    async def _cancel_all(self, _: str, arguments: Mapping[str, Any]) -> Result:
        if symbol := str(arguments.get("symbol") or "").upper():
            return await self._cancel_in(symbol)
        results = await self._engine.broker.cancel_all()  # also orders that are not ours
        left = await self._cancelled(None)
        said = [{"broker_order_id": r.broker_order_id, "status": r.status, "message": r.message} for r in results]
        message = f"{len(results)} order(s) cancelled" if not left else f"{len(left)} order(s) still open: {left[0]}"
        return not left, {"message": message, "cancelled": said, "still_open": left}

    async def _cancel_in(self, symbol: str) -> Result:
        """One symbol's open orders: the book's, then by id whatever else the venue lists, until it lists none."""
        engine = self._engine
        names = {tracked.client_order_id for tracked in engine.book.open_in({symbol})}
        await self._cancelled({symbol})
        deadline = time.monotonic() + CANCELLED_SECONDS
        while (listed := await engine.broker.get_orders("open", symbols=[symbol])) or listed.unreadable:
            names |= {order.client_order_id for order in listed}
            if time.monotonic() > deadline:
                break
            for order in listed:
                with suppress(BrokerError):  # the next look tells
                    await engine.broker.cancel(order.broker_order_id)
            await asyncio.sleep(LOOK_SECONDS)
        if not names and not listed.unreadable:
            return await self._nothing_in(symbol)
        left = {o.client_order_id for o in listed} | {t.client_order_id for t in engine.book.open_in({symbol})}
        filled = {name for name in names - left if self._facts(name)["status"] == "filled"}
        cancelled = sorted(names - left - filled)
        words = [f"{len(cancelled)} order(s) in {symbol} cancelled"]
        words += [f"{len(filled)} filled before that"] if filled else []
        words += [f"{len(left)} still open: {min(left)}"] if left else []
        words += [f"{len(listed.unreadable)} of the venue's list cannot be read"] if listed.unreadable else []
        told = {"message": ", ".join(words), "cancelled": cancelled, "filled": sorted(filled)}
        return not (left or listed.unreadable), told | {"still_open": sorted(left)}

    async def _nothing_in(self, symbol: str) -> Result:
        """What to say where nothing was open: perhaps the symbol is mistyped."""
        known = await self._engine.broker.get_asset(symbol) is not None
        message = f"no order is open in {symbol}" if known else f"the venue knows no {symbol}; nothing was cancelled"
        if others := {tracked.symbol for tracked in self._engine.book.open_in()}:
            message += f"; orders are open in {', '.join(sorted(others))}"
        return known, {"message": message, "cancelled": []}

    async def _close_position(self, command_id: str, arguments: Mapping[str, Any]) -> Result:
        symbol = str(arguments["symbol"]).upper()
        if symbol not in self._engine.held():
            return True, {"message": f"there is no position in {symbol}", "closed": {}}
        return await self._close(command_id, {symbol})

    async def _flatten(self, command_id: str, arguments: Mapping[str, Any]) -> Result:
        await self._engine.broker.cancel_all()
        if left := await self._cancelled(None):
            return False, {"message": f"not flattened: {len(left)} order(s) still open: {left[0]}", "still_open": left}
        if not self._engine.held():
            return True, {"message": "there are no positions", "closed": {}}
        return await self._close(command_id, set(self._engine.held()))

    async def _test_order(self, command_id: str, arguments: Mapping[str, Any]) -> Result:
        """One share through every check of the guard, for the end-to-end test; never with real money.

        `limit_price` makes it a limit order, which is waited for until the venue has it; a market order until it is
        final. `exit` is for the share's way back, which passes in every mode.
        """
        engine = self._engine
        if engine.settings.venue == "live":
            return False, {"message": "test orders are not sent to a live account"}
        if engine.settings.safe_mode and not arguments.get("exit"):
            return False, {"message": "safe mode: no new orders", "status": "refused"}
        symbol, price = str(arguments["symbol"]).upper(), arguments.get("limit_price")
        intent = OrderIntent(
            key=f"test:{command_id}",
            symbol=symbol,
            side=Side(arguments["side"]),
            quantity=Decimal(1),
            type=OrderType.LIMIT if price else OrderType.MARKET,
            limit_price=Decimal(price) if price else None,
            purpose=Purpose.EXIT if arguments.get("exit") else Purpose.STRATEGY,
            decision_price=engine.market.mark(symbol),
            decided_at=engine.clock.now(),
            reason="end-to-end test",
        )
        engine.process(ExitRequested(intent))

        def settled() -> bool:
            tracked = engine.book.get(intent.client_order_id)
            return tracked is None or (price is not None and tracked.answered)

        await until(settled, FILLED_SECONDS)
        facts = self._facts(intent.client_order_id)
        good = facts["status"] in ({"new", "accepted", "pending_new"} if price else {"filled"})
        return good, {"message": f"test order {facts['status']}{facts['why']}", **facts}

    async def _close(self, command_id: str, symbols: set[str]) -> Result:
        """Cancel what rests in these symbols, see it cancelled, then exit each position with one market order."""
        if left := await self._cancelled(symbols):
            return False, {"message": f"not closed: {len(left)} order(s) still open: {left[0]}", "still_open": left}
        engine, orders = self._engine, {}
        for symbol, quantity in engine.held().items():
            if symbol in symbols:
                orders[symbol] = intent = self._exit(command_id, symbol, quantity)
                engine.process(ExitRequested(intent))

        def done() -> bool:
            return not set(engine.held()) & symbols or all(
                engine.book.get(intent.client_order_id) is None for intent in orders.values()
            )

        await until(done, FILLED_SECONDS)
        facts = {symbol: self._facts(intent.client_order_id) for symbol, intent in orders.items()}
        still = {symbol: f"{quantity:f}" for symbol, quantity in engine.held().items() if symbol in symbols}
        closed = ", ".join(f"{s} {f['filled']} at {f['price']}" for s, f in facts.items() if s not in still)
        words = [f"closed {closed}"] if closed else []
        words += [f"{s} still holds {q} (order {facts[s]['status']}{facts[s]['why']})" for s, q in still.items()
                  if s in facts]  # fmt: skip
        if still and not engine.session.is_open(engine.clock.now()):
            words.append("the market is closed: the orders wait for the open")
        return not still, {"message": "; ".join(words), "closed": facts, "still_held": still}

    def _exit(self, command_id: str, symbol: str, quantity: Any) -> OrderIntent:
        engine = self._engine
        return OrderIntent(
            key=f"exit:{command_id}",
            symbol=symbol,
            side=Side.SELL if quantity > ZERO else Side.BUY,
            quantity=abs(quantity),
            purpose=Purpose.EXIT,
            decision_price=engine.market.mark(symbol),
            decided_at=engine.clock.now(),
            reason="an operator closes the position",
        )

    def _facts(self, client_order_id: str) -> dict[str, str]:
        row = self._engine.journal.one(
            "SELECT o.status, o.filled_quantity, o.average_fill_price, coalesce(v.message, o.error, '') AS why"
            " FROM orders o LEFT JOIN violations v ON v.client_order_id = o.client_order_id"
            " WHERE o.client_order_id = ?",
            (client_order_id,),
        )
        if row is None:
            none = {"status": "not journaled", "filled": "0", "price": "", "why": ""}
            return none | {"client_order_id": client_order_id}
        return {
            "status": row["status"], "filled": row["filled_quantity"], "price": row["average_fill_price"] or "",
            "why": f": {row['why']}" if row["why"] else "", "client_order_id": client_order_id,
        }  # fmt: skip

    async def _cancelled(self, symbols: set[str] | None) -> list[str]:
        """Cancel the open orders in these symbols and wait until they are seen final; the ids that are not."""
        engine = self._engine
        for tracked in engine.book.open_in(symbols):
            engine.cancel(tracked, time.monotonic())
        await until(lambda: not engine.book.open_in(symbols), CANCELLED_SECONDS)
        return [tracked.client_order_id for tracked in engine.book.open_in(symbols)]


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition at most so long; whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
