"""Which playbooks there are, what each answers, and which parameters it takes; their notebooks follow this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from athena.errors import SettingsError
from athena.playbooks.parameters import Kind, Parameter

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@dataclass(frozen=True)
class Playbook:
    """One notebook: the operator's question, its parameters, whether it can act, and how long a cell may take."""

    name: str
    question: str
    answers: str
    parameters: tuple[Parameter, ...]
    reads_only: bool = True
    cell_timeout_seconds: float = 120.0
    notebook: Path | None = None

    @property
    def path(self) -> Path:
        """The notebook's file; raises SettingsError where it is not installed."""
        path = self.notebook or NOTEBOOKS / f"{self.name}.ipynb"
        if not path.is_file():
            raise SettingsError(f"the notebook of '{self.name}' is not at {path}.", "Run from a checkout of Athena.")
        return path


_DATE = Parameter("trading_date", Kind.DATE, "", "New York trading day, YYYY-MM-DD; empty is the latest in the journal")
_JOURNAL = Parameter("journal", Kind.TEXT, "", "Path of a journal; empty is the settings' own")

PLAYBOOKS: Mapping[str, Playbook] = {
    playbook.name: playbook
    for playbook in (
        Playbook(
            "daily_report",
            "How did the day go?",
            "Profit and where it came from, drawdown, execution, halts, limits, and what needs looking at tomorrow.",
            (_DATE, _JOURNAL),
        ),
    )
}


def find(name: str) -> Playbook:
    """The playbook of that name, hyphens or underscores; raises SettingsError with the nearest name."""
    wanted = name.replace("-", "_")
    if wanted in PLAYBOOKS:
        return PLAYBOOKS[wanted]
    near = get_close_matches(wanted, PLAYBOOKS, 1, 0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(sorted(PLAYBOOKS))}."
    raise SettingsError(f"'{name}' is not a playbook.", hint)
