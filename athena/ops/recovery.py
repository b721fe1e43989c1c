"""The journal against the venue, asked directly: it works with the engine dead; a live engine is asked too.

Reading only. A query that fails ends the command (exit 5): nothing is concluded from what was not answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core import comparison
from athena.core.comparison import Finding
from athena.core.portfolio import Portfolio
from athena.errors import AthenaError, BrokerUnavailable, EngineNotRunning, JournalError, SettingsError
from athena.journal.codec import from_text, to_text
from athena.journal.journal import Journal
from athena.live.brokers.base import Rows
from athena.live.commands import request_sync, require_engine
from athena.live.vitals import beat
from athena.model import Account, Fill, Order, OrderStatus, Position
from athena.ops.recovery_show import existing_journal, say, working

if TYPE_CHECKING:
    from athena.live.brokers.alpaca_rest import AlpacaRest

LOOKUPS_MAX = 200
BETWEEN_LOOKS_SECONDS = 1.0
ORDERS, POSITIONS = "orders", "positions"
_FINAL = tuple(status.value for status in OrderStatus if status.is_final)


@dataclass(frozen=True)
class VenueFacts:
    """What the venue said, all of it readable. `since` is the venue time orders and fills were asked from."""

    account: Account
    since: datetime
    orders: dict[str, Order]
    looked_up: dict[str, Order | None] = field(default_factory=dict)
    fills: tuple[Fill, ...] = ()
    positions: tuple[Position, ...] = ()


def reconcile_orders(settings: Settings, arguments: argparse.Namespace) -> int:
    """Orders and fills against the venue; exit 0 agree, 10 differ, 11 positions are doubtful, 5 not answered."""
    return _command(settings, arguments, {ORDERS})


def position_reconciliation(settings: Settings, arguments: argparse.Namespace) -> int:
    """Positions and cash against the venue; exit codes as `reconcile_orders`."""
    return _command(settings, arguments, {POSITIONS})


def broker_reconciliation(settings: Settings, arguments: argparse.Namespace) -> int:
    """Orders, fills, positions and cash against the venue; exit codes as `reconcile_orders`."""
    return _command(settings, arguments, {ORDERS, POSITIONS})


def _command(settings: Settings, arguments: argparse.Namespace, parts: set[str]) -> int:
    with existing_journal(settings) as journal:
        engine, alive = _engine(journal)
        with working(arguments, f"asking {settings.venue} for {' and '.join(sorted(parts))}"):
            findings, facts = look_twice(settings, journal, parts, arguments.days)
            answer = _ask_engine(settings) if alive else None
    urgent = any(finding.urgent for finding in findings)
    verdict = Verdict.STOP if urgent else Verdict.ATTENTION if findings else Verdict.OK
    counts = [f"{len(facts.orders):,} orders and {len(facts.fills):,} fills since {facts.since:%Y-%m-%d %H:%M} UTC"]
    counts += [f"{len(facts.positions)} positions and ${facts.account.cash:,.2f} cash"]
    looked = ", ".join(counts[i] for i, part in enumerate((ORDERS, POSITIONS)) if part in parts)
    kinds = sorted({finding.kind.value for finding in findings})
    told = f"{len(findings)} differences ({', '.join(kinds)})" if findings else "journal and venue agree"
    told += f"; the venue showed {looked}. {engine}"
    tables: list[Any] = []
    if findings:
        rows = [(f.kind, f.symbol, f.ours, f.theirs, f.evidence, f.then) for f in findings]
        tables.append(("", ("kind", "symbol", "journal", "venue", "evidence", "next"), rows))
    if answer is not None:
        tables.append(("the engine's own reconciliation", ("answer",), [(answer["message"],)]))
        verdict = verdict if answer["ok"] or verdict is Verdict.STOP else Verdict.ATTENTION
    data = {
        "account": facts.account.account_number, "since": facts.since.isoformat(), "engine": engine,
        "engine_answer": answer, "findings": [asdict(f) for f in findings],
        "checked": {"orders": len(facts.orders), "fills": len(facts.fills), "positions": len(facts.positions)},
    }  # fmt: skip
    then = "" if not findings else "halt what is doubtful first: athena halt --symbol SYMBOL REASON"
    return say(arguments, verdict, told, data, tables, then)


def look_twice(settings: Settings, journal: Journal, parts: set[str], days: int) -> tuple[list[Finding], VenueFacts]:
    """Findings that two looks, a second apart, have in common, and the last look. Raises BrokerError, JournalError."""
    from athena.live.brokers.alpaca import AlpacaBroker

    async def both() -> tuple[list[Finding], VenueFacts]:
        broker = AlpacaBroker.get_instance(settings)
        try:
            facts = await ask_venue(broker, journal, parts, days)
            found = compare(journal, facts, parts)
            if found:
                await asyncio.sleep(BETWEEN_LOOKS_SECONDS)
                facts = await ask_venue(broker, journal, parts, days)
                found = comparison.persistent(found, compare(journal, facts, parts))
            return found, facts
        finally:
            await broker.close()

    return asyncio.run(both())


async def ask_venue(broker: AlpacaRest, journal: Journal, parts: set[str], days: int) -> VenueFacts:
    """Everything asked, in full; fills last, so that none before the positions is missed. Raises BrokerError."""
    account = await broker.get_account()
    check_account(journal, account)
    bound = from_text(_account(journal)["bound_at"])
    since = max(bound, (await broker.get_clock()).at - timedelta(days=days))
    orders: dict[str, Order] = {}
    looked_up: dict[str, Order | None] = {}
    positions: tuple[Position, ...] = ()
    fills: tuple[Fill, ...] = ()
    if ORDERS in parts:
        listed = [*whole(await broker.get_orders("all", after=since), "orders")]
        listed += whole(await broker.get_orders("open"), "orders")
        orders = {order.client_order_id: order for order in listed}
        missing = [row["client_order_id"] for row in _open_rows(journal) if row["client_order_id"] not in orders]
        if len(missing) > LOOKUPS_MAX:
            told = f"{len(missing)} open orders of the journal are not listed by the venue"
            hint = "athena reconcile has the engine settle them first, many in each look."
            raise BrokerUnavailable(f"{told}; at most {LOOKUPS_MAX} are asked for one by one.", hint)
        looked_up = {name: await broker.get_order(name) for name in missing}
        orders |= {name: order for name, order in looked_up.items() if order is not None}
    if POSITIONS in parts:
        positions = whole(await broker.get_positions(), "positions")
        account = await broker.get_account()
    if ORDERS in parts:
        fills = whole(await broker.get_fills(since), "fills")
    return VenueFacts(account, since, orders, looked_up, fills, positions)


def compare(journal: Journal, facts: VenueFacts, parts: set[str]) -> list[Finding]:
    """The journal as it is now against what the venue said."""
    found: list[Finding] = []
    with journal.reading():
        if ORDERS in parts:
            found += comparison.compare_orders(comparison.order_rows(journal), facts.orders.values())
            found += comparison.phantoms(_open_rows(journal), facts.looked_up)
            fills = journal.query("SELECT * FROM fills WHERE at > ?", (to_text(facts.since),))
            found += comparison.compare_fills({row["execution_id"]: row for row in fills}, facts.fills)
        if POSITIONS in parts:
            portfolio = Portfolio.from_journal(journal)
            found += comparison.compare_positions(portfolio.positions(), facts.positions)
            found += comparison.compare_cash(portfolio.cash, facts.account.cash)
    return sorted(found, key=lambda finding: (not finding.urgent, finding.kind, finding.symbol))


def check_account(journal: Journal, account: Account) -> None:
    """Raise SettingsError when the key opens another account than the journal's."""
    ours = _account(journal)["account_number"]
    if ours != account.account_number:
        raise SettingsError(
            f"{journal.path} belongs to account {ours}, the key opens {account.account_number}.",
            "Use the right key, or name the right live system: --account NAME.",
        )


