"""Faults of the venue itself: races, busts, halts, restrictions, a clock that is off, and somebody else's orders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from alpaca.trading.client import TradingClient

from athena.simulator.fault_model import Schedule
from athena.simulator.fault_reading import read_fault
from athena.simulator.synthetic import SyntheticTape
from tests.faults.conftest import Venue
from tests.simulator.conftest import eventually
from tests.simulator.test_server_streams import market, trading
from tests.support.simulator import SESSION_MORNING, RunningSimulator, running_simulator


@pytest.fixture
def own() -> Iterator[RunningSimulator]:
    """A venue with a market of its own, to be disturbed; time stands still until a test moves it."""
    with running_simulator(symbols=("KO", "XOM"), manual=True) as simulator:
        yield simulator


def cash_and_shares(venue: Venue) -> tuple[Decimal, Decimal]:
    held = venue.get("/v2/positions/KO")
    shares = Decimal(held.json()["qty"]) if held.ok else Decimal(0)
    return Decimal(venue.get("/v2/account").json()["cash"]), shares


@pytest.mark.parametrize(
    ("quantity", "ends", "last"),
    [(None, "canceled", "canceled"), ("3", "canceled", "canceled"), ("10", "filled", "fill")],
)
def test_a_cancel_that_races_a_fill(
    simulator: RunningSimulator, venue: Venue, quantity: str | None, ends: str, last: str
) -> None:
    """204, pending_cancel, then a fill arrives, then canceled with what was filled; or the fill takes it all."""
    order = venue.resting()
    venue.lay("cancel_race", symbol="KO", seconds=0.2, count=1, **({"quantity": quantity} if quantity else {}))
    with trading(simulator) as receive:
        assert venue.delete(f"/v2/orders/{order['id']}").status_code == 204
        assert receive()["event"] == "pending_cancel"
        assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "pending_cancel"
        assert venue.delete(f"/v2/orders/{order['id']}").status_code == 204  # asked again, it does not end sooner
        update = receive()
        assert update["event"] in ("partial_fill", "fill")
        while update["event"] != last:
            update = receive()
    filled = Decimal(quantity or 5)
    assert (update["order"]["status"], Decimal(update["order"]["filled_qty"])) == (ends, filled)
    assert cash_and_shares(venue) == (100_000 - filled * 20, filled)


def test_a_bust_takes_the_last_fill_back(simulator: RunningSimulator, venue: Venue) -> None:
    """Position and cash are as before the fill; the stream tells trade_bust of its execution, and so do activities."""
    before = cash_and_shares(venue)
    with trading(simulator) as receive:
        venue.order()
        receive()
        fill = receive()
        venue.lay("trade_bust", symbol="KO")
        bust = receive()
    assert cash_and_shares(venue) == before
    assert (bust["event"], bust["previous_execution_id"]) == ("trade_bust", fill["execution_id"])
    assert (bust["qty"], bust["price"], bust["position_qty"]) == (fill["qty"], fill["price"], "0")
    assert (bust["order"]["filled_qty"], bust["order"]["filled_avg_price"]) == ("0", None)
    newest, original = venue.get("/v2/account/activities/FILL").json()
    assert (newest["type"], newest["previous_id"]) == ("trade_bust", fill["execution_id"])
    assert original["id"].endswith(fill["execution_id"])


def test_a_correction_changes_price_and_cash(own: RunningSimulator, tmp_path: Path) -> None:
    """A corrected fill has its new price in order, cash and history; what is busted after it is the correction."""
    venue = Venue(own.url)
    order = venue.order().json()
    venue.lay("trade_correct", price="40.5")
    told = venue.get(f"/v2/orders/{order['id']}").json()
    assert (told["status"], told["filled_qty"], told["filled_avg_price"]) == ("filled", "10", "40.5")
    assert cash_and_shares(venue) == (Decimal("99595"), 10)
    own.set_time(SESSION_MORNING + timedelta(hours=1))
    equity = Decimal(venue.get("/v2/account").json()["equity"])
    history = venue.get("/v2/account/portfolio/history?period=1D&timeframe=5Min").json()
    assert abs(Decimal(str(history["equity"][-1])) - equity) < 30  # the last window ends a little before now
    venue.lay("trade_bust")
    assert cash_and_shares(venue) == (100_000, 0)
    newest, correction, _ = venue.get("/v2/account/activities/FILL").json()
    assert newest["previous_id"] == correction["id"].partition("::")[2]


def test_a_bust_waits_for_a_fill(venue: Venue) -> None:
    """An action with nothing to act on waits, and acts once when there is something."""
    fault = venue.lay("trade_bust", symbol="XOM")
    venue.order(symbol="KO")
    assert venue.fault(fault)["state"] == "active"
    venue.order(symbol="XOM")
    eventually(lambda: venue.fault(fault)["state"] == "done", "it never acted")
    assert [row["symbol"] for row in venue.get("/v2/positions").json()] == ["KO"]


def test_a_halted_symbol(own: RunningSimulator) -> None:
    """Quotes stand with size zero and a market order rests until the halt is over; the data stream says both."""
    venue = Venue(own.url)
    with market(own) as client:
        client.ask({"action": "subscribe", "statuses": ["*"]})
        venue.lay("symbol_halt", symbol="KO", clock="venue", lasts_seconds=300)
        order = venue.order().json()
        own.set_time(SESSION_MORNING + timedelta(minutes=2))
        assert client.receive()[0]["sc"] == "H"
        assert venue.get("/v2/stocks/KO/quotes/latest").json()["quote"]["as"] == 0
        assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "new"
        own.set_time(SESSION_MORNING + timedelta(minutes=6))
        assert client.receive()[0]["sc"] == "T"
        assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "filled"


def test_a_delisted_symbol(simulator: RunningSimulator, venue: Venue, client: TradingClient) -> None:
    """The asset becomes inactive, its open orders end rejected, new ones get 422; lifted, it is listed again."""
    order = venue.resting()
    with trading(simulator) as receive:
        fault = venue.lay("symbol_delist", symbol="KO")
        assert receive()["event"] == "rejected"
    assert venue.get(f"/v2/orders/{order['id']}").json()["status"] == "rejected"
    asset: Any = client.get_asset("KO")
    assert (asset.status.value, asset.tradable) == ("inactive", False)
    refused = venue.order()
    assert (refused.status_code, refused.json()["message"]) == (422, 'asset "KO" is not active')
    assert venue.order(symbol="XOM").status_code == 200
    venue.lift(fault)
    assert venue.order().status_code == 200


def test_buying_power_gone_and_trading_blocked(venue: Venue, client: TradingClient) -> None:
    """Without power an account can only close; blocked it can do nothing; each says so and ends with its fault."""
    venue.order()
    power = venue.lay("no_buying_power")
    assert Decimal(client.get_account().buying_power) == 0
    refused = venue.order()
    assert (refused.status_code, refused.json()["message"]) == (403, "insufficient buying power")
    assert venue.order(side="sell", qty="5").status_code == 200
    blocked = venue.lay("trading_blocked")
    assert client.get_account().trading_blocked is True
    assert venue.order(side="sell", qty="5").status_code == 403
    venue.lift(blocked)
    venue.lift(power)
    assert venue.order(side="sell", qty="5").status_code == 200
    assert Decimal(client.get_account().buying_power) > 0


def test_restrictions_concern_one_account(tape: SyntheticTape) -> None:
    """A fault that names an account leaves the others alone; an account there is not is refused."""
    with running_simulator(tape=tape, keys={"A": "a-secret", "B": "b-secret"}) as simulator:
        first, second = Venue(simulator.url, "A", "a-secret"), Venue(simulator.url, "B", "b-secret")
        first.lay("trading_blocked", account="A")
        assert (first.order().status_code, second.order().status_code) == (403, 200)
        assert first.post("/simulator/faults", json={"kind": "trading_blocked", "account": "C"}).status_code == 422


@pytest.mark.parametrize("seconds", [-90, 90])
def test_a_clock_that_is_off(own: RunningSimulator, seconds: int) -> None:
    """GET /v2/clock and the Date of every answer, refusals too, are off by as much."""
    venue = Venue(own.url)
    honest = parsedate_to_datetime(venue.get("/v2/account").headers["Date"])
    venue.lay("clock_skew", seconds=seconds)
    answer = venue.get("/v2/clock")
    told = datetime.fromisoformat(answer.json()["timestamp"])
    assert told - SESSION_MORNING == timedelta(seconds=seconds)
    assert answer.headers["X-Simulator-Speed"] == "1"
    for path in ("/v2/clock", "/v2/orders/nope"):
        date = parsedate_to_datetime(venue.get(path).headers["Date"])
        assert abs((date - honest).total_seconds() - seconds) < 5


def test_an_order_of_somebody_else(simulator: RunningSimulator, venue: Venue) -> None:
    """It comes with an id that is not ours, counts in the account, and our stream tells of it; so does a close."""
    with trading(simulator) as receive:
        venue.lay("external_order", symbol="KO", side="buy", quantity="7")
        new, fill = receive(), receive()
        assert (new["event"], fill["event"], fill["order"]["filled_qty"]) == ("new", "fill", "7")
        venue.lay("external_close", symbol="KO")
        assert [receive()["order"]["side"] for _ in range(2)] == ["sell", "sell"]
    assert fill["order"]["client_order_id"] in venue.log()[0]["done"]
    assert venue.get("/v2/positions").json() == []
    refused = venue.lay("external_order", symbol="KO", side="buy", quantity="1000000")
    assert venue.fault(refused)["last"] == "refused: 403 insufficient buying power"


def test_orders_fill_while_nobody_listens(own: RunningSimulator) -> None:
    """With no client connected a resting order fills as the market comes to it; REST tells of it afterwards."""
    venue = Venue(own.url)
    ask = own.tape.quote("KO", own.clock.now()).ask
    limit = str(ask - Decimal("0.05"))
    order = venue.order(type="limit", limit_price=limit, qty="1", time_in_force="gtc").json()
    hours = (SESSION_MORNING + timedelta(minutes=10 * step) for step in range(1, 30))
    for at in hours:
        own.set_time(at)
        if venue.get(f"/v2/orders/{order['id']}").json()["status"] == "filled":
            break
    [activity] = venue.get("/v2/account/activities/FILL").json()
    assert activity["order_id"] == order["id"]


def test_what_a_schedule_did_survives_the_venue(tape: SyntheticTape, tmp_path: Path) -> None:
    """A bust and a half-filled cancel are in the state file: the same cash, position and activities after a restart."""
    state = tmp_path / "state"
    schedule = Schedule((read_fault({"kind": "cancel_race", "seconds": 0.05, "quantity": 4}),))
    with running_simulator(tape=tape, state_path=state, schedule=schedule) as simulator:
        venue = Venue(simulator.url)
        venue.order(symbol="XOM")
        venue.lay("trade_bust", symbol="XOM")
        order = venue.resting()
        venue.delete(f"/v2/orders/{order['id']}")
        eventually(lambda: venue.get(f"/v2/orders/{order['id']}").json()["status"] == "canceled", "not canceled")
        before = cash_and_shares(venue), venue.get("/v2/account/activities").json()
    assert before[0] == (99_920, 4)
    with running_simulator(tape=tape, state_path=state) as simulator:
        venue = Venue(simulator.url)
        assert (cash_and_shares(venue), venue.get("/v2/account/activities").json()) == before
        assert [row["symbol"] for row in venue.get("/v2/positions").json()] == ["KO"]
