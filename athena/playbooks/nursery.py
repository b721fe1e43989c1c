"""A process that imported what playbooks need, once, and forks the worker and the kernel of each run from itself.

    with Nursery(environment) as nursery:
        run_playbook(..., worker=nursery.start())

Each run still has processes of its own, which share nothing but modules; most of a run's time is importing them. The
nursery gets the same environment without secrets as a worker. Linux only: elsewhere a fork after imports is not safe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from athena.playbooks.workers import Worker

AVAILABLE = sys.platform == "linux"
IMPORT_SECONDS = 60.0  # until its first worker says that it lives, the nursery's own imports included
BIRTH_SECONDS = 3.0  # until each later one does
_PRELOADED = (
    "papermill.execute", "nbconvert", "pandas", "plotly.graph_objects", "plotly.io", "ipykernel.kernelapp",
    "ipykernel.ipkernel", "scipy.optimize", "scipy.cluster.hierarchy", "scipy.stats",
    "athena.live.brokers.alpaca", "athena.live.limit_replay", "athena.analysis.daily", "athena.playbooks.sources",
    "athena.playbooks.worker", "athena.playbooks.export", "athena.playbooks.engine", "athena.playbooks.record",
    "athena.playbooks.after_close",
)  # fmt: skip


class Nursery:
    """The runner's side: starts the process, and workers in it; close it when no run is under way.

    `environment` is what the notebooks of all its runs will see.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment, self._ready = environment, False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(environment), start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it can still be asked for a worker."""
        return self._process.poll() is None

    def start(self) -> Worker | None:
        """A worker that waits for its order; None where the nursery is gone or hangs: another start is needed then."""
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the worker's `end`
        order, theirs = os.pipe()
        mine, said = os.pipe()
        process = Forked(theirs, mine)
        try:
            socket.send_fds(self._socket, [b"worker"], [order, said, stderr.fileno()])
        except OSError:
            pass  # it is gone; then nothing is ever said
        finally:
            os.close(order)
            os.close(said)
        worker = Worker(process, stderr, self._environment)
        if process.born(BIRTH_SECONDS if self._ready else IMPORT_SECONDS):
            self._ready = True
            return worker
        worker.end()
        return None

    def close(self) -> None:
        """End the process; it ends by itself when its runner does."""
        self._socket.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class Forked:
    """A worker in the nursery as a Popen shows one: its input, what it says, its end (negative: a signal)."""

    def __init__(self, order: int, said: int) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = os.fdopen(order, "wb")
        self._said = os.fdopen(said, "rb")
        self._ended, self._reading = threading.Event(), threading.Lock()
        self.stdout = self._lines()

    def born(self, seconds: float) -> bool:
        """Wait for its first word, its process id; False where there is none to come, or not in time."""
        ready, _, _ = select.select([self._said], [], [], seconds)
        line = self._said.readline() if ready else b""
        if line.startswith(b'{"pid"'):
            self.pid = json.loads(line)["pid"]
            return True
        self._end(-signal.SIGKILL)
        return False

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int:
        """Its exit code, once it has ended; −9 where the nursery ended without telling. For any thread."""
        if self._reading.acquire(blocking=False):  # nobody reads: what it still says is of no use
            try:
                for line in self._said if self.returncode is None else ():
                    if self._is_end(line):
                        break
                self._end(-signal.SIGKILL)
            finally:
                self._reading.release()
        self._ended.wait()
        return self.returncode or 0

    def _lines(self) -> Generator[bytes]:
        with self._reading:
            for line in self._said:
                if self._is_end(line):
                    return
                yield line
            self._end(-signal.SIGKILL)

    def _is_end(self, line: bytes) -> bool:
        if line.startswith(b'{"exit"'):
            self._end(json.loads(line)["exit"])
            return True
        return False

    def _end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
        self._ended.set()


def main(fd: int) -> None:
    """Import, then fork a worker for each message, and tell each one's end on its own pipe."""
    import gc
    import importlib

    from athena.playbooks.kernel import block_slow_imports

    block_slow_imports()
    for name in (*_PRELOADED, *_books()):
        importlib.import_module(name)
    _rehearse()
    gc.freeze()  # what is shared stays shared
    asked = socket.socket(fileno=fd)
    waker, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    children: dict[int, int] = {}  # pid -> the pipe to its runner
    while True:
        ready, _, _ = select.select([asked.fileno(), waker], [], [])
        if waker in ready:
            os.read(waker, 512)
            _reap(children)
        if asked.fileno() in ready:
            message, fds, _, _ = socket.recv_fds(asked, 64, 3)
            if not message:
                break
            pid = os.fork()
            if pid == 0:
                for other in (*children.values(), waker, wakes):
                    os.close(other)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                asked.close()
                _become_worker(fds)
            children[pid] = fds[1]
            os.close(fds[0])
            os.close(fds[2])


def _reap(children: dict[int, int]) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if (pipe := children.pop(pid, None)) is not None:
            try:
                os.write(pipe, json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
            except OSError:
                pass  # the runner is gone
            os.close(pipe)


def _become_worker(pipes: Sequence[int]) -> None:
    """In the child: its own session, input and output, then the worker's work; never returns."""
    code = 1
    try:
        os.setsid()
        for number, pipe in enumerate(pipes):
            os.dup2(pipe, number)
            os.close(pipe)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        print(json.dumps({"pid": os.getpid()}), flush=True)
        from athena.playbooks import worker

        worker.main(forks=True)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _rehearse() -> None:
    """What a run does once and keeps: the notebook's schema and the page's selectors compiled, a figure's classes."""
    import pandas as pd
    from nbformat import validate
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    from athena.playbooks.books.pictures import bars, curve
    from athena.playbooks.export import PLOTLY, body_of

    line = pd.Series([1.0, 2.0], pd.date_range("2020-03-09", periods=2, freq="h", tz="UTC"))
    figures = [json.loads(each.to_json()) for each in (bars({"one": 1.0}, "units", lines=[1.0]), curve(line, "units"))]
    shown: Any = [new_output("display_data", data={PLOTLY: each}) for each in figures]  # type: ignore[no-untyped-call]
    cells = [new_markdown_cell("# Rehearsal"), new_code_cell(outputs=shown)]  # type: ignore[no-untyped-call]
    notebook: Any = new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    validate(notebook)
    body_of(notebook)


def _books() -> list[str]:
    folder = Path(__file__).parent / "books"
    return [f"athena.playbooks.books.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


if __name__ == "__main__":
    main(int(sys.argv[1]))
