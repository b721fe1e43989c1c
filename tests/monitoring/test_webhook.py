"""The webhook on a real socket and what is done about alerts, with a stand-in for the notebook's run."""

import http.client
import json
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athena.cli import main
from athena.config import Settings
from athena.config_tables import Notifications
from athena.core.alerts import UNHEARD_AFTER, AlertState, active_alerts, recent_alerts, unfinished_alerts
from athena.errors import JournalError, PlaybookError
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.live.loopback import CONNECTIONS_MAX, Page
from athena.model import Origin, Scope
from athena.ops.alert_acting import PAUSES, Acting
from athena.ops.alert_nursery import RUN_SECONDS_MAX, WarmWorkers
from athena.ops.alert_payload import ALERTS_MAX, SIZE_MAX, Delivery, NotAPayload, read
from athena.ops.alert_server import AlertServer, persist, token_of, token_path
from athena.ops.alert_worker import AlertWorker
from athena.ops.health_parts import parts
from athena.playbooks import workers
from athena.playbooks.runner import published
from athena.playbooks.workers import Worker
from tests.engine.processes import wait_for
from tests.monitoring.payloads import alert, body

CHANNELS = Notifications(info=("slack",), warning=("slack",), critical=("slack",))


@pytest.fixture
def live(tmp_path):
    """Settings of a live system with a journal, and that journal."""
    made = replace(
        Settings.load({}, home=tmp_path / "home"), reports=tmp_path / "reports", alerts_port=0, notifications=CHANNELS
    )
    with Journal.open(made.journal_path, "test") as journal:
        yield made, journal
    ExecutionGuard.get_instance(made).close()


@contextmanager
def serving(live):
    made, journal = live
    with AlertServer(made, journal, token_of(made), lambda: None) as server:
        yield server


