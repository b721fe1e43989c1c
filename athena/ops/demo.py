"""The demo: a real trading day, an incident, a halt from another process, a resume, the close and the day's report.

Simulator and engine are processes of their own, driven only by the commands an operator would type. The day is
24 February 2020, when US large caps fell 3.8 %; the days before it are lived through first, in process, so that curves
mean something. Everything is kept in one folder and nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from athena.config import Settings
from athena.config_tables import StrategySettings
from athena.errors import AthenaError
from athena.ops.processes import Processes, free_port
from athena.ops.story import DAY, SPEED, SYMBOLS, Story

MARKER = "athena-demo"


def demo(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the whole story; exit 0 when every part of it was seen to happen."""
    console = Console(highlight=False)
    folder = _fresh(arguments.folder)
    settings = _settings(settings, folder, free_port())
    environment = {
        "ATHENA_HOME": str(settings.home),
        "ATHENA_VENUE": "simulator",
        "ATHENA_SIMULATOR_URL": settings.simulator_url,
        "ATHENA_REPORTS": str(settings.reports.resolve()),
        "ATHENA_OPERATOR": "demo",
        "ATHENA_METRICS_PORT": str(settings.metrics_port),
    }
    console.print(f"[bold]Athena demo[/]: {DAY:%A %d %B %Y}, the market falls 3.8 %, at {SPEED} times real time")
    with Processes(folder / "logs", environment) as processes:
        story = Story(settings, processes, console, folder)
        story.live_through_earlier_days()
        story.start()
        story.trade_the_day()
        story.report()
        if arguments.keep:
            story.start_again()
            console.print("\nLeft running. Press Ctrl-C to stop simulator and engine.")
            _wait_for_interrupt()
    console.print("simulator and engine stopped")
    story.point_onwards()
    return 0


def _fresh(folder: Path) -> Path:
    """An empty folder of the demo's own; a folder that is somebody else's is left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise AthenaError(f"{folder} is not a demo's folder.", "Choose another with --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("made by athena demo; deleted and made anew by the next one\n")
    return folder


def _settings(settings: Settings, folder: Path, port: int) -> Settings:
    strategies = (
        StrategySettings("reversion", "mean_reversion", SYMBOLS[::2], {}),
        StrategySettings("breakout", "momentum", SYMBOLS[1::2], {}),
    )
    made = replace(
        settings, home=(folder / "home").resolve(), venue="simulator", account="", key_id="SIMULATOR",
        secret_key="simulator-secret", simulator_url=f"http://127.0.0.1:{port}", symbols=SYMBOLS,
        strategies=strategies, operator="demo", safe_mode=False, metrics_port=free_port(),
        # At 390 times real time a fifth of a second is 78 seconds; two busy strategies often lose five times in a row.
        limits={"max_quote_age_seconds": 120, "max_consecutive_losses": 15},
    )  # fmt: skip
    made.home.mkdir(parents=True)
    tables = [
        f'[[strategies]]\nname = "{s.name}"\nkind = "{s.kind}"\nsymbols = {json.dumps(s.symbols)}\n' for s in strategies
    ]
    limits = "[limits]\n" + "".join(f"{name} = {value}\n" for name, value in made.limits.items())
    head = f"symbols = {json.dumps(SYMBOLS)}\n"  # the ports too: athena --home of the demo speaks of this simulator
    head += f'simulator_url = "{made.simulator_url}"\nmetrics_port = {made.metrics_port}\n'
    (made.home / "athena.toml").write_text("\n".join([head, limits, *tables]))
    return made


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass
