"""Markets, accounts and trades to analyse, made from seeds and from the committed daily closes of 2019 and 2020."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

CLOSES = Path(__file__).parents[2] / "athena/simulator/data/daily_close_2019-12_2020-06.csv"


def closes() -> pd.DataFrame:
    """Closing prices, New York 16:00 × symbol."""
    frame = pd.read_csv(CLOSES, index_col="date")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.index) + pd.Timedelta(hours=16)).tz_localize("America/New_York")
    return frame


def days(n: int, start: str = "2020-01-02 16:00") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=n, freq="D", tz="America/New_York")


def curve(*values: float, start: str = "2020-03-02 15:00") -> pd.Series:
    return pd.Series(list(values), pd.date_range(start, periods=len(values), freq="D", tz="UTC"), dtype=float)


def returns(n: int, symbols: int, correlation: float, seed: int, *, wild: float = 0.05, last: float | None = None):
    """Correlated returns with a wandering volatility; the last 20 may have another correlation."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, symbols))
    rho = np.full((n, 1), correlation)
    if last is not None:
        rho[-20:] = last
    x = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    volatility = 0.01 * np.exp(np.cumsum(rng.normal(0, wild, n)))[:, None]
    return pd.DataFrame(x * volatility, days(n), [f"S{i:02}" for i in range(symbols)])


def trades(n: int = 120, seed: int = 1, *, spread_bps: float = 4.0):
    """Orders, their fills in two halves, the mids when the rest was given up, and the quotes kept around them."""
    rng = np.random.default_rng(seed)
    opening = pd.Timestamp("2020-03-09 13:30", tz="UTC")
    orders, fills, kept, closing = [], [], [], {}
    for number in range(n):
        symbol, strategy = ("AAPL", "JPM", "XOM")[number % 3], ("momentum", "reversion")[number % 2]
        wide = spread_bps * (16 if symbol == "XOM" else 1)
        sent = opening + pd.Timedelta(days=number % 5, minutes=float(rng.uniform(0, 380)))
        mid, side = 100 + rng.normal(), ("buy", "sell")[number % 4 < 2]
        sign = 1 if side == "buy" else -1
        half = mid * wide / 2e4
        name, shares = f"o{number}", int(rng.integers(2, 40)) * 10
        over = number % 9 == 0
        status, end = ("canceled" if over else "filled"), sent + pd.Timedelta(seconds=40)
        decision = mid - sign * abs(rng.normal(0, 0.01))
        orders.append(
            [name, strategy, symbol, side, shares, decision, mid - half, mid + half, status, end, "market", sent,
             sent.date().isoformat()]
        )  # fmt: skip
        drift = rng.normal(0.004 * sign, 0.01)
        for part in range(1 if over else 2):
            at = sent + pd.Timedelta(seconds=0.2 + part)
            now = mid + drift * (part + 1)
            for seconds in (-1.0, 0.05, 1.0, 15.0, 60.0):
                later = now if seconds < 1 else mid + drift * 2
                due = at + pd.Timedelta(seconds=seconds)
                row = ["fill", f"x{number}.{part}", round(seconds * 1000), symbol, at, later - half, later + half, due]
                kept.append([at.date().isoformat(), *row])
            fills.append(
                [
                    f"x{number}.{part}",
                    name,
                    strategy,
                    symbol,
                    side,
                    shares / 2,
                    now + sign * half,
                    0.01,
                    now - half,
                    now + half,
                    at,
                ]
            )
        if over:
            closing[name] = given_up = mid + rng.normal(0, 0.05)
            row = ["order", name, 0, symbol, end, given_up - half, given_up + half, end]
            kept.append([sent.date().isoformat(), *row])
    order_names = [
        "client_order_id",
        "strategy",
        "symbol",
        "side",
        "quantity",
        "decision_price",
        "bid",
        "ask",
        "status",
        "final_venue_at",
        "type",
        "intended_venue_at",
        "trading_date",
    ]
    fill_names = [
        "execution_id",
        "client_order_id",
        "strategy",
        "symbol",
        "side",
        "quantity",
        "price",
        "fee",
        "bid",
        "ask",
        "at",
    ]
    kept_names = ["trading_date", "kind", "subject", "offset_ms", "symbol", "at", "bid", "ask", "quoted_at"]
    quotes = pd.DataFrame(kept, columns=kept_names)
    filled = pd.DataFrame(fills, columns=fill_names).sort_values("at", ignore_index=True)
    return pd.DataFrame(orders, columns=order_names), filled, pd.Series(closing, dtype=float), quotes


def bars(
    symbols: int = 6, sessions: int = 7, seed: int = 3, *, wild: str | None = None, upto: int = 120
) -> pd.DataFrame:
    """Five-minute bars; in the last session `wild` moves four times as much, and only `upto` minutes are there."""
    rng, rows = np.random.default_rng(seed), []
    names = [f"S{i:02}" for i in range(symbols)]
    level = dict.fromkeys(names, 100.0)
    for day in range(sessions):
        opening = pd.Timestamp("2020-03-02 09:30", tz="America/New_York") + pd.Timedelta(days=day)
        minutes = range(0, upto if day == sessions - 1 else 390, 5)
        for minute in minutes:
            for name in names:
                size = 0.001 * (4 if name == wild and day == sessions - 1 else 1)
                close = level[name] * (1 + rng.normal(0, size))
                top, low = max(level[name], close), min(level[name], close)
                rows.append(
                    [
                        name,
                        opening + pd.Timedelta(minutes=minute),
                        level[name],
                        top,
                        low,
                        close,
                        1000 + rng.integers(200),
                    ]
                )
                level[name] = close
    return pd.DataFrame(rows, columns=["symbol", "at", "open", "high", "low", "close", "volume"])
