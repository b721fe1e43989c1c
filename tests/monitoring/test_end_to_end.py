"""Incidents arrive assessed: a fault in a real system, through real Prometheus and Alertmanager, to page and people."""

import json
import signal
from pathlib import Path

import pytest

from athena.journal.journal import Journal
from tests.engine.processes import wait_for
from tests.monitoring.watch import page_text, watched
from tests.ops.test_exporter import said

QUICK = {  # what happens is tested here, not when: `for` and scrapes are shorter, unit tests hold the real ones
    "prometheus": {"scrape_interval: 5s": "scrape_interval: 2s", "scrape_timeout: 4s": "scrape_timeout: 2s"},
    "alerts": {
        "for: 30s": "for: 3s",
        "for: 15s": "for: 8s",
        "for: 10s": "for: 3s",
        'origin!="startup"} == 1': 'origin!="startup"} == 2',  # each incident has a playbook of its own here
    },
    "alertmanager": {"group_interval: 5s": "group_interval: 1s"},
}


def shock(watch, **body):
    """Lay a shock over the simulated market."""
    headers = {"APCA-API-KEY-ID": "SIMULATOR", "APCA-API-SECRET-KEY": "simulator-secret"}
    watch.post(f"{watch.settings.simulator_url}/simulator/shocks", json.dumps(body).encode(), **headers)


def record(alert):
    return json.loads(Path(alert.page).with_suffix(".json").read_text())


def proof(watch, alert, playbook, verdicts, **parameters):
    """The page is that playbook's with these parameters and verdict, names the alert, and both channels have it."""
    made = record(alert)
    assert alert.playbook == made["playbook"] == playbook
    assert made["verdict"] == alert.verdict
    assert made["verdict"] in verdicts, (made["verdict"], made["reason"])
    assert {name: made["run"]["parameters"][name] for name in parameters} == parameters
    assert alert.name in made["run"]["why"]
    assert made["verdict"] in page_text(alert)
    slack, mails = watch.sent(alert.name)
    assert len(slack) == len(mails) == 1
    assert f"{alert.verdict}: " in slack[0].splitlines()[0]
    assert f"/runbook#{alert.name}" in slack[0]
    assert "Ada, +1 555 0100" in slack[0]
    attached = [part.get_filename() for part in mails[0].iter_attachments()]
    assert any(name and name.endswith(".html") for name in attached), attached


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    """An engine that trades, watched by everything there is."""
    with watched(tmp_path_factory.mktemp("watched")) as watch:
        watch.live.start_ready()
        watch.resume("test")
        watch.configure(int(said(watch.live, "metrics")["url"].split(":")[2].split("/")[0]), **QUICK)
        watch.webhook()
        watch.alertmanager()
        watch.prometheus()
        wait_for(lambda: len(watch.live.posts()) > 10, "orders")
        yield watch


@pytest.mark.timeout(300)
def test_each_incident_arrives_assessed(watch):
    """Slippage blown out, the loss limit crossed, the broker cut, the engine killed: page, verdict, Slack and mail."""
    live = watch.live
    shock(watch, symbol="AAPL", seconds=36_000, spread_multiple=200)
    alert = watch.told("SymbolSlippage")
    proof(watch, alert, "slippage_analysis", {"STOP"}, symbol="AAPL", hours=1.0)
    assert alert.acted.startswith("halted AAPL")
    (halt,) = [h for h in live.guard().halts() if h.target == "AAPL"]
    assert halt.owner == "alert SymbolSlippage"

    live.guard().set_limit("max_daily_loss_dollars", 1, reason="test")
    alert = watch.told("LossLimitReached")
    proof(watch, alert, "trading_halt", {"STOP"})
    assert "halted" in alert.acted

    live.stop_simulator()
    alert = watch.told("BrokerDisconnected")
    proof(watch, alert, "broker_disconnection", {"STOP", "UNKNOWN"})

    live.kill(live.engines[-1])
    alert = watch.told("EngineDown")
    proof(watch, alert, "crash_recovery", {"STOP", "UNKNOWN"})
    live.start_simulator(int(watch.settings.simulator_url.rpartition(":")[2]))
    titles = [text.splitlines()[0] for text in watch.slack.texts]
    assert len(titles) == len(set(titles)), titles


def drill(watch, name, number, **labels):
    """An alert given to Alertmanager as a drill, one of its own for each number."""
    labels = {"alertname": name, "severity": "critical", "drill": "true", "number": str(number), **labels}
    told = {"summary": f"{name} number {number}"}
    body = json.dumps([{"labels": labels, "annotations": told}]).encode()
    watch.post(f"{watch.settings.alertmanager_url}/api/v2/alerts", body)


@pytest.mark.timeout(300)
def test_whatever_fails_in_between_nothing_is_lost_and_nothing_told_twice(watch):
    """Alertmanager restarted, the webhook killed in mid-run, the mail server dead, the disk full, a hostile alert."""
    wait_for(lambda: all(alert.state == "notified" for alert in watch.alerts()), "a quiet moment", 60)
    watch.box.answers += ["451 later"] * 3
    drill(watch, "GuardReviewDrill", 1, playbook="guard_review")
    wait_for(lambda: watch.state("GuardReviewDrill") == "running", "the run to begin", 20)
    watch.stop("webhook", signal.SIGKILL)
    watch.stop("alertmanager")
    watch.webhook()
    watch.alertmanager()
    first = watch.told("GuardReviewDrill")
    assert record(first)["run"]["why"].startswith(f"alert run {first.run}: DRILL GuardReviewDrill")

    watch.limit_files(4096)
    evil = "<script>alert('x')</script> <!channel> {{ .Labels }} $(reboot)"
    drill(watch, "FullDiskDrill", 2, playbook="guard_review", param_days="1", param_symbol='A"} or vector(1)', x=evil)
    wait_for(
        lambda: "not taken" in (watch.folder / "webhook.log").read_text(), "a delivery that could not be taken", 20
    )
    assert watch.state("FullDiskDrill") == ""
    watch.limit_files(-1)
    second = watch.told("FullDiskDrill")
    assert "'symbol' is not a parameter" in second.problem
    assert second.parameters == {"days": 1}
    assert "<script>alert" not in page_text(second)

    for alert in (first, second):
        wait_for(
            lambda alert=alert: any(alert.verdict in mail["Subject"] for mail in watch.sent(alert.name)[1]),
            "the mail, whose server answered late",
            60,
        )
        slack, mails = watch.sent(alert.name)
        assert len([text for text in slack if alert.verdict in text.splitlines()[0]]) == 1, slack
        assert len([mail for mail in mails if alert.verdict in mail["Subject"]]) == 1, mails
        assert "<script>" not in "".join(slack)
        assert "<!channel>" not in "".join(slack)
    assert not watch.box.answers  # the mail server refused three times
    pages = watch.settings.reports.glob("????-??-??/guard_review.*Z.json")
    assert len([page for page in pages if "DRILL" in page.read_text()]) == 2
    with Journal.open(watch.settings.journal_path, "test") as journal:
        assert journal.verify().ok
