"""HALT by HTTP at a real Jupyter server: what refuses it, what does not, what it proves with parts of Athena gone."""

import signal
import sqlite3
import threading
import time
import urllib.parse
from contextlib import closing

import pytest
from jupyter_server.auth import passwd

from athena.config import Settings
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import GuardFlag, H, R, flag_path
from tests.engine.processes import desk, trade, wait_for
from tests.widgets.jupyter import Client, jupyter

PASSWORD = "pass word"
REFUSED = "SELECT COALESCE(SUM(times), 0) FROM violations WHERE code = 'GUARD_HALTED'"
keys = (f"click-{number:04d}" for number in range(10_000))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with desk(tmp_path_factory.mktemp("live"), speed=120) as made:
        yield made


@pytest.fixture(scope="module")
def server(live, tmp_path_factory):
    environment = {"ATHENA_HOME": str(live.home), "ATHENA_SIMULATOR_URL": live.url, "ATHENA_OPERATOR": "alice"}
    options = (f"--PasswordIdentityProvider.hashed_password={passwd(PASSWORD)}",)
    with jupyter(tmp_path_factory.mktemp("jupyter"), environment, *options, base="/ops/") as made:
        yield made


@pytest.fixture(scope="module")
def page(server):
    return Client(server)


@pytest.fixture
def engine(live):
    """A running engine, the one of the test before where it lives."""
    alive = [engine for engine in live.engines if engine.poll() is None]
    return alive[0] if alive else live.start_ready()


@pytest.fixture
def elsewhere(tmp_path):
    """Another live system, which the server's own settings do not speak of."""
    settings = Settings.load({}, home=tmp_path / "home", account="other")
    settings.folder.mkdir(parents=True)
    return settings


def system(settings):
    return {"home": str(settings.home), "account": settings.account_name}


def halt(page, **more):
    """Ask for a halt, and for the rest of its proof: (first answer, its seconds, last answer)."""
    body = {"key": next(keys), "scope": "global", **more}
    began = time.monotonic()
    status, first = page.ask("halt", body)
    seconds = time.monotonic() - began
    assert status == 200, first
    proof = wait_for(lambda: (p := page.ask(f"halt?key={body['key']}")[1]) and p["done"] and p, "the whole proof")
    return first, seconds, proof


def value(live, sql):
    """The first value of a read of the live system's journal."""
    with live.journal() as journal:
        return journal.one(sql)[0]


def halted(settings):
    with closing(GuardFlag.open(settings.journal_path)) as flag:
        return flag.words[H] != 0 and flag.words[R] != flag.words[H]


# -------------------------------------------------------------------------------------------- who may, and in what form


def test_without_a_login_nothing_is_answered(server):
    """Halt, reason, emergency stop and status are for those who logged in; nobody else learns or changes anything."""
    stranger = Client(server, login=False)
    body = {"key": next(keys), "scope": "global"}
    asked = [stranger.ask("halt", body), stranger.ask("halt/reason", {}), stranger.ask("emergency-stop", {})]
    asked += [stranger.ask("status"), stranger.ask("halt?key=12345678")]
    wrong = {"Authorization": "token wrong"}
    asked.append(stranger.ask("halt", body, headers=wrong))
    assert [status for status, _ in asked] == [403] * 6


