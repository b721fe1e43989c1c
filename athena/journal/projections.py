"""What each event does to the tables: one function per kind, plain portable SQL.

A function sees only what is stored (text, integers, JSON), so folding the events again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol

from athena.errors import JournalError
from athena.journal.codec import day_of, encode
from athena.journal.order_state import settle
from athena.model import Mode


class Entry(NamedTuple):
    """One line of the journal as stored; `payload` holds only JSON's types."""

    sequence: int
    at: str
    venue_at: str | None
    kind: str
    actor: str
    host: str
    pid: int
    payload: dict[str, Any]

    @property
    def when(self) -> str:
        """The venue's time where it is known, else the machine's."""
        return self.venue_at or self.at

    @property
    def day(self) -> str:
        return day_of(self.venue_at or self.at)


class Database(Protocol):
    """What a projection needs of a connection."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...


Projection = Callable[[Database, Entry], None]
PROJECTIONS: dict[str, Projection] = {}
TABLES = (
    "guard", "halts", "limits", "orders", "fills", "violations", "equity", "trading_days", "openings", "account",
    "cash_flows", "commands", "reconciliations", "broker_states",
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


def _kind(name: str) -> Callable[[Projection], Projection]:
    def register(function: Projection) -> Projection:
        PROJECTIONS[name] = function
        return function

    return register


def _insert(table: str, columns: str, conflict: str = "") -> str:
    names = columns.split()
    slots = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({slots}){conflict}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _money(entry: Entry, *names: str) -> list[str | None]:
    """Amounts as text; a float or something that is no finite number is refused, None stays None."""
    get = entry.payload.get
    return [
        value if value is None or _is_plain_number(value) else _amount(entry.kind, name, value)
        for name, value in ((name, get(name)) for name in names)
    ]


def _is_plain_number(value: Any) -> bool:
    return type(value) is str and value.replace(".", "", 1).isdecimal() and value.isascii()


def _amount(kind: str, name: str, value: Any) -> str:
    try:
        if isinstance(value, (bool, float)) or not Decimal(value).is_finite():
            raise InvalidOperation
    except (InvalidOperation, TypeError, ValueError):
        raise JournalError(f"{kind}: {name} is {value!r}; an exact finite amount is needed.") from None
    return str(value)


# Orders

_FACTS = (
    "client_order_id", "strategy", "symbol", "side", "type", "time_in_force", "quantity", "limit_price", "stop_price",
    "decision_price", "decided_at", "bid", "ask", "reason", "purpose", "extended_hours",
)  # fmt: skip
_ORDER = " ".join(_FACTS) + (
    " status filled_quantity broker_order_id error acknowledged_at final_venue_at"
    " intended_at intended_venue_at updated_at trading_date"
)
_INSERT_ORDER = _insert("orders", _ORDER)
_INSERT_ORDER_ONCE = _insert("orders", _ORDER, " ON CONFLICT (client_order_id) DO NOTHING")


def _order_row(entry: Entry, status: str, *, broker_order_id: str | None = None, seen: bool = False) -> tuple[Any, ...]:
    p = entry.payload
    *facts, purpose, extended_hours = map(p.get, _FACTS)
    final_at = entry.when if status == "refused" else None
    return (
        *facts, purpose or "strategy", 1 if extended_hours else 0, status, "0", broker_order_id, p.get("error"),
        entry.at if seen else None, final_at, entry.at, entry.venue_at, entry.at, entry.day,
    )  # fmt: skip


@_kind("order.intended")
def _order_intended(db: Database, entry: Entry) -> None:
    _money(entry, "quantity", "limit_price", "stop_price", "decision_price", "bid", "ask")
    db.execute(_INSERT_ORDER, _order_row(entry, "intended"))


@_kind("order.refused")
def _order_refused(db: Database, entry: Entry) -> None:
    # A refused duplicate must not touch the order it duplicates; and what was refused may be nonsense of any type.
    told = {name: _text(entry.payload.get(name)) for name in _FACTS[:-1]}
    told |= {name: told[name] or "" for name in ("strategy", "symbol", "side", "type")}
    told["extended_hours"] = entry.payload.get("extended_hours")
    db.execute(_INSERT_ORDER_ONCE, _order_row(entry._replace(payload=told), "refused"))
    _violation(db, entry)


@_kind("order.updated")
def _order_updated(db: Database, entry: Entry) -> None:
    p = entry.payload
    identity = p["client_order_id"]
    _money(entry, "filled_quantity", "average_fill_price")
    if not db.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (identity,)).fetchall():
        _external(db, entry)
    settle(
        db, identity, at=entry.at, when=entry.when, status=p.get("status"), filled=p.get("filled_quantity"),
        average=p.get("average_fill_price"), broker_order_id=p.get("broker_order_id"), error=p.get("error"),
    )  # fmt: skip


def _external(db: Database, entry: Entry) -> None:
    """An order placed by someone else, on a phone or a web page: taken in when its facts are told."""
    p = entry.payload
    for name in ("symbol", "side", "type"):
        if not p.get(name):
            raise JournalError(f"order {p['client_order_id']} is not in the journal and its {name} is not told.")
    _money(entry, "quantity", "limit_price", "stop_price")
    told = {**p, "strategy": p.get("strategy") or "external"}
    db.execute(_INSERT_ORDER, _order_row(entry._replace(payload=told), "unknown", seen=True))


_INSERT_FILL = _insert(
    "fills",
    "execution_id sequence client_order_id broker_order_id strategy symbol side quantity price fee at recorded_at"
    " trading_date bid ask source",
    " ON CONFLICT (execution_id) DO NOTHING",
)


@_kind("fill")
def _fill(db: Database, entry: Entry) -> None:
    p = entry.payload
    identity = p.get("client_order_id") or ""
    quantity, price, fee, bid, ask = _money(entry, "quantity", "price", "fee", "bid", "ask")
    if quantity is None or price is None or Decimal(quantity) <= 0 or Decimal(price) < 0:
        raise JournalError(f"fill {p['execution_id']}: {quantity} at {price} cannot be; both are positive.")
    if p["side"] not in ("buy", "sell"):
        raise JournalError(f"fill {p['execution_id']}: side is {p['side']!r}; buy or sell.")
    strategy = p.get("strategy")
    if not strategy:
        row = db.execute("SELECT strategy FROM orders WHERE client_order_id = ?", (identity,)).fetchall()
        strategy = row[0][0] if row else "external"
    at = p["at"]
    row = (
        p["execution_id"], entry.sequence, identity, p.get("broker_order_id"), strategy, p["symbol"], p["side"],
        quantity, price, fee or "0", at, entry.at, day_of(at), bid, ask, p.get("source"),
    )  # fmt: skip
    if db.execute(_INSERT_FILL, row).rowcount:
        settle(db, identity, at=entry.at, when=entry.when, broker_order_id=p.get("broker_order_id"))


# The guard

_INSERT_VIOLATION = _insert(
    "violations",
    "sequence at venue_at trading_date code message symbol strategy observed limit_value client_order_id action",
)


@_kind("violation")
def _violation(db: Database, entry: Entry) -> None:
    p = entry.payload
    described = (p.get(name) for name in ("symbol", "strategy", "observed", "limit_value", "client_order_id", "action"))
    row = (entry.sequence, entry.at, entry.venue_at, entry.day, p["code"], p.get("message") or "")
    db.execute(_INSERT_VIOLATION, (*row, *map(_text, described)))


_INSERT_HALT = _insert(
    "halts", "id scope target mode origin owner reason nonce at venue_at expires_at", " ON CONFLICT (id) DO NOTHING"
)


@_kind("halt.set")
def _halt_set(db: Database, entry: Entry) -> None:
    p = entry.payload
    nonce = str(p.get("nonce") or 0)
    row = (p["id"], p["scope"], p.get("target") or "", p["mode"], p["origin"], p.get("owner") or entry.actor)
    db.execute(_INSERT_HALT, (*row, p.get("reason") or "", nonce, entry.at, entry.venue_at, p.get("expires_at")))
    if p["scope"] == "global" and p["mode"] == "halted":
        db.execute("UPDATE guard SET nonce = ? WHERE id = 1", (nonce,))
    _restrict(db, entry)


@_kind("halt.cleared")
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


_SET_LIMIT = _insert("limits", "name target value version changed_at changed_by reason") + (
    " ON CONFLICT (name, target) DO UPDATE SET value = excluded.value, version = limits.version + 1,"
    " changed_at = excluded.changed_at, changed_by = excluded.changed_by, reason = excluded.reason"
)


@_kind("limit.set")
def _limit_set(db: Database, entry: Entry) -> None:
    p = entry.payload
    row = (p["name"], p.get("target") or "", encode(p["value"]), 1, entry.at, p.get("by") or entry.actor)
    db.execute(_SET_LIMIT, (*row, p.get("reason") or ""))
    db.execute("UPDATE guard SET epoch = epoch + 1, updated_at = ? WHERE id = 1", (entry.at,))


# Money

_INSERT_EQUITY = _insert("equity", "sequence venue_at trading_date equity cash realised_pnl unrealised_pnl")
_INSERT_DAY = _insert("trading_days", "trading_date opening_equity opened_at", " ON CONFLICT (trading_date) DO NOTHING")
_INSERT_ACCOUNT = _insert("account", "id venue account_number opening_cash opening_equity bound_at")
_INSERT_OPENING = _insert("openings", "symbol quantity price at")
_INSERT_FLOW = _insert("cash_flows", "id kind amount at trading_date description", " ON CONFLICT (id) DO NOTHING")


@_kind("equity")
def _equity(db: Database, entry: Entry) -> None:
    amounts = _money(entry, "equity", "cash", "realised_pnl", "unrealised_pnl")
    db.execute(_INSERT_EQUITY, (entry.sequence, entry.when, entry.day, *amounts))


@_kind("day.opened")
def _day_opened(db: Database, entry: Entry) -> None:
    db.execute(_INSERT_DAY, (entry.payload["trading_date"], *_money(entry, "opening_equity"), entry.when))


@_kind("cash_flow")
def _cash_flow(db: Database, entry: Entry) -> None:
    p = entry.payload
    at = p.get("at") or entry.when
    db.execute(_INSERT_FLOW, (p["id"], p["kind"], *_money(entry, "amount"), at, day_of(at), p.get("description") or ""))


@_kind("account.bound")
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
    row = (1, p["venue"], p["account_number"], *_money(entry, "cash", "equity"), entry.when)
    db.execute(_INSERT_ACCOUNT, row)
    for position in p.get("positions") or ():
        amounts = _money(entry._replace(payload=position), "quantity", "price")
        db.execute(_INSERT_OPENING, (position["symbol"], *amounts, entry.when))


# Running

_INSERT_COMMAND = _insert("commands", "id name arguments requested_by requested_at expires_at status")
_INSERT_RECONCILIATION = _insert("reconciliations", "sequence at venue_at trigger ok breaks checked")
_INSERT_STATE = _insert("broker_states", "sequence at broker state previous reason")


@_kind("command.requested")
def _command_requested(db: Database, entry: Entry) -> None:
    p = entry.payload
    arguments = encode(p.get("arguments") or {})
    row = (p["id"], p["name"], arguments, entry.actor, entry.at, p.get("expires_at"), "requested")
    db.execute(_INSERT_COMMAND, row)


@_kind("command.finished")
def _command_finished(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        "UPDATE commands SET status = ?, result = ?, finished_at = ? WHERE id = ? AND status = 'requested'",
        (p["status"], encode(p.get("result")), entry.at, p["id"]),
    )


@_kind("reconciliation")
def _reconciliation(db: Database, entry: Entry) -> None:
    p = entry.payload
    found = (1 if p["ok"] else 0, encode(p.get("breaks") or []), encode(p.get("checked") or {}))
    db.execute(_INSERT_RECONCILIATION, (entry.sequence, entry.at, entry.venue_at, p["trigger"], *found))


@_kind("broker.state")
def _broker_state(db: Database, entry: Entry) -> None:
    p = entry.payload
    db.execute(
        _INSERT_STATE, (entry.sequence, entry.at, p["broker"], p["state"], p.get("previous"), p.get("reason") or "")
    )


@_kind("engine.started")
@_kind("engine.stopped")
@_kind("note")
def _recorded(db: Database, entry: Entry) -> None:
    """Told by the event alone; no table."""


def fold(db: Database, entries: Iterable[Entry]) -> None:
    """Fill empty tables from the first event on."""
    db.execute(INITIAL)
    for entry in entries:
        apply(db, entry)
