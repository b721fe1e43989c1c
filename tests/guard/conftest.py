"""A guard with its journal in a scratch folder, and the smallest market that lets an order pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from athena.config import Settings
from athena.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import flag_path
from athena.model import Fill, Order, OrderIntent, OrderStatus, OrderType, Purpose, Quote, Side, TimeInForce

D = Decimal
NOON = datetime(2020, 3, 9, 16, 0, tzinfo=UTC)  # 12:00 in New York
BOUND = {
    "venue": "simulator",
    "account_number": "A1",
    "cash": "100000",
    "equity": "100000",
    "last_equity": "100000",
    "positions": [],
}


def quote(symbol: str = "AAPL", bid: str = "99.99", ask: str = "100.01", at: datetime = NOON) -> Quote:
    return Quote(symbol, D(bid), D(ask), D(100), D(100), at)


_count = iter(range(10**9))


def intent(side: Side = Side.BUY, quantity: str = "10", **facts: Any) -> OrderIntent:
    return OrderIntent(f"k{next(_count)}", facts.pop("symbol", "AAPL"), side, D(quantity), **facts)


def limit(side: Side, quantity: str, price: str, **facts: Any) -> OrderIntent:
    return intent(side, quantity, type=OrderType.LIMIT, limit_price=D(price), **facts)


def exit_of(side: Side, quantity: str, **facts: Any) -> OrderIntent:
    return intent(side, quantity, purpose=Purpose.EXIT, **facts)


def order(i: OrderIntent, status: OrderStatus, filled: str = "0") -> Order:
    return Order(
        i.client_order_id,
        "b-" + i.key,
        i.symbol,
        i.side,
        i.type,
        TimeInForce.DAY,
        status,
        i.quantity,
        D(filled),
        None,
        i.limit_price,
    )


def fill(i: OrderIntent, quantity: str | Decimal, price: str | Decimal, at: datetime = NOON, fee: str = "0") -> Fill:
    return Fill(
        f"x{next(_count)}",
        i.client_order_id,
        "b-" + i.key,
        i.symbol,
        i.side,
        D(quantity),
        D(price),
        at,
        i.strategy,
        D(fee),
    )


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(home=folder, operator="tester", **more)


def make_journal(settings: Settings) -> None:
    """A journal bound to a flat account of $100,000 with the day of NOON opened."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    with Journal.open(settings.journal_path, "test") as journal:
        journal.append("account.bound", BOUND, NOON)
        journal.append("day.opened", {"trading_date": "2020-03-09", "opening_equity": "100000"}, NOON)


HEALTHY = {
    "state": "connected",
    "streams": {"trading": "connected", "data": "connected"},
    "clock_skew_seconds": None,
}


def heard(guard: ExecutionGuard, **broker: Any) -> None:
    """The broker's heartbeat, as the engine's runner writes it once a second. No engine answers commands here."""
    guard.journal.heartbeat("broker", HEALTHY | broker, NOON)


def reconciled(guard: ExecutionGuard) -> None:
    """The engine has reconciled just now, and its connection is healthy."""
    heard(guard)
    guard.journal.append("reconciliation", {"trigger": "test", "ok": True, "breaks": [], "checked": {}}, NOON)


def take_fill(guard: ExecutionGuard, one: Fill, bid: str | None = None, ask: str | None = None) -> None:
    """Journal an execution and feed it, as the engine does."""
    facts = {name: getattr(one, name) for name in one.__slots__} | {
        "bid": bid and D(bid),
        "ask": ask and D(ask),
        "source": "test",
    }
    guard.journal.append("fill", facts, one.at)
    guard.on_fill(one, bid and D(bid), ask and D(ask))


def take_order(guard: ExecutionGuard, one: Order) -> None:
    facts = {
        "client_order_id": one.client_order_id,
        "broker_order_id": one.broker_order_id,
        "status": one.status,
        "filled_quantity": one.filled_quantity,
    }
    described = {
        "symbol": one.symbol,
        "side": one.side,
        "type": one.type,
        "quantity": one.quantity,
        "limit_price": one.limit_price,
        "strategy": None,
    }
    guard.journal.append("order.updated", facts | described | {"source": "test"}, NOON)
    guard.on_order(one)


def remove_flag(settings: Settings) -> None:
    """Leave nothing in shared memory."""
    path = flag_path(settings.journal_path)
    for leftover in (path, path.with_suffix(".engine")):
        leftover.unlink(missing_ok=True)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = settings_in(tmp_path)
    make_journal(made)
    yield made
    remove_flag(made)


@pytest.fixture
def handle(settings: Settings) -> Iterator[ExecutionGuard]:
    """Another process's guard, as far as it can be one in here."""
    guard = ExecutionGuard(settings)
    yield guard
    guard.close()


@pytest.fixture
def started(settings: Settings) -> Iterator[ExecutionGuard]:
    """The engine's guard, vouched for, still halted as every engine starts."""
    guard = ExecutionGuard(settings)
    guard.start()
    guard.start_guardian()
    yield guard
    guard.close()


@pytest.fixture
def engine(started: ExecutionGuard) -> ExecutionGuard:
    """The engine's guard, resumed, with a fresh quote of AAPL and of MSFT."""
    reconciled(started)
    started.resume(reason="test")
    started.on_quote(quote())
    started.on_quote(quote("MSFT", "199.98", "200.02"))
    return started


Filled = Callable[..., OrderIntent]


@pytest.fixture
def filled(engine: ExecutionGuard) -> Filled:
    """Admit an order and fill it whole at a price, with the NBBO given."""

    def do(
        side: Side,
        quantity: str,
        price: str,
        bid: str | None = None,
        ask: str | None = None,
        at: datetime = NOON,
        **facts: Any,
    ) -> OrderIntent:
        one = intent(side, quantity, **facts)
        verdict = engine.admit(one, at)
        assert verdict, verdict
        take_order(engine, order(one, OrderStatus.FILLED, quantity))
        take_fill(engine, fill(one, quantity, price, at), bid, ask)
        return one

    return do


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
