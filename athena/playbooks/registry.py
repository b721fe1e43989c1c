"""Finds a playbook by its name. The entries are in `catalogue`, one a notebook."""

from __future__ import annotations

from collections.abc import Mapping

from athena.errors import SettingsError, did_you_mean
from athena.playbooks.catalogue import CATALOGUE
from athena.playbooks.playbook import Playbook

PLAYBOOKS: Mapping[str, Playbook] = {playbook.name: playbook for playbook in CATALOGUE}


def find(name: str) -> Playbook:
    """The playbook of that name, hyphens or underscores; raises SettingsError with the nearest name."""
    wanted = name.replace("-", "_")
    if wanted in PLAYBOOKS:
        return PLAYBOOKS[wanted]
    hint = did_you_mean(wanted, PLAYBOOKS, f"There are: {', '.join(sorted(PLAYBOOKS))}.")
    raise SettingsError(f"'{name}' is not a playbook.", hint)
