"""What alerts and playbook runs do to the tables. An alert is one row for as long as it fires; its end is in the row.

States: received (durable, nothing done yet), running (its playbook), page (there is one, or why not), held (people were
told of the same one minutes ago), notified.
"""

from __future__ import annotations

from athena.journal.codec import encode
from athena.journal.entry import Database, Entry, insert, kind

_INSERT = insert(
    "alerts",
    "id sequence name severity labels annotations starts_at received_at playbook parameters action drill problem state"
    " told attempts heard_at",
    " ON CONFLICT (id) DO NOTHING",
)


@kind("alert.received")
def _received(db: Database, entry: Entry) -> None:
    """Firing or resolved; a second telling of the same changes nothing."""
    p = entry.payload
    db.execute(
        _INSERT,
        (
            p["id"], entry.sequence, p["name"], p["severity"], encode(p["labels"]), encode(p["annotations"]),
            p["starts_at"], entry.at, p["playbook"], encode(p["parameters"]), p["action"], int(p["drill"]),
            p["problem"], "received", 0, 0, entry.at,
        ),
    )  # fmt: skip
    if p["status"] == "resolved":
        ended = p.get("ends_at") or entry.at
        db.execute("UPDATE alerts SET resolved_at = ? WHERE id = ? AND resolved_at IS NULL", (ended, p["id"]))


@kind("alert.heard")
def _heard(db: Database, entry: Entry) -> None:
    """Alertmanager said again that these fire."""
    for one in entry.payload["ids"]:
        db.execute("UPDATE alerts SET heard_at = ? WHERE id = ?", (entry.at, one))


@kind("alert.acted")
def _acted(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute("UPDATE alerts SET acted = ? WHERE id = ?", (p["outcome"], p["id"]))


@kind("alert.running")
def _running(db: Database, entry: Entry) -> None:
    for one in entry.payload["ids"]:
        sql = "UPDATE alerts SET state = 'running', run = ?, attempts = attempts + 1 WHERE id = ?"
        db.execute(sql, (entry.payload["run"], one))


@kind("alert.page")
def _page(db: Database, entry: Entry) -> None:
    p = entry.payload
    for one in p["ids"]:
        db.execute(
            "UPDATE alerts SET state = 'page', verdict = ?, reason = ?, next_action = ?, page = ? WHERE id = ?",
            (p["verdict"], p["reason"], p["next_action"], p["page"], one),
        )


@kind("alert.held")
def _held(db: Database, entry: Entry) -> None:
    for one in entry.payload["ids"]:
        db.execute("UPDATE alerts SET state = 'held' WHERE id = ?", (one,))


@kind("alert.notified")
def _notified(db: Database, entry: Entry) -> None:
    for one in entry.payload["ids"]:
        db.execute("UPDATE alerts SET state = 'notified', notified_at = ? WHERE id = ?", (entry.at, one))


@kind("alert.told_resolved")
def _told_resolved(db: Database, entry: Entry) -> None:
    for one in entry.payload["ids"]:
        db.execute("UPDATE alerts SET told = 1 WHERE id = ?", (one,))


@kind("playbook.ran")
def _ran(db: Database, entry: Entry) -> None:
    """A run nobody watched, by an alert or a schedule; told by the event alone."""
    entry.payload["playbook"], entry.payload["succeeded"]
