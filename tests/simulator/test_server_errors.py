"""What the server says when something is wrong: Alpaca's codes, JSON bodies, never a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from athena.errors import SimulatorError
from athena.simulator.clock import VenueClock
from athena.simulator.rate_limit import RateLimit
from athena.simulator.server import ServerOptions, SimulatorServer
from athena.simulator.synthetic import SyntheticTape
from tests.simulator.conftest import Rest
from tests.support.simulator import KEY, SESSION_MORNING, RunningSimulator, running_simulator


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/nothing", 404, 40410000),
        ("GET", "/favicon.ico", 404, 40410000),
        ("PUT", "/v2/account", 405, 40510000),
        ("GET", "/v2/orders/61e69015-8549-4bfd-b9c3-01e75843f47d", 404, 40410000),
        ("GET", "/v2/orders/not-a-uuid", 404, 40410000),
        ("DELETE", "/v2/orders/61e69015-8549-4bfd-b9c3-01e75843f47d", 404, 40410000),
        ("GET", "/v2/orders:by_client_order_id?client_order_id=none", 404, 40410000),
        ("GET", "/v2/orders:by_client_order_id", 422, 40010001),
        ("GET", "/v2/positions/KO", 404, 40410000),
        ("DELETE", "/v2/positions/KO", 404, 40410000),
        ("DELETE", "/v2/positions/KO?qty=x", 422, 40010001),
        ("DELETE", "/v2/positions/KO?qty=1&percentage=5", 422, 40010001),
        ("DELETE", "/v2/positions?cancel_orders=maybe", 422, 40010001),
        ("GET", "/v2/assets/NOPE", 404, 40410000),
        ("GET", "/v2/orders?limit=501", 422, 40010001),
        ("GET", "/v2/orders?limit=9999999999999999999999", 422, 40010001),
        ("GET", "/v2/orders?limit=²", 422, 40010001),
        ("GET", "/v2/orders?status=half", 422, 40010001),
        ("GET", "/v2/orders?after=yesterday", 422, 40010001),
        ("GET", "/v2/orders?side=hold", 422, 40010001),
        ("GET", "/v2/calendar?start=2020-13-01", 422, 40010001),
        ("GET", "/v2/calendar?start=2020-03-02&end=2020-03-01", 422, 40010001),
        ("GET", "/v2/account/activities?page_size=0", 422, 40010001),
        ("GET", "/v2/account/activities?category=all", 422, 40010001),
        ("GET", "/v2/account/portfolio/history?pnl_reset=x", 422, 40010001),
        ("GET", "/v2/stocks/bars?symbols=KO&timeframe=99Min", 400, None),
        ("GET", "/v2/stocks/bars?timeframe=1Min", 400, None),
        ("GET", "/v2/stocks/bars?symbols=KO&timeframe=1Min&limit=0", 400, None),
        ("GET", "/v2/stocks/bars?symbols=KO&timeframe=1Min&page_token=%25", 400, None),
        ("GET", "/v2/stocks/bars?symbols=KO&timeframe=1Min&page_token=S098MHww", 400, None),
        ("GET", "/v2/stocks/quotes?symbols=KO&start=2020-03-09T15:00:00Z&end=2020-03-09T14:00:00Z", 400, None),
        ("GET", "/v2/stocks/NOPE/quotes/latest", 400, None),
        ("GET", "/v2/iex", 400, 40010000),
    ],
)
def test_wrong_requests(rest: Rest, method: str, path: str, status: int, code: int | None) -> None:
    """Each wrong request gets its status and a JSON body with Alpaca's code (the data API gives none)."""
    response = rest.request(method, path)
    assert (response.status_code, response.json().get("code")) == (status, code), response.text


