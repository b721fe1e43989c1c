"""A handle in a process without the engine: it reads the venue, and says of the engine what the journal proves."""

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from athena.errors import BrokerError, EngineNotRunning
from athena.journal import Journal
from athena.live.brokers.alpaca import AlpacaBroker
from athena.live.brokers.handle import AlpacaHandle
from athena.model import BrokerState
from tests.support.broker import Events, approve, connected, settings_for
from tests.support.simulator import running_simulator


@pytest.fixture(scope="module")
def simulator():
    with running_simulator() as one:
        yield one


@pytest.fixture
def settings(simulator, tmp_path):
    one = settings_for(simulator.url, home=tmp_path)
    one.folder.mkdir(parents=True)
    return one


def beat(journal, **broker):
    """What a living engine journals each second."""
    journal.heartbeat("engine", {"state": "running"})
    since = datetime.now(UTC) - timedelta(seconds=90)
    details = {"state": "connected", "since": since.isoformat(), "streams": {"trading": "connected"}}
    journal.heartbeat("broker", details | broker)


def test_without_an_engine_the_state_is_disconnected_and_says_why(settings):
    """No journal, no heartbeat: disconnected, no uptime, reconnect refused; the account can be read all the same."""
    handle = AlpacaHandle(settings)
    assert handle.state is BrokerState.DISCONNECTED
    assert handle.get_uptime() == 0
    assert "not running" in repr(handle)
    assert asyncio.run(handle.get_account()).available_balance > 0
    with pytest.raises(EngineNotRunning):
        asyncio.run(handle.reconnect())
    health = asyncio.run(handle.health_check())
    assert not health.healthy
    assert health.latency_seconds is not None
    asyncio.run(handle.close())


def test_the_engines_heartbeat_is_the_handles_state(settings):
    """State, uptime and streams are the heartbeat's while it is fresh, and disconnected once it is 5 s old."""
    journal = Journal.open(settings.journal_path, actor="test engine")
    handle = AlpacaHandle(settings)
    beat(journal)
    assert handle.state is BrokerState.CONNECTED
    assert handle.state.number == 2
    assert 89 < handle.get_uptime() < 95
    assert handle.streams == {"trading": "connected"}
    assert asyncio.run(handle.health_check()).healthy
    beat(journal, state="reconnecting", reasons={"trading": "nothing heard"})
    assert handle.state is BrokerState.RECONNECTING
    assert "nothing heard" in handle.reason
    deadline = time.monotonic() + 8
    while handle.state is not BrokerState.DISCONNECTED and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "last heartbeat" in handle.reason
    journal.heartbeat("engine", {"state": "stopped"})
    assert "stopped" in handle.reason
    journal.close()
    asyncio.run(handle.close())


def test_reconnect_is_a_command_that_the_engine_answers(settings):
    """The handle asks by the journal, and its answer is the engine's."""
    journal = Journal.open(settings.journal_path, actor="test engine")
    beat(journal)

    async def engine():
        row = None
        for _ in range(400):
            if (row := journal.one("SELECT id, name FROM commands WHERE status = 'requested'")) is not None:
                break
            await asyncio.sleep(0.02)
        journal.append("command.finished", {"id": row["id"], "status": "done", "result": {"message": "reconnected"}})
        return row["name"]

    async def both():
        handle = AlpacaHandle(settings)
        answer, name = await asyncio.gather(handle.reconnect(), engine())
        await handle.close()
        return answer, name

    assert asyncio.run(asyncio.wait_for(both(), 10)) == (True, "reconnect")
    journal.close()


def test_a_handle_neither_sends_orders_nor_opens_streams(settings, simulator):
    """submit, connect and subscribe raise, and the engine's one stream stays the engine's."""
    handle = AlpacaHandle(settings)
    for action in (handle.submit(approve()), handle.connect(Events()), handle.subscribe(["AAPL"])):
        with pytest.raises(BrokerError, match="handle"):
            asyncio.run(action)

    async def beside_an_engine():
        async with connected(settings) as (broker, _):
            await handle.get_positions()
            return broker.state

    assert asyncio.run(beside_an_engine()) is BrokerState.CONNECTED
    asyncio.run(handle.close())


PLAYBOOK = """
import asyncio
from athena.live.brokers import BROKER_REGISTRY
for name, broker_class in BROKER_REGISTRY.items():
    broker = broker_class.get_instance()
    if broker:
        print(f'{name}: {broker.state.value}')
        print(f'Uptime: {broker.get_uptime():.1f}s')
from athena.live.brokers.alpaca import AlpacaBroker
async def account():
    broker = AlpacaBroker.get_instance()
    account = await broker.get_account()
    print(account.available_balance)
    print((await broker.health_check()).state.value)
asyncio.run(account())
"""


def test_the_playbooks_snippets_run_in_a_fresh_process(simulator, tmp_path):
    """Pasted as they stand, with no engine anywhere, they print what is true."""
    environment = {"ATHENA_HOME": str(tmp_path), "ATHENA_SIMULATOR_URL": simulator.url, "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PLAYBOOK],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "alpaca: disconnected" in run.stdout
    assert "Uptime: 0.0s" in run.stdout


def test_get_instance_gives_one_handle_per_live_system(settings):
    """Asking twice gives the same handle; another account's is another."""
    first = AlpacaBroker.get_instance(settings)
    assert first is AlpacaBroker.get_instance(settings)
    assert first is not AlpacaBroker.get_instance(settings_for("http://127.0.0.1:1", home=settings.home))
    asyncio.run(first.close())
