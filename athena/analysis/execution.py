"""How orders fared: slippage against the quote before the fill, fill rate, refusals and rejections, latency.

Slippage is positive when it costs: s (P − M) / M, s = +1 for a buy and −1 for a sell, M the mid of the national best
bid and offer just before the fill. Fills without such a quote are counted, never taken as zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

LIMIT_ORDERS_BPS, HALT_SYMBOL_BPS = 25.0, 50.0  # the operators' slippage matrix
_ENDED_UNSENT = {"refused", "not_sent"}


def with_slippage(fills: pd.DataFrame) -> pd.DataFrame:
    """The fills with `mid`, `notional_usd`, `cost_usd` and `cost_bps` as floats; NaN where no usable quote is known.

    fills: side, quantity, price, bid, ask (Decimals or floats, bid and ask possibly missing). A crossed or
    non-positive quote is not usable.
    """
    bid, ask, price, quantity = (
        pd.to_numeric(fills[c]).to_numpy(dtype=float) for c in ("bid", "ask", "price", "quantity")
    )
    with np.errstate(invalid="ignore"):
        mid = np.where((bid > 0) & (ask >= bid), (bid + ask) / 2, np.nan)
    sign = np.where(fills["side"].to_numpy() == "buy", 1.0, -1.0)
    cost = sign * (price - mid)
    return fills.assign(mid=mid, notional_usd=price * quantity, cost_usd=cost * quantity, cost_bps=cost / mid * 1e4)


def slippage(priced: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Slippage by any of the fills' columns, worst first.

    priced: from `with_slippage`. Columns: keys, fills (n measured), unmeasured, notional_usd, cost_usd, cost_bps
    (weighted by the mid value traded), median_bps, worst_bps. Groups with no measured fill have NaN, and come last.
    """
    names = [*keys, "fills", "unmeasured", "notional_usd", "cost_usd", "cost_bps", "median_bps", "worst_bps"]
    if priced.empty:
        return pd.DataFrame(columns=names)
    measured = priced["cost_bps"].notna()
    quantity = pd.to_numeric(priced["quantity"]).astype(float)
    table = priced.assign(measured=measured, base=(priced["mid"] * quantity).fillna(0.0)).groupby(list(keys), sort=True)
    frame = table.agg(
        fills=("measured", "sum"),
        taken=("measured", "size"),
        notional_usd=("notional_usd", "sum"),
        cost_usd=("cost_usd", "sum"),
        base=("base", "sum"),
        median_bps=("cost_bps", "median"),
        worst_bps=("cost_bps", "max"),
    ).reset_index()
    frame["unmeasured"] = frame["taken"] - frame["fills"]
    frame["cost_bps"] = (frame["cost_usd"] / frame["base"].where(frame["base"] > 0)) * 1e4
    frame.loc[frame["fills"] == 0, "cost_usd"] = np.nan
    return frame[names].sort_values("cost_bps", ascending=False, na_position="last", ignore_index=True)


