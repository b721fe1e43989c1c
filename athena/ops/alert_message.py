"""What people are told about alerts: the verdict first. Plain text; channels escape it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import Alert
from athena.ops.alert_rules import folder

NAMED_MAX = 20
_ABOUT = ("rule", "failed", "service", "channel")  # what tells alerts of one name apart, where it is no symbol


def names(group: Sequence[Alert]) -> str:
    """The alerts by name and what they are about, those beyond NAMED_MAX counted."""
    about = [a.symbol or next((a.labels[label] for label in _ABOUT if label in a.labels), "") for a in group]
    told = [f"{a.name} ({what})" if what else a.name for a, what in zip(group, about, strict=True)]
    drill = "DRILL " if group[0].drill else ""
    more = f" and {len(told) - NAMED_MAX} more" if len(told) > NAMED_MAX else ""
    return f"{drill}{', '.join(told[:NAMED_MAX])}{more}"


def found(group: Sequence[Alert], settings: Settings) -> dict[str, Any]:
    """Severity, title, body and page of the message about a group whose playbook was run, or could not be."""
    first = group[0]
    lines = [] if first.playbook and first.page else ["There is no page: decide by athena status."]
    lines += [f"{first.reason}", f"Next: {first.next_action}"] if first.next_action else [first.reason]
    for alert in group[:NAMED_MAX]:
        lines.append("")
        lines.append(f"{alert.name} since {alert.starts_at:%H:%M:%S} UTC: {alert.summary}")
        lines += [text for text in (alert.annotations.get("description", ""),) if text]
        lines += [f"Action: {alert.acted}"] if alert.acted else []
        lines += [f"Refused: {alert.problem}"] if alert.problem else []
        lines.append(f"Runbook: {runbook(alert, settings)}")
    if len(group) > NAMED_MAX:
        lines.append(f"\nand {len(group) - NAMED_MAX} more: athena alerts")
    severity = "critical" if any(a.severity == "critical" for a in group) else "warning"
    page = Path(first.page) if first.page else None
    mail = page.with_suffix(".eml") if page else None
    return {
        "severity": severity,
        "title": f"{first.verdict}: {names(group)}",
        "body": "\n".join(lines),
        "page": page,
        "mail": mail if mail and mail.exists() else None,
    }


def without_page(group: Sequence[Alert]) -> dict[str, Any]:
    """The message about critical alerts whose page is late."""
    lines = ["The playbook is slow or hangs; its page follows. Until then decide by athena status."]
    for alert in group[:NAMED_MAX]:
        lines.append(f"{alert.name} since {alert.starts_at:%H:%M:%S} UTC: {alert.summary}")
        lines += [f"Action: {alert.acted}"] if alert.acted else []
    return {"severity": "critical", "title": f"No page yet: {names(group)}", "body": "\n".join(lines)}


def ended(alert: Alert, silence: str) -> dict[str, Any]:
    """The message that an alert is over; with the engine's `silence` in words, that nobody knows whether it is."""
    until = alert.resolved_at or alert.received_at
    minutes = max(0.0, (until - alert.starts_at).total_seconds()) / 60
    name = names([alert])
    if silence:
        body = (
            f"It fired for {minutes:.0f} minutes. The engine tells nothing any more ({silence}), so nobody knows"
            " whether it is over: athena status."
        )
        return {"severity": "warning", "title": f"No longer reported: {name}", "body": body}
    body = f"It fired for {minutes:.0f} minutes. Halts stand until a person lifts them: athena status."
    return {"severity": "info", "title": f"Over: {name}", "body": body}


def runbook(alert: Alert, settings: Settings) -> str:
    """The alert's page of the runbook; a name that is not in it gets the runbook's beginning."""
    known = f'id="{alert.name}"' in folder().joinpath("runbook.html").read_text(encoding="utf-8")
    return f"http://127.0.0.1:{settings.alerts_port}/runbook{f'#{alert.name}' if known else ''}"
