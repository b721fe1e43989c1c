"""Market open (9:30): may orders pass, do quotes flow, are strategies, metrics and alerts watching?"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from urllib.error import URLError
from urllib.request import urlopen

from athena.analysis import style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.analysis.checklist import Question
from athena.analysis.tables import Column
from athena.errors import AthenaError
from athena.journal.codec import from_text
from athena.playbooks.books import checks, lists, market, pictures
from athena.playbooks.books.asking import Ask, day_of
from athena.playbooks.books.market_volatility import QUESTIONS as MARKET_QUESTIONS
from athena.playbooks.books.market_volatility import latest
from athena.playbooks.books.pre_market import strategies
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answers as with_answers
from athena.playbooks.books.telling import table

TITLE, NAME = "Market-open checklist", "market_open"
QUESTIONS = {
    "machine": "Is the system trading, and watched?",
    "operator": "What only you can say?",
    "quotes": MARKET_QUESTIONS["quotes"],
    "strategies": "Which strategies trade what?",
    "pnl": "Is profit and loss tracked in real time?",
}
ASKED = (
    Question(
        "dashboard",
        "Is the Prometheus dashboard open and showing today?",
        "Grafana or Prometheus, `athena_daily_pnl_dollars`.",
    ),
    Question("alerts", "Do the alert channels reach you?", "Send a test alert, and see it arrive."),
    Question("logs", "Does the log aggregation receive the engine's log?", "The engine's log file, or its collector."),
)
METRICS_SECONDS = 2.0
PNL_SECONDS = 60.0
LOG_SECONDS = 600.0


@with_answers(TITLE, QUESTIONS)
def assess(system: System, answers: str = "") -> Assessment:
    """The checklist of today; `answers` are journaled."""
    tracked, pnl = _pnl(system)
    machine = [
        checks.engine(system),
        checks.guard_free(system),
        _vouched(system),
        _day_opened(system),
        checks.venue(system),
        checks.streams(system),
        checks.market_data(system),
        checks.reconciled(system),
        strategies(system),
        _metrics(system),
        tracked,
        _log(system),
    ]
    symbols = sorted(set(system.settings.symbols))
    sections = {"quotes": latest(system, symbols), "strategies": _trading(system), "pnl": pnl}
    return lists.settle(TITLE, NAME, QUESTIONS, system, machine, ASKED, answers, sections, {})


def ask(system: System) -> Ask:
    """The questions, to be answered here."""
    return Ask(system, NAME, ASKED)


def _vouched(system: System) -> Finding:
    """The flag lets orders pass: acknowledged, and the engine's guardian vouches."""
    check, rule = "Do the execution guards let orders pass?", "flag acknowledged, guardian's lease standing"
    flag = system.flag()
    if flag is None:
        reason = "There is no guard flag on this machine: nothing passes."
        return Finding(
            check, Verdict.ATTENTION, "no flag", rule, reason, "`athena engine`, then `athena resume REASON`."
        )
    try:
        passes, lease = flag.allows(), flag.lease_seconds
    finally:
        flag.close()
    if passes:
        return Finding(check, Verdict.OK, f"orders pass, lease {lease:.1f} s", rule)
    why = "its lease has run out" if lease <= 0 else "a halt is not acknowledged"
    return Finding(
        check,
        Verdict.ATTENTION,
        "refusing",
        rule,
        f"The guard refuses every order: {why}.",
        "Run the playbook `trading_halt`, then `athena resume REASON`.",
    )


def _day_opened(system: System) -> Finding:
    """Today's opening equity is recorded: the base of the daily loss limit."""
    check, rule, day = "Is the trading day opened?", "an opening equity for today", day_of(system)
    row = system.journal.one(
        "SELECT opening_equity, opened_at FROM trading_days WHERE trading_date = ?", (day.isoformat(),)
    )
    if row is None:
        return Finding(
            check,
            Verdict.ATTENTION,
            "no",
            rule,
            f"{day} has no opening equity yet.",
            "The engine opens it; see the engine.",
        )
    return Finding(check, Verdict.OK, f"{day}: {style.dollars(float(row['opening_equity']))}", rule)


