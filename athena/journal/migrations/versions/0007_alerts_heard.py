"""Alerts: how often their run was begun, and when Alertmanager last said that they fire."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.add_column("alerts", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("alerts", sa.Column("heard_at", sa.Text))
    op.create_index("alerts_notified", "alerts", ["notified_at"])
