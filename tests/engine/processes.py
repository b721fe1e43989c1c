"""Real processes for tests: a simulator, and engines started, killed and stopped against it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from athena.config import Settings
from athena.errors import ResumeRefused
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard

HERE = Path(__file__).parent
SETTINGS = """
[limits]
max_messages_per_minute = "off"
max_orders_per_minute = 10000
max_consecutive_losses = "off"
max_slippage_bps = "off"
max_disconnect_seconds = 1
max_quote_age_seconds = 600

[[strategies]]
name = "busy"
kind = "mean_reversion"
symbols = ["AAPL", "MSFT", "JPM", "XOM", "JNJ", "WMT"]
half_life_seconds = 60
warmup_seconds = 30
cooldown_seconds = 20
enter_z = 0.8
"""


def wait_for(condition, what, seconds=30):
    """The condition's first true value; fails by name when it does not come in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


class Desk:
    """A home folder with settings, its simulator's url, and the operator's handles on its live system."""

    def __init__(self, folder, speed):
        self.folder, self.speed = folder, speed
        self.home, self.log = folder / "home", folder / "orders.jsonl"
        self.url = url = self.start_simulator()
        self.home.mkdir(exist_ok=True)
        (self.home / "athena.toml").write_text(SETTINGS)
        self.settings = Settings.load({}, home=self.home, simulator_url=url)
        self.engines = []

    def start_simulator(self, port=0):
        command = [sys.executable, str(HERE / "simulator_process.py"), str(self.folder / "state"), str(self.log)]
        self.simulator = subprocess.Popen([*command, str(self.speed), str(port)], stdout=subprocess.PIPE, text=True)
        return self.simulator.stdout.readline().strip()

    def stop_simulator(self):
        self.simulator.terminate()
        self.simulator.wait(10)
        self.simulator.stdout.close()

    def start(self, *options, **environment):
        """A new engine process, not waited for."""
        names = {"ATHENA_HOME": str(self.home), "ATHENA_SIMULATOR_URL": self.url, "ATHENA_METRICS_PORT": "0"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "APCA_"))}
        engine = subprocess.Popen(
            [sys.executable, "-m", "athena.cli", "engine", *options],
            env=kept | names | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.engines.append(engine)
        return engine

    def start_ready(self, *options):
        engine = self.start(*options)
        line = engine.stdout.readline()
        assert "engine ready" in line, line + engine.stderr.read()
        return engine

    def kill(self, engine):
        engine.send_signal(signal.SIGKILL)
        engine.wait(10)

    def journal(self):
        return Journal.open(self.settings.journal_path, "operator test")

    def guard(self):
        return ExecutionGuard.get_instance(self.settings)

    def posts(self):
        """Order requests the simulator received, as logged there."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        rows = [json.loads(line) for line in lines]
        return [row for row in rows if row["method"] == "POST" and row["path"] == "/v2/orders"]

    def stop_all(self):
        self.guard().close()
        for engine in self.engines:
            if engine.poll() is None:
                engine.kill()
            engine.wait(10)
            engine.stdout.close()
            engine.stderr.close()


@contextmanager
def desk(folder, speed=120):
    """A running simulator and a desk for it; everything started is stopped."""
    made = Desk(folder, speed)
    try:
        yield made
    finally:
        made.stop_all()
        made.stop_simulator()


def resume(live, reason):
    """Resume, as soon as the checklist holds."""

    def resumed():
        try:
            return live.guard().resume(reason=reason)
        except ResumeRefused:
            return None

    wait_for(resumed, "the checklist for resuming")


def trade(live):
    """Resume, and return once an order has reached the venue again."""
    before = len(live.posts())
    resume(live, "next trial")
    wait_for(lambda: len(live.posts()) > before, "an order at the venue")