def worst_fills(priced: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """The n fills that cost most in basis points, with the quote they were measured against; gains are left out."""
    return priced[priced["cost_bps"] > 0].nlargest(n, "cost_bps").reset_index(drop=True)


def outcomes(orders: pd.DataFrame, key: str) -> pd.DataFrame:
    """Orders by how they ended, per value of `key`.

    orders: status, quantity, filled_quantity and the key. Columns: key, decided (all intents), refused (by the
    guard), sent, filled (whole), partial, rejected (by the venue), unfilled (cancelled or expired with nothing done),
    pending (open or unknown), fill_rate = filled/sent, quantity_rate = shares filled / shares sent.
    """
    names = [
        key,
        "decided",
        "refused",
        "sent",
        "filled",
        "partial",
        "rejected",
        "unfilled",
        "pending",
        "fill_rate",
        "quantity_rate",
    ]
    rows = []
    for name, part in orders.groupby(key, sort=True, dropna=False):
        status = part["status"]
        refused, unsent = int((status == "refused").sum()), int(status.isin(_ENDED_UNSENT).sum())
        done, asked = (pd.to_numeric(part[c]).astype(float) for c in ("filled_quantity", "quantity"))
        sent = ~status.isin(_ENDED_UNSENT)
        over = status.isin(["canceled", "expired", "done_for_day", "replaced", "rejected"])
        filled, rejected = int((status == "filled").sum()), int((status == "rejected").sum())
        partial = int((over & (done > 0)).sum())
        unfilled = int((over & ~(done > 0) & (status != "rejected")).sum())
        n = len(part) - unsent
        pending = n - filled - partial - unfilled - int(((status == "rejected") & ~(done > 0)).sum())
        shares = asked[sent].sum()
        rates = [filled / n if n else np.nan, done[sent].sum() / shares if shares else np.nan]
        rows.append([name, len(part), refused, n, filled, partial, rejected, unfilled, pending, *rates])
    return pd.DataFrame(rows, columns=names)


def causes(orders: pd.DataFrame, violations: pd.DataFrame) -> pd.DataFrame:
    """Why orders did not go: refusals of the guard by its code, rejections of the venue by code and words.

    Columns: by, cause, code, count, symbols; the most frequent first. Order ids and numbers are left out of the words,
    so that one cause is one row. violations: code, message, symbol, client_order_id. orders: status, error, symbol,
    client_order_id.
    """
    refused = orders.loc[orders["status"] == "refused", ["client_order_id", "symbol"]]
    known = violations.dropna(subset=["client_order_id"]).drop_duplicates("client_order_id")
    of_order = known.set_index("client_order_id")["code"]
    words = known.drop_duplicates("code").set_index("code")["message"].map(_without_numbers)
    codes = refused["client_order_id"].map(of_order).fillna("unnamed")
    said = [_without_numbers(words.get(code, "")) or "not said" for code in codes]
    guard = pd.DataFrame({"by": "guard", "cause": said, "code": codes, "symbol": refused["symbol"]}, dtype=object)
    rejected = orders[orders["status"] == "rejected"]
    told = ["" if pd.isna(error) else str(error) for error in rejected["error"]]
    venue = pd.DataFrame(
        {
            "by": "venue",
            "cause": [_without_numbers(_CODE.sub("", text)) or "no reason given" for text in told],
            "code": [found[1] if (found := _CODE.search(text)) else "" for text in told],
            "symbol": rejected["symbol"],
        },
        dtype=object,
    )
    both = pd.concat([guard, venue], ignore_index=True)
    if both.empty:
        return pd.DataFrame(columns=["by", "cause", "code", "count", "symbols"])
    table = both.groupby(["by", "cause", "code"], sort=True)["symbol"].agg(
        count="size", symbols=lambda names: ", ".join(sorted(set(names)))
    )
    return table.reset_index().sort_values("count", ascending=False, kind="stable", ignore_index=True)


_CODE = re.compile(r"\(HTTP \d+(?:, code (\d+))?\)")
_ORDER_ID = re.compile(r"^order \S+: |\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}\b|\bathena-\S+", re.IGNORECASE)
_FACTS = re.compile(r"\s*\([^()]*\d[^()]*\)")  # (requested: 18, available: 4)
_NUMBER = re.compile(r"[−-]?\$?\d[\d,.]*\d|\d")


def _without_numbers(words: object) -> str:
    """What was said, without whose order it was and how much: the same cause reads the same."""
    text = _FACTS.sub("", _ORDER_ID.sub("", "" if pd.isna(words) else str(words)))  # type: ignore[call-overload]
    return " ".join(_NUMBER.sub("…", text).split()).strip(" .")


def latency_ms(orders: pd.DataFrame) -> pd.Series:
    """Milliseconds of machine time from the journaled intent to the venue's answer; unanswered orders are left out."""
    answered = orders.dropna(subset=["intended_at", "acknowledged_at"])
    if answered.empty:
        return pd.Series(dtype=float)
    taken = pd.to_datetime(answered["acknowledged_at"]) - pd.to_datetime(answered["intended_at"])
    return taken.dt.total_seconds() * 1000


def busiest_minute(times: pd.Series) -> int:
    """The most events in any 60 seconds, the window open at its start; times are aware."""
    if times.empty:
        return 0
    stamps = np.sort(pd.DatetimeIndex(times).as_unit("ns").asi8)
    first = np.searchsorted(stamps, stamps - 60_000_000_000, side="right")
    return int((np.arange(len(stamps)) - first + 1).max())


def longest_losing_run(realised: pd.Series) -> int:
    """The most fills in a row that realised a loss; fills that closed nothing do not count either way."""
    longest = run = 0
    for gain in realised:
        run = run + 1 if gain < 0 else 0 if gain > 0 else run
        longest = max(longest, run)
    return longest
