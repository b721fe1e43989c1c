"""Run the two long-lived processes: the engine of an account, and the simulator."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from athena.config import Settings
from athena.errors import SettingsError
from athena.model import NEW_YORK

if TYPE_CHECKING:
    from athena.simulator.tape import DayTape

DEFAULT_START = "2020-03-09 09:25"
BEFORE_OPEN = timedelta(minutes=5)
MAX_SPEED = 100_000


def engine(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run this account's engine until it is told to stop; it starts halted."""
    from athena.live.engine import run_engine

    if arguments.safe_mode:
        settings = replace(settings, safe_mode=True)
    return asyncio.run(run_engine(settings, announce=_say))


def simulator(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the simulator until it is told to stop; its settings' key is its first account."""
    from athena.simulator.fault_model import Schedule
    from athena.simulator.fault_reading import read_schedule
    from athena.simulator.server import ServerOptions, SimulatorServer, serve

    if not 0 < arguments.speed <= MAX_SPEED:
        raise SettingsError(
            f"--speed is {arguments.speed}; expected more than 0 and at most {MAX_SPEED}. 1 is real time."
        )
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        raise SettingsError(f"--port is {arguments.port}; a port is a number from 1 to 65535, 0 takes a free one.")
    options = ServerOptions(
        port=urlsplit(settings.simulator_url).port or 8710 if arguments.port is None else arguments.port,
        keys={settings.key_id: settings.secret_key},
        opening_cash=arguments.cash,
        requests_per_minute=arguments.requests_per_minute,
        data_requests_per_minute=arguments.requests_per_minute,
        state_path=arguments.state,
        order_log=arguments.order_log,
        seed=arguments.seed,
        schedule=read_schedule(arguments.faults) if arguments.faults else Schedule(),
        fault_log=arguments.fault_log,
    )
    tape = _tape(arguments)
    start = tape.sessions[0].open - BEFORE_OPEN if arguments.replay and not arguments.start else _start(arguments.start)
    tape.quote(tape.symbols[0], start)  # a day the tape does not have is refused now, not at the first request

    def announce(server: SimulatorServer) -> None:
        now = server.clock.now().astimezone(NEW_YORK)  # later than asked for where a state file goes on
        print(f"simulator at {server.url}, key {settings.key_id}", flush=True)
        print(
            f"  venue time {now:%Y-%m-%d %H:%M} New York, {arguments.speed:g} times real time; Ctrl-C stops",
            flush=True,
        )

    asyncio.run(
        serve(
            tape,
            start=start,
            speed=arguments.speed,
            skip_closed=arguments.skip_closed,
            options=options,
            announce=announce,
        )
    )
    return 0


def _tape(arguments: argparse.Namespace) -> DayTape:
    if arguments.replay:
        from athena.simulator.replay import ReplayTape

        return ReplayTape.from_files(arguments.replay)
    from athena.simulator.synthetic import SyntheticTape

    return SyntheticTape(seed=arguments.seed)


def _start(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text or DEFAULT_START).replace(tzinfo=NEW_YORK)
    except ValueError:
        raise SettingsError(f"--start is '{text}'; expected New York time like '2020-03-09 09:25'.") from None


def _say(line: str) -> None:
    print(line, flush=True)
