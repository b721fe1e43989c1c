"""How deep is the account under water, is that unusual, why, and what would breach the next limit?

`assess` applies the operators' matrix (5, 10, 15 per cent) to the present drawdown; the table is in `drawdown_table`,
the dollars from peak to valley in `attribution`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis import risk_figures, style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.attribution import Attribution
from athena.analysis.drawdown_table import Curve, curve_of, drawdowns
from athena.analysis.inputs import Floats, answered, by_session
from athena.analysis.resampling import block_positions
from athena.analysis.tables import Column, Table

SESSIONS_MIN = 60
ROUNDING = 1e-12  # 10 % below is at 10 %, whatever floats make of it
RUNS, BLOCK_SESSIONS, HORIZON_MAX = 1000, 5.0, 252
TABLE = (
    Column("peak", "Peak", style.moment), Column("start", "Under from", style.moment),
    Column("valley", "Valley", style.moment), Column("recovery", "Recovered", style.moment),
    Column("depth_fraction", "Depth", style.fine_percent), Column("depth_usd", "Depth, $", style.usd),
    Column("bars", "Points", style.count), Column("sessions", "Sessions", style.count), Column("status", "Status"),
)  # fmt: skip


@dataclass(frozen=True)
class Tiers:
    """The fractions at which the operators' playbook acts, and by how much it reduces sizes first."""

    reduce_size: float = 0.05
    reduce_only: float = 0.10
    halt: float = 0.15
    size_factor: float = 0.75


@dataclass(frozen=True)
class Standing:
    """The present drawdown among those that resampled pasts of the same length show.

    deeper_share: the share of resampled pasts that end at least this deep. p80, p95, p99: depths (≤ 0) that so many of
    their deepest drawdowns do not exceed. sample: where resampled pasts end, for the figure.
    """

    sessions: int
    now_fraction: float
    deeper_share: float
    deepest_share: float
    p80: float
    p95: float
    p99: float
    sample: Floats


def standing(closes: Floats, *, seed: int = 0, runs: int = RUNS) -> Standing | None:
    """Where the last close's drawdown stands against block-bootstrapped pasts; None without 60 returns to resample.

    closes: wealth at each session's close. Resampled are the returns up to the last peak: the present drawdown among
    them would hide itself. The horizon is the whole past's length, at most 252 sessions.
    """
    sample = closes[: int(np.flatnonzero(closes == closes.max())[-1]) + 1]
    returns = sample[1:] / sample[:-1] - 1
    if len(returns) < SESSIONS_MIN:
        return None
    horizon = min(len(closes) - 1, HORIZON_MAX)
    recent = closes[-horizon - 1 :]
    depth = recent / np.maximum.accumulate(recent) - 1
    drawn = returns[block_positions(len(returns), horizon, runs, BLOCK_SESSIONS, seed)]
    wealth = np.cumprod(np.hstack([np.ones((runs, 1)), 1 + drawn]), axis=1)
    depths = wealth / np.maximum.accumulate(wealth, axis=1) - 1
    ends, deepest = depths[:, -1], depths.min(axis=1)
    marks = np.quantile(deepest, [0.2, 0.05, 0.01])
    return Standing(
        horizon, float(depth[-1]), float((ends <= depth[-1]).mean()), float((deepest <= depth.min()).mean()),
        float(marks[0]), float(marks[1]), float(marks[2]), ends,
    )  # fmt: skip


def breaches(
    headroom_usd: Mapping[str, float], *, beta_usd: float | None = None, losing_day_usd: float | None = None
) -> pd.DataFrame:
    """The smallest move of the market that uses up each limit's headroom, and how many average losing days.

    headroom_usd: dollars that may still be lost, by limit; zero or less is breached. beta_usd: Σ βᵢ × signed dollars
    held. Columns: limit, headroom_usd, market_move_fraction (NaN where no market move of at most 100 % would do it,
    or beta is unknown), losing_days (NaN where unknown).
    """
    rows = []
    for limit, left in headroom_usd.items():
        room = max(float(left), 0.0)
        move = -room / beta_usd if beta_usd else np.nan
        days = room / losing_day_usd if losing_day_usd and losing_day_usd > 0 else np.nan
        rows.append([limit, float(left), move if abs(move) <= 1 else np.nan, days])
    columns = ["limit", "headroom_usd", "market_move_fraction", "losing_days"]
    return pd.DataFrame(rows, columns=columns).sort_values("headroom_usd", ignore_index=True)


