"""Alerts: what fired, its playbook run, its page, and how far it has come."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        *_text("name severity labels annotations starts_at received_at", nullable=False),
        sa.Column("resolved_at", sa.Text),
        *_text("playbook parameters action", nullable=False),
        sa.Column("drill", sa.Integer, nullable=False),
        *_text("problem state", nullable=False),
        *_text("acted run verdict reason next_action page notified_at", nullable=True),
        sa.Column("told", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    unfinished = sa.text("state <> 'notified' OR resolved_at IS NULL OR told = 0")
    op.create_index("alerts_unfinished", "alerts", ["state"], sqlite_where=unfinished, postgresql_where=unfinished)


def _text(names: str, *, nullable: bool) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.Text, nullable=nullable) for name in names.split()]