def _metrics(system: System) -> Finding:
    """The exporter answers."""
    url = f"http://127.0.0.1:{system.settings.metrics_port}/metrics"
    check, rule = "Are metrics served?", f"{url} within {METRICS_SECONDS:.0f} s"
    begun = time.monotonic()
    try:
        with urlopen(url, timeout=METRICS_SECONDS) as answer:
            lines = [line for line in answer.read(2_000_000).splitlines() if line.startswith(b"athena_")]
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        return Finding(
            check,
            Verdict.ATTENTION,
            "no answer",
            rule,
            f"Metrics are not served: {why}.",
            "`athena engine` serves them.",
        )
    if not lines:
        return Finding(
            check,
            Verdict.ATTENTION,
            "no athena_ series",
            rule,
            "Another program answers there.",
            "Change metrics_port.",
        )
    return Finding(check, Verdict.OK, f"{len(lines)} series in {(time.monotonic() - begun) * 1000:.0f} ms", rule)


def _pnl(system: System) -> tuple[Finding, Section]:
    """Equity is recorded as it happens."""
    check, rule = "Is P&L tracked in real time?", f"an equity point within {PNL_SECONDS:.0f} s"
    row = system.journal.one(
        "SELECT e.at FROM equity q JOIN events e USING (sequence) ORDER BY q.sequence DESC LIMIT 1"
    )
    if row is None:
        finding = Finding(check, Verdict.UNKNOWN, "no equity", rule, "No equity was recorded yet.", "`athena engine`.")
        return finding, Section(QUESTIONS["pnl"], "Not known. No equity was recorded yet.")
    age = (datetime.now(UTC) - from_text(row["at"])).total_seconds()
    seen = f"the latest {style.span(age)} old"
    fresh = age <= PNL_SECONDS
    reason = "" if fresh else f"The latest equity point is {style.span(age)} old."
    finding = Finding(
        check, Verdict.OK if fresh else Verdict.ATTENTION, seen, rule, reason, "See the engine and the streams."
    )
    day = system.day
    today = market.equity_of(system, day)
    draw = partial(pictures.curve, today, "Equity, $") if len(today) > 1 else None
    return finding, Section(QUESTIONS["pnl"], f"{day}: {len(today)} points; {seen}.", (), draw)


def _log(system: System) -> Finding:
    """The engine's log file grows."""
    check, rule = "Is the engine's log written?", f"within {LOG_SECONDS / 60:.0f} min"
    path = system.path.parent / "engine.log"
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        reason = f"There is no log at {path}: it goes elsewhere, or nowhere."
        return Finding(check, Verdict.UNKNOWN, "no file", rule, reason, "See where the engine's output goes.")
    if age <= LOG_SECONDS:
        return Finding(check, Verdict.OK, f"{style.span(age)} ago", rule)
    return Finding(
        check,
        Verdict.ATTENTION,
        f"{style.span(age)} ago",
        rule,
        f"The log was last written {style.span(age)} ago.",
        "See whether the engine lives.",
    )


def _trading(system: System) -> Section:
    running = system.heartbeat()[1].get("strategies") or {}
    try:
        from athena.live.strategies import make_strategies

        configured = {one.name: ", ".join(one.symbols) for one in make_strategies(system.settings)}
    except AthenaError as error:
        configured = {}
        words = f"The settings cannot be used: {error.message}"
    else:
        words = (
            "Running is by the engine's last heartbeat."
            if system.alive
            else "The engine is not running; this is what it last ran."
        )
    names = sorted({*running, *configured})
    rows = [[name, ", ".join(running.get(name, [])) or "no", configured.get(name, "no")] for name in names]
    columns = [Column("name", "Strategy"), Column("running", "Running on"), Column("configured", "Configured for")]
    return Section(QUESTIONS["strategies"], words, (table("Strategies", rows, *columns, empty="None."),))
