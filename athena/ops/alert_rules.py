"""The shipped alert rules, and what an alert may ask for: which playbook, with which parameters, and which action.

Whatever is not here is refused, whoever asks: an alert's labels can be written by anyone who can write a rule or reach
Alertmanager. No path, no journal, no confirmation is ever taken from an alert, so that a playbook only reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from athena.errors import SettingsError
from athena.playbooks import parameters
from athena.playbooks.registry import PLAYBOOKS

ACTIONS = ("halt", "halt_symbol")  # only ever stricter
PARAMETERS = frozenset({"symbol", "symbols", "hours", "days", "sessions", "minutes"})
PREFIX = "param_"
_SYMBOL = re.compile(r"[A-Z]{1,6}([./-][A-Z]{1,3})?")
_COUNTS = {"hours": 24 * 7, "days": 30, "sessions": 250, "minutes": 60}  # the most of each


@dataclass(frozen=True)
class Request:
    """What an alert asks for, as far as it may: `problem` says what was refused, "" when nothing was."""

    playbook: str
    parameters: Mapping[str, Any]
    action: str
    problem: str


def folder() -> Traversable:
    """Where the rules, the runbook and the dashboard are in the installed package."""
    return files("athena.ops.monitoring")


def request(labels: Mapping[str, str]) -> Request:
    """The playbook, its typed parameters and the action that these labels name; what is not allowed is left out."""
    problems = []
    name = labels.get("playbook", "").replace("-", "_")
    if name not in PLAYBOOKS:
        problems.append(f"{name[:60]!r} is not a playbook" if name else "it names no playbook")
        name = ""
    given, wrong = _parameters(name, labels) if name else ({}, [])
    problems += wrong
    action = labels.get("action", "")
    if action and action not in ACTIONS:
        problems.append(f"{action[:60]!r} is not an action an alert may ask for")
        action = ""
    if action == "halt_symbol" and not symbol_of(labels):
        problems.append("it asks to halt a symbol and names none")
        action = ""
    return Request(name, given, action, "; ".join(problems))


def symbol_of(labels: Mapping[str, str]) -> str:
    """The symbol an alert is about; "" where it names none, or something that is no symbol."""
    symbol = labels.get("param_symbol") or labels.get("symbol") or ""
    return symbol if _SYMBOL.fullmatch(symbol) else ""


def _parameters(playbook: str, labels: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Those of the playbook's parameters that an alert may set, and why others were left out."""
    known = {p.name: p for p in PLAYBOOKS[playbook].parameters}
    given: dict[str, Any] = {}
    problems = []
    for label, value in labels.items():
        if not label.startswith(PREFIX):
            continue
        name = label.removeprefix(PREFIX)
        try:
            if name not in PARAMETERS or name not in known:
                raise SettingsError(f"{name[:60]!r} is not a parameter an alert may set")
            taken = parameters.check([known[name]], {name: value})[name]
            if not _sensible(name, taken):
                raise SettingsError(f"{name} cannot be {value[:60]!r}")
            given[name] = taken
        except SettingsError as error:
            problems.append(error.message)
    return given, problems


def _sensible(name: str, value: Any) -> bool:
    if name in _COUNTS:
        return bool(0 < value <= _COUNTS[name])
    return all(_SYMBOL.fullmatch(symbol) for symbol in str(value).split(","))
