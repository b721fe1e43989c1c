"""The playbooks: one entry a notebook, in the order of an operator's day. Add yours here; its notebook follows it."""

from __future__ import annotations

from athena.playbooks.parameters import Kind, Parameter
from athena.playbooks.playbook import Playbook

DATE = Parameter("trading_date", Kind.DATE, "", "New York trading day, YYYY-MM-DD; empty is the latest in the journal")
JOURNAL = Parameter("journal", Kind.TEXT, "", "Path of a journal; empty is the settings' own")

DRY_RUN = Parameter("dry_run", Kind.FLAG, True, "False acts, if confirm is the phrase that the playbook shows")
CONFIRM = Parameter("confirm", Kind.TEXT, "", "The phrase that the playbook shows, typed")
DAYS = Parameter("days", Kind.WHOLE, 1, "Trading days, the latest ones")
HOURS = Parameter("hours", Kind.NUMBER, 0.0, "Only the last hours of venue time; 0 is whole days")
INDEX = Parameter("index", Kind.TEXT, "SPY", "The symbol that stands for the market")
ANSWERS = Parameter("answers", Kind.TEXT, "", "Your answers, 'key=yes; key=no: why'; empty records nothing")
ACT = (DRY_RUN, CONFIRM)

CATALOGUE = (
    Playbook(
        "trading_halt",
        "Trading is halted: why, and may it resume?",
        "Every standing halt by its row of the matrix, what is held meanwhile, the checklist for resuming.",
        (
            Parameter("symbol", Kind.TEXT, "", "Only this symbol's halts; empty is everything"),
            Parameter("reason", Kind.TEXT, "", "Why it is safe again; recorded with a resume"),
            *ACT,
            JOURNAL,
        ),
        reads_only=False,
    ),
    Playbook(
        "broker_disconnection",
        "The broker is gone: what is at risk, and can it be reconnected?",
        "How long, us or them, orders and positions against the venue, and reconnecting.",
        (*ACT, JOURNAL),
        reads_only=False,
    ),
    Playbook(
        "pre_market",
        "Are we ready for the open?",
        "The 8:00 checklist: system, night, limits and strategies, ticked by looking; your answers journaled.",
        (ANSWERS, JOURNAL),
    ),
    Playbook(
        "market_open",
        "Are we trading, and watched?",
        "The 9:30 checklist: guard, quotes, strategies, metrics, live P&L; your answers journaled.",
        (ANSWERS, JOURNAL),
    ),
    Playbook(
        "post_market",
        "Is the day closed, reported and saved?",
        "The 16:00 checklist, and its work: report, archive, limits proposed, snapshot; your answers journaled.",
        (ANSWERS, *ACT, JOURNAL),
        cell_timeout_seconds=900.0,
        reads_only=False,
    ),
    Playbook(
        "daily_report",
        "How did the day go?",
        "Profit and where it came from, drawdown, execution, halts, limits, and what needs looking at tomorrow.",
        (DATE, JOURNAL),
    ),
    Playbook(
        "drawdown_assessment",
        "Equity has fallen: how bad is it, and why?",
        "The fall against 5, 10 and 15 %, market or strategy to the cent, how unusual, what breaches next.",
        (INDEX, Parameter("sessions", Kind.WHOLE, 0, "Only the equity of the last sessions; 0 is all"), JOURNAL),
    ),
    Playbook(
        "correlation_matrix",
        "Are all positions one bet?",
        "Correlation now against usual, effective bets, gross, net and beta exposure, what a session could lose.",
        (
            Parameter("method", Kind.TEXT, "ledoit_wolf", "How to estimate", ("ledoit_wolf", "pearson", "ewma")),
            Parameter("sessions", Kind.WHOLE, 30, "Past sessions of prices"),
            Parameter("minutes", Kind.WHOLE, 30, "Length of a return, minutes"),
            INDEX,
            JOURNAL,
        ),
    ),
    Playbook(
        "slippage_analysis",
        "Fills cost more than they should: where, and what to do?",
        "Costs by symbol against 25 and 50 bps, the five terms, the worst fills, against what they should cost.",
        (Parameter("symbol", Kind.TEXT, "", "Only this symbol; empty is all"), DAYS, HOURS, JOURNAL),
    ),
    Playbook(
        "market_volatility",
        "Is the market fit to trade in?",
        "Volatility, spread, volume and gaps against usual for this time of day, and the market-wide move.",
        (
            Parameter("symbols", Kind.TEXT, "", "Comma-separated; empty is what is held and configured"),
            Parameter("sessions", Kind.WHOLE, 12, "Earlier sessions that make the usual"),
            Parameter("minutes", Kind.WHOLE, 5, "Length of a bar, minutes"),
            INDEX,
            JOURNAL,
        ),
    ),
    Playbook(
        "order_rejections",
        "Orders are rejected: why, and what is the fix?",
        "Causes by the venue's words, each with its fix; our own refusals; when; stuck orders; halting them.",
        (DAYS, HOURS, *ACT, JOURNAL),
        reads_only=False,
    ),
    Playbook(
        "guard_review",
        "Are the guard's limits right, and what did they do?",
        "Every limit with its headroom, violations with their fix, who changed what, what is off.",
        (DAYS, JOURNAL),
    ),
    Playbook(
        "monitoring",
        "What do the metrics say?",
        "Profit, fills, slippage, violations and latency by Prometheus, beside the journal; alerts that fire.",
        (Parameter("hours", Kind.NUMBER, 1.0, "Hours of machine time shown, the latest ones"), JOURNAL),
    ),
    Playbook(
        "limits_what_if",
        "What would other limits have refused?",
        "Every journaled order again through the guard's own checks, under the limits you propose.",
        (
            Parameter("changes", Kind.TEXT, "", "'name=value; name@symbol:AAPL=value'; empty halves size and rate"),
            JOURNAL,
        ),
        cell_timeout_seconds=600.0,
    ),
    Playbook(
        "crash_recovery",
        "After a crash: what is damaged, and is it safe to restart?",
        "The three steps of recovery and where you stand: journal, orders, positions, guard, restart.",
        (*ACT, JOURNAL),
        reads_only=False,
    ),
    Playbook(
        "data_recovery",
        "Data is lost or doubtful: what still holds, and what can be restored?",
        "Chain and tables, snapshots, the portfolio as of a time, the curve worked out again, missing days.",
        (
            Parameter("timestamp", Kind.TEXT, "", "New York time, YYYY-MM-DD HH:MM:SS; empty is the last opening"),
            Parameter("action", Kind.TEXT, "snapshot", "What to do", ("snapshot", "rebuild-tables")),
            *ACT,
            JOURNAL,
        ),
        reads_only=False,
    ),
)
