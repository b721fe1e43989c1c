"""What a page asks of the server or of a kernel, checked: short lines of text by name, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from athena.config import Settings
from athena.errors import SettingsError, did_you_mean
from athena.model import Scope

_TEXT_MOST = 500
_SCOPES = (Scope.GLOBAL, Scope.SYMBOL, Scope.STRATEGY)
_KEY = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True)
class HaltAsked:
    """A halt as a page asked for it, checked. `key` names the click: the same key never makes a second halt."""

    key: str
    scope: Scope = Scope.GLOBAL
    target: str = ""
    reason: str = ""
    notebook: str = ""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> HaltAsked:
        """From a request's JSON. Raises SettingsError naming what is wrong; an absent reason is no fault."""
        texts = read_texts(body, ("key", "scope", "target", "reason", "notebook"))
        if not _KEY.fullmatch(texts["key"]):
            raise SettingsError(f"key is '{texts['key']}'.", "8 to 64 letters, digits, dots, - and _ name one click.")
        if texts["scope"] not in _SCOPES:
            raise SettingsError(f"scope is '{texts['scope']}'.", "It is global, symbol or strategy.")
        scope = Scope(texts["scope"])
        if (scope is Scope.GLOBAL) == bool(texts["target"]):
            raise SettingsError(f"scope {scope} with target '{texts['target']}'.", "A symbol or strategy needs one.")
        target = texts["target"].upper() if scope is Scope.SYMBOL else texts["target"]
        return cls(texts["key"], scope, target, texts["reason"], texts["notebook"])


def read_texts(body: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    """The named fields of a request's JSON as stripped lines of text, "" where absent. Raises SettingsError."""
    for name, value in body.items():
        if name not in fields:
            raise SettingsError(f"'{name}' is not a field here.", did_you_mean(name, fields, ", ".join(fields)))
        if not isinstance(value, str) or len(value) > _TEXT_MOST:
            raise SettingsError(f"{name} is {str(value)[:40]!r}.", f"Text of at most {_TEXT_MOST} characters.")
    return {name: " ".join(str(body.get(name, "")).split()) for name in fields}


def actor(settings: Settings, notebook: str) -> str:
    """Who writes into the journal: the operator, and from where: the notebook, or JupyterLab's own frame."""
    return f"operator {settings.operator}" + (f", {notebook}" if notebook else "")
