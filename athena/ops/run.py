"""Run the two long-lived processes: the engine of an account, and the simulator."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from athena.config import Settings
from athena.errors import SettingsError
from athena.model import NEW_YORK

DEFAULT_START = "2020-03-09 09:25"


def engine(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run this account's engine until it is told to stop; it starts halted."""
    from athena.live.engine import run_engine

    if arguments.safe_mode:
        settings = replace(settings, safe_mode=True)
    return asyncio.run(run_engine(settings, announce=_say))


def simulator(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the simulator until it is told to stop."""
    from athena.simulator.server import serve

    if arguments.speed <= 0:
        raise SettingsError(f"--speed is {arguments.speed}; a positive number is expected, 1 is real time.")
    if arguments.replay:
        from athena.simulator.replay import ReplayTape

        tape = ReplayTape.from_files(arguments.replay)
    else:
        from athena.simulator.synthetic import SyntheticTape

        tape = SyntheticTape(seed=arguments.seed)
    port = urlsplit(settings.simulator_url).port or 8710 if arguments.port is None else arguments.port
    asyncio.run(
        serve(
            tape,
            host="127.0.0.1",
            port=port,
            start=_start(arguments.start),
            speed=arguments.speed,
            keys={settings.key_id: settings.secret_key},
            state_path=arguments.state,
            order_log=arguments.order_log,
            announce=_say,
        )
    )
    return 0


def _start(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text or DEFAULT_START).replace(tzinfo=NEW_YORK)
    except ValueError:
        raise SettingsError(f"--start is '{text}'; expected New York time like '2020-03-09 09:25'.") from None


def _say(line: str) -> None:
    print(line, flush=True)
