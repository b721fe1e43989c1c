"""What is not sent yet, dead letters included, in an index of its own: it stays small however much was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Carry a journal of the revision before to this one."""
    op.drop_index("deliveries_due", "deliveries")
    unsent = sa.text("status <> 'sent'")
    op.create_index("deliveries_unsent", "deliveries", ["status"], sqlite_where=unsent, postgresql_where=unsent)
