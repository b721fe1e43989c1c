"""Correlations between returns: which, from how many common observations, repaired, signed by position, in order.

All take simple returns, time by symbol, NaN where unknown (see `inputs.simple_returns`). A pair with fewer than
`OVERLAP_MIN` common observations, or a side that never moved, is blank (NaN), never zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from athena.analysis.inputs import Floats

OVERLAP_MIN = 60
DECAY = 0.94  # RiskMetrics, per observation


@dataclass(frozen=True)
class Correlations:
    """A correlation matrix and its makings: method, common observations of each pair, blanks.

    shrinkage: Ledoit and Wolf's weight of the identity, 0 to 1; None for the others.
    """

    method: str
    matrix: pd.DataFrame
    common: pd.DataFrame
    shrinkage: float | None = None

    @property
    def blanks(self) -> int:
        """Pairs that have no value."""
        upper = np.triu_indices(len(self.matrix), 1)
        return int(np.isnan(self.matrix.to_numpy()[upper]).sum())


def pearson(returns: pd.DataFrame, *, overlap_min: int = OVERLAP_MIN) -> Correlations:
    """Pairwise Pearson correlation over the observations each pair has in common: four products of matrices."""
    return _weighted(returns, None, overlap_min, "Pearson")


def ewma(returns: pd.DataFrame, *, decay: float = DECAY, overlap_min: int = OVERLAP_MIN) -> Correlations:
    """RiskMetrics: zero mean, an observation's weight `decay` to the power of its age. Noisy: its half-life is 11."""
    if not 0 < decay < 1:
        raise ValueError(f"decay is {decay}; it lies between 0 and 1")
    return _weighted(returns, decay ** np.arange(len(returns) - 1, -1, -1.0), overlap_min, f"EWMA {decay:g}")


def ledoit_wolf(returns: pd.DataFrame, *, overlap_min: int = OVERLAP_MIN) -> Correlations:
    """Shrunk towards no correlation by the weight of least expected error (Ledoit and Wolf 2004), from complete rows.

    Columns are standardised first. All pairs are blank when fewer than `overlap_min` rows are complete.
    """
    values = returns.to_numpy(dtype=float, na_value=np.nan)
    rows = values[~np.isnan(values).any(axis=1)]
    n, p = rows.shape
    common = pd.DataFrame(np.full((p, p), n), returns.columns, returns.columns)
    scale = rows.std(axis=0) if n else np.zeros(p)
    if n < max(overlap_min, 2) or not p or not (scale > _still(rows)).all():
        return Correlations("Ledoit-Wolf", _frame(np.full((p, p), np.nan), returns), common, None)
    z = (rows - rows.mean(axis=0)) / scale
    product = z.T @ z
    squares = float((product**2).sum()) / n**2
    noise = (float(((z**2).T @ (z**2)).sum()) / n - squares) / (p * n)
    spread = (squares - p) / p  # ‖S − I‖² / p: the trace of a correlation matrix is p
    weight = min(noise, spread) / spread if spread > 0 else 0.0
    matrix = (1 - weight) * product / n
    np.fill_diagonal(matrix, 1.0)
    return Correlations("Ledoit-Wolf", _frame(matrix, returns), common, weight)


