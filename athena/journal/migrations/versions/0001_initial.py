"""The first schema. Spelt out here: a migration never follows later changes of `athena.journal.schema`."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Columns are text; `*` marks the primary key, `!` NOT NULL, `#` an integer (NOT NULL). `clustered`: no rowid in SQLite.
ROWID_TABLES = {
    "events": "#*sequence !at venue_at !kind !actor !host #pid !payload !previous_hash !hash",
    "guard": "#*id #epoch !mode !nonce updated_at",
    "violations": "#*sequence !at venue_at !trading_date !code !message symbol strategy observed limit_value"
    " client_order_id action",
    "equity": "#*sequence !venue_at !trading_date !equity !cash realised_pnl unrealised_pnl",
    "account": "#*id !venue !account_number !opening_cash !opening_equity !bound_at",
    "reconciliations": "#*sequence !at venue_at !trigger #ok !breaks !checked",
    "broker_states": "#*sequence !at !broker !state previous reason",
}
CLUSTERED_TABLES = {
    "halts": "*id !scope !target !mode !origin !owner !reason !nonce !at venue_at expires_at"
    " cleared_at cleared_by cleared_reason",
    "limits": "*name *target !value #version !changed_at !changed_by !reason",
    "orders": "*client_order_id broker_order_id !strategy !symbol !side !type time_in_force quantity limit_price"
    " stop_price #extended_hours !purpose !status !filled_quantity average_fill_price decision_price decided_at bid ask"
    " reason error !intended_at intended_venue_at acknowledged_at !updated_at final_venue_at !trading_date",
    "fills": "*execution_id #sequence !client_order_id broker_order_id !strategy !symbol !side !quantity !price !fee"
    " !at !recorded_at !trading_date bid ask source",
    "trading_days": "*trading_date !opening_equity !opened_at",
    "openings": "*symbol !quantity !price !at",
    "cash_flows": "*id !kind !amount !at !trading_date !description",
    "commands": "*id !name !arguments !requested_by !requested_at expires_at !status result finished_at",
    "heartbeats": "*component #pid !host !started_at !at venue_at !details",
    "marks": "*symbol bid ask bid_size ask_size last !venue_at !at",
}
INDEXES = (
    ("orders_date", "orders", "trading_date"),
    ("fills_order", "fills", "client_order_id"),
    ("fills_date", "fills", "trading_date"),
    ("violations_date", "violations", "trading_date"),
    ("equity_date", "equity", "trading_date"),
    ("commands_status", "commands", "status"),
)
PARTIAL_INDEXES = (
    ("events_rare", "events", "kind", "kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity')"),
    ("orders_open", "orders", "status",
     "status NOT IN ('refused', 'not_sent', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"),
)  # fmt: skip


def upgrade() -> None:
    """Make the tables of an empty journal."""
    for name, columns in ROWID_TABLES.items():
        op.create_table(name, *map(_column, columns.split()))
    for name, columns in CLUSTERED_TABLES.items():
        op.create_table(name, *map(_column, columns.split()), sqlite_with_rowid=False)
    for name, table, column in INDEXES:
        op.create_index(name, table, [column])
    for name, table, column, condition in PARTIAL_INDEXES:
        where = sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    # Born disabled: only a halt, acknowledged, opens trading.
    op.execute("INSERT INTO guard (id, epoch, mode, nonce, updated_at) VALUES (1, 0, 'halted', '0', NULL)")


def _column(spec: str) -> sa.Column[Any]:
    name, number, key = spec.lstrip("#*!"), "#" in spec, "*" in spec
    nullable = not (number or key or "!" in spec)
    return sa.Column(name, sa.Integer if number else sa.Text, primary_key=key, autoincrement=False, nullable=nullable)
