"""The outside heartbeat: with what `monitoring-config` writes, real Prometheus and Alertmanager call it for ever."""

import signal
import subprocess
from dataclasses import replace

import pytest

from athena.config import Settings
from athena.ops.monitoring.configuration import write
from athena.ops.processes import free_port
from tests.engine.processes import wait_for
from tests.support.programs import require
from tests.support.receivers import Slack


@pytest.fixture
def start(tmp_path):
    """Starts a program with its output in a file; all are ended."""
    running = []

    def begin(name, *command):
        log = (tmp_path / f"{name}.log").open("w")
        running.append(subprocess.Popen([require(name), *command], stdout=log, stderr=log))
        return running[-1]

    yield begin
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.timeout(90)
def test_the_watchdog_reaches_the_outside_heartbeat_over_and_over(tmp_path, start):
    """With no engine at all the heartbeat hears the Watchdog and nothing else, not even EngineDown."""
    with Slack() as outside:
        settings = replace(
            Settings.load({"ATHENA_HOME": str(tmp_path / "home"), "ATHENA_HEARTBEAT_URL": outside.url}),
            alerts_port=free_port(), metrics_port=free_port(), prometheus_url=f"http://127.0.0.1:{free_port()}",
            alertmanager_url=f"http://127.0.0.1:{free_port()}",
        )  # fmt: skip
        folder = tmp_path / "monitoring"
        write(settings, folder)
        config = folder / "alertmanager.yml"
        text = config.read_text()
        config.write_text(text.replace("repeat_interval: 1m", "repeat_interval: 1s").replace(": 30s", ": 1s"))
        start(
            "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={tmp_path}/am",
            "--cluster.listen-address=", f"--web.listen-address={settings.alertmanager_url.removeprefix('http://')}",
        )  # fmt: skip
        start(
            "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address={settings.prometheus_url.removeprefix('http://')}",
            "--rules.alert.resend-delay=1s",  # it begins to tell before it has found an Alertmanager; usually a minute
        )  # fmt: skip
        wait_for(lambda: len(outside.bodies) >= 2, "two calls of the heartbeat", 60)
        assert {path for path, _, _ in outside.bodies} == {outside.url.partition(str(outside.server_port))[2]}
        told = [body for _, _, body in outside.bodies]
        assert {body["status"] for body in told} == {"firing"}
        assert {alert["labels"]["alertname"] for body in told for alert in body["alerts"]} == {"Watchdog"}
        assert {alert["labels"]["account"] for body in told for alert in body["alerts"]} == {"simulator"}
