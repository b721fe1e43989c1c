"""The outbox of notifications with one row a message and channel, and the runs of the schedule."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name.rstrip("!"), sa.Text, nullable=not name.endswith("!")) for name in names]


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, primary_key=True, nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.create_table(
        "notifications", _key("id"), _number("sequence"),
        *_text("at!", "severity!", "title!", "body!", "dedup_key", "source!", "page", "mail"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("notifications_dedup", "notifications", ["dedup_key"])
    op.create_table(
        "deliveries", _key("id"), *_text("notification_id!", "channel!", "status!", "queued_at!", "next_at!"),
        _number("attempts"), _number("unsure"), *_text("claim", "lease_until", "pause_until", "error", "finished_at"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    due = sa.text("status IN ('queued', 'sending')")
    op.create_index("deliveries_due", "deliveries", ["next_at"], sqlite_where=due, postgresql_where=due)
    op.create_index("deliveries_channel", "deliveries", ["channel", "finished_at"])
    op.create_table(
        "schedule_runs", _key("id"), *_text("job!", "trading_date!", "due_at!", "status!"), _number("attempts"),
        *_text("claim", "lease_until", "started_at!", "finished_at", "result"), sqlite_with_rowid=False,
    )  # fmt: skip
