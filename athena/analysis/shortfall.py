"""What trading cost against the decision: five terms per fill that add up exactly; positive is cost.

For an order of Q shares, fills qᵢ at Pᵢ, s = +1 buy and −1 sell, D the decision's price, A the mid when it was sent, Mᵢ
the mid just before a fill, C the mid when the rest was given up:

    delay s q (A − D)    drift s q (Mᵢ − A)    spread s q (Pᵢ − Mᵢ)    opportunity s (Q − Σq)(C − D)    fees

(Perold 1988.) A term whose price is not known is missing, and so is the total: it is counted, never taken as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis.inputs import Floats, floats, need
from athena.analysis.resampling import ratio_interval
from athena.model import NEW_YORK

TERMS = ["delay_usd", "drift_usd", "spread_usd", "opportunity_usd", "fees_usd"]
PARTS = [
    "client_order_id", "execution_id", "strategy", "symbol", "side", "part", "at", "day", "hour", "quantity", "price",
    "bid", "ask", "decision", "arrival", "mid", "base_usd", *TERMS, "cost_usd", "cost_bps", "slippage_bps",
]  # fmt: skip
_GIVEN_UP = {"canceled", "expired", "done_for_day", "rejected", "replaced"}


def decompose(orders: pd.DataFrame, fills: pd.DataFrame, closing: pd.Series | None = None) -> pd.DataFrame:
    """One row a fill, and one for what an order gave up unfilled (part 'unfilled'); columns PARTS.

    orders: client_order_id (unique), strategy, symbol, side, quantity, decision_price, bid, ask (the quote when sent),
    status, final_venue_at.
    fills: client_order_id, strategy, symbol, side, quantity, price, fee, bid, ask (just before), at (aware), and where
    known execution_id.
    closing: the mid when the rest was given up, by client_order_id. base_usd is quantity × D (of a fill's own shares),
    cost_bps the row's total of it; slippage_bps is the spread term of Mᵢ, the operators' measure. Raises ValueError on
    repeated orders, a fill of no order, a quantity or price that is not positive, naive times.
    """
    both = ("client_order_id", "strategy", "symbol", "side", "quantity", "bid", "ask")
    need(orders, (*both, "decision_price", "status", "final_venue_at"), "the orders")
    need(fills, (*both, "price", "fee", "at"), "the fills")
    if len(fills) and pd.DatetimeIndex(fills["at"]).tz is None:
        raise ValueError("the fills have naive times; give them a time zone")
    if not orders["client_order_id"].is_unique:
        again = orders.loc[orders["client_order_id"].duplicated(), "client_order_id"].iloc[0]
        raise ValueError(f"order {again} is there twice; drop the repeat first")
    if strangers := sorted(set(fills["client_order_id"]) - set(orders["client_order_id"])):
        raise ValueError(f"{len(strangers)} orders of fills are not among the orders, {strangers[0]} first")
    own = orders.set_index("client_order_id")
    rows = pd.concat([_filled(fills, own), _unfilled(fills, own, closing)], ignore_index=True)
    for column in ("quantity", "price"):
        if (wrong := rows[column].notna() & ~(rows[column] > 0)).any():
            raise ValueError(f"{rows.loc[wrong, 'symbol'].iloc[0]} has a {column} of {rows.loc[wrong, column].iloc[0]}")
    sign = np.where(rows["side"] == "buy", 1.0, -1.0)
    if not rows["side"].isin(["buy", "sell"]).all():
        raise ValueError(f"a side is {rows.loc[~rows['side'].isin(['buy', 'sell']), 'side'].iloc[0]!r}")
    signed, filled = sign * rows["quantity"], rows["part"] == "fill"
    rows["delay_usd"] = (signed * (rows["arrival"] - rows["decision"])).where(filled, 0.0)
    rows["drift_usd"] = (signed * (rows["mid"] - rows["arrival"])).where(filled, 0.0)
    rows["spread_usd"] = (signed * (rows["price"] - rows["mid"])).where(filled, 0.0)
    rows["opportunity_usd"] = (signed * (rows["mid"] - rows["decision"])).where(~filled, 0.0)
    rows["cost_usd"] = rows[TERMS].sum(axis=1, skipna=False)
    rows["base_usd"] = rows["quantity"] * rows["decision"]
    rows["cost_bps"] = rows["cost_usd"] / rows["base_usd"] * 1e4
    rows["slippage_bps"] = (sign * (rows["price"] - rows["mid"]) / rows["mid"] * 1e4).where(filled)
    at = pd.DatetimeIndex(rows["at"])
    local = at.tz_convert(NEW_YORK) if len(at) else at
    rows["day"], rows["hour"] = local.strftime("%Y-%m-%d") if len(at) else "", local.hour if len(at) else 0
    return rows[PARTS]


def summary(parts: pd.DataFrame, keys: Sequence[str], *, seed: int = 0) -> pd.DataFrame:
    """Cost by any of the parts' columns, worst first.

    Columns: keys, fills, orders, unmeasured (rows with a missing term, in none of the figures), base_usd, TERMS,
    cost_usd, cost_bps (of the decision's value), low_bps and high_bps (95 %, by days and orders), median_bps, p95_bps.
    """
    names = ["fills", "orders", "unmeasured", "base_usd", *TERMS, "cost_usd", "cost_bps", "low_bps", "high_bps",
             "median_bps", "p95_bps"]  # fmt: skip
    rows = []
    for key, part in parts.groupby(list(keys), sort=True, dropna=False):
        known = part[part["cost_usd"].notna()]
        sums = known[["base_usd", *TERMS, "cost_usd"]].sum(min_count=1)
        base = float(sums["base_usd"])
        whole = known.groupby("client_order_id").agg(c=("cost_usd", "sum"), b=("base_usd", "sum"), d=("day", "first"))
        days = pd.factorize(whole["d"])[0].astype(np.int64)
        low, high = ratio_interval(whole["c"].to_numpy(dtype=float), whole["b"].to_numpy(dtype=float), days, seed=seed)
        each = (whole["c"] / whole["b"] * 1e4).to_numpy(dtype=float)
        middle, tail = np.quantile(each, [0.5, 0.95]) if len(each) else (np.nan, np.nan)
        counts = [int((known["part"] == "fill").sum()), len(whole), len(part) - len(known)]
        bps = float(sums["cost_usd"]) / base * 1e4 if base > 0 else np.nan
        rows.append([*key, *counts, *sums, bps, low * 1e4, high * 1e4, middle, tail])
    frame = pd.DataFrame(rows, columns=[*keys, *names])
    return frame.sort_values("cost_bps", ascending=False, na_position="last", ignore_index=True)


def mid_of(bid: object, ask: object) -> Floats:
    """The mid of quotes; NaN where a side is missing, not positive, or crossed."""
    low, high = floats(bid), floats(ask)
    with np.errstate(invalid="ignore"):
        return np.where((low > 0) & (high >= low), (low + high) / 2, np.nan)


def _filled(fills: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    name = fills["client_order_id"]
    order = own.reindex(name)
    return pd.DataFrame(
        {
            **{c: fills[c].to_numpy() for c in ("client_order_id", "strategy", "symbol", "side")},
            "execution_id": fills["execution_id"].to_numpy() if "execution_id" in fills.columns else "",
            "part": "fill",
            "at": pd.DatetimeIndex(fills["at"]),
            **{c: floats(fills[c]) for c in ("quantity", "price", "bid", "ask")},
            "fees_usd": floats(fills["fee"]),
            "mid": mid_of(fills["bid"], fills["ask"]),
            "decision": _positive(order["decision_price"]),
            "arrival": mid_of(order["bid"], order["ask"]),
        }
    )


def _unfilled(fills: pd.DataFrame, own: pd.DataFrame, closing: pd.Series | None) -> pd.DataFrame:
    """What orders that are over did not get; who they are is told by the orders' own columns."""
    over = own[own["status"].astype(str).isin(_GIVEN_UP)]
    done = pd.Series(floats(fills["quantity"]), fills["client_order_id"].to_numpy()).groupby(level=0).sum()
    left = pd.Series(floats(over["quantity"]), over.index) - done.reindex(over.index).fillna(0.0)
    over, left = over[(left > 0).to_numpy()], left[left > 0]
    ended = None if closing is None else closing.reindex(over.index)
    at: Any = pd.DatetimeIndex(pd.to_datetime(over["final_venue_at"], utc=True))
    if "intended_venue_at" in over.columns:
        at = at.where(~at.isna(), pd.DatetimeIndex(pd.to_datetime(over["intended_venue_at"], utc=True)))
    n = len(over)
    return pd.DataFrame(
        {
            "client_order_id": over.index.to_numpy(),
            **{c: over[c].to_numpy() for c in ("strategy", "symbol", "side")},
            "execution_id": "",
            "part": "unfilled",
            "at": at,
            "quantity": left.to_numpy(dtype=float),
            **{c: np.full(n, np.nan) for c in ("price", "bid", "ask")},
            "fees_usd": np.zeros(n),
            "mid": np.full(n, np.nan) if ended is None else _positive(ended),
            "decision": _positive(over["decision_price"]),
            "arrival": mid_of(over["bid"], over["ask"]),
        }
    )


def _positive(values: object) -> Floats:
    found = floats(values)
    return np.where(found > 0, found, np.nan)
