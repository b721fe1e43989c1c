"""The figures, in the one style: quiet grounds, units on axes, halts shaded, New York time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.curves import thin
from athena.analysis.execution import HALT_SYMBOL_BPS, LIMIT_ORDERS_BPS
from athena.analysis.tables import rows_of
from athena.model import NEW_YORK


def profit_bars(profit: pd.DataFrame) -> Any:
    """Total P&L by symbol, stacked by strategy; symbol, strategy, total in dollars."""
    go = _plotly()
    order = profit.groupby("symbol")["total"].sum().sort_values(ascending=False).index.tolist()[::-1]
    figure = _blank(34 * max(3, len(order)) + 90)
    for number, (strategy, part) in enumerate(profit.groupby("strategy", sort=True)):
        figure.add_trace(
            go.Bar(
                x=part["total"].astype(float).tolist(),
                y=part["symbol"].tolist(),
                orientation="h",
                name=strategy,
                marker_color=style.SERIES[number % len(style.SERIES)],
                hovertemplate="%{y}: %{x:$,.2f}",
            )
        )
    figure.update_layout(barmode="relative", hovermode="closest", showlegend=True)
    figure.update_xaxes(title_text="Profit and loss, $", tickformat=",.0f")
    figure.update_yaxes(categoryorder="array", categoryarray=order, showgrid=False)
    return figure


def day_and_history(
    curve: pd.Series, halts: pd.DataFrame, violations: pd.DataFrame, closes: pd.Series, drawdown: pd.Series
) -> Any:
    """The day's equity over its drawdown, and below them the closes of all days; dollars, and per cent for closes."""
    from plotly.subplots import make_subplots

    go = _plotly()
    titles = (
        "Equity today, $",
        "Below the day's best, $",
        "Equity at each close, deposits out, $",
        "Close below the highest close, %",
    )
    figure = make_subplots(
        rows=4, cols=1, row_heights=[0.34, 0.18, 0.3, 0.18], vertical_spacing=0.085, subplot_titles=titles
    )
    figure.update_layout(template=style.template(), height=760, showlegend=False)
    depth = thin(curve - curve.cummax())
    shown = thin(curve)
    line = {"color": style.BLUE, "width": 1.6}
    figure.add_trace(
        go.Scatter(x=_et(shown.index), y=shown.to_numpy(), line=line, name="equity", hovertemplate="%{y:$,.2f}"), 1, 1
    )
    figure.add_trace(_under(go, _et(depth.index), depth.to_numpy(), "%{y:$,.2f}"), 2, 1)
    _mark_guard(figure, curve, halts, violations)
    days = [str(day.date()) for day in closes.index]
    figure.add_trace(
        go.Scatter(
            x=days, y=closes.to_numpy(), line=line, mode="lines+markers", marker_size=4, hovertemplate="%{y:$,.2f}"
        ),
        3,
        1,
    )
    if len(drawdown):
        figure.add_trace(
            _under(go, [str(day.date()) for day in drawdown.index], drawdown.to_numpy() * 100, "%{y:.2f} %"), 4, 1
        )
    edge = [_et(curve.index[:1])[0], _et(curve.index[-1:])[0]]
    figure.update_xaxes(range=edge, tickformat="%H:%M", row=1, col=1, matches="x2", showticklabels=False)
    figure.update_xaxes(range=edge, tickformat="%H:%M", row=2, col=1)
    if len(closes):  # matched date axes have no range of their own
        pad = max(pd.Timedelta(hours=12), (closes.index[-1] - closes.index[0]) * 0.02)
        ends = [str((closes.index[0] - pad).date()), str((closes.index[-1] + pad + pd.Timedelta(hours=12)).date())]
        figure.update_xaxes(range=ends, row=3, col=1)
        figure.update_xaxes(range=ends, row=4, col=1)
    figure.update_xaxes(type="date", tickformat="%-d %b %Y", nticks=6, row=3, col=1, matches="x4", showticklabels=False)
    figure.update_xaxes(type="date", tickformat="%-d %b %Y", nticks=6, row=4, col=1)
    figure.update_yaxes(tickformat=",.0f", nticks=5)
    figure.update_yaxes(tickformat=".2~f", row=4, col=1)
    for note in figure.layout.annotations:
        note.update(x=0, xanchor="left", font_size=12)
    return figure


def _under(go: Any, x: Any, y: Any, hover: str) -> Any:
    return go.Scatter(
        x=x,
        y=y,
        fill="tozeroy",
        line={"color": style.RED, "width": 1},
        fillcolor="rgba(209,73,91,.22)",
        name="below",
        hovertemplate=hover,
    )


