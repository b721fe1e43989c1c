"""What the price did after our fills, and the quotes around them, from what the engine kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from athena.analysis.inputs import need
from athena.analysis.resampling import ratio_interval
from athena.analysis.shortfall import mid_of

HORIZONS_SECONDS = (0.05, 1.0, 15.0, 60.0, 300.0)
FRESH_SECONDS = 60.0  # an older quote says little of its moment
_KEPT = ("kind", "subject", "offset_ms", "symbol", "at", "bid", "ask", "quoted_at")


def closing_mids(orders: pd.DataFrame, kept: pd.DataFrame) -> pd.Series[float]:
    """The mid when the rest of an order was given up, by client_order_id: when it ended, else at its day's close.

    orders: client_order_id, symbol, trading_date, status. kept: `frames.kept_quotes`. The close stands only for orders
    that expired, which is when the venue gives them up. Orders of which neither is known are not in it.
    """
    need(kept, (*_KEPT, "trading_date"), "the kept quotes")
    mids = kept.assign(mid=mid_of(kept["bid"], kept["ask"])).dropna(subset=["mid"])
    ended = mids[mids["kind"] == "order"].drop_duplicates("subject").set_index("subject")["mid"]
    closes = mids[mids["kind"] == "close"].set_index(["trading_date", "symbol"])["mid"]
    left = orders[(orders["status"].astype(str) == "expired") & ~orders["client_order_id"].isin(ended.index)]
    keys = pd.MultiIndex.from_arrays([left["trading_date"], left["symbol"]])
    at_close = pd.Series(closes.reindex(keys).to_numpy(dtype=float), left["client_order_id"]).dropna()
    own = ended[ended.index.isin(set(orders["client_order_id"]))]
    mid: pd.Series[float] = pd.concat([own, at_close]).astype(float)
    return mid


def markouts(
    parts: pd.DataFrame, kept: pd.DataFrame, horizons: Sequence[float] = HORIZONS_SECONDS, *, seed: int = 0
) -> pd.DataFrame:
    """Where the mid went after fills, one row a horizon.

    Columns: horizon_seconds, n (fills), unknown (fills without a fresh quote then), orders, realised_bps,
    permanent_bps, low_bps, high_bps, age_seconds (median age of the quotes used).

    parts: `shortfall.decompose`, kept: `frames.kept_quotes`. Weighted by value: realised s(P − M₊τ)/M is what the other
    side kept, permanent s(M₊τ − M)/M what the price went our way; together they are the spread term. low and high: 95 %
    of permanent, resampled by days and orders, for the fills of an order are not independent.
    """
    names = ["horizon_seconds", "n", "unknown", "orders", "realised_bps", "permanent_bps", "low_bps", "high_bps",
             "age_seconds"]  # fmt: skip
    fills = parts[(parts["part"] == "fill") & parts["mid"].notna()]
    if fills.empty or kept.empty:
        return pd.DataFrame(columns=names)
    later = _later(kept)
    return pd.DataFrame([_at(seconds, fills, later, seed) for seconds in horizons], columns=names)


def _at(seconds: float, fills: pd.DataFrame, later: pd.DataFrame, seed: int) -> list[float]:
    """One horizon's row of `markouts`."""
    then = later[later["offset_ms"] == round(seconds * 1000)].set_index("subject")
    mid, age = (then[name].reindex(fills["execution_id"]).to_numpy(dtype=float) for name in ("mid", "age_seconds"))
    known = (age <= FRESH_SECONDS) & ~np.isnan(mid)
    found, mid, age = fills[known], mid[known], age[known]
    signed = np.where(found["side"] == "buy", 1.0, -1.0) * found["quantity"]
    kept, moved = signed * (found["price"] - mid), signed * (mid - found["mid"])
    found = found.assign(kept=kept, moved=moved, worth=found["quantity"] * found["mid"])
    whole = found.groupby("client_order_id").agg(moved=("moved", "sum"), worth=("worth", "sum"), day=("day", "first"))
    days = pd.factorize(whole["day"])[0].astype(np.int64)
    low, high = ratio_interval(whole["moved"].to_numpy(float), whole["worth"].to_numpy(float), days, seed=seed)
    total = float(found["worth"].sum()) or np.nan
    realised, permanent = (float(found[name].sum()) / total * 1e4 for name in ("kept", "moved"))
    median = float(np.median(age)) if len(age) else np.nan
    counts = [len(found), len(fills) - len(found), len(whole)]
    return [seconds, *counts, realised, permanent, low * 1e4, high * 1e4, median]


def quotes_around(fills: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """The kept quotes around each fill: fill (its number), symbol, after_seconds, bid, ask, moved_bps, age_seconds.

    fills: rows of `shortfall.decompose`. moved_bps: the mid against the fill's own, above zero where it went our way.
    """
    names = ["fill", "symbol", "after_seconds", "bid", "ask", "moved_bps", "age_seconds"]
    if kept.empty:
        return pd.DataFrame(columns=names)
    numbered = fills.reset_index(drop=True)[["execution_id", "side", "mid"]].rename(columns={"mid": "own"})
    numbered["fill"] = np.arange(1, len(numbered) + 1)
    found = numbered.merge(_later(kept), left_on="execution_id", right_on="subject")
    sign = np.where(found["side"] == "buy", 1.0, -1.0)
    found["moved_bps"] = sign * (found["mid"] - found["own"]) / found["own"] * 1e4
    found["after_seconds"] = found["offset_ms"] / 1000
    return found.sort_values(["fill", "after_seconds"], ignore_index=True)[names]


def _later(kept: pd.DataFrame) -> pd.DataFrame:
    """The kept quotes of fills with their mid, and their age at the moment they stand for."""
    need(kept, _KEPT, "the kept quotes")
    found = kept[kept["kind"] == "fill"]
    due = pd.DatetimeIndex(found["at"]) + pd.to_timedelta(found["offset_ms"].to_numpy(), unit="ms")
    age = np.asarray((due - pd.DatetimeIndex(found["quoted_at"])).total_seconds())
    return found.assign(mid=mid_of(found["bid"], found["ask"]), age_seconds=age)
