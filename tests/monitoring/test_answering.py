"""What is done about alerts, with a stand-in for the notebook's run: halts, pages, messages; lanes, crashes, limits."""

import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from athena.core.alerts import AlertState, active_alerts, recent_alerts, unfinished_alerts
from athena.errors import JournalError, PlaybookError
from athena.live.execution_guard import ExecutionGuard
from athena.model import Origin, Scope
from athena.ops.alert_acting import PAUSES, Acting
from athena.ops.alert_nursery import RUN_SECONDS_MAX, WarmWorkers
from athena.ops.alert_payload import read
from athena.ops.alert_server import persist
from athena.ops.alert_worker import AlertWorker
from athena.ops.alerts import Trouble
from athena.playbooks import workers
from athena.playbooks.workers import Worker
from tests.engine.processes import wait_for
from tests.monitoring.answering import Hangs, Runs, messages, work, working
from tests.monitoring.payloads import alert, body


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


def test_people_hear_that_alerts_cannot_be_answered(live):
    """Whatever is wrong for a minute is told, once; what passes is not."""
    made, journal = live
    now = [0.0]
    trouble = Trouble(made, journal, clock=lambda: now[0])
    for at, problem in ((0, "a defect"), (59, "a defect"), (60, ""), (61, "a defect"), (120, "a defect")):
        now[0] = at
        trouble.look(problem)
    assert messages(journal) == []
    for at in (121, 130):
        now[0] = at
        trouble.look("a defect")
    ((severity, title, text),) = messages(journal)
    assert (severity, title) == ("critical", "Alerts cannot be answered")
    assert "a defect" in text


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


def test_alerts_without_a_run_are_told_each(live):
    """No playbook, or over before it was looked at: each has a message of its own, however many there were before."""
    made, journal = live
    for name in ("One", "Two"):
        persist(journal, read(body(alert(name))))
        work(live, Runs(made))
        persist(journal, read(body(alert(f"{name}Over", "resolved", playbook="guard_review"))))
        work(live, Runs(made))
    told = [title for _, title, _ in messages(journal)]
    assert told == [f"UNKNOWN: {name}" for name in ("One", "OneOver", "Two", "TwoOver")]
    assert unfinished_alerts(journal) == []


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