def nearest_valid(matrix: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The matrix with negative eigenvalues clipped and its diagonal 1 again, and how many were negative.

    Raises ValueError when it has blanks: take `complete` first.
    """
    values = matrix.to_numpy(dtype=float)
    if np.isnan(values).any():
        raise ValueError("the correlation matrix has blanks; keep its complete part first")
    roots, vectors = np.linalg.eigh((values + values.T) / 2)
    negative = int((roots < -1e-10).sum())
    if not negative:
        return matrix, 0
    repaired = (vectors * np.maximum(roots, 1e-12)) @ vectors.T
    scale = np.sqrt(np.diag(repaired))
    repaired = repaired / np.outer(scale, scale)
    np.fill_diagonal(repaired, 1.0)
    return _frame(np.clip((repaired + repaired.T) / 2, -1, 1), matrix), negative


def complete(matrix: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The part without blanks: the symbol with most blanks goes first, until none is left. And who went."""
    kept = matrix
    while kept.isna().to_numpy().any():
        kept = kept.drop(index=(worst := kept.isna().sum().idxmax()), columns=worst)
    return kept, tuple(str(name) for name in matrix.columns if name not in kept.columns)


def signed(matrix: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    """sᵢ sⱼ ρᵢⱼ: positive where two positions win and lose together, a short's sign turned."""
    signs = np.sign(weights.reindex(matrix.columns).to_numpy(dtype=float))
    return matrix * np.outer(signs, signs)


def seriated(matrix: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """The matrix in the order of a dendrogram (average linkage of √((1−ρ)/2), optimal leaves), and its linkage.

    Symbols with blanks come last, outside the tree. The linkage is empty for fewer than two complete symbols.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    tree, apart = complete(matrix)
    if len(tree) < 2:
        return matrix.loc[[*tree.columns, *apart], [*tree.columns, *apart]], np.empty((0, 4))
    distance = np.sqrt(np.clip((1 - tree.to_numpy(dtype=float)) / 2, 0, 1))
    np.fill_diagonal(distance, 0.0)
    links: Floats = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order = [*tree.columns[leaves_list(links)], *apart]
    return matrix.loc[order, order], links


def _weighted(returns: pd.DataFrame, weights: Floats | None, overlap_min: int, method: str) -> Correlations:
    """Pairwise weighted correlation; with weights around zero, else around each pair's means."""
    values = returns.to_numpy(dtype=float, na_value=np.nan)
    n, p = values.shape
    known = ~np.isnan(values)
    if known.all():
        common = np.full((p, p), float(n))
        with np.errstate(invalid="ignore", divide="ignore"):
            if weights is None:
                x = values - values.mean(axis=0) if n else values
            else:
                x = values * np.sqrt(weights)[:, None]
            cross = x.T @ x
            variance = np.diag(cross)
            matrix = cross / np.sqrt(np.outer(variance, variance))
    else:
        matrix, common = _masked(values, known, weights)
    floor = np.fmax.reduce(values, axis=0) - np.fmin.reduce(values, axis=0) if n else np.zeros(p)
    still = ~(floor > 0)
    matrix[still, :] = matrix[:, still] = np.nan
    matrix[common < max(overlap_min, 2)] = np.nan
    np.clip(matrix, -1, 1, out=matrix)
    alive = np.flatnonzero(~np.isnan(np.diag(matrix)))
    matrix[alive, alive] = 1.0
    return Correlations(method, _frame(matrix, returns), _frame(common, returns).astype(int), None)


def _masked(values: Floats, known: npt.NDArray[np.bool_], weights: Floats | None) -> tuple[Floats, Floats]:
    """Sums over common observations as products of zero-filled matrices with their masks."""
    mask = np.asarray(known, dtype=float)
    x = np.where(known, values, 0.0)
    common = np.asarray(mask.T @ mask)
    with np.errstate(invalid="ignore", divide="ignore"):
        if weights is not None:
            x *= np.sqrt(weights)[:, None]
            power = (x * x).T @ mask
            return np.asarray((x.T @ x) / np.sqrt(power * power.T)), common
        x -= mask * (x.sum(axis=0) / np.maximum(mask.sum(axis=0), 1))  # centred first: no cancellation below
        sums, cross = x.T @ mask, x.T @ x
        np.multiply(x, x, out=x)
        spread = x.T @ mask - sums * sums / common
        return np.asarray((cross - sums * sums.T / common) / np.sqrt(spread * spread.T)), common


def _still(rows: Floats) -> Floats:
    """A standard deviation below this is rounding: the column never moved."""
    return np.asarray(np.abs(rows).max(axis=0) * 1e-12)


def _frame(matrix: Floats, like: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(matrix, like.columns, like.columns)
