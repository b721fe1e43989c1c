"""The window on the venue: a run without keys reads through it, and nothing else passes."""

import asyncio
import os
from datetime import UTC, datetime
from decimal import Decimal as D
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nbformat
import pytest
import requests
from nbformat.v4 import new_code_cell, new_notebook

from athena import config
from athena.config import Settings
from athena.errors import BrokerError
from athena.journal import Journal
from athena.live.brokers.alpaca import AlpacaBroker
from athena.playbooks.playbook import Playbook
from athena.playbooks.runner import run_playbook
from athena.playbooks.window import Window, window
from tests.playbooks.conftest import holds_no_secret
from tests.support.simulator import running_simulator

KEY, SECRET = "PK-OURS", "secret-of-the-account"
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}


@pytest.fixture(scope="module")
def venue():
    """A simulator that stands for Alpaca paper, with keys of its own."""
    with running_simulator(keys={KEY: SECRET}) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def paper(venue, tmp_path_factory):
    """Settings of a paper account whose venue is the simulator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "PAPER_URL", venue.url)
        patch.setattr(config, "DATA_URL", venue.url)
        yield Settings(home=tmp_path_factory.mktemp("home"), venue="paper", key_id=KEY, secret_key=SECRET)


@pytest.fixture(scope="module")
def opened(paper):
    made = Window(paper)
    yield made
    made.close()


def ask(opened, method, path, **options):
    headers = {"APCA-API-SECRET-KEY": opened.password}
    return requests.request(
        method, opened.environment["ATHENA_WINDOW_URL"] + path, headers=headers, timeout=10, **options
    )


def straight(venue, path):
    """What the venue itself answers to the account's keys."""
    keys = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    return requests.get(venue.url + path, headers=keys, timeout=10)


def orders(venue):
    return straight(venue, "/v2/orders?status=all").json()