def post(server, data, token=None, path="/alerts", **headers):
    """Status and words of the webhook's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    token = token_of(server.settings) if token is None else token
    headers = {"Authorization": f"Bearer {token}", **headers}
    try:
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Runs:
    """Stands for the playbook runner: publishes a result file as it does, and remembers what it was asked."""

    def __init__(self, settings, error=None, first=0):
        self.settings, self.asked, self.error, self.first = settings, [], error, first * 100

    def __call__(self, name, given, *, told, why, worker, **more):
        self.asked.append((name, dict(given), why))
        if self.error:
            raise self.error
        folder = self.settings.reports / "2026-03-09"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{folder}/{name}.20260309T1430{self.first + len(self.asked):05}Z"
        record = {
            "playbook": name, "verdict": "STOP", "reason": "60 bps", "action": "halt it", "numbers": {},
            "changes": None, "trading_date": "2026-03-09",
            "run": {"succeeded": True, "error": None, "why": why, "seconds": 1.0},
        }  # fmt: skip
        Path(f"{stem}.json").write_text(json.dumps(record))
        told(published(Path(f"{stem}.json"), 1.0))


def work(live, runs, later=timedelta(0)):
    """Do everything there is to do about alerts, now or in a while."""
    worker = AlertWorker(*live, run=runs, clock=lambda: datetime.now(UTC) + later)
    while worker.step():
        pass


@contextmanager
def working(live, run):
    """A worker at work in threads of its own."""
    worker = AlertWorker(*live, run=run)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(30)


class Hangs:
    """Runs as Runs does, but for playbooks that hang until they are let go."""

    def __init__(self, settings, *names):
        self.runs, self.names = Runs(settings), names
        self.under_way, self.let_go = [], threading.Event()

    def __call__(self, name, *rest, **more):
        if name in self.names:
            self.under_way.append(name)
            self.let_go.wait(30)
        return self.runs(name, *rest, **more)


def messages(journal):
    return [tuple(r) for r in journal.query("SELECT severity, title, body FROM notifications ORDER BY sequence")]


def test_a_delivery_is_in_the_journal_before_it_is_answered_and_once(live):
    """200 only with its rows there; told again it is not new; its end is; another start is another alert."""
    journal = live[1]
    one, two = alert(param_hours="1", playbook="slippage_analysis"), alert("EngineDown", severity="critical")
    with serving(live) as server:
        assert post(server, body(one, two)) == (200, "2 new of 2\n")
        assert {a.name for a in active_alerts(journal)} == {"GuardViolation", "EngineDown"}
        assert post(server, body(one, two)) == (200, "0 new of 2\n")
        over = {**one, "status": "resolved", "endsAt": "2026-03-09T14:40:00Z"}
        assert post(server, body(over)) == (200, "1 new of 1\n")
        assert [a.name for a in active_alerts(journal)] == ["EngineDown"]
        later = alert("EngineDown", severity="critical", start=datetime(2026, 3, 10, tzinfo=UTC))
        assert post(server, body(later)) == (200, "1 new of 1\n")
    assert len(recent_alerts(journal)) == 3
    assert journal.verify().ok


def test_whoever_has_no_token_or_sends_something_else_gets_nothing_done(live):
    """Each refusal has its status; nothing of it is journaled, and the server answers on."""
    made, journal = live
    good = body(alert())
    with serving(live) as server:
        assert post(server, good, token="")[0] == 401
        assert post(server, good, token="Bearer")[0] == 401
        assert post(server, good, token=token_of(made)[:-1])[0] == 401
        assert post(server, good, path="/alerts/../x")[0] == 404
        assert post(server, good, Host="evil.example")[0] == 421
        assert post(server, b"x", **{"Content-Length": str(SIZE_MAX + 1)})[0] == 413
        assert post(server, b"", **{"Content-Length": "-1"})[0] == 411
        for wrong in (
            b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"version": "3"}', body(),
            body(version="5"), body(1), body({**alert(), "status": "odd"}), body({**alert(), "fingerprint": "../x"}),
            body({**alert(), "labels": {"alertname": ""}}), body({**alert(), "labels": {"alertname": 1}}),
            body({**alert(), "labels": {"a b": "c", "alertname": "x"}}), body({**alert(), "startsAt": "yesterday"}),
            body({**alert(), "startsAt": "2026-03-09T14:30:00"}), body({**alert(), "annotations": [1]}),
        ):  # fmt: skip
            assert post(server, wrong)[0] == 400, wrong[:200]
        assert journal.head()[0] == 0
        assert post(server, good)[0] == 200
        assert urlopen(f"{server.url}/-/healthy", timeout=5).read() == b"healthy\n"
    assert token_path(made).stat().st_mode & 0o777 == 0o600


def test_the_webhook_tells_prometheus_of_an_engine_that_stopped_in_good_order(live):
    """Nothing where none ever ran; one that died did not stop; one that stopped is missed while the session is on."""
    journal = live[1]

    def told(server):
        text = urlopen(f"{server.url}/metrics", timeout=5).read().decode()
        return {line.partition(" ")[0]: float(line.partition(" ")[2]) for line in text.splitlines() if line[0] != "#"}

    with serving(live) as server:
        assert told(server) == {}
        for state, hour, stopped, opened in (
            ("running", 15, 0, 1), ("stopped", 15, 1, 1), ("stopped", 13, 1, 0), ("stopped", 21, 1, 0),
        ):  # fmt: skip
            journal.heartbeat("engine", {"state": state, "speed": 1}, datetime(2020, 3, 10, hour, tzinfo=UTC))
            assert told(server) == {"athena_engine_stopped": stopped, "athena_exchange_open": opened}
        holiday = datetime(2020, 12, 25, 15, tzinfo=UTC)
        journal.heartbeat("engine", {"state": "stopped", "speed": 1}, holiday)
        assert told(server)["athena_exchange_open"] == 0
        fast = datetime(2020, 3, 10, 13, 29, 59, tzinfo=UTC)
        journal.heartbeat("engine", {"state": "stopped", "speed": 3600}, fast)
        wait_for(lambda: told(server)["athena_exchange_open"], "the venue's open")


def test_clients_that_never_finish_their_headers_keep_nobody_out(live, monkeypatch):
    """As many as may connect say a header letter by letter: they are cut off, and a delivery is taken."""
    monkeypatch.setattr(Page, "headers_seconds", 0.5)
    with serving(live) as server, ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(CONNECTIONS_MAX)
        ]
        for one in slow:
            one.sendall(b"POST /alerts HTTP/1.1\r\nX: ")

        def taken():
            for one in slow:
                with suppress(OSError):
                    one.send(b"a")
            with suppress(OSError, http.client.HTTPException):
                return post(server, body(alert()))[0] == 200

        wait_for(taken, "a delivery to be taken")


def test_one_alert_that_cannot_be_read_takes_no_other_with_it(live):
    """Whoever can reach Alertmanager could else silence a group by adding an odd alert to it."""
    odd = {**alert("GuardHalted", playbook="trading_halt"), "labels": {"a b": "c", "alertname": "x"}}
    with serving(live) as server:
        assert post(server, body(odd, alert("GuardHalted", playbook="trading_halt"), 1)) == (200, "1 new of 1\n")
    assert [a.name for a in active_alerts(live[1])] == ["GuardHalted"]


def test_alerts_that_were_left_out_of_a_delivery_are_told(live):
    """By Alertmanager, or because they are too many: what came is taken, and one message says how many did not."""
    made, journal = live
    urgent = alert("EngineDown", severity="critical", playbook="crash_recovery")
    with serving(live) as server:
        assert post(server, body(urgent, truncatedAlerts=3)) == (200, "1 new of 1\n")
        assert post(server, body(urgent, truncatedAlerts=2)) == (200, "0 new of 1\n")
        ((severity, title, text),) = messages(journal)
        assert (severity, title) == ("critical", "3 alerts were left out of a delivery")
        assert f"{made.alertmanager_url}/#/alerts" in text
        assert post(server, body(urgent, truncatedAlerts="many")) == (200, "0 new of 1\n")
        many = [alert(number=str(number)) for number in range(ALERTS_MAX + 5)]
        assert len(body(*many)) < SIZE_MAX
        assert post(server, body(*many, groupKey="other")) == (200, f"{ALERTS_MAX} new of {ALERTS_MAX}\n")
    assert [(severity, title) for severity, title, _ in messages(journal)][1:] == [
        ("warning", "5 alerts were left out of a delivery")
    ]


def test_an_alert_that_ended_for_want_of_news_fires_anew_with_the_same_start(live):
    """Alertmanager heard nothing for minutes and told of an end: told of the same start again, it is a new alert with
    an end of its own; a delivery that was overtaken by the end is not."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "trading_halt", "start": datetime.now(UTC) - timedelta(hours=1)}
    first, over = alert("GuardHalted", **asked), alert("GuardHalted", "resolved", **asked)
    assert [persist(journal, read(body(one))) for one in (first, over, first, over)] == [1, 1, 1, 1]
    assert [persist(journal, read(body(one))) for one in (over, first)] == [0, 1]
    assert [a.firing for a in recent_alerts(journal)] == [True, False, False]
    runs = Runs(made)
    work(live, runs)
    assert len(runs.asked) == 1
    late = {**asked, "start": datetime.now(UTC) - timedelta(minutes=3)}  # it ends now
    told = [alert("DataStale", "resolved", **late), alert("DataStale", **late)]
    assert [persist(journal, read(body(one))) for one in told] == [1, 0]


