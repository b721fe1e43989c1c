"""Health: each component by itself, one screen, and the engine's readiness by the same judgement."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from athena.analysis.assessment import Verdict
from athena.cli import main
from athena.config import Settings
from athena.config_tables import Contact
from athena.core import outbox
from athena.core.channels import Fate, Outcome
from athena.core.notifications import notify
from athena.journal import Journal
from athena.journal.codec import to_text
from athena.live.components import NEEDED, components, not_ready
from athena.live.metrics import LiveMetrics
from athena.live.metrics_telling import telling
from athena.ops import health_parts
from athena.ops.health import look
from tests.playbooks.situations import situation

CONTACTS = tuple(
    Contact(role, "Ada", "+1 555", "") for role in ("team_lead", "risk_manager", "administrator", "broker_support")
)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, simulator_url="http://127.0.0.1:9", contacts=CONTACTS)


@pytest.fixture
def journal(settings):
    with Journal.open(settings.journal_path, "test") as opened:
        yield opened


def part(journal, settings, name, environment=None):
    return next(c for c in health_parts.parts(journal, settings, environment or {}) if c.name == name)


def test_empty_contacts_are_a_warning_until_they_are_filled(settings, journal):
    """Whoever reads the page at 3 a.m. must have a number to call."""
    assert part(journal, settings, "contacts").verdict == "OK"
    some = part(journal, replace(settings, contacts=(CONTACTS[0], Contact("risk_manager", "Sam"))), "contacts")
    assert (some.verdict, some.seen) == ("ATTENTION", "not set: Risk manager")
    none = part(journal, Settings(), "contacts")
    assert (none.verdict, none.seen) == ("ATTENTION", "none is set")
    assert "[contacts]" in none.next_action


def test_messages_that_nobody_gets_are_said(settings, journal):
    """No channel, a dead letter: each with what to do, and what waits for a person is in the status too."""
    assert "reach nobody" in part(journal, settings, "messages").seen
    slack = {"SLACK_WEBHOOK_URL": "http://127.0.0.1:9"}
    assert part(journal, settings, "messages", slack).verdict == "OK"
    notify(settings, severity="warning", title="x", journal=journal, environment=slack)
    long_ago = datetime.now(UTC) + timedelta(minutes=10)
    claim = outbox.claim(journal, "slack", long_ago, lease_seconds=1, per_minute=10)
    outbox.finish(
        journal, claim, Outcome(Fate.REFUSED, "Slack answered 404"), long_ago, give_up_hours=1, jitter=lambda: 1
    )
    dead = part(journal, settings, "messages", slack)
    assert (dead.verdict, dead.seen) == ("STOP", "1 dead letters, 0 waiting: Slack answered 404")
    assert "retry all" in dead.next_action
    assert health_parts.troubles(journal, settings) == (f"messages: {dead.seen} → {dead.next_action}",)


def test_a_schedule_and_a_webhook_that_fell_silent_are_said(settings, journal):
    """Nobody asked for them: no fault. Once they ran, their silence is one; alerts left unfinished are worse."""
    assert {part(journal, settings, name).verdict for name in ("schedule", "alerts webhook")} == {"OK"}
    journal.heartbeat(
        "schedule", {"problem": "", "once": False, "next": "pre_market", "next_at": "2026-11-27T13:00:00Z"}
    )
    journal.heartbeat("alerts", {"url": "http://127.0.0.1:9", "problem": "", "unfinished": 2})
    assert part(journal, settings, "schedule").seen == "nothing has run; next pre_market 11-27 13:00 UTC"
    with journal.transaction():
        journal._connection.execute("UPDATE heartbeats SET at = '2026-01-01T00:00:00.000000Z'")
    assert (part(journal, settings, "schedule").verdict, part(journal, settings, "alerts webhook").verdict) == (
        "ATTENTION", "STOP",
    )  # fmt: skip


def test_a_schedule_that_cron_no_longer_begins_is_said(settings, journal):
    """Left until it would be too late to catch up, by the time it follows; then health, status and metrics say it."""

    def came(ago, due_in):
        began = datetime(2020, 3, 9, 12, tzinfo=UTC)  # a simulator's time
        facts = {"problem": "", "once": True, "next": "pre_market", "next_at": began + timedelta(hours=due_in)}
        journal.heartbeat("schedule", facts, began)
        with journal.transaction():
            at = to_text(datetime.now(UTC) - timedelta(hours=ago))
            journal._connection.execute("UPDATE heartbeats SET at = ?", (at,))
        told = [sample for family in telling(journal, settings) for sample in family.samples]
        ages = [s.value for s in told if s.name == "athena_service_heartbeat_age_seconds"]
        return part(journal, settings, "schedule"), health_parts.troubles(journal, settings), ages

    for ago, due_in in ((60, 61), (60, 59)):
        schedule, troubles, ages = came(ago, due_in)
        assert (schedule.verdict, troubles, ages) == ("OK", (), [])
    schedule, troubles, ages = came(60, 58)
    assert (schedule.verdict, schedule.seen) == (
        "ATTENTION", "next pre_market 03-11 22:00 UTC, and nobody came; nothing has run"
    )  # fmt: skip
    assert len(troubles) == 1
    assert ages == [pytest.approx(60 * 3600, abs=60)]


def test_servers_are_missed_only_where_they_are_expected(settings):
    """No Prometheus on a laptop is no fault; one that alerts depend on is."""
    nowhere = replace(settings, prometheus_url="http://127.0.0.1:9", alertmanager_url="http://127.0.0.1:9")
    assert {c.verdict for c in health_parts.asked(health_parts.servers(nowhere, watched=False))} == {"ATTENTION"}
    assert {c.next_action for c in health_parts.asked(health_parts.servers(nowhere, watched=False))} == {"make monitor"}
    usual = health_parts._server("Prometheus", "http://127.0.0.1:9", False)
    assert usual.verdict == "OK"


def test_a_clock_that_is_off_is_said():
    """Two seconds from the venue's clock is the limit; a venue with a time of its own says nothing about ours."""
    assert [health_parts.clock(skew).verdict for skew in (None, 0.4, -3.0)] == ["OK", "OK", "ATTENTION"]


