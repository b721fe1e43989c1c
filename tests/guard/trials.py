"""Three real processes and SIGKILL: an engine that sends, one that halts, one that resumes, any of them killed anywhen.

Each writes what it did, with start and end, into shared memory that outlives it. Afterwards the history is judged:
a send is stale if a halt had returned before it, and no resume can have come between.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from athena.config import Settings
from athena.errors import AthenaError
from athena.journal import Journal
from athena.live import guard_gate, guard_load, guard_resuming, guardian  # noqa: F401  # once, and not in every fork
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, H, R, boottime_ns
from athena.live.guard_halting import adopt, finish_resume
from athena.live.verdict import Approved
from tests.guard.conftest import NOON, intent, make_journal, quote, settings_in

RECORDS = 4000


class History:
    """Operations of one process: (start, end, verdict) in boot time; end 0 means it never finished."""

    def __init__(self) -> None:
        self.words = memoryview(mmap.mmap(-1, 8 * (1 + 3 * RECORDS))).cast("Q")

    def begin(self) -> int:
        place = 1 + 3 * self.words[0]
        self.words[place] = boottime_ns()
        self.words[0] += 1
        return place

    def end(self, place: int, verdict: int = 1) -> None:
        self.words[place + 2] = verdict
        self.words[place + 1] = boottime_ns()

    def operations(self) -> list[tuple[int, int, int]]:
        w = self.words
        return [(w[p], w[p + 1], w[p + 2]) for p in range(1, 1 + 3 * w[0], 3)]


@dataclass
class Outcome:
    """What one trial showed; `decisive` counts attempts that a correct guard must have refused."""

    sends: int
    halts: int
    resumes: int
    decisive: int
    stale: int
    agree: bool


def engine(settings: Settings, sends: History, attempts: History, resumes: History) -> None:
    guard = ExecutionGuard(settings)
    guard.start()
    guard.start_guardian()
    place = resumes.begin()
    with contextlib.suppress(AthenaError):
        guard.resume(override=True)
    resumes.end(place)
    guard.on_quote(quote())
    unique = f"{os.getpid()}-{boottime_ns()}"
    for n in range(RECORDS):
        attempt = attempts.begin()
        verdict = guard.gate.check(intent(), NOON)
        if verdict is None:
            verdict = guard.admit(replace(intent(), key=f"{unique}-{n}"), NOON)
        if isinstance(verdict, Approved):
            with guard.sending(verdict) as clear:
                if clear:
                    place = sends.begin()
                    time.sleep(random.random() / 2000)
                    sends.end(place)
        attempts.end(attempt)
        time.sleep(0.0002)


def halter(settings: Settings, halts: History) -> None:
    guard = ExecutionGuard(settings)
    while True:
        place = halts.begin()
        with contextlib.suppress(AthenaError):
            halts.end(place, 1 if guard.halt("trial").clean else 2)
        time.sleep(random.random() / 200)


def resumer(settings: Settings, resumes: History) -> None:
    guard = ExecutionGuard(settings)
    while True:
        place = resumes.begin()
        with contextlib.suppress(AthenaError):
            guard.resume(reason="trial", override=True)
        resumes.end(place)
        time.sleep(random.random() / 60)


def fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        random.seed(os.getpid() ^ time.time_ns())
        work()
    os._exit(0)


def trial(settings: Settings, dice: random.Random) -> Outcome:
    sends, attempts, halts, first, second = (History() for _ in range(5))
    pids = [
        fork(lambda: engine(settings, sends, attempts, first)),
        fork(lambda: halter(settings, halts)),
        fork(lambda: resumer(settings, second)),
    ]
    deadline = time.monotonic() + 2
    while attempts.words[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.002)
    dice.shuffle(pids)
    for pid in pids:
        time.sleep(dice.random() * 0.06)
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return judge(settings, sends, attempts, halts, first.operations() + second.operations())


def judge(
    settings: Settings, sends: History, attempts: History, halts: History, resumes: list[tuple[int, int, int]]
) -> Outcome:
    returned = [(start, end) for start, end, verdict in halts.operations() if end and verdict == 1]

    def excused(halt_start: int, until: int) -> bool:
        """A resume may have taken effect after that halt began and before that moment."""
        return any(start < until and (end == 0 or end > halt_start) for start, end, _ in resumes)

    stale = decisive = 0
    for start, end, _ in sends.operations():
        over = end or start
        stale += any(halt_end < over and not excused(halt_start, over) for halt_start, halt_end in returned)
    for start, end, _ in attempts.operations():
        decisive += any(halt_end < start and not excused(halt_start, end or start) for halt_start, halt_end in returned)
    flag = GuardFlag.open(settings.journal_path)
    with Journal.open(settings.journal_path, "auditor") as journal:

        def halted_by_journal() -> bool:
            row = journal.one("SELECT mode FROM guard")
            return row is None or row["mode"] == "halted"

        def halted_by_flag() -> bool:
            return flag.words[H] == 0 or flag.words[R] != flag.words[H]

        agree = halted_by_flag() or not halted_by_journal()  # at no moment is the flag the laxer of the two
        adopt(flag, journal)
        finish_resume(flag, journal)
        agree = agree and halted_by_flag() == halted_by_journal()
    flag.close()
    return Outcome(sends.words[0], halts.words[0], len(resumes), decisive, stale, agree)


def run(folder: Path, trials: int, seed: int) -> list[Outcome]:
    settings = settings_in(folder)
    make_journal(settings)
    guard = ExecutionGuard(settings)
    for name in ("max_orders_per_minute", "max_messages_per_minute", "max_open_orders", "max_open_orders_per_symbol"):
        guard.set_limit(name, 100_000)
    for name in ("position_per_symbol", "gross_exposure", "net_exposure"):
        guard.set_limit(f"max_{name}_dollars", 10**8)
    guard.set_limit("max_duplicate_orders", 1000)
    guard.close()  # nothing of SQLite's is open when the trials fork
    dice = random.Random(seed)
    return [trial(settings, dice) for _ in range(trials)]
