"""The engine as an operator meets it: real processes, killed at random, doubled, misdirected, and asked for things."""

import random
import time
from decimal import Decimal

import pytest
import requests

from athena.cli import main
from athena.errors import ResumeRefused
from athena.live.commands import request_sync
from athena.model import Scope
from tests.engine.processes import desk, wait_for

KILLS = 10
KEY = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}


@pytest.fixture
def live(tmp_path):
    with desk(tmp_path) as made:
        yield made


def resume(live):
    """As an operator would: once the engine has reconciled, and again if something moved meanwhile."""

    def resumed():
        try:
            return live.guard().resume(reason="test")
        except ResumeRefused:
            return None

    wait_for(resumed, "the checklist for resuming")


def venue_orders(live):
    found = requests.get(f"{live.url}/v2/orders", {"status": "all", "limit": 500}, headers=KEY, timeout=5).json()
    return {order["client_order_id"]: order for order in found}


def venue_positions(live):
    found = requests.get(f"{live.url}/v2/positions", headers=KEY, timeout=5).json()
    return {position["symbol"]: Decimal(position["qty"]) for position in found}


def test_killed_at_random_no_order_is_sent_twice_none_is_forgotten_and_positions_agree(live):
    """Ten SIGKILLs in mid-session: every start is halted until resumed, and the books end equal to the venue's."""
    chance = random.Random(20200309)
    for _ in range(KILLS):
        engine = live.start_ready()
        assert not live.guard().is_active
        sent = len(live.posts())
        time.sleep(0.3)  # a halted engine has strategies that want to trade; it sends nothing
        assert len(live.posts()) == sent
        resume(live)
        wait_for(lambda seen=sent: len(live.posts()) > seen, "an order")
        time.sleep(chance.uniform(0.0, 0.6))
        live.kill(engine)
    live.start_ready()
    with live.journal() as journal:
        wait_for(lambda: request_sync(journal, "reconcile", timeout=20).ok, "books that agree")
        ids = [row["client_order_id"] for row in live.posts()]
        assert len(ids) == len(set(ids))
        assert len(ids) > 3 * KILLS
        theirs = venue_orders(live)
        sql = "SELECT client_order_id, status, filled_quantity FROM orders WHERE broker_order_id IS NOT NULL"
        ours = {row["client_order_id"]: row for row in journal.query(sql)}
        assert set(ours) == set(theirs)
        for name, order in theirs.items():
            assert Decimal(ours[name]["filled_quantity"]) == Decimal(order["filled_qty"])
            assert ours[name]["status"] == order["status"]
        held = {}
        for row in journal.query("SELECT symbol, side, quantity FROM fills"):
            sign = 1 if row["side"] == "buy" else -1
            held[row["symbol"]] = held.get(row["symbol"], Decimal(0)) + sign * Decimal(row["quantity"])
        assert {symbol: quantity for symbol, quantity in held.items() if quantity} == venue_positions(live)
        open_here = journal.query("SELECT * FROM orders WHERE status IN ('intended', 'unknown')")
        assert not open_here
        assert journal.verify().ok


