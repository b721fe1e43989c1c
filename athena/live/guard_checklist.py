"""The checklist for resuming, as data: each line says whether it holds, what was seen, and what to do if it does not.

It is asked inside the transaction that clears the halts, so what holds when it is asked holds when it counts. What
cannot be known does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from athena.live.guard_flag import GuardFlag
from athena.live.guard_rules import Halt
from athena.live.limits import LIMITS, Value, parse
from athena.live.vitals import STALE_SECONDS, beat, books
from athena.model import Origin, Scope, dollars, is_transfer

if TYPE_CHECKING:
    from athena.journal.journal import Journal, Transaction

SKEW_SECONDS_MAX = 2.0
_LOSS, _SLIPPAGE = "max_daily_loss_dollars", "max_slippage_bps"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the checklist: `seen` is the evidence, `next` what to do when it does not hold ("" when it does)."""

    name: str
    holds: bool
    seen: str
    next: str = ""

    def __str__(self) -> str:
        return f"{'ok ' if self.holds else 'NO '} {self.name}: {self.seen}" + (f" -> {self.next}" if self.next else "")


_SINCE = (  # what makes a reconciliation old; the last condition names the small index of rare events
    "SELECT kind, at, payload FROM events WHERE kind IN ('halt.set', 'engine.started') AND sequence > ?"
    " AND kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity')"
)
Ask = Callable[["Transaction", tuple[Halt, ...]], tuple[Line, ...]]


def checklist(flag: GuardFlag, *more: Callable[[Transaction], Line | None]) -> Ask:
    """What must hold to clear halts; `more` are lines of the caller's, asked first in the same transaction."""

    def ask(tx: Transaction, halts: tuple[Halt, ...]) -> tuple[Line, ...]:
        if not halts:
            return ()  # nothing would begin to trade by clearing nothing
        own = [line for line in (one(tx) for one in more) if line is not None]
        return (*own, Line("journal writable", True, "this very transaction"), *_lines(tx, halts, flag))

    return ask


def _lines(tx: Journal | Transaction, halts: tuple[Halt, ...], flag: GuardFlag) -> Iterator[Line]:
    if not flag.lease_seconds > 0:
        yield Line("engine", True, "not running: nothing trades, and it starts halted and reconciles")
        return
    details = _heard(tx, "broker")
    yield _reconciled(tx, halts)
    yield _streams(tx, details)
    yield _clock(details)
    if any(halt.scope is Scope.GLOBAL for halt in halts):
        yield _loss(tx)
    yield from _causes(tx, halts)


def _heard(tx: Journal | Transaction, component: str) -> dict[str, Any] | None:
    """What a component last told of itself, None when that is too long ago to count."""
    heard = beat(tx, component)
    return heard.details if heard is not None and heard.fresh else None


def _reconciled(tx: Journal | Transaction, halts: tuple[Halt, ...]) -> Line:
    """A reconciliation found no break, later in the journal than these halts and the engine's start.

    By sequence and not by time: a clock that was set back must not make an old reconciliation look new.
    """
    name, again = "reconciled", "athena reconcile"
    if (last := books(tx)) is None:
        return Line(name, False, "never on this journal", again)
    at, wanted = last.at, {halt.id for halt in halts}
    if not last.ok:
        return Line(name, False, f"the last one, {at:%H:%M:%S} UTC, found breaks", "See them: athena reconcile")
    for later in tx.query(_SINCE, (last.sequence,)):
        if later["kind"] == "engine.started" or json.loads(later["payload"])["id"] in wanted:
            since = datetime.fromisoformat(later["at"])
            return Line(name, False, f"last {at:%H:%M:%S} UTC, halted or started {since:%H:%M:%S} UTC", again)
    return Line(name, True, f"{at:%H:%M:%S} UTC, after the halts and the engine's start")


def _streams(tx: Journal | Transaction, details: dict[str, Any] | None) -> Line:
    """The engine's broker and each of its streams are connected, and while the session is open quotes arrive."""
    name, mend = "streams fresh", "athena check-brokers"
    if details is None:
        return Line(name, False, f"the engine's broker was not heard of in the last {STALE_SECONDS:g} s", mend)
    states = {"broker": details.get("state"), **(details.get("streams") or {})}
    down = [f"{part} is {state}" for part, state in states.items() if state != "connected"]
    if down:
        return Line(name, False, ", ".join(down), mend)
    engine = _heard(tx, "engine") or {}
    told = ", ".join(f"{part} {state}" for part, state in states.items())
    if engine.get("session") != "open":
        return Line(name, True, told)
    age, allowed = engine.get("market_data_age_seconds"), _limit(tx, "max_quote_age_seconds")
    allowed = float(allowed) * max(1.0, float(engine.get("speed") or 1))  # a fast venue's seconds are short ones
    fresh = age is not None and age <= allowed
    seen = f"{told}; last quote " + ("never" if age is None else f"{age:.1f} s of venue time ago")
    return Line(name, fresh, seen, "" if fresh else "athena start-market-data")


