"""Faults from JSON and TOML: the admin route's and the schedule file's, read strictly or refused by name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from athena.errors import SimulatorError, did_you_mean
from athena.model import NEW_YORK, Side
from athena.simulator.fault_model import Fault, Kind, Schedule, fields_of


def read_fault(body: Mapping[str, Any]) -> Fault:
    """A fault from JSON or TOML. Raises SimulatorError that names what is wrong and the nearest that is right."""
    kind = body.get("kind")
    if kind not in set(Kind):
        raise SimulatorError(
            f"There is no fault '{kind}'.", did_you_mean(str(kind), Kind, f"There are {', '.join(Kind)}.")
        )
    values: dict[str, Any] = {}
    for name, value in body.items():
        if name not in _READERS:
            known = fields_of(Kind(kind))
            hint = did_you_mean(name, known, f"'{kind}' takes {', '.join(known[1:])}.")
            raise SimulatorError(f"A fault has no field '{name}'.", hint)
        if value is None:
            continue
        try:
            values[name] = _READERS[name](value)
        except (TypeError, ValueError, InvalidOperation):
            raise SimulatorError(f"A fault's {name} is {value!r}, which cannot be read.") from None
    return Fault(**values)


def read_schedule(path: Path) -> Schedule:
    """The faults of a JSON file (a list, or {"seed", "faults"}) or a TOML file ([[faults]]). SimulatorError."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise SimulatorError(f"The fault schedule {path} cannot be read: {error}.") from None
    if isinstance(content, list):
        content = {"faults": content}
    rows = content.get("faults") if isinstance(content, dict) else None
    if (
        not isinstance(rows, list)
        or not all(isinstance(row, dict) for row in rows)
        or set(content) - {"seed", "faults"}
    ):
        raise SimulatorError(f"The fault schedule {path} is no list of faults.", 'It holds "faults" and maybe "seed".')
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(read_fault(row))
        except SimulatorError as error:
            raise SimulatorError(f"{path}, fault {number}: {error.message}", error.hint) from None
    seed = content.get("seed", 0)
    if type(seed) is not int:
        raise SimulatorError(f"The seed of the fault schedule {path} is {seed!r}.", "It is a whole number.")
    return Schedule(tuple(found), seed)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _symbol(value: Any) -> str:
    return _text(value).upper()


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError(value)
    return float(value)


def _whole(value: Any) -> int:
    if _number(value) != int(value):
        raise ValueError(value)
    return int(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError(value)
    return Decimal(str(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _time(value: Any) -> datetime:
    """A time of the venue; without a zone it is New York's."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    return (at.replace(tzinfo=NEW_YORK) if at.tzinfo is None else at).astimezone(UTC)


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("clock", "moment", "path", "account", "stream", "event", "word", "client_order_id"), _text),
    **dict.fromkeys(("after_seconds", "lasts_seconds", "seconds", "probability"), _number),
    **dict.fromkeys(("skip", "count", "status"), _whole),
    **dict.fromkeys(("quantity", "price"), _decimal),
    "kind": Kind,
    "method": _symbol,
    "symbol": _symbol,
    "side": Side,
    "pings": _flag,
    "at": _time,
}