def test_without_the_forgery_token_a_logged_in_page_is_refused(live, engine, page):
    """A page of another site has the cookies but not the token: 403, and nothing is halted by it."""
    before = value(live, "SELECT COUNT(*) FROM halts")
    body = {"key": next(keys), "scope": "global"}
    assert page.ask("halt", body, xsrf=False)[0] == 403
    assert page.ask("halt", body, xsrf=False, headers={"X-XSRFToken": "2|00000000|00|1"})[0] == 403
    assert page.ask("emergency-stop", {"dry_run": False}, xsrf=False)[0] == 403
    assert value(live, "SELECT COUNT(*) FROM halts") == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"key": "12345678", "scope": "everything"}, "scope is 'everything'"),
        ({"key": "12345678"}, "scope is ''"),
        ({"scope": "global"}, "key is ''"),
        ({"key": "12345678", "scope": "symbol"}, "with target ''"),
        ({"key": "12345678", "scope": "global", "target": "AAPL"}, "target 'AAPL'"),
        ({"key": "12345678", "scope": "global", "reasn": "x"}, "Did you mean 'reason'"),
        ({"key": "12345678", "scope": ["global"]}, "scope is"),
        ({"key": "12345678", "scope": "global", "reason": "x" * 600}, "at most 500"),
        ([], "not a JSON object"),
    ],
)
def test_a_wrong_request_is_refused_naming_the_field(page, body, told):
    """400 in the operator's words; nothing is guessed about what should be halted."""
    status, answer = page.ask("halt", body)
    assert status == 400
    assert told in answer["message"] + answer.get("next", "")


def test_a_request_too_large_or_unreadable_is_refused(page):
    """More than 8 KB is 413, and what is not JSON is 400."""
    assert page.ask("halt", raw=b"{" + b" " * 9_000 + b"}")[0] == 413
    assert page.ask("halt", raw=b"halt!")[0] == 400


def test_a_password_is_as_good_as_a_token(server, live, engine):
    """Who logged in by the form, with a password, halts; the base_url is in every path."""
    client = Client(server, login=False)
    client.opener.open(server.url + "login").close()
    form = urllib.parse.urlencode({"password": PASSWORD, "_xsrf": client.xsrf}).encode()
    client.opener.open(server.url + "login", form).close()
    _, _, proof = halt(client, reason="by password")
    assert proof["halted"]
    assert halted(live.settings)


# --------------------------------------------------------------------------------------------------- what a halt proves


def test_a_halt_stops_trading_and_proves_it(live, engine, page):
    """While strategies trade: flag, journal row, cancels read back; no order at the venue 250 ms after the click."""
    trade(live)
    clicked = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    first, _, proof = halt(page, reason="looks odd", notebook="control_room.ipynb")
    assert first["halted"] is True
    assert proof["text"].startswith("HALTED ")
    assert f"flag set, journal #{proof['journal']['sequence']}" in proof["text"]
    assert proof["cancels"]["open_now"] == 0
    with live.journal() as journal:
        event = next(iter(journal.events(after=proof["journal"]["sequence"] - 1)))
        assert (event.kind, event.payload["id"]) == ("halt.set", proof["id"])
        assert (event.payload["owner"], event.payload["reason"]) == ("alice", "looks odd")
        assert event.actor == "operator alice, control_room.ipynb"
    refused = value(live, REFUSED)
    wait_for(lambda: value(live, REFUSED) > refused, "an order refused after the halt")
    assert [post for post in live.posts() if post["boottime_ns"] > clicked + 250_000_000] == []


