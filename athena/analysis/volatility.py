"""How wild is each symbol now, against usual for this time of day? Volatility, volume, spread and gaps.

"Now" is the window that ends at the latest bar; "usual" is the same window, by New York wall time, of each earlier
session. A symbol with fewer than `SESSIONS_MIN` such sessions has no usual: its ratios are NaN, and n says why.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from athena.analysis.inputs import Floats, check_times, need
from athena.analysis.shortfall import mid_of
from athena.model import NEW_YORK

SESSIONS_MIN = 5
HALF_HOUR, FIVE_MINUTES = pd.Timedelta("30min"), pd.Timedelta("5min")
BARS = ("symbol", "at", "open", "high", "low", "close", "volume")


def against_usual(bars: pd.DataFrame, at: pd.Timestamp, window: pd.Timedelta = HALF_HOUR) -> pd.DataFrame:
    """Each symbol's last `window` up to `at` against the same wall time of earlier sessions.

    bars: BARS, `at` the aware start of each bar, sorted, at most one a symbol and time. Columns: symbol, bars,
    volatility_bps (√Σr² of the window), usual_volatility_bps (median), volatility_ratio, volume, usual_volume,
    volume_ratio, move_fraction (over the window), sessions (n of usual), last_at (of the newest bar).
    """
    frame = _checked(bars, at)
    local = pd.DatetimeIndex(frame["at"]).tz_convert(NEW_YORK)
    clock = local - local.normalize()
    end = at.tz_convert(NEW_YORK) - at.tz_convert(NEW_YORK).normalize()
    taken = frame.assign(day=local.strftime("%Y-%m-%d"))[(clock > end - window) & (clock <= end)]
    taken = taken.assign(r=np.log(taken["close"] / taken["open"]))
    sums = taken.assign(power=taken["r"] ** 2).groupby(["symbol", "day"]).agg(
        bars=("r", "count"), power=("power", "sum"), volume=("volume", "sum"), move=("r", "sum"), last_at=("at", "max"),
    )  # fmt: skip
    today = at.tz_convert(NEW_YORK).strftime("%Y-%m-%d")
    rows = []
    for symbol in sorted(frame["symbol"].unique()):
        days = sums.loc[symbol] if symbol in sums.index.get_level_values(0) else sums.iloc[:0].droplevel(0)
        now, past = days[days.index == today], days[days.index < today]
        past = past[past["bars"] > 0]
        vol = float(np.sqrt(now["power"].iloc[0]) * 1e4) if len(now) and now["bars"].iloc[0] else np.nan
        volume = float(now["volume"].iloc[0]) if len(now) else np.nan
        usual = [float(np.sqrt(past["power"]).median() * 1e4), float(past["volume"].median())]
        usual = usual if len(past) >= SESSIONS_MIN else [np.nan, np.nan]
        latest = frame.loc[frame["symbol"] == symbol, "at"].max()
        move = float(np.expm1(now["move"].iloc[0])) if len(now) else np.nan
        bars_now = int(now["bars"].iloc[0]) if len(now) else 0
        rows.append([symbol, bars_now, vol, usual[0], _ratio(vol, usual[0]), volume, usual[1], _ratio(volume, usual[1]),
                     move, len(past), latest])  # fmt: skip
    names = ["symbol", "bars", "volatility_bps", "usual_volatility_bps", "volatility_ratio", "volume", "usual_volume",
             "volume_ratio", "move_fraction", "sessions", "last_at"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def daily_moves(bars: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Each symbol's session against its own past.

    Columns: symbol, gap_fraction (open over the close before), gap_z, move_fraction (latest over the close before),
    move_z, sessions. z is in standard deviations of past sessions.
    """
    frame = _checked(bars, at)
    frame["day"] = pd.DatetimeIndex(frame["at"]).tz_convert(NEW_YORK).strftime("%Y-%m-%d")
    days = frame.groupby(["symbol", "day"]).agg(first=("open", "first"), last=("close", "last"))
    today = at.tz_convert(NEW_YORK).strftime("%Y-%m-%d")
    rows = []
    for symbol, part in days.groupby(level=0):
        part = part.droplevel(0)
        before = part["last"].shift(1)
        gap, move = part["first"] / before - 1, part["last"] / before - 1
        now = part.index == today
        past = int((move.notna() & ~now).sum())
        row = [float(s[now].iloc[0]) if now.any() else np.nan for s in (gap, move)]
        spread = [float(s[~now].std()) if past >= SESSIONS_MIN else np.nan for s in (gap, move)]
        rows.append([symbol, row[0], _ratio(row[0], spread[0]), row[1], _ratio(row[1], spread[1]), past])
    return pd.DataFrame(rows, columns=["symbol", "gap_fraction", "gap_z", "move_fraction", "move_z", "sessions"])


