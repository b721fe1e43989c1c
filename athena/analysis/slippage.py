"""What do our trades cost, where, and what does the operators' matrix (25 and 50 bps) say of each symbol?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import style, trade_figures
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.execution import HALT_SYMBOL_BPS, LIMIT_ORDERS_BPS
from athena.analysis.execution import slippage as by_mid
from athena.analysis.inputs import answered
from athena.analysis.markouts import closing_mids, markouts, quotes_around
from athena.analysis.shortfall import TERMS, decompose, summary
from athena.analysis.slippage_model import CostModel, against_expected
from athena.analysis.tables import Column, Table, rows_of

WORDS = dict(zip(TERMS, ("Delay", "Drift", "Spread", "Not filled", "Fees"), strict=True))
BY = {"symbol": "symbol", "side": "side", "hour": "hour (New York)", "strategy": "strategy"}


@answered("Slippage")
def assess(
    orders: pd.DataFrame,
    fills: pd.DataFrame,
    *,
    closing: pd.Series | None = None,
    kept: pd.DataFrame | None = None,
    market: pd.DataFrame | None = None,
    limit_orders_bps: float = LIMIT_ORDERS_BPS,
    halt_symbol_bps: float = HALT_SYMBOL_BPS,
    as_of: datetime | None = None,
    seed: int = 0,
) -> Assessment:
    """Cost of all fills by its five terms, by symbol, side, hour and strategy, and the matrix applied to each symbol.

    orders, fills, closing: as `shortfall.decompose`. kept (`frames.kept_quotes`): for markouts, the quotes around the
    worst fills and, without `closing`, what was not filled. market (by symbol, volatility_bps and adv_shares): for what
    trades should cost. The matrix is held against the mean slippage from the mid just before each fill.
    """
    if closing is None and kept is not None:
        closing = closing_mids(orders, kept)
    parts = decompose(orders, fills, closing)
    if parts.empty:
        finding = Finding(
            "Was anything traded?",
            Verdict.UNKNOWN,
            "no fill",
            "",
            "There is no fill to measure.",
            "Choose another time span.",
        )
        return Assessment(
            "Slippage", finding.verdict, finding.reason, finding.action, as_of, (finding,), {}, {"fills": 0}, {}
        )
    filled = parts[parts["part"] == "fill"]
    priced = filled.assign(
        notional_usd=filled["quantity"] * filled["price"],
        cost_usd=filled["spread_usd"],
        cost_bps=filled["slippage_bps"],
    )
    findings = [_judge(row, limit_orders_bps, halt_symbol_bps) for row in rows_of(by_mid(priced, ["symbol"]))]
    whole = summary(parts.assign(all="all"), ["all"], seed=seed).iloc[0]
    words = "Every symbol's slippage is below the first threshold."
    verdict, reason, action = conclude(findings, words, "Monitor, no action.")
    model, numbers = (
        _model(parts, market),
        {
            "fills": int((parts["part"] == "fill").sum()),
            "orders": int(whole["orders"]),
            "unmeasured": int(whole["unmeasured"]),
            "unmeasured_fills": int(filled["cost_usd"].isna().sum()),
            "unfilled": int((parts["part"] == "unfilled").sum()),
            "unmeasured_unfilled": int(parts.loc[parts["part"] == "unfilled", "cost_usd"].isna().sum()),
            "cost_usd": float(whole["cost_usd"]),
            "cost_bps": float(whole["cost_bps"]),
            "low_bps": float(whole["low_bps"]),
            "high_bps": float(whole["high_bps"]),
            **{term: float(whole[term]) for term in TERMS},
        },
    )
    sections = {"terms": _terms(whole, numbers)}
    sections |= {key: _by(parts, key, seed, halt_symbol_bps, limit_orders_bps) for key in BY}
    if model is not None:
        sections["expected"] = _expected(*model)
        numbers |= {"impact": model[1].impact, "exponent": model[1].exponent, "fitted": model[1].fitted}
    if kept is not None:
        sections["after"] = _after(markouts(parts, kept, seed=seed))
    sections["worst"] = _worst(parts, kept)
    latest = as_of or pd.DatetimeIndex(parts["at"]).max().floor("us").to_pydatetime()
    limits = {"limit_orders_bps": limit_orders_bps, "halt_symbol_bps": halt_symbol_bps}
    return Assessment("Slippage", verdict, reason, action, latest, tuple(findings), sections, numbers, limits)


def _judge(row: Any, low: float, high: float) -> Finding:
    """The operators' matrix on one symbol."""
    symbol, bps = row.symbol, row.cost_bps
    inputs = {"slippage_bps": bps, "fills": row.fills, "unmeasured": row.unmeasured}
    threshold = f"{low:.0f} / {high:.0f} bps"
    if bps != bps:
        reason = f"{symbol}: none of {row.unmeasured} fills has a quote to measure by."
        return Finding(
            symbol,
            Verdict.UNKNOWN,
            "not measured",
            threshold,
            reason,
            "`athena health-check`: the market-data stream.",
            inputs,
        )
    seen = f"{bps:.1f} bps, n = {row.fills}" + (f", {row.unmeasured} not measured" if row.unmeasured else "")
    reason = f"{symbol} slips {bps:.1f} bps (n = {row.fills})."
    if bps > high:
        return Finding(
            symbol,
            Verdict.STOP,
            seen,
            threshold,
            reason,
            f"Halt {symbol} and find out why: `athena halt --symbol {symbol}`.",
            inputs,
        )
    if bps >= low:
        return Finding(symbol, Verdict.ATTENTION, seen, threshold, reason, f"Trade {symbol} by limit orders.", inputs)
    return Finding(symbol, Verdict.OK, seen, threshold, reason, "Monitor, no action.", inputs)


