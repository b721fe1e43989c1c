"""Openings: the venue's price of what an account came with, when it was bound."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.add_column("openings", sa.Column("mark", sa.Text))
