"""A journal restored from a snapshot: what waited in it is not sent again in silence, old alarms wake nobody."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from athena.cli import main
from athena.core import outbox
from athena.core.alerts import active_alerts
from athena.core.delivery import Courier
from athena.core.notifications import notify
from athena.journal import Journal, snapshots
from athena.journal.head import record_head
from athena.journal.restored import last_restored, mark_restored, restore
from athena.ops.alert_message import found
from tests.journal.facts import alert


@pytest.fixture
def told(settings, journal, environment):
    def tell(title):
        return notify(settings, severity="info", title=title, journal=journal, environment=environment).id

    return tell


def test_what_waited_in_a_snapshot_goes_out_as_a_possible_repeat(settings, journal, environment, told, slack, tmp_path):
    """Sent after the snapshot and again from the restored journal: the second says it may be one; never a third."""
    waits, sending = told("engine is down"), told("slippage is high")
    assert outbox.claim(journal, "slack", datetime.now(UTC), lease_seconds=600, per_minute=10).id == f"{waits}.slack"
    made = snapshots.take(settings.journal_path, tmp_path / "snapshots")
    Courier(settings, journal, environment, now=lambda: datetime.now(UTC) + timedelta(hours=1)).deliver()
    assert len(slack.texts) == 2
    slack.texts.clear()
    _, doubt = restore(made.path, tmp_path / "new.sqlite3", who="operator bob", reason="the disk died")
    assert set(doubt.repeats) == {f"{waits}.slack", f"{sending}.slack"}
    with Journal.open(tmp_path / "new.sqlite3", "courier") as restored:
        courier = Courier(settings, restored, environment)
        assert [one.status for one in courier.deliver()] == ["sent", "sent"]
        assert courier.deliver() == []
        assert restored.verify().ok
    assert [("may be a repeat" in text) for text in slack.texts] == [True, True]


def test_an_old_alarm_is_held_for_whoever_is_on_call(settings, journal, environment, told, slack):
    """Five hours on it is a dead letter that says why; asked for again it is sent, and still as a possible repeat."""
    old = told("engine is down")
    later = datetime.now(UTC) + timedelta(hours=5)
    doubt = mark_restored(journal, source="s", as_of=datetime.now(UTC), reason="w", now=later)
    assert (doubt.repeats, doubt.held) == ((), (f"{old}.slack",))
    courier = Courier(settings, journal, environment)
    assert courier.deliver() == []
    [row] = outbox.deliveries(journal, status=("dead",))
    assert "athena notifications retry ID" in row["error"]
    outbox.retry(journal, doubt.held, "alice")
    assert [one.status for one in courier.deliver()] == ["sent"]
    assert "may be a repeat" in slack.texts[0]
    assert journal.verify().ok


def test_a_journal_accepted_with_its_tail_lost_is_marked_too(settings, journal, told, monkeypatch, capsys):
    """A disk put back by other means leaves the same in doubt: accepting its end marks it, once."""
    waits = told("engine is down")
    for number in range(5):
        journal.append("note", {"text": str(number)})
    assert record_head(journal, settings, force=True)
    journal.close()
    connection = sqlite3.connect(settings.journal_path)
    connection.execute("DELETE FROM events WHERE sequence > 3")
    connection.commit()
    connection.close()
    monkeypatch.setenv("ATHENA_HOME", str(settings.home))
    assert main(["verify-journal"]) == 3
    assert main(["verify-journal", "--accept-head", "the disk was put back"]) == 0
    assert main(["verify-journal", "--accept-head", "again"]) == 0
    with Journal.open(settings.journal_path, "test", read_only=True) as again:
        marks = [event.sequence for event in again.events(kinds=("journal.restored",))]
        assert len(marks) == 1
        assert last_restored(again).payload["reason"] == "the disk was put back"
        assert [(row["id"], row["unsure"]) for row in outbox.deliveries(again)] == [(f"{waits}.slack", 1)]


def test_the_command_says_what_is_in_doubt(settings, journal, told, monkeypatch, capsys, tmp_path):
    """An operator reads which messages go out as possible repeats; a restore over a file is still refused."""
    waits = told("engine is down")
    made = snapshots.take(settings.journal_path, tmp_path / "snapshots")
    journal.close()
    monkeypatch.setenv("ATHENA_HOME", str(settings.home))
    command = ["restore-snapshot", str(made.path), "--to", str(tmp_path / "new.sqlite3"), "--reason", "the disk died"]
    assert main(command) == 0
    told_him = capsys.readouterr().out
    assert f"{waits}.slack" in told_him
    assert "possible repeats" in told_him
    assert main(command) == 3
    shutil.copyfile(tmp_path / "new.sqlite3", settings.journal_path)
    assert main(["audit", "--json"]) == 0
    [line] = json.loads(capsys.readouterr().out)["lines"]
    assert (line["kind"], line["reason"]) == ("journal.restored", "the disk died")
    assert made.path.name in line["what"]


def test_alerts_of_before_the_restore_are_unknown_until_they_are_told_again(settings, journal):
    """What fired in the snapshot may be over: UNKNOWN in every view and message, until Alertmanager says it again."""
    for one in (alert("a1"), alert("a2", name="EngineDown")):
        journal.append("alert.received", one)
    assert [one.unheard() for one in active_alerts(journal)] == [None, None]
    mark_restored(journal, source="s", as_of=datetime.now(UTC), reason="r")
    assert {one.standing() for one in active_alerts(journal)} == {"UNKNOWN, not heard of for 0 min"}
    assert "Whether it still fires: UNKNOWN" in found(active_alerts(journal), settings)["body"]
    journal.append("alert.heard", {"ids": ["a1"]})
    assert [(one.id, one.standing().partition(",")[0]) for one in active_alerts(journal)] == [
        ("a1", "fires"), ("a2", "UNKNOWN")
    ]  # fmt: skip
    journal.append("alert.received", alert("a2", name="EngineDown", status="resolved", ends_at=datetime.now(UTC)))
    assert [one.id for one in active_alerts(journal)] == ["a1"]
