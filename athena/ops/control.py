"""Commands that act on the live system. `halt` is first and light: its flag is set before the guard is imported."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import AthenaError, EngineNotRunning, SettingsError, did_you_mean
from athena.live.guard_flag import GuardFlag, new_nonce
from athena.model import Mode, Scope

if TYPE_CHECKING:
    from athena.live.execution_guard import ExecutionGuard

FIRST_QUOTES_SECONDS = 5.0


def halt(settings: Settings, arguments: argparse.Namespace) -> int:
    """Stop trading: the flag before anything else is imported, then the journal, then wait for orders on their way."""
    reason = _reason(arguments) or "halted at the command line"
    if arguments.symbol and arguments.strategy:
        raise SettingsError("--symbol and --strategy exclude each other.", "Halt them one after the other.")
    scope = Scope.SYMBOL if arguments.symbol else Scope.STRATEGY if arguments.strategy else Scope.GLOBAL
    target = arguments.symbol or arguments.strategy
    mode = Mode.REDUCE_ONLY if arguments.reduce_only else Mode.HALTED
    nonce = new_nonce()
    if scope is Scope.GLOBAL and mode is Mode.HALTED:
        GuardFlag.open(settings.journal_path).halt(nonce)
    made = _guard(settings).halt(reason, scope=scope, target=target, mode=mode, nonce=nonce)
    what = f"{scope} {target}" if target else "all trading"
    doubt = doubt_of(settings, scope, target)
    if arguments.json:
        facts = {"id": made.id, "scope": scope, "target": target, "mode": made.mode, "reason": made.reason}
        print(json.dumps(facts | {"owner": made.owner, "at": made.at.isoformat(), "clean": made.clean, "doubt": doubt}))
        return 0
    print(f"{made.mode.value.replace('_', '-').upper()}: {what} on {settings.account_name}, by {made.owner}: {reason}")
    print(
        f"  journal row {made.id} at {made.at:%H:%M:%S} UTC; no order on its way" if made.clean else f"  {made.detail}"
    )
    if doubt:
        print(f"  CAREFUL: {doubt}")
    print(f"  next: athena status, then athena resume{f' --{scope} {target}' if target else ''} REASON")
    return 0


def doubt_of(
    settings: Settings, scope: Scope, target: str, so: str = "it may have stopped nothing",
    otherwise: str = "athena halt, without more, stops all.",
) -> str:  # fmt: skip
    """Whether a halt or a limit may hit nothing, because its symbol or strategy is none that this live system has."""
    if not target:
        return ""
    named = {strategy.name for strategy in settings.strategies}
    symbols = {*settings.symbols, *(symbol for strategy in settings.strategies for symbol in strategy.symbols)}
    known = symbols if scope is Scope.SYMBOL else named
    column = "symbol" if scope is Scope.SYMBOL else "strategy"
    try:
        from athena.journal.journal import Journal

        with Journal.open(settings.journal_path, actor="halt", read_only=True) as journal:
            known |= {row[0] for row in journal.query(f"SELECT DISTINCT {column} FROM orders")}
    except AthenaError:  # the halt is set; a doubt about its target must not undo that
        pass
    if target in known or not known:
        return ""
    return f"{target} is no {column} of this system, so {so}. " + did_you_mean(target, known, otherwise)


def resume(settings: Settings, arguments: argparse.Namespace) -> int:
    """Lift halts after the checklist holds; also lifts the venue's own suspension an emergency stop may have set."""
    reason = _reason(arguments)
    if not reason:
        raise SettingsError("resume needs a reason.", 'For example: athena resume "spread is back to normal"')
    guard = _guard(settings)
    made = guard.resume(arguments.symbol, arguments.strategy, reason, override=arguments.override)
    venue = "" if arguments.symbol or arguments.strategy else _lift_suspension(settings)
    if arguments.json:
        facts = {"cleared": [h.id for h in made.cleared], "remaining": [h.id for h in made.remaining]}
        print(json.dumps(facts | {"override": made.override, "engine_running": made.engine_running, "venue": venue}))
        return 0
    if made.override:
        print("OVERRIDE: the checklist did not hold; this is recorded with your name")
        print("".join(f"  {line}\n" for line in made.checks if not line.holds), end="")
    for row in made.cleared:
        print(f"cleared   {row.scope} {row.target} {row.mode}, set by {row.owner}: {row.reason}".replace("  ", " "))
    for row in made.remaining:
        print(f"REMAINS   {row.scope} {row.target} {row.mode}, set by {row.owner}: {row.reason}".replace("  ", " "))
    if not made.cleared:
        print("nothing was lifted" if made.remaining else "nothing was halted")
    if venue:
        print(venue)
    if not made.engine_running:
        print("engine: not running, so nothing trades; it starts halted. Next: athena engine")
    return 0


def cancel_orders(settings: Settings, arguments: argparse.Namespace) -> int:
    """Have the engine cancel all open orders, or one symbol's, and say what became of them."""
    named = {"symbol": arguments.symbol} if arguments.symbol else {}
    told = _ask(settings, "cancel_all", named, arguments.timeout)
    _show(arguments, told)
    return 10 if named and not told["cancelled"] else 0  # nothing to cancel there: perhaps a typo


def close_position(settings: Settings, arguments: argparse.Namespace) -> int:
    """Have the engine close one position through the guard's exit checks, and confirm the fills."""
    told = _ask(settings, "close_position", {"symbol": arguments.symbol}, arguments.timeout)
    _show(arguments, told)
    return 0 if told.get("closed") else 10  # nothing was held: perhaps a typo


