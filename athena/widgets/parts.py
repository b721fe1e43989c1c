"""The two widgets the views are made of: a panel that says itself when its kernel falls silent, and a sortable table.

Both are drawn by the browser from data. Texts of a table are text nodes; a panel's HTML is escaped where it is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Panel(anywidget.AnyWidget):
    """HTML made and escaped in Python. `beat` counts the kernel's signs of life: without one the browser says STALE."""

    _esm = Path(__file__).with_name("panel.js")
    html = traitlets.Unicode("").tag(sync=True)
    beat = traitlets.Int(0).tag(sync=True)


class Table(anywidget.AnyWidget):
    """Rows that the browser sorts; a chosen row's id is `selected`. Fill it with `put`."""

    _esm = Path(__file__).with_name("table.js")
    label = traitlets.Unicode("").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    empty = traitlets.Unicode("none").tag(sync=True)
    columns: Any = traitlets.List().tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    selectable = traitlets.Bool(False).tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)

    def put(self, rows: list[dict[str, Any]]) -> None:
        """Show these rows, each `{"id": ..., "cells": [cell(...), ...]}`; nothing is sent when they are as shown."""
        if rows != self.rows:
            self.rows = rows
        if self.selected and not any(row["id"] == self.selected for row in rows):
            self.selected = ""


def column(label: str, *, numeric: bool = False) -> dict[str, Any]:
    """A column's heading; numeric ones are right-aligned and sort by value."""
    return {"label": label, "numeric": numeric}


def cell(text: str, value: Any = None, tone: str = "") -> dict[str, Any]:
    """One cell: its text, what it sorts by (default: the text), and ok, attention, stop or unknown as its tone."""
    return {"t": text, "v": text if value is None else value, "tone": tone}
