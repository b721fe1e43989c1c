"""Quotes around fills, ends of orders and closes: telemetry, from which the cost of trading is told."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    key = [sa.Column(name, sa.Text, primary_key=True, nullable=False) for name in ("trading_date", "kind", "subject")]
    op.create_table(
        "kept_quotes",
        *key,
        sa.Column("offset_ms", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        *[sa.Column(name, sa.Text, nullable=False) for name in ("symbol", "at", "bid", "ask", "quoted_at")],
        sqlite_with_rowid=False,
    )
