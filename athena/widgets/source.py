"""A thread that looks once a second and tells every view; and jobs, so that nothing an operator starts blocks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from athena.errors import ApprovalNeeded, AthenaError
from athena.widgets.reading import Reader
from athena.widgets.snapshot import Snapshot

Hear = Callable[[Snapshot], None]
Say = Callable[[str], None]
STOP_SECONDS = 5.0
LINES_MOST = 200
TWICE_SECONDS = 1.0


class Source:
    """Looks through a Reader every `seconds` of machine time and tells its listeners, until it is stopped."""

    def __init__(self, reader: Reader, seconds: float = 1.0) -> None:
        self.reader, self.seconds = reader, seconds
        self.latest = reader.read()
        self._listeners: list[Hear] = []
        self._looking = threading.Lock()
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"control-room-{reader.path.parent.name}", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive() and not self._over.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its connection; safe to call twice, and from a listener."""
        self._over.set()
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(STOP_SECONDS)
        with self._looking:
            self.reader.close()

    def subscribe(self, hear: Hear) -> None:
        """Tell `hear` every look, beginning with the latest. What it raises is its own affair: wrap it."""
        self._listeners.append(hear)
        hear(self.latest)

    def refresh(self) -> Snapshot:
        """Look now, in the caller's thread: after an action, the truth is read back and not assumed."""
        with self._looking:
            if not self._over.is_set():
                self.latest = self.reader.read()
            return self.latest

    def soon(self) -> None:
        """Have the thread look at once."""
        self._wake.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(self.seconds)
            self._wake.clear()
            if self._over.is_set():
                return
            self.refresh()
            for hear in tuple(self._listeners):
                try:
                    hear(self.latest)
                except Exception:  # a view wraps itself and shows its failure; one that still raises must not end this
                    continue


@dataclass
class Job:
    """One thing an operator asked for: its lines as they come, and how it ended. `state`: running, done or failed."""

    key: str
    title: str
    state: str = "running"
    lines: list[str] = field(default_factory=list)
    hint: str = ""
    link: str = ""  # HTML of the views' own
    waits: bool = False  # for a second operator's approval
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[Job], None] = lambda job: None

    def say(self, line: str) -> None:
        """One more line of what is being done, shown at once."""
        self.lines.append(line)
        del self.lines[:-LINES_MOST]
        self.tell(self)

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.begun


class Jobs:
    """Runs each job in a thread of its own; while one with the same key runs, asking again does nothing more."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._running: dict[str, Job] = {}
        self._done: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._changed = changed

    def start(
        self,
        key: str,
        title: str,
        work: Callable[[Job], None],
        tell: Callable[[Job], None],
        *,
        again: bool = False,
    ) -> Job:
        """Begin `work`, unless it is under way or was done within the last second: then that job is returned.

        So a double click does one thing; `again` is for what may follow itself at once. `tell` is called as it begins,
        for each line it says, and when it ended: done, or failed with the error's message and hint.
        """
        with self._lock:
            known = self._running.get(key)
            done = self._done.get(key)
            if (
                known is None
                and done is not None
                and not again
                and time.monotonic() - (done.ended or 0) < TWICE_SECONDS
            ):
                known = done
            if known is not None:
                return known
            job = self._running[key] = Job(key, title, tell=tell)
            name = f"control-room-job {key}"
            thread = self._threads[key] = threading.Thread(target=self._run, args=(job, work), name=name, daemon=True)
        tell(job)
        thread.start()
        return job

    def stop(self) -> None:
        """Ask every job under way to end at its next safe place, and wait a moment for it."""
        for job in tuple(self._running.values()):
            job.stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in tuple(self._threads.values()):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, job: Job, work: Callable[[Job], None]) -> None:
        state = "failed"
        try:
            work(job)
            state = "done"
        except AthenaError as error:
            job.say(error.message)
            job.hint, job.waits = error.hint, isinstance(error, ApprovalNeeded)
        except Exception as error:
            job.say(f"{type(error).__name__}: {error}")
            job.hint = "This is a defect, and nothing more is known: look at athena status before asking again."
        finally:
            job.ended, job.state = time.monotonic(), state
            with self._lock:
                del self._running[job.key], self._threads[job.key]
                self._done.pop(job.key, None)
                if state == "done":
                    self._done[job.key] = job
            self._changed()
            job.tell(job)
