"""How values are written: times, money and payloads have one text each, so that equal facts have equal hashes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any

from athena.model import trading_date

_SAME = frozenset({str, int, bool, type(None)})
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def to_text(at: datetime) -> str:
    """An aware time as fixed-width UTC text, `2020-03-09T13:30:00.000000Z`. Raises ValueError on a naive one."""
    if at.tzinfo is not UTC:
        if at.tzinfo is None:
            raise ValueError(f"a naive time cannot be journaled ({at}); give it a time zone")
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:26] + "Z"


def from_text(text: str) -> datetime:
    """The aware UTC time that `to_text` wrote."""
    return datetime.fromisoformat(text)


def decimal_text(value: Decimal) -> str:
    """A Decimal in plain notation with its digits kept: '0.00000001', never '1E-8'."""
    text = str(value)
    return format(value, "f") if "E" in text else text


def day_of(text: str) -> str:
    """The New York trading date, `YYYY-MM-DD`, of a time `to_text` wrote."""
    return _day_of_hour(text[:13])  # New York's midnight always falls on a whole UTC hour


@lru_cache(maxsize=64)
def _day_of_hour(hour: str) -> str:
    return trading_date(datetime.fromisoformat(f"{hour}:00:00+00:00")).isoformat()


def plain(value: Any) -> Any:
    """The value with only JSON's types left in it.

    Decimals and times become text, enums their value, tuples lists. Raises ValueError on a naive time, TypeError on
    anything else that has no one text, a key that is not a string included.
    """
    if type(value) in _SAME:
        return value
    kind = type(value)
    if kind is Decimal:
        return decimal_text(value)
    if kind is datetime:
        return to_text(value)
    if isinstance(value, Mapping):
        return {_key(key): item if type(item) in _SAME else plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    raise TypeError(f"a {type(value).__name__} cannot be journaled: {value!r}")


def _key(key: Any) -> str:
    if type(key) is not str:
        raise TypeError(f"a journaled mapping needs text keys, got {key!r}")
    return key


def encode(value: Any) -> str:
    """Canonical JSON of a `plain` value: sorted keys, no spaces."""
    return _ENCODER.encode(value)


def decode(text: str) -> Any:
    """The value `encode` wrote."""
    return json.loads(text)