def whole(rows: Rows[Any], what: str) -> tuple[Any, ...]:
    """The rows, if all could be read; a list with holes proves nothing. Raises BrokerUnavailable."""
    if rows.unreadable:
        first = rows.unreadable[0].reason
        raise BrokerUnavailable(f"{len(rows.unreadable)} {what} of the venue cannot be read: {first}.")
    return tuple(rows)


def _account(journal: Journal) -> Any:
    row = journal.one("SELECT * FROM account WHERE id = 1")
    if row is None:
        raise JournalError(f"{journal.path} has no account yet: there is nothing to compare.", "athena engine")
    return row


def _open_rows(journal: Journal) -> list[Any]:
    slots = ", ".join("?" * len(_FINAL))
    return journal.query(f"SELECT * FROM orders WHERE status NOT IN ({slots})", _FINAL)


def _engine(journal: Journal) -> tuple[str, bool]:
    """What is known of the engine, and whether it can be asked."""
    try:
        require_engine(journal)
    except EngineNotRunning as error:
        return error.message, False
    heard = beat(journal)
    if heard is not None and heard.host == journal.host:
        try:
            os.kill(heard.pid, 0)
        except ProcessLookupError:
            return f"engine: not running, process {heard.pid} is gone; {heard.silence}", False
        except PermissionError:  # another user's: it lives
            pass
    return "engine: running", True


def _ask_engine(settings: Settings) -> dict[str, Any]:
    """What a live engine finds by itself; a failure is told as such."""
    try:
        with existing_journal(settings, read_only=False) as journal:
            result = request_sync(journal, "reconcile", timeout=30.0)
    except AthenaError as error:
        return {"ok": False, "message": f"not answered: {error}"}
    return {"ok": result.ok, "message": result.message, "breaks": list(result.get("breaks", ()))}
