"""The portfolio as of a time, and the equity curve worked out again. Nothing is edited: corrections are events."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.curve import FIELDS, Point, rebuild_curve
from athena.core.portfolio import Portfolio
from athena.core.restore import Correction, State, as_of, corrections
from athena.errors import BrokerError, BrokerUnavailable, SettingsError
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.journal.snapshots import snapshot_now
from athena.live.cash_flows import flows_since, new_flows
from athena.live.engine_lock import EngineLock
from athena.model import NEW_YORK, ZERO, Account, CashFlow, Fill, Position
from athena.ops.recovery import check_account, whole
from athena.ops.recovery_show import Table, existing_journal, say, working

_TRIES = 5
_OVERLAP = timedelta(minutes=5)
_UNREACHED = "not asked"


@dataclass(frozen=True)
class VenueNow:
    """Positions, account, and what happened at the venue since the time asked for; one consistent look."""

    account: Account
    positions: tuple[Position, ...]
    fills: tuple[Fill, ...]
    flows: tuple[CashFlow, ...]
    at: datetime


def restore_portfolio(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the state as of a time beside the journal's and the venue's now; with --apply correct the journal.

    Exit 0 when journal and venue agree (or were made to), 10 when they differ, 5 when the venue did not answer.
    """
    moment = parse_moment(arguments.timestamp)
    if arguments.apply and not arguments.reason:
        raise SettingsError("--apply needs --reason: it is recorded with each correction.", '--reason "WHY"')
    if not arguments.apply:
        with existing_journal(settings) as journal:
            return _restore(settings, arguments, journal, moment)
    # An engine keeps its books in memory: none may run, or it would not know of a correction.
    with existing_journal(settings, read_only=False) as journal, EngineLock(settings.folder):
        return _restore(settings, arguments, journal, moment)