def test_an_alert_that_alertmanager_repeats_no_more_is_unknown_not_firing(live, monkeypatch, capsys):
    """Each repeat is heard, journaled at most once a minute; after a missed one nobody knows, which every view says."""
    made, journal = live
    firing = alert("EngineDown", severity="critical", playbook="crash_recovery", start=datetime.now(UTC))
    persist(journal, read(body(firing)))
    (told,) = active_alerts(journal)
    assert told.standing(told.received_at + UNHEARD_AFTER) == "fires"
    assert told.standing(told.received_at + timedelta(minutes=14)) == "UNKNOWN, not heard of for 14 min"
    assert persist(journal, read(body(firing))) == 0
    assert list(journal.events(kinds=("alert.heard",))) == []
    monkeypatch.setattr("athena.ops.alert_server.HEARD_EVERY", timedelta(0))
    assert persist(journal, read(body(firing))) == 0
    (heard,) = active_alerts(journal)
    assert heard.heard_at > told.heard_at

    monkeypatch.setattr("athena.core.alerts.UNHEARD_AFTER", timedelta(seconds=-1))
    home = ["--home", str(made.home)]
    assert main(["alerts", *home]) == 0
    shown = capsys.readouterr().out
    assert "EngineDown  UNKNOWN, not heard of for 0 min, received" in shown
    assert "next: look whether it runs" in shown
    assert main(["alerts", "--firing", "--json", *home]) == 0
    assert [one["unknown"] for one in json.loads(capsys.readouterr().out)["alerts"]] == [True]
    journal.heartbeat("alerts", {"url": "http://127.0.0.1:9", "problem": "", "unfinished": 0})
    (part,) = [one for one in parts(journal, made, {}) if one.name == "alerts webhook"]
    assert (part.verdict, part.next_action) == ("ATTENTION", "make monitor, then athena alerts --firing")
    assert "UNKNOWN whether it fires: EngineDown" in part.seen
    monkeypatch.setattr("athena.core.alerts.FORGOTTEN_AFTER", timedelta(0))
    assert active_alerts(journal) == []
    assert [one.firing for one in recent_alerts(journal)] == [True]


def test_an_alert_whose_end_was_lost_is_over_when_the_same_fires_with_a_later_start(live):
    """Alertmanager lost its state: the earlier firing ends where the later one begins, and one row fires."""
    journal = live[1]
    later = datetime(2026, 3, 9, 15, tzinfo=UTC)
    persist(journal, read(body(alert("DataStale"), alert("DataStale", symbol="AAPL"))))
    persist(journal, read(body(alert("DataStale", start=later))))
    assert sorted((a.symbol, a.firing) for a in recent_alerts(journal)) == [("", False), ("", True), ("AAPL", True)]
    (over,) = [a for a in recent_alerts(journal) if not a.firing]
    assert over.resolved_at.replace(microsecond=0) == later
    assert journal.verify().ok


TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
LABELS = st.sampled_from(["alertname", "severity", "playbook", "action", "symbol", "param_symbol", "param_journal"])
MOMENTS = st.sampled_from(["2026-03-09T14:30:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"])
BROKEN = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["firing", "resolved"]) | JSON,
        "labels": st.dictionaries(LABELS | TEXT, TEXT | JSON, max_size=6) | JSON,
        "annotations": st.dictionaries(st.just("summary"), TEXT) | JSON,
        "startsAt": st.sampled_from(["2026-03-09T14:30:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"])
        | JSON,
        "endsAt": JSON,
        "fingerprint": st.sampled_from(["ab12"]) | JSON,
        "later": JSON,
    },
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    with Journal.open(tmp_path_factory.mktemp("scratch") / "j.sqlite3", "test") as journal:
        yield journal


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=BROKEN, around=st.dictionaries(TEXT, JSON, max_size=2))
def test_whatever_comes_is_taken_whole_or_refused_by_name(changes, around, scratch):
    """No body raises anything but NotAPayload; what is accepted can be journaled and read back, and asks for nothing
    that is not allowed."""
    data = json.dumps({**around, **json.loads(body({**alert(), **changes}))}).encode()
    try:
        (found,) = read(data).alerts
    except NotAPayload:
        return
    persist(scratch, Delivery([found]))
    (back,) = [one for one in recent_alerts(scratch, 1000) if one.id == found["id"]]
    assert found["action"] in ("", "halt", "halt_symbol")
    assert set(found["parameters"]) <= {"symbol", "symbols", "hours", "days", "sessions", "minutes"}
    assert all(ord(c) >= 32 for text in (back.name, *back.labels.values(), *back.annotations.values()) for c in text)


def test_a_storm_is_one_run_that_names_them_all_and_one_message(live):
    """Two hundred alerts about as many symbols: the playbook runs once, for all symbols; every alert has its page."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "slippage_analysis", "param_hours": "1"}
    symbols = [f"S{a}{b}" for a in "ABCDEFGHIJKLMNOPQRST" for b in "ABCDEFGHIJ"]
    storm = [alert("SymbolSlippage", param_symbol=symbol, **asked) for symbol in symbols]
    persist(journal, read(body(*storm)))
    runs = Runs(made)
    work(live, runs)
    ((name, given, why),) = runs.asked
    assert (name, given) == ("slippage_analysis", {"hours": 1.0})
    assert "SymbolSlippage (SAA)" in why
    assert why.endswith("and 180 more")
    assert {a.state for a in active_alerts(journal)} == {AlertState.NOTIFIED}
    ((severity, title, _),) = messages(journal)
    assert severity == "critical"
    assert title.startswith("STOP: SymbolSlippage (SAA), ")


def test_critical_alerts_come_first_and_each_playbook_has_its_run(live):
    """A warning that came earlier waits; alerts for the same playbook share its run."""
    made, journal = live
    persist(journal, read(body(
        alert("GuardViolation", playbook="guard_review", rule="A"),
        alert("EngineDown", severity="critical", playbook="crash_recovery"),
        alert("GuardViolation", playbook="guard_review", rule="B"),
    )))  # fmt: skip
    runs = Runs(made)
    work(live, runs)
    assert [name for name, _, _ in runs.asked] == ["crash_recovery", "guard_review"]
    assert [title for _, title, _ in messages(journal)] == [
        "STOP: EngineDown", "STOP: GuardViolation (A), GuardViolation (B)"
    ]  # fmt: skip


def test_a_halt_comes_before_the_page_is_stricter_only_and_never_for_a_drill(live):
    """The symbol is halted before the playbook runs, owned by the alert; once; its end lifts nothing."""
    made, journal = live
    guard = ExecutionGuard.get_instance(made)
    asked = {"severity": "critical", "playbook": "slippage_analysis", "param_symbol": "AAPL", "action": "halt_symbol"}
    persist(journal, read(body(alert("SymbolSlippage", drill="true", **asked))))
    work(live, Runs(made))
    assert guard.halts() == ()
    assert recent_alerts(journal)[0].acted == "drill: would have halted AAPL"
    assert messages(journal)[0][1] == "STOP: DRILL SymbolSlippage (AAPL)"

    persist(journal, read(body(alert("SymbolSlippage", **asked))))
    seen = []
    runs = Runs(made, error=PlaybookError("the page cannot be written.", "Free the disk."))
    worker = AlertWorker(made, journal, run=runs)
    while worker.step():
        seen.append((len(guard.halts()), len(runs.asked)))
    assert seen[0] == (1, 0)
    (halt,) = guard.halts()
    assert (halt.scope, halt.target, halt.owner) == (Scope.SYMBOL, "AAPL", "alert SymbolSlippage")
    told = recent_alerts(journal)[0]
    assert (told.verdict, told.reason, told.page) == ("UNKNOWN", "the page cannot be written.", "")
    assert "Action: halted AAPL" in messages(journal)[-1][2]
    assert "There is no page" in messages(journal)[-1][2]

    persist(journal, read(body(alert("SymbolSlippage", start=datetime(2026, 3, 10, tzinfo=UTC), **asked))))
    persist(journal, read(body(alert("SymbolSlippage", status="resolved", **asked))))
    work(live, Runs(made))
    assert guard.halts() == (halt,)
    assert recent_alerts(journal)[0].acted == "AAPL is halted by this alert already"

    persist(journal, read(body(alert("LossLimitReached", playbook="trading_halt", action="halt"))))
    work(live, Runs(made))
    assert {h.scope for h in guard.halts()} == {Scope.SYMBOL, Scope.GLOBAL}


def test_anothers_halt_does_not_stand_in_for_an_alerts(live):
    """A halt that expires, or that is lifted by what set it, leaves the alert's own standing."""
    made, journal = live
    guard = ExecutionGuard.get_instance(made)
    guard.halt("lunch", expires_at=datetime.now(UTC) + timedelta(minutes=5))
    guard.halt("the venue is gone", origin=Origin.CONNECTIVITY)
    persist(journal, read(body(alert("LossLimitReached", playbook="trading_halt", action="halt"))))
    work(live, Runs(made))
    guard.lift(Origin.CONNECTIVITY, "it is back")
    owners = [halt.owner for halt in guard.halts() if halt.expires_at is None]
    assert owners == ["alert LossLimitReached"]
    assert not guard.flag.allows()