def spreads(quotes: pd.DataFrame, at: pd.Timestamp, window: pd.Timedelta = FIVE_MINUTES) -> pd.DataFrame:
    """Each symbol's quoted spread now (median over the last window) against the same wall time before.

    quotes: symbol, at, bid, ask. Columns: symbol, spread_bps, usual_spread_bps, spread_ratio, quotes (n now),
    unusable (crossed, one-sided or not positive, now), sessions, quoted_at.
    """
    need(quotes, ("symbol", "at", "bid", "ask"), "the quotes")
    times = check_times(pd.DatetimeIndex(quotes["at"]), "the quotes", unique=False)
    frame = quotes[times <= at].copy()
    mid = mid_of(frame["bid"], frame["ask"])
    frame["spread"] = (frame["ask"].astype(float) - frame["bid"].astype(float)) / mid * 1e4
    local = pd.DatetimeIndex(frame["at"]).tz_convert(NEW_YORK)
    clock, end = local - local.normalize(), at.tz_convert(NEW_YORK) - at.tz_convert(NEW_YORK).normalize()
    inside = (clock > end - window) & (clock <= end)
    frame["day"] = local.strftime("%Y-%m-%d")
    today = at.tz_convert(NEW_YORK).strftime("%Y-%m-%d")
    rows = []
    for symbol, part in frame.groupby("symbol"):
        near = part[inside[frame["symbol"].to_numpy() == symbol]]
        now = near[near["day"] == today]
        past = near[near["day"] < today].groupby("day")["spread"].median().dropna()
        usual = float(past.median()) if len(past) >= SESSIONS_MIN else np.nan
        spread = float(now["spread"].median()) if now["spread"].notna().any() else np.nan
        counts = [int(now["spread"].notna().sum()), int(now["spread"].isna().sum()), len(past)]
        rows.append([symbol, spread, usual, _ratio(spread, usual), *counts, part["at"].max()])
    return pd.DataFrame(rows, columns=["symbol", "spread_bps", "usual_spread_bps", "spread_ratio", "quotes", "unusable",
                                       "sessions", "quoted_at"])  # fmt: skip


def realised(close: pd.Series, per_year: float) -> float:
    """Annualised volatility of a price series' simple returns, as a fraction; per_year is returns in a year.

    Raises ValueError on fewer than two returns, missing or non-positive prices.
    """
    check_times(close.index, "the prices")
    values: Floats = close.to_numpy(dtype=float, na_value=np.nan)
    if len(values) < 3 or not (values > 0).all():
        raise ValueError(f"{len(values)} prices, all of them positive and known, are needed: at least 3")
    return float(np.std(values[1:] / values[:-1] - 1, ddof=1) * np.sqrt(per_year))


def _checked(bars: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    need(bars, BARS, "the bars")
    if at.tzinfo is None:
        raise ValueError(f"{at} is a naive time; give it a time zone")
    times = check_times(pd.DatetimeIndex(bars["at"]), "the bars", unique=False)
    if bars.duplicated(["symbol", "at"]).any():
        again = bars[bars.duplicated(["symbol", "at"])].iloc[0]
        raise ValueError(f"{again['symbol']} has two bars at {again['at']}; drop the repeat first")
    frame = bars[times <= at].copy()
    for name in ("open", "close"):
        frame[name] = frame[name].astype(float)
        if (wrong := ~(frame[name] > 0)).any():
            row = frame[wrong].iloc[0]
            raise ValueError(f"{row['symbol']} has a bar whose {name} is {row[name]} at {row['at']}")
    return frame


def _ratio(value: float, by: float) -> float:
    return value / by if by > 0 else np.nan
