"""What `athena halt` promises: nothing reaches the venue after it returned, however busy the engine."""

import subprocess
import sys
import time

import pytest

from tests.engine.processes import desk, trade, wait_for

BY_COMMAND, BY_HANDLE = 8, 30


@pytest.fixture
def live(tmp_path):
    with desk(tmp_path, speed=120) as made:
        made.start_ready()
        yield made


def boottime_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def halt_by_command(live):
    command = [sys.executable, "-m", "athena.cli", "halt", "trial", "--home", str(live.home)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_no_order_reaches_the_venue_after_halt_returned(live):
    """Many halts in mid-trading, by command and by handle: the venue's log has no order after the moment of return."""
    late, sent = [], 0
    for trial in range(BY_COMMAND + BY_HANDLE):
        trade(live)
        halt_by_command(live) if trial < BY_COMMAND else live.guard().halt("trial")
        returned = boottime_ns()
        time.sleep(0.1)  # room for an order that should not come
        late += [post for post in live.posts() if post["boottime_ns"] > returned]
        sent = len(live.posts())
    assert late == []
    assert sent >= BY_COMMAND + BY_HANDLE


def test_a_halt_of_one_symbol_stops_that_symbol_and_no_other(live):
    """After a symbol's halt returned the venue sees none of it, and others go on."""
    trade(live)
    live.guard().halt("trial", scope="symbol", target="AAPL")
    returned = boottime_ns()

    def others():
        return [
            post for post in live.posts() if post["boottime_ns"] > returned and "-AAPL-" not in post["client_order_id"]
        ]

    wait_for(lambda: len(others()) >= 5, "orders in other symbols")
    after = [post for post in live.posts() if post["boottime_ns"] > returned]
    assert [post for post in after if "-AAPL-" in post["client_order_id"]] == []
