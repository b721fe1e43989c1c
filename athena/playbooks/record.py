"""The last line of a playbook: its answer for machines. A run without it did not reach its verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from typing import Any

from athena.analysis.assessment import Assessment

MIMETYPE = "application/vnd.athena.result+json"


@dataclass(frozen=True)
class Record:
    """An assessment as a notebook's machine-readable result; people see what it was made from."""

    result: dict[str, Any]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        facts = {**self.result["facts"], "athena": version("athena")}
        rows = "".join(
            f"<tr><td>{escape(key.replace('_', ' '))}</td><td>{escape(_words(value))}</td></tr>"
            for key, value in facts.items()
        )
        html = (
            f'<div class="athena"><h2>Record</h2><div class="scroll"><table><tbody>{rows}</tbody></table></div></div>'
        )
        return {
            MIMETYPE: self.result,
            "text/html": html,
            "text/plain": f"{self.result['verdict']}: {self.result['reason']}",
        }


def _words(value: Any) -> str:
    """A fact as people read it: a table in a line, a time without its millionths."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_words(one)}" for key, one in value.items())
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?\+00:00$", r"\1 \2 UTC", str(value))


def record(assessment: Assessment) -> Record:
    """Ends a playbook: shows what the assessment was made from and hands its content to whoever ran the notebook."""
    return Record(assessment.to_dict())