@answered("Drawdown")
def assess(
    data: pd.Series,
    *,
    kind: str,
    flows: pd.Series | None = None,
    capital: float | None = None,
    tiers: Tiers | None = None,
    beta_usd: float | None = None,
    headroom_usd: Mapping[str, float] | None = None,
    attribution: Attribution | None = None,
    as_of: datetime | None = None,
    seed: int = 0,
) -> Assessment:
    """The present drawdown against the operators' tiers, its history, standing, cause and what would breach a limit.

    data, kind, flows, capital: as `drawdown_table.curve_of`. beta_usd: dollars of market held (Σ βᵢ × market value);
    headroom_usd: further limits, dollars left. UNKNOWN when the data cannot be judged; TypeError on a wrong `kind`.
    """
    tiers = tiers or Tiers()
    curve = curve_of(data, kind=kind, flows=flows, capital=capital)
    table = drawdowns(curve)
    depth = curve.depth()
    if curve.wealth is None:
        raise ValueError("profits alone have no per cent; give the capital at their start as capital=")
    now, deepest = float(depth[-1]), float(depth.min())
    profit = curve.profit
    now_usd = None if profit is None else float(profit[-1] - profit[int(curve.wealth.argmax())]) if now < 0 else 0.0
    closes = _closes(curve)
    stands = standing(closes.to_numpy(), seed=seed)
    equity = float(data.dropna().iloc[-1]) if kind == "equity" else None
    room = dict(_tier_headroom(curve, tiers, equity)) | dict(headroom_usd or {})
    losses = np.diff(closes.to_numpy()) / closes.to_numpy()[:-1]
    typical = float(-losses[losses < 0].mean() * equity) if equity and (losses < 0).any() else None
    limits = breaches(room, beta_usd=beta_usd, losing_day_usd=typical)
    findings = [_tier(now, now_usd, tiers)]
    if stands is not None:
        findings.append(_unusual(stands))
    if attribution is not None:
        findings.append(attribution.finding)
    verdict, reason, action = conclude(findings, findings[0].reason, "Nothing to do.")
    numbers = {
        "now_fraction": now, "now_usd": now_usd, "max_fraction": deepest, "drawdowns": len(table),
        "open": bool(now < 0), "points": curve.points, "missing": curve.missing, "sessions": len(closes),
        "deeper_share": stands and stands.deeper_share, "p95_fraction": stands and stands.p95,
        "losing_day_usd": typical,
    }  # fmt: skip
    return Assessment(
        "Drawdown", verdict, reason, action, as_of or curve.times[-1].to_pydatetime(), tuple(findings),
        _sections(curve, table, stands, limits, attribution), numbers, {"kind": kind, "tiers": vars(tiers)},
    )  # fmt: skip


def _tier(now: float, now_usd: float | None, tiers: Tiers) -> Finding:
    fall = -now
    less = f"{(1 - tiers.size_factor) * 100:.0f} %"
    rows = (
        (tiers.halt, Verdict.STOP, "Emergency stop, then review by hand: `athena emergency-stop`."),
        (tiers.reduce_only, Verdict.STOP, "No new entries; review the exits: `athena halt --reduce-only`."),
        (tiers.reduce_size, Verdict.ATTENTION, f"Reduce position sizes by {less}: "
         f"`athena reduce-position-sizes --factor {tiers.size_factor}`."),
        (0.0, Verdict.OK, "Monitor."),
    )  # fmt: skip
    at, verdict, action = next(row for row in rows if fall + ROUNDING >= row[0])
    money = "" if now_usd is None else f", {style.dollars(now_usd)}"
    said = f"The account is {style.fine_percent(fall)} below its peak{money}."
    steps = " / ".join(style.percent(tier) for tier in (tiers.reduce_size, tiers.reduce_only, tiers.halt))
    inputs = {"fall_fraction": fall, "threshold_fraction": at, "tiers": vars(tiers)}
    return Finding("Drawdown now", verdict, style.fine_percent(fall), steps, said, action, inputs)


