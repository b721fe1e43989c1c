"""SIGKILL at every place of the order path, again and again, with the venue going on: nothing lost, nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.recovery_engine.crashing import POINTS
from tests.recovery_engine.harness import RANDOM, Tally, kill

KILLS_EACH = 75


@pytest.mark.timeout(400)
def test_killed_anywhere_no_order_is_doubled_or_forgotten_no_fill_is_lost_and_halts_stand(tmp_path):
    """150 kills at every named point and at random; after each start all books equal the venue's to the cent."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(2) as pool:  # two live systems, each with a venue of its own
        total = sum(pool.map(kill, folders, [KILLS_EACH] * 2, [2020, 309]), Tally())
    print(total)
    assert total.kills.total() >= 150
    assert all(total.kills[point] for point in (*POINTS, RANDOM)), (
        f"not hit: {[p for p in POINTS if not total.kills[p]]}"
    )
    assert total.checks > 100
