"""`athena monitoring-config DIR`: what Prometheus, Alertmanager and Grafana need to watch this live system.

Written from the settings. A file that somebody edited is left as it is: the new one goes beside it, as NAME.new.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from athena.config import Settings
from athena.core.alerts import REPEAT_INTERVAL
from athena.errors import SettingsError
from athena.ops.alert_rules import folder
from athena.ops.alert_server import token_of, token_path

MANIFEST = ".athena-monitoring.json"  # what was written, by hash: whatever differs was edited
DEFAULT_RUNBOOK = "http://127.0.0.1:8095/runbook"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Written:
    """One file: where it is, and whether it was new, renewed, the same, or left because somebody edited it."""

    path: Path
    what: str


def monitoring_config(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the files and say what became of each; exit 10 when an edited one was left as it is."""
    done = write(settings, arguments.folder)
    edited = [one for one in done if one.what == "edited"]
    if arguments.json:
        print(json.dumps({"files": [{"path": str(one.path), "what": one.what} for one in done]}))
        return 10 if edited else 0
    words = {"edited": "EDITED by someone and left; the new one is beside it, as .new"}
    for one in done:
        print(f"{one.path}  {words.get(one.what, one.what)}")
    print(f"token   {token_path(settings)}  Alertmanager reads it from there")
    print(f"next    make monitor, or: prometheus --config.file={arguments.folder / 'prometheus.yml'}")
    return 10 if edited else 0


def write(settings: Settings, target: Path) -> list[Written]:
    """Write every file under `target`, made where it is missing. Raises SettingsError."""
    token_of(settings)
    try:
        target.mkdir(parents=True, exist_ok=True)
        before = _manifest(target)
        after = dict(before)
        done = []
        for name, text in contents(settings).items():
            path, new = target / name, _hash(text)
            path.parent.mkdir(parents=True, exist_ok=True)
            found = _hash(path.read_text(encoding="utf-8")) if path.exists() else None
            if found not in (None, new, before.get(name)):
                _put(path.with_name(path.name + ".new"), text)
                done.append(Written(path, "edited"))
                continue
            if found != new:
                _put(path, text)
            after[name] = new
            done.append(Written(path, "the same" if found == new else "renewed" if found else "new"))
        _put(target / MANIFEST, json.dumps(after, indent=1))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{target} cannot be written: {error}.", "Choose another folder.") from None
    return done


def contents(settings: Settings) -> dict[str, str]:
    """Every file's text by its name under the folder."""
    shipped = folder()

    def text(name: str) -> str:
        return shipped.joinpath(name).read_text(encoding="utf-8")

    alertmanager = _host(settings.alertmanager_url)
    heartbeat = f"    webhook_configs: [{{url: {json.dumps(settings.heartbeat_url)}, send_resolved: false}}]"
    values = {
        "account": json.dumps(settings.account_name),
        "metrics_port": str(settings.metrics_port),
        "alerts_port": str(settings.alerts_port),
        "prometheus": json.dumps(_host(settings.prometheus_url)),
        "alertmanager": json.dumps(alertmanager),
        "alertmanager_scheme": urlsplit(settings.alertmanager_url).scheme,
        "repeat_interval": f"{REPEAT_INTERVAL.total_seconds():.0f}s",
        "token_file": json.dumps(str(token_path(settings))),
        "heartbeat": heartbeat if settings.heartbeat_url else "    # set ATHENA_HEARTBEAT_URL and write this again",
    }
    runbook = f"http://127.0.0.1:{settings.alerts_port}/runbook"
    return {
        "prometheus.yml": Template(text("prometheus.yml")).substitute(values),
        "rules/alerts.yml": text("alerts.yml").replace(DEFAULT_RUNBOOK, runbook),
        "rules/recording.yml": text("recording.yml"),
        "alertmanager.yml": Template(text("alertmanager.yml")).substitute(values),
        "grafana-dashboard.json": text("grafana-dashboard.json"),
        "runbook.html": text("runbook.html"),
    }


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"


def _manifest(target: Path) -> Mapping[str, str]:
    try:
        found = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _put(path: Path, text: str) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    os.chmod(draft, 0o600 if path.name.startswith("alertmanager") else 0o644)  # it may hold the heartbeat's address
    os.replace(draft, path)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
