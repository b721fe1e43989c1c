"""The outbox against real receivers: nothing lost, nothing twice, said where an operator looks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from athena.core import notifications, outbox
from athena.core.channels import Fate, Outcome
from athena.core.delivery import Courier, attempt, by_channel
from athena.core.notifications import notify
from athena.errors import JournalError, SettingsError
from athena.journal import Journal
from athena.live.metrics_counts import Counts
from athena.ops import schedule
from athena.ops.notifications import follow
from tests.engine.processes import wait_for
from tests.support.receivers import Slack


class Clock:
    """Time that moves when told; the journal's own stamps stay the machine's."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.ahead

    def forward(self, **by):
        self.ahead += timedelta(**by)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def courier(settings, journal, environment, clock):
    return Courier(settings, journal, environment, now=clock, jitter=lambda: 0.5)


@pytest.fixture
def told(settings, journal, environment):
    def tell(title="Slippage is high", severity="warning", **more):
        return notify(settings, severity=severity, title=title, journal=journal, environment=environment, **more)

    return tell


def states(journal):
    return {row["id"].partition(".")[2]: row["status"] for row in outbox.deliveries(journal)}


def test_a_message_reaches_every_channel_that_is_set_up(told, courier, slack, box, journal):
    """One call, and Slack and both mail recipients have it; a second pass sends nothing."""
    made = told(body="AAPL 61 bps")
    assert made.channels == ("slack", "email")
    assert {one.status for one in courier.deliver()} == {"sent"}
    assert courier.deliver() == []
    assert len(slack.texts) == 1
    assert slack.texts[0].startswith("⚠️ ATHENA WARNING: Slippage is high\nAAPL 61 bps\nsimulator, venue SIMULATOR")
    [(recipients, content)] = box.mails
    assert recipients == ["desk@company.com", "risk@company.com"]
    assert b"Subject: ATHENA WARNING: Slippage is high [simulator]" in content
    assert journal.verify().ok


def test_a_key_is_told_once(told, courier, slack):
    """A message with a used key queues nothing and says which message it repeats."""
    first = told(dedup_key="f1 firing")
    again = told(title="other words", dedup_key="f1 firing")
    assert (again.repeated, again.id) == (True, first.id)
    courier.deliver()
    assert len(slack.texts) == 1


def test_a_message_becomes_true_with_its_cause_or_not_at_all(settings, journal, environment):
    """Queued in the cause's transaction, it goes when the cause is rolled back."""

    def cause(fails):
        with journal.transaction() as tx:
            tx.append("note", {"text": "the cause"})
            notify(settings, severity="info", title="the effect", tx=tx, environment=environment)
            if fails:
                raise RuntimeError("cause failed")

    with pytest.raises(RuntimeError, match="cause failed"):
        cause(fails=True)
    assert outbox.deliveries(journal) == []
    cause(fails=False)
    assert states(journal) == {"slack": "queued"}


@pytest.mark.parametrize("failures", [[500], [429, 503], [(429, {"Retry-After": "120"})]])
def test_a_slack_in_trouble_gets_it_once_when_it_is_well(told, courier, slack, clock, failures):
    """500 and 429 are tried again later, never sooner than Retry-After says, and once it is taken never again."""
    slack.answers = list(failures)
    told()
    waits = []
    while not slack.texts:
        [one] = [one for one in courier.deliver() if one.channel == "slack"] or [None]
        if one is None or one.status == "sent":
            assert len(waits) < 500
            waits.append(1)
            clock.forward(seconds=1)
    clock.forward(hours=1)
    assert courier.deliver() == []
    assert len(slack.bodies) == len(failures) + 1
    if isinstance(failures[0], tuple):
        assert len(waits) >= 120


def test_retry_after_rests_the_whole_channel(told, courier, slack, clock):
    """While Slack asks for a pause, a later message does not knock either; mail goes on."""
    slack.answers = [(429, {"Retry-After": "600"})]
    told("first")
    courier.deliver()
    told("second", severity="critical")
    assert [one.channel for one in courier.deliver()] == ["email"]
    clock.forward(seconds=700)
    courier.deliver()
    assert sorted("second" in text for text in slack.texts) == [False, True]


