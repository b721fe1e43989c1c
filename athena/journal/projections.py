"""What each event does to the tables: one function per kind, plain portable SQL (orders and fills: `orders`).

A function sees only what is stored (text, integers, JSON), so folding the events again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from athena.errors import JournalError
from athena.journal import alerts as _alerts  # noqa: F401  # these three register their projections
from athena.journal import orders as _orders  # noqa: F401
from athena.journal import outbox as _outbox  # noqa: F401
from athena.journal.codec import day_of, encode
from athena.journal.entry import PROJECTIONS, Database, Entry, insert, kind, money
from athena.model import Mode

TABLES = (
    "guard", "halts", "limits", "orders", "fills", "violations", "equity", "trading_days", "openings", "account",
    "cash_flows", "commands", "reconciliations", "broker_states", "alerts", "notifications", "deliveries",
    "schedule_runs",
)  # fmt: skip
INITIAL = "INSERT INTO guard (id, epoch, mode, nonce, updated_at) VALUES (1, 0, 'halted', '0', NULL)"  # born disabled


def apply(db: Database, entry: Entry) -> None:
    """Write what `entry` means to the tables. Raises JournalError on an unknown kind or a missing or wrong value."""
    projection = PROJECTIONS.get(entry.kind)
    if projection is None:
        raise JournalError(f"'{entry.kind}' is not a kind of event.", "If a newer Athena wrote it, use that one.")
    try:
        projection(db, entry)
    except KeyError as error:
        raise JournalError(f"{entry.kind} needs {error.args[0]!r}; it has {sorted(entry.payload)}.") from error


def fold(db: Database, entries: Iterable[Entry]) -> None:
    """Fill empty tables from the first event on."""
    db.execute(INITIAL)
    for entry in entries:
        apply(db, entry)


# The guard

_INSERT_HALT = insert(
    "halts", "id scope target mode origin owner reason nonce at venue_at expires_at", " ON CONFLICT (id) DO NOTHING"
)


@kind("halt.set")
def _halt_set(db: Database, entry: Entry) -> None:
    p = entry.payload
    nonce = str(p.get("nonce") or 0)
    row = (p["id"], p["scope"], p.get("target") or "", p["mode"], p["origin"], p.get("owner") or entry.actor)
    db.execute(_INSERT_HALT, (*row, p.get("reason") or "", nonce, entry.at, entry.venue_at, p.get("expires_at")))
    if p["scope"] == "global" and p["mode"] == "halted":
        db.execute("UPDATE guard SET nonce = ? WHERE id = 1", (nonce,))
    _restrict(db, entry)


@kind("halt.cleared")
def _halt_cleared(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        "UPDATE halts SET cleared_at = ?, cleared_by = ?, cleared_reason = ? WHERE id = ? AND cleared_at IS NULL",
        (entry.at, p.get("by") or entry.actor, p.get("reason") or "", p["id"]),
    )
    _restrict(db, entry)


def _restrict(db: Database, entry: Entry) -> None:
    """The guard row's mode is the strictest of the global halts that stand; every change is a new epoch."""
    standing = db.execute("SELECT mode FROM halts WHERE scope = 'global' AND cleared_at IS NULL").fetchall()
    mode = max((Mode(row[0]) for row in standing), key=lambda found: found.strictness, default=Mode.ACTIVE)
    db.execute("UPDATE guard SET epoch = epoch + 1, mode = ?, updated_at = ? WHERE id = 1", (mode.value, entry.at))


_SET_LIMIT = insert("limits", "name target value version changed_at changed_by reason") + (
    " ON CONFLICT (name, target) DO UPDATE SET value = excluded.value, version = limits.version + 1,"
    " changed_at = excluded.changed_at, changed_by = excluded.changed_by, reason = excluded.reason"
)


@kind("limit.set")
def _limit_set(db: Database, entry: Entry) -> None:
    p = entry.payload
    row = (p["name"], p.get("target") or "", encode(p["value"]), 1, entry.at, p.get("by") or entry.actor)
    db.execute(_SET_LIMIT, (*row, p.get("reason") or ""))
    db.execute("UPDATE guard SET epoch = epoch + 1, updated_at = ? WHERE id = 1", (entry.at,))


# Money

