"""The symbols a live system depends on, and taking some out of athena.toml without touching the rest of the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from athena.config import Settings, toml_files
from athena.core.portfolio import Portfolio
from athena.errors import JournalError, SettingsError
from athena.journal.journal import Journal
from athena.model import OrderStatus

_FINAL = tuple(status.value for status in OrderStatus if status.is_final)
_LIST = re.compile(r"^(?P<head>[ \t]*symbols[ \t]*=[ \t]*)\[", re.MULTILINE)
_ITEM = re.compile(r"""#[^\n]*|"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|\]""")


@dataclass
class Dependents:
    """What depends on a symbol: the watchlist, strategies, shares held, open orders, limits of its own."""

    symbol: str
    watched: bool = False
    strategies: list[str] = field(default_factory=list)
    shares: str = ""
    open_orders: int = 0
    limits: list[str] = field(default_factory=list)

    @property
    def in_use(self) -> bool:
        """True while shares or orders need its prices."""
        return bool(self.shares or self.open_orders)

    def __str__(self) -> str:
        parts = ["the watchlist"] * self.watched
        parts += [f"strategy {name}" for name in self.strategies]
        parts += [f"{self.shares} shares held"] * bool(self.shares)
        parts += [f"{self.open_orders} open orders"] * bool(self.open_orders)
        parts += [f"limit {name}" for name in self.limits]
        return ", ".join(parts) or "nothing"


def dependents(settings: Settings, journal: Journal | None) -> dict[str, Dependents]:
    """Every symbol configured, held, ordered or limited, with what depends on it."""
    found: dict[str, Dependents] = {}

    def of(symbol: str) -> Dependents:
        return found.setdefault(symbol, Dependents(symbol))

    for symbol in settings.symbols:
        of(symbol).watched = True
    for strategy in settings.strategies:
        for symbol in strategy.symbols:
            of(symbol).strategies.append(strategy.name)
    if journal is None:
        return found
    try:
        for position in Portfolio.from_journal(journal).positions():
            of(position.symbol).shares = f"{position.quantity:f}"
    except JournalError:  # no account is bound yet: nothing is held
        pass
    slots = ", ".join("?" * len(_FINAL))
    for row in journal.query(f"SELECT symbol FROM orders WHERE status NOT IN ({slots})", _FINAL):
        of(row["symbol"]).open_orders += 1
    for row in journal.query("SELECT name, target FROM limits WHERE target LIKE 'symbol:%'"):
        of(row["target"].partition(":")[2]).limits.append(row["name"])
    return found


def without_symbols(text: str, gone: Iterable[str]) -> str:
    """A TOML text whose `symbols` lists lack `gone`; comments, order and layout of all else stay.

    Raises SettingsError when the result would not be exactly that: then the file is for a person to edit.
    """
    wanted, before = {name.upper() for name in gone}, tomllib.loads(text)
    expected, made, place = _without(before, wanted), "", 0
    for found in _LIST.finditer(text):
        if found.start() < place:
            continue
        made += text[place : found.end()]
        body, place = _items(text, found.end())
        made += _shorten(body, wanted)
    made += text[place:]
    try:
        right = tomllib.loads(made) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise SettingsError(
            "the symbols lists are written in a way that is not safe to edit.", "Edit the file by hand."
        )
    return made


def emptied_strategies(text: str, gone: Iterable[str]) -> list[str]:
    """Names of the strategies that would be left without any symbol."""
    left = _without(tomllib.loads(text), {name.upper() for name in gone})
    tables = left.get("strategies", ())
    return [str(table.get("name")) for table in tables if isinstance(table, dict) and not table.get("symbols")]


def files(home: Path) -> list[Path]:
    """The settings files that are read, in the order they are."""
    return [path for path in toml_files(home) if path.is_file()]


def _items(text: str, start: int) -> tuple[str, int]:
    """The list's inside up to its bracket, and where that is."""
    for token in _ITEM.finditer(text, start):
        if token[0] == "]":
            return text[start : token.start()], token.start()
    raise SettingsError("a symbols list does not end.", "Mend the file.")


def _shorten(body: str, gone: set[str]) -> str:
    """The list's inside without some items, each with the comma after it; a line left empty goes with its comment."""
    made, place = "", 0
    for token in _ITEM.finditer(body):
        name = token["double"] if token["double"] is not None else token["single"]
        if name is None or name.upper() not in gone:
            continue
        after = re.compile(r"[ \t]*,?[ \t]*").match(body, token.end())
        end = after.end() if after else token.end()
        line = body.rfind("\n", 0, token.start())
        rest = re.compile(r"(#[^\n]*)?(?=\n)").match(body, end)
        if line >= place and rest and not body[line : token.start()].strip():
            made, place = made + body[place:line], rest.end()
        else:
            made, place = made + body[place : token.start()], end
    return re.sub(r",[ \t]+$", "", made + body[place:])  # no comma dangles on a list in one line


def _without(table: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    made: dict[str, Any] = dict(table)
    if isinstance(made.get("symbols"), list):
        made["symbols"] = [s for s in made["symbols"] if not (isinstance(s, str) and s.upper() in gone)]
    if isinstance(made.get("strategies"), list):
        made["strategies"] = [_without(one, gone) if isinstance(one, dict) else one for one in made["strategies"]]
    return made
