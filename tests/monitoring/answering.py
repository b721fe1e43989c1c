"""What stands for the playbook runner in tests of alerts, and a worker that answers them."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from athena.ops.alert_worker import AlertWorker
from athena.playbooks.runner import published


class Runs:
    """Stands for the playbook runner: publishes a result file as it does, and remembers what it was asked."""

    def __init__(self, settings, error=None, first=0):
        self.settings, self.asked, self.error, self.first = settings, [], error, first * 100

    def __call__(self, name, given, *, told, why, worker, **more):
        self.asked.append((name, dict(given), why))
        if self.error:
            raise self.error
        folder = self.settings.reports / "2026-03-09"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{folder}/{name}.20260309T1430{self.first + len(self.asked):05}Z"
        record = {
            "playbook": name, "verdict": "STOP", "reason": "60 bps", "action": "halt it", "numbers": {},
            "changes": None, "trading_date": "2026-03-09",
            "run": {"succeeded": True, "error": None, "why": why, "seconds": 1.0},
        }  # fmt: skip
        Path(f"{stem}.json").write_text(json.dumps(record))
        told(published(Path(f"{stem}.json"), 1.0))


def work(live, runs, later=timedelta(0)):
    """Do everything there is to do about alerts, now or in a while."""
    worker = AlertWorker(*live, run=runs, clock=lambda: datetime.now(UTC) + later)
    while worker.step():
        pass


@contextmanager
def working(live, run):
    """A worker at work in threads of its own."""
    worker = AlertWorker(*live, run=run)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)


class Hangs:
    """Runs as Runs does, but for playbooks that hang until they are let go."""

    def __init__(self, settings, *names):
        self.runs, self.names = Runs(settings), names
        self.under_way, self.let_go = [], threading.Event()

    def __call__(self, name, *rest, **more):
        if name in self.names:
            self.under_way.append(name)
            self.let_go.wait(30)
        return self.runs(name, *rest, **more)


def messages(journal):
    return [tuple(r) for r in journal.query("SELECT severity, title, body FROM notifications ORDER BY sequence")]