_INSERT_EQUITY = insert("equity", "sequence venue_at trading_date equity cash realised_pnl unrealised_pnl")
_INSERT_DAY = insert("trading_days", "trading_date opening_equity opened_at", " ON CONFLICT (trading_date) DO NOTHING")
_INSERT_ACCOUNT = insert("account", "id venue account_number opening_cash opening_equity bound_at")
_INSERT_OPENING = insert("openings", "symbol quantity price mark at")
_INSERT_FLOW = insert("cash_flows", "id kind amount at trading_date description", " ON CONFLICT (id) DO NOTHING")


@kind("equity")
def _equity(db: Database, entry: Entry) -> None:
    amounts = money(entry, "equity", "cash", "realised_pnl", "unrealised_pnl")
    db.execute(_INSERT_EQUITY, (entry.sequence, entry.when, entry.day, *amounts))


@kind("equity.corrected")
def _equity_corrected(db: Database, entry: Entry) -> None:
    """A point of the curve worked out again, for example with a fill that was taken in late; its event stays."""
    p = entry.payload
    amounts = money(entry, "equity", "cash", "realised_pnl", "unrealised_pnl")
    db.execute(
        "UPDATE equity SET equity = ?, cash = ?, realised_pnl = ?, unrealised_pnl = ? WHERE sequence = ?",
        (*amounts, p["sequence"]),
    )


@kind("day.opened")
def _day_opened(db: Database, entry: Entry) -> None:
    db.execute(_INSERT_DAY, (entry.payload["trading_date"], *money(entry, "opening_equity"), entry.when))


@kind("cash_flow")
def _cash_flow(db: Database, entry: Entry) -> None:
    p = entry.payload
    at = p.get("at") or entry.when
    db.execute(_INSERT_FLOW, (p["id"], p["kind"], *money(entry, "amount"), at, day_of(at), p.get("description") or ""))


@kind("account.bound")
def _account_bound(db: Database, entry: Entry) -> None:
    """The first binding counts; binding again is harmless, binding another account is refused."""
    p = entry.payload
    found = db.execute("SELECT venue, account_number FROM account WHERE id = 1").fetchall()
    if found:
        (venue, number), (other, asked) = found[0], (p["venue"], p["account_number"])
        if (venue, number) != (other, asked):
            raise JournalError(
                f"this journal belongs to account {number} at {venue}, not to {asked} at {other}.",
                "Give the other account its own: set ATHENA_ACCOUNT to a new name.",
            )
        return
    row = (1, p["venue"], p["account_number"], *money(entry, "cash", "equity"), entry.when)
    db.execute(_INSERT_ACCOUNT, row)
    for position in p.get("positions") or ():
        amounts = money(entry._replace(payload=position), "quantity", "price", "mark")
        db.execute(_INSERT_OPENING, (position["symbol"], *amounts, entry.when))


# Running

_INSERT_COMMAND = insert("commands", "id name arguments requested_by requested_at expires_at status")
_INSERT_RECONCILIATION = insert("reconciliations", "sequence at venue_at trigger ok breaks checked")
_INSERT_STATE = insert("broker_states", "sequence at broker state previous reason")


@kind("command.requested")
def _command_requested(db: Database, entry: Entry) -> None:
    p = entry.payload
    arguments = encode(p.get("arguments") or {})
    row = (p["id"], p["name"], arguments, entry.actor, entry.at, p.get("expires_at"), "requested")
    db.execute(_INSERT_COMMAND, row)


@kind("command.finished")
def _command_finished(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        "UPDATE commands SET status = ?, result = ?, finished_at = ? WHERE id = ? AND status = 'requested'",
        (p["status"], encode(p.get("result")), entry.at, p["id"]),
    )


@kind("reconciliation")
def _reconciliation(db: Database, entry: Entry) -> None:
    p = entry.payload
    found = (1 if p["ok"] else 0, encode(p.get("breaks") or []), encode(p.get("checked") or {}))
    db.execute(_INSERT_RECONCILIATION, (entry.sequence, entry.at, entry.venue_at, p["trigger"], *found))


@kind("broker.state")
def _broker_state(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        _INSERT_STATE, (entry.sequence, entry.at, p["broker"], p["state"], p.get("previous"), p.get("reason") or "")
    )


@kind("engine.started")
@kind("engine.stopped")
@kind("approval.requested")
@kind("approval.given")
@kind("schedule.calendar")
@kind("schedule.taken_up")
@kind("note")
def _recorded(db: Database, entry: Entry) -> None:
    """Told by the event alone; no table."""
