"""An executed notebook's outputs as HTML: figures as inert data that the page's one script draws, code left out."""

from __future__ import annotations

import copy
import json
from typing import Any

from athena.playbooks.kernel import block_slow_imports

PLOTLY = "application/vnd.plotly.v1+json"


def body_of(notebook: Any, failed_cell: int | None = None) -> tuple[str, int]:
    """The page's body and how many figures it holds. `failed_cell` gets the anchor that the page's top links to.

    Nothing is fetched and nothing runs by itself: figures are JSON, MathJax and require.js are left out, and scripts
    that an output might hold lack the page's nonce.
    """
    block_slow_imports()
    from nbconvert import HTMLExporter

    page = copy.deepcopy(notebook)
    page.cells = [cell for cell in page.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    figures = 0
    for index, cell in enumerate(page.cells):
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PLOTLY in data:
                figures += 1
                output["data"] = {"text/html": _figure(figures, data[PLOTLY])}
            kept.append(output)
        if index == failed_cell:
            anchor = '<p id="failed-cell" class="athena failed"><b>The run failed in this cell.</b></p>'
            kept.insert(0, _display(anchor))
        if cell.cell_type == "code":
            cell.outputs = kept
        elif index == failed_cell:
            cell.source = f"{anchor}\n\n{cell.source}"
    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        mathjax_url="",
        require_js_url="",
        jquery_url="",
    )
    body, _ = exporter.from_notebook_node(page)
    return body, figures


def _figure(number: int, figure: dict[str, Any]) -> str:
    layout = {**figure.get("layout", {}), "autosize": True}
    height = int(layout.get("height") or 360)
    # `</` would end the script element; `<!--` would open a comment in it.
    data = json.dumps({"data": figure.get("data", []), "layout": layout}).replace("<", "\\u003c")
    return (
        f'<div class="athena"><div class="figure" data-figure="{number}" style="height:{height}px"></div></div>'
        f'<script type="application/json" id="figure-{number}">{data}</script>'
    )


def _display(html: str) -> Any:
    from nbformat.v4 import new_output

    return new_output(  # type: ignore[no-untyped-call]
        "display_data", data={"text/html": html}
    )
