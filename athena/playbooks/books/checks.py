"""What a machine can know of a live system now, each a finding; what cannot be seen is UNKNOWN, never OK."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from athena.analysis import style
from athena.analysis.assessment import Finding, Verdict
from athena.errors import AthenaError
from athena.live import vitals
from athena.model import Mode, Origin
from athena.playbooks.books.system import System

OK, ATTENTION, STOP, UNKNOWN = Verdict.OK, Verdict.ATTENTION, Verdict.STOP, Verdict.UNKNOWN


def engine(system: System) -> Finding:
    """The engine gives signs of life; with positions or open orders its silence is a STOP."""
    check, rule = "Is the engine alive?", f"a heartbeat within {vitals.STALE_SECONDS:.0f} s"
    age, details = system.heartbeat()
    if system.alive:
        return Finding(check, OK, system.engine_words, rule, inputs={"age": age})
    at_risk = exposed(system)
    words = system.engine_words
    if not at_risk:
        return Finding(
            check, ATTENTION, words, rule, f"The engine is {words}; nothing trades.", "Start it: `athena engine`."
        )
    reason = f"The engine is {words}, and nobody watches {at_risk}."
    if details.get("state") == "stopped" and details.get("session") == "closed":
        return Finding(check, ATTENTION, words, rule, reason, "Start it before the session opens: `athena engine`.")
    return Finding(check, STOP, words, rule, reason, "Start it: `athena engine`; it starts halted and reconciles.")


def exposed(system: System) -> str:
    """What is at risk in the market, in words; "" when nothing is."""
    try:
        held = len(system.portfolio().positions())
    except AthenaError:
        held = 0
    orders = len(system.open_orders())
    parts = [f"{n} {name}{'s' * (n != 1)}" for n, name in ((held, "position"), (orders, "open order")) if n]
    return " and ".join(parts)


def streams(system: System) -> Finding:
    """The engine's connection to the venue, by its heartbeat."""
    check, rule = "Is the broker connected?", "connected, heard within 5 s"
    age, details = system.heartbeat("broker")
    if age is None:
        return Finding(check, UNKNOWN, "never", rule, "No engine has connected yet.", "Start it: `athena engine`.")
    state = str(details.get("state", "unknown"))
    if age > vitals.STALE_SECONDS or not system.alive:
        reason = f"The connection was last heard of {style.span(age)} ago ({state})."
        return Finding(check, UNKNOWN, f"not known, last {state}", rule, reason, "Start the engine: `athena engine`.")
    seen = ", ".join(f"{name} {word}" for name, word in details.get("streams", {}).items()) or state
    if state == "connected":
        return Finding(check, OK, seen, rule, inputs={"age": age})
    streams = details.get("streams", {})
    why = {name: told for name, told in details.get("reasons", {}).items() if streams.get(name) != "connected"}
    reasons = "".join(f" {name[:1].upper()}{name[1:]}: {told.rstrip('.')}." for name, told in why.items())
    reason = f"The broker is not connected ({state}).{reasons}"
    return Finding(check, STOP, seen, rule, reason, "Run the playbook `broker_disconnection`.")


def venue(system: System) -> Finding:
    """The venue answers this process."""
    check, rule = "Does the venue answer?", "its clock, within 8 s"
    begun = datetime.now(UTC)
    try:
        clock = system.ask(lambda broker: broker.get_clock())
    except AthenaError as error:
        return Finding(
            check,
            UNKNOWN,
            "no answer",
            rule,
            f"The venue could not be asked: {error.message}",
            "`athena check-brokers`.",
        )
    took = (datetime.now(UTC) - begun).total_seconds()
    market = "open" if clock.is_open else f"closed, opens {style.moment(clock.next_open)}"
    return Finding(
        check, OK, f"{style.clock(clock.at)}, market {market}", rule, inputs={"seconds": took, "open": clock.is_open}
    )


def market_data(system: System) -> Finding:
    """Quotes are young. With the market closed their age means nothing."""
    check, rule = "Are quotes fresh?", f"the newest within {vitals.QUOTES_STALE_SECONDS:.0f} s"
    heard = vitals.quotes(system.journal)
    if heard is None:
        return Finding(check, UNKNOWN, "no quote", rule, "No quote was ever received.", "`athena start-market-data`.")
    age = heard.age_seconds
    seen = f"{heard.symbols} symbols, newest {style.span(age)} old"
    if heard.fresh:
        return Finding(check, OK, seen, rule, inputs={"age_seconds": age})
    closed = system.heartbeat()[1].get("session") == "closed"
    verdict = UNKNOWN if not system.alive else ATTENTION
    reason = f"The newest quote is {style.span(age)} old{', and the market is closed' if closed else ''}."
    return Finding(check, verdict, seen, rule, reason, "`athena start-market-data`, and see the streams.")


def reconciled(system: System) -> Finding:
    """Journal and venue agreed, lately."""
    check, rule = "Do our books agree with the venue's?", f"agreed within {vitals.BOOKS_STALE_SECONDS:.0f} s"
    last = vitals.books(system.journal)
    if last is None:
        return Finding(check, UNKNOWN, "never", rule, "Journal and venue were never compared.", "`athena reconcile`.")
    age, seen = last.age_seconds, f"{len(last.breaks)} break{'s' * (len(last.breaks) != 1)}"
    if not last.ok:
        reason = f"Journal and venue disagree ({last.differences})."
        return Finding(check, STOP, seen, rule, reason, "Read the evidence: `athena broker-reconciliation`.")
    if not last.fresh:
        reason = f"They agreed {style.span(age)} ago; nothing is known since."
        return Finding(check, UNKNOWN, f"agreed {style.span(age)} ago", rule, reason, "`athena reconcile`.")
    return Finding(check, OK, f"agreed {style.span(age)} ago", rule, inputs={"age_seconds": age})