def _mark_guard(figure: Any, curve: pd.Series, halts: pd.DataFrame, violations: pd.DataFrame) -> None:
    """Shades the times all trading was halted and marks violations on the curve."""
    go, first, last = _plotly(), curve.index[0], curve.index[-1]
    for halt in rows_of(halts[halts["scope"] == "global"]):
        start, end = max(halt.from_at, first), last if pd.isna(halt.to_at) else min(halt.to_at, last)
        if start < end:
            shade = "rgba(217,138,0,.20)" if halt.mode == "halted" else "rgba(217,138,0,.10)"
            edges = _et(pd.DatetimeIndex([start, end]))
            for row in (1, 2):
                figure.add_vrect(*edges, fillcolor=shade, line_width=0, layer="below", row=row, col=1)
    at = pd.DatetimeIndex(violations["venue_at"].dropna())
    at = at[(at >= first) & (at <= last)] if len(at) else at
    if len(at):
        heights = curve.to_numpy()[curve.index.searchsorted(at, side="right") - 1]
        marker = {"symbol": "x-thin", "size": 8, "line": {"width": 1.6, "color": style.RED}}
        names = violations.loc[violations["venue_at"].isin(at), "code"].tolist()
        figure.add_trace(
            go.Scatter(
                x=_et(at),
                y=heights,
                mode="markers",
                marker=marker,
                text=names,
                hovertemplate="%{text}",
                name="violation",
            ),
            1,
            1,
        )


def slippage_bars(table: pd.DataFrame) -> Any:
    """Weighted slippage by symbol in basis points, n beside each, with the operators' two thresholds."""
    go = _plotly()
    rows = table[table["cost_bps"].notna()].iloc[::-1]
    figure = _blank(34 * max(3, len(rows)) + 90)
    colours = [
        style.RED if v > HALT_SYMBOL_BPS else style.ORANGE if v >= LIMIT_ORDERS_BPS else style.BLUE
        for v in rows["cost_bps"]
    ]
    labels = [f"{style.bps(v)} (n = {n})" for v, n in zip(rows["cost_bps"], rows["fills"], strict=True)]
    figure.add_trace(
        go.Bar(
            x=rows["cost_bps"].tolist(),
            y=rows["symbol"].tolist(),
            orientation="h",
            marker_color=colours,
            hovertemplate="%{y}: %{x:.1f} bps",
        )
    )
    # Right of the bar or of zero: left of a gain's bar they would run into the symbols' names.
    figure.add_trace(
        go.Scatter(
            x=[max(0.0, value) for value in rows["cost_bps"]],
            y=rows["symbol"].tolist(),
            mode="text",
            text=[f" {label}" for label in labels],
            textposition="middle right",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    top = max(1.0, float(rows["cost_bps"].max()))
    for level in (LIMIT_ORDERS_BPS, HALT_SYMBOL_BPS):
        if top > level * 0.4:
            figure.add_vline(x=level, line={"dash": "dot", "width": 1, "color": style.GREY})
    low = min(0.0, float(rows["cost_bps"].min()))
    figure.update_xaxes(title_text="Cost, bps of the mid before the fill", range=[low * 1.05, top + 0.35 * (top - low)])
    figure.update_yaxes(showgrid=False)
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure


def guard_timeline(halts: pd.DataFrame, violations: pd.DataFrame, end: Any) -> Any:
    """A bar for each halt over the day, and a cross for each violation, by what it speaks of."""
    go = _plotly()
    names = list(dict.fromkeys([*halts["what"], *violations["symbol"].replace("", None).fillna("account")]))[::-1]
    figure = _blank(34 * max(2, len(names)) + 90)
    for halt in rows_of(halts):
        until = end if pd.isna(halt.to_at) else halt.to_at
        figure.add_trace(
            go.Scatter(
                x=_et(pd.DatetimeIndex([halt.from_at, until])),
                y=[halt.what] * 2,
                mode="lines",
                line={"width": 14, "color": style.ORANGE},
                text=[f"{halt.owner}: {halt.reason}"] * 2,
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    known = violations[violations["venue_at"].notna()]
    if len(known):
        marker = {"symbol": "x-thin", "size": 9, "line": {"width": 1.8, "color": style.RED}}
        figure.add_trace(
            go.Scatter(
                x=_et(pd.DatetimeIndex(known["venue_at"])),
                y=known["symbol"].replace("", None).fillna("account").tolist(),
                mode="markers",
                marker=marker,
                text=known["code"].tolist(),
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
            )
        )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text="New York time", type="date", tickformat="%H:%M")
    figure.update_yaxes(categoryorder="array", categoryarray=names, showgrid=False)
    return figure


def limit_bars(use: pd.DataFrame) -> Any:
    """The share used of each measured limit, in per cent, cut at 130."""
    go = _plotly()
    rows = use.iloc[::-1]
    shares = [min(130.0, float(value) * 100) for value in rows["used_fraction"]]
    colours = [style.RED if v >= 100 else style.ORANGE if v >= 80 else style.BLUE for v in shares]
    labels = [f"{row.name} {row.target}".strip() for row in rows_of(rows)]
    figure = _blank(34 * max(2, len(rows)) + 90)
    figure.add_trace(
        go.Bar(x=shares, y=labels, orientation="h", marker_color=colours, hovertemplate="%{y}: %{x:.0f} %")
    )
    figure.add_vline(x=100, line={"width": 1.2, "color": style.RED})
    figure.add_vline(x=80, line={"dash": "dot", "width": 1, "color": style.GREY})
    figure.update_xaxes(title_text="Used, % of the limit", range=[0, 130])
    figure.update_yaxes(showgrid=False, tickfont_size=11)
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure


def _blank(height: int) -> Any:
    return _plotly().Figure(layout={"template": style.template(), "height": height})


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go


def _et(at: Any) -> list[str]:
    """New York wall times as text: plotly knows no time zones."""
    return list(at.tz_convert(NEW_YORK).strftime("%Y-%m-%dT%H:%M:%S"))
