"""After a crash: what is damaged, is it safe to restart, and did the recovery work?"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.tables import Column
from athena.errors import AthenaError
from athena.journal import Journal
from athena.journal.audit import verify
from athena.journal.codec import decode, from_text
from athena.journal.head import check_heads
from athena.journal.journal import RARE
from athena.live.vitals import books
from athena.playbooks.books import checks, market, pictures
from athena.playbooks.books.acting import Plan, Truth, own_settings, phrase
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answer, answers, table
from athena.playbooks.books.trading_halt import agree, exposure
from athena.playbooks.books.venue_truth import compare

TITLE = "Crash recovery"
QUESTIONS = {
    "steps": "Which step is next?",
    "damage": "What happened, and when?",
    "journal": "Does the journal hold?",
    "truth": "Are orders, fills, positions and cash what the venue says?",
    "exposure": "What is at risk meanwhile?",
}
VERIFY_EVENTS_MAX = 300_000  # more are verified by `athena verify-journal`, which may take its time
RECONCILE_SECONDS = 60.0


@answers(TITLE, QUESTIONS)
def assess(system: System) -> Assessment:
    """Damage, safety of a restart and its validation, as the operators' three steps."""
    crashed = _crashed(system)
    held, journal = holds(system, QUESTIONS["journal"])
    truth, told, _ = compare(system, QUESTIONS["truth"])
    unsettled = checks.settled(system)
    since = _reconciled_since_start(system)
    guarded = agree(system)
    one = [crashed, held, unsettled, truth, guarded]
    two = [checks.engine(system), checks.streams(system), checks.guard_free(system, worst=Verdict.ATTENTION)]
    three = [since, checks.market_data(system)] if system.alive else [since]
    findings = [*one, *two, *three]
    sections = {
        "steps": _steps(one, two, three),
        "damage": _damage(system),
        "journal": journal,
        "truth": told,
        "exposure": exposure(system, QUESTIONS["exposure"])[0],
    }
    numbers = {"events": system.sequence, "clean_stop": crashed.verdict is Verdict.OK}
    return answer(
        TITLE,
        QUESTIONS,
        system,
        findings,
        sections,
        numbers,
        "Nothing is damaged: journal and venue agree, and the engine runs.",
    )


def plan(system: System) -> Plan:
    """Having the restarted engine reconcile now; it repairs what is certain, and halts what is not."""
    title = "Reconcile with the venue."
    again = partial(assess, system)
    if blocked := own_settings(system):
        return Plan(title, (), "", tuple, lambda: Truth(False, ()), again, blocked)
    effect = (
        "The engine compares orders, fills, positions and cash with the venue.",
        "What is certain is repaired by new events; a symbol whose truth is not certain is halted. No order is sent.",
    )
    start = "athena engine --safe-mode"
    blocked = "" if system.alive else f"no engine is running ({system.engine_words}). Start it: {start}."
    last = books(system.journal)
    before = last.sequence if last else 0
    # What the engine finds each minute must not change the phrase while it is typed: only what it says does.
    state = (system.engine_words, last.ok, last.differences) if last else (system.engine_words,)

    def do() -> list[str]:
        from athena.live.commands import request_sync

        with Journal.open(system.path, f"operator {system.settings.operator}") as journal:
            return [repr(request_sync(journal, "reconcile", timeout=RECONCILE_SECONDS))]

    def read() -> Truth:
        found = books(system.journal)
        if found is None or found.sequence <= before:
            return Truth(False, ("Read back: no reconciliation was journaled.",))
        told = "the books agree" if found.ok else f"breaks remain: {found.differences}"
        return Truth(found.ok, (f"Read back: {told}.",))

    return Plan(title, effect, phrase("reconcile", *state), do, read, again, blocked)


def holds(system: System, question: str) -> tuple[Finding, Section]:
    """The journal's pages, chain, tables and recorded heads."""
    check, rule = "Does the journal hold?", "chain unbroken, tables equal the events, no tail lost"
    count = system.sequence
    rows: list[list[Any]] = []
    try:
        heads = check_heads(system.journal, system.settings)
        rows.append(
            [
                "OK" if heads.ok and heads.last else "ATTENTION" if heads.ok else "STOP",
                "heads recorded outside",
                str(heads),
            ]
        )
        if count <= VERIFY_EVENTS_MAX:
            told = verify(system.path)
            rows.append(["OK" if told.ok else "STOP", "pages, chain and tables", str(told)])
        else:
            rows.append(["UNKNOWN", "pages, chain and tables", f"{count:,} events: run `athena verify-journal`"])
    except AthenaError as error:
        rows.append(["STOP", "reading it through", error.message])
    columns = [Column("verdict", ""), Column("what", "Check"), Column("seen", "Seen")]
    section = Section(question, f"{count:,} events in {system.path}.", (table("Journal", rows, *columns),))
    wrong = [row for row in rows if row[0] == "STOP"]
    if wrong:
        action = (
            "Stop the engine; restore a snapshot into a new file: `athena snapshot --list`, `athena restore-snapshot`."
        )
        return Finding(check, Verdict.STOP, "no", rule, f"The journal is damaged: {wrong[0][2]}", action), section
    if any(row[0] == "UNKNOWN" for row in rows):
        return Finding(
            check,
            Verdict.UNKNOWN,
            "not read through",
            rule,
            f"{count:,} events were not read through here.",
            "`athena verify-journal`.",
        ), section
    return Finding(check, Verdict.OK, f"{count:,} events hold", rule), section