@pytest.mark.parametrize("state", ["busy", "empty", "engine dead", "engine alive"])
def test_readiness_and_health_judge_alike(tmp_path, state):
    """Whatever /-/ready misses, health-check shows as STOP or UNKNOWN, or says that the engine is not yet running."""
    path = situation(state, tmp_path)
    settings = Settings(home=path.parent.parent, account=path.parent.name)
    with Journal.open(path, "test", read_only=True) as journal:
        judged = {c.name: c for c in components(journal, settings)}
        missing = not_ready(journal, settings)
    for name in NEEDED:
        assert any(text.startswith(f"{name}: ") for text in missing) == (judged[name].verdict in {"STOP", "UNKNOWN"})
    metrics = LiveMetrics(settings)
    assert [text.split(",")[0] for text in metrics.readiness()] == [text.split(",")[0] for text in missing]
    metrics.close()
    assert {c.name for c in look(settings)} >= {"journal", "disk", "engine", "guard", "messages", "schedule", "clock"}


def test_one_screen_whatever_is_wrong(tmp_path, monkeypatch, capsys):
    """At 80 columns with everything down it still is one screen of 40 lines, none cut; JSON has the same."""
    path = situation("engine dead", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATHENA_HOME", str(path.parent.parent))
    monkeypatch.setenv("ATHENA_SIMULATOR_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "80")
    account = ["--account", path.parent.name]
    code = main(["health-check", *account])
    lines = capsys.readouterr().out.splitlines()
    assert code == 11
    assert 18 <= len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert main(["health-check", "--json", *account]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "STOP"
    for component in told["components"]:
        assert Verdict(component["verdict"])
        assert component["next_action"] or component["verdict"] == "OK", component