@pytest.mark.timeout(120)
def test_an_operator_asks_and_the_engine_answers_acts_and_stops(live, capsys):
    """Commands come back with their results, exits pass while halted, and SIGTERM ends in seconds with exit code 0."""
    engine = live.start_ready()
    resume(live)
    with live.journal() as journal:
        assert request_sync(journal, "ping").ok
        wait_for(lambda: venue_positions(live), "a position")
        live.guard().halt("test")
        sent = len(live.posts())
        wait_for(lambda: request_sync(journal, "reconcile").ok, "books that agree")
        symbol = next(iter(venue_positions(live)))
        closed = request_sync(journal, "close_position", {"symbol": symbol.lower()})
        assert closed.ok, closed.message
        assert symbol not in venue_positions(live)
        flat = request_sync(journal, "flatten")
        assert flat.ok, flat.message
        assert venue_positions(live) == {}
        exits = live.posts()[sent:]
        assert all(row["client_order_id"].startswith("athena-operator-") for row in exits)
        phone = {"symbol": "JPM", "qty": "5", "side": "buy", "type": "limit", "limit_price": "1"}
        phone |= {"time_in_force": "day", "client_order_id": "phone"}
        for order in (phone, phone | {"symbol": "XOM", "client_order_id": "tablet"}):
            requests.post(f"{live.url}/v2/orders", headers=KEY, timeout=5, json=order)
        named = "SELECT 1 FROM orders WHERE client_order_id = 'phone'"
        wait_for(lambda: journal.one(named), "the phone's order")
        at_home = ["--home", str(live.home)]
        assert main(["cancel-orders", "XOM", *at_home]) == 0
        assert capsys.readouterr().out.splitlines() == ["1 order(s) in XOM cancelled", "  cancelled: tablet"]
        assert {name: venue_orders(live)[name]["status"] for name in ("phone", "tablet")} == {
            "phone": "new", "tablet": "canceled",
        }  # fmt: skip
        assert main(["cancel-orders", "XOM", *at_home]) == 10
        assert capsys.readouterr().out == "no order is open in XOM; orders are open in JPM\n"
        assert main(["cancel-orders", "JMP", *at_home]) == 1
        assert "the venue knows no JMP; nothing was cancelled; orders are open in JPM" in capsys.readouterr().err
        assert journal.one("SELECT strategy FROM orders WHERE client_order_id = 'phone'")["strategy"] == "external"
        assert main(["cancel-orders", *at_home]) == 0
        assert venue_orders(live)["phone"]["status"] == "canceled"
        begun = time.monotonic()
        engine.terminate()
        assert engine.wait(10) == 0
        assert time.monotonic() - begun < 10  # half a second when the machine has nothing else to do
        last = list(journal.events())[-1]
        assert last.kind == "engine.stopped"


@pytest.mark.timeout(60)
def test_a_second_engine_and_another_account_are_refused_in_one_line(live):
    """Two engines, or one with the key of another account, cannot happen by mistake."""
    first = live.start_ready()
    second = live.start()
    out, err = second.communicate(timeout=20)
    assert second.returncode == 2, out
    assert f"an engine already runs for {live.settings.folder} (pid {first.pid})" in err
    live.kill(first)
    other = live.start(ATHENA_KEY_ID="OTHER", ATHENA_SECRET_KEY="other-secret")
    out, err = other.communicate(timeout=20)
    assert other.returncode == 2, out
    assert "belongs to simulator account" in err
    assert "Traceback" not in err
    wrong = live.start(ATHENA_KEY_ID="NOBODY", ATHENA_SECRET_KEY="x")
    out, err = wrong.communicate(timeout=20)
    assert wrong.returncode == 5, out + err
    dead = live.start(ATHENA_SIMULATOR_URL="http://127.0.0.1:9")
    out, err = dead.communicate(timeout=20)
    assert dead.returncode == 5, out + err
    assert "Traceback" not in err


@pytest.mark.timeout(90)
def test_a_venue_that_goes_away_halts_by_itself_and_back_again_lifts_only_that(live):
    """Noticed, halted at the limit, reconnected, reconciled and lifted without an operator; his own halt stays."""
    live.start_ready()
    resume(live)
    wait_for(lambda: venue_positions(live), "a position")
    live.guard().halt("mine", scope=Scope.SYMBOL, target="XOM")

    def origins():
        return sorted(halt.origin.value for halt in live.guard().halts())

    live.stop_simulator()
    wait_for(lambda: "connectivity" in origins(), "the halt", 20)
    sent = len(live.posts())
    live.start_simulator(int(live.url.rsplit(":", 1)[1]))
    wait_for(lambda: origins() == ["operator"], "the lifting", 45)
    wait_for(lambda: len(live.posts()) > sent, "trading to go on", 20)
    with live.journal() as journal:
        assert wait_for(lambda: request_sync(journal, "reconcile", timeout=20).ok, "books that agree")


def test_a_graceful_stop_leaves_no_halt_but_the_starts_own(live):
    """Stopped in the middle of a stream of quotes, the engine ends with 0 and blames nobody."""
    for _ in range(3):
        engine = live.start_ready()
        engine.terminate()
        assert engine.wait(20) == 0
    with live.journal() as journal:
        owners = [row["reason"] for row in journal.query("SELECT reason FROM halts WHERE origin != 'startup'")]
    assert owners == []