def test_a_hanging_receiver_holds_up_no_other_and_gets_one_marked_repeat(
    told, settings, environment, slack, box, clock, journal
):
    """No answer is not a no: it is sent once more, marked; in doubt twice it is a dead letter, shown, and retried."""
    slack.hang = threading.Event()
    hasty = replace(settings, notifications=replace(settings.notifications, timeout_seconds=1.0))
    courier = Courier(hasty, journal, environment, now=clock, jitter=lambda: 0.5)
    told()
    assert {one.channel: one.status for one in courier.deliver()} == {"slack": "queued", "email": "sent"}
    assert len(box.mails) == 1
    clock.forward(minutes=2)
    [one] = courier.deliver()
    assert one.status == "dead"
    assert "look in the channel" in one.told
    assert len(slack.bodies) == 2
    assert "may be a repeat" in slack.bodies[1][2]["text"]
    clock.forward(days=2)
    assert courier.deliver() == []
    assert outbox.state(journal).dead == 1
    slack.hang.set()
    slack.hang = None
    [dead] = outbox.deliveries(journal, status=("dead",))
    outbox.retry(journal, [dead["id"]], "alice")
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert len(slack.texts) == 1


def test_while_one_channel_hangs_later_messages_go_by_the_others(told, settings, journal, environment, slack, box):
    """Slack hangs on the first message as long as it likes: the second's mail goes, and stopping loses no outcome."""
    slack.hang, stop = threading.Event(), threading.Event()
    patient = replace(settings, notifications=replace(settings.notifications, timeout_seconds=60.0))
    courier = Courier(patient, journal, environment)
    working = threading.Thread(target=follow, args=(courier, journal, stop, lambda line: None))
    working.start()
    try:
        told("first")
        wait_for(lambda: slack.bodies and len(box.mails) == 1, "the first message at both")
        told("second", severity="critical")
        wait_for(lambda: outbox.state(journal).waiting == 2 and len(box.mails) == 2, "the second by mail", 25)
        assert sorted(row["status"] for row in outbox.deliveries(journal)) == ["queued", "sending", "sent", "sent"]
    finally:
        stop.set()
        slack.hang.set()
        working.join(30)
    assert sorted(row["status"] for row in outbox.deliveries(journal)) == ["queued", "queued", "sent", "sent"]


def test_a_dead_mail_server_loses_nothing(told, settings, journal, environment, clock, box):
    """A refused connection is tried with growing pauses, after some hours shown as dead; a server come back gets it."""
    settings = replace(settings, notifications=replace(settings.notifications, give_up_hours=2.0))
    gone = replace(settings, notifications=replace(settings.notifications, smtp_port=1))
    courier = Courier(gone, journal, environment, now=clock, jitter=lambda: 0.5)
    told()
    attempts = []
    for _ in range(120):
        attempts += [clock.ahead for one in courier.deliver() if one.channel == "email"]
        clock.forward(seconds=30)
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert 5 <= len(attempts) <= 12
    assert gaps[-1] >= 10 * gaps[0]
    assert "Connection refused" in outbox.state(journal).last_error
    clock.forward(minutes=16)
    well = Courier(settings, journal, environment, now=clock)
    assert [one.status for one in well.deliver()] == ["sent"]
    assert len(box.mails) == 1
    told("another")
    clock.ahead, status = timedelta(), ""
    while status != "dead":
        clock.forward(minutes=10)
        status = next((one.status for one in courier.deliver() if one.channel == "email"), status)
        assert clock.ahead < timedelta(hours=3)
    assert clock.ahead > timedelta(hours=1, minutes=30)


def test_a_clock_set_forward_by_days_makes_no_first_failure_a_dead_letter(told, courier, clock, slack):
    """Three days ahead at once, and Slack refuses: it waits, is tried again, and arrives."""
    told()
    clock.forward(days=3)
    slack.answers = [500]
    assert {one.channel: one.status for one in courier.deliver()}["slack"] == "queued"
    clock.forward(minutes=1)
    assert [(one.channel, one.status) for one in courier.deliver()] == [("slack", "sent")]


