"""What could the present positions lose in a session? By history and by EWMA, with n, and tested on the journal's past.

The loss of a day is today's positions times that day's returns: not the past portfolio's. VaR and ES are positive
dollars. EWMA: each day's loss is rescaled by present over then volatility (Hull and White 1998). ES is Rockafellar and
Uryasev's, exact for a fractional tail. Kupiec (1995): the exceptions' share against its promise, χ² with 1 degree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd

from athena.analysis import risk_figures, style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.correlation import DECAY
from athena.analysis.exposure import check_held
from athena.analysis.inputs import Floats, answered, check_times, simple_returns
from athena.analysis.tables import Column, Table

DAYS, DAYS_MIN = 500, 60
LEVELS = (("VaR 95 %", "var", 0.95), ("VaR 99 %", "var", 0.99), ("ES 97.5 %", "es", 0.975))


@dataclass(frozen=True)
class Kupiec:
    """How often losses passed the VaR, and whether that fits its promise; p_value is two-sided."""

    days: int
    exceptions: int
    expected: float
    statistic: float
    p_value: float


def value_at_risk(losses: Floats, level: float) -> float:
    """The loss not passed on a share `level` of days (linear between order statistics); NaN when n(1 − level) < 1."""
    return float(np.quantile(losses, level)) if _enough(losses, level) else np.nan


def expected_shortfall(losses: Floats, level: float) -> float:
    """The mean loss of the worst share 1 − level of days; NaN when n(1 − level) < 1."""
    if not _enough(losses, level):
        return np.nan
    tail = len(losses) * (1 - level)
    whole = int(np.ceil(tail - 1e-9)) - 1
    worst = np.sort(losses)[::-1]
    return float((worst[:whole].sum() + (tail - whole) * worst[whole]) / tail)


def losses_of(returns: pd.DataFrame, held: pd.Series, *, days: int = DAYS) -> tuple[Floats, int]:
    """Today's positions on each of the last `days` days' returns: losses in dollars, and how many days were dropped.

    A day with a missing return of a held symbol is dropped. Raises ValueError on a held symbol without returns, or
    fewer than 60 days left.
    """
    check_held(held)
    held = held[held != 0]
    if missing := [str(symbol) for symbol in held.index if symbol not in returns.columns]:
        raise ValueError(f"no returns for {', '.join(missing)}, which are held")
    rows = returns[list(held.index)].iloc[-days:]
    values = rows.to_numpy(dtype=float)
    known = ~np.isnan(values).any(axis=1)
    if known.sum() < DAYS_MIN:
        raise ValueError(f"{int(known.sum())} days have returns of every position; VaR needs {DAYS_MIN}")
    return np.asarray(-(values[known] @ held.to_numpy(dtype=float))), int((~known).sum())


def rescaled(losses: Floats, *, decay: float = DECAY) -> Floats:
    """Losses as they would be at present volatility: each over its own EWMA volatility before it, times the latest."""
    power, level = np.empty(len(losses)), float((losses[:20] ** 2).mean()) if len(losses) else 0.0
    for day, square in enumerate(losses**2):
        power[day] = level  # known before the day
        level = decay * level + (1 - decay) * float(square)
    if not level > 0:
        return losses
    return np.asarray(losses * np.sqrt(level / np.where(power > 0, power, level)))


def forecasts(returns: pd.DataFrame, held_by_day: pd.DataFrame, level: float = 0.95, *, days: int = DAYS) -> pd.Series:
    """The VaR that stood before each day: its positions on the returns before it. NaN where it could not be had.

    held_by_day: signed dollars at each day's open, same kind of index as returns (a day's row belongs to its return).
    """
    found = {}
    for day, row in held_by_day.iterrows():
        before = returns[returns.index < day]
        try:
            found[day] = value_at_risk(losses_of(before, row.fillna(0.0), days=days)[0], level)
        except ValueError:  # too little history yet: that day has no forecast
            found[day] = np.nan
    return pd.Series(found, dtype=float)


def kupiec(profit: pd.Series, var: pd.Series, level: float) -> Kupiec:
    """Tests forecasts on what came: profit in dollars and positive VaR by day. Raises ValueError on no common day."""
    from scipy.stats import chi2

    both = pd.concat([profit.rename("profit"), var.rename("var")], axis=1, join="inner").dropna()
    n, p = len(both), 1 - level
    if not n:
        raise ValueError("no day has both a profit and a VaR; nothing can be tested")
    x = int((-both["profit"] > both["var"]).sum())
    share = x / n
    quiet = (n - x) * np.log((1 - p) / (1 - share)) if x < n else 0.0
    loud = x * np.log(p / share) if x else 0.0
    statistic = max(0.0, -2 * (quiet + loud))
    return Kupiec(n, x, n * p, float(statistic), float(chi2.sf(statistic, 1)))


@answered("Value at risk")
def assess(
    data: pd.DataFrame,
    *,
    kind: str,
    held: pd.Series,
    equity: float,
    limit_usd: float | None = None,
    past_profit: pd.Series | None = None,
    past_var: pd.Series | None = None,
    as_of: datetime | None = None,
) -> Assessment:
    """What the present positions could lose in a session, and whether such figures have held.

    data: daily prices or returns (`kind`), aware time × symbol. held: signed dollars by symbol. limit_usd: the daily
    loss limit; a VaR 95 above it needs attention. past_profit, past_var: by day, for Kupiec's test at 95 %.
    """
    returns = simple_returns(data, kind=kind)
    if not equity > 0:
        raise ValueError(f"equity is {equity}; nothing is left to risk")
    if not (held != 0).any():
        return Assessment(
            "Value at risk", Verdict.OK, "Nothing is held.", "Nothing to do.", as_of, (), {}, {"var_95_usd": 0.0}, {}
        )
    losses, dropped = losses_of(returns, held)
    scaled = rescaled(losses)
    rows = []
    for name, which, level in LEVELS:
        figure = value_at_risk if which == "var" else expected_shortfall
        by_history, by_ewma = figure(losses, level), figure(scaled, level)
        rows.append([name, by_history, by_history / equity, by_ewma, by_ewma / equity, len(losses)])
    columns = ["figure", "history_usd", "history_fraction", "ewma_usd", "ewma_fraction", "n"]
    table = pd.DataFrame(rows, columns=columns)
    findings = [_held_to(table, limit_usd)]
    tested = None
    if past_profit is not None and past_var is not None:
        for series, name in ((past_profit, "past profits"), (past_var, "past VaR")):
            check_times(series.index, f"the {name}")
        tested = kupiec(past_profit, past_var, 0.95)
        findings.append(_fits(tested))
    verdict, reason, action = conclude(findings, findings[0].reason, "Nothing to do.")
    heads = ("Figure", "By history, $", "of equity", "By EWMA, $", "of equity", "Days")
    writes = (style.text, style.usd, style.fine_percent, style.usd, style.fine_percent, style.count)
    shown = tuple(Column(c, h, w) for c, h, w in zip(columns, heads, writes, strict=True))
    words = f"Today's positions on {len(losses)} past days; {dropped} days lack a return. Dashes: too few days."
    sections = {
        "risk": Section("What could a session lose?", words, (Table("One session's loss", table, shown),),
                        partial(risk_figures.loss_histogram, losses, float(table["history_usd"].iloc[0])))
    }  # fmt: skip
    numbers = {
        "var_95_usd": table["history_usd"].iloc[0], "var_99_usd": table["history_usd"].iloc[1],
        "es_975_usd": table["history_usd"].iloc[2], "var_95_ewma_usd": table["ewma_usd"].iloc[0],
        "days": len(losses), "days_dropped": dropped, "kupiec_p_value": tested and tested.p_value,
        "exceptions": tested and tested.exceptions,
    }  # fmt: skip
    known = as_of or returns.index[-1].to_pydatetime()
    return Assessment(
        "Value at risk", verdict, reason, action, known, tuple(findings), sections, numbers, {"kind": kind}
    )


def _held_to(table: pd.DataFrame, limit_usd: float | None) -> Finding:
    var = float(np.nanmax(table.loc[0, ["history_usd", "ewma_usd"]].to_numpy(dtype=float)))
    above = limit_usd is not None and not var <= limit_usd
    seen = style.dollars(var)
    reason = f"One session in twenty may lose {seen} or more" + (", above the daily loss limit." if above else ".")
    limit = "" if limit_usd is None else style.dollars(limit_usd)
    return Finding(
        "VaR 95 %, the larger of two",
        Verdict.ATTENTION if above else Verdict.OK,
        seen,
        limit,
        reason,
        "Reduce position sizes, or expect the limit to halt trading.",
        {"var_95_usd": var, "limit_usd": limit_usd},
    )


def _fits(test: Kupiec) -> Finding:
    bad = test.p_value < 0.05
    few = test.exceptions < test.expected
    side = "fewer losses passed the VaR than it promises" if few else "more losses passed the VaR than it promises"
    seen = f"{test.exceptions} of {test.days} days, {test.expected:.1f} promised; p {test.p_value:.3f}"
    verdict = Verdict.ATTENTION if bad else Verdict.OK
    return Finding("Has VaR held? (Kupiec)", verdict, seen, "p at least 0.05", f"In the past {side}." if bad else "",
                   "Do not lean on these figures; prefer the EWMA ones and the limits.", vars(test))  # fmt: skip


def _enough(losses: Floats, level: float) -> bool:
    if not 0.5 <= level < 1:
        raise ValueError(f"the level is {level}; say 0.95 for 95 %")
    return len(losses) * (1 - level) >= 1 - 1e-9
