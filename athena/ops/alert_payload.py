"""Alertmanager's webhook body (version 4) as events for the journal: checked, cut to size, its text made harmless.

Fields that are not known here are left alone, so that a newer Alertmanager is understood. Text keeps its words: what
shows it escapes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from athena.journal.codec import to_text
from athena.ops.alert_rules import request

log = logging.getLogger("athena.alerts")
SIZE_MAX = 4_000_000  # bytes; a thousand alerts of a kilobyte or two
ALERTS_MAX = 1_000  # of one delivery, as Alertmanager's configuration has it; it says how many more there were
LABELS_MAX = 64
LABEL_MAX, ANNOTATION_MAX = 200, 1_000  # characters; what is longer is cut
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,64}")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_SEVERITIES = ("critical", "warning", "info", "none")


class NotAPayload(ValueError):
    """The body is not what Alertmanager sends; the message says where."""


@dataclass(frozen=True)
class Delivery:
    """One delivery: the payloads of `alert.received`, and how many alerts of which group it left out."""

    alerts: list[dict[str, Any]]
    left_out: int = 0
    group: str = ""


def read(body: bytes) -> Delivery:
    """What can be read of a delivery, one payload an alert. Raises NotAPayload where there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAPayload("the body is not JSON") from None
    if not isinstance(found, dict):
        raise NotAPayload("the body is not an object")
    if found.get("version") != "4":
        raise NotAPayload("version is not '4'")
    alerts, left_out = found.get("alerts"), found.get("truncatedAlerts")
    if not isinstance(alerts, list) or not alerts:
        raise NotAPayload("alerts is not a list of alerts")
    left_out = left_out if isinstance(left_out, int) and left_out > 0 else 0
    left_out += max(0, len(alerts) - ALERTS_MAX)
    group = found.get("groupKey")
    return Delivery(_each(alerts[:ALERTS_MAX]), left_out, clean(group, LABEL_MAX) if isinstance(group, str) else "")


def _each(alerts: list[Any]) -> list[dict[str, Any]]:
    """Those that can be read: one that cannot must not take the others of its group with it."""
    read, refused = [], []
    for index, alert in enumerate(alerts):
        try:
            read.append(_alert(f"alerts[{index}]", alert))
        except NotAPayload as error:
            refused.append(error)
    if not read:
        raise refused[0]
    if refused:
        log.warning("%d of %d alerts of a delivery were refused, first: %s", len(refused), len(alerts), refused[0])
    return read


def _alert(where: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise NotAPayload(f"{where} is not an object")
    status, fingerprint = found.get("status"), found.get("fingerprint")
    if status not in ("firing", "resolved"):
        raise NotAPayload(f"{where}.status is neither firing nor resolved")
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        raise NotAPayload(f"{where}.fingerprint is no fingerprint")
    labels = _texts(f"{where}.labels", found.get("labels"), LABEL_MAX)
    annotations = _texts(f"{where}.annotations", found.get("annotations") or {}, ANNOTATION_MAX)
    if not labels.get("alertname"):
        raise NotAPayload(f"{where}.labels has no alertname")
    starts_at = _moment(f"{where}.startsAt", found.get("startsAt"))
    asked = request(labels)
    severity = labels.get("severity", "")
    return {
        "id": hashlib.sha256(f"{fingerprint} {starts_at}".encode()).hexdigest()[:24],
        "status": status,
        "name": labels["alertname"],
        "severity": severity if severity in _SEVERITIES else "warning",
        "labels": labels,
        "annotations": annotations,
        "starts_at": starts_at,
        "ends_at": _moment(f"{where}.endsAt", found.get("endsAt")) if status == "resolved" else None,
        "playbook": asked.playbook,
        "parameters": dict(asked.parameters),
        "action": asked.action,
        "problem": asked.problem,
        "drill": labels.get("drill") == "true",
    }


def _texts(where: str, found: Any, longest: int) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > LABELS_MAX:
        raise NotAPayload(f"{where} is not a table of at most {LABELS_MAX} texts")
    for name, value in found.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str):
            raise NotAPayload(f"{where} has a name or a value that is none")
    return {name: clean(value, longest) for name, value in found.items()}


def clean(text: str, longest: int) -> str:
    """One line without control, format and surrogate characters, cut with an ellipsis."""
    flat = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: longest * 2])
    flat = " ".join(flat.split())
    return flat if len(flat) <= longest and len(text) <= longest * 2 else flat[: longest - 1] + "…"


def _moment(where: str, found: Any) -> str:
    try:
        return to_text(datetime.fromisoformat(found))
    except (TypeError, ValueError, OverflowError):
        raise NotAPayload(f"{where} is no moment with a time zone") from None
