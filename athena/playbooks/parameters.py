"""A playbook's parameters: typed, checked and refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

from athena.errors import SettingsError, did_you_mean

Value = str | int | float | bool


class Kind(StrEnum):
    """What a parameter takes; dates and exact amounts travel as text, for papermill writes literals only."""

    TEXT = "text"
    DATE = "a date as YYYY-MM-DD, or empty"
    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "true or false"


@dataclass(frozen=True)
class Parameter:
    """Name, kind, safe default, and a sentence saying what it is and in which unit."""

    name: str
    kind: Kind
    default: Value
    doc: str
    choices: tuple[str, ...] = ()

    def read(self, value: object) -> Value:
        """The value in its kind, from itself or from text; raises SettingsError naming both."""
        try:
            taken = _READERS[self.kind](value)
        except (ValueError, TypeError):
            raise SettingsError(f"{self.name} is {value!r}; it takes {self.kind}.", self.doc + ".") from None
        if self.choices and taken not in self.choices:
            hint = did_you_mean(str(value), self.choices)
            raise SettingsError(f"{self.name} is {value!r}; it is one of {', '.join(self.choices)}.", hint)
        return taken


def check(parameters: Iterable[Parameter], given: Mapping[str, object]) -> dict[str, Value]:
    """Every parameter with its given or default value; raises SettingsError on an unknown name, with the nearest."""
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, f"It takes: {', '.join(known) or 'none'}.")
            raise SettingsError(f"'{name}' is not a parameter of this playbook.", hint)
    return {name: p.read(given[name]) if name in given else p.default for name, p in known.items()}


def _text(value: object) -> str:
    if not isinstance(value, str | Path) or "\n" in str(value) or "\0" in str(value):
        raise TypeError
    return str(value)


def _date(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    text = _text(value).strip()
    return date.fromisoformat(text).isoformat() if text else ""


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if not -1e308 < number < 1e308:
        raise ValueError
    return number


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError
    return word in ("true", "yes", "1")


_READERS: dict[Kind, Callable[[object], Value]] = {
    Kind.TEXT: _text,
    Kind.DATE: _date,
    Kind.WHOLE: _whole,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
}