def test_a_halt_does_not_wait_for_another_alerts_playbook(live):
    """While a playbook hangs, an alert that comes in halts what its rule says; once."""
    made, journal = live
    persist(journal, read(body(alert("DataStale", severity="critical", playbook="broker_disconnection"))))
    hangs = Hangs(made, "broker_disconnection", "trading_halt")
    with working(live, hangs) as worker:
        wait_for(lambda: hangs.under_way, "the run")
        asked = {"severity": "critical", "playbook": "trading_halt", "action": "halt"}
        persist(journal, read(body(alert("LossLimitReached", **asked))))
        worker.arrived()
        wait_for(lambda: ExecutionGuard.get_instance(made).halts(), "a halt")
        hangs.let_go.set()
    assert [event.kind for event in journal.events(kinds=("alert.acted",))] == ["alert.acted"]


def test_playbooks_that_hang_delay_no_other_critical_alert(live):
    """Two hang, one of a critical alert and one of a warning: a third alert, critical, is told meanwhile; a second
    warning waits, so that warnings never take what critical alerts need."""
    made, journal = live
    hangs = Hangs(made, "guard_review", "crash_recovery")
    with working(live, hangs) as worker:
        for number, one in enumerate((
            alert("GuardViolation", playbook="guard_review"),
            alert("EngineDown", severity="critical", playbook="crash_recovery"),
        )):  # fmt: skip
            persist(journal, read(body(one)))
            worker.arrived()
            wait_for(lambda number=number: len(hangs.under_way) > number, "the run")
        persist(journal, read(body(alert("OrderStuck", playbook="order_rejections"))))
        persist(journal, read(body(alert("DataStale", severity="critical", playbook="broker_disconnection"))))
        worker.arrived()
        wait_for(lambda: messages(journal), "a message")
        assert [title for _, title, _ in messages(journal)] == ["STOP: DataStale"]
        assert [name for name, _, _ in hangs.runs.asked] == ["broker_disconnection"]
        hangs.let_go.set()
        wait_for(lambda: len(messages(journal)) == 4, "the other messages")
    assert sorted(hangs.under_way) == ["crash_recovery", "guard_review"]
    assert sorted(title for _, title, _ in messages(journal)) == [
        "STOP: DataStale", "STOP: EngineDown", "STOP: GuardViolation", "STOP: OrderStuck"
    ]  # fmt: skip


def test_a_run_for_an_alert_is_ended_at_its_limit(live, tmp_path):
    """A real worker whose order never ends: it is killed at the limit, and what came of it says so."""
    worker = WarmWorkers(live[0]).take()
    assert worker.limit_seconds == RUN_SECONDS_MAX
    worker.end()
    sleeper = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    worker = Worker(sleeper, tempfile.TemporaryFile(), {}, limit_seconds=0.2)  # noqa: SIM115
    outcome = workers.work(worker, {"folder": str(tmp_path), "cell_timeout_seconds": 60}, None)
    assert outcome["error"]["message"] == "the run took longer than 0 s"
    assert sleeper.poll() is not None


