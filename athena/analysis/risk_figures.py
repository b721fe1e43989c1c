"""Figures of risk: drawdowns, where they stand, correlation maps, losses. Drawn only when shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from athena.analysis import style
from athena.analysis.curves import thin
from athena.analysis.inputs import Floats
from athena.analysis.tables import rows_of
from athena.model import NEW_YORK

# opaque and dark, so that white figures read on every cell (5:1 and more), on light and on dark pages
DIVERGING = [[0, "#1f5fa8"], [0.5, "#5f6873"], [1, "#b02a3c"]]


def underwater(wealth: pd.Series, depth: pd.Series, worst: pd.DataFrame) -> Any:
    """Growth of one dollar over its drawdown in per cent; the worst drawdowns are shaded."""
    from plotly.subplots import make_subplots

    go = _plotly()
    titles = ("Growth of $1, deposits and withdrawals out", "Below the peak so far, %")
    figure = make_subplots(
        rows=2, cols=1, row_heights=[0.6, 0.4], vertical_spacing=0.12, subplot_titles=titles, shared_xaxes=True
    )
    known = np.asarray(wealth.index.notna())
    upper, lower = thin(wealth[known] / wealth.iloc[0]), thin(depth[known])
    line = {"color": style.BLUE, "width": 1.6}
    figure.add_trace(
        go.Scatter(x=wall(upper.index), y=upper.to_numpy(), line=line, hovertemplate="%{y:.4f}<extra></extra>"), 1, 1
    )
    figure.add_trace(
        go.Scatter(
            x=wall(lower.index), y=lower.to_numpy() * 100, fill="tozeroy", line={"color": style.RED, "width": 1},
            fillcolor="rgba(209,73,91,.22)", hovertemplate="%{y:.2f} %<extra></extra>",
        ), 2, 1,
    )  # fmt: skip
    for row in rows_of(worst):
        start, end = row.start if pd.isna(row.peak) else row.peak, row.end if pd.isna(row.recovery) else row.recovery
        edges = wall(pd.DatetimeIndex([start, end]))
        figure.add_vrect(x0=edges[0], x1=edges[1], fillcolor="rgba(217,138,0,.13)", line_width=0, layer="below")
    return left_titles(figure.update_layout(template=style.template(), height=430, showlegend=False))


def depth_and_length(table: pd.DataFrame) -> Any:
    """Each drawdown's depth by its length in points; open ones are diamonds."""
    go, figure = _plotly(), blank(340)
    for status, colour, mark in (("recovered", style.BLUE, "circle"), ("open", style.RED, "diamond")):
        part = table[table["status"] == status]
        percent = part["depth_fraction"].notna().all()
        depth = part["depth_fraction"] * 100 if percent else part["depth_usd"]
        names = wall(pd.DatetimeIndex(part["start"]))
        figure.add_trace(
            go.Scatter(
                x=part["bars"].tolist(), y=depth.tolist(), mode="markers", name=status, text=names,
                marker={"color": colour, "symbol": mark, "size": 12 if status == "open" else 7, "opacity": 0.8},
                hovertemplate="from %{text}: %{y:.2f}, %{x} points<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text="Points under water (log)", type="log", dtick=1)
    figure.update_yaxes(title_text="Depth, %" if table["depth_fraction"].notna().all() else "Depth, $")
    return figure


def where_it_stands(sample: Floats, now: float) -> Any:
    """Where resampled pasts end, and the present drawdown among them; per cent."""
    return _histogram(
        sample * 100, now * 100, f"now {style.fine_percent(now)}", "Below the peak at the end, %", style.BLUE
    )


def loss_histogram(losses: Floats, var: float) -> Any:
    """The losses of the present positions on past days, and the VaR 95 %; dollars."""
    return _histogram(
        losses, var, f"VaR 95 % {style.dollars(var)}", "Loss of one session, $ (negative is a gain)", style.BLUE
    )


def waterfall(names: Sequence[str], amounts: Sequence[float]) -> Any:
    """Signed dollars that add up to a total."""
    go, figure = _plotly(), blank(34 * (len(names) + 1) + 110)
    figure.add_trace(
        go.Waterfall(
            orientation="h", y=[*names, "Total"], x=[*amounts, 0.0], measure=["relative"] * len(names) + ["total"],
            text=[style.whole_usd(v) for v in [*amounts, sum(amounts)]], textposition="outside", cliponaxis=False,
            decreasing={"marker": {"color": style.RED}}, increasing={"marker": {"color": style.GREEN}},
            totals={"marker": {"color": style.GREY}}, connector={"line": {"color": style.GREY, "width": 0.7}},
            hovertemplate="%{y}: $%{text}<extra></extra>",
        )
    )  # fmt: skip
    reached = np.concatenate([[0.0], np.cumsum(amounts)])
    pad = 0.2 * (float(np.ptp(reached)) or 1.0)
    figure.update_layout(hovermode="closest", showlegend=False)
    figure.update_xaxes(
        title_text="$, negative lost money", tickformat=",.0f", range=[reached.min() - pad, reached.max() + pad]
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def correlation_map(matrix: pd.DataFrame, links: Floats) -> Any:
    """Signed correlations in the order of their dendrogram, which stands above; blanks stay blank."""
    from plotly.subplots import make_subplots
    from scipy.cluster.hierarchy import dendrogram

    go, names, n = _plotly(), [str(name) for name in matrix.columns], len(matrix)
    tall = 0.16 if len(links) else 0.001
    figure = make_subplots(rows=2, cols=1, row_heights=[tall, 1 - tall], vertical_spacing=0.01, shared_xaxes=True)
    if len(links):
        tree = dendrogram(links, no_plot=True, color_threshold=0)
        for xs, ys in zip(tree["icoord"], tree["dcoord"], strict=True):
            figure.add_trace(
                go.Scatter(x=[(x - 5) / 10 for x in xs], y=ys, mode="lines", hoverinfo="skip", showlegend=False,
                           line={"color": style.GREY, "width": 1}), 1, 1,
            )  # fmt: skip
    values = matrix.to_numpy(dtype=float)
    written = [["" if v != v else f"{v:.2f}".replace("-", "−") for v in row] for row in values] if n <= 14 else None
    labels = [[f"{a} – {b}" for b in names] for a in names]
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=list(range(n)),
            y=list(range(n)),
            zmin=-1,
            zmax=1,
            colorscale=DIVERGING,
            xgap=1,
            ygap=1,
            text=written,
            texttemplate="%{text}" if written else None,
            textfont={"color": "#ffffff"},
            customdata=labels,
            hoverongaps=False,
            hovertemplate="%{customdata}: %{z:.2f}<extra></extra>",
            colorbar={"thickness": 10, "tickvals": [-1, 0, 1], "outlinewidth": 0},
        ),
        2,
        1,
    )
    ticks = {"tickvals": list(range(n)), "ticktext": names, "showgrid": False, "zeroline": False}
    figure.update_layout(
        template=style.template(), height=max(320, 26 * n + 150), hovermode="closest", showlegend=False
    )
    figure.update_xaxes(**ticks, range=[-0.5, n - 0.5])
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    figure.update_yaxes(visible=False, row=1, col=1)
    figure.update_yaxes(**ticks, range=[n - 0.5, -0.5], row=2, col=1)
    return figure


def rolling_band(past: pd.Series, usual: float) -> Any:
    """The rolling mean correlation with the middle nine tenths of its past; the last point is now."""
    go, figure = _plotly(), blank(300)
    shown = thin(past.dropna())
    low, high = np.nanquantile(past.to_numpy(dtype=float)[:-1], [0.05, 0.95])
    figure.add_hrect(y0=low, y1=high, fillcolor="rgba(59,130,196,.13)", line_width=0, layer="below")
    figure.add_hline(y=usual, line={"dash": "dot", "width": 1, "color": style.GREY})
    figure.add_trace(
        go.Scatter(
            x=wall(shown.index),
            y=shown.tolist(),
            line={"color": style.BLUE, "width": 1.5},
            name="mean correlation",
            hovertemplate="%{y:.2f}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=wall(shown.index[-1:]),
            y=shown.tolist()[-1:],
            mode="markers",
            marker={"color": style.RED, "size": 10},
            hovertemplate="now %{y:.2f}<extra></extra>",
        )
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(title_text="Mean signed correlation")
    return figure


def blank(height: int) -> Any:
    """An empty figure in the house style, so many pixels high."""
    return _plotly().Figure(layout={"template": style.template(), "height": height})


def wall(times: Any) -> list[str]:
    """New York wall times as text: plotly knows no time zones."""
    return list(pd.DatetimeIndex(times).tz_convert(NEW_YORK).strftime("%Y-%m-%dT%H:%M:%S"))


def left_titles(figure: Any) -> Any:
    """The figure with the titles of its panels set flush left."""
    for note in figure.layout.annotations:
        note.update(x=0, xanchor="left", font_size=12)
    return figure


def _histogram(values: Floats, mark: float, words: str, title: str, colour: str) -> Any:
    go, figure = _plotly(), blank(290)
    heights, edges = np.histogram(values, bins=40)
    middle = (edges[1:] + edges[:-1]) / 2
    figure.add_trace(
        go.Bar(
            x=middle.tolist(),
            y=heights.tolist(),
            marker_color=colour,
            opacity=0.75,
            hovertemplate="%{x:,.2f}: %{y}<extra></extra>",
        )
    )
    late = mark > (edges[0] + edges[-1]) / 2
    note = {"annotation_text": words, "annotation_position": "top left" if late else "top right"}
    figure.add_vline(x=mark, line={"color": style.RED, "width": 2}, **note)
    figure.update_layout(bargap=0.05, hovermode="closest", showlegend=False)
    figure.update_xaxes(title_text=title, tickformat=",")
    figure.update_yaxes(title_text="n")
    return figure


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go