def test_a_click_storm_is_one_halt(live, engine, page):
    """Forty clicks of one key at once make one row; a new click after a resume halts again."""
    trade(live)
    body = {"key": next(keys), "scope": "global"}
    answers = []
    clicks = [threading.Thread(target=lambda: answers.append(page.ask("halt", body))) for _ in range(40)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert {(status, answer["id"]) for status, answer in answers} == {(200, answers[0][1]["id"])}
    assert value(live, "SELECT COUNT(*) FROM halts WHERE owner = 'alice' AND cleared_at IS NULL") == 1
    trade(live)
    again = page.ask("halt", body)[1]
    assert again["id"] != answers[0][1]["id"]
    assert halted(live.settings)


def test_halting_what_is_halted_is_a_halt_of_its_own(live, engine, page):
    """A halt is recorded though one stands: clearing the other does not clear it."""
    _, _, one = halt(page)
    _, _, two = halt(page)
    assert one["id"] != two["id"]
    with live.journal() as journal:
        standing = {row[0] for row in journal.query("SELECT id FROM halts WHERE cleared_at IS NULL")}
    assert {one["id"], two["id"]} <= standing


def test_an_unknown_symbol_is_halted_with_a_doubt(live, engine, page):
    """A halt is not refused for a typo; it says that it may have stopped nothing, and what was meant."""
    _, _, proof = halt(page, scope="symbol", target="aapk")
    assert proof["halted"]
    assert proof["target"] == "AAPK"
    assert "may have stopped nothing" in proof["doubt"]
    assert "AAPL" in proof["doubt"]


def test_the_reason_is_journaled_after_the_halt(live, engine, page):
    """The row stays as it was; a note beside it has the reason, the operator and the notebook."""
    _, _, proof = halt(page)
    status, told = page.ask("halt/reason", {"halt": proof["id"], "reason": "spread of XOM", "notebook": "room.ipynb"})
    assert status == 200
    with live.journal() as journal:
        note = next(iter(journal.events(after=told["sequence"] - 1)))
        row = journal.one("SELECT reason FROM halts WHERE id = ?", (proof["id"],))
    assert (note.kind, note.payload["halt"], note.payload["reason"]) == ("note", proof["id"], "spread of XOM")
    assert note.actor == "operator alice, room.ipynb"
    assert "reason is given after" in row["reason"]
    shown = {halt["id"]: halt["reason"] for halt in page.ask("status")[1]["halts"]}
    assert shown[proof["id"]] == "spread of XOM"
    assert page.ask("halt/reason", {"halt": "halt-none", "reason": "x"})[0] == 400
    assert page.ask("halt/reason", {"halt": proof["id"], "reason": " "})[0] == 400


def test_an_emergency_stop_is_rehearsed_without_a_trace(live, engine, page):
    """The rehearsal asks the venue and changes nothing; a wrong kind of answer is refused."""
    before = value(live, "SELECT COUNT(*) FROM halts")
    status, told = page.ask("emergency-stop", {"dry_run": True})
    assert (status, told["dry_run"], told["proven"]) == (200, True, True)
    assert [step["name"] for step in told["steps"]] == ["would cancel", "would leave open", "would suspend"]
    assert value(live, "SELECT COUNT(*) FROM halts") == before
    assert page.ask("emergency-stop", {"dry_run": "no"})[0] == 400


# -------------------------------------------------------------------------------------------- with parts of Athena gone


def test_with_the_engine_stopped_dead_in_its_tracks(live, engine, page):
    """SIGSTOP: flag and journal are proven within a second; status says within seconds that nobody answers."""
    trade(live)
    engine.send_signal(signal.SIGSTOP)
    try:
        clicked = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        first, seconds, proof = halt(page)
        assert seconds < 1
        assert (first["halted"], first["flag"]["ok"]) == (True, True)
        assert proof["journal"]["ok"] or "stayed locked" in proof["text"]  # where it hangs in a write of its own
        told = "no open orders" in proof["text"] or "engine does not answer" in proof["text"]
        assert told or not proof["journal"]["ok"]
        said = wait_for(lambda: not (s := page.ask("status")[1])["engine"]["running"] and s, "the hung engine told", 5)
        assert "dead or hung" in said["engine"]["text"] or "last heartbeat" in said["engine"]["text"]
    finally:
        engine.send_signal(signal.SIGCONT)
    wait_for(lambda: page.ask("status")[1]["engine"]["running"], "the engine back")
    late = [post for post in live.posts() if post["boottime_ns"] > clicked + 250_000_000]
    assert late == [] or (len(late) == 1 and "NOT CLEAN: the engine died or hung while sending" in proof["text"])


def test_with_the_engine_dead(live, engine, page):
    """SIGKILL: halted all the same, within a second, and orders left at the venue are named."""
    trade(live)
    live.kill(engine)
    first, seconds, proof = halt(page)
    assert seconds < 1
    assert first["halted"] is True
    assert proof["cancels"]["open_before"] == 0 or "MAY BE OPEN AT THE VENUE" in proof["text"]
    assert halted(live.settings)
    assert page.ask("status")[1]["mode"] == "halted"
    wait_for(lambda: not page.ask("status")[1]["engine"]["running"], "the engine's death to be said", 6)


def test_with_the_journal_locked(live, page):
    """The flag is set and told within a second; the journal's row follows once it is free."""
    holder = sqlite3.connect(live.settings.journal_path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    key = next(keys)
    began = time.monotonic()
    status, first = page.ask("halt", {"key": key, "scope": "global"})
    assert time.monotonic() - began < 1
    assert (status, first["halted"], first["flag"]["ok"], first["journal"]["ok"]) == (200, True, True, None)
    assert "journal under way" in first["text"]
    assert page.ask("status")[0] == 200
    holder.execute("ROLLBACK")
    holder.close()
    proof = wait_for(lambda: (p := page.ask(f"halt?key={key}")[1])["done"] and p, "the proof")
    assert proof["journal"]["ok"] is True


def test_with_the_journal_damaged_or_missing(elsewhere, page):
    """Everything is halted by the flag; that the record failed is said, with what to do."""
    _, _, proof = halt(page, **system(elsewhere))
    assert (proof["halted"], proof["flag"]["ok"], proof["journal"]["ok"]) == (True, True, False)
    assert "there is no journal" in proof["text"]
    elsewhere.journal_path.write_bytes(b"this is no database" * 1000)
    _, _, proof = halt(page, **system(elsewhere))
    assert proof["halted"]
    assert "JOURNAL FAILED" in proof["text"]
    assert "halt again to record it" in proof["next"]
    assert halted(elsewhere)
    status = page.ask("status?" + urllib.parse.urlencode(system(elsewhere)))[1]
    assert (status["mode"], status["passes"]) == ("halted", False)
    assert status["problem"]


def test_one_symbol_without_a_journal_is_said_not_to_be_halted(elsewhere, page):
    """A halt that stopped nothing never looks like one: HTTP 500, NOT HALTED, and what to do instead."""
    status, told = page.ask("halt", {"key": next(keys), "scope": "symbol", "target": "AAPL", **system(elsewhere)})
    assert status == 500
    assert told["halted"] is False
    assert told["text"].startswith("NOT HALTED AAPL")
    assert "athena halt" in told["next"]


def test_the_system_a_notebook_names_is_halted_and_no_other(live, elsewhere, page):
    """A kernel may speak of another account than the server: its button halts its own."""
    Journal.open(elsewhere.journal_path, "test").close()
    epoch = "SELECT epoch FROM guard"
    before = value(live, epoch)
    _, _, proof = halt(page, **system(elsewhere))
    assert (proof["account"], proof["halted"]) == ("other", True)
    assert halted(elsewhere)
    assert value(live, epoch) == before
    status = page.ask("status?" + urllib.parse.urlencode(system(elsewhere)))[1]
    assert (status["account"], status["halts_total"]) == ("other", 1)


def test_with_the_flag_unlinked_or_cut_the_server_lives_and_halts(elsewhere, page):
    """A flag that is gone or short is made anew, refusing; the server's own mapping of it does no harm."""
    Journal.open(elsewhere.journal_path, "test").close()
    query = "status?" + urllib.parse.urlencode(system(elsewhere))
    for harm in (lambda path: path.unlink(), lambda path: path.write_bytes(b"")):
        assert page.ask(query)[0] == 200
        harm(flag_path(elsewhere.journal_path))
        assert page.ask(query)[1]["mode"] == "halted"
        _, _, proof = halt(page, **system(elsewhere))
        assert (proof["flag"]["ok"], proof["journal"]["ok"]) == (True, True)
    assert ExecutionGuard.get_instance(elsewhere).flag.words[H] != 0
