"""Are these positions really different bets? Correlation, diversification and exposure of what is held now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis import risk_figures, style
from athena.analysis.assessment import Assessment, Finding, Section, Verdict, conclude
from athena.analysis.correlation import (
    OVERLAP_MIN,
    Correlations,
    complete,
    ewma,
    ledoit_wolf,
    nearest_valid,
    pearson,
    seriated,
    signed,
)
from athena.analysis.exposure import Diversification, Exposure, diversification, exposure
from athena.analysis.inputs import answered, simple_returns
from athena.analysis.moving_together import Together, moving_together
from athena.analysis.tables import Column, Table

METHODS = {"pearson": pearson, "ewma": ewma, "ledoit_wolf": ledoit_wolf}


@dataclass(frozen=True)
class Thresholds:
    """Above these the answer is ATTENTION; gross and net are of equity, beta too. None switches a row off."""

    pair_correlation: float | None = 0.8
    effective_bets_share: float | None = 0.25  # fewer bets than this share of the positions
    largest_share: float | None = 0.4
    gross_fraction: float | None = None
    net_fraction: float | None = None
    beta_fraction: float | None = None


@answered("Position correlation")
def assess(
    data: pd.DataFrame,
    *,
    kind: str,
    held: pd.Series,
    equity: float,
    betas: pd.Series | None = None,
    method: str = "pearson",
    thresholds: Thresholds | None = None,
    as_of: datetime | None = None,
    seed: int = 0,
) -> Assessment:
    """Whether the positions are different bets, and whether they move together more than usual.

    data: prices or returns (say which by `kind`), aware time × symbol. held: signed dollars by symbol. betas by symbol.
    UNKNOWN when correlations cannot be had; TypeError on a wrong `kind` or `method`.
    """
    if method not in METHODS:
        raise TypeError(f"method is {method!r}; say one of {', '.join(METHODS)}")
    thresholds = thresholds or Thresholds()
    sized = exposure(held, equity, betas)
    held = held[held != 0]
    returns = simple_returns(data, kind=kind)
    if missing := [str(symbol) for symbol in held.index if symbol not in returns.columns]:
        raise ValueError(f"no {kind} for {', '.join(missing)}, which are held")
    returns = returns[list(held.index)]
    findings = _sizes(sized, thresholds)
    if held.empty:
        flat = Finding("Is anything held?", Verdict.OK, "no", reason="Nothing is held.", inputs={"positions": 0})
        return Assessment(
            "Position correlation", Verdict.OK, flat.reason, "Nothing to do.", as_of, (flat,), {}, {"positions": 0}, {}
        )
    found = METHODS[method](returns)
    spread, how_many = _diversified(held, returns, found)
    together, why_not = _together(returns, held, seed)
    findings += [*_pairs(found, held, thresholds), _bets(spread, how_many, thresholds), _now(together, why_not)]
    verdict, reason, action = conclude(findings, "The positions are different bets, moving as usual.", "Nothing to do.")
    numbers = {
        "positions": sized.positions,
        "gross_usd": sized.gross_usd,
        "net_usd": sized.net_usd,
        "beta_usd": sized.beta_usd,
        "gross_fraction": sized.gross_fraction,
        "concentration": sized.concentration,
        "observations": len(returns),
        "blank_pairs": found.blanks,
        "shrinkage": found.shrinkage,
        "diversification_ratio": spread and spread.ratio,
        "effective_bets": spread and spread.effective_bets,
        "principal_axes": spread and spread.principal_axes,
        "absorption": spread and spread.absorption,
        "mean_correlation_now": together and together.mean,
        "mean_correlation_usual": together and together.usual,
        "p_rank": together and together.p_rank,
        "p_bootstrap": together and together.p_bootstrap,
    }
    sections = _sections(found, held, sized, spread, together, why_not)
    known = as_of or returns.index[-1].to_pydatetime()
    facts = {"method": found.method, "overlap_min": OVERLAP_MIN, "without_beta": list(sized.without_beta)}
    return Assessment("Position correlation", verdict, reason, action, known, tuple(findings), sections, numbers, facts)


def _sizes(sized: Exposure, limits: Thresholds) -> list[Finding]:
    rows: list[tuple[str, float | None, float | None, str]] = [
        ("Gross exposure", sized.gross_fraction, limits.gross_fraction, "Reduce position sizes."),
        ("Net exposure", abs(sized.net_fraction), limits.net_fraction, "Reduce the larger side."),
        ("Largest position", sized.largest_share if sized.positions > 1 else None, limits.largest_share,
         f"Reduce {sized.largest}: `athena close-position {sized.largest}`."),
    ]  # fmt: skip
    if limits.beta_fraction is not None:
        beta = sized.beta_usd if not sized.beta_usd else abs(sized.beta_usd) * sized.gross_fraction / sized.gross_usd
        rows.append(("Market exposure", beta, limits.beta_fraction, "Reduce or hedge the market exposure."))
    found = []
    for check, value, limit, action in rows:
        if limit is None or (value is None and check == "Largest position"):
            continue
        inputs = {"value": value, "limit": limit}
        if value is None:
            reason = f"No beta for {', '.join(sized.without_beta)}: the market exposure is not known."
            found.append(
                Finding(check, Verdict.UNKNOWN, "not known", style.percent(limit), reason, "Get betas.", inputs)
            )
            continue
        verdict = Verdict.OK if value <= limit else Verdict.ATTENTION
        seen, most = style.percent(value), style.percent(limit)
        found.append(Finding(check, verdict, seen, most, f"{check} is {seen}; the limit is {most}.", action, inputs))
    return found


def _pairs(found: Correlations, held: pd.Series, limits: Thresholds) -> list[Finding]:
    matrix = signed(found.matrix, held).to_numpy(dtype=float)
    names = found.matrix.columns
    a, b = np.triu_indices(len(names), 1)
    values = matrix[a, b]
    check = "Pairs that are one bet"
    if not len(values):
        return []
    if np.isnan(values).all():
        reason = f"No pair of positions has {OVERLAP_MIN} common returns."
        return [Finding(check, Verdict.UNKNOWN, "no correlation", "", reason, "Get longer price histories.")]
    top = int(np.nanargmax(values))
    limit = limits.pair_correlation
    seen = f"{names[a[top]]}–{names[b[top]]} {values[top]:.2f}"
    high = 0 if limit is None else int(np.nansum(values > limit))
    verdict = Verdict.ATTENTION if high else Verdict.OK
    reason = f"{high} of {len(values)} pairs win and lose together; most {seen}." if high else ""
    inputs = {"pairs": len(values), "above": high, "blank": found.blanks, "highest": float(values[top])}
    threshold = "" if limit is None else f"above {limit:.2f}"
    return [Finding(check, verdict, seen, threshold, reason, "Size such a pair as one position.", inputs)]


def _bets(spread: Diversification | None, why_not: str, limits: Thresholds) -> Finding:
    check = "How many bets are these?"
    if spread is None:
        return Finding(check, Verdict.UNKNOWN, "not known", "", why_not, "Get longer price histories.")
    bets, share = spread.effective_bets, limits.effective_bets_share
    least = None if share is None or spread.symbols < 4 else share * spread.symbols
    few = least is not None and not bets >= least
    seen = f"{bets:.1f} bets in {spread.symbols} positions"
    threshold = "" if least is None else f"at least {least:.1f}"
    inputs = {"effective_bets": bets, "symbols": spread.symbols, "least": least}
    verdict = Verdict.ATTENTION if few else Verdict.OK
    return Finding(check, verdict, seen, threshold, f"The positions are only {seen}." if few else "",
                   "Close or reduce the positions of the largest cluster.", inputs)  # fmt: skip


def _now(together: Together | None, why_not: str) -> Finding:
    check = "Moving together, now against usual?"
    if together is None:
        return Finding(check, Verdict.UNKNOWN, "not known", "", why_not, "Get longer price histories.")
    seen = (
        f"mean {together.mean:.2f} now, {together.usual:.2f} usual; "
        f"p {together.p_rank:.3f} and {together.p_bootstrap:.3f}"
    )
    verdict = Verdict.ATTENTION if together.alarmed else Verdict.OK
    pair = together.pairs.iloc[0] if len(together.pairs) else None
    most = "" if pair is None else f" Most: {pair['a']}–{pair['b']}, {pair['usual']:.2f} to {pair['now']:.2f}."
    reason = (
        f"The positions move together more than usual (mean {together.mean:.2f}, usual {together.usual:.2f}).{most}"
    )
    inputs = {"p_rank": together.p_rank, "p_bootstrap": together.p_bootstrap, "window": together.window}
    return Finding(check, verdict, seen, f"both p at most {together.alpha:.3f}", reason if together.alarmed else "",
                   "Count them as one position: reduce the gross exposure.", inputs)  # fmt: skip


def _diversified(held: pd.Series, returns: pd.DataFrame, found: Correlations) -> tuple[Diversification | None, str]:
    part, apart = complete(found.matrix)
    if len(part) < 2:
        return None, f"Only {len(part)} of {len(held)} positions have correlations."
    if apart:
        return None, f"No complete correlations for {', '.join(apart)}."
    try:
        return diversification(held, returns.std(), part), ""
    except ValueError as error:
        return None, f"{error}."


def _together(returns: pd.DataFrame, held: pd.Series, seed: int) -> tuple[Together | None, str]:
    try:
        return moving_together(returns, held, seed=seed), ""
    except ValueError as error:
        return None, f"{str(error)[:1].upper()}{str(error)[1:]}."


def _sections(
    found: Correlations, held: pd.Series, sized: Exposure, spread: Diversification | None, together: Together | None,
    why_not: str,
) -> dict[str, Section]:  # fmt: skip
    shown, links = seriated(signed(found.matrix, held))
    part, _ = complete(found.matrix)
    mended = f" {nearest_valid(part)[1]} negative eigenvalues mended." if len(part) and nearest_valid(part)[1] else ""
    shrunk = "" if found.shrinkage is None else f" Shrunk by {found.shrinkage:.2f}."
    least = int(found.common.to_numpy().min()) if len(found.common) else 0
    reading = (
        f"{found.method}, signed by position: red pairs win and lose together. At least {least} common returns a pair; "
        f"{found.blanks} blank.{shrunk}{mended}"
    )
    known = len(shown) > 1 and bool(shown.notna().to_numpy()[np.triu_indices(len(shown), 1)].any())
    figure = partial(risk_figures.correlation_map, shown, links) if known else None
    sections = {"correlation": Section("Which positions are the same bet?", reading, draw=figure)}
    if together is None:
        sections["together"] = Section("Are all positions moving together, now against usual?", f"Not known. {why_not}")
    else:
        columns = (
            Column("a", "Position"),
            Column("b", "and"),
            Column("now", "Now", _two),
            Column("usual", "Usual", _two),
            Column("rise", "Rise", _two),
        )
        out = f" Left out for want of returns: {', '.join(together.left_out)}." if together.left_out else ""
        words = f"Mean signed correlation of {together.symbols} positions over {together.window} returns.{out}"
        sections["together"] = Section(
            "Are all positions moving together, now against usual?",
            words,
            (Table("Pairs that rose most", together.pairs, columns),),
            partial(risk_figures.rolling_band, together.past, together.usual),
        )
    table = pd.DataFrame({"symbol": held.index, "usd": held.to_numpy(dtype=float)})
    table["share"] = table["usd"].abs() / table["usd"].abs().sum()
    table = table.sort_values("share", ascending=False, ignore_index=True)
    held_columns = (
        Column("symbol", "Symbol"),
        Column("usd", "Held, $", style.usd),
        Column("share", "Of gross", style.percent),
    )
    sections["exposure"] = Section(
        "How much is held, in how few names?",
        _exposure_words(sized, spread),
        (Table("Positions", table, held_columns),),
    )
    return sections


def _exposure_words(sized: Exposure, spread: Diversification | None) -> str:
    beta = "not known" if sized.beta_usd is None else style.dollars(sized.beta_usd)
    words = (
        f"Gross {style.percent(sized.gross_fraction)} and net {style.percent(sized.net_fraction)} of equity; market "
        f"(beta) {beta}; like {1 / sized.concentration:.1f} equal positions."
    )
    if spread is not None:
        words += (
            f" Diversification ratio {spread.ratio:.2f}; {spread.effective_bets:.1f} effective bets; the first fifth "
            f"of the axes absorbs {style.percent(spread.absorption)} of the variance."
        )
    return words


def _two(value: Any) -> str:
    return style.usd(value)


def to_series(held: Mapping[str, float]) -> pd.Series:
    """Signed dollars by symbol, as `assess` takes them."""
    return pd.Series({symbol: float(value) for symbol, value in held.items()}, dtype=float)
