from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
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
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                sequence, own = writer.stdout.readline().split()
                acknowledged[int(sequence)] = own.decode()
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            rest, _, _cut_short = writer.communicate(timeout=30)[0].decode().rpartition("\n")
            acknowledged |= {int(line.split()[0]): line.split()[1] for line in rest.splitlines()}
        with Journal.open(path, "test") as journal:
            journal.append("note", {"text": f"after trial {trial}"})
    with Journal.open(path, "test", read_only=True) as journal:
        stored = {row["sequence"]: row["hash"] for row in journal.query("SELECT sequence, hash FROM events")}
        assert len(acknowledged) >= 4 * TRIALS
        assert {s: h for s, h in acknowledged.items() if stored.get(s) != h} == {}
        assert journal.verify().ok, journal.verify()
