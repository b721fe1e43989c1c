"""The journal against what the venue says, asked from here: it works with the engine dead. Reading only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from athena.analysis import style
from athena.analysis.assessment import Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.core import comparison
from athena.errors import AthenaError, BrokerUnavailable
from athena.journal.codec import from_text, to_text
from athena.model import Account, Fill, Order, Position
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import table

DAYS = 7
ASKED_MOST = 50
CHECK, RULE = "Does the venue say the same as the journal?", "orders, fills, positions and cash agree"


@dataclass(frozen=True)
class Told:
    """What the venue said, all of it readable, since a venue time."""

    account: Account
    since: datetime
    orders: tuple[Order, ...]
    positions: tuple[Position, ...]
    fills: tuple[Fill, ...]
    asked: dict[str, Order | None]  # of our open orders that are not listed, by their ids


def compare(system: System, question: str) -> tuple[Finding, Section, Told | None]:
    """Every difference, classified; UNKNOWN, and why, where the venue cannot be asked in full."""
    try:
        told = system.ask_own(lambda broker: _ask(system, broker))
        found = _differences(system, told)
        if found:  # news on its way is no difference: only what two looks have in common counts
            told = system.ask_own(lambda broker: _ask(system, broker))
            found = comparison.persistent(found, _differences(system, told))
    except AthenaError as error:
        reason = f"The venue's orders and positions are not known: {error.message}"
        action = "At the broker's own page, compare positions and orders by hand; then `athena check-brokers`."
        return (
            Finding(CHECK, Verdict.UNKNOWN, "not asked", RULE, reason, action),
            Section(question, f"Not known. {reason}"),
            None,
        )
    words = (
        f"The venue showed {len(told.orders)} orders and {len(told.fills)} fills since {style.moment(told.since)}, "
        f"{len(told.positions)} positions and {style.dollars(told.account.cash)} cash."
    )
    rows = [[one.kind.value, one.symbol, one.ours, one.theirs, one.evidence, one.then] for one in found]
    columns = [
        Column("kind", "Kind"),
        Column("symbol", "Symbol"),
        Column("ours", "Journal"),
        Column("theirs", "Venue"),
        Column("evidence", "Evidence"),
        Column("then", "Next"),
    ]
    section = Section(
        question, words, (table("Differences", rows, *columns, empty="None: both say the same.", cards=True, shown=12),)
    )
    if not found:
        return Finding(CHECK, Verdict.OK, "they agree", RULE), section, told
    urgent = any(one.urgent for one in found)
    kinds = ", ".join(sorted({one.kind.value for one in found}))
    reason = f"Journal and venue differ in {len(found)} points ({kinds})."
    verdict = Verdict.STOP if urgent else Verdict.ATTENTION
    action = "Halt what is doubtful: `athena halt --symbol SYMBOL`; then `athena reconcile`."
    return Finding(CHECK, verdict, f"{len(found)} differences", RULE, reason, action, {"kinds": kinds}), section, told


async def _ask(system: System, broker: Any) -> Told:
    """Everything, in full; fills last, so that none before the positions is missed."""
    account = await broker.get_account()
    bound = system.account.get("bound_at")
    start = (await broker.get_clock()).at - timedelta(days=DAYS)
    since = max(from_text(bound), start) if bound else start
    listed = [*_whole(await broker.get_orders("all", after=since)), *_whole(await broker.get_orders("open"))]
    orders = {order.client_order_id: order for order in listed}
    missing = [row["client_order_id"] for row in system.open_orders() if row["client_order_id"] not in orders]
    if len(missing) > ASKED_MOST:
        told = f"{len(missing)} open orders of the journal are not listed by the venue"
        raise BrokerUnavailable(f"{told}, too many to ask for one by one.", "`athena reconcile` settles them.")
    asked = {name: await broker.get_order(name) for name in missing}  # only an answer proves an absence
    orders |= {name: order for name, order in asked.items() if order is not None}
    positions = _whole(await broker.get_positions())
    account = await broker.get_account()
    return Told(account, since, tuple(orders.values()), positions, _whole(await broker.get_fills(since)), asked)


def _whole(rows: Any) -> tuple[Any, ...]:
    """The rows, if all could be read; a list with holes proves nothing."""
    if rows.unreadable:
        raise BrokerUnavailable(
            f"{len(rows.unreadable)} rows of the venue cannot be read: {rows.unreadable[0].reason}."
        )
    return tuple(rows)


def _differences(system: System, told: Told) -> list[comparison.Finding]:
    journal = system.journal
    with journal.reading():
        fills = journal.query("SELECT * FROM fills WHERE at > ?", (to_text(told.since),))
        portfolio = system.portfolio()
        found = comparison.compare_orders(comparison.order_rows(journal), told.orders)
        found += comparison.phantoms(system.open_orders(), told.asked)
        found += comparison.compare_fills({row["execution_id"]: row for row in fills}, told.fills)
        found += comparison.compare_positions(portfolio.positions(), told.positions)
        found += comparison.compare_cash(portfolio.cash, told.account.cash)
    return sorted(found, key=lambda one: (not one.urgent, one.kind, one.symbol))