def _columns(key: str, label: str) -> tuple[Column, ...]:
    terms = (Column(term, f"{WORDS[term]}, $", style.usd) for term in TERMS)
    return (
        Column(key, label),
        Column("fills", "Fills", style.count),
        Column("orders", "Orders", style.count),
        Column("unmeasured", "Not measured", style.count),
        *terms,
        Column("cost_usd", "Cost, $", style.usd),
        Column("cost_bps", "bps", style.bps),
        Column("low_bps", "95 % from", style.bps),
        Column("high_bps", "to", style.bps),
        Column("median_bps", "Median", style.bps),
        Column("p95_bps", "p95", style.bps),
    )


def _terms(whole: Any, numbers: Mapping[str, Any]) -> Section:
    interval = "too few orders for an interval"
    if whole["low_bps"] == whole["low_bps"]:
        interval = f"95 % interval {style.bps(whole['low_bps'])} to {style.bps(whole['high_bps'])}"
    reading = (
        f"{style.dollars(whole['cost_usd'])}, {style.bps(whole['cost_bps'])} bps of the decisions' value ({interval}; "
        f"{whole['orders']} orders). Positive is cost. {_left_out(numbers)}"
    )
    draw = partial(trade_figures.waterfall, list(WORDS.values()), [float(whole[term]) for term in TERMS])
    return Section("What did trading cost, and in which step?", reading, draw=draw)


def _left_out(numbers: Mapping[str, Any]) -> str:
    """What the figures do not hold, in words."""
    fills, unknown, left = (numbers[name] for name in ("unmeasured_fills", "unmeasured_unfilled", "unfilled"))
    told = [f"{fills} of {numbers['fills']} fills lack a price and are in no figure"] if fills else []
    if left:
        told.append(f"the price when they were given up is known of {left - unknown} of {left} unfilled remainders")
    words = "; ".join(told)
    return f"{words[:1].upper()}{words[1:]}." if words else "Every fill is measured; nothing was left unfilled."


def _by(parts: pd.DataFrame, key: str, seed: int, high: float, low: float) -> Section:
    table = summary(parts, [key], seed=seed)
    if key == "hour":
        table = table.assign(hour=[f"{hour:02.0f}:00" for hour in table["hour"]]).sort_values("hour", ignore_index=True)
    idle = {name for name in ("unmeasured", "fees_usd") if not table[name].any()}  # width is dear
    columns = [column for column in _columns(key, key.capitalize()) if column.key not in idle]
    draw = partial(trade_figures.cost_bars, table, key, (low, high))
    return Section(f"By {BY[key]}?", "Whiskers are 95 % intervals over days and orders; n is the number of orders.",
                   (Table("Cost", table, columns, cards=True),), draw)  # fmt: skip


