"""What an engine's start rests on: its guard, its account, its log, and no command of an earlier engine."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from athena.config import Settings
from athena.errors import BrokerUnavailable, SettingsError
from athena.live.brokers.base import Broker
from athena.live.cash_flows import LISTED_LATE
from athena.live.execution_guard import ExecutionGuard
from athena.model import Account

if TYPE_CHECKING:
    from athena.journal.journal import Journal


def engine_guard(settings: Settings) -> ExecutionGuard:
    """The guard as the engine holds it: it acts in the engine's name, and knows how long the venue may be gone."""
    limits = {"max_disconnect_seconds": str(settings.disconnect_halt_seconds), **settings.limits}
    guard = ExecutionGuard.get_instance(replace(settings, operator="engine", limits=limits))
    _ = guard.flag  # its folder must be there before the guard claims the engine's place beside it
    return guard


def check_account(journal: Journal, settings: Settings, account: Account) -> None:
    """Raise SettingsError when this live system belongs to another account."""
    bound = journal.one("SELECT venue, account_number FROM account")
    if bound is None or (bound["venue"], bound["account_number"]) == (settings.venue, account.account_number):
        return
    raise SettingsError(
        f"{settings.folder} belongs to {bound['venue']} account {bound['account_number']}, but the key opens "
        f"{settings.venue} account {account.account_number}.",
        "Use the right key, or give this account its own system: set ATHENA_ACCOUNT to a new name.",
    )


async def bind_account(journal: Journal, venue: str, broker: Broker, venue_at: datetime) -> Account:
    """Take an account into a new journal: its cash, the positions it came with, and which cash flows are in its cash.

    Positions have their cost, which profit counts from, and the venue's price, which the first day's loss counts from.
    The flows are asked for first: one that comes between is then missed by the cash, and reconciliation says so.
    """
    flows = await broker.get_cash_flows(venue_at - LISTED_LATE)
    positions = await broker.get_positions()
    for rows, what in ((flows, "cash flows"), (positions, "positions")):
        if rows.unreadable:  # books that begin with a hole never agree
            raise BrokerUnavailable(f"{len(rows.unreadable)} {what} cannot be read: {rows.unreadable[0].reason}.")
    account = await broker.get_account()
    openings = [
        {"symbol": p.symbol, "quantity": p.quantity, "price": p.average_entry_price, "mark": p.current_price or None}
        for p in positions
    ]
    payload = {
        "venue": venue, "account_number": account.account_number, "cash": account.cash,
        "equity": account.equity, "last_equity": account.last_equity, "positions": openings,
        "flows": [flow.id for flow in flows],
    }  # fmt: skip
    journal.append("account.bound", payload, venue_at)
    return account


def fail_stale_commands(journal: Journal) -> None:
    """A command asked of an earlier engine is never begun by this one: it may have been carried out in part."""
    for row in journal.query("SELECT id, name, expires_at FROM commands WHERE status = 'requested'"):
        expired = datetime.fromisoformat(row["expires_at"]) < datetime.now(UTC)
        why = "it expired" if expired else "the engine was restarted; it may have been begun: look before asking again"
        result = {"message": f"{row['name']} was not carried out: {why}"}
        journal.append("command.finished", {"id": row["id"], "status": "failed", "result": result})


def log_to_file(settings: Settings) -> None:
    """The engine's log with its tracebacks: `<folder>/engine.log`, kept small."""
    logging.raiseExceptions = False  # a full disk must not fill the terminal with the log's own tracebacks
    log = logging.getLogger("athena.engine")
    for old in list(log.handlers):
        log.removeHandler(old)
    handler = RotatingFileHandler(settings.folder / "engine.log", maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def journal_start(journal: Journal, settings: Settings, speed: float, venue_at: datetime, *, clean: bool) -> None:
    """Record the start; `clean` is False when the last engine of this journal ended without saying so."""
    facts = {"version": version("athena"), "safe_mode": settings.safe_mode, "speed": str(speed), "clean": clean}
    journal.append("engine.started", facts, venue_at)