def _clock(details: dict[str, Any] | None) -> Line:
    """The venue's clock and this machine's agree; a simulated date has a time of its own, and cannot differ."""
    name, when = "clock skew", "The engine measures it every 15 s; look again."
    if details is None or "clock_skew_seconds" not in details:
        return Line(name, False, "not measured", when)
    skew = details["clock_skew_seconds"]
    if skew is None:
        return Line(name, True, "the venue keeps its own time")
    holds = abs(skew) <= SKEW_SECONDS_MAX
    return Line(name, holds, f"{skew:+.2f} s of {SKEW_SECONDS_MAX:g} s", "" if holds else "Set this machine's clock.")


def _loss(tx: Journal | Transaction) -> Line:
    """The day's loss by the last journaled equity is below its limit."""
    name = "daily loss"
    day = tx.one("SELECT * FROM trading_days ORDER BY trading_date DESC LIMIT 1")
    if day is None:  # before the first session of an account: nothing was traded, so nothing can be lost
        return Line(name, True, "no session yet, so no loss")
    now = tx.one("SELECT * FROM equity WHERE trading_date = ? ORDER BY sequence DESC LIMIT 1", (day["trading_date"],))
    span = (day["opened_at"], "" if now is None else now["venue_at"])  # the money in this equity, and not in the day's
    flows = tx.query("SELECT kind, amount FROM cash_flows WHERE at > ? AND at <= ?", span)
    amounts = ((kind, Decimal(amount)) for kind, amount in flows)
    transfers = sum((amount for kind, amount in amounts if is_transfer(kind, amount)), Decimal(0))
    limit = _limit(tx, _LOSS)
    if now is None:
        return Line(name, True, f"nothing measured yet today; limit {dollars(limit)}")
    loss = Decimal(day["opening_equity"]) + transfers - Decimal(now["equity"])
    holds = loss < limit
    told = (
        f"lost {dollars(loss)} of {dollars(limit)}" if loss > 0 else f"gained {dollars(-loss)}; limit {dollars(limit)}"
    )
    return Line(name, holds, told, "" if holds else f"Stay out today, or raise {_LOSS}.")


def _causes(tx: Journal | Transaction, halts: tuple[Halt, ...]) -> Iterator[Line]:
    """What made each halt is over, by its origin; loss, connection and reconciliation have lines of their own."""
    usage = (_heard(tx, "engine") or {}).get("guard") or {}
    for halt in {(h.owner, h.target): h for h in halts if h.origin in {Origin.GUARD, Origin.OPERATOR}}.values():
        name = f"cause: {halt.owner}{f' {halt.target}' if halt.target else ''}"
        if halt.origin is Origin.OPERATOR:
            yield Line(name, True, f"“{halt.reason}”: yours to judge; your reason is recorded")
        elif halt.owner == _SLIPPAGE:
            yield _spread(tx, name, halt.target)
        elif halt.owner.startswith("drawdown_"):
            yield _drawdown(tx, name, halt.owner, usage.get("drawdown_halt_percent"))
        elif halt.owner != _LOSS:
            yield Line(name, True, "resuming acknowledges it; it counts anew from here")


def _drawdown(tx: Journal | Transaction, name: str, owner: str, used: str | None) -> Line:
    mend = f"Raise {owner}, or override: the peak then counts from here."
    limit = _limit(tx, owner)
    if used is None or limit is None:
        return Line(name, limit is None, "the limit is off" if limit is None else "the fall is unknown", mend)
    holds = Decimal(used) < limit
    return Line(name, holds, f"{used}% below the peak, limit {limit}%", "" if holds else mend)


def _spread(tx: Journal | Transaction, name: str, symbol: str) -> Line:
    """Half the symbol's spread, what a market order pays at once, is inside the slippage limit again."""
    limits = [v for v in (_limit(tx, _SLIPPAGE), _limit(tx, _SLIPPAGE, f"symbol:{symbol}")) if v is not None]
    row = tx.one("SELECT bid, ask FROM marks WHERE symbol = ?", (symbol,))
    if not limits:
        return Line(name, True, "the limit is off")
    if row is None or not (row["bid"] and row["ask"] and 0 < Decimal(row["bid"]) <= Decimal(row["ask"])):
        return Line(name, False, "no usable quote", f"athena start-market-data {symbol}")
    bid, ask = Decimal(row["bid"]), Decimal(row["ask"])
    half = (ask - bid) / (ask + bid) * 10_000
    holds = half < min(limits)
    return Line(
        name, holds, f"half the spread is {half:.1f} bps of {min(limits)}", "" if holds else "Wait for the spread."
    )


def _limit(tx: Journal | Transaction, name: str, target: str = "") -> Any:
    """A limit as it stands for a target; its default for everything, None for an override that nobody set."""
    row = tx.one("SELECT value FROM limits WHERE name = ? AND target = ?", (name, target))
    if row is not None:
        found: Value = parse(name, json.loads(row["value"]))
        return found
    return None if target else LIMITS[name].default


def shown(lines: tuple[Line, ...]) -> str:
    """The lines that fail, in one sentence."""
    return "; ".join(f"{line.name}: {line.seen}" for line in lines if not line.holds)
