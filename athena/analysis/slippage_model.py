"""What a trade should cost, fitted from one's own fills.

Expected cost in bps = a × half-spread + Y × σ × (Q / ADV)^δ, fitted by least squares with a, Y ≥ 0 over a grid of δ.
With fewer than 30 orders nothing is fitted: a = 1, Y = 1, δ = 0.5 are assumed, and said to be (the square-root law;
Almgren and others 2005 measured 3/5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from athena.analysis.inputs import Floats, need

ORDERS_MIN = 30
EXPONENTS = np.round(np.arange(0.3, 0.801, 0.05), 2)


@dataclass(frozen=True)
class CostModel:
    """The fitted law; residual_bps is the standard deviation of what it does not explain, fitted False if assumed."""

    spread_weight: float
    impact: float
    exponent: float
    residual_bps: float
    orders: int
    fitted: bool

    def expected_bps(self, half_spread_bps: Floats, volatility_bps: Floats, participation: Floats) -> Floats:
        """half_spread_bps and daily volatility_bps of the symbol; participation: shares over average daily volume."""
        law = self.spread_weight * half_spread_bps + self.impact * volatility_bps * participation**self.exponent
        return np.asarray(law)


def fit(orders: pd.DataFrame) -> CostModel:
    """The law that fits these orders. orders: cost_bps, half_spread_bps, volatility_bps, participation, one row each.

    Rows with a missing value are left out.
    """
    from scipy.optimize import nnls

    need(orders, ("cost_bps", "half_spread_bps", "volatility_bps", "participation"), "the orders to fit")
    known = orders[["cost_bps", "half_spread_bps", "volatility_bps", "participation"]].dropna()
    cost, half, sigma, share = (known[c].to_numpy(dtype=float) for c in known.columns)
    if len(known) < ORDERS_MIN:
        model = CostModel(1.0, 1.0, 0.5, np.nan, len(known), False)
        rest = cost - model.expected_bps(half, sigma, share)
        spread = float(rest.std(ddof=1)) if len(rest) > 1 else np.nan
        return CostModel(1.0, 1.0, 0.5, spread, len(known), False)
    best: tuple[float, float, Floats] | None = None
    for exponent in EXPONENTS:
        weights, misfit = nnls(np.column_stack([half, sigma * share**exponent]), cost)
        if best is None or misfit < best[0]:
            best = (float(misfit), float(exponent), weights)
    misfit, exponent, weights = best or (np.nan, 0.5, np.ones(2))
    spread = misfit / np.sqrt(len(known) - 3)
    return CostModel(float(weights[0]), float(weights[1]), exponent, float(spread), len(known), True)


def against_expected(parts: pd.DataFrame, market: pd.DataFrame) -> tuple[pd.DataFrame, CostModel]:
    """Each order's cost from arrival on against the law.

    Columns: client_order_id, symbol, n, cost_bps, half_spread_bps, volatility_bps, participation, expected_bps, z.
    parts: from `shortfall.decompose`. market: by symbol, volatility_bps (daily) and adv_shares. Orders with a missing
    term or market figure are left out; z is NaN where nothing is left unexplained or it is not known.
    """
    need(market, ("volatility_bps", "adv_shares"), "the market figures")
    fills = parts[(parts["part"] == "fill")]
    fills = fills.assign(
        paid=fills["drift_usd"] + fills["spread_usd"], worth=fills["quantity"] * fills["arrival"],
        half=(fills["ask"] - fills["bid"]) / 2 / fills["mid"] * 1e4 * fills["quantity"],
    )  # fmt: skip
    whole = fills.groupby("client_order_id").agg(
        symbol=("symbol", "first"), n=("paid", "size"), measured=("paid", "count"), paid=("paid", "sum"),
        worth=("worth", "sum"), half=("half", "sum"), shares=("quantity", "sum"),
    )  # fmt: skip
    whole = whole[whole["measured"] == whole["n"]].reset_index()
    figures = market.reindex(whole["symbol"]).reset_index(drop=True)
    whole["cost_bps"] = whole["paid"] / whole["worth"] * 1e4
    whole["half_spread_bps"] = whole["half"] / whole["shares"]
    whole["volatility_bps"] = figures["volatility_bps"].astype(float)
    whole["participation"] = whole["shares"] / figures["adv_shares"].astype(float).where(lambda v: v > 0)
    names = ["half_spread_bps", "volatility_bps", "participation"]
    whole = whole.dropna(subset=[*names, "cost_bps"]).reset_index(drop=True)
    law = fit(whole)
    whole["expected_bps"] = law.expected_bps(*(whole[name].to_numpy(dtype=float) for name in names))
    spread = law.residual_bps if law.residual_bps > 1e-9 else np.nan
    whole["z"] = (whole["cost_bps"] - whole["expected_bps"]) / spread
    return whole[["client_order_id", "symbol", "n", "cost_bps", *names, "expected_bps", "z"]], law
