"""The daily report's evidence: one section a question, each with a sentence on reading it, its tables and a figure."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from athena.analysis import daily_control as control
from athena.analysis import execution, figures, pnl, style
from athena.analysis.assessment import Finding, Section
from athena.analysis.daily_control import right
from athena.analysis.daily_facts import DayFacts
from athena.analysis.tables import Column, Table
from athena.model import ZERO

QUESTIONS = {
    "pnl": "Where did the money come from?",
    "equity": "How deep was the account under water?",
    "orders": "Did the orders get done?",
    "slippage": "What did execution cost?",
    "guard": control.GUARD,
    "limits": control.LIMITS,
    "overnight": control.OVERNIGHT,
    "tomorrow": control.TOMORROW,
}


def build(facts: DayFacts, findings: Sequence[Finding]) -> dict[str, Section]:
    """All sections by key, in reading order."""
    return {
        "pnl": profit(facts),
        "equity": equity(facts),
        "orders": orders(facts),
        "slippage": slippage(facts),
        "guard": control.guard(facts),
        "limits": control.limits(facts),
        "overnight": control.overnight(facts),
        "tomorrow": control.tomorrow(findings),
    }


def profit(facts: DayFacts) -> Section:
    """By symbol and by strategy, and tied to the change of equity."""
    reading = (
        "Total is realised plus the change of unrealised less fees; slippage is a memo, already inside realised. "
        "Symbols count the account's net position, as the broker does; strategies count an operator's exit as theirs. "
        "The last table ties profit to the change of equity."
    )
    tables = [_profit_table(facts, "symbol"), _profit_table(facts, "strategy")]
    if facts.identity:
        holds = "within" if facts.identity.holds else "PAST"
        allowed = style.dollars(facts.identity.tolerance)
        caption = f"From equity to equity · unexplained is {holds} its tolerance of ± {allowed}"
        tables.append(
            Table(caption, facts.identity.lines(), [Column("line", "Line"), Column("amount", "$", style.usd)], totals=1)
        )
    else:
        reading += " It cannot be tied here: equity or a closing price is missing."
    draw = (lambda: figures.profit_bars(facts.profit)) if facts.profit["priced"].all() and len(facts.profit) else None
    return Section(QUESTIONS["pnl"], reading, tuple(tables), draw)


def _profit_table(facts: DayFacts, key: str) -> Table:
    frame = pnl.by(facts.net if key == "symbol" else facts.profit, key)
    cost = execution.slippage(facts.fills if key == "symbol" else facts.parts, [key]).set_index(key)["cost_usd"]
    frame["slippage"] = frame[key].map(cost).astype(float)
    total = {
        name: None if frame[name].isna().any() else sum(frame[name], ZERO)
        for name in ("realised", "unrealised", "fees", "total")
    }
    slip = frame["slippage"].sum(min_count=1)
    rows = [frame]
    if len(frame):
        rows.append(pd.DataFrame([{key: "All", **total, "slippage": slip}], dtype=object))
    columns = [
        Column(key, key.capitalize()),
        Column("realised", "Realised $", style.usd),
        Column("unrealised", "Unrealised change $", style.usd),
        Column("fees", "Fees $", style.usd),
        Column("total", "Total $", style.usd),
        Column("slippage", "Slippage $ (memo)", style.usd),
    ]
    whole = pd.concat([part.astype(object) for part in rows], ignore_index=True)
    return Table(
        f"Profit and loss by {key}", whole, columns, "Nothing was held and nothing traded.", totals=int(len(frame) > 0)
    )


def equity(facts: DayFacts) -> Section:
    """The day's curve and the closes before it, and how far below their best."""
    curve = facts.curve
    if curve.empty:
        return Section(QUESTIONS["equity"], "Not known: no equity was recorded.")
    reading = (
        "Deposits and withdrawals are taken out. Shaded: all trading halted; × marks a violation. "
        "The first point is the previous close, so the overnight gap is part of the day."
    )
    depth = curve - curve.cummax()
    ends = facts.close_drawdown
    rows = [
        ("Change over the day", f"{style.dollars(float(curve.iloc[-1] - curve.iloc[0]))}"),
        ("Deepest below the day's best", f"{style.dollars(float(depth.min()))} at {style.clock(depth.idxmin())}"),
        (
            "Lowest against the start",
            f"{style.dollars(float((curve - curve.iloc[0]).min()))} at {style.clock(curve.idxmin())}",
        ),
        ("Close below the highest close", style.fine_percent(float(ends.iloc[-1])) if len(ends) else style.MISSING),
        ("Closes recorded", style.count(len(ends))),
    ]
    table = Table(
        "The day and the days before it", pd.DataFrame(rows, columns=["what", "value"]), _pair("What", "Value")
    )
    record = facts.record
    draw = lambda: figures.day_and_history(curve, record.halts, record.violations, facts.closes, ends)  # noqa: E731 (drawn when shown)
    return Section(QUESTIONS["equity"], reading, (table,), draw)


