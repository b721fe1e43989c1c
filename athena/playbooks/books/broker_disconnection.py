"""The broker is gone: for how long, is it us or them, what is at risk, and can it be reconnected?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.core.decisions import Decision, Row, Severity
from athena.errors import AthenaError
from athena.journal import Journal
from athena.journal.codec import from_text
from athena.model import NEW_YORK
from athena.playbooks.books import checks, pictures, prometheus
from athena.playbooks.books.acting import Plan, Truth, own_settings, phrase
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, matrix, of_decision, table
from athena.playbooks.books.trading_halt import exposure
from athena.playbooks.books.venue_truth import compare

TITLE = "Broker disconnection"
QUESTIONS = {
    "matrix": "What does the playbook say?",
    "streams": "What is connected, and for how long?",
    "reach": "Is it us, or them?",
    "truth": "Are our orders and positions still what we think?",
    "exposure": "What is at risk meanwhile?",
    "history": "How often before, and what did the metrics say around the last?",
}
ESCALATE_SECONDS = 30
RECONNECT_SECONDS = 30.0
ROWS = (
    Row("connected", "connected", Severity.OK, "Nothing: reconcile if it was gone. `athena reconcile`."),
    Row(
        "short",
        f"gone for up to {ESCALATE_SECONDS} s",
        Severity.ATTENTION,
        "Wait: the engine reconnects by itself. Review open orders.",
        "it reconnects, reconciles, and lifts its own halt",
    ),
    Row(
        "long",
        f"gone for more than {ESCALATE_SECONDS} s",
        Severity.STOP,
        "Close all positions by hand at the broker's web page; if that cannot be done, call the broker's support now.",
        "everything halts (max_disconnect_seconds)",
    ),
    Row(
        "flat",
        f"gone for more than {ESCALATE_SECONDS} s, nothing held or open",
        Severity.ATTENTION,
        "Nothing is at risk. Find out why: network, key, the broker's status page.",
        "everything halts (max_disconnect_seconds)",
    ),
    Row(
        "unknown",
        "not known: the engine is silent",
        Severity.UNKNOWN,
        "Start the engine (`athena engine`), or look at the broker's own page.",
    ),
)


@answers(TITLE, QUESTIONS)
def assess(system: System) -> Assessment:
    """The connection by the engine's word and by asking from here, with what is at risk."""
    decided, gone = _decide(system)
    reach, answered = _reach(system)
    truth, told, _ = compare(system, QUESTIONS["truth"])
    findings = [
        of_decision("Is the broker connected?", decided),
        answered,
        checks.engine(system),
        truth,
        checks.settled(system),
    ]
    sections = {
        "matrix": Section(
            QUESTIONS["matrix"], f"{decided.subject[:1].upper()}{decided.subject[1:]}.", (matrix([decided]),)
        ),
        "streams": _streams(system),
        "reach": reach,
        "truth": told,
        "exposure": exposure(system, QUESTIONS["exposure"])[0],
        "history": _history(system),
    }
    return answer(
        TITLE,
        QUESTIONS,
        system,
        findings,
        sections,
        {"gone_seconds": gone},
        "The broker is connected, and says the same as the journal.",
    )


def plan(system: System) -> Plan:
    """Having the engine reconnect and reconcile, then reading the state back."""
    title = "Reconnect the broker, then reconcile."
    again = partial(assess, system)
    if blocked := own_settings(system):
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, blocked)
    state = str(system.heartbeat("broker")[1].get("state", "unknown"))
    effect = (
        f"The engine drops its streams (now {state}) and opens them again; quotes and order updates pause meanwhile.",
        "Then it compares orders, fills, positions and cash with the venue.",
        "No order is sent; no halt of an operator is lifted.",
    )
    blocked = "" if system.alive else f"no engine is running ({system.engine_words}). Start it: athena engine."

    def do() -> list[str]:
        from athena.live.commands import request_sync

        with Journal.open(system.path, f"operator {system.settings.operator}") as journal:
            first = request_sync(journal, "reconnect", timeout=RECONNECT_SECONDS)
            second = request_sync(journal, "reconcile", timeout=RECONNECT_SECONDS) if first.ok else None
        return [repr(result) for result in (first, second) if result is not None]

    def read() -> Truth:
        state = str(system.heartbeat("broker")[1].get("state", "unknown"))
        row = system.journal.one("SELECT ok, at FROM reconciliations ORDER BY sequence DESC LIMIT 1")
        agree = bool(row and row["ok"])
        lines = (
            f"Read back: the broker is {state}.",
            f"Read back: books {'agree' if agree else 'do not agree, or were not compared'}.",
        )
        return Truth(state == "connected" and agree, lines)

    return Plan(title, effect, phrase("reconnect", state, system.engine_words.split(",")[-1]), do, read, again, blocked)


def _decide(system: System) -> tuple[Decision, float | None]:
    """The playbook's row, and for how many seconds the broker is gone (None: it is not known)."""
    age, said = system.heartbeat("broker")
    rows = {row.key: row for row in ROWS}
    at_risk = checks.exposed(system)
    if age is None or not system.alive:
        # An engine that stopped in good order closed its own connection: that is no disconnection.
        subject = (
            "no engine has connected yet"
            if age is None
            else f"the engine is {system.engine_words}; the connection with it"
        )
        return Decision("Disconnection", subject, rows["unknown"], ROWS, {"at_risk": at_risk}), None
    if said.get("state") == "connected":
        return Decision(
            "Disconnection",
            f"connected for {style.span(float(said.get('uptime_seconds') or 0))}",
            rows["connected"],
            ROWS,
        ), 0.0
    gone = _gone_seconds(system, age)
    key = "short" if gone <= ESCALATE_SECONDS else "long" if at_risk else "flat"
    subject = f"the broker is {said.get('state')} for {style.span(gone)}" + (f", with {at_risk}" if at_risk else "")
    return Decision("Disconnection", subject, rows[key], ROWS, {"gone_seconds": gone, "at_risk": at_risk}), gone


