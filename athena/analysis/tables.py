"""A table as people read it: columns with units, right-aligned numbers, a total row, one rendering for all places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, Any

from athena.analysis import style

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column of the frame: its key, its heading with the unit in it, and how its values are written."""

    key: str
    label: str
    write: style.Format = style.text

    @property
    def is_number(self) -> bool:
        return self.write is not style.text


@dataclass(frozen=True)
class Table:
    """A frame and its columns. `totals` rows at its end stand out; `cards` stacks each row on a phone.

    `empty` is said in words where there are no rows: an empty table is a finding too. At most `shown` rows are
    rendered, and what is left out is said; `to_dict` keeps all of them.
    """

    caption: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    empty: str = "None."
    totals: int = 0
    cards: bool = False
    shown: int = 40

    def _repr_html_(self) -> str:
        if self.frame.empty:
            words = f'<span class="soft">{escape(self.caption)}:</span> {escape(self.empty)}'
            return f'<div class="athena"><p>{words}</p></div>'
        head = "".join(f"<th{' class=n' if c.is_number else ''}>{escape(c.label)}</th>" for c in self.columns)
        rows = self.frame[[c.key for c in self.columns]].itertuples(index=False, name=None)
        cut, first_total = max(0, len(self.frame) - self.shown), len(self.frame) - self.totals
        body = [
            self._row(row, number >= first_total)
            for number, row in enumerate(rows)
            if number >= first_total or number < self.shown - self.totals
        ]
        left_out = f" · {cut} more in the result file" if cut else ""
        return (
            f'<div class="athena"><div class="scroll"><table{" class=cards" if self.cards else ""}>'
            f"<caption>{escape(self.caption)}{left_out}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(body)}</tbody></table></div></div>"
        )

    def _row(self, values: Sequence[Any], total: bool) -> str:
        cells = []
        for column, value in zip(self.columns, values, strict=True):
            written = column.write(value)
            classes = ("n " if column.is_number else "") + ("loss" if column.is_number and written[:1] == "−" else "")
            tone = f' class="tag tone-{value.lower()}"' if column.key == "verdict" and isinstance(value, str) else ""
            inner = f"<span{tone}>{escape(written)}</span>" if tone else style.marked(written)
            inner = f"<span>{inner}</span>" if "<code>" in inner else inner  # one thing to a card's two columns
            cells.append(f'<td class="{classes.strip()}" data-label="{escape(column.label)}">{inner}</td>')
        return f"<tr{' class=total' if total else ''}>{''.join(cells)}</tr>"

    def to_dict(self) -> dict[str, Any]:
        """Caption, units and every row, in values JSON knows; money as decimal text."""
        keys = [c.key for c in self.columns]
        rows = [
            dict(zip(keys, map(plain, row), strict=True)) for row in self.frame[keys].itertuples(index=False, name=None)
        ]
        return {"caption": self.caption, "columns": {c.key: c.label for c in self.columns}, "rows": rows}


def rows_of(frame: pd.DataFrame) -> Iterable[Any]:
    """The frame's rows as named tuples."""
    return frame.itertuples(index=False)


def plain(value: Any) -> Any:
    """The value as JSON has it: Decimals and times as text, NaN and NaT as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return value.value
    if value != value:
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "item"):  # numpy scalars
        return value.item()
    return value
