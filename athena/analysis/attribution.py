"""Market crash or strategy failure? The loss from peak to valley in dollars, split so that it adds up exactly.

    change of equity − transfers = market + Σ strategies + no beta + fees + slippage + income + unexplained

Market is Σ β × dollars held × the market's return, bar by bar. A strategy's line is its profit before fees and
slippage, less its market part. Symbols without a beta have a line of their own. What equity shows and the fills do not
is unexplained, never spread over the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis import risk_figures, style
from athena.analysis.assessment import Finding, Section, Verdict
from athena.analysis.execution import with_slippage
from athena.analysis.inputs import check_times, need
from athena.analysis.pnl import profit
from athena.analysis.tables import Column, Table, rows_of
from athena.lot import Book
from athena.model import ZERO

CENT = Decimal("0.01")
MOST = Decimal("0.6")  # of the loss: a cause that has so much of it is named


@dataclass(frozen=True)
class Attribution:
    """The lines (line, kind, amount in exact dollars; negative lost money), their total, and what could not be told.

    Kinds: market, strategy, no_beta, fees, slippage, income, unexplained. tolerance: dollars that may stay unexplained.
    """

    lines: pd.DataFrame
    total: Decimal
    tolerance: Decimal
    unmeasured_fills: int
    without_beta: tuple[str, ...]

    def amount(self, kind: str) -> Decimal:
        return sum(self.lines.loc[self.lines["kind"] == kind, "amount"], ZERO)

    @property
    def cause(self) -> str:
        """'market', 'strategy', 'costs', 'mixed', 'no loss', or 'unknown' where too much is unexplained."""
        if self.total >= 0:
            return "no loss"
        hidden = abs(self.amount("unexplained"))
        if hidden > max(self.tolerance, abs(self.total) / 10) or self.amount("no_beta") / self.total > 1 - MOST:
            return "unknown"
        costs = self.amount("fees") + self.amount("slippage")
        shares = {"market": self.amount("market"), "strategy": self.amount("strategy"), "costs": costs}
        return next((name for name, part in shares.items() if part / self.total >= MOST), "mixed")

    @property
    def finding(self) -> Finding:
        """Why the money was lost, as a row of the matrix."""
        verdict, reason, action = _ANSWERS[self.cause]
        largest = self.lines.sort_values("amount").iloc[0]
        observed = f"{style.dollars(self.total)}; most by {largest['line']}: {style.dollars(largest['amount'])}"
        inputs = {kind: self.amount(kind) for kind in dict.fromkeys(self.lines["kind"])}
        return Finding(
            "Market or strategy?", verdict, observed, f"a cause has {MOST:.0%} of it", reason, action, inputs
        )

    @property
    def section(self) -> Section:
        columns = (Column("line", "Line"), Column("amount", "$", style.usd))
        notes = [f"{self.unmeasured_fills} fills had no quote; their slippage is in the strategies' lines."]
        notes = notes if self.unmeasured_fills else []
        if self.without_beta:
            notes.append(f"No beta is known for {', '.join(self.without_beta)}.")
        whole = pd.DataFrame({"line": ["Total"], "amount": [self.total]}, dtype=object)
        table = Table("Peak to valley", pd.concat([self.lines, whole]), columns, totals=1)
        draw = partial(risk_figures.waterfall, self.lines["line"].tolist(), self.lines["amount"].astype(float).tolist())
        return Section(
            "Market crash or strategy failure?", " ".join(["The lines add up exactly.", *notes]), (table,), draw
        )


_ANSWERS = {
    "no loss": (Verdict.OK, "Nothing was lost between these times.", "Nothing to do."),
    "market": (Verdict.ATTENTION, "Most of the loss is the market's.", "Reduce or hedge the market exposure."),
    "strategy": (Verdict.ATTENTION, "Most of the loss is the strategies' own, not the market's.",
                 "Pause the strategy that lost most: `athena halt --strategy NAME`, then review it."),
    "costs": (Verdict.ATTENTION, "Most of the loss is fees and slippage.", "Trade less, or by limit orders."),
    "mixed": (Verdict.ATTENTION, "No single cause has most of the loss.", "Read the lines, the largest first."),
    "unknown": (Verdict.UNKNOWN, "Too much of the loss is not explained by fills and prices.",
                "`athena reconcile`, and get the missing prices or betas."),
}  # fmt: skip


def attribute(
    *,
    equity_start: Decimal,
    equity_end: Decimal,
    fills: pd.DataFrame,
    before: Book,
    prices: pd.DataFrame,
    market: pd.Series,
    betas: Mapping[str, float],
    transfers: Decimal = ZERO,
    income: Decimal = ZERO,
    tolerance: Decimal = Decimal(1),
) -> Attribution:
    """The change of equity between two times, split.

    fills: those between, in order (at, symbol, strategy, side, quantity, price, fee, bid, ask). before: the
    book at the start. prices: marks in dollars, aware time × symbol; first and last row are those of the two times.
    market: the market's price at the same times. betas by symbol. Raises ValueError on a held symbol without a price.
    """
    need(fills, ("at", "symbol", "strategy", "side", "quantity", "price", "fee", "bid", "ask"), "the fills")
    check_times(prices.index, "the prices")
    if len(prices) < 2 or not prices.index.equals(market.index):
        raise ValueError("prices and market need the same two times or more")
    if not (np.isfinite(market.to_numpy(dtype=float)) & (market.to_numpy(dtype=float) > 0)).all():
        raise ValueError("the market's price is missing or not positive at some time; the market's part is not known")
    exact: Any = fills.copy()
    for name in ("quantity", "price", "fee"):
        exact[name] = pd.Series([_exact(v) for v in fills[name]], fills.index, dtype=object)
    marks = [{str(s): _exact(v) for s, v in prices.iloc[row].items() if v == v} for row in (0, -1)]
    table, _, parts = profit(exact, before, marks[0], marks[1])
    if unpriced := sorted(set(table.loc[~table["priced"].astype(bool), "symbol"])):
        raise ValueError(f"no price at the start or the end for {', '.join(unpriced)}; the loss cannot be split")
    costs: Any = with_slippage(parts)
    strategies: dict[str, Decimal] = {}
    sums = dict.fromkeys(("market", "no_beta", "fees", "slippage"), ZERO)
    paths = _market_parts(parts, before, prices, market, betas)
    for row in rows_of(table):
        own = (costs["symbol"] == row.symbol) & (costs["strategy"] == row.strategy)
        slipped = _cents(costs.loc[own, "cost_usd"].sum())
        gross = row.total + row.fees + slipped
        sums["fees"] -= row.fees
        sums["slippage"] -= slipped
        if row.symbol in betas:
            part = _cents(paths[row.symbol, row.strategy])
            sums["market"] += part
            strategies[row.strategy] = strategies.get(row.strategy, ZERO) + gross - part
        else:
            sums["no_beta"] += gross
    total = equity_end - equity_start - transfers
    known = sum(strategies.values(), ZERO) + sum(sums.values(), ZERO) + income
    lines = [("Market (beta)", "market", sums["market"])]
    lines += [(f"Strategy {name}", "strategy", part) for name, part in sorted(strategies.items())]
    lines += [("Symbols without a beta", "no_beta", sums["no_beta"])] if sums["no_beta"] else []
    lines += [("Fees", "fees", sums["fees"]), ("Slippage", "slippage", sums["slippage"])]
    lines += [("Dividends, interest, charges", "income", income)] if income else []
    lines.append(("Unexplained", "unexplained", total - known))
    without = tuple(sorted(set(table["symbol"]) - set(betas)))
    frame = pd.DataFrame(lines, columns=["line", "kind", "amount"], dtype=object)
    return Attribution(frame, total, tolerance, int(with_slippage(fills)["cost_usd"].isna().sum()), without)


def _market_parts(
    fills: pd.DataFrame, before: Book, prices: pd.DataFrame, market: pd.Series, betas: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """Dollars the market made or lost by (symbol, strategy): what is held at each bar's start, to its end."""
    moved = np.diff(market.to_numpy(dtype=float)) / market.to_numpy(dtype=float)[:-1]
    worth = prices.ffill()
    held_before = {(symbol, owner) for owner, symbol in before.lots()}
    keys = held_before | set(zip(fills["symbol"], fills["strategy"], strict=True))
    parts: dict[tuple[str, str], float] = {}
    for symbol, strategy in keys:
        if symbol not in betas:
            continue
        if symbol not in worth:
            raise ValueError(f"the prices lack {symbol}, which was traded; the market's part is not known")
        own = fills[(fills["symbol"] == symbol) & (fills["strategy"] == strategy)]
        signed: Any = own["quantity"].astype(float) * np.where(own["side"] == "buy", 1.0, -1.0)
        held = np.concatenate([[0.0], np.cumsum(signed.to_numpy(dtype=float))])
        times: Any = pd.DatetimeIndex(own["at"]) if len(own) else prices.index[:0]
        check_times(times, f"the fills of {symbol}", unique=False)
        quantity = (
            float(before.lot(strategy, symbol).quantity) + held[times.searchsorted(prices.index[:-1], side="right")]
        )
        price = worth[symbol].to_numpy(dtype=float)[:-1]
        dollars = np.where(quantity == 0, 0.0, quantity * price)
        if np.isnan(dollars).any():
            raise ValueError(f"{symbol} is held while it has no price; the market's part is not known")
        parts[symbol, strategy] = float(betas[symbol] * (dollars * moved).sum())
    return parts


def _exact(value: Any) -> Decimal:
    """A float that came from a decimal text gives that decimal back."""
    return value if isinstance(value, Decimal) else Decimal(repr(float(value)))


def _cents(value: float) -> Decimal:
    return Decimal(repr(float(value))).quantize(CENT)
