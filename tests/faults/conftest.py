"""A simulator, a plain client that lays faults by the admin route, and alpaca-py without its own retries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.trading.client import TradingClient

from tests.simulator.conftest import simulator, tape  # noqa: F401  (fixtures)
from tests.support.simulator import KEY, SECRET, RunningSimulator


class Venue(requests.Session):
    """A plain client; `lay` lays a fault and `log` reads what faults did."""

    def __init__(self, origin: str, key: str = KEY, secret: str = SECRET) -> None:
        super().__init__()
        self.trust_env = False
        self.origin = origin
        self.headers.update({"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret})

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(method, self.origin + url, *args, **{"timeout": 10, **kwargs})

    def order(self, **fields: Any) -> requests.Response:
        """A market day order for 10 KO, unless said otherwise."""
        body = {"symbol": "KO", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day", **fields}
        return self.post("/v2/orders", json=body)

    def resting(self, **fields: Any) -> Any:
        """An order far below the market, as it stands."""
        return self.order(type="limit", limit_price="20", **fields).json()

    def lay(self, kind: str, **fields: Any) -> str:
        """Lays a fault; its id."""
        answer = self.post("/simulator/faults", json={"kind": kind, **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["faults"][0]["id"])

    def lift(self, fault_id: str = "") -> None:
        self.delete(f"/simulator/faults/{fault_id}" if fault_id else "/simulator/faults").raise_for_status()

    def fault(self, fault_id: str) -> Any:
        rows = self.get("/simulator/faults").json()["faults"]
        return next(row for row in rows if row["id"] == fault_id)

    def log(self, what: str = "acted") -> list[Any]:
        return [line for line in self.get("/simulator/faults").json()["log"] if line["what"] == what]


@pytest.fixture
def venue(simulator: RunningSimulator) -> Venue:  # noqa: F811
    return Venue(simulator.url)


@pytest.fixture
def client(simulator: RunningSimulator) -> TradingClient:  # noqa: F811
    return alpaca(simulator.url)


def alpaca(url: str) -> TradingClient:
    """alpaca-py's client with its URL and its retries changed, nothing else."""
    made = TradingClient(KEY, SECRET, url_override=url)
    made._session.trust_env = False
    made._retry = 0
    return made


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]
