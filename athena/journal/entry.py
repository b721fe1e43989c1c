"""What a projection works with: the stored event, the registry, and checks of amounts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol

from athena.errors import JournalError
from athena.journal.codec import day_of


class Entry(NamedTuple):
    """One line of the journal as stored; `payload` holds only JSON's types."""

    sequence: int
    at: str
    venue_at: str | None
    kind: str
    actor: str
    host: str
    pid: int
    payload: dict[str, Any]

    @property
    def when(self) -> str:
        """The venue's time where it is known, else the machine's."""
        return self.venue_at or self.at

    @property
    def day(self) -> str:
        return day_of(self.venue_at or self.at)


class Database(Protocol):
    """What a projection needs of a connection."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...


Projection = Callable[[Database, Entry], None]
PROJECTIONS: dict[str, Projection] = {}


def kind(name: str) -> Callable[[Projection], Projection]:
    """Register a projection: the one function that folds events of this kind into the tables."""

    def register(function: Projection) -> Projection:
        PROJECTIONS[name] = function
        return function

    return register


def insert(table: str, columns: str, conflict: str = "") -> str:
    """An INSERT with a placeholder for each of the columns, and what to do on a conflict."""
    names = columns.split()
    slots = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({slots}){conflict}"


def text(value: Any) -> str | None:
    """A value as text; None stays None."""
    return None if value is None else str(value)


def money(entry: Entry, *names: str) -> list[str | None]:
    """Amounts as text; a float or something that is no finite number is refused, None stays None."""
    get = entry.payload.get
    return [
        value if value is None or _is_plain(value) else _amount(entry.kind, name, value)
        for name, value in ((name, get(name)) for name in names)
    ]


def _is_plain(value: Any) -> bool:
    return type(value) is str and value.replace(".", "", 1).isdecimal() and value.isascii()


def _amount(kind: str, name: str, value: Any) -> str:
    try:
        if isinstance(value, (bool, float)) or not Decimal(value).is_finite():
            raise InvalidOperation
    except (InvalidOperation, TypeError, ValueError):
        raise JournalError(f"{kind}: {name} is {value!r}; an exact finite amount is needed.") from None
    return str(value)