def _unusual(stands: Standing) -> Finding:
    share = stands.deeper_share
    odd = stands.now_fraction < 0 and share < 0.05
    inputs = {"deeper_share": share, "sessions": stands.sessions, "runs": len(stands.sample)}
    return Finding(
        "Is it unusual for this account?", Verdict.ATTENTION if odd else Verdict.OK,
        f"{style.percent(share)} of resampled pasts end as deep", "5.0 %",
        f"Only {style.percent(share)} of {len(stands.sample)} resampled pasts end this deep." if odd else "",
        "Ask what changed: market, strategy or costs; see the attribution.", inputs,
    )  # fmt: skip


def _closes(curve: Curve) -> pd.Series:
    """Wealth at each session's close, the base first."""
    base = curve.wealth[:1] if curve.wealth is not None else np.ones(1)
    known = slice(1, None)  # the first point is the base, with or without a time
    series: pd.Series = pd.Series(curve.wealth, curve.times).iloc[known]
    if series.empty:
        return pd.Series(base)
    closes: pd.Series = pd.concat([pd.Series(base, [series.index[0]]), by_session(series)])
    return closes


def _tier_headroom(curve: Curve, tiers: Tiers, equity: float | None) -> list[tuple[str, float]]:
    """Dollars that may be lost before each tier; none where dollars are unknown."""
    if equity is None or curve.wealth is None:
        return []
    best = equity * float(curve.wealth.max() / curve.wealth[-1])
    steps = {"reduce sizes": tiers.reduce_size, "reduce-only": tiers.reduce_only, "halt": tiers.halt}
    return [(f"drawdown {style.percent(at)}: {name}", equity - best * (1 - at)) for name, at in steps.items()]


def _sections(
    curve: Curve, table: pd.DataFrame, stands: Standing | None, limits: pd.DataFrame, why: Attribution | None
) -> dict[str, Section]:
    worst = table.sort_values("depth_fraction", ignore_index=True)
    gaps = f" {curve.missing} points had no equity and were left out." if curve.missing else ""
    depth_key: Any = pd.Series(curve.depth(), curve.times)
    history = Section(
        "How deep, and how often before?",
        f"{len(table)} drawdowns in {curve.points} points; the five deepest are shaded. Deposits and withdrawals are "
        f"taken out.{gaps}",
        (Table("Drawdowns, deepest first", worst, TABLE, "The curve never fell below its peak."),),
        partial(risk_figures.underwater, pd.Series(curve.wealth, curve.times), depth_key, worst.head(5)),
    )
    sections = {"history": history}
    if len(table):
        sections["shape"] = Section(
            "Is the present one deep or long among them?", "Each point is a drawdown; a diamond is still open.",
            draw=partial(risk_figures.depth_and_length, table),
        )  # fmt: skip
    if stands is None:
        words = f"Not known: fewer than {SESSIONS_MIN} sessions of returns up to the peak."
        sections["standing"] = Section("Is it unusual for this account?", words)
    else:
        words = (
            f"{RUNS} pasts of {stands.sessions} sessions, resampled in blocks of {BLOCK_SESSIONS:.0f}. Their deepest "
            f"drawdowns: 80 % stay above {style.percent(stands.p80)}, 95 % above {style.percent(stands.p95)}, 99 % "
            f"above {style.percent(stands.p99)}."
        )
        draw = partial(risk_figures.where_it_stands, stands.sample, stands.now_fraction)
        sections["standing"] = Section("Is it unusual for this account?", words, draw=draw)
    if why is not None:
        sections["cause"] = why.section
    columns = (
        Column("limit", "Limit"), Column("headroom_usd", "Left, $", style.usd),
        Column("market_move_fraction", "Market move", style.fine_percent),
        Column("losing_days", "Average losing days", style.bps),
    )  # fmt: skip
    words = "A dash: no market move alone would, or the market exposure is not known. Gaps through a stop come on top."
    sections["breach"] = Section("What would breach a limit?", words, (Table("Headroom", limits, columns),))
    return sections
