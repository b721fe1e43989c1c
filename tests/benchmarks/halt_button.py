"""HALT by HTTP at a real Jupyter server: how long until it is proven, and what a page's look each second costs."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from athena.config import Settings
from athena.journal.journal import Journal
from tests.benchmarks.rows import Row
from tests.guard.conftest import remove_flag
from tests.widgets.jupyter import Client, jupyter

HALTS, LOOKS, COMMANDS = 50, 100, 5


def rows():
    folder = Path(tempfile.mkdtemp(prefix="athena-bench-"))
    settings = Settings.load({}, home=folder / "home")
    Journal.open(settings.journal_path, "bench").close()
    try:
        with jupyter(folder, {"ATHENA_HOME": str(settings.home)}) as server:
            page = Client(server)
            return [_halts(page, settings), _looks(page, server)]
    finally:
        remove_flag(settings)
        shutil.rmtree(folder, ignore_errors=True)


def _halts(page, settings):
    asked = iter(range(HALTS))
    proven = _median(HALTS, lambda: page.ask("halt", {"key": f"click-{next(asked):04}", "scope": "global"}))
    command = [sys.executable, "-m", "athena.cli", "halt", "bench", "--home", str(settings.home)]
    typed = _median(COMMANDS, lambda: subprocess.run(command, check=True, capture_output=True))
    return Row("HALT by POST, journal row read back", proven, "ms", "athena halt", typed, proven / typed, "< 80 ms")


def _looks(page, server):
    look = _median(LOOKS, lambda: page.ask("status"))

    def plain():
        with page.opener.open(urllib.request.Request(server.url + "api/status"), timeout=30) as answer:
            answer.read()

    beside = _median(LOOKS, plain)
    return Row("GET /athena/status", look, "ms", "Jupyter's GET /api/status", beside, look / beside, "< 3")


def _median(times, act):
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000
