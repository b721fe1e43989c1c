"""Rehearses an alert end to end: marked as a drill, by the way a real one takes, watched until people were told."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import yaml

from athena.config import Settings
from athena.core import channels, outbox
from athena.core.alerts import Alert, AlertState, recent_alerts
from athena.errors import AthenaError, SettingsError, did_you_mean
from athena.journal.journal import Journal
from athena.live.vitals import beat
from athena.ops.alert_rules import folder
from athena.ops.alert_server import token_of
from athena.ops.alert_telling import key_of_run

WAIT_SECONDS = 90.0
LASTS = timedelta(minutes=2)
_TEMPLATE = re.compile(r"\{\{.*?\}\}")


def drill(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fire a shipped alert as a drill and say how far it comes; exit 0 when every channel took its message, else 12."""
    rules = {rule["alert"]: rule for rule in shipped()}
    if arguments.name not in rules:
        hint = did_you_mean(arguments.name, rules, f"There are: {', '.join(sorted(rules))}.")
        raise SettingsError(f"'{arguments.name}' is not a shipped alert." if arguments.name else "Which alert?", hint)
    alert = _alert(rules[arguments.name], arguments.symbol or settings.symbols[0])
    begun, webhook = time.monotonic(), _webhook(settings)
    served = webhook.get("url") or f"http://127.0.0.1:{settings.alerts_port}"
    if arguments.direct:
        _to_webhook(settings, served, alert, "firing")
    else:
        alertmanager = webhook.get("alertmanager_url") or settings.alertmanager_url
        _post(f"{alertmanager}/api/v2/alerts", [alert], {}, "Start it with make monitor, or use --direct.")
    seen, sent = _watch(settings, alert["labels"]["drill_id"], begun, quiet=arguments.json)
    if arguments.direct:  # nobody else would ever say that it is over
        with suppress(AthenaError):
            _to_webhook(settings, served, {**alert, "endsAt": datetime.now(UTC).isoformat()}, "resolved")
    done = bool(sent) and all(one["status"] == "sent" for one in sent)
    if arguments.json:
        facts = {"state": seen.state, "verdict": seen.verdict, "page": seen.page} if seen else {"state": "not received"}
        print(json.dumps({"alert": arguments.name, "notified": done, **facts, "deliveries": sent}))
    elif not done:
        print(_why_not(seen, sent))
    return 0 if done else 12


def shipped() -> list[dict[str, Any]]:
    """Every shipped alert rule as Prometheus reads it."""
    groups = yaml.safe_load(folder().joinpath("alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _alert(rule: dict[str, Any], symbol: str) -> dict[str, Any]:
    """The rule's alert as Prometheus would send it, its templates filled with words; `drill_id` makes it one."""
    now = datetime.now(UTC)

    def filled(text: str) -> str:
        return _TEMPLATE.sub("(drill)", text.replace("{{ $labels.symbol }}", symbol))

    labels = {name: filled(value) for name, value in rule["labels"].items()}
    labels |= {"alertname": rule["alert"], "drill": "true", "drill_id": now.strftime("%Y%m%d%H%M%S%f")}
    return {
        "labels": labels,
        "annotations": {name: filled(value) for name, value in rule["annotations"].items()},
        "startsAt": now.isoformat(),
        "endsAt": (now + LASTS).isoformat(),
    }


def _webhook(settings: Settings) -> dict[str, Any]:
    """What the running webhook says of itself, where it and its Alertmanager are; empty where none runs."""
    with Journal.open(settings.journal_path, "drill", read_only=True) as journal:
        heard = beat(journal, "alerts")
    return heard.details if heard is not None and heard.alive else {}


def _to_webhook(settings: Settings, webhook: str, alert: dict[str, Any], status: str) -> None:
    fingerprint = hashlib.sha256(alert["labels"]["drill_id"].encode()).hexdigest()[:16]
    body = {"version": "4", "status": status, "alerts": [{**alert, "status": status, "fingerprint": fingerprint}]}
    _post(
        f"{webhook}/alerts",
        body,
        {"Authorization": f"Bearer {token_of(settings)}"},
        "Start it with athena alerts serve.",
    )


def _post(url: str, body: Any, headers: dict[str, str], hint: str) -> None:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=5):
            pass
    except HTTPError as error:
        told = error.read(300).decode(errors="replace").strip()
        raise AthenaError(f"{url} answered {error.code}: {told}", hint) from None
    except OSError as error:
        raise AthenaError(f"{url} does not answer: {getattr(error, 'reason', None) or error}.", hint) from None


def _watch(settings: Settings, identity: str, begun: float, quiet: bool) -> tuple[Alert | None, list[dict[str, Any]]]:
    """The drill's alert and its message's deliveries, once ended or when the time is over; each step as it is seen."""
    said: set[str] = set()
    found: Alert | None = None
    sent: list[dict[str, Any]] = []

    def say(what: str, told: str) -> None:
        if not (quiet or what in said):
            said.add(what)
            print(f"{time.monotonic() - begun:5.1f} s  {what:<9} {told}".rstrip(), flush=True)

    with Journal.open(settings.journal_path, "drill", read_only=True) as journal:
        while time.monotonic() - begun < WAIT_SECONDS:
            found = next((a for a in recent_alerts(journal) if a.labels.get("drill_id") == identity), None)
            if found is not None:
                say(found.state, f"{found.verdict}: {found.reason} {found.page}" if found.verdict else found.acted)
            if found is not None and found.state is AlertState.NOTIFIED:
                rows = outbox.deliveries(journal, key=key_of_run(found.run))
                sent = [{name: row[name] for name in ("channel", "status", "error")} for row in rows]
                for one in sent:
                    say(f"{one['status']:<9} {one['channel']}", one["error"] or "")
                if all(one["status"] in {"sent", "dead"} for one in sent):
                    break
            time.sleep(0.1)
    return found, sent


def _why_not(seen: Alert | None, sent: list[dict[str, Any]]) -> str:
    if seen is None or seen.state is not AlertState.NOTIFIED:
        return f"not told to anyone after {WAIT_SECONDS:.0f} s. next: is athena alerts serve running? athena alerts"
    if sent:
        return "not every channel took it. next: athena notifications"
    return (
        f"not told to anyone: no channel is set up. next: {channels.SLACK_VARIABLE} where athena alerts serve runs,"
        " or smtp_host and email_to in [notifications] of athena.toml"
    )
