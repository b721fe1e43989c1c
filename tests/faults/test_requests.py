"""Faults of single REST requests, as alpaca-py and a plain client meet them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from athena.simulator.fault_model import Fault, Kind, Schedule
from athena.simulator.synthetic import SyntheticTape
from tests.faults.conftest import Venue, lines
from tests.simulator.conftest import eventually
from tests.support.simulator import running_simulator

ORDERS = {"method": "POST", "path": "/v2/orders"}


def submit(client: TradingClient, client_order_id: str) -> object:
    order = MarketOrderRequest(
        symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id=client_order_id
    )
    return client.submit_order(order)


def taken(venue: Venue, client_order_id: str) -> bool:
    answer = venue.get("/v2/orders:by_client_order_id", params={"client_order_id": client_order_id})
    assert answer.status_code in (200, 404)
    return answer.status_code == 200


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "fields", "raised"),
    [
        ("reset", {}, requests.ConnectionError),
        ("hang", {"seconds": 0.2}, requests.ConnectionError),
        ("status", {"status": 500}, APIError),
        ("status", {"status": 504}, APIError),
        ("status", {"status": 429}, APIError),
        ("html", {"status": 502}, APIError),
        ("html", {}, requests.exceptions.JSONDecodeError),
    ],
)
def test_an_order_whose_answer_is_lost_was_taken_or_not_as_the_fault_says(
    venue: Venue, client: TradingClient, kind: str, fields: dict[str, float], raised: type[Exception], moment: str
) -> None:
    """alpaca-py raises the same whether the venue took the order before the harm or never saw it; the venue knows."""
    venue.lay(kind, moment=moment, count=1, **ORDERS, **fields)
    with pytest.raises(raised) as caught:
        submit(client, "lost")
    if isinstance(caught.value, APIError):
        assert caught.value.status_code == fields["status"]
    assert taken(venue, "lost") is (moment == "after")
    [line] = venue.log()
    told = (line["kind"], line["moment"], line["path"], line["client_order_id"])
    assert told == (kind, moment, "/v2/orders", "lost")
    submit(client, "next")
    assert taken(venue, "next")


def test_a_rate_limit_answer_carries_its_headers(venue: Venue) -> None:
    """429 says when the window ends and that nothing is left of it, in Alpaca's body."""
    venue.lay("status", status=429, count=1)
    answer = venue.get("/v2/account")
    assert (answer.status_code, answer.json()["code"]) == (429, 42910000)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) > time.time()
    assert venue.get("/v2/account").status_code == 200


def test_latency_is_the_time_said(venue: Venue) -> None:
    """An answer comes as late as the fault says, and only those its filters name."""
    venue.lay("latency", seconds=0.4, path="/v2/positions*")
    begun = time.monotonic()
    assert venue.get("/v2/account").ok
    assert time.monotonic() - begun < 0.3
    assert venue.get("/v2/positions").ok
    assert time.monotonic() - begun >= 0.4


def test_a_hang_lasts_until_the_client_gives_up(venue: Venue) -> None:
    """Without an end of its own a hang never answers; the order it took stands all the same."""
    venue.lay("hang", moment="after", count=1, **ORDERS)
    body = {"symbol": "KO", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    with pytest.raises(requests.ReadTimeout):
        venue.post("/v2/orders", json={**body, "client_order_id": "late"}, timeout=0.3)
    assert taken(venue, "late")


def test_filters_by_symbol_skip_and_count(venue: Venue) -> None:
    """A fault on XOM passes KO, lets the first XOM order through, hits two, and is used up."""
    fault = venue.lay("status", status=503, symbol="xom", skip=1, count=2, **ORDERS)
    assert venue.order(symbol="KO").status_code == 200
    assert [venue.order(symbol="XOM").status_code for _ in range(4)] == [200, 503, 503, 200]
    row = venue.fault(fault)
    assert (row["state"], row["matched"], row["acted"]) == ("done", 3, 2)


def test_cancels_are_found_by_their_orders_symbol(venue: Venue) -> None:
    """DELETE /v2/orders/{id} matches the symbol of the order it names."""
    order = venue.resting(symbol="XOM")
    venue.lay("reset", method="DELETE", symbol="XOM", moment="after")
    with pytest.raises(requests.ConnectionError):
        venue.delete(f"/v2/orders/{order['id']}")
    assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "canceled"


def test_a_refusal_can_get_lost_too(venue: Venue) -> None:
    """Harm after the venue refused hides the refusal; the log keeps it."""
    venue.lay("status", status=500, moment="after", count=1)
    assert venue.order(symbol="NOPE").status_code == 500
    [line] = venue.log()
    assert line["decided"].startswith("422 ")


def run(tape: SyntheticTape, folder: Path, seed: int) -> tuple[list[int], list[object]]:
    schedule = Schedule((Fault(Kind.STATUS, status=500, probability=0.5, moment="after"),), seed)
    log, orders = folder / f"faults-{seed}.jsonl", folder / "orders.jsonl"
    log.unlink(missing_ok=True)
    orders.unlink(missing_ok=True)
    with running_simulator(tape=tape, manual=True, schedule=schedule, fault_log=log, order_log=orders) as simulator:
        venue = Venue(simulator.url)
        statuses = [venue.order(qty="1", client_order_id=str(number)).status_code for number in range(20)]
    assert all(line["outcome"] == "200" for line in lines(orders))  # what the venue decided, not what was answered
    assert sum(line.get("fault") == "status after" for line in lines(orders)) == statuses.count(500)
    return statuses, [{name: row[name] for name in row if name != "unix_ns"} for row in lines(log)]


def test_the_same_seed_and_requests_give_the_same_faults(tape: SyntheticTape, tmp_path: Path) -> None:
    """Two runs agree in every answer and every line of the fault log; another seed gives others."""
    first, again, other = (run(tape, tmp_path, seed) for seed in (1, 1, 2))
    assert first == again
    assert first[0] != other[0]
    assert 0 < first[0].count(500) < 20


def test_faults_begin_and_end_on_the_machines_clock(venue: Venue) -> None:
    """A fault laid for later lets requests pass, then hits them, then is over by itself."""
    fault = venue.lay("status", status=503, path="/v2/account", after_seconds=0.2, lasts_seconds=0.3)
    assert venue.get("/v2/account").status_code == 200
    eventually(lambda: venue.get("/v2/account").status_code == 503, "it never began")
    eventually(lambda: venue.get("/v2/account").status_code == 200, "it never ended")
    assert venue.fault(fault)["state"] == "done"
    assert [line["what"] for line in venue.get("/simulator/faults").json()["log"] if line["what"] != "acted"] == [
        "laid",
        "began",
        "over",
    ]
