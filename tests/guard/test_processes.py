"""The flag and the journal between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, boottime_ns

ROOT = Path(__file__).parents[2]
TRIALS = """
import sys
from pathlib import Path
from tests.guard.trials import run
for outcome in run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):
    print(outcome.sends, outcome.halts, outcome.resumes, outcome.decisive, outcome.stale, int(outcome.agree))
"""


@pytest.mark.parametrize("seed", range(5))
def test_killed_anywhere_nothing_stale_passes_and_the_ends_agree(tmp_path: Path, seed: int) -> None:
    """In 5 x 30 trials of three processes killed at random no send follows a halt, and flag equals journal."""
    command = [sys.executable, "-c", TRIALS, str(tmp_path), "30", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(outcomes) == 30
    sends, halts, resumes, decisive, stale, agree = (sum(column) for column in zip(*outcomes, strict=True))
    print(f"seed {seed}: {sends} sends, {halts} halts, {resumes} resumes, {decisive} decisive attempts")
    assert stale == 0
    assert agree == 30
    assert min(halts, resumes, decisive) > 20  # the trials had something to find
    assert sends > 0  # how many get between two halts depends on how fast the disk is just then


SPIN = """
import sys
from pathlib import Path
from athena.live.guard_flag import GuardFlag, boottime_ns, H, R
flag = GuardFlag.open(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    while flag.allows():
        pass
    print(boottime_ns(), flush=True)
"""


def test_halt_is_seen_by_another_process_at_once(engine: ExecutionGuard) -> None:
    """A process checking the flag refuses within 20 ms of the halt, the slowest of fifty, in one of three rounds.

    That is the bound for a machine whose cores are all taken, as a suite's are: the other process may not be running
    just then. `make bench` measures an idle one, whose bound is a millisecond.
    """
    command = [sys.executable, "-c", SPIN, str(engine.settings.journal_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        rounds = [fifty(engine.flag, other.stdin, other.stdout) for _ in range(3)]
        other.stdin.close()
    print("halt seen after", *(f"{took[25]:.3f} ms p50, {took[49]:.3f} ms max" for took in rounds))
    assert min(took[49] for took in rounds) < 20


def fifty(flag: GuardFlag, to: IO[str], back: IO[str]) -> list[float]:
    """Milliseconds from the write to the other process's refusal, sorted."""
    took = []
    for _ in range(50):
        to.write("go\n")
        to.flush()
        time.sleep(0.005)
        began = boottime_ns()
        nonce = flag.halt()
        took.append((int(back.readline()) - began) / 1e6)
        flag.acknowledge(nonce)
    return sorted(took)
