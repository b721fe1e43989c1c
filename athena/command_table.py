"""Every `athena COMMAND`: the playbook's section it belongs to, its help, its handler and its options."""

from __future__ import annotations

import re
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
    """One argument of a command, as `argparse` takes it."""
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


def whole(text: str) -> int:
    """A positive whole number typed by an operator."""
    if not (text.isdecimal() and 0 < int(text) < 100_000):
        raise ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def number(text: str) -> Decimal:
    """A finite number typed by an operator, exact."""
    try:
        found = Decimal(text.replace(",", "").removeprefix("$").removesuffix("%"))
    except InvalidOperation:
        raise ArgumentTypeError(f"'{text}' is not a number") from None
    if not found.is_finite():
        raise ArgumentTypeError(f"'{text}' is not a number")
    return found


def seconds(text: str) -> float:
    """A time to wait typed by an operator: more than nothing, at most a day."""
    found = number(text)
    if not 0 < found <= 86_400:
        raise ArgumentTypeError(f"'{text}' is no number of seconds between 0 and a day")
    return float(found)


def one_symbol(text: str) -> str:
    """One symbol typed by an operator, in capitals: a list or a pattern would be taken for a symbol's name."""
    if not re.fullmatch(r"[A-Z0-9]+([./-][A-Z0-9]+)*", text.upper()):
        raise ArgumentTypeError(f"'{text}' is not one symbol")
    return text.upper()


def one_name(text: str) -> str:
    """A name typed by an operator; an empty one, as of a variable that is not set, would mean everything."""
    if not text.strip():
        raise ArgumentTypeError(f"'{text}' is no name")
    return text


_REASON = option("--reason", default="", help="why, for the record")
_FLATTEN = option("--flatten", action="store_true", help="also close every position and confirm the fills")
_DRY_RUN = option("--dry-run", action="store_true", help="say what would be done, and do nothing")
_SYMBOL = option("symbol", type=one_symbol, help="for example AAPL")
_OF_SYMBOL = option("--symbol", type=str.upper, default="", help="of this symbol only")
_SINCE = option("--since", default="", metavar="WHEN", help="30m, 2h, 3d, 2020-03-09, or '2020-03-09 14:30'")
_TIMEOUT = option("--timeout", type=seconds, default=30.0, metavar="SECONDS", help="how long to wait for the engine")

_APPLY = option("--apply", action="store_true", help="do it; without, only show what would be done")
_DAYS_BACK = option("--days", type=whole, default=7, help="orders and fills of so many days; default: 7")

_DAY = option("--date", default="", metavar="YYYY-MM-DD", help="trading date; default: the latest")
_WHY = option("--why", default="asked for at the command line", help="recorded with the report")
_EXTRAS = (
    option("--single-file", action="store_true", help="put all scripts into the page, for sending (5 MB)"),
    option("--pdf", action="store_true", help="also print it to PDF; needs Chromium"),
    option("--email", action="store_true", help="also write an .eml with tables and images"),
)
_KEEP_DAYS = option(
    "--keep-days", type=int, default=None, metavar="N", help="delete runs made longer ago; the latest stay"
)

