"""The outbox: messages queued in the journal, claimed by one deliverer at a time, sent, tried again or dead.

A claim is a journal row with a lease, so several deliverers never work on one message. What is promised: a message
that was queued is sent or shown as a dead letter, and never sent twice. There is one exception: where a deliverer died,
or a receiver took the message and never answered, nobody knows whether it arrived. Losing it would be worse, so it is
sent once more, marked as a possible repeat; a second time in doubt makes it a dead letter for an operator to judge.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from athena.core.channels import Fate, Outcome
from athena.core.message import Message
from athena.journal.codec import to_text
from athena.journal.journal import Journal, Transaction

UNSURE_MAX = 2
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 5.0, 900.0
UNSURE_WAIT_SECONDS = 60.0
PAUSE_SECONDS_MAX = 3600.0
THROTTLE_SECONDS = 60.0
_RANK = "CASE n.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END"
_COLUMNS = (
    "d.*, n.sequence, n.at, n.severity, n.title, n.body, n.dedup_key, n.source, n.page, n.mail"
    " FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
)
_DUE = (
    f"SELECT {_COLUMNS} WHERE d.channel = ? AND d.finished_at IS NULL"  # as the index of a channel has it
    " AND ((d.status = 'queued' AND d.next_at <= ?) OR (d.status = 'sending' AND d.lease_until <= ?))"
    f" AND (? OR n.severity = 'critical') ORDER BY {_RANK}, n.sequence, d.id LIMIT 1"
)
_PAUSED = (  # two searches of one index instead of a walk over everything ever sent
    "SELECT MAX(pause_until) AS until FROM ("
    "SELECT pause_until FROM deliveries WHERE channel = ? AND finished_at IS NULL"
    " UNION ALL SELECT pause_until FROM deliveries WHERE channel = ? AND finished_at > ?) AS open"
)
IN_DOUBT = "it may have arrived twice already, or not at all: look in the channel, then athena notifications retry ID"


@dataclass(frozen=True)
class Claim:
    """One delivery that is ours until its lease ends."""

    id: str
    token: str
    channel: str
    message: Message
    queued_at: datetime
    attempts: int
    unsure: int


def queue(
    tx: Transaction, *, severity: str, title: str, body: str, channels: Sequence[str], dedup_key: str | None,
    page: str = "", mail: str = "",
) -> tuple[str, bool]:  # fmt: skip
    """The notification's id, and whether it is new: a key that was used before queues nothing."""
    if dedup_key is not None:
        known = tx.one("SELECT id FROM notifications WHERE dedup_key = ? LIMIT 1", (dedup_key,))
        if known is not None:
            return known["id"], False
    identity = secrets.token_hex(6)
    facts = {"id": identity, "severity": severity, "title": title, "body": body, "channels": list(channels)}
    tx.append("notification.queued", {**facts, "dedup_key": dedup_key, "page": page or None, "mail": mail or None})
    return identity, True


def channels_due(journal: Journal, now: datetime) -> list[str]:
    """The channels with something to send at this moment."""
    at = to_text(now)
    rows = journal.query(
        "SELECT channel FROM deliveries WHERE status <> 'sent' AND status IN ('queued', 'sending')"
        " AND ((status = 'queued' AND next_at <= ?) OR (status = 'sending' AND lease_until <= ?))",
        (at, at),
    )
    return sorted({row["channel"] for row in rows})


def claim(journal: Journal, channel: str, now: datetime, *, lease_seconds: float, per_minute: int) -> Claim | None:
    """The most urgent delivery of a channel, now ours; None where none is due, or the channel is to rest."""
    at, token = to_text(now), secrets.token_hex(8)
    with journal.transaction() as tx:
        ended = to_text(now - timedelta(seconds=PAUSE_SECONDS_MAX))  # a pause is never longer
        paused = tx.one(_PAUSED, (channel, channel, ended))
        if paused is not None and paused["until"] is not None and paused["until"] > at:
            return None
        since = to_text(now - timedelta(seconds=THROTTLE_SECONDS))
        sent = tx.one(
            "SELECT COUNT(*) AS n FROM deliveries WHERE channel = ? AND finished_at > ? AND status = 'sent'",
            (channel, since),
        )
        room = sent is None or sent["n"] < per_minute
        row = tx.one(_DUE, (channel, at, at, 1 if room else 0))
        if row is None:
            return None
        lost = row["status"] == "sending"
        facts = {"id": row["id"], "claim": token, "lease_until": now + timedelta(seconds=lease_seconds)}
        tx.append("delivery.claimed", facts | {"over_dead_claim": lost})
        unsure = row["unsure"] + (1 if lost else 0)
        if unsure >= UNSURE_MAX:
            told = f"two deliverers died while sending it; {IN_DOUBT}"
            tx.append("delivery.failed", {"id": row["id"], "claim": token, "error": told, "next_at": None})
            return None
        message = Message.from_row(dict(row), repeat=unsure > 0)
        queued = datetime.fromisoformat(row["queued_at"])
        return Claim(row["id"], token, channel, message, queued, row["attempts"] + 1, unsure)


