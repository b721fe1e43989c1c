"""Is the market fit to trade in? Volatility, spread, volume, gaps, halts and the market-wide move, against usual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd

from athena.analysis import style, trade_figures
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.inputs import answered
from athena.analysis.tables import Column, Table
from athena.analysis.volatility import against_usual, daily_moves, spreads

BREAKERS = (0.07, 0.13, 0.20)  # falls of the S&P 500 from its close before that stop all US trading


@dataclass(frozen=True)
class Thresholds:
    """Ratios to usual, moves in standard deviations, ages; above them a row fires."""

    volatility_ratio: float = 2.0
    spread_ratio: float = 3.0
    spread_bps: float = 25.0  # where no earlier session says what is usual
    volume_ratio_min: float = 0.25
    gap_z: float = 3.0
    market_z: float = 3.0
    market_fall_stop: float = BREAKERS[0]
    quiet_seconds: float = 300.0  # no bar and no quote for so long, market open: perhaps halted
    together_share: float = 0.9


@answered("Market conditions")
def assess(
    bars: pd.DataFrame,
    at: datetime,
    *,
    quotes: pd.DataFrame | None = None,
    market: str | None = None,
    halted: Iterable[str] = (),
    market_open: bool = True,
    thresholds: Thresholds | None = None,
) -> Assessment:
    """The market now against usual for this time of day, symbol by symbol, and as a whole.

    bars: symbol, at, open, high, low, close, volume; today's and at least five earlier sessions'. quotes: symbol, at,
    bid, ask. market: the symbol that stands for the market. halted: symbols the venue says are halted.
    """
    limits, now = thresholds or Thresholds(), pd.Timestamp(at)
    usual = against_usual(bars, now)
    if usual.empty:
        raise ValueError("there is no bar at or before the time asked for; get prices first")
    table = usual.merge(daily_moves(bars, now).drop(columns="sessions"), on="symbol", suffixes=("", "_day"))
    if quotes is not None and len(quotes):
        table = table.merge(spreads(quotes, now).drop(columns="sessions"), on="symbol", how="left")
    else:
        table = table.assign(spread_bps=np.nan, usual_spread_bps=np.nan, spread_ratio=np.nan, quoted_at=None)
    seen = pd.to_datetime(table[["last_at", "quoted_at"]].stack(), utc=True).groupby(level=0).max()
    table["quiet_seconds"] = (now - seen.reindex(table.index)).dt.total_seconds()
    told = set(halted)
    findings = [
        *_whole_market(table, market, limits),
        _halts(table, told, market_open, limits),
        _many(table, "volatility_ratio", limits.volatility_ratio, "Volatility", "Reduce sizes, widen limits:"),
        *_spread(table, quotes is not None, limits),
        _many(table, "gap_z", limits.gap_z, "Opening gap", "Review these before trading them:"),
        _thin(table, limits),
    ]
    verdict, reason, action = conclude(findings, "The market is as usual for this time of day.", "Trade.")
    numbers = {
        "symbols": len(table), "median_volatility_ratio": _median(table["volatility_ratio"]),
        "median_spread_ratio": _median(table["spread_ratio"]), "median_volume_ratio": _median(table["volume_ratio"]),
        "sessions_of_usual": int(table["sessions"].min()),
    }  # fmt: skip
    return Assessment("Market conditions", verdict, reason, action, at, tuple(findings), _sections(table), numbers,
                      {"market": market, "thresholds": vars(limits)})  # fmt: skip


def _whole_market(table: pd.DataFrame, market: str | None, limits: Thresholds) -> list[Finding]:
    found = []
    moves = table["move_fraction_day"].dropna()
    if len(moves) >= 4:
        share = max(float((moves > 0).mean()), float((moves < 0).mean()))
        way = "up" if (moves > 0).mean() >= 0.5 else "down"
        odd = share >= limits.together_share and way == "down"
        seen = f"{style.percent(share)} of {len(moves)} symbols {way}"
        found.append(
            Finding(
                "Breadth",
                Verdict.ATTENTION if odd else Verdict.OK,
                seen,
                f"{style.percent(limits.together_share)} down",
                f"{seen}: the move is market-wide." if odd else "",
                "Watch the drawdown; do not add to longs.",
                {"share": share, "way": way},
            )
        )
    if market is None:
        return found
    row = table[table["symbol"] == market]
    move = float(row["move_fraction_day"].iloc[0]) if len(row) else np.nan
    if move != move:
        return [Finding("Market-wide move", Verdict.UNKNOWN, "not known", "", f"{market} has no move today.",
                        "`athena health-check`: the market-data stream."), *found]  # fmt: skip
    z = float(row["move_z"].iloc[0])
    stop, odd = move <= -limits.market_fall_stop, abs(z) >= limits.market_z
    verdict = Verdict.STOP if stop else Verdict.ATTENTION if odd else Verdict.OK
    seen = f"{market} {style.fine_percent(move)}" + ("" if z != z else f", {z:.1f} σ of past sessions")
    left = next((level for level in BREAKERS if -move < level), None)
    action = (
        "No new entries; trading stops nation-wide at −7, −13 and −20 %." if stop else "Reduce sizes; review exits."
    )
    inputs = {"move_fraction": move, "move_z": z, "next_breaker": left}
    threshold = f"−{limits.market_fall_stop:.0%}, or {limits.market_z:.0f} σ"
    said = f"The market moved: {seen}."
    return [
        Finding(
            "Market-wide move", verdict, seen, threshold, said if verdict is not Verdict.OK else "", action, inputs
        ),
        *found,
    ]


def _halts(table: pd.DataFrame, told: set[str], market_open: bool, limits: Thresholds) -> Finding:
    quiet = set(table.loc[~(table["quiet_seconds"] <= limits.quiet_seconds), "symbol"]) if market_open else set()
    names = sorted(told | quiet)
    verdict = Verdict.STOP if told else Verdict.ATTENTION if quiet else Verdict.OK
    seen = ", ".join(f"{name}{'' if name in told else ' (silent)'}" for name in names) or "none"
    reason = f"Halted or silent: {seen}." if names else ""
    return Finding("Halted symbols", verdict, seen, f"told, or silent for {style.span(limits.quiet_seconds)}", reason,
                   f"Cancel orders there and halt them: `athena halt --symbol {names[0] if names else 'SYMBOL'}`.",
                   {"told": sorted(told), "silent": sorted(quiet)})  # fmt: skip


def _many(table: pd.DataFrame, column: str, limit: float, check: str, action: str) -> Finding:
    """A row per measure: which symbols pass its limit. Nothing measured is UNKNOWN."""
    values = table.set_index("symbol")[column].abs() if column.endswith("_z") else table.set_index("symbol")[column]
    known = values.dropna()
    unit = " σ" if column.endswith("_z") else " bps" if column.endswith("_bps") else " × usual"
    if known.empty:
        return Finding(check, Verdict.UNKNOWN, "no usual to compare with", f"{limit:g}{unit}",
                       f"{check}: no symbol has a value now and enough earlier sessions.",
                       "Get today's prices and at least five earlier sessions.")  # fmt: skip
    high = known[known >= limit].sort_values(ascending=False)
    seen = f"highest {known.idxmax()} {known.max():.1f}{unit}; {len(values) - len(known)} of {len(values)} not known"
    reason = f"{check} of {', '.join(high.index[:4])} is at or above {limit:g}{unit}." if len(high) else ""
    verdict = Verdict.ATTENTION if len(high) else Verdict.OK
    return Finding(
        check,
        verdict,
        seen,
        f"{limit:g}{unit}",
        reason,
        f"{action} {', '.join(high.index[:8])}.",
        {"symbols": {str(k): float(v) for k, v in high.items()}, "unknown": int(values.isna().sum())},
    )


def _spread(table: pd.DataFrame, given: bool, limits: Thresholds) -> list[Finding]:
    """Against usual; where no symbol has a usual, against a plain number. Without quotes there is no row."""
    action = "Trade these by limit orders:"
    if not given:
        return []
    if table["spread_ratio"].isna().all() and table["spread_bps"].notna().any():
        return [_many(table, "spread_bps", limits.spread_bps, "Spread", action)]
    return [_many(table, "spread_ratio", limits.spread_ratio, "Spread", action)]


def _thin(table: pd.DataFrame, limits: Thresholds) -> Finding:
    known = table.set_index("symbol")["volume_ratio"].dropna()
    low = known[known < limits.volume_ratio_min]
    verdict = Verdict.UNKNOWN if known.empty else Verdict.ATTENTION if len(low) else Verdict.OK
    seen = "no usual to compare with" if known.empty else f"lowest {known.idxmin()} {known.min():.2f} × usual"
    reason = (
        "Volume: no symbol has enough earlier sessions."
        if known.empty
        else f"Thin volume in {', '.join(low.index[:4])}."
    )
    return Finding(
        "Volume",
        verdict,
        seen,
        f"{limits.volume_ratio_min:g} × usual",
        reason if verdict is not Verdict.OK else "",
        "Make orders smaller there.",
        {"symbols": [str(name) for name in low.index]},
    )


def _sections(table: pd.DataFrame) -> dict[str, Section]:
    columns = (
        Column("symbol", "Symbol"),
        Column("move_fraction_day", "Today", style.fine_percent),
        Column("move_z", "σ", style.bps),
        Column("volatility_bps", "Volatility, bps", style.bps),
        Column("volatility_ratio", "× usual", style.usd),
        Column("spread_bps", "Spread, bps", style.bps),
        Column("spread_ratio", "× usual", style.usd),
        Column("volume_ratio", "Volume × usual", style.usd),
        Column("gap_fraction", "Gap", style.fine_percent),
        Column("gap_z", "σ", style.bps),
        Column("quiet_seconds", "Silent for", style.span),
        Column("sessions", "Sessions", style.count),
    )
    ordered = table.sort_values("volatility_ratio", ascending=False, na_position="last", ignore_index=True)
    draw = partial(trade_figures.ratios, ordered) if ordered["volatility_ratio"].notna().any() else None
    words = "The last half hour against the same half hour of earlier sessions; dashes: not known."
    return {
        "symbols": Section(
            "Which symbols are unlike themselves?", words, (Table("Now against usual", ordered, columns),), draw
        )
    }


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