def test_a_clock_set_back_by_hours_holds_nothing_up(told, settings, journal, environment, clock, slack):
    """Retries, pauses, the throttle and a dead deliverer's lease, stamped three hours ahead: all pass at once."""
    slow = replace(settings, notifications=replace(settings.notifications, per_minute=1))
    courier = Courier(slow, journal, environment, now=clock, jitter=lambda: 0.5)
    clock.forward(hours=3)
    told("first", severity="info")
    slack.answers = [(429, {"Retry-After": "600"})]
    assert [one.status for one in courier.deliver()] == ["queued"]
    clock.ahead = timedelta()
    assert [one.status for one in courier.deliver()] == ["sent"]  # neither retry nor the channel's pause is waited for
    clock.forward(hours=3)
    told("second", severity="info")
    assert [one.status for one in courier.deliver()] == ["sent"]
    told("third", severity="info")
    clock.ahead = timedelta(minutes=2)
    assert [one.status for one in courier.deliver()] == ["sent"]  # the throttle counts what was sent, not what will be
    told("fourth", severity="info")
    clock.forward(hours=3)
    assert outbox.claim(journal, "slack", clock(), lease_seconds=60, per_minute=10) is not None
    clock.ahead = timedelta(minutes=4)
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert "may be a repeat" in slack.texts[-1]


def test_a_mail_is_one_message_whatever_the_server_says(told, courier, box, clock, journal):
    """451 is tried again, 554 is a dead letter at once."""
    box.answers = ["451 busy"]
    told()
    assert {one.channel: one.status for one in courier.deliver()}["email"] == "queued"
    clock.forward(minutes=1)
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert len(box.mails) == 1
    box.answers = ["554 spam"]
    told("third")
    assert {one.channel: one.status for one in courier.deliver()}["email"] == "dead"


def test_a_recipient_the_server_leaves_out_is_tried_on_and_nobody_gets_it_twice(told, courier, box, clock, journal):
    """450 for one: the other has it, he has it once his mailbox takes it. 550: a dead letter that names him."""
    counts = Counts(0)
    box.refused = {"risk@company.com": "450 greylisted"}
    told()
    assert "not for risk@company.com (450)" in {one.channel: one.told for one in courier.deliver()}["email"]
    assert courier.deliver() == []
    [waits] = outbox.deliveries(journal, status=("queued",))
    assert waits["id"].endswith(".email:risk@company.com")
    assert "answered 450 (for risk@company.com): greylisted" in waits["error"]
    clock.forward(minutes=1)
    assert [one.status for one in courier.deliver()] == ["queued"]
    box.refused.clear()
    clock.forward(minutes=1)
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert [recipients for recipients, _ in box.mails] == [["desk@company.com"], ["risk@company.com"]]
    assert set(states(journal).values()) == {"sent"}

    box.refused = {"desk@company.com": "550 no such mailbox", "risk@company.com": "450 greylisted"}
    told("another")
    assert {one.channel: one.status for one in courier.deliver()}["email"] == "queued"
    del box.refused["risk@company.com"]
    clock.forward(minutes=1)
    courier.deliver()
    [dead] = outbox.deliveries(journal, status=("dead",))
    assert "answered 550 (for desk@company.com)" in dead["error"]
    assert [recipients for recipients, _ in box.mails[2:]] == [["risk@company.com"]]
    counts.catch_up(journal)
    assert counts.notifications["email", "dead"] == 1
    assert journal.verify().ok


def test_many_deliverers_send_each_message_once(settings, journal, environment, told, slack):
    """Four couriers on connections of their own, thirty messages: thirty arrive, none twice."""
    for number in range(30):
        told(f"message {number}", severity="critical")

    def work():
        with Journal.open(settings.journal_path, "courier") as own:
            courier = Courier(settings, own, environment)
            while courier.deliver():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    numbers = sorted(int(text.splitlines()[0].rpartition(" ")[2]) for text in slack.texts)
    assert numbers == list(range(30))
    assert set(states(journal).values()) == {"sent"}


