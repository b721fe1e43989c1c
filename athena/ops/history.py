"""Earlier trading days for a demo: the engine on the simulator's exchange in this process, its clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from athena.config import Settings
from athena.live.backfill import Backfilled, run_days
from athena.live.brokers.paper import PaperBroker
from athena.simulator import sessions
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.synthetic import SyntheticTape


def live_through(
    settings: Settings, before: date, days: int, state: Path, seed: int, on_day: Callable[[], None]
) -> Backfilled:
    """Trade the `days` sessions before a date into the settings' journal, and leave the venue's `state` file.

    `athena simulator --state FILE --seed SEED` goes on from there. `on_day` is called after each finished day.
    """
    chosen = [sessions.previous_session(before)]
    while len(chosen) < days:
        chosen.append(sessions.previous_session(chosen[-1].date))
    chosen.reverse()
    clock = ManualClock(chosen[0].open)
    keys = {settings.key_id: settings.secret_key}
    exchange = Exchange(SyntheticTape(seed=seed), clock, state, keys=keys, seed=seed)
    try:
        broker = PaperBroker(exchange, settings.key_id, settings.secret_key)
        times = [(session.open, session.close) for session in chosen]
        return run_days(settings, broker, clock, times, on_day=lambda number, close: on_day())
    finally:
        exchange.close()
