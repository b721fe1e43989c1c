"""Every route of the simulator against Alpaca's published description (not shipped: skipped where it is not found)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from athena.simulator.server import SimulatorServer
from tests.simulator import spec
from tests.simulator.conftest import Rest
from tests.support.simulator import RunningSimulator

pytestmark = pytest.mark.skipif(spec.spec_directory() is None, reason=spec.ABSENT)

# Served, and by their nature not in the description.
ADMIN = ("deposit", "shocks", "state", "faults", "faults/{id}")
OWN = {"/stream", "/v2/{feed}", *(f"/simulator/{name}" for name in ADMIN)}


@pytest.fixture
def description() -> spec.Spec:
    """A judge of this test's own, that has judged nothing yet."""
    directory = spec.spec_directory()
    assert directory is not None
    return spec.Spec(directory)


def served(server: SimulatorServer) -> set[tuple[str, str]]:
    """Every (method, path) of the server's REST routes, its variables written {}."""
    found = set()
    for route in server.application.router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method != "HEAD" and path not in OWN:
            kinds = ("bars", "quotes", "trades") if "{kind}" in path else ("",)
            found |= {(route.method.lower(), _shape(path.replace("{kind}", kind))) for kind in kinds}
    return found


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "{}", path)


def test_every_route_is_described_and_fits(simulator: RunningSimulator, description: spec.Spec) -> None:
    """Each REST route the simulator serves is one of Alpaca's, and its successful answer fits Alpaca's description."""
    rest = Rest(simulator.url)

    def ask(method: str, path: str, **options: Any) -> Any:
        response = rest.request(method, path, **options)
        body = response.json() if response.content else None
        assert response.status_code < 300, response.text
        described = description.check(method, path.partition("?")[0], response.status_code, body)
        assert described, f"Alpaca does not describe {method} {path}"
        return body

    order = {"symbol": "KO", "qty": "2", "side": "buy", "type": "limit", "time_in_force": "gtc", "limit_price": "20"}
    resting = ask("POST", "/v2/orders", json={**order, "client_order_id": "spec"})
    ask("GET", "/v2/orders:by_client_order_id?client_order_id=spec")
    resting = ask("PATCH", f"/v2/orders/{resting['id']}", json={"qty": "3"})
    ask("GET", f"/v2/orders/{resting['id']}")
    ask("DELETE", f"/v2/orders/{resting['id']}")
    ask("POST", "/v2/orders", json=order)
    ask("DELETE", "/v2/orders")
    trailing = {"symbol": "AAPL", "qty": "1", "type": "trailing_stop", "trail_percent": "1"}
    ask("POST", "/v2/orders", json={**trailing, "side": "buy", "time_in_force": "day"})
    for symbol in ("KO", "XOM"):
        ask("POST", "/v2/orders", json={**order, "symbol": symbol, "type": "market", "limit_price": None})
    ask("GET", "/v2/orders?status=all")
    ask("GET", "/v2/positions")
    ask("GET", "/v2/positions/KO")
    ask("DELETE", "/v2/positions/KO")
    ask("DELETE", "/v2/positions?cancel_orders=true")
    for path in ("", "/configurations", "/activities", "/activities/FILL", "/portfolio/history?period=1D"):
        ask("GET", f"/v2/account{path}")
    ask("PATCH", "/v2/account/configurations", json={"no_shorting": True})
    for path in ("/assets", "/assets/KO", "/clock", "/calendar?start=2020-03-01&end=2020-03-31"):
        ask("GET", f"/v2{path}")
    for kind in ("bars", "quotes", "trades"):
        ask("GET", f"/v2/stocks/{kind}?symbols=KO,XOM&timeframe=1Min&limit=20")
        ask("GET", f"/v2/stocks/{kind}/latest?symbols=KO,XOM")
        ask("GET", f"/v2/stocks/KO/{kind}?timeframe=1Day&limit=20")
        ask("GET", f"/v2/stocks/KO/{kind}/latest")
    ask("GET", "/v2/stocks/snapshots?symbols=KO,XOM")
    ask("GET", "/v2/stocks/KO/snapshot")

    judged = {(method, _shape(template)) for method, template, _ in description.checked}
    assert served(simulator.server) == judged


@pytest.mark.parametrize(
    ("path", "spoil"),
    [
        ("/v2/account", lambda body: body.update(id="not-a-uuid")),
        ("/v2/account", lambda body: body.update(cash=100000.0)),
        ("/v2/clock", lambda body: body.update(timestamp="2020-03-09T10:00:00")),
        ("/v2/assets/KO", lambda body: body.pop("tradable")),
        ("/v2/stocks/KO/quotes/latest", lambda body: body["quote"].update(bp="47.1")),
    ],
)
def test_the_judge_judges(rest: Rest, description: spec.Spec, path: str, spoil: Any) -> None:
    """An answer that is right passes, and the same answer with one field spoilt does not."""
    body = rest.get(path).json()
    assert description.check("GET", path, 200, body)
    spoil(body)
    with pytest.raises(AssertionError, match=path):
        description.check("GET", path, 200, body)
