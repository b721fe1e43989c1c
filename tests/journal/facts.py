"""Payloads of the common events, each with a small default to change."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

VENUE_AT = datetime(2020, 3, 9, 14, 0, tzinfo=UTC)


def intended(client_order_id: str = "c1", **changes: Any) -> dict[str, Any]:
    return {
        "client_order_id": client_order_id, "strategy": "mean", "symbol": "AAPL", "side": "buy", "type": "limit",
        "time_in_force": "day", "quantity": Decimal(10), "limit_price": Decimal("66.50"), "stop_price": None,
        "extended_hours": False, "purpose": "strategy", "decision_price": Decimal("66.49"), "decided_at": VENUE_AT,
        "bid": Decimal("66.48"), "ask": Decimal("66.50"), "reason": "cheap", "epoch": 0, **changes,
    }  # fmt: skip


def refused(client_order_id: str = "r1", **changes: Any) -> dict[str, Any]:
    told = {
        "code": "halted",
        "message": "trading is halted",
        "observed": "halted",
        "limit_value": None,
        "action": "refused",
    }
    return intended(client_order_id) | told | changes


def updated(client_order_id: str = "c1", **changes: Any) -> dict[str, Any]:
    return {"client_order_id": client_order_id, "broker_order_id": "b1", "source": "stream", **changes}


def fill(execution_id: str = "x1", client_order_id: str = "c1", **changes: Any) -> dict[str, Any]:
    return {
        "execution_id": execution_id, "client_order_id": client_order_id, "broker_order_id": "b1", "strategy": "mean",
        "symbol": "AAPL", "side": "buy", "quantity": Decimal(10), "price": Decimal("66.50"), "fee": Decimal(0),
        "at": VENUE_AT, "bid": Decimal("66.48"), "ask": Decimal("66.50"), "source": "stream", **changes,
    }  # fmt: skip


def halt(identity: str = "h1", **changes: Any) -> dict[str, Any]:
    return {
        "id": identity, "scope": "global", "target": "", "mode": "halted", "origin": "operator", "owner": "alice",
        "reason": "looks wrong", "nonce": 2**64 - 1, "expires_at": None, **changes,
    }  # fmt: skip


def bound(**changes: Any) -> dict[str, Any]:
    return {
        "venue": "simulator", "account_number": "PA1", "cash": Decimal(100_000), "equity": Decimal(100_000),
        "last_equity": Decimal(100_000), "positions": [], **changes,
    }  # fmt: skip


def alert(identity: str = "a1", **changes: Any) -> dict[str, Any]:
    return {
        "id": identity, "status": "firing", "name": "HighSlippage", "severity": "warning", "drill": False,
        "labels": {"alertname": "HighSlippage"}, "annotations": {"summary": "fills cost much"}, "starts_at": VENUE_AT,
        "playbook": "slippage_analysis", "parameters": {"symbol": "AAPL"}, "action": "halt_symbol", "problem": "",
        **changes,
    }  # fmt: skip


EVERY_KIND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("account.bound", bound(positions=[{"symbol": "KO", "quantity": Decimal(-5), "price": Decimal("55.1")}])),
    ("engine.started", {"version": "0.1.0", "safe_mode": False, "speed": 390.0, "clean": True}),
    ("halt.set", halt("h0", origin="startup", nonce=7)),
    ("halt.cleared", {"id": "h0", "by": "alice", "reason": "reconciled", "override": False}),
    ("limit.set", {"name": "max_orders_per_minute", "target": "", "value": 10, "by": "a", "reason": ""}),
    ("order.intended", intended()),
    ("order.refused", refused()),
    ("order.updated", updated(status="new")),
    ("order.updated", updated("phone", status="new", symbol="XOM", side="sell", type="market", quantity=Decimal(3))),
    ("fill", fill(quantity=Decimal(4))),
    ("fill", fill("x2", quantity=Decimal(6), price=Decimal("66.4"))),
    ("violation", {"code": "x", "message": "60 bps", "symbol": "KO", "observed": Decimal(60), "limit_value": "50"}),
    ("day.opened", {"trading_date": VENUE_AT.date(), "opening_equity": Decimal(100_000)}),
    ("cash_flow", {"id": "f1", "kind": "CSD", "amount": Decimal("250.5"), "at": VENUE_AT, "description": "deposit"}),
    ("equity", {"equity": Decimal("11"), "cash": Decimal(10), "realised_pnl": 0, "unrealised_pnl": 1, "marks": {}}),
    ("equity.corrected", {"sequence": 15, "equity": Decimal(12), "cash": Decimal(10), "realised_pnl": 0,
                          "unrealised_pnl": 2, "reason": "late fill"}),
    ("correction", {"symbol": "KO", "quantity": Decimal(5), "price": Decimal("55.1"), "reason": "no fill explains it"}),
    ("correction", {"cash": Decimal("-3.2"), "reason": "fee"}),
    ("command.requested", {"id": "k1", "name": "flatten", "arguments": {"factor": 0.8}, "expires_at": VENUE_AT}),
    ("command.finished", {"id": "k1", "status": "done", "result": {"closed": ["AAPL"]}}),
    ("reconciliation", {"trigger": "start", "ok": True, "breaks": [], "checked": {"orders": 2}}),
    ("broker.state", {"broker": "alpaca", "state": "connected", "previous": "connecting", "reason": ""}),
    ("note", {"text": "first line\nsecond line, ünïcode"}),
    ("engine.stopped", {"reason": "asked"}),
    ("alert.received", alert()),
    ("alert.acted", {"id": "a1", "outcome": "AAPL halted"}),
    ("alert.running", {"ids": ["a1"], "run": "r1"}),
    ("playbook.ran", {"playbook": "slippage_analysis", "succeeded": True, "verdict": "STOP", "run": "r1"}),
    ("alert.page", {"ids": ["a1"], "verdict": "STOP", "reason": "60 bps", "next_action": "halt", "page": "r.html"}),
    ("alert.held", {"ids": ["a1"]}),
    ("alert.heard", {"ids": ["a1"]}),
    ("alert.notified", {"ids": ["a1"]}),
    ("alert.received", alert(status="resolved", ends_at=VENUE_AT)),
    ("alert.told_resolved", {"ids": ["a1"]}),
    ("approval.requested", {"id": "r1", "action": "resume", "what": "resume everything", "facts": {}, "by": "a"}),
    ("approval.given", {"id": "r1", "by": "b", "what": "resume everything"}),
    ("notification.queued", {"id": "n1", "severity": "critical", "title": "loss", "body": "", "dedup_key": "a1",
                             "channels": ["slack", "email"], "page": "/r/x.html", "mail": None}),
    ("delivery.claimed", {"id": "n1.slack", "claim": "c1", "lease_until": VENUE_AT}),
    ("delivery.failed", {"id": "n1.slack", "claim": "c1", "error": "answered 429", "next_at": VENUE_AT,
                         "pause_until": VENUE_AT, "unsure": False}),
    ("delivery.claimed", {"id": "n1.slack", "claim": "c2", "lease_until": VENUE_AT}),
    ("delivery.sent", {"id": "n1.slack", "claim": "c2", "at": VENUE_AT}),
    ("delivery.claimed", {"id": "n1.email", "claim": "c3", "lease_until": VENUE_AT, "over_dead_claim": True}),
    ("delivery.split", {"id": "n1.email:a@b.c", "of": "n1.email", "claim": "c3"}),
    ("delivery.failed", {"id": "n1.email", "claim": "c3", "error": "refused", "next_at": None}),
    ("delivery.retried", {"id": "n1.email", "by": "alice"}),
    ("delivery.dismissed", {"id": "n1.email", "by": "alice", "reason": "told by telephone"}),
    ("schedule.claimed", {"id": "pre_market 2020-03-09", "job": "pre_market", "trading_date": VENUE_AT.date(),
                          "due_at": VENUE_AT, "claim": "s1", "lease_until": VENUE_AT}),
    ("schedule.renewed", {"id": "pre_market 2020-03-09", "claim": "s1", "lease_until": VENUE_AT}),
    ("schedule.finished", {"id": "pre_market 2020-03-09", "claim": "s1", "status": "done", "result": {"to": "OK"}}),
    ("schedule.finished", {"id": "market_open 2020-03-09", "job": "market_open", "trading_date": VENUE_AT.date(),
                           "due_at": VENUE_AT, "status": "missed", "result": {"why": "the machine slept"}}),
    ("schedule.calendar", {"trading_date": VENUE_AT.date(), "agrees": True, "detail": "", "file": ""}),
    ("journal.restored", {"source": "journal-1.sqlite3", "as_of": VENUE_AT, "reason": "lost", "held_before": VENUE_AT}),
    ("schedule.taken_up", {"mark": 1, "interrupted": []}),
)  # fmt: skip
