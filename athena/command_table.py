"""Every `athena COMMAND`: the playbook's section it belongs to, its help, its handler and its options."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

Option = tuple[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """One `athena NAME`: the playbook section it belongs to, one line of help, `module:function`, its options.

    `lenient` commands are for emergencies: they start although an unrelated setting is wrong.
    """

    name: str
    section: str
    summary: str
    handler: str
    options: tuple[Option, ...] = ()
    lenient: bool = False


def option(*flags: str, **keywords: Any) -> Option:
    return flags, keywords


def dollars(text: str) -> Decimal:
    """A positive amount typed by an operator."""
    try:
        amount = Decimal(text.replace(",", "").removeprefix("$"))
    except InvalidOperation:
        raise ArgumentTypeError(f"'{text}' is not an amount of dollars") from None
    if not (amount.is_finite() and amount > 0):
        raise ArgumentTypeError(f"'{text}' is not a positive amount of dollars")
    return amount


_REASON = option("--reason", default="", help="why, for the record")
_FLATTEN = option("--flatten", action="store_true", help="also close every position and confirm the fills")
_DRY_RUN = option("--dry-run", action="store_true", help="say what would be done, and do nothing")
_SYMBOL = option("symbol", type=str.upper, help="for example AAPL")
_TIMEOUT = option("--timeout", type=float, default=30.0, metavar="SECONDS", help="how long to wait for the engine")

SECTIONS = ("Emergency response", "Daily operations", "Incident response", "Recovery", "The system itself")
EMERGENCY, DAILY, INCIDENT, RECOVERY, SYSTEM = SECTIONS

COMMANDS = (
    Command(
        "halt",
        EMERGENCY,
        "stop all trading now, or one symbol's or strategy's",
        "athena.ops.control:halt",
        (
            option("words", nargs="*", metavar="REASON", help="why; may be left out"),
            option("--symbol", type=str.upper, default="", help="halt this symbol only"),
            option("--strategy", default="", help="halt this strategy only"),
            option("--reduce-only", action="store_true", help="allow orders that make positions smaller"),
            _REASON,
        ),
        lenient=True,
    ),
    Command(
        "resume",
        EMERGENCY,
        "lift halts after the checklist holds",
        "athena.ops.control:resume",
        (
            option("words", nargs="*", metavar="REASON", help="why it is safe again"),
            option("--symbol", type=str.upper, default="", help="lift this symbol's halts only"),
            option("--strategy", default="", help="lift this strategy's halts only"),
            option("--override", action="store_true", help="resume although the checklist fails; recorded loudly"),
            _REASON,
        ),
    ),
    Command(
        "emergency-stop",
        EMERGENCY,
        "halt, cancel everything at the venue, and have the venue refuse new orders",
        "athena.ops.emergency:emergency_stop",
        (_REASON, _FLATTEN, _DRY_RUN),
        lenient=True,
    ),
    Command(
        "cancel-orders",
        EMERGENCY,
        "cancel open orders, all or one symbol's",
        "athena.ops.control:cancel_orders",
        (option("symbol", nargs="?", type=str.upper, default="", help="this symbol only"), _TIMEOUT),
    ),
    Command(
        "close-position",
        EMERGENCY,
        "close one position; passes in every guard mode",
        "athena.ops.control:close_position",
        (_SYMBOL, _TIMEOUT),
    ),
    Command("status", DAILY, "the live system on one screen", "athena.ops.status:status"),
    Command("health-check", DAILY, "every component, its age and the next action", "athena.ops.health:health_check"),
    Command(
        "check-brokers",
        DAILY,
        "ask each broker now: state, latency, clock, limits, account flags",
        "athena.ops.health:check_brokers",
    ),
    Command(
        "validate-strategies",
        DAILY,
        "check every strategy's parameters and symbols",
        "athena.ops.health:validate_strategies",
    ),
    Command(
        "start-market-data",
        DAILY,
        "have the engine subscribe to symbols, and show the first quotes",
        "athena.ops.control:start_market_data",
        (option("symbols", nargs="*", type=str.upper, help="default: the settings' symbols"), _TIMEOUT),
    ),
    Command(
        "daily-report",
        DAILY,
        "render the day's report to reports/",
        "athena.ops.reports:daily_report",
        (
            option("--date", default="", metavar="YYYY-MM-DD", help="trading date; default: the latest"),
            option("--why", default="asked for at the command line", help="recorded with the report"),
        ),
    ),
    Command(
        "limits",
        INCIDENT,
        "show the guard's limits with their headroom, or set one",
        "athena.ops.control:limits",
        (
            option("name", nargs="?", default="", help="limit to set"),
            option("value", nargs="?", default="", help="its new value"),
            option("--symbol", type=str.upper, default="", help="for this symbol only"),
            option("--strategy", default="", help="for this strategy only"),
            _REASON,
        ),
    ),
    Command(
        "verify-journal",
        RECOVERY,
        "check the journal's hash chain and refold its tables",
        "athena.ops.control:verify_journal",
    ),
    Command(
        "reconcile",
        RECOVERY,
        "have the engine compare orders, fills, positions and cash with the venue now",
        "athena.ops.control:reconcile",
        (_TIMEOUT,),
    ),
    Command(
        "engine",
        SYSTEM,
        "run the engine of this account",
        "athena.ops.run:engine",
        (option("--safe-mode", action="store_true", help="everything but new orders"),),
    ),
    Command(
        "simulator",
        SYSTEM,
        "run the Alpaca-compatible simulator on loopback",
        "athena.ops.run:simulator",
        (
            option("--port", type=int, default=None, help="default: the settings' simulator_url"),
            option(
                "--start", default="", metavar="'YYYY-MM-DD HH:MM'", help="New York time; default: 2020-03-09 09:25"
            ),
            option("--speed", type=float, default=1.0, help="390 runs a trading day in a minute"),
            option("--seed", type=int, default=7, help="same seed, same market"),
            option("--state", type=Path, default=None, metavar="FILE", help="keep accounts and orders here"),
            option("--order-log", type=Path, default=None, metavar="FILE", help="write each order request received"),
            option(
                "--replay", type=Path, nargs="+", default=None, metavar="FILE", help="bars or quotes, CSV or Parquet"
            ),
            option("--requests-per-minute", type=int, default=200, metavar="N", help="rate limit of an account"),
            option("--skip-closed", action="store_true", help="jump over nights and weekends"),
            option("--cash", type=dollars, default=Decimal(100_000), help="a new account's dollars"),
        ),
    ),
    Command(
        "demo",
        SYSTEM,
        "a whole trading day in a minute and a half, with an incident",
        "athena.ops.demo:demo",
        (
            option("--keep", action="store_true", help="leave simulator and engine running at the end"),
            option("--folder", type=Path, default=Path(".athena-demo"), help="where the demo lives"),
        ),
    ),
)
