"""What is written for Prometheus, Alertmanager and Grafana: valid by their own tools, of metrics that exist."""

import json
import re
import subprocess
from dataclasses import replace

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from athena.cli import main
from athena.config import Settings
from athena.core.alerts import REPEAT_INTERVAL
from athena.journal.journal import Journal
from athena.live.metrics import LiveMetrics
from athena.ops.alert_metrics import page as stopped_page
from athena.ops.alert_rules import folder
from athena.ops.alert_server import token_of, token_path
from athena.ops.monitoring.configuration import write
from tests.monitoring.test_rules import promtool, rules
from tests.support.programs import require


@pytest.fixture
def settings(tmp_path):
    made = Settings.load({}, home=tmp_path / "home $with {odd} 'name'")
    return replace(made, heartbeat_url="https://hc.example/ping/1?a=b&c=d", alerts_port=18095, metrics_port=18090)


def test_both_programs_find_what_is_written_valid(settings, tmp_path):
    """promtool and amtool read it; the ports, the token's file and the heartbeat are those of the settings."""
    target = tmp_path / "out"
    assert {one.what for one in write(settings, target)} == {"new"}
    promtool("check", "config", "prometheus.yml", cwd=target)
    done = subprocess.run(
        [require("amtool", "prometheus-alertmanager"), "check-config", target / "alertmanager.yml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alertmanager = yaml.safe_load((target / "alertmanager.yml").read_text())
    athena, heartbeat = alertmanager["receivers"]
    (hook,) = athena["webhook_configs"]
    assert hook["url"] == "http://127.0.0.1:18095/alerts"
    assert hook["http_config"]["authorization"]["credentials_file"] == str(token_path(settings))
    assert heartbeat["webhook_configs"][0]["url"] == settings.heartbeat_url
    prometheus = yaml.safe_load((target / "prometheus.yml").read_text())
    assert prometheus["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:18090"]}]
    text = "".join(path.read_text() for path in target.rglob("*.*") if path.is_file())
    assert token_of(settings) not in text
    assert "runbook_url: http://127.0.0.1:18095/runbook#EngineDown" in (target / "rules/alerts.yml").read_text()
    without = write(replace(settings, heartbeat_url=""), tmp_path / "other")
    assert without
    amtool = [require("amtool"), "check-config", tmp_path / "other" / "alertmanager.yml"]
    assert subprocess.run(amtool, capture_output=True).returncode == 0


def routed(target, **labels):
    done = subprocess.run(
        [require("amtool"), "config", "routes", "test", f"--config.file={target / 'alertmanager.yml'}",
         *(f"{name}={value}" for name, value in labels.items())], capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_every_alert_is_routed_and_the_watchdog_goes_outside(settings, tmp_path):
    """The webhook takes all but Watchdog; warnings wait under criticals of their part, and drills only under drills."""
    write(settings, tmp_path)
    for rule in rules():
        to = "heartbeat" if rule["alert"] == "Watchdog" else "athena"
        assert routed(tmp_path, alertname=rule["alert"], severity=rule["labels"]["severity"]) == to
    config = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    assert all(
        "drill" in rule["equal"] and "severity" in rule["target_matchers"][0] for rule in config["inhibit_rules"]
    )
    critical = next(route for route in config["route"]["routes"] if 'severity="critical"' in route["matchers"])
    assert critical["group_wait"] == "0s"
    repeats = {route.get("repeat_interval") for route in (config["route"], *config["route"]["routes"])}
    assert repeats == {f"{REPEAT_INTERVAL.total_seconds():.0f}s", "1m", None}  # 1m: the watchdog's, for outside


def test_an_edited_file_is_never_overwritten(settings, tmp_path, capsys):
    """Written again it is the same; other settings renew it; an edit stays, beside it the new one, exit code 10."""
    target = tmp_path / "out"
    write(settings, target)
    assert {one.what for one in write(settings, target)} == {"the same"}
    assert {one.path.name: one.what for one in write(replace(settings, metrics_port=18099), target)}[
        "prometheus.yml"
    ] == "renewed"
    mine = target / "rules" / "alerts.yml"
    mine.write_text(mine.read_text().replace("< -5000", "< -4000"))
    home = ["--home", str(settings.home)]
    assert main(["monitoring-config", str(target), *home]) == 10
    assert "EDITED" in capsys.readouterr().out
    assert "< -4000" in mine.read_text()
    assert "< -5000" in mine.with_name("alerts.yml.new").read_text()
    assert main(["monitoring-config", str(mine), *home]) == 2
    assert "cannot be written" in capsys.readouterr().err


def expressions(dashboard):
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (one["expr"] for one in dashboard["annotations"]["list"])


def test_rules_and_dashboard_ask_for_metrics_there_are(settings, tmp_path):
    """Every query is one that Prometheus can read, and every metric in it is on the engine's or the webhook's
    page, or a recording."""
    dashboard = json.loads(folder().joinpath("grafana-dashboard.json").read_text())
    asked = list(expressions(dashboard))
    assert len(asked) > 30
    group = {"name": "d", "rules": [{"record": f"q:{number}", "expr": expr} for number, expr in enumerate(asked)]}
    (tmp_path / "q.yml").write_text(yaml.safe_dump({"groups": [group]}))
    promtool("check", "rules", "q.yml", cwd=tmp_path)
    asked += [rule["expr"] for file in ("alerts.yml", "recording.yml") for rule in rules(file)]
    recorded = {rule["record"] for rule in rules("recording.yml")}
    named = {name for expr in asked for name in re.findall(r"\b(?:athena|alertmanager)[a-z0-9_:]*", expr)}
    there = page(settings) | recorded | {"alertmanager_notifications_failed_total", "athena", "athena_alerts"}
    assert named <= there, sorted(named - there)
    shapes = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(shapes)) == len(shapes)


def page(settings):
    """Names on the page of an engine that has said something about everything."""
    with Journal.open(settings.journal_path, "test") as journal:
        guard = {"pnl": "1.00", "max_gross_exposure_dollars": "5"}
        journal.heartbeat("engine", {"state": "running", "guard": guard, "market_data_age_seconds": 1.0})
        journal.heartbeat("alerts", {"problem": ""})
        journal.heartbeat("broker", {"state": "connected", "name": "alpaca", "clock_skew_seconds": 0.0})
        for service in ("alerts", "schedule", "courier"):
            journal.heartbeat(service, {"problem": ""})
        for number in range(3):
            journal.append("fill", {
                "execution_id": str(number), "client_order_id": "c", "broker_order_id": "b", "strategy": "s",
                "symbol": "AAPL", "side": "buy", "quantity": "1", "price": "100.5", "fee": "0",
                "at": "2020-03-09T15:00:00.000000Z", "bid": "100", "ask": "101",
            })  # fmt: skip
        webhook = stopped_page(settings, journal, 0).decode()
    reader, registry = LiveMetrics(settings, since=0), CollectorRegistry()
    registry.register(reader)
    text = generate_latest(registry).decode() + webhook
    reader.close()
    return set(re.findall(r"^(athena_[a-z0-9_]+)", text, re.MULTILINE)) | {"athena_broker_connection_status"}