def parse_moment(text: str) -> datetime:
    """New York time as an operator types it. Raises SettingsError with an example."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(
            f"--timestamp is '{text}'; New York time is expected.", "For example: --timestamp '2024-01-15 09:30:00'"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=NEW_YORK)


def _restore(settings: Settings, arguments: argparse.Namespace, journal: Journal, moment: datetime) -> int:
    venue: VenueNow | None = None
    failure: BrokerError = BrokerUnavailable("no answer.")
    with working(arguments, "folding the events up to then") as now:
        state, current = as_of(journal, moment), Portfolio.from_journal(journal)
        now(f"asking {settings.venue}")
        try:
            venue = asyncio.run(_ask(settings, journal, moment))
        except BrokerError as error:
            failure = error
    plan = [] if venue is None else plan_corrections(journal, current, venue)
    facts = _facts(state, current, venue, plan)
    tables: list[Table] = [
        ("then, now, and the venue", ("", "then", "journal now", "venue now", "venue - journal"), facts["rows"]),
        ("open orders then", ("order", "symbol", "side", "quantity", "status"), [_order(o) for o in state.open_orders]),
        ("halts then", ("scope", "mode", "owner", "reason"), [_halt(h) for h in state.halts]),
        ("filled before then, journaled later", ("execution", "symbol", "side", "quantity", "at"),
         [(f["execution_id"], f["symbol"], f["side"], f["quantity"], f["at"]) for f in state.late]),
        ("corrections" if arguments.apply else "corrections --apply would journal", ("event", "why"),
         [(c.kind, c.why) for c in plan]),
    ]  # fmt: skip
    when = f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
    told = f"as of {when}: event {state.sequence:,}, {state.portfolio!r}"
    if venue is None:
        then = f"{failure.hint} Nothing was concluded about the venue."
        say(arguments, Verdict.UNKNOWN, f"{told}; the venue was {_UNREACHED}: {failure.message}", facts, tables, then)
        return failure.exit_code
    if not plan:
        return say(arguments, Verdict.OK, f"{told}; journal and venue agree now", facts, tables)
    if not arguments.apply:
        then = "stop the engine, then the same with --apply --reason 'WHY'"
        words = f"{told}; {len(plan)} corrections would make the journal equal the venue"
        return say(arguments, Verdict.ATTENTION, words, facts, tables, then)
    with working(arguments, "taking a snapshot, journaling the corrections, reading back"):
        facts["snapshot"] = str(snapshot_now(journal, settings, "before a correction").path)
        _apply(journal, plan, arguments.reason, venue.at)
        after = asyncio.run(_ask(settings, journal, moment))
        left = plan_corrections(journal, Portfolio.from_journal(journal), after)
    facts["left"] = [c.why for c in left]
    words = f"{told}; {len(plan)} corrections journaled, snapshot taken before"
    verdict = Verdict.STOP if left else Verdict.OK
    words += f"; STILL {len(left)} differences: {left[0].why}" if left else "; read back: journal and venue agree"
    return say(arguments, verdict, words, facts, tables, "athena rebuild-equity-curve, athena broker-reconciliation")


def plan_corrections(journal: Journal, current: Portfolio, venue: VenueNow) -> list[Correction]:
    """First what the venue can prove (executions and cash flows we lack), then what nothing explains."""
    known = {row["execution_id"] for row in journal.query("SELECT execution_id FROM fills")}
    plan = []
    for fill in venue.fills:
        if fill.execution_id not in known:
            names = ("execution_id", "client_order_id", "broker_order_id", "symbol", "side", "quantity", "price", "fee")
            payload = {name: getattr(fill, name) for name in names} | {"at": fill.at, "source": "restore"}
            traded = f"{fill.side.value} {fill.quantity:f} at {fill.price:f}"
            why = f"{fill.symbol}: the venue executed {traded}, {fill.at:%Y-%m-%d %H:%M:%S} UTC"
            plan.append(Correction("fill", payload, why))
            current.apply_fill(fill)
    for flow, payload in new_flows(journal, venue.flows, venue.at):
        plan.append(Correction("cash_flow", payload, f"cash: {flow.kind} of {flow.amount:+,.2f} at the venue"))
        current.apply_cash_flow(flow)
    return plan + corrections(current, venue.positions, venue.account.cash)


def _apply(journal: Journal, plan: Sequence[Correction], reason: str, venue_at: datetime) -> None:
    """All of it or nothing."""
    with journal.transaction() as tx:
        for one in plan:
            more = {"reason": reason, "evidence": one.why} if one.kind == "correction" else {}
            tx.append(one.kind, {**one.payload, **more}, venue_at)
        tx.append("note", {"text": f"portfolio corrected by {len(plan)} events: {reason}"}, venue_at)


async def _ask(settings: Settings, journal: Journal, since: datetime) -> VenueNow:
    """Positions and account between two equal lists of fills: nothing moved meanwhile. Raises BrokerError."""
    from athena.live.brokers.alpaca import AlpacaBroker

    broker = AlpacaBroker.get_instance(settings)
    try:
        account = await broker.get_account()
        check_account(journal, account)
        after = _asked_from(journal, since)
        fills = whole(await broker.get_fills(after), "fills")
        for _ in range(_TRIES):
            positions = whole(await broker.get_positions(), "positions")
            account = await broker.get_account()
            flows = whole(await broker.get_cash_flows(flows_since(journal, after)), "cash flows")
            clock, again = await broker.get_clock(), whole(await broker.get_fills(after), "fills")
            if len(again) == len(fills):
                return VenueNow(account, positions, fills, flows, clock.at)
            fills = again
    finally:
        await broker.close()
    raise BrokerUnavailable("orders keep filling at the venue: no look at it holds still.", "athena cancel-orders")


def _asked_from(journal: Journal, moment: datetime) -> datetime:
    """Since when the venue's executions matter: then, or shortly before the books last agreed if that is earlier."""
    row = journal.one("SELECT venue_at FROM reconciliations WHERE ok = 1 ORDER BY sequence DESC LIMIT 1")
    bound = journal.one("SELECT bound_at FROM account")
    start = from_text(bound["bound_at"]) if bound else moment
    agreed = start if row is None else from_text(row["venue_at"]) - _OVERLAP
    return max(start, min(moment, agreed))


