"""The journal's tables in SQLAlchemy Core: for migrations, for analysts, and for other databases.

Money, quantities and times are text (see `codec`): exact in every database. Nothing on the trading path imports this.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, text

metadata = MetaData()
_FINAL = "('refused', 'not_sent', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"


def _table(name: str, *columns: Column[Any] | Index, clustered: bool = False) -> Table[Any]:
    # A text key without a rowid is one B-tree instead of two: one page less in every commit.
    return Table(name, metadata, *columns, sqlite_with_rowid=False) if clustered else Table(name, metadata, *columns)


def _text(*names: str) -> list[Column[Any]]:
    """Text columns; a trailing `!` means NOT NULL."""
    return [Column(name.rstrip("!"), Text, nullable=not name.endswith("!")) for name in names]


def _key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True, nullable=False)


def _number(name: str) -> Column[Any]:
    return Column(name, Integer, nullable=False)


def _sequence(name: str = "sequence") -> Column[Any]:
    return Column(name, Integer, primary_key=True, autoincrement=False, nullable=False)


# Partial indexes keep the order path short: an index is one more page in every commit that touches it.
_rare = text("kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity')")
events = _table(
    "events", _sequence(), *_text("at!", "venue_at", "kind!", "actor!", "host!"), _number("pid"),
    *_text("payload!", "previous_hash!", "hash!"),
    Index("events_rare", "kind", sqlite_where=_rare, postgresql_where=_rare),
)  # fmt: skip
guard = _table("guard", _sequence("id"), _number("epoch"), *_text("mode!", "nonce!", "updated_at"))
halts = _table(
    "halts", _key("id"),
    *_text("scope!", "target!", "mode!", "origin!", "owner!", "reason!", "nonce!", "at!", "venue_at", "expires_at"),
    *_text("cleared_at", "cleared_by", "cleared_reason"), clustered=True,
)  # fmt: skip
limits = _table(
    "limits", _key("name"), _key("target"), *_text("value!"), _number("version"),
    *_text("changed_at!", "changed_by!", "reason!"), clustered=True,
)  # fmt: skip
_unfinished = text("state <> 'notified' OR resolved_at IS NULL OR told = 0")
_open = text(f"status NOT IN {_FINAL}")
orders = _table(
    "orders", _key("client_order_id"),
    *_text("broker_order_id", "strategy!", "symbol!", "side!", "type!", "time_in_force", "quantity", "limit_price"),
    *_text("stop_price"),
    _number("extended_hours"),
    *_text("purpose!", "status!", "filled_quantity!", "average_fill_price", "decision_price", "decided_at", "bid"),
    *_text("ask", "reason", "error", "intended_at!", "intended_venue_at", "acknowledged_at", "updated_at!"),
    *_text("final_venue_at", "trading_date!"),
    Index("orders_open", "status", sqlite_where=_open, postgresql_where=_open),
    Index("orders_date", "trading_date"), clustered=True,
)  # fmt: skip
fills = _table(
    "fills", _key("execution_id"), _number("sequence"),
    *_text("client_order_id!", "broker_order_id", "strategy!", "symbol!", "side!", "quantity!", "price!", "fee!"),
    *_text("at!", "recorded_at!", "trading_date!", "bid", "ask", "source"),
    Index("fills_order", "client_order_id"), Index("fills_date", "trading_date"), clustered=True,
)  # fmt: skip
violations = _table(
    "violations", _sequence(),
    *_text("at!", "venue_at", "trading_date!", "code!", "message!", "symbol", "strategy", "observed", "limit_value"),
    *_text("client_order_id", "action"), Column("times", Integer, nullable=False, server_default="1"),
    Index("violations_date", "trading_date"),
)  # fmt: skip
equity = _table(
    "equity", _sequence(), *_text("venue_at!", "trading_date!", "equity!", "cash!", "realised_pnl", "unrealised_pnl"),
    Index("equity_date", "trading_date"),
)  # fmt: skip
trading_days = _table("trading_days", _key("trading_date"), *_text("opening_equity!", "opened_at!"), clustered=True)
openings = _table("openings", _key("symbol"), *_text("quantity!", "price!", "at!", "mark"), clustered=True)
account = _table(
    "account", _sequence("id"), *_text("venue!", "account_number!", "opening_cash!", "opening_equity!", "bound_at!"),
)  # fmt: skip
cash_flows = _table(
    "cash_flows", _key("id"), *_text("kind!", "amount!", "at!", "trading_date!", "description!"), clustered=True,
)  # fmt: skip
commands = _table(
    "commands", _key("id"),
    *_text("name!", "arguments!", "requested_by!", "requested_at!", "expires_at", "status!", "result", "finished_at"),
    Index("commands_status", "status"), clustered=True,
)  # fmt: skip
reconciliations = _table(
    "reconciliations", _sequence(), *_text("at!", "venue_at", "trigger!"), _number("ok"), *_text("breaks!", "checked!"),
)  # fmt: skip
broker_states = _table(
    "broker_states", _sequence(), *_text("at!", "broker!", "state!", "previous", "reason"),
)  # fmt: skip
alerts = _table(
    "alerts", _key("id"), _number("sequence"),
    *_text("name!", "severity!", "labels!", "annotations!", "starts_at!", "received_at!", "resolved_at", "playbook!"),
    *_text("parameters!", "action!"),
    _number("drill"),
    *_text("problem!", "state!", "acted", "run", "verdict", "reason", "next_action", "page", "notified_at"),
    _number("told"), Column("attempts", Integer, nullable=False, server_default="0"), *_text("heard_at"),
    Index("alerts_notified", "notified_at"),
    Index("alerts_unfinished", "state", sqlite_where=_unfinished, postgresql_where=_unfinished), clustered=True,
)  # fmt: skip
notifications = _table(
    "notifications", _key("id"), _number("sequence"),
    *_text("at!", "severity!", "title!", "body!", "dedup_key", "source!", "page", "mail"),
    Index("notifications_dedup", "dedup_key"), clustered=True,
)  # fmt: skip
_unsent = text("status <> 'sent'")
deliveries = _table(
    "deliveries", _key("id"), *_text("notification_id!", "channel!", "status!", "queued_at!", "next_at!"),
    _number("attempts"), _number("unsure"), *_text("claim", "lease_until", "pause_until", "error", "finished_at"),
    Index("deliveries_unsent", "status", sqlite_where=_unsent, postgresql_where=_unsent),
    Index("deliveries_channel", "channel", "finished_at"), clustered=True,
)  # fmt: skip
schedule_runs = _table(
    "schedule_runs", _key("id"), *_text("job!", "trading_date!", "due_at!", "status!"), _number("attempts"),
    *_text("claim", "lease_until", "started_at!", "finished_at", "result"), clustered=True,
)  # fmt: skip
heartbeats = _table(
    "heartbeats", _key("component"), _number("pid"), *_text("host!", "started_at!", "at!", "venue_at", "details!"),
    clustered=True,
)  # fmt: skip
kept_quotes = _table(
    "kept_quotes", _key("trading_date"), _key("kind"), _key("subject"),
    Column("offset_ms", Integer, primary_key=True, autoincrement=False, nullable=False),
    *_text("symbol!", "at!", "bid!", "ask!", "quoted_at!"), clustered=True,
)  # fmt: skip
marks = _table(
    "marks", _key("symbol"), *_text("bid", "ask", "bid_size", "ask_size", "last", "venue_at!", "at!"), clustered=True,
)  # fmt: skip
