"""`athena monitor` as an operator runs it: it says how to install what is missing, starts all, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from athena.config import Settings
from athena.journal.journal import Journal
from athena.ops.processes import Processes, free_port
from tests.engine.processes import wait_for
from tests.support.programs import require
from tests.support.receivers import Slack


@pytest.fixture
def environment(tmp_path):
    """Settings by the environment, every port a free one, and a journal that no engine writes."""
    ports = {"PROMETHEUS_URL": "", "ALERTMANAGER_URL": "", "SIMULATOR_URL": ""}
    named = {f"ATHENA_{name}": f"http://127.0.0.1:{free_port()}" for name in ports}
    named |= {f"ATHENA_{name}": str(free_port()) for name in ("ALERTS_PORT", "METRICS_PORT")}
    named |= {"ATHENA_HOME": str(tmp_path / "home"), "ATHENA_REPORTS": str(tmp_path / "reports")}
    Journal.open(Settings.load(named).journal_path, "test").close()
    return {**os.environ, **named, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def slack():
    with Slack() as receiver:
        yield receiver


def monitor(environment, *options):
    command = [sys.executable, "-m", "athena.cli", "monitor", *options]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def drill(environment, name):
    """What a drill says of itself, asked for in another terminal that knows nothing of the ports."""
    other = {k: v for k, v in environment.items() if k not in ("ATHENA_ALERTS_PORT", "ATHENA_ALERTMANAGER_URL")}
    command = [sys.executable, "-m", "athena.cli", "alerts", "drill", name, "--json"]
    done = subprocess.run(command, env=other, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_where_a_program_is_missing_it_says_how_to_install_it(environment):
    """Exit code 2, the package named, and nothing started."""
    process = monitor({**environment, "PATH": "/nowhere"})
    _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "prometheus is not installed" in told
    assert "apt-get install prometheus prometheus-alertmanager" in told


def test_a_childs_log_is_its_owners_alone(tmp_path):
    """Alertmanager writes the outside heartbeat's secret address there; a log of before is closed to others too."""
    (tmp_path / "alertmanager.log").touch(0o644)
    with Processes(tmp_path, {}) as processes:
        processes.launch("alertmanager", "true")
        assert processes.log("alertmanager").stat().st_mode & 0o777 == 0o600


def test_without_a_live_system_it_starts_nothing(environment, tmp_path):
    """A mistyped home is named."""
    process = monitor(environment, "--home", str(tmp_path / "hoem"))
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "there is no live system at" in told
    assert not (tmp_path / "hoem").exists()


@pytest.mark.timeout(120)
def test_all_three_run_until_interrupted_and_every_rule_is_judged(environment, slack):
    """Addresses are said and answer; Prometheus finds no rule wrong; Ctrl-C ends all of it with 0."""
    require("prometheus")
    process = monitor({**environment, "SLACK_WEBHOOK_URL": slack.url})
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    said = "".join(lines)
    try:
        assert "no engine of simulator runs now" in said
        prometheus, manager = environment["ATHENA_PROMETHEUS_URL"], environment["ATHENA_ALERTMANAGER_URL"]
        assert prometheus in said
        assert manager in said
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert len(family) >= 4

        def judged():
            with urlopen(f"{prometheus}/api/v1/rules", timeout=5) as answer:
                groups = json.load(answer)["data"]["groups"]
            found = [rule for group in groups for rule in group["rules"]]
            return found if found and all(rule["health"] != "unknown" for rule in found) else None

        assert {rule["health"] for rule in wait_for(judged, "every rule to be judged")} == {"ok"}

        def notifying():
            with urlopen(f"{prometheus}/api/v1/alertmanagers", timeout=5) as answer:
                return json.load(answer)["data"]["activeAlertmanagers"]

        wait_for(notifying, "Prometheus to find Alertmanager")
        drilled = drill(environment, "GuardHalted")
        assert (drilled["notified"], drilled["state"]) == (True, "notified")
        assert [one["status"] for one in drilled["deliveries"]] == ["sent"]
        assert "DRILL GuardHalted" in slack.texts[-1]
        assert "trading_halt" in drilled["page"]
        assert "DRILL GuardHalted" in Path(drilled["page"]).read_text()
    finally:
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=40)
    assert process.returncode == 0, rest + errors
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in family), "everything to end")
