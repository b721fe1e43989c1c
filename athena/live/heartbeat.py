"""Once a second the engine says that it lives, and how it and its broker are: the answer to "is it running?"."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from athena.live.brokers.base import Broker
from athena.model import BrokerState

if TYPE_CHECKING:
    from athena.live.runner import Runner

HEARTBEAT_SECONDS = 1.0


class Heartbeat:
    """Writes the `engine` and `broker` components' heartbeats; telemetry, not events."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._broker_since = datetime.now(UTC)
        self._broker_state: BrokerState | None = None
        self.health: dict[str, Any] = {}  # the last health check's figures
        self._quotes, self._at = 0, time.monotonic()

    def beat(self, state: str) -> None:
        """`state`: starting, running, stopping or stopped."""
        runner, engine = self._runner, self._runner.engine
        now = engine.clock.now()
        engine.journal.heartbeat("engine", self._engine(state), now)
        broker = engine.broker
        if broker.state is not self._broker_state:
            self._broker_state, self._broker_since = broker.state, datetime.now(UTC)
        details = {
            "name": broker.name,
            "state": broker.state,
            "since": self._broker_since,
            "uptime_seconds": round(broker.get_uptime(), 1),
            "account_number": runner.account_number,
            **self.health,
            **broker_details(broker),
        }
        engine.journal.heartbeat("broker", details, now)

    def _engine(self, state: str) -> dict[str, Any]:
        runner, engine = self._runner, self._runner.engine
        now, elapsed = engine.clock.now(), time.monotonic() - self._at
        rate = (engine.market.count - self._quotes) / elapsed if elapsed > 0.2 else 0.0
        self._quotes, self._at = engine.market.count, time.monotonic()
        age = engine.market.age_seconds(now)
        last = engine.reconciler.last
        return {
            "state": state,
            "pid": os.getpid(),
            "mode": self._mode(),
            "venue": engine.settings.venue,
            "account_number": runner.account_number,
            "safe_mode": engine.settings.safe_mode,
            "strategies": {s.name: sorted(s.symbols) for s in engine.strategies},
            "session": "open" if engine.session.is_open(now) else "closed",
            "next_open": engine.session.reading.next_open if engine.session.reading else None,
            "next_close": engine.session.reading.next_close if engine.session.reading else None,
            "speed": runner.speed,
            "symbols": sorted(runner.subscribed),
            "open_orders": len(engine.book.open_in()),
            "unanswered_orders": len(engine.book.unanswered()),
            "queues": runner.lane.depths,
            "quotes_per_second": round(rate, 1),
            "market_data_age_seconds": None if age is None else round(age, 3),
            "reconciled": None if last is None else last.ok,
            "positions_unsure_since": engine.duties.unsure_since,
            "failures": sorted(engine.crashes),
            "problems": sorted(filter(None, [*runner.keeper.problems.values(), runner.watch.stale])),
            "guard": engine.guard.usage() if engine.guarded else {},
        }

    def _mode(self) -> str:
        row = self._runner.engine.journal.one("SELECT mode FROM guard WHERE id = 1")
        return "halted" if row is None else str(row["mode"])


def broker_details(broker: Broker) -> dict[str, Any]:
    """What a broker adds to its heartbeat of its own, if it does."""
    tell = getattr(broker, "heartbeat", None)
    return dict(tell()) if tell is not None else {}
