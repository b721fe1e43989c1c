"""One visual style for pages, notebooks and figures: colours, written numbers, stylesheet, plotly template.

Colours are Okabe and Ito's, told apart by the colour-blind on light and on dark grounds. Colour never speaks alone:
a verdict is also a word, a loss also a sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import escape
from typing import Any

from athena.model import NEW_YORK

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3b82c4", "#d98a00", "#0f9d76", "#d1495b", "#a45ea0", "#7d8794"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
FONT = "Inter, 'Segoe UI', system-ui, -apple-system, 'Helvetica Neue', Arial, sans-serif"
MISSING = "–"


def usd(value: Any) -> str:
    """Dollars and cents with thousands separators and a true minus: −1,234.50."""
    return _number(value, 2)


def dollars(value: Any) -> str:
    """The same with its sign and unit, for sentences: −$1,234.50."""
    written = usd(value)
    return f"−${written[1:]}" if written.startswith("−") else f"${written}"


def whole_usd(value: Any) -> str:
    """Dollars without cents, the sign left to the heading."""
    return _number(value, 0)


def bps(value: Any) -> str:
    """Basis points, one decimal."""
    return _number(value, 1)


def count(value: Any) -> str:
    """A whole number with thousands set apart."""
    return _number(value, 0)


def shares(value: Any) -> str:
    """A quantity of shares; fractions only where there are any."""
    return MISSING if _missing(value) else _number(value, 0 if float(value) == int(float(value)) else 4)


def percent(value: Any) -> str:
    """A fraction as per cent: 0.051 is 5.1 %."""
    return MISSING if _missing(value) else _number(float(value) * 100, 1) + " %"


def signed_percent(value: Any) -> str:
    """A fraction as per cent, to two places, its sign always there."""
    return MISSING if _missing(value) else ("+" if value > 0 else "") + _number(value * 100, 2) + " %"


def fine_percent(value: Any) -> str:
    """A fraction as per cent, to two places."""
    return MISSING if _missing(value) else _number(float(value) * 100, 2) + " %"


def clock(value: Any) -> str:
    """Time of day in New York."""
    return MISSING if _missing(value) else f"{_aware(value).astimezone(NEW_YORK):%H:%M:%S}"


def moment(value: Any) -> str:
    """Date and time in New York."""
    return MISSING if _missing(value) else f"{_aware(value).astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} ET"


def span(value: Any) -> str:
    """A length of time in its two largest units: 1 h 58 min, 12.4 s."""
    if _missing(value):
        return MISSING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if hours < 1:
        return f"{int(minutes)} min {int(seconds % 60)} s"
    if days < 2:
        return f"{int(hours)} h {int(minutes % 60)} min"
    return f"{int(days)} d {int(hours % 24)} h"


def offset(value: Any) -> str:
    """Seconds after (+) or before (−) a moment: −15 s, +0.05 s."""
    return MISSING if _missing(value) else "0 s" if value == 0 else f"{value:+g} s".replace("-", "−")


def text(value: Any) -> str:
    """Words as they are; a dash for nothing."""
    return MISSING if _missing(value) or value == "" else str(value)


def plural(n: int, noun: str) -> str:
    """A number and its noun: 1 fill, 2 fills."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def marked(words: str) -> str:
    """Words as HTML, escaped; what stands between backticks is code."""
    return re.sub(r"`([^`<>]+)`", r"<code>\1</code>", escape(words))


Format = Callable[[Any], str]


def _number(value: Any, places: int) -> str:
    if _missing(value):
        return MISSING
    written = f"{value:,.{places}f}"
    if written.startswith("-"):
        written = written[1:] if not written.strip("-0.,") else "−" + written[1:]
    return written


def _missing(value: Any) -> bool:
    return value is None or value != value  # NaN, NaT and Decimal('NaN') differ from themselves


def _aware(value: Any) -> datetime:
    moment: datetime = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    if moment.tzinfo is None:
        raise ValueError(f"{moment} is a naive time; give it a time zone")
    return moment