def test_a_courier_killed_between_sending_and_recording_repeats_once_and_says_so(
    told, settings, environment, slack, clock, journal
):
    """A process that dies with the message sent leaves a lease; after it one repeat, marked, and never a third."""
    told(severity="info")
    code = (
        "import os, sys\n"
        "from athena.config import Settings\n"
        "from athena.core import delivery, outbox\n"
        "from athena.journal import Journal\n"
        "outbox.finish = lambda *a, **k: os.kill(os.getpid(), 9)\n"
        "settings = Settings.load()\n"
        "journal = Journal.open(settings.journal_path, 'courier')\n"
        "delivery.Courier(settings, journal, os.environ).deliver()\n"
    )
    variables = {"ATHENA_HOME": str(settings.home), "PATH": "/usr/bin", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=variables, cwd=settings.home, timeout=60, check=False)
    assert done.returncode == -9
    assert states(journal)["slack"] == "sending"
    courier = Courier(settings, journal, environment, now=clock)
    assert courier.deliver() == []
    clock.forward(minutes=5)
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert ["may be a repeat" in text for text in slack.texts] == [False, True]
    clock.forward(hours=5)
    assert courier.deliver() == []


def test_what_could_not_be_recorded_is_recorded_before_anything_else(told, courier, slack, journal, monkeypatch):
    """A disk that fills between sending and recording makes no repeat while the courier lives."""
    told()
    real = outbox.finish

    def full(*_, **__):
        raise JournalError("the disk under it is full")

    monkeypatch.setattr(outbox, "finish", full)
    assert all("NOT RECORDED YET" in one.told for one in courier.deliver())
    monkeypatch.setattr(outbox, "finish", real)
    assert {one.status for one in courier.deliver()} == {"sent"}
    assert courier.deliver() == []
    assert len(slack.texts) == 1
    assert set(states(journal).values()) == {"sent"}