def _facts(state: State, now: Portfolio, venue: VenueNow | None, plan: Sequence[Correction]) -> dict[str, Any]:
    then, held = ({p.symbol: p.quantity for p in side.positions()} for side in (state.portfolio, now))
    theirs = None if venue is None else {p.symbol: p.quantity for p in venue.positions}
    rows: list[tuple[str, ...]] = []
    for symbol in sorted(then.keys() | held.keys() | (theirs or {}).keys()):
        a, b = then.get(symbol, ZERO), held.get(symbol, ZERO)
        c = None if theirs is None else theirs.get(symbol, ZERO)
        rows.append((symbol, f"{a:f}", f"{b:f}", *((_UNREACHED, "") if c is None else (f"{c:f}", f"{c - b:+f}"))))
    cash = None if venue is None else venue.account.cash
    money = [("cash", state.portfolio.cash, now.cash, cash), ("equity", state.portfolio.equity, now.equity, None)]
    if venue is not None:
        money[1] = (*money[1][:3], venue.account.equity)
    for name, a, b, c in money:
        asked = (_UNREACHED, "") if c is None else (f"{c:,.2f}", f"{c - b:+,.2f}")
        rows.append((name, f"{a:,.2f}", f"{b:,.2f}", *asked))
    return {
        "as_of": state.moment.isoformat(), "sequence": state.sequence, "rows": rows,
        "open_orders": list(state.open_orders), "halts": list(state.halts), "limits": state.limits,
        "late_fills": list(state.late), "corrections": [{"event": c.kind, "why": c.why, **c.payload} for c in plan],
    }  # fmt: skip


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["client_order_id"], row["symbol"], row["side"], row["quantity"], row["status"]


def _halt(row: dict[str, Any]) -> tuple[Any, ...]:
    return f"{row['scope']} {row['target']}".strip(), row["mode"], row["owner"], row["reason"]


def rebuild_equity_curve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fold tables from the events, and equity points from the fills; say what differs; --apply replaces it.

    Exit 0 when nothing differs (any more), 10 when something does.
    """
    if not arguments.apply:
        with existing_journal(settings) as journal:
            return _rebuild(settings, arguments, journal)
    with existing_journal(settings, read_only=False) as journal, EngineLock(settings.folder):
        return _rebuild(settings, arguments, journal)


def _rebuild(settings: Settings, arguments: argparse.Namespace, journal: Journal) -> int:
    with working(arguments, "folding the events again"):
        found = journal.rebuild(check_only=True)
        points = list(rebuild_curve(journal))
    wrong = [point for point in points if point.differs]
    facts: dict[str, Any] = {
        "events": found.events, "points": len(points), "rows_that_differ": [str(d) for d in found.differences],
        "points_that_differ": [_point(point) for point in wrong], "applied": False,
    }  # fmt: skip
    headings = ("event", "venue time", "equity stored", "equity rebuilt", "difference")
    tables: list[Table] = [
        ("rows that are not what the events say", ("row",), [(str(d),) for d in found.differences]),
        ("points that the fills known today put elsewhere", headings, [_point(point) for point in wrong]),
    ]
    told = f"{found.events:,} events, {len(points):,} equity points"
    if not (found.differences or wrong):
        return say(arguments, Verdict.OK, f"{told}: tables and curve are what events and fills give", facts, tables)
    worst = max((abs(point.difference) for point in wrong), default=ZERO)
    told += f": {len(found.differences)} rows and {len(wrong)} points differ (at most ${worst:,.2f})"
    if not arguments.apply:
        return say(arguments, Verdict.ATTENTION, told, facts, tables, "stop the engine, then the same with --apply")
    with working(arguments, "taking a snapshot, replacing, reading back"):
        facts["snapshot"] = str(snapshot_now(journal, settings, "before a rebuild").path)
        if found.differences:
            journal.rebuild()
            wrong = [point for point in rebuild_curve(journal) if point.differs]
        reason = arguments.reason or "the curve was worked out again from the fills"
        with journal.transaction() as tx:
            for point in wrong:
                amounts: dict[str, Decimal] = {name: point.rebuilt[name] for name in FIELDS}
                tx.append("equity.corrected", {"sequence": point.sequence, **amounts, "reason": reason})
        left = len(journal.rebuild(check_only=True).differences) + sum(p.differs for p in rebuild_curve(journal))
    facts |= {"applied": True, "left": left}
    words = f"{told}; replaced, {'read back: nothing differs' if not left else f'STILL {left} differ'}"
    return say(arguments, Verdict.STOP if left else Verdict.OK, words, facts, tables)


def _point(point: Point) -> tuple[str, ...]:
    stored = point.stored["equity"] or ZERO
    amounts = (f"{stored:,.2f}", f"{point.rebuilt['equity']:,.2f}", f"{point.difference:+,.2f}")
    return str(point.sequence), point.venue_at, *amounts
