"""Single fields of a venue's row, read strictly: what is not plainly the thing is Malformed, by name and value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from athena.model import Side

E = TypeVar("E", bound=StrEnum)
Raw = Mapping[str, Any]
Doubts = list[str]


class Malformed(ValueError):
    """A row of the venue that cannot become a fact; says which field, and its value."""


def cut(raw: Any, length: int = 300) -> str:
    """A value for a message, shortened."""
    text = repr(raw)
    return text if len(text) <= length else text[:length] + "..."


def mapping(raw: Any, what: str) -> Raw:
    """The row, if it is an object. Raises Malformed."""
    if not isinstance(raw, Mapping):
        raise Malformed(f"{what}: an object is expected, not {cut(raw)}")
    return raw


def text(raw: Any, key: str) -> str:
    """A field's text. Raises Malformed where it is missing or empty."""
    value = mapping(raw, key).get(key)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{key} is {cut(value)}")
    return value


def maybe_number(raw: Raw, key: str) -> Decimal | None:
    """A field's exact number, None where there is none. Raises Malformed for anything that is no finite number."""
    value = raw.get(key)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Malformed(f"{key} is {cut(value)}, not a number") from None
    if not number.is_finite() or isinstance(value, bool):
        raise Malformed(f"{key} is {cut(value)}, not a number")
    return number


def number(raw: Any, key: str) -> Decimal:
    """As `maybe_number`, and Malformed where it is missing."""
    found = maybe_number(mapping(raw, key), key)
    if found is None:
        raise Malformed(f"{key} is missing")
    return found


def positive(raw: Any, key: str) -> Decimal:
    """As `number`, and Malformed unless above zero."""
    found = number(raw, key)
    if not found > 0:
        raise Malformed(f"{key} is {found}, not positive")
    return found


def maybe_time(raw: Raw, key: str) -> datetime | None:
    """A field's time in UTC, None where there is none. Raises Malformed for no time, or one without a zone."""
    value = raw.get(key)
    if value is None or value == "":
        return None
    try:
        # The stream's times are msgpack Timestamps, REST's are RFC 3339 with up to nine digits of fraction.
        at = value.to_datetime() if hasattr(value, "to_datetime") else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError):
        raise Malformed(f"{key} is {cut(value)}, not a time") from None
    if at.tzinfo is None:
        raise Malformed(f"{key} is {cut(value)}, without a time zone")
    return at.astimezone(UTC)


def moment(raw: Any, key: str) -> datetime:
    """As `maybe_time`, and Malformed where it is missing."""
    at = maybe_time(mapping(raw, key), key)
    if at is None:
        raise Malformed(f"{key} is missing")
    return at


def side(raw: Raw) -> Side:
    """Buy or sell, an activity's `sell_short` included. Raises Malformed for another word."""
    said = str(raw.get("side") or "")
    for one in Side:
        if said == one or said.startswith(f"{one}_"):  # activities say sell_short
            return one
    raise Malformed(f"side is {cut(raw.get('side'))}")


def restriction(raw: Raw, key: str) -> bool:
    """A flag that stops trading: only a plain false, or its absence, is taken as false."""
    return raw.get(key) not in (False, None)


def word(kind: type[E], said: Any, careful: E, field: str, doubts: Doubts) -> E:
    """A word of a closed set; one nobody knows is read as the careful one, and said in `doubts`."""
    try:
        return kind(said)
    except ValueError:
        doubts.append(f"{field} {cut(said)} is not known; read as {careful.value}")
        return careful
