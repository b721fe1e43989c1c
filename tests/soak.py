"""`make soak`: the long versions of two proofs. `python -m tests.soak [--kills 1000] [--days 3000] [--seed N]`.

Kills: an engine killed at every place of the order path, everything compared after each start. Days: seeded days with
faults and crashes. Both stop at the first broken promise and name the seed that repeats it.
"""

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

KILLS_EACH = 50
DAYS_EACH = 100


def main():
    """Run both; exit 1 when anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--days", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        return kills(Path(folder), asked.kills, asked.seed) or days(Path(folder), asked.days, asked.seed)


def kills(folder, wanted, seed):
    """So many kills, fifty on each simulator, two simulators at a time."""
    from tests.recovery_engine.crashing import POINTS
    from tests.recovery_engine.harness import Tally, kill

    batches = [folder / f"kills-{number}" for number in range((wanted + KILLS_EACH - 1) // KILLS_EACH)]
    for batch in batches:
        batch.mkdir()
    total, began = Tally(), time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for tally in pool.map(kill, batches, [KILLS_EACH] * len(batches), range(seed, seed + len(batches))):
            total += tally
            print(f"{total.kills.total()} kills in {time.monotonic() - began:.0f} s", flush=True)
    print(total)
    print("0 orders doubled, 0 forgotten, 0 fills lost, positions, cash and halts equal every time")
    return 1 if any(not total.kills[point] for point in POINTS) else 0


def days(folder, wanted, seed):
    """So many simulated days, a hundred a task, on all cores."""
    from tests.recovery_engine.simulation import live

    seeds = range(seed, seed + wanted)
    tasks = [seeds[first : first + DAYS_EACH] for first in range(0, wanted, DAYS_EACH)]
    folders = [folder / f"days-{number}" for number in range(len(tasks))]
    for one in folders:
        one.mkdir()
    lived, orders, began = 0, 0, time.monotonic()
    with ProcessPoolExecutor() as pool:
        for count, sent, _ in pool.map(live, folders, tasks):
            lived, orders = lived + count, orders + sent
            print(f"{lived} days, {orders} orders in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