def test_with_a_journal_that_cannot_be_written_a_critical_message_goes_at_once(
    settings, environment, slack, box, tmp_path
):
    """A full or broken disk is when people must hear of it: sent past the journal, once a key; others are refused."""
    blocked = replace(settings, home=tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    notifications._told_at_once.clear()
    made = notify(blocked, severity="critical", title="disk full", dedup_key="disk 1", environment=environment)
    assert [one.status for one in made.sent_at_once] == ["sent", "sent"]
    assert notify(blocked, severity="critical", title="disk full", dedup_key="disk 1", environment=environment).repeated
    assert (len(slack.texts), len(box.mails)) == (1, 1)
    with pytest.raises(JournalError):
        notify(blocked, severity="warning", title="a warning", environment=environment)
    with Slack() as other:
        other.answers = [500, 500]
        only = {"SLACK_WEBHOOK_URL": other.url}
        mute = replace(blocked, notifications=replace(settings.notifications, smtp_port=1))
        with pytest.raises(JournalError, match="neither recorded nor sent"):
            notify(mute, severity="critical", title="disk full", environment=only)


def test_a_storm_is_throttled_and_criticals_pass(settings, journal, environment, told, slack, clock):
    """No more messages of a channel a minute than the setting; a critical one goes past the queue; the rest follow."""
    slow = replace(settings, notifications=replace(settings.notifications, per_minute=3))
    courier = Courier(slow, journal, environment, now=clock)
    for number in range(8):
        told(f"noise {number}")
    courier.deliver()
    assert len(slack.texts) == 3
    told("the engine is down", severity="critical")
    courier.deliver()
    assert [text for text in slack.texts[3:] if "engine is down" in text] == slack.texts[3:]
    while outbox.state(journal).waiting:
        clock.forward(seconds=20)
        courier.deliver()
        assert clock.ahead < timedelta(minutes=10)
    assert len(slack.texts) == 9


def test_an_attempt_that_never_ends_is_given_up(settings, journal, environment, told, clock):
    """A receiver that trickles for ever costs one deadline, not the deliverer."""
    never = threading.Event()

    def send(claim):
        never.wait(30)
        return Outcome(Fate.SENT, "much later")

    quick = replace(settings, notifications=replace(settings.notifications, timeout_seconds=0.05))
    told()
    courier = Courier(quick, journal, environment, now=clock, send=send)
    assert {one.status for one in courier.deliver()} == {"queued"}
    never.set()


def test_a_channel_that_is_asked_for_and_not_set_up_waits_and_says_what_is_missing(settings, journal, told):
    """A channel named in the settings is never skipped in silence."""
    strict = replace(settings, notifications=replace(settings.notifications, info=("slack", "pager")))
    notify(strict, severity="info", title="hello", journal=journal, environment={})
    done = Courier(strict, journal, {}).deliver()
    assert {one.told.partition(" ")[0] for one in done} == {"SLACK_WEBHOOK_URL", "ATHENA_APPRISE_PAGER"}
    assert {one.status for one in done} == {"queued"}


def test_a_deliverer_that_stood_still_past_its_lease_sends_nothing(settings, journal, told, slack, environment):
    """Stopped between claim and send for longer than its lease: another has the message, so it is not sent twice."""
    told()
    claim = outbox.claim(journal, "slack", datetime.now(UTC), lease_seconds=60, per_minute=10)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert attempt(claim, by_channel(settings, environment), 5, until=now - 1).fate is Fate.LATER
    assert slack.texts == []
    assert attempt(claim, by_channel(settings, environment), 5, until=now + 60).fate is Fate.SENT
    assert len(slack.texts) == 1


def test_apprise_delivers_to_a_named_channel(settings, journal, slack):
    """ATHENA_APPRISE_NAME is one more channel, by any of Apprise's addresses."""
    environment = {"ATHENA_APPRISE_PAGER": f"json://127.0.0.1:{slack.server_port}/hook"}
    made = notify(settings, severity="critical", title="loss", body="b", journal=journal, environment=environment)
    assert made.channels == ("email", "pager")
    done = {one.channel: one for one in Courier(settings, journal, environment).deliver()}
    assert done["pager"].status == "sent"
    assert "Ada Lee" in slack.texts[0]
    slack.answers = [500]
    notify(settings, severity="critical", title="loss 2", journal=journal, environment=environment)
    assert {one.channel: one.status for one in Courier(settings, journal, environment).deliver()}["pager"] == "queued"


def test_apprise_in_doubt_repeats_once_and_says_so(settings, journal, slack, clock):
    """It took the message and was slow: one marked repeat, then a dead letter. Refusals are tried on, marked too."""
    address = f"json://127.0.0.1:{slack.server_port}/hook?rto=0.3"
    only = replace(settings, notifications=replace(settings.notifications, critical=("pager",)))
    courier = Courier(only, journal, {"ATHENA_APPRISE_PAGER": address}, now=clock, jitter=lambda: 0.5)
    slack.answers = [500, 503]
    notify(only, severity="critical", title="Read timed out", journal=journal, environment={})
    for expected in ("queued", "queued", "sent"):
        assert [one.status for one in courier.deliver()] == [expected]
        clock.forward(minutes=1)
    assert ["may be a repeat" in body["message"] for _, _, body in slack.bodies] == [False, True, True]
    slack.hang = threading.Event()
    notify(only, severity="critical", title="slow", journal=journal, environment={})
    assert [one.status for one in courier.deliver()] == ["queued"]
    clock.forward(minutes=2)
    assert [one.status for one in courier.deliver()] == ["dead"]
    assert "may be a repeat" in slack.bodies[-1][2]["message"]
    clock.forward(days=1)
    assert courier.deliver() == []
    slack.hang.set()
    gone = Courier(only, journal, {"ATHENA_APPRISE_PAGER": "json://127.0.0.1:1/hook"}, now=clock)
    notify(only, severity="critical", title="nobody there", journal=journal, environment={})
    for _ in range(4):
        assert [one.status for one in gone.deliver()] == ["queued"]
        clock.forward(minutes=2)


def test_a_wrong_severity_or_no_title_is_refused(settings, journal):
    """A typo is named with the nearest right word, and nothing is queued."""
    with pytest.raises(SettingsError, match=r"severity is 'criticl'.*Did you mean 'critical'"):
        notify(settings, severity="criticl", title="x", journal=journal)
    with pytest.raises(SettingsError, match="needs a title"):
        notify(settings, severity="info", title=" \n ", journal=journal)
    assert outbox.deliveries(journal) == []


def test_a_full_disk_under_the_log_ends_no_delivery(settings, journal, environment, told, slack):
    """What a scheduler says goes to a full disk: messages are delivered all the same."""
    stop = threading.Event()
    courier = Courier(settings, journal, environment)
    with open("/dev/full", "w") as full, redirect_stdout(full):
        working = threading.Thread(target=follow, args=(courier, journal, stop, schedule._say))
        working.start()
        try:
            for number in (1, 2):
                told(title=f"message {number}")
                wait_for(lambda n=number: len(slack.texts) == n, f"message {number}")
        finally:
            stop.set()
            working.join(30)
        with suppress(OSError):
            full.close()
