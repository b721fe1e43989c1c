"""Figures of trading: what it cost, where the price went, how fast the venue answered. Drawn only when shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis import style
from athena.analysis.inputs import Floats
from athena.analysis.risk_figures import blank, wall


def waterfall(names: Sequence[str], costs: Sequence[float]) -> Any:
    """Costs in dollars that add up to a total; positive is cost, and red."""
    go, figure = _plotly(), blank(34 * (len(names) + 1) + 110)
    known = [0.0 if cost != cost else cost for cost in costs]
    figure.add_trace(
        go.Waterfall(
            orientation="h", y=[*names, "Total"], x=[*known, 0.0], measure=["relative"] * len(names) + ["total"],
            text=[style.usd(cost) for cost in [*costs, sum(costs)]], textposition="outside", cliponaxis=False,
            increasing={"marker": {"color": style.RED}}, decreasing={"marker": {"color": style.GREEN}},
            totals={"marker": {"color": style.GREY}}, connector={"line": {"color": style.GREY, "width": 0.7}},
            hovertemplate="%{y}: $%{text}<extra></extra>",
        )
    )  # fmt: skip
    reached = np.concatenate([[0.0], np.cumsum(known)])
    pad = 0.25 * (float(np.ptp(reached)) or 1.0)
    figure.update_layout(hovermode="closest", showlegend=False)
    figure.update_xaxes(title_text="Cost, $", tickformat=",", range=[reached.min() - pad, reached.max() + pad])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def cost_bars(table: pd.DataFrame, key: str, levels: tuple[float, float]) -> Any:
    """Cost in bps by group, its 95 % interval as whiskers, n beside it, the operators' thresholds dotted."""
    go = _plotly()
    rows = table[table["cost_bps"].notna()].iloc[::-1]
    figure = blank(34 * max(3, len(rows)) + 100)
    value = rows["cost_bps"].to_numpy(dtype=float)
    above = np.nan_to_num(rows["high_bps"].to_numpy(dtype=float) - value)
    below = np.nan_to_num(value - rows["low_bps"].to_numpy(dtype=float))
    labels = [f"{name} (n = {n})" for name, n in zip(rows[key], rows["orders"], strict=True)]
    figure.add_trace(
        go.Bar(
            x=value.tolist(),
            y=labels,
            orientation="h",
            marker_color=style.BLUE,
            error_x={
                "type": "data",
                "array": above.tolist(),
                "arrayminus": below.tolist(),
                "color": style.ORANGE,
                "thickness": 1.6,
            },
            hovertemplate="%{y}: %{x:.1f} bps<extra></extra>",
        )
    )
    top = float(np.max(value + above, initial=0.0))
    for level in levels:
        if top > level * 0.4:
            figure.add_vline(x=level, line={"dash": "dot", "width": 1, "color": style.GREY})
    figure.update_xaxes(title_text="Cost, bps of the decision's value")
    figure.update_yaxes(showgrid=False, type="category")
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure


def cost_and_size(table: pd.DataFrame) -> Any:
    """Each order's cost, and what the law expects of it, by its share of daily volume (log)."""
    go, figure = _plotly(), blank(340)
    ordered = table.sort_values("participation")
    share = (ordered["participation"] * 100).tolist()
    for name, column, colour, size in (
        ("paid", "cost_bps", style.BLUE, 6),
        ("expected", "expected_bps", style.ORANGE, 5),
    ):
        figure.add_trace(
            go.Scatter(
                x=share,
                y=ordered[column].tolist(),
                mode="markers",
                name=name,
                text=ordered["symbol"].tolist(),
                marker={"color": colour, "size": size, "opacity": 0.65},
                hovertemplate="%{text}: %{y:.1f} bps<extra></extra>",
            )
        )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text="Shares, % of daily volume (log)", type="log", nticks=5)
    figure.update_yaxes(title_text="Cost from arrival, bps")
    return figure