def template() -> Any:
    """The plotly template: no ground of its own, so that it sits on light and on dark pages."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": "rgba(125,135,148,.22)",
        "zerolinecolor": "rgba(125,135,148,.55)",
        "linecolor": "rgba(125,135,148,.45)",
        "ticks": "",
        "title": {"standoff": 8},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": "#6b7480"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(SERIES),
            "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
            "hoverlabel": {"font": {"family": FONT, "size": 12}},
            "hovermode": "x unified",
            "bargap": 0.35,
        }
    )


# In JupyterLab the colours follow its theme; elsewhere the reader's system.
LIGHT = {
    "ink": "#1d242c", "soft": "#5c6670", "line": "#dfe3e8", "ground": "#ffffff", "raise": "#f6f7f9", "loss": "#b02a3c",
    "ok": "#0b7a5b", "attention": "#9a6200", "stop": "#b3202f", "unknown": "#5b6470",
}  # fmt: skip
_LIGHT = ";".join(f"--{name}:{colour}" for name, colour in LIGHT.items())
_DARK = (
    "--ink:#e6e9ed;--soft:#9ba5b0;--line:#313841;--ground:#14181d;--raise:#1c2229;--loss:#f08a95;"
    "--ok:#3cc79c;--attention:#f0b44c;--stop:#ff7b86;--unknown:#a9b3be"
)
CSS = (
    f".athena{{{_LIGHT}}}"
    f"@media(prefers-color-scheme:dark){{body:not([data-jp-theme-light]) .athena,body.athena{{{_DARK}}}}}"
    f"body[data-jp-theme-light=false] .athena{{{_DARK}}}"
    """
.athena{color:var(--ink);font-family:%s;font-size:14px;line-height:1.45;font-variant-numeric:tabular-nums}
.athena h2{font-size:1.15rem;font-weight:600;margin:0 0 .35rem;color:var(--ink)}
.athena p{margin:.25rem 0;max-width:72ch}.athena .soft{color:var(--soft)}
.athena .verdict{border:1px solid var(--line);border-left:6px solid var(--tone);border-radius:6px;padding:.8rem 1rem;
background:var(--raise)}
.athena .verdict .word{color:var(--tone);font-weight:700;font-size:1.5rem;letter-spacing:.04em;line-height:1.2}
.athena .tone-ok{--tone:var(--ok)}.athena .tone-attention{--tone:var(--attention)}
.athena .tone-stop{--tone:var(--stop)}.athena .tone-unknown{--tone:var(--unknown)}
.athena .tag{color:var(--tone);font-weight:650;white-space:nowrap}
.athena .scroll{overflow-x:auto;margin:.5rem 0 .9rem}
.athena table{border-collapse:collapse;width:auto;min-width:min(100%%,26rem);font-size:13px;margin:0;color:inherit}
.athena caption{caption-side:top;text-align:left;color:var(--soft);padding:0 0 .25rem;font-size:13px}
.athena tr,.athena thead,.athena tbody tr:nth-child(n){background:none}
.athena th,.athena td{padding:.28rem .6rem;border:0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}
.athena th{color:var(--soft);font-weight:550;border-bottom-color:var(--soft);vertical-align:bottom}
.athena td.n,.athena th.n{text-align:right;white-space:nowrap}
.athena td.loss{color:var(--loss)}.athena tr.total td{font-weight:650;border-top:1px solid var(--soft)}
.athena code{font-size:.93em;background:var(--raise);border-radius:3px;padding:0 .2em;overflow-wrap:anywhere}
.athena .figure{margin:.25rem 0 .9rem}
@media(max-width:640px){.athena{font-size:13px}.athena th,.athena td{padding:.26rem .24rem}
.athena table{font-size:11.5px;width:100%%;min-width:0}.athena th.n{white-space:normal}
.athena table.cards,.athena .cards tbody,.athena .cards tr,.athena .cards td{display:block;width:auto}
.athena .cards thead{display:none}.athena .cards caption{display:block}
.athena .cards tr{border-bottom:1px solid var(--soft);padding:.4rem 0}
.athena .cards td,.athena .cards td.n{overflow:hidden;border:0;text-align:right;padding:.1rem 0;white-space:normal}
.athena .cards td::before{content:attr(data-label);color:var(--soft);float:left;margin-right:1rem}}
""" % FONT
)