def _gone_seconds(system: System, age: float) -> float:
    """Since the journal says that the broker left; else since the last heartbeat."""
    row = system.journal.one("SELECT at, state FROM broker_states ORDER BY sequence DESC LIMIT 1")
    last = system.journal.one("SELECT max(sequence) FROM broker_states WHERE state = 'connected'")
    if row is None or row["state"] == "connected":
        return age
    left = system.journal.one(
        "SELECT at FROM broker_states WHERE sequence > ? ORDER BY sequence LIMIT 1", ((last and last[0]) or 0,)
    )
    return (datetime.now(UTC) - from_text(left["at"] if left else row["at"])).total_seconds()


def _streams(system: System) -> Section:
    age, said = system.heartbeat("broker")
    if age is None:
        return Section(QUESTIONS["streams"], "Not known. No engine has connected yet.")
    reasons = said.get("reasons", {})
    rows = [[name, state, reasons.get(name)] for name, state in said.get("streams", {}).items()]
    rows.append(["whole", said.get("state"), f"up {style.span(float(said.get('uptime_seconds') or 0))}"])
    words = f"By the engine's heartbeat, {style.span(age)} ago{'' if system.alive else ': the engine is not running'}."
    return Section(
        QUESTIONS["streams"],
        words,
        (table("Streams", rows, Column("name", "Stream"), Column("state", "State"), Column("why", "Why")),),
    )


def _reach(system: System) -> tuple[Section, Finding]:
    """The venue asked from here, over connections of our own: clock, account, and where the answer came from."""
    rows: list[list[Any]] = []
    settings = system.settings
    for name, question in (("clock", lambda b: b.get_clock()), ("account", lambda b: b.get_account())):
        begun = datetime.now(UTC)
        try:
            got = system.ask(question)
            seen, verdict = repr(got)[:90] if name == "clock" else f"{got.account_number} {got.status}", "OK"
            seen = f"{style.moment(got.at)}, market {'open' if got.is_open else 'closed'}" if name == "clock" else seen
        except AthenaError as error:
            seen, verdict = error.message, "STOP"
        rows.append([verdict, name, f"{(datetime.now(UTC) - begun).total_seconds() * 1000:.0f} ms", seen])
    columns = [Column("verdict", ""), Column("name", "Asked"), Column("took", "Took"), Column("seen", "Answer")]
    good = all(row[0] == "OK" for row in rows)
    where = "by the runner for this page" if settings.window_url else f"from here, at {settings.trading_url}"
    words = f"Asked {where}. "
    words += (
        "The venue answers: a broken stream is the engine's or the network's between."
        if good
        else "It does not answer here either: network, key, or the venue itself."
    )
    check, rule = "Does the venue answer from here?", "clock and account"
    if good:
        finding = Finding(check, Verdict.OK, f"in {rows[0][2]}", rule)
    else:
        finding = Finding(
            check,
            Verdict.UNKNOWN,
            "no",
            rule,
            f"The venue does not answer here: {rows[0][3]}",
            "`athena broker-connection-test`; the broker's status page.",
        )
    return Section(QUESTIONS["reach"], words, (table("From here", rows, *columns),)), finding


def _history(system: System) -> Section:
    rows = system.journal.query(
        "SELECT at, broker, state, previous, reason FROM broker_states ORDER BY sequence DESC LIMIT 20"
    )
    shown = [[from_text(row["at"]), row["state"], row["previous"], row["reason"]] for row in rows]
    columns = [
        Column("at", "At", style.moment),
        Column("state", "State"),
        Column("previous", "Before"),
        Column("reason", "Why"),
    ]
    gone = _outages(system)
    draw = (
        partial(pictures.bars, gone, "Seconds until connected again", lines=(ESCALATE_SECONDS,), form=",.1f")
        if gone
        else None
    )
    words = (
        f"{len(gone)} outages that ended; the dotted line is {ESCALATE_SECONDS} s."
        if gone
        else "No outage ended so far."
    )
    metrics = _metrics(system)
    changes = table("Changes, latest first", shown, *columns)
    return Section(QUESTIONS["history"], f"{words} {metrics.reading}", (*metrics.tables, changes), draw)


def _metrics(system: System) -> Section:
    """Prometheus around the latest outage, or of the last minutes where there was none."""
    left = back = None
    for row in system.journal.query("SELECT at, state, previous FROM broker_states ORDER BY sequence"):
        if row["previous"] == "connected" and row["state"] != "connected":
            left, back = from_text(row["at"]), None
        elif row["state"] == "connected" and left is not None and back is None:
            back = from_text(row["at"])
    start = left or datetime.now(UTC) - timedelta(minutes=5)
    wanted = (prometheus.CONNECTED, prometheus.LATENCY, prometheus.FAILED, prometheus.DATA_AGE)
    return prometheus.around(system, "", wanted, start, back)


def _outages(system: System) -> dict[str, float]:
    """Machine seconds from losing the connection to having it again, the latest twelve."""
    found, left = {}, None
    for row in system.journal.query("SELECT at, state, previous FROM broker_states ORDER BY sequence"):
        if row["previous"] == "connected" and row["state"] != "connected":
            left = from_text(row["at"])
        elif row["state"] == "connected" and left is not None:
            found[f"{left.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}"] = (from_text(row["at"]) - left).total_seconds()
            left = None
    return dict(list(found.items())[-12:])
