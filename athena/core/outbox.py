"""The outbox: messages queued in the journal, claimed by one deliverer at a time, sent, tried again or dead.

A claim is a journal row with a lease, so several deliverers never work on one message. What is promised: a message
that was queued is sent or shown as a dead letter, and never sent twice. There is one exception: where a deliverer died,
or a receiver took the message and never answered, nobody knows whether it arrived. Losing it would be worse, so it is
sent once more, marked as a possible repeat; a second time in doubt makes it a dead letter for an operator to judge.

A mail is one delivery to all its recipients; whom the server left out gets a delivery of his own, ID:ADDRESS.

Clocks are set. What lies further ahead than anything here ever waits was stamped by a clock that has been set back
since: it is due. A clock set forward by days ends no message: it is also counted how often it was tried.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
_AHEAD_SECONDS = PAUSE_SECONDS_MAX + 60  # of what was stamped by this clock, and a little for one that is slewed
TRIED_PART_MIN = 1 / 6  # of the hours after which a message is given up: it was tried for so long, by count
THROTTLE_SECONDS = 60.0
_RANK = "CASE n.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END"
_COLUMNS = (
    "d.*, n.sequence, n.at, n.severity, n.title, n.body, n.dedup_key, n.source, n.page, n.mail"
    " FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
)
_READY = (
    "((d.status = 'queued' AND (d.next_at <= :now OR d.next_at > :ahead))"
    " OR (d.status = 'sending' AND (d.lease_until <= :now OR d.lease_until > :leases_ahead)))"
)
_DUE = (
    f"SELECT {_COLUMNS} WHERE d.channel = :channel AND d.finished_at IS NULL AND {_READY}"  # by the index of a channel
    f" AND (:room OR n.severity = 'critical') ORDER BY {_RANK}, n.sequence, d.id LIMIT 1"
)
_PAUSED = (  # two searches of one index instead of a walk over everything ever sent
    "SELECT 1 FROM (SELECT pause_until FROM deliveries WHERE channel = :channel AND finished_at IS NULL"
    " UNION ALL SELECT pause_until FROM deliveries WHERE channel = :channel AND finished_at > :pauses_since) AS open"
    " WHERE pause_until > :now AND pause_until <= :ahead LIMIT 1"
)
_SENT = (
    "SELECT COUNT(*) AS n FROM deliveries WHERE channel = :channel AND finished_at > :throttled_since"
    " AND finished_at <= :now AND status = 'sent'"
)
IN_DOUBT = "it may have arrived twice already, or not at all: look in the channel, then retry or dismiss it"


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

    @property
    def recipient(self) -> str:
        """The only one it is for; "" where it is for all of its channel."""
        return self.id.partition(":")[2]


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


def channels_due(journal: Journal, now: datetime, *, lease_seconds: float) -> list[str]:
    """The channels with something to send at this moment."""
    unsent = "status <> 'sent' AND status IN ('queued', 'sending')"  # by the index of what is unsent
    sql = f"SELECT DISTINCT channel FROM deliveries d WHERE {unsent} AND {_READY}"
    return sorted(row["channel"] for row in journal.query(sql, _times(now, lease_seconds)))


def claim(journal: Journal, channel: str, now: datetime, *, lease_seconds: float, per_minute: int) -> Claim | None:
    """The most urgent delivery of a channel, now ours; None where none is due, or the channel is to rest."""
    token, facts = secrets.token_hex(8), {"channel": channel, **_times(now, lease_seconds)}
    with journal.transaction() as tx:
        if tx.one(_PAUSED, facts) is not None:
            return None
        sent = tx.one(_SENT, facts)
        room = sent is None or sent["n"] < per_minute
        row = tx.one(_DUE, facts | {"room": int(room)})
        if row is None:
            return None
        lost = row["status"] == "sending"
        lease = {"id": row["id"], "claim": token, "lease_until": now + timedelta(seconds=lease_seconds)}
        tx.append("delivery.claimed", lease | {"over_dead_claim": lost})
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
    with journal.transaction() as tx:
        if outcome.fate is not Fate.SENT:
            return _failed(tx, done, outcome, now, give_up_hours, jitter)
        for address, refused in outcome.left_out:
            other = replace(done, id=f"{done.id}:{address}")
            tx.append("delivery.split", {"id": other.id, "of": done.id, "claim": done.token})
            _failed(tx, other, refused, now, give_up_hours, jitter)
        tx.append("delivery.sent", {"id": done.id, "claim": done.token, "at": now, "told": outcome.told})
        return "sent", outcome.told


def _failed(
    tx: Transaction, done: Claim, outcome: Outcome, now: datetime, give_up_hours: float, jitter: Callable[[], float]
) -> tuple[str, str]:
    unsure, error = outcome.fate is Fate.UNSURE, outcome.told
    wait = _backoff(done.attempts) * (0.75 + jitter() / 2)
    pause = min(outcome.retry_after_seconds or 0.0, PAUSE_SECONDS_MAX)
    wait = max(wait, pause, UNSURE_WAIT_SECONDS if unsure else 0.0)
    dead = outcome.fate is Fate.REFUSED
    if unsure and done.unsure + 1 >= UNSURE_MAX:
        dead, error = True, f"{error}; {IN_DOUBT}"
    elif _worn_out(done, now + timedelta(seconds=wait), give_up_hours * 3600):
        dead, error = True, f"{error}; given up after {done.attempts} attempts in {give_up_hours:g} h"
    facts: dict[str, Any] = {"id": done.id, "claim": done.token, "error": error, "unsure": unsure}
    facts["next_at"] = None if dead else now + timedelta(seconds=wait)
    facts["pause_until"] = now + timedelta(seconds=pause) if pause else None
    tx.append("delivery.failed", facts)
    return "dead" if dead else "queued", error


def _times(now: datetime, lease_seconds: float) -> dict[str, str]:
    """The moments of the queries. A lease ends within its length: one far longer is of a clock that was set back."""
    seconds = {
        "now": 0.0, "ahead": _AHEAD_SECONDS, "leases_ahead": 2 * lease_seconds, "pauses_since": -PAUSE_SECONDS_MAX,
        "throttled_since": -THROTTLE_SECONDS,
    }  # fmt: skip
    return {name: to_text(now + timedelta(seconds=ahead)) for name, ahead in seconds.items()}


def _backoff(attempts: int) -> float:
    """Seconds to wait after so many attempts."""
    return min(BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 20), BACKOFF_SECONDS_MAX)


def _worn_out(done: Claim, again_at: datetime, limit_seconds: float) -> bool:
    """Whether a message is too old for another attempt: by the clock, unless attempts say that this was set."""
    elapsed = (again_at - done.queued_at).total_seconds()
    tried = sum(_backoff(attempt) for attempt in range(1, done.attempts + 1))
    return tried > limit_seconds or (elapsed > limit_seconds and tried > limit_seconds * TRIED_PART_MIN)


def deliveries(
    journal: Journal, *, status: Sequence[str] = (), key: str | None = None, last: int = 50
) -> list[dict[str, Any]]:
    """The latest deliveries with their message, newest first; of these states only, of this message's key only."""
    which = [f"d.status IN ({', '.join('?' * len(status))})"] if status else []
    which += ["n.dedup_key = ?"] if key is not None else []
    where = f" WHERE {' AND '.join(which)}" if which else ""
    sql = f"SELECT {_COLUMNS}{where} ORDER BY n.sequence DESC, d.id LIMIT ?"
    return [dict(row) for row in journal.query(sql, (*status, *([key] if key is not None else []), last))]


