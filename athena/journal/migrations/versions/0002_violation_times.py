"""How often a violation happened: refusals that repeat within seconds are one line with their number."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.add_column("violations", sa.Column("times", sa.Integer, nullable=False, server_default="1"))