def _crashed(system: System) -> Finding:
    """The last engine stopped in good order, or still runs."""
    check, rule = "Did the engine stop in good order?", "running, or stopped by its own word"
    row = system.journal.one(
        "SELECT kind, at, payload FROM events WHERE kind IN ('engine.started', 'engine.stopped')"
        f" AND {RARE} ORDER BY sequence DESC LIMIT 1"
    )
    if row is None:
        return Finding(
            check, Verdict.UNKNOWN, "never ran", rule, "No engine ever ran on this journal.", "`athena engine`."
        )
    if row["kind"] == "engine.stopped":
        return Finding(check, Verdict.OK, f"stopped {from_text(row['at']):%Y-%m-%d %H:%M:%S} UTC", rule)
    if system.alive:
        if decode(row["payload"]).get("clean", True):
            return Finding(check, Verdict.OK, system.engine_words, rule)
        reason = "The running engine was started after a crash of the one before."
        return Finding(
            check, Verdict.ATTENTION, "restarted after a crash", rule, reason, "Check what follows before resuming."
        )
    age, _ = system.heartbeat()
    heard = "never heard of" if age is None else f"last heard of {style.span(age)} ago"
    reason = f"The engine started {from_text(row['at']):%Y-%m-%d %H:%M:%S} UTC and never said that it stopped; {heard}."
    return Finding(check, Verdict.STOP, "crashed", rule, reason, "Start it in safe mode: `athena engine --safe-mode`.")


def _reconciled_since_start(system: System) -> Finding:
    """Books agreed after the last start."""
    check, rule = "Did the books agree since the last start?", "a clean reconciliation after it"
    started = system.journal.one(f"SELECT max(at) FROM events WHERE kind = 'engine.started' AND {RARE}")
    row = system.journal.one("SELECT at, ok FROM reconciliations ORDER BY sequence DESC LIMIT 1")
    if row is None or not started or not started[0] or row["at"] < started[0]:
        return Finding(
            check,
            Verdict.UNKNOWN,
            "not yet",
            rule,
            "Nothing was compared with the venue since the last start.",
            "`athena reconcile`.",
        )
    if not row["ok"]:
        return Finding(
            check,
            Verdict.STOP,
            "they differ",
            rule,
            "The last reconciliation found breaks.",
            "`athena broker-reconciliation`.",
        )
    return Finding(check, Verdict.OK, f"{from_text(row['at']):%H:%M:%S} UTC", rule)


_WAYS = (
    ("1 Assess damage", "`athena reconcile-orders`, `athena position-reconciliation`, `athena guard-state-check`"),
    ("2 Restart safely", "`athena engine --safe-mode`, `athena broker-connection-test`, `athena gradual-restart`"),
    ("3 Validate", "`athena e2e-test`, metrics on port 8090, `athena test-guards`"),
)


def _steps(*groups: list[Finding]) -> Section:
    """The operators' steps in order; the first that is not done is next."""
    rows, reached = [], False
    for (name, commands), findings in zip(_WAYS, groups, strict=True):
        worst = max(findings, key=lambda finding: finding.verdict.severity)
        done = worst.verdict is Verdict.OK
        rows.append(
            ["" if done or reached else "▶", worst.verdict.value, name, "done" if done else worst.reason, commands]
        )
        reached = reached or not done
    columns = [
        Column("next", "Next"),
        Column("verdict", ""),
        Column("step", "Step"),
        Column("why", "Stands at"),
        Column("how", "Commands"),
    ]
    return Section(
        QUESTIONS["steps"],
        "The arrow marks the first step that is not done.",
        (table("Recovery, step by step", rows, *columns, cards=True),),
    )


def _damage(system: System) -> Section:
    rows = []
    kinds = (
        "engine.started",
        "engine.stopped",
        "halt.set",
        "halt.cleared",
        "reconciliation",
        "broker.state",
        "command.finished",
    )
    events = list(system.journal.events(kinds=kinds))[-20:]
    for event in events[::-1]:
        said = event.payload
        words = said.get("reason") or said.get("state") or said.get("trigger") or said.get("status") or ""
        rows.append([event.at, event.kind, event.actor, str(words)[:160]])
    columns = [Column("at", "At", style.moment), Column("kind", "What"), Column("who", "Who"), Column("words", "Words")]
    beat = system.heartbeat()[0]
    silent = "never heard of" if beat is None else f"heard of {style.span(beat)} ago"
    today = market.equity_of(system, system.day)
    draw = partial(pictures.curve, today, "Equity, $") if len(today) > 1 else None
    words = f"Engine {silent}, now {datetime.now(UTC):%H:%M:%S} UTC. The curve ends where the record does."
    return Section(
        QUESTIONS["damage"],
        words,
        (table("The last of the engine's life, latest first", rows, *columns, cards=True),),
        draw,
    )