def retry(journal: Journal, identities: Sequence[str], by: str) -> None:
    """Make deliveries due now, with a fresh count: dead letters, or those that wait for their next attempt.

    Of which nobody knows whether it arrived goes out as a possible repeat still, and has one attempt in doubt left.
    """
    with journal.transaction() as tx:
        for identity in identities:
            row = tx.one("SELECT unsure FROM deliveries WHERE id = ?", (identity,))
            repeat = row is not None and row["unsure"] > 0
            tx.append("delivery.retried", {"id": identity, "by": by, "repeat": repeat})


def dismiss(journal: Journal, identities: Sequence[str], by: str, reason: str) -> None:
    """End deliveries that need not be sent any more: dead letters, or those that wait."""
    with journal.transaction() as tx:
        for identity in identities:
            tx.append("delivery.dismissed", {"id": identity, "by": by, "reason": reason})


@dataclass(frozen=True)
class OutboxState:
    """How many deliveries wait, how old the oldest is, how many are dead letters."""

    waiting: int
    oldest_at: datetime | None
    dead: int
    last_error: str


def state(journal: Journal) -> OutboxState:
    """The outbox in four figures, for health-check and metrics."""
    rows = journal.query(
        "SELECT status = 'dead' AS dead, COUNT(*) AS n, MIN(queued_at) AS oldest, MAX(error) AS error FROM deliveries"
        " WHERE status <> 'sent' AND status <> 'dismissed' GROUP BY status = 'dead'"
    )
    waiting, dead = (next((row for row in rows if row["dead"] == which), None) for which in (0, 1))
    oldest = datetime.fromisoformat(waiting["oldest"]) if waiting else None
    error = next((row["error"] for row in reversed(rows) if row["error"]), "")
    return OutboxState(waiting["n"] if waiting else 0, oldest, dead["n"] if dead else 0, error)
