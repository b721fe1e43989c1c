"""Earlier trading days for a demo: the engine on the simulator's exchange in this process, its clock moved by hand."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from athena.config import Settings
from athena.live.backfill import Backfilled, run_days
from athena.live.brokers.paper import PaperBroker
from athena.live.execution_guard import ExecutionGuard
from athena.simulator import sessions
from athena.simulator.clock import ManualClock
from athena.simulator.exchange import Exchange
from athena.simulator.synthetic import SyntheticTape

STEP_SECONDS = 60.0
MEMORY = Path("/dev/shm")


def live_through(
    settings: Settings, before: date, days: int, state: Path, seed: int, on_day: Callable[[], None]
) -> Backfilled:
    """Trade the `days` sessions before a date into the settings' journal, and leave the venue's `state` file.

    `athena simulator --state FILE --seed SEED` goes on from there. `on_day` is called after each finished day. It all
    happens in a scratch folder in memory where there is one: thousands of commits need not wait for a disk each.
    """
    with tempfile.TemporaryDirectory(prefix="athena-history-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        scratch = replace(settings, home=Path(name))
        made = _trade(scratch, before, days, Path(name) / "state", seed, on_day)
        guard = ExecutionGuard.get_instance(scratch)
        Path(guard.flag.path).unlink(missing_ok=True)
        guard.close()
        shutil.copytree(scratch.folder, settings.folder, dirs_exist_ok=True)
        shutil.move(Path(name) / "state", state)
    return made


def _trade(
    settings: Settings, before: date, days: int, state: Path, seed: int, on_day: Callable[[], None]
) -> Backfilled:
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
        return run_days(
            settings, broker, clock, times, step_seconds=STEP_SECONDS, on_day=lambda number, close: on_day()
        )
    finally:
        exchange.close()