def test_people_hear_of_a_critical_alert_though_its_playbook_hangs(live):
    """Late pages are announced once, all in one message, with what was done; warnings and what has its page are not."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "trading_halt"}
    persist(journal, read(body(alert("GuardHalted", **asked), alert("EngineDown", **asked), alert("DataStale"))))
    now = [datetime.now(UTC) + timedelta(seconds=60)]  # the webhook was down for a minute: nothing is late yet
    worker = AlertWorker(made, journal, clock=lambda: now[0])
    for later, told in ((0, []), (19, []), (21, ["No page yet: GuardHalted, EngineDown"])):
        now[0] += timedelta(seconds=later)
        while worker.attend():
            pass
        assert [title for _, title, _ in messages(journal)] == told
        now[0] -= timedelta(seconds=later)
    assert messages(journal)[0][0] == "critical"
    work(live, Runs(made))
    assert [title for _, title, _ in messages(journal)][1:] == ["STOP: GuardHalted, EngineDown", "UNKNOWN: DataStale"]


def test_a_playbook_that_ends_the_whole_process_is_given_up_and_told(live):
    """Killed in the run at every start: it is begun three times, each on record before, and then told as failed."""
    journal = live[1]
    persist(journal, read(body(alert("EngineDown", severity="critical", playbook="crash_recovery"))))
    begun = []

    def dies(*_, **__):
        begun.append(len(list(journal.events(kinds=("alert.running",)))))
        raise Crashes

    for _ in range(5):
        with suppress(Crashes):
            work(live, dies)
    assert begun == [1, 2, 3]
    ((severity, title, text),) = messages(journal)
    assert (severity, title) == ("critical", "UNKNOWN: EngineDown")
    assert "begun 3 times and never came to an end" in text
    assert journal.verify().ok


def test_a_halt_that_fails_is_tried_again_and_at_last_told_with_what_to_type(live, monkeypatch):
    """Twice refused, then set; refused for good: a critical message says so, and nothing else waits for it."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "slippage_analysis", "param_symbol": "AAPL", "action": "halt_symbol"}
    guard, refusals = ExecutionGuard.get_instance(made), [2]
    halt = guard.halt

    def fails(*words, **how):
        refusals[0] -= 1
        if refusals[0] >= 0:
            raise JournalError("the disk is full.", "Free space.")
        return halt(*words, **how)

    monkeypatch.setattr(guard, "halt", fails)
    now = [0.0]
    acting = Acting(made, journal, clock=lambda: now[0])

    def spend(seconds):
        for _ in range(seconds):
            while acting.step():
                pass
            now[0] += 1

    persist(journal, read(body(alert("SymbolSlippage", **asked))))
    spend(5)
    assert [h.target for h in guard.halts()] == ["AAPL"]
    assert recent_alerts(journal)[0].acted.startswith("halted AAPL")
    assert messages(journal) == []

    refusals[0] = 99
    persist(journal, read(body(alert("SymbolSlippage", **{**asked, "param_symbol": "MSFT"}))))
    spend(60)
    assert 99 - refusals[0] == 1 + len(PAUSES)
    ((severity, title, text),) = messages(journal)
    assert (severity, title) == ("critical", "HALT FAILED: SymbolSlippage (MSFT)")
    assert "athena halt --symbol MSFT" in text
    assert "the disk is full" in text
    assert recent_alerts(journal)[0].acted == "the halt of MSFT FAILED: the disk is full."


def test_an_alert_that_comes_and_goes_is_told_at_most_once_in_ten_minutes(live):
    """Fires, ends, fires, ends, fires: one message, then one that it fires still and how often; halts act each time."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "slippage_analysis", "param_symbol": "AAPL", "action": "halt_symbol"}
    guard, runs = ExecutionGuard.get_instance(made), Runs(made)
    for minute in range(3):
        at = datetime(2026, 3, 9, 14, minute, tzinfo=UTC)
        persist(journal, read(body(alert("SymbolSlippage", start=at, **asked))))
        work(live, runs)
        (halt,) = guard.halts()
        assert halt.target == "AAPL"
        if minute < 2:
            persist(journal, read(body(alert("SymbolSlippage", "resolved", start=at, **asked))))
            work(live, runs)
    assert [title for _, title, _ in messages(journal)] == ["STOP: SymbolSlippage (AAPL)"]
    assert len(runs.asked) == 3
    work(live, runs, timedelta(minutes=9))
    assert len(messages(journal)) == 1
    work(live, runs, timedelta(minutes=11))
    (_, (severity, title, text)) = messages(journal)
    assert (severity, title) == ("critical", "STOP: SymbolSlippage (AAPL)")
    assert "came back 2 times, since the message of" in text
    assert "Action: AAPL is halted by this alert already" in text
    work(live, runs, timedelta(minutes=11))
    assert len(messages(journal)) == 2
    acted = [event.payload["outcome"] for event in journal.events(kinds=("alert.acted",))]
    assert len(acted) == 3
    persist(journal, read(body(alert("SymbolSlippage", "resolved", start=at, **asked))))
    work(live, runs, timedelta(minutes=11))
    assert [title for _, title, _ in messages(journal)][2:] == ["Over: SymbolSlippage (AAPL)"]
    assert unfinished_alerts(journal) == []


def test_an_end_is_told_once_it_has_lasted_and_a_new_beginning_at_once(live):
    """Nobody is told that it is over until it has been for ten minutes; when it fires then, people hear at once."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "broker_disconnection"}
    persist(journal, read(body(alert("DataStale", **asked))))
    work(live, Runs(made))
    ended = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    persist(journal, read(body({**alert("DataStale", "resolved", **asked), "endsAt": ended})))
    work(live, Runs(made), timedelta(minutes=39))
    assert [title for _, title, _ in messages(journal)] == ["STOP: DataStale"]
    work(live, Runs(made), timedelta(minutes=41))
    assert [title for _, title, _ in messages(journal)] == ["STOP: DataStale", "Over: DataStale"]
    persist(journal, read(body(alert("DataStale", start=datetime(2026, 3, 9, 15, tzinfo=UTC), **asked))))
    work(live, Runs(made, first=1), timedelta(minutes=42))
    assert [a.state for a in active_alerts(journal)] == [AlertState.NOTIFIED]
    assert messages(journal)[-1][1] == "STOP: DataStale"


