"""What a playbook is to the runner: a question, a notebook, typed parameters, whether it can act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from athena.errors import SettingsError
from athena.playbooks.parameters import Parameter

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