def _model(parts: pd.DataFrame, market: pd.DataFrame | None) -> tuple[pd.DataFrame, CostModel] | None:
    return None if market is None else against_expected(parts, market)


def _expected(table: pd.DataFrame, law: CostModel) -> Section:
    how = "fitted to" if law.fitted else "assumed, not fitted, for want of orders:"
    words = (
        f"Cost from arrival = {law.spread_weight:.2f} × half-spread + {law.impact:.2f} × daily volatility × (shares / "
        f"daily volume)^{law.exponent:.2f}, {how} {law.orders} orders; it leaves {style.bps(law.residual_bps)} bps."
    )
    columns = (
        Column("client_order_id", "Order"),
        Column("symbol", "Symbol"),
        Column("cost_bps", "Cost, bps", style.bps),
        Column("expected_bps", "Expected, bps", style.bps),
        Column("participation", "Of daily volume", style.fine_percent),
        Column("z", "z", style.bps),
    )
    odd = table.sort_values("z", ascending=False, na_position="last", ignore_index=True)
    draw = partial(trade_figures.cost_and_size, table) if len(table) else None
    return Section(
        "More than it should have cost?",
        words,
        (Table("Orders, dearest against expectation first", odd, columns, shown=10),),
        draw,
    )


def _after(table: pd.DataFrame) -> Section:
    columns = (
        Column("horizon_seconds", "After", style.offset), Column("n", "n", style.count),
        Column("unknown", "Not known", style.count), Column("orders", "Orders", style.count),
        Column("realised_bps", "Realised, bps", style.bps), Column("permanent_bps", "Permanent, bps", style.bps),
        Column("low_bps", "95 % from", style.bps), Column("high_bps", "to", style.bps),
        Column("age_seconds", "Quote age, s", style.bps),
    )  # fmt: skip
    words = (
        "Permanent: above zero the price went on our way after the fill (or we pushed it); below zero it turned on us. "
        "Realised is what the other side kept; both add up to the spread term."
    )
    known = bool(len(table)) and bool(table["n"].sum())
    words = words if known else "Not known: the engine kept no quotes after these fills."
    draw = partial(trade_figures.markout_curve, table[table["n"] > 0]) if known else None
    shown = table if known else table.iloc[:0]
    empty = "No fill has quotes after it."
    return Section("What did the price do after our fills?", words, (Table("Markouts", shown, columns, empty),), draw)


def _worst(parts: pd.DataFrame, kept: pd.DataFrame | None, n: int = 10) -> Section:
    dear = parts[parts["slippage_bps"] > 0].nlargest(n, "slippage_bps").reset_index(drop=True)
    dear.insert(0, "fill", range(1, len(dear) + 1))
    columns = (
        Column("fill", "No.", style.count),
        Column("symbol", "Symbol"),
        Column("side", "Side"),
        Column("at", "At", style.moment),
        Column("quantity", "Shares", style.shares),
        Column("price", "Price", style.usd),
        Column("bid", "Bid", style.usd),
        Column("ask", "Ask", style.usd),
        Column("slippage_bps", "bps", style.bps),
        Column("spread_usd", "Cost, $", style.usd),
        Column("client_order_id", "Order"),
    )
    tables = [Table("The ten fills furthest from their mid", dear, columns, "No fill cost anything.", cards=True)]
    if kept is not None and len(dear):
        tables.append(_around(quotes_around(dear, kept)))
    return Section("Which fills were worst?", "Measured from the mid just before each fill.", tuple(tables))


def _around(around: pd.DataFrame) -> Table:
    """One row a fill, one column a moment: bid / ask."""
    quotes = [f"{style.usd(bid)} / {style.usd(ask)}" for bid, ask in zip(around["bid"], around["ask"], strict=True)]
    wide = around.assign(quote=quotes).pivot(index=["fill", "symbol"], columns="after_seconds", values="quote")
    wide.columns = [style.offset(seconds) for seconds in wide.columns]
    moments = [Column(name, name) for name in wide.columns]
    columns = (Column("fill", "Fill no.", style.count), Column("symbol", "Symbol"), *moments)
    empty = "No quotes were kept around them."
    return Table("The quotes around them, bid / ask, so long after the fill", wide.reset_index(), columns, empty,
                 cards=True)  # fmt: skip
