from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from athena.journal import Journal

TRIALS = 30
WRITER = """
import os, sys
from decimal import Decimal
from athena.journal import Journal
from tests.journal.facts import VENUE_AT, fill, intended
journal = Journal.open(sys.argv[1], f"engine {sys.argv[2]}")
number = 0
while True:
    name = f"{sys.argv[2]}-{number}"
    with journal.transaction() as tx:
        first = tx.append("order.intended", intended(name), VENUE_AT)
    second = journal.append("fill", fill(f"x-{name}", name, quantity=Decimal(4)), VENUE_AT)
    os.write(1, f"{first.sequence} {first.hash}\\n{second.sequence} {second.hash}\\n".encode())
    number += 1
"""


def test_sigkill_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """Thirty pairs of writers are killed in full stride: every event told to be durable is there, in one chain."""
    Journal.open(path, "test").close()
    chance, acknowledged = random.Random(1), dict[int, str]()
    for trial in range(TRIALS):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"{trial}{name}"], stdout=subprocess.PIPE)
            for name in "ab"
        ]
        for writer in writers:  # at least one word from each before it dies, and a random number of more
            for _ in range(chance.randrange(1, 40)):
                sequence, own = writer.stdout.readline().split()
                acknowledged[int(sequence)] = own.decode()
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            with writer, writer.stdout as pipe:
                rest = pipe.read().decode().rpartition("\n")[0]  # the last line may be cut short
            acknowledged |= {int(line.split()[0]): line.split()[1] for line in rest.splitlines()}
        with Journal.open(path, "test") as journal:
            journal.append("note", {"text": f"after trial {trial}"})
    with Journal.open(path, "test", read_only=True) as journal:
        stored = {row["sequence"]: row["hash"] for row in journal.query("SELECT sequence, hash FROM events")}
        assert len(acknowledged) >= 4 * TRIALS
        assert {s: h for s, h in acknowledged.items() if stored.get(s) != h} == {}
        assert journal.verify().ok, journal.verify()


def test_a_busy_writer_starves_nobody(path: Path) -> None:
    """Beside two writers that never rest, which starve SQLite's own waiting for seconds, an append gets in at once."""
    Journal.open(path, "test").close()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.DEVNULL) for name in "ab"
    ]
    try:
        with Journal.open(path, "operator alice") as journal:
            deadline = time.monotonic() + 30
            while len({row["actor"] for row in journal.query("SELECT DISTINCT actor FROM events")}) < 2:
                assert time.monotonic() < deadline, "the writers did not start"
                time.sleep(0.01)
            waits = []
            for _ in range(25):
                began = time.monotonic()
                journal.append("note", {"text": "halt"})
                waits.append(time.monotonic() - began)
            assert [writer.poll() for writer in writers] == [None, None]
            assert max(waits) < 2, waits
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
