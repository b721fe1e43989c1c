"""Alerts as the journal has them: what fires, what was done about it, where its page is.

    for alert in active_alerts(journal):
        print(alert.name, alert.state, alert.verdict, alert.page)

They are told by Alertmanager through `athena alerts serve`. Their text is other people's: escape it where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from athena.journal.codec import from_text, to_text
from athena.journal.journal import Journal
from athena.journal.restored import last_restored

UNFINISHED = "(state <> 'notified' OR resolved_at IS NULL OR told = 0)"  # the index alerts_unfinished, word for word
_SEVERITIES = {"critical": 0, "warning": 1}
# Alertmanager says again what fires; its configuration is written with this. What it missed once is not known any more.
REPEAT_INTERVAL = timedelta(minutes=5)
UNHEARD_AFTER = 2 * REPEAT_INTERVAL
FORGOTTEN_AFTER = timedelta(days=1)
Identity = frozenset[tuple[str, str]]  # an alert's labels: the same whenever it fires again


class AlertState(StrEnum):
    """How far an alert has come; what is not `notified` is taken up again after a crash.

    HELD: it has its page, but people were told of the same alert minutes ago; the next message tells of it.
    """

    RECEIVED = "received"
    RUNNING = "running"
    PAGE = "page"
    HELD = "held"
    NOTIFIED = "notified"


@dataclass(frozen=True)
class Alert:
    """One alert, from its firing to its end. `id` is of its labels and start; times are the machine's, aware.

    `parameters` are those its playbook takes; `action` is what its rule asks for ("", "halt" or "halt_symbol") and
    `acted` what came of it. `verdict`, `reason`, `next_action` and `page` (a path) are of the playbook's run, empty
    before it; `attempts` is how often that was begun. `problem` says why something it asked for was refused.
    `notified_at` is when people were told that it fires; `told` says whether its end was told. `heard_at` is when
    Alertmanager last said that it fires: `firing` is what it said then, and UNKNOWN once it is `unheard`: too long ago,
    or before the journal was restored (`doubted`).
    """

    id: str
    name: str
    severity: str
    state: AlertState
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    received_at: datetime
    resolved_at: datetime | None
    playbook: str
    parameters: Mapping[str, Any]
    action: str
    acted: str
    drill: bool
    problem: str
    run: str
    verdict: str
    reason: str
    next_action: str
    page: str
    notified_at: datetime | None
    told: bool
    attempts: int = 0
    heard_at: datetime | None = None
    doubted: bool = False

    @property
    def firing(self) -> bool:
        return self.resolved_at is None

    @property
    def asks(self) -> bool:
        """Whether its rule asks for an action that is still to be taken."""
        return bool(self.action) and not self.acted and self.firing

    @property
    def was_told(self) -> bool:
        """Whether its page is there and was told or held; what is left of it is how it stands now."""
        return self.state in (AlertState.HELD, AlertState.NOTIFIED)

    def unheard(self, now: datetime | None = None) -> timedelta | None:
        """How long Alertmanager has not said that it fires; None where it is over, or was heard of as it should be."""
        silent = (now or datetime.now(UTC)) - (self.heard_at or self.received_at)
        return silent if self.firing and (self.doubted or silent > UNHEARD_AFTER) else None

    def standing(self, now: datetime | None = None) -> str:
        """`fires`, `until 14:02:11`, or that it is UNKNOWN and since when, in words."""
        if self.resolved_at is not None:
            return f"until {self.resolved_at:%H:%M:%S}"
        silent = self.unheard(now)
        return "fires" if silent is None else f"UNKNOWN, not heard of for {silent.total_seconds() / 60:.0f} min"

    @property
    def identity(self) -> Identity:
        return frozenset(self.labels.items())

    @property
    def symbol(self) -> str:
        """The symbol it is about; "" when it is about none."""
        return str(self.parameters.get("symbol") or self.labels.get("symbol") or "")

    @property
    def summary(self) -> str:
        """The rule's sentence, else the name."""
        return self.annotations.get("summary") or self.name

    def __repr__(self) -> str:
        drill = " (drill)" if self.drill else ""
        since = f"{self.starts_at:%H:%M:%S}, {self.standing()}, {self.state}"
        return f"<Alert {self.name}{drill} {self.severity} since {since}>"


def active_alerts(journal: Journal) -> list[Alert]:
    """Alerts that fire now, critical ones first, then the newest. Raises JournalError.

    Those that are `unheard` come last, as nobody knows; those that were not heard of for a day are left out.
    """
    open_ones = _alerts(journal, f"SELECT * FROM alerts WHERE {UNFINISHED} AND resolved_at IS NULL")
    found = [alert for alert in open_ones if (alert.unheard() or timedelta(0)) < FORGOTTEN_AFTER]
    return sorted(
        found, key=lambda a: (a.unheard() is not None, _SEVERITIES.get(a.severity, 2), -a.starts_at.timestamp(), a.name)
    )


def recent_alerts(journal: Journal, number: int = 50) -> list[Alert]:
    """The alerts received last, the newest first, those that ended included. Raises JournalError."""
    return _alerts(journal, "SELECT * FROM alerts ORDER BY sequence DESC LIMIT ?", number)


def unfinished_alerts(journal: Journal) -> list[Alert]:
    """Alerts that something is still to be done about, oldest first: run, notify, or tell that they ended."""
    undone = "(state <> 'notified' OR (resolved_at IS NOT NULL AND told = 0))"
    return _alerts(journal, f"SELECT * FROM alerts WHERE {UNFINISHED} AND {undone} ORDER BY sequence")


def _alerts(journal: Journal, sql: str, *values: object) -> list[Alert]:
    if not (rows := journal.query(sql, values)):
        return []
    mark = last_restored(journal)
    restored_at = "" if mark is None else to_text(mark.at)
    return [_alert(row, doubted=(row["heard_at"] or row["received_at"]) < restored_at) for row in rows]


def _alert(row: Any, doubted: bool) -> Alert:
    def moment(name: str) -> datetime | None:
        return from_text(row[name]) if row[name] else None

    return Alert(
        id=row["id"],
        name=row["name"],
        severity=row["severity"],
        state=AlertState(row["state"]),
        labels=json.loads(row["labels"]),
        annotations=json.loads(row["annotations"]),
        starts_at=from_text(row["starts_at"]),
        received_at=from_text(row["received_at"]),
        resolved_at=moment("resolved_at"),
        playbook=row["playbook"],
        parameters=json.loads(row["parameters"]),
        action=row["action"],
        acted=row["acted"] or "",
        drill=bool(row["drill"]),
        problem=row["problem"],
        run=row["run"] or "",
        verdict=row["verdict"] or "",
        reason=row["reason"] or "",
        next_action=row["next_action"] or "",
        page=row["page"] or "",
        notified_at=moment("notified_at"),
        told=bool(row["told"]),
        attempts=row["attempts"],
        heard_at=moment("heard_at"),
        doubted=doubted,
    )
