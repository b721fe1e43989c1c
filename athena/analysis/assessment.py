"""What every analysis answers with: a verdict, the decision rows that led to it, and the evidence by question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from html import escape
from typing import Any

from athena.analysis import style
from athena.analysis.tables import Column, Table, plain


class Verdict(StrEnum):
    """The answer in a word. UNKNOWN is not OK: nothing may be concluded, and it never looks green."""

    OK = "OK"
    ATTENTION = "ATTENTION"
    UNKNOWN = "UNKNOWN"
    STOP = "STOP"

    @property
    def severity(self) -> int:
        """0 for OK to 3 for STOP; proof of harm outranks not knowing, which outranks a warning."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Finding:
    """One row of a decision matrix, applied: what was compared with what, and what follows.

    `observed` and `threshold` are written with units, as people read them; `inputs` holds the bare values.
    """

    check: str
    verdict: Verdict
    observed: str
    threshold: str = ""
    reason: str = ""
    action: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fired(self) -> bool:
        return self.verdict is not Verdict.OK

    def to_dict(self) -> dict[str, Any]:
        return plain(vars(self))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Section:
    """The evidence for one question: a sentence on reading it, tables, and at most one figure, drawn when shown."""

    question: str
    reading: str = ""
    tables: tuple[Table, ...] = ()
    draw: Callable[[], Any] | None = None

    @property
    def figure(self) -> Any:
        """The plotly figure, or None."""
        return None if self.draw is None else self.draw()

    def _repr_html_(self) -> str:
        reading = f'<p class="soft">{style.marked(self.reading)}</p>' if self.reading else ""
        return f'<div class="athena"><h2>{escape(self.question)}</h2>{reading}</div>'

    def _ipython_display_(self) -> None:
        """Shows heading, figure, tables; the figure as plotly's own JSON, which any front end draws."""
        import json

        from IPython.display import display as show

        display: Callable[..., Any] = show  # untyped there
        display({"text/html": self._repr_html_()}, raw=True)
        if (figure := self.figure) is not None:
            display({"application/vnd.plotly.v1+json": json.loads(figure.to_json())}, raw=True)
        for table in self.tables:
            display({"text/html": table._repr_html_()}, raw=True)


@dataclass(frozen=True)
class Assessment:
    """A verdict with its reason and next action, the whole matrix, the evidence, and key numbers for machines.

    `facts` say what was judged (day, journal, sequence); `numbers` carry their unit in their name. Index it by section
    key: `report["pnl"]`.
    """

    title: str
    verdict: Verdict
    reason: str
    action: str
    as_of: datetime | None
    findings: tuple[Finding, ...]
    sections: Mapping[str, Section]
    numbers: Mapping[str, Any]
    facts: Mapping[str, Any]

    def __getitem__(self, key: str) -> Section:
        return self.sections[key]

    def __repr__(self) -> str:
        return f"<{self.title}: {self.verdict}. {self.reason}>"

    @property
    def matrix(self) -> Table:
        """Every rule that was applied; those that fired come first and carry the action."""
        return findings_table("The decision matrix, as applied", self.findings)

    def _repr_html_(self) -> str:
        asof = f'<p class="soft">As of {escape(style.moment(self.as_of))}</p>' if self.as_of else ""
        return (
            f"<style>{style.CSS}</style>"
            f'<div class="athena"><div class="verdict tone-{self.verdict.lower()}" data-verdict="{self.verdict}">'
            f'<div class="word">{self.verdict}</div><p>{style.marked(self.reason)}</p>'
            f"<p><b>Next:</b> {style.marked(self.action)}</p>{asof}</div></div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the figures, in values JSON knows."""
        return {
            "title": self.title,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "action": self.action,
            "as_of": plain(self.as_of),
            "facts": plain(self.facts),
            "numbers": plain(self.numbers),
            "findings": [finding.to_dict() for finding in self.findings],
            "tables": {key: [t.to_dict() for t in section.tables] for key, section in self.sections.items()},
        }


def conclude(findings: Sequence[Finding], all_well: str, action: str) -> tuple[Verdict, str, str]:
    """The strictest verdict among the findings, why, and what to do next; no findings at all is UNKNOWN.

    The reason is that of the worst rows, at most three, in the order the rules were written.
    """
    if not findings:
        return Verdict.UNKNOWN, "Nothing was checked.", "Run the playbook again, and report this."
    worst = max((finding.verdict for finding in findings), key=lambda verdict: verdict.severity)
    if worst is Verdict.OK:
        return worst, all_well, action
    rows = [finding for finding in findings if finding.verdict is worst]
    rest = sum(finding.fired for finding in findings) - min(len(rows), 3)
    reason = " ".join(finding.reason for finding in rows[:3])
    return worst, reason + (f" {rest} more below." if rest else ""), rows[0].action


def findings_table(caption: str, findings: Sequence[Finding]) -> Table:
    """Findings as a table, the strictest first."""
    import pandas as pd

    ordered = sorted(findings, key=lambda finding: -finding.verdict.severity)
    names = ["check", "verdict", "observed", "threshold", "action"]
    frame = pd.DataFrame(
        [[f.check, f.verdict.value, f.observed, f.threshold, f.action if f.fired else ""] for f in ordered],
        columns=names,
    )
    columns = [
        Column(name, label) for name, label in zip(names, ("Check", "", "Observed", "Threshold", "Next"), strict=True)
    ]
    return Table(caption, frame, columns, cards=True)