def orders(facts: DayFacts) -> Section:
    """How they ended by strategy, why some did not go, how fast the venue answered."""
    record = facts.record
    if record.orders.empty:
        return Section(QUESTIONS["orders"], "No order was decided on.")
    columns = [
        Column("strategy", "Strategy"),
        *(
            Column(k, k.capitalize(), style.count)
            for k in ("decided", "refused", "sent", "filled", "partial", "rejected", "unfilled", "pending")
        ),
        Column("fill_rate", "Fill rate", style.percent),
        Column("quantity_rate", "Shares filled", style.percent),
    ]
    every = execution.outcomes(record.orders.assign(strategy="All"), "strategy")
    frame = pd.concat([execution.outcomes(record.orders, "strategy"), every], ignore_index=True)
    why = [
        Column("by", "By"),
        Column("cause", "Cause"),
        Column("code", "Code"),
        Column("count", "Orders", style.count),
        Column("symbols", "Symbols"),
    ]
    tables = [
        Table("Orders by strategy", frame, columns, totals=1, cards=True),
        Table(
            "Refused and rejected, by cause",
            execution.causes(record.orders, record.violations),
            why,
            "No order was refused or rejected.",
            cards=True,
        ),
    ]
    took = execution.latency_ms(record.orders)
    if len(took):
        quantiles = took.quantile([0.5, 0.95, 1.0])
        times = pd.DataFrame([[len(took), *quantiles]], columns=["n", "p50", "p95", "max"])
        heads = {"n": "Answered", "p50": "Median ms", "p95": "95th percentile ms", "max": "Slowest ms"}
        tables.append(
            Table(
                "Intent to the venue's answer, machine time",
                times,
                [Column(k, v, style.count if k == "n" else style.bps) for k, v in heads.items()],
            )
        )
    reading = "Fill rate is orders filled whole of orders sent; what the guard refused was never sent."
    return Section(QUESTIONS["orders"], reading, tuple(tables))


def slippage(facts: DayFacts) -> Section:
    """By symbol against the mid just before each fill, and the ten worst fills."""
    reading = (
        "Positive costs: against the mid of the quote just before the fill, weighted by value. "
        "From 25 bps use limit orders; past 50 bps halt the symbol."
    )
    table = execution.slippage(facts.fills, ["symbol"])
    columns = [
        Column("symbol", "Symbol"),
        Column("cost_bps", "Cost bps", style.bps),
        Column("median_bps", "Median bps", style.bps),
        Column("worst_bps", "Worst bps", style.bps),
        Column("cost_usd", "Cost $", style.usd),
        Column("fills", "n", style.count),
        Column("unmeasured", "No quote", style.count),
    ]
    fill_columns = [
        Column("at", "Time ET", style.clock),
        Column("symbol", "Symbol"),
        Column("side", "Side"),
        Column("quantity", "Shares", style.shares),
        Column("price", "Price $", style.usd),
        Column("bid", "Bid $", style.usd),
        Column("ask", "Ask $", style.usd),
        Column("cost_bps", "Cost bps", style.bps),
        Column("cost_usd", "Cost $", style.usd),
    ]
    tables = (
        Table("By symbol, worst first", table, columns, "No fills."),
        Table(
            "The ten worst fills",
            execution.worst_fills(facts.fills),
            fill_columns,
            "No fill cost anything.",
            cards=True,
        ),
    )
    draw = (lambda: figures.slippage_bars(table)) if table["cost_bps"].notna().any() else None
    return Section(QUESTIONS["slippage"], reading, tables, draw)


def _pair(first: str, second: str) -> list[Column]:
    return [Column("what", first), Column("value", second, right)]
