"""Processes that run one playbook each: started, given an order, ended.

A worker starts its kernel and its imports at once and waits for its order, so one kept in reserve has most of its work
behind it: `reserve()` where seconds count.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

Progress = Callable[[int, int, str], None]
GRACE_SECONDS = 60.0  # for starting, and for the export, beside the cells' own time
RESERVE_SECONDS = 3600.0  # what waits for longer may run code that was replaced meanwhile
_workers: set[Worker] = set()  # of the runs under way in this process


class Process(Protocol):
    """What is asked of a worker's process; a Popen, or one that was forked."""

    pid: int
    stdin: IO[bytes] | None

    @property
    def stdout(self) -> Output | None: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...


class Output(Protocol):
    """Lines as they come."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(eq=False)
class Worker:
    """A process that waits for one order. `environment` is what its notebook will see.

    limit_seconds: its run is ended then, where its order does not say so earlier.
    """

    process: Process
    stderr: IO[bytes]
    environment: Mapping[str, str]
    limit_seconds: float = math.inf
    started: float = field(default_factory=time.monotonic)

    @property
    def fit(self) -> bool:
        """Whether it can still take an order."""
        return self.process.poll() is None and time.monotonic() - self.started < RESERVE_SECONDS

    def kill(self) -> None:
        """Kills it and what it started; its kernel notices its parent's end by itself."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended between the two lines
            self.process.wait()

    def end(self) -> None:
        """Kills it and lets go of its pipes; for the thread that reads them."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


def start(environment: Mapping[str, str]) -> Worker:
    """A worker that prepares itself and waits."""
    stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
    process = subprocess.Popen(
        [sys.executable, "-m", "athena.playbooks.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=dict(environment),
        start_new_session=True,
    )
    return Worker(process, stderr, environment)


def work(worker: Worker, order: Mapping[str, Any], progress: Progress | None) -> dict[str, Any]:
    """Has the worker carry out its order, to the end or its time limit; the outcome, one for its own death included.

    order: notebook, parameters, folder, output, cell_timeout_seconds.
    """
    folder = Path(order["folder"])
    path = folder / "order.json"
    path.write_text(json.dumps(order), encoding="utf-8")
    limit = min(order["cell_timeout_seconds"] * 2 + GRACE_SECONDS, worker.limit_seconds)
    _workers.add(worker)
    ended = threading.Timer(limit, worker.kill)
    ended.daemon = True
    begun = time.monotonic()
    ended.start()
    last: list[Any] = [0, 0, ""]
    try:
        _give(worker, path)
        for line in worker.process.stdout or ():
            if line.startswith(b'{"progress"'):
                last = json.loads(line)["progress"]
                if progress:
                    progress(*last)
        code = worker.process.wait()
        worker.stderr.seek(0)
        words = worker.stderr.read().decode("utf-8", "replace").strip()[-2000:]
    finally:
        ended.cancel()
        worker.end()
        _workers.discard(worker)
    try:
        found: dict[str, Any] = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        late = time.monotonic() - begun >= limit
        message = (
            f"the run took longer than {limit:.0f} s"
            if late
            else f"the run's process died ({_death(code)}) at cell {last[0]}"
        )
        error = {"kind": "WorkerDied", "message": message, "cell": None, "source": str(last[2]), "traceback": [words]}
        return {"error": error, "result": None, "figures": 0, "seconds": {}}


def end_all() -> None:
    """Ends the runs under way in this process: an interrupt should not leave kernels behind."""
    for worker in tuple(_workers):
        worker.kill()


def _give(worker: Worker, order: Path) -> None:
    """Tells it where its order is; one that died has nobody to tell."""
    if worker.process.stdin is not None:
        with suppress(BrokenPipeError):
            worker.process.stdin.write(f"{order}\n".encode())
            worker.process.stdin.flush()


def _death(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
