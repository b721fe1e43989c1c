"""The shipped rules, checked by promtool: each alert fires, does not fire, does not fire early, and not on nothing."""

import re
import subprocess

import yaml

from athena.live.metrics_counts import PLAYBOOKS as COUNTED
from athena.ops.alert_rules import ACTIONS, folder, request
from athena.playbooks.registry import PLAYBOOKS
from tests.monitoring.rule_cases import CASES
from tests.support.programs import require

FILES = ("alerts.yml", "recording.yml")


def rules(file="alerts.yml"):
    groups = yaml.safe_load(folder().joinpath(file).read_text())["groups"]
    return [{**rule, "interval": group["interval"]} for group in groups for rule in group["rules"]]


def labelled(name):
    return next(rule["labels"] for rule in rules() if rule["alert"] == name)


def told_of(name):
    return {**next(rule["annotations"] for rule in rules() if rule["alert"] == name)}


def promtool(*arguments, cwd):
    done = subprocess.run([require("promtool", "prometheus"), *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unit(series, *expected):
    """One promtool test group: these series, and of each (alert, moment) the alerts that fire then."""
    tests = [{"alertname": name, "eval_time": at, "exp_alerts": found} for name, at, found in expected]
    inputs = [{"series": key, "values": values} for key, values in series.items()]
    return {"interval": "5s", "input_series": inputs, "alert_rule_test": tests}


def test_promtool_finds_every_alert_as_its_case_says(tmp_path):
    """Fires with these labels and words; not on the nearest harmless series; not before its time; not on nothing."""
    for file in FILES:
        (tmp_path / file).write_text(folder().joinpath(file).read_text().replace("interval: 1s", "interval: 5s"))
    promtool("check", "rules", *FILES, cwd=tmp_path)
    groups, on_nothing = [], []
    for rule in rules():
        name, case = rule["alert"], CASES[rule["alert"]]
        told = {**rule["annotations"], "description": case.description}
        told["summary"] = case.summary or told["summary"]
        found = [{"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": told}]
        early = [(name, case.early, [])] if case.early else []
        groups.append(unit(case.fires, *early, (name, case.at, found)))
        groups.append(unit(case.quiet, *((name, at, []) for at in case.quiet_at if case.quiet)))
        on_nothing.append((name, "2m10s", found if case.absent else []))
    groups.append(unit({}, *on_nothing))
    crashed = [{"exp_labels": {**labelled("EngineDown"), "job": "athena"}, "exp_annotations": told_of("EngineDown")}]
    gone = 'up{job="athena"}'
    for series, *expected in (
        ({gone: "1x20"}, ("1m5s", [])),
        # stopped, and the webhook restarts itself: its word of minutes ago still holds, but not for ever
        ({gone: "0x140", "athena_engine_stopped": "1x4 stale"}, ("9m", []), ("11m", crashed)),
        # started again after a stop, then gone without a word
        ({gone: "0x6 1x12 0x20", "athena_engine_stopped": "1x6 0x40"}, ("2m30s", crashed)),
    ):
        groups.append(unit(series, *(("EngineDown", *one) for one in expected)))
    failed = {'alertmanager_notifications_failed_total{integration="webhook"}': "0+1x60"}
    well = {'up{job="athena_alerts"}': "1x60", "athena_alerts_deliveries_refused_total": "0x60"}
    for series, theirs in (
        ({**failed, **well}, False),  # the outside heartbeat's failures: the Watchdog goes on to it
        ({**failed, **well, "athena_alerts_deliveries_refused_total": "0+1x60"}, True),
        ({**failed, **well, 'up{job="athena_alerts"}': "0x60"}, True),
    ):
        name, silenced = ("AlertDeliveryFailed", "Watchdog") if theirs else ("Watchdog", "AlertDeliveryFailed")
        more = {"integration": "webhook"} if theirs else {}
        told = {**told_of(name), "description": CASES[name].description}
        fires = [{"exp_labels": {**labelled(name), **more}, "exp_annotations": told}]
        groups.append(unit(series, (name, "1m", fires), (silenced, "1m", [])))
    waits, dead = "athena_outbox_oldest_age_seconds", "athena_last_dead_letter_timestamp_seconds"
    for name, webhooks, engines in (  # the webhook's page is enough: the engine is gone, or stood still before
        ("OutboxStuck", {f'{waits}{{job="athena_alerts"}}': "121x60"}, {f'{waits}{{job="athena"}}': "0x6 stale"}),
        ("MessageDead", {f'{dead}{{job="athena_alerts",channel="slack"}}': "0x60"}, {}),
        ("AlertsStuck", {'athena_alerts_oldest_unfinished_age_seconds{job="athena_alerts"}': "121x60"}, {}),
        (
            "ServiceSilent",
            {'athena_service_heartbeat_age_seconds{job="athena_alerts",service="schedule"}': "61x60"},
            {},
        ),
    ):
        case = CASES[name]
        told = {"description": case.description} | ({"summary": case.summary} if case.summary else {})
        found = {"exp_labels": {**labelled(name), **case.labels}, "exp_annotations": {**told_of(name), **told}}
        groups.append(unit({**webhooks, **engines}, (name, "1m", [found]), ("Watchdog", "1m", [])))
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": list(FILES), "evaluation_interval": "5s", "tests": groups})
    )
    promtool("test", "rules", "tests.yml", cwd=tmp_path)


def test_every_alert_has_a_unit_test():
    """An alert that nobody has seen fire and not fire is not shipped."""
    assert {rule["alert"] for rule in rules()} == set(CASES)
    assert all(case.quiet or case.absent for case in CASES.values())


def test_every_alert_names_severity_playbook_and_a_runbook_that_opens():
    """Nothing in a rule is refused by the webhook; its page of the runbook has the four headings."""
    runbook = folder().joinpath("runbook.html").read_text()
    for rule in rules():
        labels, name = rule["labels"], rule["alert"]
        filled = {key: value.replace("{{ $labels.symbol }}", "AAPL") for key, value in labels.items()}
        asked = request(filled)
        assert (asked.problem, asked.playbook) == ("", labels["playbook"]), name
        assert labels["severity"] in ("critical", "warning", "none")
        assert {"summary", "description"} <= set(rule["annotations"])
        assert rule["annotations"]["runbook_url"].endswith(f"/runbook#{name}")
        section = re.search(f'<section id="{name}">(.*?)</section>', runbook, re.DOTALL)[1]
        assert re.findall(r"<dt>(\w+)</dt>", section) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
        assert labels.get("action", "halt") in ACTIONS


def test_an_alert_waits_for_two_scrapes_unless_it_is_a_halt_or_the_playbooks():
    """A single bad scrape wakes nobody, but for what must not wait."""
    at_once = {rule["alert"] for rule in rules() if rule.get("for", "0s") in ("0s", "0m")}
    assert at_once == {"HighDailyLoss", "LossLimitReached", "GuardHalted", "Watchdog"}
    assert all(rule.get("for", "10s") in ("0m", "10s", "15s", "30s", "1m", "2m", "5m", "10m") for rule in rules())


def test_the_playbooks_three_alerts_are_as_it_has_them():
    """Names, expressions, thresholds, durations, severities and summaries, word for word."""
    mine = {rule["alert"]: rule for rule in rules()}
    told = {
        name: (
            mine[name]["expr"],
            mine[name]["for"],
            mine[name]["labels"]["severity"],
            mine[name]["annotations"]["summary"],
        )
        for name in ("HighDailyLoss", "BrokerDisconnected", "HighSlippage")
    }
    mean = "rate(athena_slippage_basis_points_sum[5m]) / rate(athena_slippage_basis_points_count[5m]) > 50"
    assert told == {
        "HighDailyLoss": ("athena_daily_pnl_dollars < -5000", "0m", "critical", "Daily loss exceeding $5,000"),
        "BrokerDisconnected": ("athena_broker_connection_status != 2", "30s", "critical", "Broker disconnected"),
        "HighSlippage": (mean, "2m", "warning", "High slippage detected"),
    }


def test_the_metrics_know_every_playbook():
    """Each has its counters from 0 on, so that its first failure is an increase."""
    assert set(COUNTED) == set(PLAYBOOKS), "add it to PLAYBOOKS in athena/live/metrics_counts.py"


def test_what_an_alert_may_not_ask_for_is_left_out_and_named():
    """Paths, confirmations, unknown playbooks and actions, text where a symbol belongs: refused one by one."""
    base = {"alertname": "X", "playbook": "slippage_analysis"}
    refused = {
        ("playbook", "../../etc/passwd"): "is not a playbook",
        ("playbook", "daily_report; rm -rf /"): "is not a playbook",
        ("playbook", ""): "names no playbook",
        ("param_journal", "/etc/passwd"): "'journal' is not a parameter an alert may set",
        ("param_dry_run", "false"): "'dry_run' is not a parameter an alert may set",
        ("param_hours", "1e400"): "hours is '1e400'",
        ("param_hours", "-1"): "hours cannot be '-1'",
        ("param_days", "99999999"): "days cannot be",
        ("param_symbol", 'AAPL"} or vector(1)'): "symbol cannot be",
        ("param_symbol", "<script>"): "symbol cannot be",
        ("param_method", "pearson"): "'method' is not a parameter an alert may set",
        ("action", "resume"): "is not an action",
        ("action", "halt_symbol"): "asks to halt a symbol and names none",
    }
    for (label, value), words in refused.items():
        asked = request({**base, label: value})
        assert words in asked.problem
        assert (asked.parameters, asked.action) == ({}, "")
    good = request({**base, "param_symbol": "BRK.B", "param_hours": "2", "action": "halt_symbol"})
    assert good.parameters == {"symbol": "BRK.B", "hours": 2.0}
    assert (good.action, good.problem) == ("halt_symbol", "")
