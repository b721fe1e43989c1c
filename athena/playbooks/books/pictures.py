"""Figures of the incident playbooks, in the one style; each returns a plotly figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from athena.analysis import style
from athena.analysis.curves import thin
from athena.model import NEW_YORK


def bars(
    values: Mapping[str, float],
    axis: str,
    *,
    tones: Mapping[str, str] | None = None,
    lines: Sequence[float] = (),
    form: str = ",.0f",
    unit: str = "",
) -> Any:
    """Horizontal bars, the first on top. tones: a colour for some; lines: dotted marks on the axis."""
    go = _plotly()
    names, numbers = list(values), [float(value) for value in values.values()]
    colours = [(tones or {}).get(name, style.BLUE) for name in names]
    figure = go.Figure(
        go.Bar(
            x=numbers[::-1],
            y=names[::-1],
            orientation="h",
            marker_color=colours[::-1],
            hovertemplate=f"%{{y}}: %{{x:{form}}}{unit}<extra></extra>",
        ),
        layout={"template": style.template(), "height": 34 * max(3, len(names)) + 90, "showlegend": False},
    )
    for line in lines:
        figure.add_vline(x=line, line={"dash": "dot", "width": 1, "color": style.GREY})
    figure.update_xaxes(title_text=axis, tickformat=form)
    figure.update_yaxes(showgrid=False, type="category")
    figure.update_layout(hovermode="closest")
    return figure


def curve(
    values: pd.Series,
    axis: str,
    *,
    spans: Sequence[tuple[Any, Any, str]] = (),
    marks: pd.DataFrame | None = None,
    form: str = "$%{y:,.2f}",
    tick: str = ",.0f",
    time: str = "New York time",
) -> Any:
    """A line by time in New York. spans: shaded (from, to, words); marks: `at` and `text`, crosses on the line."""
    go = _plotly()
    shown = thin(values)
    figure = go.Figure(layout={"template": style.template(), "height": 320, "showlegend": False})
    figure.add_trace(
        go.Scatter(
            x=_et(shown.index),
            y=shown.to_numpy(),
            line={"color": style.BLUE, "width": 1.6},
            hovertemplate=form + "<extra></extra>",
        )
    )
    first, last = values.index[0], values.index[-1]
    for start, end, words in spans:
        begins, ends = max(start, first), last if pd.isna(end) else min(end, last)
        if begins < ends:
            figure.add_vrect(
                *_et(pd.DatetimeIndex([begins, ends])),
                fillcolor="rgba(217,138,0,.20)",
                line_width=0,
                layer="below",
                annotation_text=words,
                annotation_position="top left",
                annotation_font_size=10,
            )
    if marks is not None and len(marks):
        inside = marks[(marks["at"] >= first) & (marks["at"] <= last)]
        if len(inside):
            at = pd.DatetimeIndex(inside["at"])
            heights = values.to_numpy()[values.index.searchsorted(at, side="right") - 1]
            marker = {"symbol": "x-thin", "size": 8, "line": {"width": 1.6, "color": style.RED}}
            figure.add_trace(
                go.Scatter(
                    x=_et(at),
                    y=heights,
                    mode="markers",
                    marker=marker,
                    text=inside["text"].tolist(),
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    many = first.tz_convert(NEW_YORK).date() != last.tz_convert(NEW_YORK).date()
    short = last - first < pd.Timedelta(minutes=10)
    ticks = "%-d %b" if many else "%H:%M:%S" if short else "%H:%M"
    figure.update_xaxes(type="date", tickformat=ticks, title_text=time)
    figure.update_yaxes(title_text=axis, tickformat=tick)
    return figure


def counts_by_time(at: pd.DatetimeIndex, kinds: Sequence[str], axis: str, bucket: str = "15min") -> Any:
    """Stacked counts by quarter of an hour and kind, New York time."""
    go = _plotly()
    frame = pd.DataFrame({"at": at.tz_convert(NEW_YORK).floor(bucket), "kind": list(kinds)})
    table = frame.groupby(["kind", "at"]).size()
    figure = go.Figure(layout={"template": style.template(), "height": 300, "barmode": "stack", "showlegend": True})
    for number, kind in enumerate(dict.fromkeys(frame["kind"])):
        part = table[kind]
        figure.add_trace(
            go.Bar(
                x=list(part.index.strftime("%Y-%m-%dT%H:%M:%S")),
                y=part.tolist(),
                name=str(kind),
                marker_color=style.SERIES[number % len(style.SERIES)],
                hovertemplate="%{y}",
            )
        )
    figure.update_xaxes(type="date", title_text="New York time")
    figure.update_yaxes(title_text=axis, tickformat="d")
    return figure


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go


def _et(at: Any) -> list[str]:
    """New York wall times as text: plotly knows no time zones."""
    return list(pd.DatetimeIndex(at).tz_convert(NEW_YORK).strftime("%Y-%m-%dT%H:%M:%S"))