def markout_curve(table: pd.DataFrame) -> Any:
    """How far the mid went our way after fills, its 95 % band, and what the other side kept; bps by horizon (log)."""
    go, figure = _plotly(), blank(320)
    x = table["horizon_seconds"].tolist()
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "x": x}
    figure.add_trace(go.Scatter(y=table["high_bps"].tolist(), **band))
    figure.add_trace(go.Scatter(y=table["low_bps"].tolist(), fill="tonexty", fillcolor="rgba(59,130,196,.18)", **band))
    for name, column, colour in (
        ("permanent", "permanent_bps", style.BLUE),
        ("realised by the other side", "realised_bps", style.ORANGE),
    ):
        figure.add_trace(
            go.Scatter(
                x=x,
                y=table[column].tolist(),
                mode="lines+markers",
                name=name,
                line={"color": colour},
                hovertemplate="%{y:.2f} bps",
            )
        )
    ticks = {"tickvals": x, "ticktext": [_short(v) for v in x]}
    figure.update_xaxes(title_text="After the fill", type="log", **ticks)
    figure.update_yaxes(title_text="bps")
    return figure


def _short(seconds: float) -> str:
    """A horizon in its own unit: 50 ms, 15 s, 5 min."""
    if seconds < 1:
        return f"{seconds * 1000:g} ms"
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"


def ratios(table: pd.DataFrame) -> Any:
    """Volatility, spread and volume of each symbol as multiples of usual (log); the dotted line is usual."""
    go = _plotly()
    rows = table.head(25).iloc[::-1]
    figure = blank(26 * max(4, len(rows)) + 110)
    for name, column, colour, mark in (
        ("volatility", "volatility_ratio", style.RED, "circle"), ("spread", "spread_ratio", style.ORANGE, "diamond"),
        ("volume", "volume_ratio", style.BLUE, "square"),
    ):  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=rows[column].tolist(), y=rows["symbol"].tolist(), mode="markers", name=name,
                marker={"color": colour, "symbol": mark, "size": 9}, hovertemplate="%{y}: %{x:.2f} × usual",
            )
        )  # fmt: skip
    figure.add_vline(x=1, line={"dash": "dot", "width": 1, "color": style.GREY})
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text="× usual for this time of day (log)", type="log", nticks=8)
    return figure


def latency(delay_ms: Floats) -> Any:
    """The share of orders answered within so many milliseconds (log), p95 marked."""
    go, figure = _plotly(), blank(280)
    ordered = np.sort(delay_ms)
    keep = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), 600)).astype(int))
    share = (keep + 1) / len(ordered) * 100
    x = np.maximum(ordered[keep], 0.01)
    figure.add_trace(
        go.Scatter(
            x=x.tolist(),
            y=share.tolist(),
            line={"color": style.BLUE, "shape": "hv"},
            hovertemplate="%{y:.0f} % within %{x:.1f} ms<extra></extra>",
        )
    )
    p95 = float(np.percentile(delay_ms, 95))
    figure.add_vline(x=max(p95, 0.01), line={"color": style.RED, "width": 1.4})
    figure.add_annotation(
        x=np.log10(max(p95, 0.01)), y=50, text=f"p95 {p95:.0f} ms", showarrow=False, xanchor="left", xshift=6
    )
    figure.update_layout(showlegend=False, hovermode="closest")
    figure.update_xaxes(title_text="Milliseconds (log)", type="log", nticks=5)
    figure.update_yaxes(title_text="Answered, %", range=[0, 102])
    return figure


def profit_paths(realised: pd.DataFrame) -> Any:
    """Closed profit after fees, by strategy, over time; dollars."""
    go, figure = _plotly(), blank(340)
    for number, (strategy, part) in enumerate(realised.groupby("strategy", sort=True)):
        net = (part["realised"] - part["fee"]).astype(float).cumsum()
        colour = style.SERIES[number % len(style.SERIES)]
        figure.add_trace(
            go.Scatter(
                x=wall(pd.DatetimeIndex(part["at"])),
                y=net.tolist(),
                name=str(strategy),
                line={"color": colour, "shape": "hv"},
                hovertemplate="$%{y:,.2f}",
            )
        )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(title_text="Closed profit after fees, $", tickformat=",.0f")
    return figure


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go
