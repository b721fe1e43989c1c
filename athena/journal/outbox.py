"""Notifications, their deliveries, and the runs of the schedule: rows from what was queued, claimed, sent and ended.

A delivery is `queued`, `sending` under a lease, `sent`, `dead`, or `dismissed` by a person. Only the claim that is on
it may end it.
"""

from __future__ import annotations

from athena.journal.codec import encode
from athena.journal.entry import Database, Entry, insert, kind

_NOTIFICATION = insert("notifications", "id sequence at severity title body dedup_key source page mail")
_DELIVERY = insert("deliveries", "id notification_id channel status queued_at next_at attempts unsure")
_RUN = insert("schedule_runs", "id job trading_date due_at status attempts claim lease_until started_at") + (
    " ON CONFLICT (id) DO UPDATE SET status = excluded.status, attempts = schedule_runs.attempts + 1,"
    " claim = excluded.claim, lease_until = excluded.lease_until, started_at = excluded.started_at,"
    " finished_at = NULL, result = NULL"
)


@kind("notification.queued")
def _queued(db: Database, entry: Entry) -> None:
    p = entry.payload
    row = (p["id"], entry.sequence, entry.at, p["severity"], p["title"], p["body"], p.get("dedup_key"), entry.actor)
    db.execute(_NOTIFICATION, (*row, p.get("page"), p.get("mail")))
    for channel in p["channels"]:
        db.execute(_DELIVERY, (f"{p['id']}.{channel}", p["id"], channel, "queued", entry.at, entry.at, 0, 0))


@kind("delivery.claimed")
def _claimed(db: Database, entry: Entry) -> None:
    """`unsure` counts attempts of which nobody knows whether they arrived; a claim over a dead one adds one."""
    p = entry.payload
    db.execute(
        "UPDATE deliveries SET status = 'sending', attempts = attempts + 1, claim = ?, lease_until = ?,"
        " unsure = unsure + ? WHERE id = ?",
        (p["claim"], p["lease_until"], 1 if p.get("over_dead_claim") else 0, p["id"]),
    )


@kind("delivery.split")
def _split(db: Database, entry: Entry) -> None:
    """A recipient the mail server left out, from now on a delivery of his own under the same claim."""
    p = entry.payload
    db.execute(
        "INSERT INTO deliveries (id, notification_id, channel, status, queued_at, next_at, attempts, unsure, claim)"
        " SELECT ?, notification_id, channel, status, queued_at, next_at, attempts, unsure, claim FROM deliveries"
        " WHERE id = ? AND claim = ?",
        (p["id"], p["of"], p["claim"]),
    )


@kind("delivery.sent")
def _sent(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        "UPDATE deliveries SET status = 'sent', claim = NULL, lease_until = NULL, error = NULL, finished_at = ?"
        " WHERE id = ? AND claim = ?",
        (p["at"], p["id"], p["claim"]),
    )


@kind("delivery.failed")
def _failed(db: Database, entry: Entry) -> None:
    """Queued again for `next_at`, or dead where there is none; `pause_until` holds the whole channel."""
    p = entry.payload
    dead = not p.get("next_at")
    db.execute(
        "UPDATE deliveries SET status = ?, next_at = COALESCE(?, next_at), error = ?, pause_until = ?, claim = NULL,"
        " lease_until = NULL, unsure = unsure + ?, finished_at = ? WHERE id = ? AND claim = ?",
        ("dead" if dead else "queued", p.get("next_at"), p["error"], p.get("pause_until"),
         1 if p.get("unsure") else 0, entry.at if dead else None, p["id"], p["claim"]),
    )  # fmt: skip


@kind("delivery.retried")
def _retried(db: Database, entry: Entry) -> None:
    """An operator asked for a dead letter again, or for one that waits: it is due now, with a fresh count."""
    db.execute(
        "UPDATE deliveries SET status = 'queued', queued_at = ?, next_at = ?, attempts = 0, unsure = ?,"
        " pause_until = NULL, finished_at = NULL WHERE id = ? AND status IN ('dead', 'queued')",
        (entry.at, entry.at, 1 if entry.payload.get("repeat") else 0, entry.payload["id"]),
    )


@kind("delivery.dismissed")
def _dismissed(db: Database, entry: Entry) -> None:
    """A person judged that it need not be sent any more; one that is on its way just now is not stopped."""
    p = entry.payload
    db.execute(
        "UPDATE deliveries SET status = 'dismissed', error = ?, pause_until = NULL, finished_at = ?"
        " WHERE id = ? AND status IN ('dead', 'queued')",
        (f"{p['by']}: {p['reason']}", entry.at, p["id"]),
    )


@kind("schedule.claimed")
def _run_claimed(db: Database, entry: Entry) -> None:
    p = entry.payload
    row = (p["id"], p["job"], p["trading_date"], p["due_at"], "running", 1, p["claim"], p["lease_until"], entry.at)
    db.execute(_RUN, row)


@kind("schedule.finished")
def _run_finished(db: Database, entry: Entry) -> None:
    """`done`, `failed`; or what needs no claim before it: `missed` (too late to begin), `interrupted` (not known)."""
    p = entry.payload
    unclaimed = p["status"] in {"missed", "interrupted"}
    if unclaimed:
        row = (p["id"], p["job"], p["trading_date"], p["due_at"], p["status"], 0, None, None, entry.at)
        db.execute(_RUN, row)
    db.execute(
        "UPDATE schedule_runs SET status = ?, claim = NULL, lease_until = NULL, finished_at = ?, result = ?"
        " WHERE id = ? AND (claim = ? OR ?)",
        (p["status"], entry.at, encode(p.get("result") or {}), p["id"], p.get("claim"), int(unclaimed)),
    )


@kind("schedule.renewed")
def _run_renewed(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        "UPDATE schedule_runs SET lease_until = ? WHERE id = ? AND claim = ?", (p["lease_until"], p["id"], p["claim"])
    )


@kind("journal.restored")
def _restored(db: Database, entry: Entry) -> None:
    """What waited may have been sent since the snapshot, what ran may have ended: see `restored`."""
    p = entry.payload
    when = f"{p['as_of'][:16].replace('T', ' ')} UTC"
    told = f"held: it waited in a journal restored to {when}, and may have arrived since; athena notifications retry ID"
    waiting = "status <> 'sent' AND status IN ('queued', 'sending')"  # as the index of what is unsent has it
    doubt = "claim = NULL, lease_until = NULL, unsure = CASE WHEN unsure > 0 THEN unsure ELSE 1 END"
    db.execute(
        f"UPDATE deliveries SET status = 'dead', {doubt}, error = ?, finished_at = ? WHERE {waiting} AND queued_at < ?",
        (told, entry.at, p["held_before"]),
    )
    db.execute(f"UPDATE deliveries SET status = 'queued', {doubt}, next_at = ? WHERE {waiting}", (entry.at,))
    result = {"why": f"the journal was restored to {when}, when it was under way; whether it ended is not known"}
    db.execute(
        "UPDATE schedule_runs SET status = 'interrupted', claim = NULL, lease_until = NULL, finished_at = ?, result = ?"
        " WHERE status = 'running'",
        (entry.at, encode(result)),
    )