@pytest.mark.parametrize(
    "path",
    [
        "/v2/stocks/bars?symbols=KO,NOPE&timeframe=1Day&start=0001-01-01&end=9999-12-31",
        "/v2/stocks/bars?symbols=KO&timeframe=1Min&start=1900-01-01&sort=desc&limit=1",
        "/v2/stocks/trades?symbols=KO&start=2019-11-01&end=2019-11-02",
        "/v2/stocks/quotes?symbols=KO&start=2020-03-09T09:45:00-04:00&limit=5",
        "/v2/stocks/bars?symbols=KO&timeframe=23Hour&start=2999-01-01&end=9999-12-31T23:59:59.999999999Z",
        "/v2/account/portfolio/history?period=1D&end=2020-03-10",
        "/v2/account/activities?after=0001-01-01&until=9999-12-31",
        "/v2/calendar?start=2029-12-20&end=9999-12-31",
    ],
)
def test_times_beyond_the_market_are_no_error(rest: Rest, path: str) -> None:
    """An interval that reaches before the tape or past the clock gives what lies inside, perhaps nothing."""
    assert rest.get(path).status_code == 200


@pytest.mark.parametrize("changes", [{"self": 1}, {"unknown": True}, {"suspend_trade": None}])
def test_unknown_settings_change_nothing(rest: Rest, changes: dict[str, Any]) -> None:
    """Configurations that do not exist, or are null, are passed over."""
    before = rest.get("/v2/account/configurations").json()
    assert rest.patch("/v2/account/configurations", json=changes).json() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"qty": NaN}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": "ten"}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": 1e999}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": [1]}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": "NaN"}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": "-1"}', 422),
        (b'{"symbol": 7, "side": "buy", "type": "market", "time_in_force": "day", "qty": 1}', 422),
        (b'{"symbol": "KO", "side": ["buy"], "type": "market", "time_in_force": "day", "qty": 1}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "pegged", "time_in_force": "day", "qty": 1}', 422),
        (b'{"symbol": "KO", "side": "buy", "type": "market", "qty": 1}', 422),
        (b'{"symbol": "NOPE", "side": "buy", "type": "market", "time_in_force": "day", "qty": 1}', 422),
        (
            b'{"symbol": "KO", "side": "buy", "type": "market", "time_in_force": "day", "qty": 1, "extended_hours": 3}',
            422,
        ),
        (b"x" * (2 << 20), 413),
    ],
)
def test_malformed_orders(rest: Rest, body: bytes, status: int) -> None:
    """A body that is no order is refused by name of what is wrong, and no order comes of it."""
    response = rest.post("/v2/orders", data=body)
    assert response.status_code == status, response.text
    assert rest.get("/v2/orders", params={"status": "all"}).json() == []


@pytest.mark.parametrize(
    ("fields", "status", "code", "said"),
    [
        ({"qty": "100000"}, 403, 40310000, "insufficient buying power"),
        ({"type": "limit"}, 422, 40010001, "limit"),
        ({"type": "limit", "limit_price": "20.123"}, 422, None, "sub-penny"),
        ({"symbol": "ZZDEL"}, 422, 42210000, ""),
        ({"symbol": "ZZHTB", "side": "sell"}, 422, 42210000, ""),
        ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id"),
        ({"order_class": "bracket"}, 422, None, ""),
    ],
)
def test_refused_orders(simulator: RunningSimulator, fields: dict[str, Any], status: int, code: int, said: str) -> None:
    """An order the venue's rules refuse gets the status, the code and the words of Alpaca."""
    response = Rest(simulator.url).order(**fields)
    assert response.status_code == status, response.text
    assert code is None or response.json()["code"] == code
    assert said in response.json()["message"]


def test_duplicate_client_order_id(rest: Rest) -> None:
    """A second order of the same client order id is refused with 422 and the validation code."""
    rest.order(client_order_id="once")
    again = rest.order(client_order_id="once")
    assert (again.status_code, again.json()["code"]) == (422, 40010001)
    assert again.json()["message"] == "client_order_id must be unique"


@pytest.mark.parametrize("path", ["/v2/account", "/v2/nothing", "/simulator/state"])
def test_wrong_key_on_the_trading_api(simulator: RunningSimulator, path: str) -> None:
    """No route answers anything but 401 to a wrong key, a missing one, or nonsense."""
    assert Rest(simulator.url, KEY, "wrong").get(path).json()["code"] == 40110000
    bare = Rest(simulator.url)
    bare.headers.clear()
    assert bare.get(path).status_code == 401
    for nonsense in ("Basic !!!", "Basic eA==", "Bearer", "Digest x"):
        assert bare.get(path, headers={"Authorization": nonsense}).status_code == 401


