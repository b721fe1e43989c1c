"""The webhook on a real socket: what it takes, refuses, journals and shows."""

import http.client
import json
import socket
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athena.cli import main
from athena.core.alerts import UNHEARD_AFTER, active_alerts, recent_alerts
from athena.core.channels import Fate, Outcome
from athena.core.delivery import Courier
from athena.core.notifications import notify
from athena.errors import JournalError
from athena.journal.journal import Journal
from athena.live.loopback import CONNECTIONS_MAX, Page
from athena.ops.alert_payload import ALERTS_MAX, SIZE_MAX, Delivery, NotAPayload, read
from athena.ops.alert_server import AlertServer, persist, token_of, token_path
from athena.ops.health_parts import parts
from tests.engine.processes import wait_for
from tests.monitoring.answering import Runs, messages, work
from tests.monitoring.payloads import alert, body


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


def metrics(server):
    """The webhook's page: each series with its value."""
    text = urlopen(f"{server.url}/metrics", timeout=5).read().decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_a_delivery_is_in_the_journal_before_it_is_answered_and_once(live):
    """200 only with its rows there; told again it is not new; its end is; another start is another alert."""
    journal = live[1]
    one, two = alert(param_hours="1", playbook="slippage_analysis"), alert("EngineDown", severity="critical")
    with serving(live) as server:
        assert post(server, body(one, two)) == (200, "2 new of 2\n")
        assert metrics(server)["athena_alerts_deliveries_refused_total"] == 0
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
        assert metrics(server)["athena_alerts_deliveries_refused_total"] == 6  # of another host's it is not asked
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
        return {name: value for name, value in metrics(server).items() if name.startswith("athena_e")}

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


def test_with_the_engine_gone_the_webhook_tells_that_nobody_is_told(live):
    """A message that waits, a dead letter, an alert without its page, a silent schedule: all on its own page."""
    made, journal = live
    page, channel = "athena_alerts_oldest_unfinished_age_seconds", 'last_dead_letter_timestamp_seconds{channel="slack"}'
    with serving(live) as server:
        before = metrics(server)
        assert before["athena_outbox_oldest_age_seconds"] == before[page] == before[f"athena_{channel}"] == 0
        notify(made, severity="critical", title="the engine is down", journal=journal, environment={})
        assert metrics(server)["athena_outbox_oldest_age_seconds"] > 0
        refused = Courier(made, journal, {}, send=lambda claim: Outcome(Fate.REFUSED, "revoked"))
        assert [one.status for one in refused.deliver()] == ["dead"]
        journal.heartbeat("schedule", {"once": False})
        post(server, body(alert()))
        after = metrics(server)
        assert after[f"athena_{channel}"] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
        assert after["athena_outbox_oldest_age_seconds"] == 0
        assert after[page] > 0
        assert after['athena_service_heartbeat_age_seconds{service="schedule"}'] > 0


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
