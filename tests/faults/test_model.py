"""Faults as they are ordered: read strictly, refused by name."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from athena.errors import SimulatorError
from athena.simulator.fault_model import Fault, Kind, Schedule
from athena.simulator.fault_reading import read_fault, read_schedule
from tests.faults.conftest import Venue, lines


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "latancy", "seconds": 1}, "no fault 'latancy'. Did you mean 'latency'"),
        ({}, "no fault 'None'"),
        ({"kind": "latency", "second": 1}, "no field 'second'. Did you mean 'seconds'"),
        ({"kind": "clock_skew", "seconds": 5, "method": "GET"}, "'method' means nothing to the fault 'clock_skew'"),
        ({"kind": "latency"}, "needs 'seconds'"),
        ({"kind": "trade_correct"}, "needs 'price' or 'quantity'"),
        ({"kind": "latency", "seconds": "soon"}, "seconds is 'soon'"),
        ({"kind": "latency", "seconds": -1}, "seconds must lie from 0"),
        ({"kind": "latency", "seconds": float("nan")}, "seconds must lie"),
        ({"kind": "reset", "probability": 1.5}, "probability must lie from 0.0 to 1.0"),
        ({"kind": "reset", "moment": "during"}, "moment is 'during'. It is one of before, after"),
        ({"kind": "reset", "count": 1.5}, "count is 1.5"),
        ({"kind": "status", "status": 99}, "status must lie from 200"),
        ({"kind": "external_order", "symbol": "KO", "side": "up", "quantity": 1}, "side is 'up'"),
        ({"kind": "stream_mute", "lasts_seconds": 0}, "lasts_seconds must lie from 0.001"),
        ({"kind": "clock_skew", "seconds": -1e300}, "seconds must lie from -1"),
        ({"kind": "stream_mute", "pings": "no"}, "pings is 'no'"),
    ],
)
def test_what_cannot_be_a_fault_is_refused_by_name(body: dict[str, Any], said: str) -> None:
    """An unknown kind or field, a missing one or a senseless value is named, and where there is one the nearest."""
    with pytest.raises(SimulatorError) as caught:
        read_fault(body)
    assert said in str(caught.value)


def test_every_kind_can_be_read() -> None:
    """Each kind of fault is taken with the fields it needs."""
    needed = {"seconds": 1, "status": 500, "symbol": "KO", "side": "buy", "quantity": "2", "price": 3}
    for kind in Kind:
        fields: dict[str, Any] = {}
        for _ in range(4):
            try:
                made = read_fault({"kind": kind.value, **fields})
                break
            except SimulatorError as error:
                name = error.message.split("needs '")[1].split("'")[0]
                fields[name] = needed[name]
        assert made.kind is kind


def test_a_schedule_is_read_from_json_and_toml(tmp_path: Path) -> None:
    """Both forms give the same faults; times without a zone are New York's."""
    toml, json_ = tmp_path / "faults.toml", tmp_path / "faults.json"
    toml.write_text(
        'seed = 3\n[[faults]]\nkind = "symbol_delist"\nsymbol = "ko"\nat = 2020-03-09T10:30:00\n'
        '[[faults]]\nkind = "cancel_race"\nquantity = 2\nafter_seconds = 5\n'
    )
    json_.write_text(
        '{"seed": 3, "faults": [{"kind": "symbol_delist", "symbol": "KO", "at": "2020-03-09T10:30"},'
        '{"kind": "cancel_race", "quantity": "2", "after_seconds": 5}]}'
    )
    expected = Schedule(
        (
            Fault(Kind.SYMBOL_DELIST, symbol="KO", at=datetime(2020, 3, 9, 14, 30, tzinfo=UTC)),
            Fault(Kind.CANCEL_RACE, quantity=Decimal(2), after_seconds=5.0),
        ),
        3,
    )
    assert read_schedule(toml) == read_schedule(json_) == expected


def test_a_wrong_line_of_a_schedule_is_named(tmp_path: Path) -> None:
    """The message says which file, which fault of it and what is wrong; the command ends with it."""
    path = tmp_path / "faults.json"
    path.write_text('[{"kind": "reset"}, {"kind": "rest"}]')
    with pytest.raises(SimulatorError, match=r"faults\.json, fault 2: There is no fault 'rest'"):
        read_schedule(path)
    command = [sys.executable, "-m", "athena.cli", "simulator", "--port", "0", "--faults", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=tmp_path, check=False)
    assert done.returncode == SimulatorError.exit_code
    assert "Did you mean 'reset'?" in done.stderr + done.stdout


def test_the_command_takes_a_schedule_and_writes_the_log(tmp_path: Path) -> None:
    """`athena simulator --faults FILE --fault-log FILE` does what the file says from its first request on."""
    schedule, log = tmp_path / "faults.toml", tmp_path / "faults.jsonl"
    schedule.write_text('[[faults]]\nkind = "status"\nstatus = 503\ncount = 1\n')
    command = [sys.executable, "-m", "athena.cli", "simulator", "--port", "0"]
    command += ["--faults", str(schedule), "--fault-log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline().split()
            venue = Venue(first[2].rstrip(","), first[4], "simulator-secret")
            assert [venue.get("/v2/clock").status_code for _ in range(2)] == [503, 200]
        finally:
            process.terminate()
    assert [line["what"] for line in lines(log)] == ["laid", "began", "acted", "used up"]


def test_the_admin_route_refuses_and_lists(venue: Venue) -> None:
    """A wrong fault is 422 with the reason and lays nothing, not even its neighbours; an unknown id is 404."""
    bad = venue.post("/simulator/faults", json={"faults": [{"kind": "reset"}, {"kind": "rest"}]})
    assert bad.status_code == 422
    assert "Did you mean 'reset'?" in bad.json()["message"]
    unlisted = venue.post("/simulator/faults", json={"kind": "symbol_halt", "symbol": "NOPE"})
    assert (unlisted.status_code, "NOPE" in unlisted.json()["message"]) == (422, True)
    assert venue.get("/simulator/faults").json() == {"faults": [], "log": []}
    fault = venue.lay("status", status=500)
    venue.lift(fault)
    assert venue.fault(fault)["state"] == "removed"
    assert venue.get("/v2/account").status_code == 200
    assert venue.delete("/simulator/faults/99").status_code == 404