def test_wrong_key_on_the_data_api_has_no_code(simulator: RunningSimulator) -> None:
    """The data API refuses with a body that has a message only."""
    response = Rest(simulator.url, KEY, "wrong").get("/v2/stocks/snapshots")
    assert (response.status_code, response.json()) == (401, {"message": "unauthorized."})


def test_rate_limit(tape: SyntheticTape) -> None:
    """Beyond its requests a minute an account gets 429 with headers; data requests and other accounts count apart."""
    keys = {"A": "a-secret", "B": "b-secret"}
    with running_simulator(tape=tape, keys=keys, requests_per_minute=3, data_requests_per_minute=2) as simulator:
        first, second = Rest(simulator.url, "A", "a-secret"), Rest(simulator.url, "B", "b-secret")
        remaining = [first.get("/v2/account").headers["X-RateLimit-Remaining"] for _ in range(3)]
        assert remaining == ["2", "1", "0"]
        refused = first.get("/v2/account")
        assert (refused.status_code, refused.json()["code"]) == (429, 42910000)
        assert refused.headers["X-RateLimit-Limit"] == "3"
        assert int(refused.headers["X-RateLimit-Reset"]) > 1_600_000_000
        assert second.get("/v2/account").status_code == 200
        data = [first.get("/v2/stocks/KO/quotes/latest").status_code for _ in range(3)]
        assert data == [200, 200, 429]
        assert first.get("/simulator/state").status_code == 200


def test_rate_limit_window_reopens() -> None:
    """After its minute a key may ask again; what was refused in between did not prolong the wait."""
    now = [1000.0]
    limit = RateLimit(2, epoch=lambda: now[0])
    assert [limit.take("k").allowed for _ in range(3)] == [True, True, False]
    now[0] = 1059.9
    assert not limit.take("k").allowed
    now[0] = 1060.0
    assert limit.take("k").allowed


def test_a_port_in_use_is_named(tape: SyntheticTape) -> None:
    """Starting on a taken port raises SimulatorError that names the port and the next step."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = SimulatorServer(tape, VenueClock(SESSION_MORNING), ServerOptions(port=port))
        with pytest.raises(SimulatorError, match=f"Port {port} .* in use") as caught:
            asyncio.run(server.start())
    assert "--port" in caught.value.hint


def test_only_loopback_is_served(tape: SyntheticTape) -> None:
    """A host that others could reach is refused."""
    with pytest.raises(SimulatorError, match="loopback"):
        SimulatorServer(tape, VenueClock(SESSION_MORNING), ServerOptions(host="0.0.0.0"))


def test_an_order_log_that_cannot_be_written_is_named(tape: SyntheticTape, tmp_path: Path) -> None:
    """An order log in a directory that does not exist stops the start with the path and the reason."""
    with pytest.raises(SimulatorError, match=r"none/orders\.jsonl cannot be written"):
        SimulatorServer(tape, VenueClock(SESSION_MORNING), ServerOptions(order_log=tmp_path / "none" / "orders.jsonl"))


SERVE = """
    import asyncio, sys
    from datetime import datetime, UTC
    from athena.simulator.server import serve, ServerOptions
    from athena.simulator.synthetic import SyntheticTape
    start = datetime.fromisoformat(sys.argv[1])
    asyncio.run(serve(SyntheticTape(7, ("KO",)), start=start, speed=float(sys.argv[2]), options=ServerOptions(),
                      announce=lambda server: print(server.url, flush=True)))
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_on_a_signal(number: signal.Signals) -> None:
    """`serve` announces its port, answers, and on SIGTERM or SIGINT ends with 0 and nothing on stderr."""
    command = [sys.executable, "-c", textwrap.dedent(SERVE), "2020-03-09T14:00:00+00:00", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert Rest(url).get("/v2/clock").json()["is_open"] is True
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_serve_ends_with_a_clear_message_when_the_market_does() -> None:
    """Past the tape's last day `serve` raises SimulatorError instead of trading on stale prices."""
    command = [sys.executable, "-c", textwrap.dedent(SERVE), "2020-06-30T19:59:00+00:00", "86400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "SimulatorError" in done.stderr.splitlines()[-1]
