"""Athena's pages: a report and the index of reports. Nothing is fetched; only the page's own two scripts may run."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any


def report(record: dict[str, Any], body: str, *, script: str | None = None, last_good: str = "") -> str:
    """One report page. `body` is the notebook's exported outputs, already HTML; all else is escaped here.

    script: relative address of a shared plotly; None puts plotly into the page, where it has figures.
    """
    from markupsafe import Markup

    plotly = Markup(_plotly()) if script is None and record["figures"] else ""
    return _render("report.html", r=record, body=Markup(body), plotly=plotly, script=script, last_good=last_good)


def index(rows: Sequence[dict[str, Any]]) -> str:
    """The list of reports, newest trading day first."""
    return _render("index.html", rows=rows)


def shared_script(reports: Path) -> str:
    """Address, from a report's folder, of the archive's one plotly script; written if it is not there yet."""
    asset = reports / "assets" / "plotly.min.js"
    if not asset.exists():
        asset.parent.mkdir(exist_ok=True)
        made = asset.with_suffix(f".{os.getpid()}")
        made.write_text(_plotly(), encoding="utf-8")
        os.replace(made, asset)
    return "../assets/plotly.min.js"


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
    return environment.get_template(name).render(css=CSS, nonce=randomness.token_urlsafe(16), **values)
