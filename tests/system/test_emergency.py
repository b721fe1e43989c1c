"""The emergency stop: every step proven at the venue, with the engine alive, killed, or the journal destroyed."""

import json
import os
import subprocess
import sys

import pytest
import requests

from athena.live.commands import request_sync
from tests.engine.processes import desk, wait_for

KEY = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with desk(tmp_path_factory.mktemp("desk"), speed=120) as made:
        yield made


def athena(live, *arguments):
    variables = {"ATHENA_HOME": str(live.home), "ATHENA_SIMULATOR_URL": live.url}
    command = [sys.executable, "-m", "athena.cli", *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=90)


def venue(live, path, method="GET", **body):
    answer = requests.request(method, f"{live.url}/v2/{path}", headers=KEY, json=body or None, timeout=10)
    return answer.json() if answer.content else None


def trade(live):
    """A running engine that trades, with a position and a resting order at the venue."""
    live.start_ready()
    result = athena(live, "resume", "test")
    assert result.returncode == 0, result.stderr
    wait_for(lambda: venue(live, "positions"), "a position")
    resting = {"symbol": "WMT", "qty": "1", "side": "buy", "type": "limit", "limit_price": "50", "time_in_force": "day"}
    assert venue(live, "orders", "POST", **resting)["id"]


def check_stopped(live, result):
    """The venue itself shows no order, no position, and refuses whoever asks."""
    told = json.loads(result.stdout)
    assert (result.returncode, told["proven"]) == (0, True), told
    assert [step["name"] for step in told["steps"]] == [
        "halt",
        "cancel all orders",
        "close positions",
        "venue suspended",
    ]
    assert venue(live, "orders") == []
    assert venue(live, "positions") == []
    order = {"symbol": "WMT", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    assert venue(live, "orders", "POST", **order)["message"] == "new orders are rejected by user request"


def test_a_rehearsal_changes_nothing(live):
    """--dry-run lists what it would do, and the guard and the venue stay as they were."""
    trade(live)
    result = athena(live, "emergency-stop", "--dry-run", "--flatten")
    assert result.returncode == 0
    assert "would cancel" in result.stdout
    assert live.guard().is_active
    assert venue(live, "account/configurations")["suspend_trade"] is False


def test_everything_stops_with_the_engine_alive_and_resume_lifts_the_venues_suspension(live):
    """Halt, cancel, flatten, suspend are each read back; after a resume the venue takes orders again."""
    check_stopped(live, athena(live, "emergency-stop", "--flatten", "--json", "--reason", "drill"))
    assert not live.guard().is_active
    journal = live.journal()
    with journal:
        request_sync(journal, "reconcile", {}, 20)
    result = athena(live, "resume", "drill over")
    assert result.returncode == 0, result.stderr
    assert venue(live, "account/configurations")["suspend_trade"] is False


def test_everything_stops_with_the_engine_dead(live):
    """A killed engine is no hindrance, nor is a venue that leaves the first request of each kind unanswered."""
    wait_for(lambda: venue(live, "positions"), "a position")
    live.kill(live.engines[-1])
    url = f"{live.url}/simulator/faults"
    first = [("DELETE", "/v2/orders"), ("DELETE", "/v2/positions/*"), ("PATCH", "/v2/account/configurations")]
    faults = [{"kind": "status", "status": 504, "method": m, "path": p, "count": 1} for m, p in first]
    assert requests.post(url, headers=KEY, json={"faults": faults}, timeout=10).ok
    check_stopped(live, athena(live, "emergency-stop", "--flatten", "--json"))
    told = requests.get(url, headers=KEY, timeout=10).json()["faults"]
    assert [fault["state"] for fault in told] == ["done"] * 3, told


def test_the_venue_is_stopped_although_the_journal_is_destroyed(live):
    """With the journal gone the halt's record fails and is said; every step at the venue is still done."""
    live.guard().close()
    live.settings.journal_path.write_bytes(b"destroyed" * 5000)
    for name in ("journal.sqlite3-wal", "journal.sqlite3-shm"):
        live.settings.journal_path.with_name(name).unlink(missing_ok=True)
    result = athena(live, "emergency-stop", "--flatten", "--json")
    steps = {step["name"]: step for step in json.loads(result.stdout)["steps"]}
    assert result.returncode == 11
    assert "IS halted" in steps["halt"]["proof"]
    assert all(step["proven"] for name, step in steps.items() if name != "halt")
