"""Emergency stop: halt, cancel everything, close if asked, and have the venue itself refuse new orders.

Each step is independent of the others and proves itself by reading the truth back from the venue. It needs neither the
engine nor the journal nor a stream: only the flag file and the venue's REST API.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import AthenaError, AuthenticationFailed, BrokerError, GuardError, RateLimited
from athena.live.execution_guard import ExecutionGuard

if TYPE_CHECKING:
    from athena.live.brokers.alpaca_rest import AlpacaRest
    from athena.live.brokers.base import Rows

CONFIRM_SECONDS = 20.0  # what a step has, besides the wait for a rate limit to end
FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.25, 1.0
ASK_AGAIN_SECONDS, CLOSES_A_SECOND = 2.0, 4  # so that a stop does not use up the venue's 200 requests a minute itself


@dataclass(frozen=True)
class Step:
    """One step: what it was, whether the venue's own answer proves it, and that answer in words."""

    name: str
    proven: bool
    proof: str


def emergency_stop(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run every step whatever the others do; exit 0 only when each is proven, else 11."""
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not arguments.json:
            print(f"  {'done  ' if step.proven else 'FAILED'}  {step.name:<18} {step.proof}", flush=True)

    if not arguments.json:
        word = "rehearsal, nothing is changed" if arguments.dry_run else "stopping everything"
        print(f"EMERGENCY STOP on {settings.account_name} ({settings.venue.upper()}): {word}", flush=True)
    if not arguments.dry_run:
        tell(_halt(settings, arguments.reason or "emergency stop"))
    asyncio.run(_at_the_venue(settings, arguments, tell))
    proven = all(step.proven for step in steps)
    if arguments.json:
        print(json.dumps({"dry_run": arguments.dry_run, "proven": proven, "steps": [asdict(step) for step in steps]}))
    elif proven:
        print(
            "next: athena status; when it is safe again: athena resume REASON" if not arguments.dry_run else "rehearsed"
        )
    else:
        simulated = "start athena simulator, then athena emergency-stop again"
        real = "do the failed steps in Alpaca's web page now, then call broker support"
        print(f"next: {simulated if settings.venue == 'simulator' else real}", file=sys.stderr)
    return 0 if proven else 11


def _halt(settings: Settings, reason: str) -> Step:
    try:
        made = ExecutionGuard.get_instance(settings).halt(reason)
    except GuardError as error:  # the flag is set even so; the journal could not be written
        return Step("halt", False, str(error))
    return Step("halt", True, f"flag set, journal row {made.id}" + ("" if made.clean else f"; {made.detail}"))


async def _at_the_venue(settings: Settings, arguments: argparse.Namespace, tell: Callable[[Step], None]) -> None:
    from athena.live.brokers.alpaca import AlpacaBroker

    broker = AlpacaBroker.get_instance(settings)
    if arguments.dry_run:
        await _step("would cancel", lambda: _list_orders(broker), tell)
        await _step("would close" if arguments.flatten else "would leave open", lambda: _list_positions(broker), tell)
        await _step("would suspend", lambda: _suspended(broker), tell)
        return
    await _step("cancel all orders", lambda: _cancel_all(broker), tell)
    if arguments.flatten:
        await _step("close positions", lambda: _flatten(broker), tell)
    await _step("venue suspended", lambda: _suspend(broker), tell)


async def _step(name: str, act: Callable[[], Awaitable[tuple[bool, str]]], tell: Callable[[Step], None]) -> None:
    try:
        proven, proof = await act()
    except AthenaError as error:
        proven, proof = False, str(error)
    except Exception as error:  # one broken step must not keep the next from running
        proven, proof = False, f"{type(error).__name__}: {error}"
    tell(Step(name, proven, proof))


async def _list_orders(broker: AlpacaRest) -> tuple[bool, str]:
    orders = await broker.get_orders("open")
    told = "; ".join(f"{o.side} {o.remaining:g} {o.symbol}" for o in orders) or "no open order"
    return not orders.unreadable, told + _unread(orders)


async def _list_positions(broker: AlpacaRest) -> tuple[bool, str]:
    positions = await broker.get_positions()
    told = "; ".join(f"{p.quantity:+g} {p.symbol}" for p in positions) or "no position"
    return not positions.unreadable, told + _unread(positions)


async def _suspended(broker: AlpacaRest) -> tuple[bool, str]:
    account = await broker.get_account()
    return True, f"account {account.account_number}, suspended now: {account.trade_suspended_by_user}"


async def _again(name: str, attempt: Callable[[], Awaitable[tuple[bool, str]]]) -> tuple[bool, str]:
    """Try until it is proven or the time is over; a last try begins after that.

    A request that fails ends one try, not the step; a rate limit is waited out. Only a wrong key ends it at once.
    """
    begun, pause, told = time.monotonic(), FIRST_PAUSE_SECONDS, ""
    deadline = begun + CONFIRM_SECONDS
    while True:
        over = time.monotonic() > deadline
        try:
            proven, proof = await attempt()
        except AuthenticationFailed:
            raise
        except BrokerError as error:
            proven, proof = False, str(error)
            if isinstance(error, RateLimited):
                deadline = max(deadline, begun + error.retry_after_seconds + CONFIRM_SECONDS)
            if not over and error.message != told:
                told = error.message
                print(f"  again   {name:<18} {proof}", file=sys.stderr, flush=True)
        if proven or over:
            return proven, proof
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


async def _cancel_all(broker: AlpacaRest) -> tuple[bool, str]:
    """Ask for all cancels, again for stragglers, until the venue lists no open order."""
    asked: set[str] = set()

    async def attempt() -> tuple[bool, str]:
        lost = ""
        try:
            asked.update(result.broker_order_id for result in await broker.cancel_all())
        except BrokerError as error:  # they may be cancelled all the same
            lost = f"; {error}"
        left = await broker.get_orders("open")
        if left or left.unreadable:  # what cannot be read is there all the same
            still = ", ".join(o.broker_order_id for o in left[:5])
            return False, f"{len(left)} orders still open: {still}{_unread(left)}{lost}"
        return True, f"{len(asked)} cancels asked, the venue lists no open order"

    return await _again("cancel all orders", attempt)


async def _flatten(broker: AlpacaRest) -> tuple[bool, str]:
    """Close through the venue's own close call, which cannot overshoot a position, until it lists none.

    A close that was refused (shares held by an order that is being cancelled) or not answered is asked again.
    """
    said: dict[str, str] = {}
    ask_at: dict[str, float] = {}

    async def attempt() -> tuple[bool, str]:
        left, now = await broker.get_positions(), time.monotonic()
        due = [position.symbol for position in left if now >= ask_at.get(position.symbol, 0.0)]
        for symbol in due:
            try:
                said[symbol], ask_at[symbol] = await broker.close_position(symbol), math.inf
            except BrokerError as error:
                said[symbol] = str(error)
                ask_at[symbol] = time.monotonic() + max(ASK_AGAIN_SECONDS, len(left) / CLOSES_A_SECOND)
        if due:
            left = await broker.get_positions()
        if left or left.unreadable:
            why = "; ".join(f"{p.quantity:+g} {p.symbol} ({said.get(p.symbol, 'new')})" for p in left[:5])
            return False, f"still held: {why}{_unread(left)}"
        return True, f"closed {', '.join(sorted(said)) or 'nothing'}; the venue lists no position"

    return await _again("close positions", attempt)


async def _suspend(broker: AlpacaRest) -> tuple[bool, str]:
    async def attempt() -> tuple[bool, str]:
        suspended = await broker.suspend_trading(True)
        return suspended, f"suspend_trade read back as {'on' if suspended else 'OFF'}"

    return await _again("venue suspended", attempt)


def _unread(rows: Rows[Any]) -> str:
    """What of the venue's list could not be read, in words; "" when all of it could."""
    if not rows.unreadable:
        return ""
    first = rows.unreadable[0]
    return f"; {len(rows.unreadable)} MORE CANNOT BE READ, first: {first.reason}: {first.raw[:120]}"
