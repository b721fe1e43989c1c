"""Athena's pages: a report and the index of reports. Nothing is fetched; only the page's own two scripts may run."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from athena.playbooks.archive import Entry
from athena.playbooks.changes import shown

INDEX_MAX = 2000


def report(record: dict[str, Any], body: str, *, script: str | None = None, previous: str = "") -> str:
    """One report page. `body` is the notebook's exported outputs, already HTML; all else is escaped here.

    script: relative address of a shared plotly; None puts plotly into the page, where it has figures. previous: that of
    the last good run before this one.
    """
    from markupsafe import Markup

    plotly = Markup(_plotly()) if script is None and record["figures"] else ""
    return _render("report.html", r=record, body=Markup(body), plotly=plotly, script=script, previous=previous)


def index(entries: Sequence[Entry]) -> str:
    """The list of runs, the latest first, with a search box; past INDEX_MAX the rest is counted, not listed."""
    return _render("index.html", rows=entries[:INDEX_MAX], left_out=max(0, len(entries) - INDEX_MAX))


def mail(record: dict[str, Any], body: str, note: str) -> str:
    """A report as an e-mail's HTML; `body` is without scripts and figures, `note` is said above it."""
    from markupsafe import Markup

    from athena.analysis import style

    return _render("mail.html", r=record, body=Markup(body), note=note, c=style.LIGHT, font=Markup(style.FONT))


def figures(body: str, width: int) -> str:
    """A page that turns each figure in `body` into an image of this width in pixels, at twice its resolution."""
    from markupsafe import Markup

    return _render("figures.html", body=Markup(body), plotly=Markup(_plotly()), width=width)


def shared_script(reports: Path) -> str:
    """Address, from a report's folder, of the archive's one plotly script; written if it is not there yet."""
    asset = reports / "assets" / f"plotly-{version('plotly')}.min.js"  # old pages keep the one they were made for
    if not asset.exists():
        asset.parent.mkdir(exist_ok=True)
        made = asset.with_suffix(f".{os.getpid()}")
        made.write_text(_plotly(), encoding="utf-8")
        os.replace(made, asset)
    return f"../assets/{asset.name}"


def prepare() -> None:
    """Imports what rendering needs."""
    import jinja2  # noqa: F401

    import athena.analysis.style  # noqa: F401


def _plotly() -> str:
    text = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")


def _render(name: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from athena.analysis.style import CSS

    environment = Environment(
        loader=PackageLoader("athena.playbooks"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = lambda value, name: shown(name, value)
    return environment.get_template(name).render(css=CSS, nonce=randomness.token_urlsafe(16), **values)