_RENDER = (
    option("--render", action="store_true", help="publish the playbook's page instead, figures included"),
    _WHY,
    *_EXTRAS,
)

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
            option("--symbol", type=one_symbol, default=None, help="lift this symbol's halts only"),
            option("--strategy", type=one_name, default=None, help="lift this strategy's halts only"),
            option("--override", action="store_true", help="resume although the checklist fails; recorded loudly"),
            _REASON,
        ),
    ),
    Command(
        "requests",
        EMERGENCY,
        "what waits for a second operator's approval",
        "athena.ops.approvals:requests",
    ),
    Command(
        "approve",
        EMERGENCY,
        "approve another operator's request to resume or to raise a limit",
        "athena.ops.approvals:approve",
        (option("id", nargs="+", help="as athena requests shows it"),),
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
        (option("symbol", nargs="?", type=one_symbol, default=None, help="this symbol only"), _TIMEOUT),
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
        (_DAY, _WHY, *_EXTRAS),
    ),
    Command(
        "post-market",
        DAILY,
        "the work after the close: report, trades and logs archived, limits proposed, snapshot; each read back",
        "athena.ops.post_market:post_market",
        (
            option("--only", action="append", default=[], metavar="STEP", help="this step only; may be repeated"),
            _WHY,
            _DRY_RUN,
        ),
    ),
    Command(
        "playbook",
        DAILY,
        "run one playbook headless and say its verdict",
        "athena.ops.reports:playbook",
        (
            option("name", help="`athena playbooks` lists them"),
            option(
                "-p",
                dest="parameter",
                action="append",
                default=[],
                metavar="NAME=VALUE",
                help="a parameter; repeatable",
            ),
            _WHY,
            *_EXTRAS,
        ),
    ),
    Command(
        "playbooks",
        DAILY,
        "list the playbooks: what each answers, its parameters, its latest verdict",
        "athena.ops.reports:playbooks",
    ),
    Command(
        "render-all",
        DAILY,
        "run every playbook in parallel; those that can act only show what they would do",
        "athena.ops.reports:render_all",
        (_DAY, _WHY, _EXTRAS[0], _KEEP_DAYS),
    ),
    Command(
        "reports",
        DAILY,
        "find a report: the latest, the latest good, as of a moment; or prune old ones",
        "athena.ops.reports:reports",
        (
            option("name", nargs="?", default="", help="playbook; default: all, the latest first"),
            option("--good", action="store_true", help="only runs that reached their verdict"),
            option("--date", default="", metavar="YYYY-MM-DD", help="of this trading day"),
            option("--as-of", default="", metavar="TIME", help="what was the latest at 'YYYY-MM-DD HH:MM' UTC"),
            option("--number", type=int, default=20, metavar="N", help="how many to list"),
            _KEEP_DAYS,
        ),
    ),
    Command(
        "archive-logs",
        DAILY,
        "compress and hash the logs; --apply also removes what is archived and what is too old",
        "athena.ops.data_logs:archive_logs",
        (
            option("paths", nargs="*", type=Path, metavar="PATH", help="further logs"),
            option("--keep-days", type=whole, default=365, help="age at which archives go; default: 365"),
            _APPLY,
        ),
    ),
    Command(
        "archive-trades",
        DAILY,
        "closed days' fills, orders, equity and violations to Parquet, read back and compared with the journal",
        "athena.ops.archive:archive_trades",
        (
            option("--date", default="", metavar="YYYY-MM-DD", help="this trading day only, checked through"),
            option("--all", action="store_true", help="check every archived day through, not only what is new"),
        ),
    ),
    Command(
        "update-symbols",
        DAILY,
        "ask the venue for the facts of all symbols configured or held; what changed is shown",
        "athena.ops.data_symbols:update_symbols",
    ),
    Command(
        "clean-watchlist",
        DAILY,
        "invalid and delisted symbols with what depends on them; --apply takes them out of athena.toml",
        "athena.ops.data_symbols:clean_watchlist",
        (_APPLY,),
    ),
    Command(
        "check-order",
        DAILY,
        "would this order pass now, which limit binds, what headroom remains; sends nothing",
        "athena.ops.guard_commands:check_order",
        (
            _SYMBOL,
            option("side", type=str.lower, help="buy or sell"),
            option("quantity", type=number, help="shares"),
            option("--limit", type=dollars, default=None, metavar="PRICE", help="limit price; default: market"),
            option("--stop", type=dollars, default=None, metavar="PRICE", help="stop price"),
            option("--strategy", default="operator", help="as this strategy's order"),
        ),
    ),
    Command(
        "review-guard-config",
        DAILY,
        "every limit: value, default, who changed it and why, headroom, warnings",
        "athena.ops.guard_commands:review_guard_config",
    ),
    Command(
        "update-risk-params",
        DAILY,
        "propose next day's limits from evidence, and what they would have refused",
        "athena.ops.risk_params:update_risk_params",
        (
            option("--apply", action="store_true", help="set the proposed limits; needs --reason"),
            option("--only", action="append", default=[], metavar="LIMIT", help="this limit only; may be repeated"),
            option("--offline", action="store_true", help="do not ask the venue for bars"),
            _REASON,
            _DRY_RUN,
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
            option("--symbol", type=one_symbol, default=None, help="for this symbol only"),
            option("--strategy", type=one_name, default=None, help="for this strategy only"),
            option("--override", action="store_true", help="without the second approver; recorded loudly"),
            _REASON,
        ),
    ),
    Command(
        "drawdown",
        INCIDENT,
        "how deep under water, market or strategy, what would breach next",
        "athena.ops.analyses:drawdown",
        (option("--sessions", type=whole, default=0, help="only the last sessions; default: all"), *_RENDER),
    ),
    Command(
        "send-alert",
        INCIDENT,
        "send a message to the team, by Slack, mail and what else is set up",
        "athena.ops.notifications:send_alert",
        (
            option("words", nargs="*", metavar="MESSAGE", help="what to say"),
            option("--severity", choices=("info", "warning", "critical"), default="critical", help="default: critical"),
            option("--title", default="", help="its subject; default: the message"),
            option("--to", default="", metavar="ADDRESS", help="one mail to this address instead, at once"),
            option("--key", default="", help="a message with a key that was used before is not sent again"),
        ),
    ),
    Command(
        "alerts",
        INCIDENT,
        "what fired, when, its page and state; serve the webhook for Alertmanager; drill one end to end",
        "athena.ops.alerts:alerts",
        (
            option("action", nargs="?", choices=("show", "serve", "drill"), default="show", help="default: show"),
            option("name", nargs="?", default="", metavar="ALERT", help="of drill: which, for example EngineDown"),
            option("--firing", action="store_true", help="show only those that fire now"),
            option("--symbol", type=str.upper, default="", help="of drill: the symbol it is about"),
            option("--direct", action="store_true", help="of drill: to the webhook itself, past Alertmanager"),
            option("--last", type=whole, default=20, metavar="N", help="how many to show; default: 20"),
        ),
    ),
    Command(
        "notifications",
        INCIDENT,
        "messages sent, waiting and dead; deliver what is due, retry or dismiss dead letters",
        "athena.ops.notifications:notifications",
        (
            option(
                "action",
                nargs="?",
                choices=("show", "deliver", "retry", "dismiss"),
                default="show",
                help="default: show",
            ),
            option("ids", nargs="*", metavar="ID", help="of retry and dismiss: deliveries, or all"),
            option("--reason", default="", help="of dismiss: why it need not be sent, for the record"),
            option("--dead", action="store_true", help="show dead letters only"),
            option("--waiting", action="store_true", help="show those that wait only"),
            option("--follow", action="store_true", help="of deliver: go on until interrupted"),
            option("--last", type=whole, default=20, metavar="N", help="how many to show; default: 20"),
        ),
    ),
    Command(
        "position-correlation",
        INCIDENT,
        "are the positions one bet? correlation now against usual, exposure, what a session could lose",
        "athena.ops.analyses:position_correlation",
        (option("--method", choices=("ledoit_wolf", "pearson", "ewma"), default="ledoit_wolf"), *_RENDER),
    ),
    Command(
        "slippage-analysis",
        INCIDENT,
        "what fills cost, by symbol against 25 and 50 bps, the worst fills",
        "athena.ops.analyses:slippage_analysis",
        (
            option("symbol", nargs="?", type=str.upper, default="", help="this symbol only"),
            option("--days", type=whole, default=1, help="trading days, the latest ones; default: 1"),
            option("--hours", type=float, default=0.0, help="only the last hours of venue time"),
            *_RENDER,
        ),
    ),
    Command(
        "market-volatility",
        INCIDENT,
        "volatility, spread, volume and gaps against usual for this time of day",
        "athena.ops.analyses:market_volatility",
        (option("symbols", nargs="*", type=str.upper, help="default: what is held and configured"), *_RENDER),
    ),
    Command(
        "order-analysis",
        INCIDENT,
        "orders by outcome; failed ones grouped by cause, with the fix of each",
        "athena.ops.data_orders:order_analysis",
        (
            option("--failed-only", action="store_true", help="only refused, rejected and lost orders"),
            option("--days", type=whole, default=1, help="trading days, the latest ones; default: 1"),
        ),
    ),
    Command(
        "violations",
        INCIDENT,
        "what the guard refused or did, counted by cause, with the fix of each",
        "athena.ops.audit:violations",
        (
            _SINCE,
            _OF_SYMBOL,
            option("--strategy", default="", help="of this strategy only"),
            option("--code", default="", help="of this code only, for example POSITION_LIMIT"),
            option("--last", type=int, default=20, metavar="N", help="how many lines to show"),
        ),
    ),
    Command(
        "decision-matrices",
        INCIDENT,
        "the playbook's matrices applied now: the row that fires, what to do, what happens by itself",
        "athena.ops.decisions:decision_matrices",
        (option("matrix", nargs="?", default="", help="one of them, whole: drawdown, slippage, ..."),),
    ),
    Command(
        "reduce-position-sizes",
        INCIDENT,
        "multiply every limit on size by a factor",
        "athena.ops.limit_changes:reduce_position_sizes",
        (option("--factor", type=number, required=True, help="what remains, for example 0.8"), _REASON, _DRY_RUN),
    ),
    Command(
        "adjust-order-frequency",
        INCIDENT,
        "take a percentage off the order rate",
        "athena.ops.limit_changes:adjust_order_frequency",
        (
            option("--reduce-by", type=number, required=True, metavar="PERCENT", help="for example 50"),
            _REASON,
            _DRY_RUN,
        ),
    ),
    Command(
        "audit",
        INCIDENT,
        "who halted, resumed, changed and asked what; the chain verified",
        "athena.ops.audit:audit",
        (
            _SINCE,
            option("--by", default="", metavar="NAME", help="changes by this person or part"),
            option("--kind", default="", help="for example halt, limit, command, engine"),
        ),
    ),
    Command(
        "guard-state-check",
        RECOVERY,
        "the guard's three layers side by side, and where they disagree",
        "athena.ops.guard_state:guard_state_check",
    ),
    Command(
        "test-guards",
        RECOVERY,
        "drive every limit to refusal and back, on a scratch guard",
        "athena.ops.guard_commands:test_guards",
    ),
    Command(
        "verify-journal",
        RECOVERY,
        "check the journal's hash chain, refold its tables, and see that no tail is lost",
        "athena.ops.recovery_snapshots:verify_journal",
        (option("--accept-head", default="", metavar="REASON", help="go on with the journal as it is; recorded"),),
    ),
    Command(
        "reconcile",
        RECOVERY,
        "have the engine compare orders, fills, positions and cash with the venue now",
        "athena.ops.control:reconcile",
        (_TIMEOUT,),
    ),
    Command(
        "gradual-restart",
        RECOVERY,
        "bring trading back in stages: reconcile, exits only, one strategy at a fraction, full",
        "athena.ops.restart:gradual_restart",
        (
            option(
                "--stage-seconds", type=seconds, default=60.0, metavar="SECONDS", help="health each stage must show"
            ),
            option("--strategy", default="", metavar="NAME", help="the first to trade; default: the first configured"),
            option("--fraction", type=float, default=0.25, help="of its limits meanwhile; default: 0.25"),
        ),
    ),
    Command(
        "reconcile-orders",
        RECOVERY,
        "orders and fills, the venue asked directly, against the journal: orphans, phantoms, missing fills",
        "athena.ops.recovery:reconcile_orders",
        (_DAYS_BACK,),
    ),
    Command(
        "position-reconciliation",
        RECOVERY,
        "positions and cash, the venue asked directly, against the journal",
        "athena.ops.recovery:position_reconciliation",
        (_DAYS_BACK,),
    ),
    Command(
        "broker-reconciliation",
        RECOVERY,
        "everything the venue says against the journal, each difference classified",
        "athena.ops.recovery:broker_reconciliation",
        (_DAYS_BACK,),
    ),
    Command(
        "broker-connection-test",
        RECOVERY,
        "each way to the venue, tried and timed: network, key, clock, orders, positions, fills, market data",
        "athena.ops.recovery_connection:broker_connection_test",
    ),
    Command(
        "e2e-test",
        RECOVERY,
        "a whole order life through engine and guard with one share, cleaned up after; refused on live",
        "athena.ops.recovery_e2e:e2e_test",
        (option("--symbol", type=str.upper, default="", help="default: the cheapest configured one that is flat"),),
    ),
    Command(
        "restore-portfolio",
        RECOVERY,
        "the portfolio as of a time, against the venue now; --apply corrects the journal by events",
        "athena.ops.recovery_restore:restore_portfolio",
        (
            option("--timestamp", required=True, metavar="'YYYY-MM-DD HH:MM:SS'", help="New York time"),
            _APPLY,
            _REASON,
        ),
    ),
    Command(
        "rebuild-equity-curve",
        RECOVERY,
        "fold tables and equity again from events and fills; --apply replaces what differs",
        "athena.ops.recovery_restore:rebuild_equity_curve",
        (_APPLY, _REASON),
    ),
    Command(
        "download-trades",
        RECOVERY,
        "the venue's own record of executions, a file a day, resumed where it stopped",
        "athena.ops.data_trades:download_trades",
        (
            option("--days", type=whole, default=30, help="calendar days back; default: 30"),
            option("--format", choices=("parquet", "csv"), default="parquet"),
        ),
    ),
    Command(
        "merge-trade-data",
        RECOVERY,
        "journal, downloads and files as one table; conflicts are shown, never chosen silently",
        "athena.ops.data_trades:merge_trade_data",
        (
            option("files", nargs="*", type=Path, metavar="FILE", help="CSV or Parquet; default: the downloads"),
            option("--no-journal", action="store_true", help="leave the journal's own fills out"),
            option("--prefer", default="", metavar="SOURCE", help="take this source's word where sources differ"),
            option("--zone", default="", help="time zone of times that have none, e.g. America/New_York"),
            option("--output", type=Path, default=None, metavar="FILE", help="default: downloads/merged.csv"),
        ),
    ),
    Command(
        "recalc-metrics",
        RECOVERY,
        "each day's P&L, fill rate, slippage and drawdown from the fills, against the journaled equity",
        "athena.ops.data_metrics:recalc_metrics",
        (option("--days", type=whole, default=30, help="trading days, the latest ones; default: 30"),),
    ),
    Command(
        "snapshot",
        RECOVERY,
        "copy the journal, read the copy through, hash it",
        "athena.ops.recovery_snapshots:snapshot",
        (option("--list", action="store_true", help="list those there are instead"), _REASON),
    ),
    Command(
        "restore-snapshot",
        RECOVERY,
        "write a snapshot into a new file, verified; never over an old one",
        "athena.ops.recovery_snapshots:restore_snapshot",
        (
            option("file", type=Path, metavar="FILE", help="a snapshot's path or name"),
            option("--to", type=Path, required=True, metavar="NEW", help="a file that does not exist"),
            _REASON,
        ),
    ),
    Command(
        "engine",
        SYSTEM,
        "run the engine of this account",
        "athena.ops.run:engine",
        (option("--safe-mode", action="store_true", help="everything but new orders"),),
    ),
    Command(
        "monitor",
        SYSTEM,
        "run Prometheus, Alertmanager and the webhook beside the engine, until Ctrl-C",
        "athena.ops.monitor:monitor",
    ),
    Command(
        "monitoring-config",
        SYSTEM,
        "write what Prometheus, Alertmanager and Grafana need; a file somebody edited is left as it is",
        "athena.ops.monitoring.configuration:monitoring_config",
        (option("folder", type=Path, metavar="DIR", help="made where it is missing"),),
    ),
    Command(
        "simulator",
        SYSTEM,
        "run the Alpaca-compatible simulator on loopback",
        "athena.ops.run:simulator",
        (
            option("--port", type=int, default=None, help="default: the settings' simulator_url"),
            option(
                "--start",
                default="",
                metavar="'YYYY-MM-DD HH:MM'",
                help="New York; default: 2020-03-09 09:25, or a replay's first",
            ),
            option("--speed", type=float, default=1.0, help="390 runs a trading day in a minute"),
            option("--seed", type=int, default=7, help="same seed, same market"),
            option("--state", type=Path, default=None, metavar="FILE", help="keep accounts and orders here"),
            option("--order-log", type=Path, default=None, metavar="FILE", help="write each order request received"),
            option(
                "--replay", type=Path, nargs="+", default=None, metavar="FILE", help="bars or quotes, CSV or Parquet"
            ),
            option("--requests-per-minute", type=int, default=200, metavar="N", help="rate limit of an account"),
            option("--faults", type=Path, default=None, metavar="FILE", help="what goes wrong and when, JSON or TOML"),
            option("--fault-log", type=Path, default=None, metavar="FILE", help="write each fault and what it did"),
            option("--skip-closed", action="store_true", help="jump over nights and weekends"),
            option("--cash", type=dollars, default=Decimal(100_000), help="a new account's dollars"),
        ),
    ),
    Command(
        "lab",
        SYSTEM,
        "JupyterLab at the control room, with simulator and engine where none runs",
        "athena.ops.lab:lab",
        (
            option("--port", type=int, default=None, help="default: 8888, or the next free one"),
            option("--no-browser", action="store_true", help="only tell the address"),
        ),
    ),
    Command(
        "schedule",
        SYSTEM,
        "run the day's procedures at 8:00, 9:30 and 16:00 New York on trading days, and deliver messages",
        "athena.ops.schedule:schedule",
        (
            option("--list", action="store_true", help="show the next runs, the last ones, and the calendars"),
            option("--run", default="", metavar="NAME", help="run pre-market, market-open or post-market now"),
            option("--once", action="store_true", help="run what is due, deliver what waits, and end; for cron"),
            option(
                "--print", choices=("systemd", "cron"), default="", help="units or crontab lines that do it instead"
            ),
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