def test_people_wait_for_no_picture(live, monkeypatch):
    """A page is there and its mail's pictures take their time: after a moment it is told without them, once."""
    made, journal = live
    monkeypatch.setattr("athena.ops.alert_worker.PICTURES_SECONDS", 0.3)
    persist(journal, read(body(alert("EngineDown", severity="critical", playbook="crash_recovery"))))
    runs, drawn = Runs(made), threading.Event()

    def draws(*words, told, **more):
        assert runs(*words, told=told, **more) is None
        drawn.wait(30)

    with working(live, draws):
        wait_for(lambda: messages(journal), "a message")
        assert not drawn.is_set()
        drawn.set()
    assert [title for _, title, _ in messages(journal)] == ["STOP: EngineDown"]


def test_what_comes_and_goes_holds_no_other_alert_back(live):
    """One of a run's two alerts was told of a minute ago: the message is about the other."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "broker_disconnection"}
    persist(journal, read(body(alert("DataStale", **asked))))
    work(live, Runs(made))
    persist(journal, read(body(alert("DataStale", "resolved", **asked))))
    again = datetime(2026, 3, 9, 15, tzinfo=UTC)
    persist(journal, read(body(alert("DataStale", start=again, **asked), alert("BrokerDisconnected", **asked))))
    work(live, Runs(made, first=1))
    assert [title for _, title, _ in messages(journal)] == ["STOP: DataStale", "STOP: BrokerDisconnected"]
    persist(journal, read(body(alert("DataStale", "resolved", start=again, **asked))))
    work(live, Runs(made), timedelta(minutes=11))
    ((severity, title, text),) = messages(journal)[2:]
    assert (severity, title) == ("info", "Over: DataStale")
    assert "It had come back once since the last message" in text


def test_an_alert_that_cannot_be_answered_holds_up_no_other(live, monkeypatch):
    """A defect met by one alert's run: the others are told, it is tried again, and then told too."""
    monkeypatch.setattr("athena.ops.alert_worker.RETRY_SECONDS", 0.5)
    made, journal = live
    runs, broken = Runs(made), [True]

    def run(name, *rest, **more):
        if name == "crash_recovery" and broken[0]:
            raise KeyError("a defect")
        return runs(name, *rest, **more)

    persist(journal, read(body(
        alert("EngineDown", severity="critical", playbook="crash_recovery"),
        alert("DataStale", playbook="broker_disconnection"),
    )))  # fmt: skip
    with working(live, run) as worker:
        wait_for(lambda: messages(journal), "a message")
        assert [title for _, title, _ in messages(journal)] == ["STOP: DataStale"]
        wait_for(lambda: "a defect" in worker.problem, "its trouble")
        broken[0] = False
        wait_for(lambda: len(messages(journal)) == 2, "the second message")
        wait_for(lambda: not worker.problem, "the end of its trouble")


def test_what_an_alert_may_not_ask_for_is_not_done_and_people_are_told_all_the_same(live):
    """An unknown playbook, a path and a wish to resume: no run, no action, a message that says what was refused."""
    made, journal = live
    persist(journal, read(body(
        alert("Odd\u202e<script>", playbook="../../etc/passwd", action="resume", param_journal="/etc/passwd",
              annotations={"summary": "<script>alert(1)</script> <!channel> \x00\x1b[31m"}),
    )))  # fmt: skip
    runs = Runs(made)
    work(live, runs)
    assert runs.asked == []
    assert ExecutionGuard.get_instance(made).halts() == ()
    ((_, title, text),) = messages(journal)
    assert title == "UNKNOWN: Odd <script>"
    assert "'../../etc/passwd' is not a playbook" in text.replace(".._.._", "../../")
    assert "'resume' is not an action" in text
    assert "\x1b" not in text


def test_a_page_is_found_from_any_folder(live, monkeypatch):
    """A relative folder of reports is of whoever ran it; the journal has the whole path."""
    made, journal = live
    monkeypatch.chdir(made.reports.parent)
    near = replace(made, reports=Path("reports"))
    persist(journal, read(body(alert("EngineDown", severity="critical", playbook="crash_recovery"))))
    work((near, journal), Runs(near))
    assert Path(active_alerts(journal)[0].page).parent.parent == made.reports


def test_an_end_is_told_once_and_an_alert_that_was_over_is_not_run(live):
    """Resolved after its page: a second, quieter message. Resolved before anything was done: no run, one message."""
    made, journal = live
    first = alert("GuardHalted", severity="critical", playbook="trading_halt")
    persist(journal, read(body(first)))
    runs = Runs(made)
    work(live, runs)
    over = alert("GuardHalted", "resolved", severity="critical", playbook="trading_halt")
    assert persist(journal, read(body(over))) == 1
    assert persist(journal, read(body(over))) == 0
    work(live, runs, timedelta(minutes=11))
    persist(journal, read(body(alert("DataStale", "resolved", playbook="broker_disconnection"))))
    work(live, runs)
    assert len(runs.asked) == 1
    assert [(severity, title) for severity, title, _ in messages(journal)] == [
        ("critical", "STOP: GuardHalted"), ("info", "Over: GuardHalted"), ("warning", "UNKNOWN: DataStale")
    ]  # fmt: skip
    assert "Not reported any more since" in messages(journal)[2][2]
    assert unfinished_alerts(journal) == []
    assert active_alerts(journal) == []


