"""Alertmanager's webhook bodies, as version 0.25 sends them, with fields a newer one adds."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)
NEVER = "0001-01-01T00:00:00Z"


def alert(name="GuardViolation", status="firing", start=START, annotations=None, **labels):
    labels = {"alertname": name, "severity": "warning", **labels}
    fingerprint = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": f"{name} fires"} if annotations is None else annotations,
        "startsAt": start.isoformat(timespec="milliseconds").replace("+00:00", "123456Z"),  # nanoseconds
        "endsAt": (start + timedelta(minutes=3)).isoformat() if status == "resolved" else NEVER,
        "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
        "fingerprint": fingerprint,
        "silenceURL": "from a newer one",
    }


def body(*alerts, **changes):
    told = {
        "version": "4", "groupKey": '{}:{playbook="x"}', "truncatedAlerts": 0, "status": "firing", "receiver": "athena",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts), "notification_reason": "from a newer one", **changes,
    }  # fmt: skip
    return json.dumps(told).encode()
