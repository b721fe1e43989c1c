"""Child processes of one command: started with a log each, awaited until ready, and all stopped at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from athena.errors import AthenaError

STOP_SECONDS = 8.0


class Processes:
    """`with Processes(folder, environment) as processes:` — whatever was started is stopped when the block ends.

    Also on Ctrl-C and SIGTERM: the children live in sessions of their own, so only this object signals them.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._children: dict[str, subprocess.Popen[Any]] = {}
        self._starting = self._interrupted = False

    def __enter__(self) -> Processes:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Set on purpose: a shell starts background jobs with SIGINT ignored, and nothing may be left behind.
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._previous = [(number, signal.signal(number, self._interrupt)) for number in numbers]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, _ in self._previous:
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not interrupt the stopping
        for name in reversed(list(self._children)):
            self.stop(name)
        for number, handler in self._previous:
            signal.signal(number, handler)

    def start(self, name: str, *arguments: str, module: str = "athena.cli") -> None:
        """Start `athena ARGUMENTS`, or another module, in the background, its output in `<folder>/<name>.log`."""
        self.launch(name, sys.executable, "-m", module, *arguments)

    def launch(self, name: str, *command: str) -> None:
        """Start any program in the background, its output in `<folder>/<name>.log`."""
        with self.log(name).open("ab") as log:
            os.fchmod(log.fileno(), 0o600)  # Alertmanager's holds the outside heartbeat's address, a secret
            self._born(name, command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def run(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `athena ARGUMENTS` to its end, as an operator in another terminal would."""
        command = [sys.executable, "-m", "athena.cli", *arguments]
        child = self._born("command", command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            told, complaint = child.communicate(timeout=timeout)
        finally:
            child.kill()
            self.stop("command")
        return subprocess.CompletedProcess(command, child.returncode, told, complaint)

    def _born(self, name: str, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """The child just started, on our books before a Ctrl-C can part us: one that came meanwhile is raised here."""
        self._starting = True
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=self.environment, **options)
            self._children[name] = child
        finally:
            self._starting = False
        if self._interrupted:
            raise KeyboardInterrupt
        return child

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        if not self._starting:
            raise KeyboardInterrupt

    def wait(self, name: str, ready: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Return when `ready()`; raise with the child's last words when it ends or the time is over."""
        deadline = time.monotonic() + timeout
        while not ready():
            code = self._children[name].poll()
            if code is not None:
                raise AthenaError(f"{name} ended with {code} before {what}: {self.last_words(name)}", self._look(name))
            if time.monotonic() > deadline:
                raise AthenaError(
                    f"{name}: not {what} after {timeout:.0f} s: {self.last_words(name)}", self._look(name)
                )
            time.sleep(0.05)

    def alive(self, name: str) -> bool:
        return name in self._children and self._children[name].poll() is None

    def died(self, name: str) -> bool:
        """Whether it was started and has ended by itself."""
        return name in self._children and not self.alive(name)

    def stop(self, name: str) -> int | None:
        """Ask the child to stop, insist after some seconds; its exit code."""
        child = self._children.get(name)
        if child is None:
            return None
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        del self._children[name]  # only now: a Ctrl-C while waiting leaves it to the end of the block
        return child.returncode

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"

    def _look(self, name: str) -> str:
        return f"Its log: {self.log(name)}"


def free_port() -> int:
    """A loopback port nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether something on this machine answers there, if only to ask for a key."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