def guard_free(system: System, *, worst: Verdict = STOP) -> Finding:
    """No halt stands. `worst`: what a halt of everything but a start's is, where another question is asked."""
    check, rule = "Is trading free of halts?", "no halt stands"
    halts = list(system.halts())
    if not halts:
        return Finding(check, OK, "no halt", rule)
    everything = [halt for halt in halts if halt.scope == "global" and halt.mode is Mode.HALTED]
    started = [halt for halt in everything if halt.origin is Origin.STARTUP]  # as every start does: nothing is wrong
    modes = [(f"{halt.where} {halt.mode.value.replace('_', '-')}", halt) for halt in halts[:3]]
    told = "; ".join(f"{what}: {halt.reason} ({halt.owner})" for what, halt in modes)
    seen = f"{len(halts)} halt{'s' * (len(halts) != 1)}"
    reason = f"{told[:1].upper()}{told[1:]}."
    action = "Run the playbook `trading_halt`." if halts != started else "Check positions, then `athena resume REASON`."
    verdict = worst if everything != started else ATTENTION
    return Finding(check, verdict, seen, rule, reason, action, {"halts": len(halts)})


def usage(system: System) -> dict[str, str]:
    """How much of each measured limit is used, folded from the journal."""
    from athena.live.guard_load import load_book
    from athena.live.guard_status import usage_of

    return usage_of(load_book(system.journal))


def limits_used(system: System, near: float = 0.8) -> Finding:
    """No measured limit is nearly used up."""
    check, rule = "Is there room below every limit?", f"below {near:.0%} of each"
    limits, used = system.limits(), usage(system)
    shares = {
        name: Decimal(seen) / Decimal(limits[name])
        for name, seen in used.items()
        if isinstance(limits.get(name), Decimal | int) and not isinstance(limits[name], bool) and limits[name]
    }
    if not shares:
        return Finding(
            check, UNKNOWN, "nothing measured", rule, "No limit's use is known.", "Start the engine: `athena engine`."
        )
    worst = max(shares, key=lambda name: shares[name])
    share, seen = float(shares[worst]), f"{worst} {float(shares[worst]):.0%} used"
    inputs: dict[str, Any] = {name: float(value) for name, value in shares.items()}
    if share < near:
        return Finding(check, OK, seen, rule, inputs=inputs)
    verdict = STOP if share >= 1 else ATTENTION
    return Finding(
        check,
        verdict,
        seen,
        rule,
        f"{seen[:1].upper()}{seen[1:]}.",
        "Reduce first, or change the limit on the record: `athena limits`.",
        inputs,
    )


def violations(system: System, codes_apart: tuple[str, ...] = ("GUARD_HALTED", "REDUCE_ONLY")) -> Finding:
    """No violation today but orders sent during a halt, which are the halt's own doing."""
    check, rule, day = "Are there guard violations today?", "none, those of a halt aside", system.day
    if day is None:
        return Finding(
            check,
            UNKNOWN,
            "no trading day",
            rule,
            "No trading day was opened yet.",
            "Start the engine: `athena engine`.",
        )
    rows = system.journal.query(
        "SELECT code, SUM(times) n FROM violations WHERE trading_date = ? GROUP BY code", (day.isoformat(),)
    )
    counts = {row["code"]: row["n"] for row in rows if row["code"] not in codes_apart}
    if not counts:
        return Finding(check, OK, "none", rule)
    told = ", ".join(f"{code} × {n}" for code, n in sorted(counts.items(), key=lambda item: -item[1]))
    return Finding(
        check,
        ATTENTION,
        told,
        rule,
        f"The guard refused or acted today: {told}.",
        "Run the playbook `guard_review`.",
        counts,
    )


def disk(system: System) -> Finding:
    """The journal has room to grow."""
    check, rule = "Is there room on the disk?", f"{vitals.DISK_FREE_MEGABYTES_MIN} MB free"
    free = vitals.disk_free_megabytes(system.path.parent)
    seen = f"{free:,.0f} MB free"
    if free > vitals.DISK_FREE_MEGABYTES_MIN:
        return Finding(check, OK, seen, rule)
    return Finding(
        check, STOP, seen, rule, f"The disk of the journal has {seen}.", f"Free some space at {system.path.parent} now."
    )


def settled(system: System) -> Finding:
    """No order's end is unknown."""
    check, rule = "Is every order's fate known?", "none intended or unknown"
    rows = system.journal.query("SELECT client_order_id, symbol FROM orders WHERE status IN ('intended', 'unknown')")
    if not rows:
        return Finding(check, OK, "all known", rule)
    names = ", ".join(sorted({row["symbol"] for row in rows}))
    reason = f"{len(rows)} orders ({names}) have no known answer of the venue."
    return Finding(check, STOP, f"{len(rows)} unknown", rule, reason, "Ask the venue: `athena reconcile-orders`.")
