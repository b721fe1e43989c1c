"""The start of an engine, in its safe order: halt, verify the journal, listen, compare, report, then wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from athena.core.portfolio import Portfolio
from athena.live.execution_guard import Halt
from athena.live.guard_flag import S
from athena.live.reconciliation import JOURNAL, Break
from athena.live.startup import bind_account, check_account, fail_stale_commands, journal_start
from athena.live.startup_report import LastRun, StartupReport, Verified, last_run, verify_tail
from athena.live.symbols import refuse, wrong_symbols
from athena.model import Origin

if TYPE_CHECKING:
    from athena.live.runner import Runner


async def start(runner: Runner) -> StartupReport:
    """Bring the engine up; trading stays halted whatever comes out.

    Raises SettingsError (another account, a symbol the venue does not have), JournalError, BrokerError.
    """
    engine, broker, journal, begun = runner.engine, runner.engine.broker, runner.engine.journal, time.monotonic()
    settings, last = engine.settings, last_run(journal)
    known = journal.one("SELECT 1 FROM account") is not None
    if known:  # a journal with an account has something to protect: halted before anyone is asked anything
        _halt(runner, last)
    verified = await verify_tail(journal, settings)
    _doubt(runner, verified)
    account = await broker.get_account()
    check_account(journal, settings, account)
    runner.account_number = account.account_number
    await runner.read_clock()
    await _check_symbols(runner)
    await broker.connect(engine.process)
    if not known:
        account = await bind_account(journal, settings.venue, broker, engine.clock.now())
        _halt(runner, last)
    halted = time.monotonic() - begun
    engine.portfolio = Portfolio.from_journal(journal)
    engine.guard.on_account(account)
    if engine.session.reading is not None:
        engine.guard.on_clock(engine.session.reading)
    engine.load()
    journal_start(journal, settings, runner.speed, engine.clock.now(), clean=last.clean)
    engine.guard.start_guardian()
    fail_stale_commands(journal)
    await runner.subscribe(runner.wanted())
    unanswered = engine.book.unanswered()
    for tracked in unanswered:
        engine.resolve(tracked, at_start=True)
    outcome = await runner.looker.look("start")
    engine.open_gates()
    halts = tuple(str(halt) for halt in engine.guard.halts())
    took = time.monotonic() - begun
    report = StartupReport(last, verified, outcome, halts, len(unanswered), settings.safe_mode, halted, took)
    journal.append("note", report.payload(), engine.clock.now())
    return report


def _halt(runner: Runner, last: LastRun) -> Halt:
    """Become the engine's guard. The lock is ours: whoever was sending is dead, and nobody need wait for him."""
    guard = runner.engine.guard
    sending = guard.flag.words[S] != 0
    guard.flag.words[S] = 0
    reason = "the engine started"
    if not last.clean:
        reason += f" after a crash: {last}" + ("; it died while sending an order" if sending else "")
    runner.halt = guard.start(reason=reason)
    runner.engine.guarded = True
    return runner.halt


def _doubt(runner: Runner, verified: Verified) -> None:
    """A broken journal halts with its own reason, and no comparison counts as agreeing while this engine runs."""
    if verified.ok:
        return
    engine = runner.engine
    evidence = verified.problem[:400]
    engine.reconciler.doubts = (Break(JOURNAL, "", "", "", evidence, "restore a snapshot: athena snapshot --list"),)
    if engine.guarded:
        engine.guard.halt(f"the journal is broken: {evidence}", origin=Origin.GUARD, owner="journal")


async def _check_symbols(runner: Runner) -> None:
    """Refuse to start on symbols the venue does not trade; in safe mode, where nothing is ordered, say so."""
    engine = runner.engine
    wrong = await wrong_symbols(engine.broker, engine.settings, engine.strategies)
    if not engine.settings.safe_mode:
        refuse(wrong)
    for one in wrong:
        runner.announce(f"safe mode goes on although {one}")
    runner.wrong_symbols = {one.symbol for one in wrong}