def number(venue):
    return straight(venue, "/v2/account").json()["account_number"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/trading/v2/orders", "/trading/v2/positions"])
def test_nothing_but_reading_passes(venue, opened, method, path):
    """Whatever could trade is refused with the reason, and the venue hears nothing of it."""
    answer = ask(opened, method, path, json=ORDER)
    assert answer.status_code == 405
    assert "only reads" in answer.json()["message"]
    assert orders(venue) == []
    assert ask(opened, "GET", "/trading/v2/account").json()["account_number"]  # the next one is none the worse


def test_the_venues_answers_pass_as_they_are(venue, opened):
    """Status, body and the rate limit's headers are the venue's, of the trading and of the data API."""
    shown = (
        ("trading", "/v2/account"),
        ("trading", "/v2/orders?status=all"),
        ("trading", "/v2/orders/no-such-order"),
        ("data", "/v2/stocks/quotes/latest?symbols=AAPL"),
    )
    for part, path in shown:
        theirs, seen = straight(venue, path), ask(opened, "GET", f"/{part}{path}")
        assert (seen.status_code, seen.json().keys() if isinstance(seen.json(), dict) else seen.json()) == (
            theirs.status_code,
            theirs.json().keys() if isinstance(theirs.json(), dict) else theirs.json(),
        )
        assert seen.headers["X-RateLimit-Limit"] == theirs.headers["X-RateLimit-Limit"]


@pytest.mark.parametrize("path", ["/v2/account", "/other/v2/account", "//evil.example/v2/account", "/"])
def test_it_looks_on_the_venue_and_nowhere_else(opened, path):
    """A path outside the two APIs is refused before anything is asked."""
    assert ask(opened, "GET", path).status_code == 404


def test_a_stranger_on_this_machine_sees_nothing(opened):
    """Without this window's password, or with another's: 401, whatever is asked."""
    url = opened.environment["ATHENA_WINDOW_URL"] + "/trading/v2/account"
    for headers in ({}, {"APCA-API-SECRET-KEY": "another-password"}, {"APCA-API-SECRET-KEY": b"\xe9\xff"}):
        assert requests.get(url, headers=headers, timeout=10).status_code == 401


def test_keys_do_not_follow_a_redirect(paper, monkeypatch):
    """A venue, or a proxy before it, that sends the window elsewhere gets no second request with the keys."""
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/stolen")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(config, "PAPER_URL", f"http://127.0.0.1:{server.server_port}")
    opened = Window(paper)
    try:
        assert ask(opened, "GET", "/trading/v2/account", allow_redirects=False).status_code == 302
    finally:
        opened.close()
        server.shutdown()
        server.server_close()
    assert asked == ["/v2/account"]


def test_a_venue_that_is_gone_is_told_as_gone(paper, monkeypatch):
    """Nobody listens there: 504 and why, not a hang and not an empty answer."""
    monkeypatch.setattr(config, "PAPER_URL", "http://127.0.0.1:9")
    opened = Window(paper)
    try:
        answer = ask(opened, "GET", "/trading/v2/account")
    finally:
        opened.close()
    assert answer.status_code == 504
    assert "cannot be reached" in answer.json()["message"]


def test_a_broker_through_the_window_reads_and_cannot_trade(venue, opened, tmp_path):
    """The very client that trades elsewhere: it reads the account, and its cancel is refused."""
    settings = Settings.load({"ATHENA_HOME": str(tmp_path), **opened.environment})
    broker = AlpacaBroker.get_instance(settings)
    account = asyncio.run(broker.get_account())
    assert account.account_number == number(venue)
    with pytest.raises(BrokerError, match="only reads"):
        asyncio.run(broker.cancel_all())


def test_a_window_on_a_live_account_needs_no_confirmation_for_it_cannot_trade(tmp_path):
    """ATHENA_VENUE=live is refused without its confirmation, and taken with a window."""
    given = {
        "ATHENA_HOME": str(tmp_path),
        "ATHENA_VENUE": "live",
        "APCA_API_KEY_ID": "window",
        "APCA_API_SECRET_KEY": "p",
    }
    with pytest.raises(config.SettingsError, match="real money"):
        Settings.load(given)
    settings = Settings.load({**given, "ATHENA_WINDOW_URL": "http://127.0.0.1:4"})
    assert (settings.trading_url, settings.data_url) == ("http://127.0.0.1:4/trading", "http://127.0.0.1:4/data")
    with pytest.raises(config.SettingsError, match="the window is on loopback"):
        Settings.load({**given, "ATHENA_WINDOW_URL": "http://venue.example:4"})


def test_a_run_on_paper_reads_the_venue_and_has_no_key(venue, paper, tmp_path):
    """A real run by the runner: the page knows the account, no order passed, no key or password is in any file."""
    journal = paper.journal_path
    journal.parent.mkdir(parents=True)
    bound = {
        "venue": "paper",
        "account_number": number(venue),
        "cash": 100_000,
        "equity": 100_000,
        "positions": [],
        "last_equity": 100_000,
    }
    with Journal.open(journal, "engine") as made:
        made.append("account.bound", bound, datetime(2020, 3, 9, 14, tzinfo=UTC))
    cells = [
        "import os, requests\nfrom datetime import date\nfrom athena.playbooks.books.system import connect\n"
        "from athena.analysis.assessment import Assessment, Verdict\nfrom athena.playbooks.record import record",
        "system = connect()\nequity = system.ask_own(lambda broker: broker.get_account()).equity",
        "print(dict(os.environ))",
        "url = os.environ['ATHENA_WINDOW_URL'] + '/trading/v2/orders'\n"
        "password = {'APCA-API-SECRET-KEY': os.environ['APCA_API_SECRET_KEY']}\n"
        f"tried = requests.post(url, json={ORDER!r}, headers=password)",
        "facts = {'trading_date': date(2020, 3, 9)}\n"
        "record(Assessment('T', Verdict.OK, f'Equity {equity}, order {tried.status_code}.', 'None.', None, (), {},"
        " {'n': 1}, facts))",
    ]
    path = tmp_path / "trial.ipynb"
    nbformat.write(
        new_notebook(cells=[new_code_cell("", metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]), path
    )
    playbook = Playbook("trial", "Does it?", "A trial.", (), notebook=path)
    surroundings = {**os.environ, "APCA_API_KEY_ID": paper.key_id, "APCA_API_SECRET_KEY": paper.secret_key}
    run = run_playbook(
        playbook, reports=tmp_path / "reports", settings=paper, who="alice", why="a test", environment=surroundings
    )
    assert run.succeeded, run.error
    assert run.reason == f"Equity {D(100_000)}, order 405."
    assert orders(venue) == []
    for secret in (paper.secret_key, window(paper).password):
        holds_no_secret(tmp_path / "reports", secret)
