"""The network is silent for a while: noticed, said, halted at the limit, back and reconciled without an operator."""

import asyncio
import time
from urllib.parse import urlsplit

import pytest

from athena.config import Settings
from athena.journal.codec import from_text
from athena.live.commands import request_sync
from athena.live.limits import LIMITS
from athena.model import Origin, Scope
from athena.ops.status import gather
from athena.simulator.proxy import FaultProxy
from tests.engine.processes import wait_for
from tests.recovery_engine.harness import SETTINGS, Trials
from tests.support.faulty_venue import own_loop

LIMIT_SECONDS = 30  # the default


@pytest.mark.timeout(150)
def test_a_silent_network_is_noticed_in_five_seconds_and_survived_without_an_operator(tmp_path):
    """Half-open connections: state within 5 s, positions unknown, halted after 30 s, lifted when the books agree."""
    trials = Trials(tmp_path, 3)
    assert LIMITS["max_disconnect_seconds"].default == LIMIT_SECONDS
    (trials.home / "athena.toml").write_text(SETTINGS.replace("max_disconnect_seconds = 30\n", ""))
    with own_loop() as loop:

        def call(work):
            return asyncio.run_coroutine_threadsafe(work, loop).result(10)

        async def do(act):
            act()

        proxy = FaultProxy(urlsplit(trials.url).port)
        call(proxy.start())
        trials.url, venue = proxy.url, trials.url
        trials.settings = Settings.load({}, home=trials.home, simulator_url=proxy.url)
        try:
            process, said = trials.begin("", 0)
            assert trials.ready(process, said)
            trials.url = venue  # the test itself asks the venue directly
            mine = trials.guard().halt("mine", scope=Scope.SYMBOL, target="XOM")
            trials.operate()

            def origins():
                return sorted(halt.origin.value for halt in trials.guard().halts())

            wait_for(lambda: len(trials.posts()) > 3, "orders")
            began = time.monotonic()
            call(do(proxy.half_open))
            with trials.reader() as journal:
                gone = "SELECT at FROM broker_states WHERE broker = 'alpaca' AND state != 'connected' AND sequence > ?"
                head = journal.head()[0]
                wait_for(lambda: journal.one(gone, (head,)), "the loss to be noticed", 6)
                noticed = time.monotonic() - began
                left = from_text(journal.one(gone, (head,))["at"])
            assert noticed <= 5.5, noticed  # five seconds, and this poll
            wait_for(lambda: gather(trials.settings).positions_unsure_since, "positions to be unknown", 3)
            assert "connectivity" not in origins()
            wait_for(lambda: "connectivity" in origins(), "the halt at the limit", 2 * LIMIT_SECONDS)
            (halted,) = (halt for halt in trials.guard().halts() if halt.origin is Origin.CONNECTIVITY)
            assert LIMIT_SECONDS - 1 < (halted.at - left).total_seconds() < LIMIT_SECONDS + 5
            sent = len(trials.posts())
            call(do(proxy.heal))
            wait_for(lambda: "connectivity" not in origins(), "the lifting", 45)
            wait_for(lambda: len(trials.posts()) > sent, "trading to go on", 20)
            assert mine.id in {halt.id for halt in trials.guard().halts()}
            wait_for(lambda: gather(trials.settings).positions_unsure_since is None, "positions to be known", 20)
            trials.guard().halt("the end")
            with trials.journal() as journal:
                wait_for(lambda: request_sync(journal, "reconcile", timeout=20).ok, "books that agree")
                wait_for(lambda: not trials.differences(journal, True), "all to be equal", 20)
        finally:
            trials.process.kill()
            trials.process.join(10)
            call(proxy.stop())
            trials.stop_all()
            trials.stop_simulator()
