"""`athena monitor`: Debian's Prometheus and Alertmanager, and the webhook, beside the running engine, on loopback.

The configuration is in `<home>/<account>/monitoring/`, edits to it are kept. Whatever this started ends with it.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.journal.journal import Journal
from athena.live.vitals import Beat, beat
from athena.ops.monitoring.configuration import write
from athena.ops.processes import Processes, free_port

DEMO_HOME = Path(".athena-demo") / "home"
INSTALL = "On Debian: apt-get install prometheus prometheus-alertmanager. It needs no root to run, only to install."
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}


def monitor(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C, then 0; 1 when a part ended by itself. Raises SettingsError where a program is missing."""
    programs = {part: _program(part) for part in PROGRAMS}
    settings = _ports(_running(settings))
    target = settings.folder / "monitoring"
    for one in write(settings, target):
        if one.what == "edited":
            _say(f"{one.path} was edited and is used as it is; the new one is beside it, as .new")
    _check(target)
    base = settings.prometheus_url
    with Processes(settings.folder / "logs", _environment(settings)) as processes:
        if _beat(settings, "alerts") is None:
            processes.start("alerts", "alerts", "serve")
            processes.wait("alerts", lambda: _ready(f"{_webhook(settings)}/-/healthy"), "listening")
        processes.launch(
            "alertmanager", programs["alertmanager"], f"--config.file={target / 'alertmanager.yml'}",
            f"--storage.path={target / 'alertmanager-data'}", "--cluster.listen-address=",
            f"--web.listen-address={urlsplit(settings.alertmanager_url).netloc}",
        )  # fmt: skip
        processes.wait("alertmanager", lambda: _ready(f"{settings.alertmanager_url}/-/ready"), "ready")
        processes.launch(
            "prometheus", programs["prometheus"], f"--config.file={target / 'prometheus.yml'}",
            f"--storage.tsdb.path={target / 'prometheus-data'}", "--storage.tsdb.retention.time=15d",
            f"--web.listen-address={urlsplit(settings.prometheus_url).netloc}",
        )  # fmt: skip
        processes.wait("prometheus", lambda: _ready(f"{base}/-/ready"), "ready")
        page = next(path for path in ("/alerts", "/classic/alerts", "/") if path == "/" or _ready(base + path))
        _say(f"Prometheus    {base}{page}")
        _say(f"Alertmanager  {settings.alertmanager_url}")
        _say(f"runbook       {_webhook(settings)}/runbook")
        _say(f"dashboard     {target / 'grafana-dashboard.json'}  for Grafana")
        _say(f"watching      http://127.0.0.1:{settings.metrics_port}/metrics of {settings.account_name}")
        _say(f"logs          {processes.folder}")
        _say("rehearse one: athena alerts drill HighSlippage; Ctrl-C ends all")
        return _watch(processes)


def _watch(processes: Processes) -> int:
    try:
        while True:
            for name in ("alerts", "alertmanager", "prometheus"):
                if processes.died(name):
                    print(f"{name} ended: {processes.last_words(name)}", file=sys.stderr, flush=True)
                    return 1
            time.sleep(0.2)
    except KeyboardInterrupt:
        _say("\nending Prometheus, Alertmanager and the webhook")
        return 0


def _running(settings: Settings) -> Settings:
    """The live system to watch: the settings' own, or the demo that runs in this folder while no other does."""
    if _beat(settings, "engine") is None and DEMO_HOME.exists():
        demo = Settings.load({"ATHENA_HOME": str(DEMO_HOME.resolve()), "ATHENA_VENUE": "simulator"})
        kept = ("reports", "notifications", "contacts", "operator", "prometheus_url", "alertmanager_url", "alerts_port")
        demo = replace(demo, **{name: getattr(settings, name) for name in (*kept, "heartbeat_url")})
        if _beat(demo, "engine") is not None:
            _say(f"watching the demo in {DEMO_HOME.parent}")
            return demo
    if not settings.journal_path.exists():
        raise AthenaError(
            f"there is no live system at {settings.folder}.", "Start athena engine, or make demo ARGS=--keep."
        )
    if _beat(settings, "engine") is None:
        _say(f"no engine of {settings.account_name} runs now: unless it stopped in good order, EngineDown fires")
    return settings


def _ports(settings: Settings) -> Settings:
    """Where each part listens: as set, or at a free port where another program has that; the engine as it says."""
    served, metrics = _beat(settings, "alerts"), _beat(settings, "metrics")
    page = urlsplit(str(metrics.details.get("url") or "")) if metrics else None
    webhook = urlsplit(str(served.details.get("url") or "")) if served else None
    return replace(
        settings,
        metrics_port=(page and page.port) or settings.metrics_port,
        alerts_port=(webhook and webhook.port) or _port("the webhook", settings.alerts_port),
        prometheus_url=f"http://127.0.0.1:{_port('Prometheus', urlsplit(settings.prometheus_url).port or 9090)}",
        alertmanager_url=f"http://127.0.0.1:{_port('Alertmanager', urlsplit(settings.alertmanager_url).port or 9093)}",
    )


def _port(part: str, wanted: int) -> int:
    try:
        with socket.create_server(("127.0.0.1", wanted)):
            return wanted or free_port()
    except OSError:
        other = free_port()
        _say(f"port {wanted} is taken, {part} gets {other}")
        return other


def _beat(settings: Settings, component: str) -> Beat | None:
    """The component's last sign of life if it is young enough to be believed."""
    if not settings.journal_path.exists():
        return None
    with Journal.open(settings.journal_path, "monitor", read_only=True) as journal:
        heard = beat(journal, component)
    return heard if heard is not None and heard.alive else None


def _program(part: str) -> str:
    for name in PROGRAMS[part]:
        if found := shutil.which(name):
            return found
    raise SettingsError(f"{part} is not installed.", INSTALL)


def _check(target: Path) -> None:
    """Both configurations by their own tools, where these are installed; raises SettingsError with their words."""
    for tool, arguments in (
        ("promtool", ("check", "config", str(target / "prometheus.yml"))),
        ("amtool", ("check-config", str(target / "alertmanager.yml"))),
    ):
        if shutil.which(tool):
            done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=30)
            if done.returncode:
                raise SettingsError(f"{tool}: {(done.stderr or done.stdout).strip()[-600:]}", f"Mend it in {target}.")


def _environment(settings: Settings) -> dict[str, str]:
    """What the webhook's process needs to speak of the same live system, by the same ports."""
    told = {
        "HOME": settings.home.absolute(), "VENUE": settings.venue, "REPORTS": settings.reports.absolute(),
        "OPERATOR": settings.operator, "ALERTS_PORT": settings.alerts_port, "SIMULATOR_URL": settings.simulator_url,
        "PROMETHEUS_URL": settings.prometheus_url, "ALERTMANAGER_URL": settings.alertmanager_url,
        **({"ACCOUNT": settings.account} if settings.account else {}),
    }  # fmt: skip
    return {f"ATHENA_{name}": str(value) for name, value in told.items()}


def _ready(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _webhook(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.alerts_port}"


def _say(line: str) -> None:
    print(line, flush=True)