def start_market_data(settings: Settings, arguments: argparse.Namespace) -> int:
    """Have the engine subscribe to symbols and answer with their first quotes."""
    symbols = list(arguments.symbols or settings.symbols)
    told = _ask(settings, "subscribe", {"symbols": symbols}, arguments.timeout)
    quotes, missing = _quotes(settings, symbols)
    _show(arguments, {**told, "first_quotes": quotes, "no_quote_yet": missing})
    return 10 if missing else 0


def reconcile(settings: Settings, arguments: argparse.Namespace) -> int:
    """Have the engine reconcile now; exit 10 when it found a difference."""
    result = _ask(settings, "reconcile", {}, arguments.timeout)
    _show(arguments, result)
    return 0 if result.get("ok") else 10


def limits(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the limits with their headroom, or change one in the journal, effective on the next order everywhere."""
    if arguments.name and not arguments.value:
        raise SettingsError(f"limits {arguments.name} needs a value.", f"athena limits {arguments.name} VALUE")
    given = [name for name in ("symbol", "strategy", "override", "reason") if getattr(arguments, name)]
    if given and not arguments.name:
        hint = "athena limits NAME VALUE changes one; without any, all are shown."
        raise SettingsError(f"--{given[0]} belongs to a change of a limit, and none is named.", hint)
    if arguments.symbol and arguments.strategy:
        raise SettingsError("--symbol and --strategy exclude each other. NOTHING WAS DONE.", "Set one after the other.")
    guard = _guard(settings)
    if arguments.name:
        scope = Scope.SYMBOL if arguments.symbol else Scope.STRATEGY
        named = arguments.symbol or arguments.strategy or ""
        target = f"{scope}:{named}" if named else ""
        guard.set_limit(
            arguments.name, arguments.value, target=target, reason=arguments.reason, override=arguments.override
        )
        if doubt := doubt_of(
            settings, scope, named, "it may bind nothing", "Without --symbol, --strategy it binds all."
        ):
            print(f"CAREFUL: {doubt}", file=sys.stderr)
    from athena.ops.status import gather, show_limits

    return show_limits(gather(settings), as_json=arguments.json)


def _reason(arguments: argparse.Namespace) -> str:
    """Why, as typed: the words, the option, or both."""
    return ": ".join(filter(None, (" ".join(arguments.words), arguments.reason)))


def _guard(settings: Settings) -> ExecutionGuard:
    from athena.live.execution_guard import ExecutionGuard  # takes longer than setting the flag

    return ExecutionGuard.get_instance(settings)


def _ask(settings: Settings, name: str, asked: dict[str, Any], timeout: float) -> dict[str, Any]:
    from athena.journal.journal import Journal
    from athena.live.commands import request_sync

    if not settings.journal_path.exists():  # a mistyped home is told, not filled with an empty journal
        raise EngineNotRunning(f"engine: not running, and it never ran in {settings.folder}.", "athena engine")
    journal = Journal.open(settings.journal_path, actor=f"operator {settings.operator}")
    try:
        answer = request_sync(journal, name, asked, timeout)
    finally:
        journal.close()
    if not answer.ok and name != "reconcile":  # a difference found is an answer too
        raise AthenaError(
            f"{name.replace('_', ' ')} failed: {answer.message or 'the engine gave no reason'}", "athena status"
        )
    return dict(answer)


def _show(arguments: argparse.Namespace, result: Mapping[str, Any]) -> int:
    """The engine's answer: its sentence first, then what there is beside it."""
    if arguments.json:
        print(json.dumps(dict(result), default=str))
        return 0
    print(result.get("message", "done"))
    for key, value in result.items():
        rows = value if isinstance(value, list) else [value]
        if key != "message" and value not in ([], {}, "", None):
            print(f"  {key.replace('_', ' ')}: " + "; ".join(_words(row) for row in rows))
    return 0


def _quotes(settings: Settings, symbols: list[str]) -> tuple[list[dict[str, str]], list[str]]:
    """The newest quote of each symbol as the engine left it, waiting some seconds; and the symbols without any."""
    import time

    from athena.journal.journal import Journal

    deadline = time.monotonic() + FIRST_QUOTES_SECONDS
    marks = ", ".join("?" * len(symbols))
    with Journal.open(settings.journal_path, actor="start-market-data", read_only=True) as journal:
        while True:
            rows = journal.query(f"SELECT symbol, bid, ask, venue_at FROM marks WHERE symbol IN ({marks})", symbols)
            missing = set(symbols) - {row["symbol"] for row in rows}
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    seen = [{row["symbol"]: f"{row['bid']} / {row['ask']} at {row['venue_at'][11:19]} UTC"} for row in rows]
    return seen, sorted(missing)


def _words(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _lift_suspension(settings: Settings) -> str:
    """Undo an emergency stop's `suspend_trade` at the venue; what came of it in words, "" when it was not set."""
    import asyncio

    from athena.errors import BrokerError
    from athena.live.brokers.alpaca import AlpacaBroker

    async def lift() -> str:
        broker = AlpacaBroker.get_instance(settings)
        if not (await broker.get_account()).trade_suspended_by_user:
            return ""
        if await broker.suspend_trading(False):
            return "THE VENUE STILL REFUSES NEW ORDERS: suspend_trade read back as on. Lift it in Alpaca's web page."
        return "the venue takes new orders again (suspend_trade read back as off)"

    try:
        return asyncio.run(lift())
    except BrokerError as error:
        return f"venue not asked about its own suspension: {error}"
