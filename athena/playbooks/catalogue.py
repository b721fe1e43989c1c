"""The playbooks: one entry a notebook, in the order of an operator's day. Add yours here; its notebook follows it."""

from __future__ import annotations

from athena.playbooks.parameters import Kind, Parameter
from athena.playbooks.playbook import Playbook

DATE = Parameter("trading_date", Kind.DATE, "", "New York trading day, YYYY-MM-DD; empty is the latest in the journal")
JOURNAL = Parameter("journal", Kind.TEXT, "", "Path of a journal; empty is the settings' own")

CATALOGUE = (
    Playbook(
        "daily_report",
        "How did the day go?",
        "Profit and where it came from, drawdown, execution, halts, limits, and what needs looking at tomorrow.",
        (DATE, JOURNAL),
    ),
)
