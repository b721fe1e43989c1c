"""Seconds from an alert at the webhook's socket to its page: three in a row, and one beside a run that hangs.

The webhook's parts as `athena alerts serve` has them, a real kernel for each page, on a trading day's journal.
The yardstick is the same playbook started cold, as one would type it.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

from athena.config import Settings
from athena.core.alerts import recent_alerts
from athena.journal.journal import Journal
from athena.ops.alert_nursery import WarmWorkers
from athena.ops.alert_server import AlertServer, token_of
from athena.ops.alert_worker import AlertWorker
from athena.playbooks.runner import run_playbook
from athena.playbooks.workers import Worker
from tests.benchmarks.rows import Row
from tests.monitoring.payloads import alert, body
from tests.playbooks.days import busy

PLAYBOOKS = ("crash_recovery", "broker_disconnection", "trading_halt")
WAIT_SECONDS = 120.0


class Taken(WarmWorkers):
    """Remembers the last worker it gave."""

    last: Worker | None = None

    def take(self) -> Worker:
        self.last = super().take()
        return self.last


def rows(rounds: int = 3) -> list[Row]:
    """The benchmark's rows, the best of the rounds; takes about half a minute and ten seconds a round."""
    with tempfile.TemporaryDirectory(prefix="athena-bench-") as name:
        home = Path(name) / "home"
        settings = replace(Settings.load({}, home=home), reports=Path(name) / "reports", alerts_port=0)
        settings.folder.mkdir(parents=True)
        busy(settings.journal_path)
        cold = min(_cold(settings, playbook) for playbook in PLAYBOOKS)
        with _served(settings) as (server, workers, journal):
            _pages(server, journal, "warm up", PLAYBOOKS[:1])
            slowest = min(max(_pages(server, journal, str(n), PLAYBOOKS)) for n in range(rounds))
            beside = _beside_a_hung_one(server, workers, journal)
    yardstick = ("the same playbook, started cold", cold)
    return [
        Row(
            "webhook to page, the slowest of three alerts a second apart",
            slowest,
            "s",
            *yardstick,
            slowest / cold,
            "≤ 6",
        ),
        Row("webhook to page, beside a playbook that hangs", beside, "s", *yardstick, beside / cold, "≤ 6"),
    ]


@contextmanager
def _served(settings: Settings) -> Iterator[tuple[AlertServer, Taken, Journal]]:
    workers = Taken(settings)
    with Journal.open(settings.journal_path, "alerts") as journal:
        worker = AlertWorker(settings, journal, workers=workers)
        working = threading.Thread(target=worker.work)
        with AlertServer(settings, journal, token_of(settings), worker.arrived) as server:
            workers.prepare()
            working.start()
            try:
                yield server, workers, journal
            finally:
                worker.stop()
                working.join()


def _pages(server: AlertServer, journal: Journal, tag: str, playbooks: Sequence[str]) -> list[float]:
    """Seconds of each, told a second after the one before."""
    told: dict[str, float] = {}
    for playbook in playbooks:
        if told:
            time.sleep(1.0)
        told[playbook] = time.monotonic()
        _tell(server, playbook, tag)
    found: dict[str, float] = {}
    while len(found) < len(told):
        if time.monotonic() - max(told.values()) > WAIT_SECONDS:
            raise RuntimeError(f"no page of {set(told) - set(found)} came")
        for one in recent_alerts(journal, 20):
            if one.labels.get("tag") == tag and one.verdict and one.playbook not in found:
                found[one.playbook] = time.monotonic() - told[one.playbook]
        time.sleep(0.02)
    return list(found.values())


def _beside_a_hung_one(server: AlertServer, workers: Taken, journal: Journal) -> float:
    workers.last = None
    _tell(server, PLAYBOOKS[0], "hangs")
    while workers.last is None or not workers.last.process.pid:
        time.sleep(0.02)
    hung = workers.last
    os.killpg(hung.process.pid, signal.SIGSTOP)  # worker and kernel
    try:
        return max(_pages(server, journal, "beside", PLAYBOOKS[1:2]))
    finally:
        hung.kill()


def _tell(server: AlertServer, playbook: str, tag: str) -> None:
    data = body(alert(f"Bench{tag}", severity="critical", playbook=playbook, tag=tag))
    headers = {"Authorization": f"Bearer {token_of(server.settings)}", "Content-Type": "application/json"}
    with urlopen(Request(f"{server.url}/alerts", data, headers), timeout=10):
        pass


def _cold(settings: Settings, playbook: str) -> float:
    begun = time.monotonic()
    run_playbook(playbook, {}, reports=settings.reports, settings=settings, who="bench", why="cold start")
    return time.monotonic() - begun


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(row)
