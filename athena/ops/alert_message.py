"""What people are told about alerts: the verdict first. Plain text; channels escape it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import Alert
from athena.ops.alert_rules import folder

NAMED_MAX = 20
_ABOUT = (
    "rule",
    "failed",
    "service",
    "channel",
    "origin",
)  # what tells alerts of one name apart, where it is no symbol


def names(group: Sequence[Alert]) -> str:
    """The alerts by name and what they are about, those beyond NAMED_MAX counted."""
    about = [a.symbol or next((a.labels[label] for label in _ABOUT if label in a.labels), "") for a in group]
    told = [f"{a.name} ({what})" if what else a.name for a, what in zip(group, about, strict=True)]
    drill = "DRILL " if group[0].drill else ""
    more = f" and {len(told) - NAMED_MAX} more" if len(told) > NAMED_MAX else ""
    return f"{drill}{', '.join(told[:NAMED_MAX])}{more}"


def found(group: Sequence[Alert], settings: Settings, before: Sequence[Alert] = ()) -> dict[str, Any]:
    """Severity, title, body and page of the message about a group whose playbook was run, or could not be.

    before: earlier firings of the same alerts, told or held.
    """
    first = group[0]
    lines = [] if first.playbook and first.page else ["There is no page: decide by athena status."]
    lines += [f"{first.reason}", f"Next: {first.next_action}"] if first.next_action else [first.reason]
    for alert in group[:NAMED_MAX]:
        lines.append("")
        lines.append(f"{alert.name} since {alert.starts_at:%H:%M:%S} UTC: {alert.summary}")
        lines += [text for text in (alert.annotations.get("description", ""),) if text]
        lines += _again(alert, before)
        lines += [f"Action: {alert.acted}"] if alert.acted else []
        lines += ["Action: it is NOT halted yet; that is tried again."] if alert.asks else []
        lines += [f"Not reported any more since {alert.resolved_at:%H:%M:%S} UTC."] if alert.resolved_at else []
        lines += [f"Whether it still fires: {alert.standing()}."] if alert.unheard() else []
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


def ended(group: Sequence[Alert], held: Sequence[int], silence: str) -> dict[str, Any]:
    """The message that alerts are over; with the engine's `silence` in words, that nobody knows whether they are.

    held: of each, its firings that no message told of.
    """
    lines = []
    for alert, number in list(zip(group, held, strict=True))[:NAMED_MAX]:
        until = alert.resolved_at or alert.received_at
        minutes = max(0.0, (until - alert.starts_at).total_seconds()) / 60
        name = f"{alert.name}{f' {alert.symbol}' if alert.symbol else ''}: it" if len(group) > 1 else "It"
        back = f" It had come back {_times(number)} since the last message." if number else ""
        lines.append(f"{name} fired for {minutes:.0f} minutes, until {until:%H:%M:%S} UTC.{back}")
    if silence:
        over = "it is" if len(group) == 1 else "they are"
        lines.append(
            f"The engine tells nothing any more ({silence}), so nobody knows whether {over} over: athena status."
        )
        return {"severity": "warning", "title": f"No longer reported: {names(group)}", "body": "\n".join(lines)}
    lines.append("Halts stand until a person lifts them: athena status.")
    return {"severity": "info", "title": f"Over: {names(group)}", "body": "\n".join(lines)}


def left_out(number: int, critical: bool, settings: Settings) -> dict[str, Any]:
    """The message that Alertmanager had more alerts than it handed over."""
    body = (
        "Alertmanager hands over at most a thousand alerts of a group at a time. Those beyond are not recorded here and"
        f" nothing was done about them: no page, no halt. Look at Alertmanager: {settings.alertmanager_url}/#/alerts"
    )
    title = f"{number} alert{'s were' if number > 1 else ' was'} left out of a delivery"
    return {"severity": "critical" if critical else "warning", "title": title, "body": body}


def halt_failed(alert: Alert, symbol: str, why: str) -> dict[str, Any]:
    """The message that a halt an alert's rule asks for could not be set, with what to type."""
    lines = [
        f"The rule halts {symbol or 'all trading'}. That failed again and again and is not tried any more: {why}",
        f"Type: athena halt{f' --symbol {symbol}' if symbol else ''} {alert.name}",
        "If that fails too: athena emergency-stop",
    ]
    return {"severity": "critical", "title": f"HALT FAILED: {names([alert])}", "body": "\n".join(lines)}


def _again(alert: Alert, before: Sequence[Alert]) -> list[str]:
    """How often it fired since it was told of; nothing where it is the first time."""
    earlier = [other for other in before if other.identity == alert.identity]
    if not earlier:
        return []
    told = max((other.notified_at for other in earlier if other.notified_at), default=None)
    since = f", since the message of {told:%H:%M:%S} UTC" if told else ""
    held = sum(other.notified_at is None for other in earlier) + 1
    return [f"It was over in between and came back {_times(held)}{since}."]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def runbook(alert: Alert, settings: Settings) -> str:
    """The alert's page of the runbook; a name that is not in it gets the runbook's beginning."""
    known = f'id="{alert.name}"' in folder().joinpath("runbook.html").read_text(encoding="utf-8")
    return f"http://127.0.0.1:{settings.alerts_port}/runbook{f'#{alert.name}' if known else ''}"
