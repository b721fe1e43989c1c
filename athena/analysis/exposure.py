"""How much is held, against how few independent bets: gross, net, beta, concentration, diversification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from athena.analysis.correlation import OVERLAP_MIN, nearest_valid


@dataclass(frozen=True)
class Exposure:
    """Dollars held. Fractions are of equity; beta_usd is None unless every position's beta is known.

    concentration: Σ of squared shares of gross (1 is one position, 1/n is n equal ones).
    """

    positions: int
    gross_usd: float
    net_usd: float
    gross_fraction: float
    net_fraction: float
    beta_usd: float | None
    largest: str
    largest_share: float
    concentration: float
    without_beta: tuple[str, ...]


@dataclass(frozen=True)
class Diversification:
    """How many bets the positions are.

    ratio: Σ|wᵢ|σᵢ / σₚ, 1 is none (Choueifaty and Coignard 2008). effective_bets: its square, the number of equal
    independent bets that diversify so, at most the positions: what is beyond is hedging. principal_axes:
    exp(−Σ pₖ ln pₖ), pₖ the share of variance on principal axis k; shown, never judged: it is near 1 for any book of
    equal longs, however little they correlate. absorption: the N/5 first axes' share of all variance.
    volatility_usd: σₚ per observation. Shorts keep their sign throughout. clipped: eigenvalues mended.
    """

    symbols: int
    ratio: float
    effective_bets: float
    principal_axes: float
    absorption: float
    volatility_usd: float
    clipped: int


def exposure(held: pd.Series, equity: float, betas: pd.Series | None = None) -> Exposure:
    """Exposure of signed dollars by symbol. Raises ValueError on a missing value, repeated symbols, equity ≤ 0."""
    check_held(held)
    if not equity > 0:
        raise ValueError(f"equity is {equity}; exposure has no fraction of that")
    size = held.abs()
    gross, net = float(size.sum()), float(held.sum())
    known = pd.Series(dtype=float) if betas is None else betas.dropna()
    without = tuple(str(symbol) for symbol in held.index if symbol not in known.index)
    beta = None if without else float((held * known.reindex(held.index)).sum())
    share = size / gross if gross else size
    largest = str(share.idxmax()) if gross else ""
    top = float(share.max()) if gross else 0.0
    return Exposure(
        int((size > 0).sum()), gross, net, gross / equity, net / equity, beta, largest, top,
        float((share**2).sum()), without,
    )  # fmt: skip


def market_betas(returns: pd.DataFrame, market: pd.Series, *, overlap_min: int = OVERLAP_MIN) -> pd.Series:
    """Each symbol's beta to the market by least squares over common observations; NaN with too few of them."""
    found = {}
    for symbol in returns.columns:
        pair = pd.concat([returns[symbol], market], axis=1, join="inner").dropna().to_numpy(dtype=float)
        spread = pair[:, 1] - pair[:, 1].mean() if len(pair) else pair[:, 1]
        power = float(spread @ spread)
        found[symbol] = float(spread @ pair[:, 0]) / power if len(pair) >= overlap_min and power > 0 else np.nan
    return pd.Series(found, dtype=float)


def diversification(held: pd.Series, volatility: pd.Series, matrix: pd.DataFrame) -> Diversification:
    """Diversification of signed dollars by symbol. volatility: per observation, by symbol; matrix: correlations.

    Raises ValueError on blanks, on a symbol without volatility, on nothing held.
    """
    check_held(held)
    symbols = list(matrix.columns)
    weights = held.reindex(symbols).to_numpy(dtype=float) * volatility.reindex(symbols).to_numpy(dtype=float)
    if np.isnan(weights).any() or not np.abs(weights).sum() > 0:
        raise ValueError("a symbol has no dollars or no volatility, or nothing is held")
    valid, clipped = nearest_valid(matrix)
    roots, axes = np.linalg.eigh(valid.to_numpy(dtype=float))
    parts = (axes.T @ weights) ** 2 * np.maximum(roots, 0)
    variance = float(parts.sum())
    flat = not variance > 1e-18 * float(np.abs(weights).sum()) ** 2
    shares = parts[parts > 0] / variance if not flat else np.empty(0)
    spread = volatility.reindex(symbols).to_numpy(dtype=float)
    spectrum = np.linalg.eigvalsh(valid.to_numpy(dtype=float) * np.outer(spread, spread))[::-1]
    first = max(1, round(len(symbols) / 5))
    ratio = np.inf if flat else float(np.abs(weights).sum() / np.sqrt(variance))
    return Diversification(
        len(symbols),
        ratio,
        min(ratio**2, float(len(symbols))),
        np.nan if flat else float(np.exp(-(shares * np.log(shares)).sum())),
        float(np.maximum(spectrum[:first], 0).sum() / np.maximum(spectrum, 0).sum()),
        float(np.sqrt(max(variance, 0.0))),
        clipped,
    )


def check_held(held: pd.Series) -> None:
    """Raises ValueError unless every symbol has one finite value."""
    if not held.index.is_unique:
        raise ValueError(f"{held.index[held.index.duplicated()][0]} is held twice; sum it first")
    values = held.to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(values).all():
        raise ValueError(f"{held.index[~np.isfinite(values)][0]} is held at no known value; get its price first")