def test_an_alert_whose_metric_ended_with_the_engine_is_not_told_to_be_over(live):
    """The engine died: its alerts end for want of a metric, and nobody knows. While it may live still, that waits."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "drawdown_assessment"}
    begun = datetime.now(UTC)
    end = (begun + timedelta(seconds=1)).isoformat()
    persist(journal, read(body(alert("HighDailyLoss", **asked))))
    journal.heartbeat("engine", {"state": "running"})
    work(live, Runs(made))
    persist(journal, read(body({**alert("HighDailyLoss", "resolved", **asked), "endsAt": end})))
    work(live, Runs(made), timedelta(minutes=11))
    assert [title for _, title, _ in messages(journal)] == ["STOP: HighDailyLoss"]
    journal.heartbeat("engine", {"state": "stopped"})
    work(live, Runs(made), timedelta(minutes=11))
    (_, (severity, title, text)) = messages(journal)
    assert (severity, title) == ("warning", "No longer reported: HighDailyLoss")
    assert "nobody knows whether it is over" in text


class Crashes(Exception):
    """Stands for a SIGKILL."""


def test_a_crash_at_any_place_loses_nothing_and_does_nothing_twice(live):
    """Killed before and after each event it journals, and started again: one page, one message, one halt, each time."""
    made, journal = live
    asked = {"severity": "critical", "playbook": "slippage_analysis", "param_symbol": "AAPL", "action": "halt_symbol"}
    for place in range(8):
        begun = datetime(2026, 3, 9, 15, place, tzinfo=UTC)
        persist(journal, read(body(alert("SymbolSlippage", start=begun, number=str(place), **asked))))
        with dying(journal, place):
            work(live, Runs(made))
        again = Runs(made, first=place + 1)
        work(live, again)
        told = next(a for a in recent_alerts(journal) if a.starts_at.replace(microsecond=0) == begun)
        assert (told.state, told.verdict) == (AlertState.NOTIFIED, "STOP")
        assert len(again.asked) == (place in (1, 2)), place  # at 3 its page was there already
    kinds = [event.kind for event in journal.events()]
    once = ["alert.received", "alert.acted", "alert.running", "alert.page", "alert.notified", "notification.queued"]
    assert {kind: kinds.count(kind) for kind in once} == dict.fromkeys(once, 8)
    assert len(ExecutionGuard.get_instance(made).halts()) == 1
    assert len(messages(journal)) == 8


@contextmanager
def dying(journal, place):
    """Within it the journal's `place`-th commit is where its process dies: nothing of it is written."""
    left = [place]

    def dies():
        left[0] -= 1
        if left[0] == 0:
            raise Crashes

    append, transaction = journal.append, journal.transaction
    journal.append = lambda *a: dies() or append(*a)
    journal.transaction = lambda: dies() or transaction()
    try:
        yield
    except Crashes:
        pass
    finally:
        journal.append, journal.transaction = append, transaction
    assert left[0] <= 0 or place == 0 or place > 4, "it did not die"


def test_a_page_that_was_made_before_a_crash_is_taken_up_not_made_again(live):
    """The run had published when its process died before saying so: the next finds the page by the run's id."""
    made, journal = live
    persist(journal, read(body(alert("EngineDown", severity="critical", playbook="crash_recovery"))))
    ((one,)) = active_alerts(journal)
    journal.append("alert.running", {"ids": [one.id], "run": "abc123"})
    Runs(made)("crash_recovery", {}, told=lambda run: None, why="alert run abc123: EngineDown", worker=None)
    runs = Runs(made)
    work(live, runs)
    assert runs.asked == []
    assert active_alerts(journal)[0].page.endswith(".html")


def test_a_full_disk_is_answered_with_503_and_a_critical_alert_told_past_the_journal(live, monkeypatch):
    """Alertmanager keeps what was not journaled; people hear of it at once, and not again with each retry."""
    journal, told = live[1], []
    monkeypatch.setattr("athena.ops.alert_server.notify", lambda *_, **message: told.append(message["dedup_key"]))
    with serving(live) as server:
        real = journal.transaction

        def full():
            raise JournalError("the disk is full.", "Free space.")

        journal.transaction = full
        critical = alert("EngineDown", severity="critical", playbook="crash_recovery")
        assert post(server, body(critical, alert()))[0] == 503
        journal.transaction = real
        assert post(server, body(critical, alert())) == (200, "2 new of 2\n")
    server._telling.acquire()
    assert told == [f"alert {read(body(critical)).alerts[0]['id']} unrecorded"]
