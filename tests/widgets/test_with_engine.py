"""The control room over a real engine and a real simulator, each in its own process."""

import signal
import time

import pytest

from athena.widgets.header import header
from athena.widgets.room import ControlRoom
from tests.engine.processes import desk as started_desk
from tests.engine.processes import resume as resume_when_ready
from tests.engine.processes import wait_for

RESTING = {"symbol": "XOM", "side": "buy", "limit_price": "10"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with started_desk(tmp_path_factory.mktemp("desk")) as made:
        made.engine = made.start_ready()
        yield made


@pytest.fixture
def room(desk):
    made = ControlRoom(desk.settings, desk.settings.journal_path, seconds=0.1)
    made.widget()
    made.source.start()
    yield made
    made.stop()


def ended(view, word="DONE"):
    wait_for(lambda: view.told.state in ("DONE", "FAILED"), "an end")
    assert view.told.state == word, view.told.widget.html
    return view.told.widget.html


def is_resting(row):
    return (row["cells"][1]["t"], row["cells"][5]["t"]) == (RESTING["symbol"], RESTING["limit_price"])


def ask(desk, name, **arguments):
    from athena.live.commands import request_sync

    with desk.journal() as journal:
        return request_sync(journal, name, arguments)


def test_a_morning_of_clicks(desk, room):
    """Resumed by the checklist, a position closed on its phrase by a double click once, an order cancelled."""
    resume = room.open("Resume")
    wait_for(lambda: resume.plan and not resume.go.disabled, "the halt of the start")
    resume.reason.value, resume.typed.value = "reconciled, market open", resume.plan.phrase
    resume.go.click()
    ended(resume)
    wait_for(lambda: ask(desk, "test_order", symbol="AAPL", side="buy").ok, "no sell of the strategy's in the way")
    wait_for(lambda: ask(desk, "test_order", **RESTING).ok, "no cover of the strategy's in the way")
    orders = room.open("Positions & orders")
    resting = wait_for(lambda: next(filter(is_resting, orders.orders.rows), None), "the order")
    orders.orders.selected = resting["id"]
    wait_for(lambda: "order.intended" in orders.story.value, "its story")
    orders.reason.value = "not wanted"
    orders.cancel.click()
    orders.cancel.click()
    assert "canceled" in ended(orders)
    desk.guard().halt("look at it")
    wait_for(lambda: not room.snapshot.status.open_orders, "what was under way to end")
    orders.told.state = ""
    symbol = wait_for(lambda: orders.positions.rows, "a position")[0]["id"]  # the strategy may have closed AAPL by now
    orders.positions.selected = symbol
    wait_for(lambda: orders.plan is not None, "the effect")
    assert any(f"{symbol} at market" in line for line in orders.plan[1].effect)
    phrase = orders.plan[1].phrase
    orders.typed.value = f"close {symbol}"
    orders.close.click()
    assert "Type exactly" in ended(orders, "FAILED")
    orders.told.state = ""
    for _ in range(2):
        orders.typed.value = phrase
        orders.close.click()
    assert f"closed {symbol}" in ended(orders)
    commands = room.open("Commands")
    wait_for(lambda: "close_position" in str(commands.table.rows), "the commands")
    asked = [(row["cells"][1]["t"], row["cells"][3]["t"]) for row in commands.table.rows]
    own = [name for name, by in asked if by.startswith("operator ") and by.endswith(", a kernel without a notebook")]
    assert sorted(own) == ["cancel_order", "close_position", "reconcile"]
    assert "not wanted [a kernel without a notebook]" in str(commands.table.rows)


def test_brokers_show_the_connection_and_reconnect_it(desk, room):
    """Every stream, the latency, the requests left; a reconnect is the engine's, and journaled with its reason."""
    brokers = room.open("Brokers")
    wait_for(lambda: len(brokers.table.rows) == 3, "the connection and its two streams")
    assert "of 100000" in brokers.table.rows[0]["cells"][5]["t"]
    brokers.reason.value = "looks slow"
    brokers.reconnect.click()
    ended(brokers)
    brokers.told.state = ""
    brokers.ask.click()
    assert "account" in ended(brokers)
    wait_for(
        lambda: any("looks slow" in str(dict(one["arguments"])) for one in room.snapshot.lists.commands), "the row"
    )


def test_trading_comes_back_in_stages_with_their_progress_and_can_be_stopped(desk, room, monkeypatch):
    """Four stages told as they come; a halt of an operator's keeps them from beginning; stopped, it stands there."""
    monkeypatch.setattr("athena.widgets.views.resume.STAGE_SECONDS", 0.2)
    resume = room.open("Resume")
    desk.guard().halt("look")
    resume.reason.value = "morning"
    resume.staged.click()
    assert "not this command" in ended(resume, "FAILED")
    resume_when_ready(desk, "looked")
    resume.told.state = ""
    resume.staged.click()
    assert "4/4 full reached" in ended(resume)
    monkeypatch.setattr("athena.widgets.views.resume.STAGE_SECONDS", 60)
    done, resume.told.state = resume.told.job, ""
    wait_for(lambda: time.monotonic() - done.ended > 1, "a second click to be a new one")
    resume.staged.click()
    wait_for(lambda: "held 60 s" in resume.told.widget.html, "the first stage")
    wait_for(lambda: not resume.halt_stages.disabled, "the way to stop it")
    resume.halt_stages.click()
    assert "Stopped by you" in ended(resume, "FAILED")


def test_an_engine_that_is_killed_is_said_within_its_five_seconds_and_a_new_one_is_seen(desk, room):
    """NOT RUNNING, positions as last known; commands refuse; then a second engine's pid."""
    wait_for(lambda: "NOT RUNNING" not in room.panel.html and "running" in room.panel.html, "a live engine")
    desk.engine.send_signal(signal.SIGKILL)
    desk.engine.wait(10)
    wait_for(lambda: "NOT ANSWERING" in room.panel.html, "the silence of the engine to be said", 5)
    wait_for(lambda: "NOT RUNNING" in room.panel.html, "the death of the engine to be said", 6.5)
    assert "UNKNOWN since" in room.panel.html
    brokers = room.open("Brokers")
    assert "UNKNOWN (last known connected)" in str(brokers.table.rows)
    brokers.reconcile.click()
    assert "athena engine" in ended(brokers, "FAILED")
    desk.engine = desk.start_ready()
    wait_for(lambda: f"pid {desk.engine.pid}" in header(room.snapshot), "the new engine")
    assert "HALTED" in room.panel.html
