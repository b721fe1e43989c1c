"""What one halt proves, without a server: cancels followed, words said, and the button's way by the kernel."""

import threading
from contextlib import closing

import pytest

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.journal.journal import Journal
from athena.live.guard_flag import GuardFlag
from athena.model import Scope
from athena.widgets.asked import HaltAsked
from athena.widgets.glance import Glance
from athena.widgets.halt_button import HaltButton
from athena.widgets.halt_job import HaltJob
from tests.engine.processes import wait_for
from tests.journal.facts import intended, updated

ALL = HaltAsked("click-0001")
APPLE = HaltAsked("click-0002", Scope.SYMBOL, "AAPL")


@pytest.fixture
def settings(tmp_path):
    return Settings.load({}, home=tmp_path, account="desk", operator="alice")


@pytest.fixture
def journal(settings):
    with Journal.open(settings.journal_path, "engine") as made:
        yield made


@pytest.fixture
def lease(settings, journal):
    """The flag with a lease, as a living engine's guardian keeps it."""
    with closing(GuardFlag.open(settings.journal_path)) as flag:
        flag.renew(60)
        yield flag


def open_orders(journal):
    """Three of strategies, one an operator's exit, which no halt cancels."""
    rows = {"c1": {}, "c2": {"symbol": "MSFT"}, "c3": {"symbol": "XOM"}, "x1": {"purpose": "exit"}}
    for name, facts in rows.items():
        journal.append("order.intended", intended(name, **facts))
        journal.append("order.updated", updated(name, status="accepted"))


def run(settings, asked=ALL):
    job = HaltJob(settings, asked)
    job.run()
    return job.snapshot()


def test_the_cancels_of_a_halt_are_followed_until_each_order_is_final(settings, journal, lease):
    """Those filled first are told apart from those cancelled; an operator's exit is not counted."""
    open_orders(journal)
    job = HaltJob(settings, ALL)
    running = threading.Thread(target=job.run)
    running.start()
    wait_for(lambda: "being cancelled" in job.snapshot()["text"], "the open orders seen")
    with Journal.open(settings.journal_path, "engine") as engine:
        for name, status in (("c1", "canceled"), ("c2", "filled"), ("c3", "canceled")):
            assert not job.snapshot()["done"]
            engine.append("order.updated", updated(name, status=status))
    running.join(10)
    told = job.snapshot()
    assert told["done"]
    assert told["cancels"] == {
        "ok": True, "text": "3 orders: 2 cancelled, 1 filled first", "open_before": 3, "open_now": 0, "cancelled": 2,
        "filled": 1,
    }  # fmt: skip


def test_orders_that_nobody_cancels_are_named(settings, journal, lease):
    """With cancelling turned off, or an engine that does not answer, the proof is not clean and says what to do."""
    open_orders(journal)
    kept = Settings.load({}, home=settings.home, account="desk", cancel_on_halt=False)
    assert "3 orders STILL OPEN: cancel_on_halt is off" in run(kept)["text"]
    lease.expire()
    told = run(settings)
    assert told["halted"]
    assert "3 orders MAY BE OPEN AT THE VENUE: the engine does not answer" in told["text"]
    assert "emergency stop" in told["next"]


def test_a_symbols_halt_follows_that_symbols_orders(settings, journal):
    """The flag is everyone's and stays as it was; the row and the orders are the symbol's."""
    open_orders(journal)
    told = run(settings, APPLE)
    assert (told["halted"], told["cancels"]["open_before"]) == (True, 1)
    assert told["text"].startswith("HALTED AAPL ")
    assert told["doubt"] == ""


def test_a_halt_that_cannot_be_read_back_is_not_called_journaled(settings, journal, tmp_path):
    """A journal replaced behind the back: the flag holds, and the record is said to have failed."""
    settings.journal_path.rename(tmp_path / "moved")
    told = run(settings)
    assert (told["flag"]["ok"], told["journal"]["ok"]) == (True, False)


def test_a_flag_that_cannot_be_set_is_said_in_capitals(settings, journal, monkeypatch, tmp_path):
    """Somebody else's flag folder: not halted by the flag, and the operator is told to use another way."""
    from athena.live import guard_flag

    folder = tmp_path / "shared"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    monkeypatch.setattr(guard_flag, "flag_path", lambda path: folder / "a.flag")
    told = run(settings)
    assert told["halted"] is False
    assert "FLAG NOT SET" in told["text"]
    assert "emergency-stop" in told["next"]


def test_the_button_halts_by_the_kernel_where_the_server_cannot(settings, journal):
    """The same proof by the same code; a nonsense request is an answer with an error, never silence."""
    sent = []

    class Heard(HaltButton):
        def send(self, content, buffers=None):
            sent.append(content)

    button = Heard(settings)
    facts = {"key": "click-0003", "scope": "global", "target": "", **button.system}
    button._asked(button, {"id": 1, "kind": "halt", "facts": facts}, None)
    button._asked(button, {"id": 2, "kind": "proof", "facts": facts}, None)
    halt = sent[-1]["facts"]["id"]
    button._asked(button, {"id": 3, "kind": "reason", "facts": {"halt": halt, "reason": "odd"}}, None)
    button._asked(button, {"id": 4, "kind": "dance"}, None)
    assert [message["id"] for message in sent] == [1, 2, 3, 4]
    assert sent[0]["facts"]["halted"]
    assert sent[1]["facts"]["id"] == sent[0]["facts"]["id"]
    assert sent[2]["facts"]["reason"] == "odd"
    assert "dance" in sent[3]["error"]


def test_a_button_for_nothing_is_refused(settings):
    """A symbol's button without a symbol would halt nothing."""
    with pytest.raises(SettingsError, match="target ''"):
        HaltButton(settings, scope="symbol")


def test_a_glance_tells_mode_halts_and_engine_and_invents_nothing(settings):
    """Before anything ran it is unknown; then halted as it was born; a dead engine's orders pass nowhere."""
    glance = Glance(settings)
    told = glance.read()
    assert (told["mode"], told["passes"]) == ("unknown", False)
    assert "there is no journal" in told["problem"]
    with Journal.open(settings.journal_path, "engine") as journal:
        journal.heartbeat("engine", {"state": "running"})
        run(settings)
        told = Glance(settings).read()
        assert (told["mode"], told["halts_total"], told["halts"][0]["owner"]) == ("halted", 1, "alice")
        assert not told["engine"]["running"]
        assert "dead or hung" in told["engine"]["text"]
    glance.close()


def test_errors_of_a_halt_are_athenas(settings):
    """What a page sends wrongly is told in the operator's words."""
    with pytest.raises(AthenaError, match="scope is 'all'"):
        HaltAsked.read({"key": "click-0004", "scope": "all"})
