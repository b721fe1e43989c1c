"""What did each strategy and symbol earn? Recomputed from the fills, held against what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd

from athena.analysis import style, trade_figures
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.execution import longest_losing_run, with_slippage
from athena.analysis.inputs import Floats, answered, check_times, floats, need
from athena.analysis.pnl import take_in
from athena.analysis.resampling import block_positions
from athena.analysis.tables import Column, Table, rows_of
from athena.lot import Book
from athena.model import NEW_YORK

FILLS = ("at", "symbol", "strategy", "side", "quantity", "price", "fee", "bid", "ask")
NAMES = [
    "fills", "closing", "won_share", "average_win_usd", "average_loss_usd", "profit_factor", "gross_usd", "fees_usd",
    "net_usd", "slippage_usd", "turnover_usd", "days", "day_usd", "low_usd", "high_usd", "worst_day_usd",
    "drawdown_usd", "losing_run",
]  # fmt: skip


@dataclass(frozen=True)
class Thresholds:
    """Losing closes in a row from which a strategy needs attention; dollars that records may differ by."""

    losing_run: int = 5
    tolerance_usd: Decimal = Decimal("0.01")


def realise(fills: pd.DataFrame, before: Book) -> pd.DataFrame:
    """The fills by whose shares they were, with realised (exact dollars, before fees), closing (bool), day, slippage.

    fills: FILLS, in time's order, floats or Decimals. before: the book before the first; an empty one says that
    nothing was held. An operator's exit is its strategy's (`athena.lot`).
    """
    need(fills, FILLS, "the fills")
    check_times(pd.DatetimeIndex(fills["at"]), "the fills", unique=False)
    if "execution_id" in fills and not fills["execution_id"].is_unique:
        raise ValueError("an execution is there twice; drop the repeats first")
    exact = fills.copy()
    for name in ("quantity", "price", "fee"):
        if (~np.isfinite(floats(fills[name]))).any():
            raise ValueError(f"a fill has no {name}; nothing can be concluded")
        exact[name] = pd.Series([_exact(v) for v in fills[name]], fills.index, dtype=object)
    parts = take_in(exact, before.copy()).reset_index(drop=True)
    signed = floats(parts["quantity"]) * np.where(parts["side"] == "buy", 1.0, -1.0)
    held = pd.Series(signed).groupby([parts["symbol"], parts["strategy"]]).cumsum().to_numpy() - signed
    keys = zip(parts["strategy"], parts["symbol"], strict=True)
    held = held + np.array([float(before.lot(*key).quantity) for key in keys])
    local = pd.DatetimeIndex(parts["at"]).tz_convert(NEW_YORK)
    return with_slippage(parts).assign(closing=np.round(held, 9) * signed < 0, day=local.strftime("%Y-%m-%d"))


def performance(realised: pd.DataFrame, keys: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
    """Closed profit by the keys, largest loss first; columns keys and NAMES.

    realised: from `realise`. won_share is of closing fills; profit_factor is gains over losses (NaN without losses);
    low_usd and high_usd are the mean day's 95 % interval by resampling blocks of days (NaN under 20 days);
    drawdown_usd the deepest fall of net profit from its best, from 0.
    """
    rows = []
    for key, part in realised.groupby(list(keys), sort=True):
        closes = part[part["closing"]]
        gains = closes["realised"].astype(float).to_numpy()
        wins, losses = gains[gains > 0], gains[gains < 0]
        gross, fees = sum(part["realised"], Decimal(0)), sum(part["fee"], Decimal(0))
        net = (part["realised"] - part["fee"]).astype(float)
        days = net.groupby(part["day"]).sum().to_numpy()
        path = np.concatenate([[0.0], np.cumsum(net.to_numpy())])
        low, high = _interval(np.asarray(days), seed)
        rows.append(
            [
                *key,
                len(part),
                len(closes),
                len(wins) / len(gains) if len(gains) else np.nan,
                wins.mean() if len(wins) else np.nan,
                losses.mean() if len(losses) else np.nan,
                wins.sum() / -losses.sum() if len(losses) else np.nan,
                gross,
                fees,
                gross - fees,
                part["cost_usd"].sum(min_count=1),
                part["notional_usd"].astype(float).sum(),
                len(days),
                days.mean(),
                low,
                high,
                days.min(),
                float((path - np.maximum.accumulate(path)).min()),
                longest_losing_run(closes["realised"]),
            ]
        )
    return pd.DataFrame(rows, columns=[*keys, *NAMES]).sort_values("net_usd", ignore_index=True)


@answered("Performance")
def assess(
    fills: pd.DataFrame,
    *,
    before: Book,
    recorded: Mapping[str, Decimal] | None = None,
    thresholds: Thresholds | None = None,
    as_of: datetime | None = None,
    seed: int = 0,
) -> Assessment:
    """Closed profit by strategy and by symbol from the fills alone, against recorded realised dollars by strategy.

    fills: FILLS; before: the book before the first fill.
    """
    limits = thresholds or Thresholds()
    if fills.empty:
        need(fills, FILLS, "the fills")
        finding = Finding(
            "Was anything traded?",
            Verdict.UNKNOWN,
            "no fill",
            "",
            "There is no fill to recompute from.",
            "Choose another time span.",
        )
        return Assessment(
            "Performance", finding.verdict, finding.reason, finding.action, as_of, (finding,), {}, {"fills": 0}, {}
        )
    realised = realise(fills, before)
    by_strategy, by_symbol = (
        performance(realised, ["strategy"], seed=seed),
        performance(realised, ["symbol"], seed=seed),
    )
    findings = [_run(row.strategy, int(row.losing_run), limits) for row in rows_of(by_strategy)]
    if recorded is not None:
        sums = dict(zip(by_strategy["strategy"], by_strategy["gross_usd"], strict=True))
        findings += [
            _same(name, sums.get(name, Decimal(0)), recorded.get(name), limits) for name in sorted({*sums, *recorded})
        ]
    verdict, reason, action = conclude(findings, "No strategy loses in a row, and the records agree.", "Nothing to do.")
    net = sum(by_strategy["net_usd"], Decimal(0))
    numbers = {
        "fills": len(fills), "gross_usd": sum(by_strategy["gross_usd"], Decimal(0)), "net_usd": net,
        "fees_usd": sum(by_strategy["fees_usd"], Decimal(0)), "days": int(realised["day"].nunique()),
        "unmeasured_fills": int(realised["cost_usd"].isna().sum()),
    }  # fmt: skip
    tables = [
        _table(by_strategy, "strategy"),
        _table(by_symbol, "symbol"),
        _table(performance(realised, ["strategy", "symbol"], seed=seed), "strategy", "symbol"),
    ]
    sections = {
        "strategies": Section("What did each strategy earn?", "Closed profit after fees; open positions are not in it.",
                              (tables[0],), partial(trade_figures.profit_paths, realised)),
        "symbols": Section("And in which symbols?", "", (tables[1], tables[2])),
    }  # fmt: skip
    latest = as_of or pd.DatetimeIndex(fills["at"]).max().floor("us").to_pydatetime()
    return Assessment("Performance", verdict, reason, action, latest, tuple(findings), sections, numbers, {})


def _run(strategy: str, run: int, limits: Thresholds) -> Finding:
    bad = run >= limits.losing_run
    return Finding(
        f"{strategy}: losses in a row",
        Verdict.ATTENTION if bad else Verdict.OK,
        str(run),
        str(limits.losing_run),
        f"{strategy} lost on {run} closing fills in a row." if bad else "",
        f"Review it; consider pausing it: `athena halt --strategy {strategy}`.",
        {"losing_run": run},
    )


def _same(strategy: str, ours: Decimal, recorded: Decimal | None, limits: Thresholds) -> Finding:
    check = f"{strategy}: recorded profit"
    if recorded is None:
        return Finding(
            check,
            Verdict.UNKNOWN,
            "not recorded",
            style.dollars(ours),
            f"{strategy} has no recorded profit.",
            "Look at the journal.",
        )
    off = recorded - ours
    good = abs(off) <= limits.tolerance_usd
    return Finding(
        check,
        Verdict.OK if good else Verdict.STOP,
        style.dollars(recorded),
        style.dollars(ours),
        "" if good else f"{strategy}'s recorded profit differs from its fills by {style.dollars(off)}.",
        "`athena verify-journal`, then `athena reconcile`.",
        {"recorded_usd": recorded, "fills_usd": ours},
    )


def _table(frame: pd.DataFrame, *keys: str) -> Table:
    columns = (
        *(Column(key, key.capitalize()) for key in keys),
        Column("fills", "Fills", style.count),
        Column("closing", "Closing", style.count),
        Column("won_share", "Won", style.percent),
        Column("profit_factor", "Gains / losses", style.usd),
        Column("gross_usd", "Gross, $", style.usd),
        Column("fees_usd", "Fees, $", style.usd),
        Column("net_usd", "Net, $", style.usd),
        Column("slippage_usd", "Slippage inside, $", style.usd),
        Column("days", "Days", style.count),
        Column("day_usd", "A day, $", style.usd),
        Column("low_usd", "95 % from", style.usd),
        Column("high_usd", "to", style.usd),
        Column("worst_day_usd", "Worst day, $", style.usd),
        Column("drawdown_usd", "Drawdown, $", style.usd),
        Column("losing_run", "Losses in a row", style.count),
    )
    return Table(f"By {' and '.join(keys)}, largest loss first", frame, columns)


def _interval(days: Floats, seed: int) -> tuple[float, float]:
    if len(days) < 20:
        return np.nan, np.nan
    means = days[block_positions(len(days), len(days), 500, 3.0, seed)].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _exact(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(repr(float(value)))  # type: ignore[arg-type]