def finish(
    journal: Journal, done: Claim, outcome: Outcome, now: datetime, *, give_up_hours: float, jitter: Callable[[], float]
) -> tuple[str, str]:
    """Record what became of a claim; the delivery's status after it (sent, queued, dead) and why. `jitter`: 0 to 1."""
    if outcome.fate is Fate.SENT:
        journal.append("delivery.sent", {"id": done.id, "claim": done.token, "at": now, "told": outcome.told})
        return "sent", outcome.told
    unsure, error = outcome.fate is Fate.UNSURE, outcome.told
    wait = min(BACKOFF_SECONDS * 2 ** min(done.attempts - 1, 20), BACKOFF_SECONDS_MAX) * (0.75 + jitter() / 2)
    pause = min(outcome.retry_after_seconds or 0.0, PAUSE_SECONDS_MAX)
    wait = max(wait, pause, UNSURE_WAIT_SECONDS if unsure else 0.0)
    dead = outcome.fate is Fate.REFUSED
    if unsure and done.unsure + 1 >= UNSURE_MAX:
        dead, error = True, f"{error}; {IN_DOUBT}"
    elif now + timedelta(seconds=wait) - done.queued_at > timedelta(hours=give_up_hours):
        dead, error = True, f"{error}; given up after {done.attempts} attempts in {give_up_hours:g} h"
    facts: dict[str, Any] = {"id": done.id, "claim": done.token, "error": error, "unsure": unsure}
    facts["next_at"] = None if dead else now + timedelta(seconds=wait)
    facts["pause_until"] = now + timedelta(seconds=pause) if pause else None
    journal.append("delivery.failed", facts)
    return "dead" if dead else "queued", error


def deliveries(journal: Journal, *, status: Sequence[str] = (), last: int = 50) -> list[dict[str, Any]]:
    """The latest deliveries with their message, newest first; of these states only, or of all."""
    which = f" WHERE d.status IN ({', '.join('?' * len(status))})" if status else ""
    sql = f"SELECT {_COLUMNS}{which} ORDER BY n.sequence DESC, d.id LIMIT ?"
    return [dict(row) for row in journal.query(sql, (*status, last))]


def retry(journal: Journal, identities: Sequence[str], by: str) -> None:
    """Make deliveries due now, with a fresh count: dead letters, or those that wait for their next attempt.

    Of which nobody knows whether it arrived goes out as a possible repeat still, and has one attempt in doubt left.
    """
    with journal.transaction() as tx:
        for identity in identities:
            row = tx.one("SELECT unsure FROM deliveries WHERE id = ?", (identity,))
            repeat = row is not None and row["unsure"] > 0
            tx.append("delivery.retried", {"id": identity, "by": by, "repeat": repeat})


@dataclass(frozen=True)
class OutboxState:
    """How many deliveries wait, how old the oldest is, how many are dead letters."""

    waiting: int
    oldest_at: datetime | None
    dead: int
    last_error: str


def state(journal: Journal) -> OutboxState:
    """The outbox in four figures, for health-check and metrics."""
    row = journal.one(
        "SELECT COUNT(*) AS n, MIN(queued_at) AS oldest FROM deliveries"
        " WHERE status <> 'sent' AND status IN ('queued', 'sending')"
    )
    dead = journal.one("SELECT COUNT(*) AS n FROM deliveries WHERE status <> 'sent' AND status = 'dead'")
    error = journal.one("SELECT error FROM deliveries WHERE status <> 'sent' AND error IS NOT NULL LIMIT 1")
    oldest = row["oldest"] if row else None
    return OutboxState(
        row["n"] if row else 0,
        None if oldest is None else datetime.fromisoformat(oldest),
        dead["n"] if dead else 0,
        error["error"] if error else "",
    )
