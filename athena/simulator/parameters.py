"""What arrives with a request: query parameters and JSON bodies, read strictly or refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web

from athena.simulator.errors import VenueError, invalid
from athena.simulator.market_data import BadQuestion, parse_time

Word = TypeVar("Word", bound=StrEnum)

MALFORMED = 40010000


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object with exact numbers; VenueError 400 for anything else."""
    try:
        body = json.loads(
            await request.read() or b"{}", parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise VenueError(400, MALFORMED, "request body format is invalid") from None
    if not isinstance(body, dict):
        raise VenueError(400, MALFORMED, "request body must be a JSON object")
    return body


def _no_constant(name: str) -> Decimal:
    raise ValueError(name)


def amount(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A number of the body, given as a JSON number or as a string; None when absent or null."""
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    # An exponent past these bounds is no price and no quantity, and would make a very long number in plain notation.
    if number is None or not number.is_finite() or (number and not -20 < number.adjusted() < 20):
        raise invalid(f"invalid {name}: {str(value)[:50]}")
    return number


def word(kind: type[Word], body: Mapping[str, Any], name: str) -> Word | None:
    """One of an enum's words; None when absent or null."""
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        return kind(value)
    except ValueError:
        raise invalid(f"invalid {name}: {str(value)[:50]}") from None


def text(body: Mapping[str, Any], name: str) -> str | None:
    """A string; None when absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be a string")
    return value or None


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean of the body; absent is false."""
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise invalid(f"{name} must be true or false")
    return bool(value)


# Of the query


def choice(request: web.Request, name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of the listed words; the default when absent."""
    value = request.query.get(name, default)
    if value not in choices:
        raise BadQuestion(f"invalid {name}: {value!r} is none of {', '.join(choices)}")
    return value


def whole(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number within bounds; the default when absent."""
    value = request.query.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value[:12]) <= most:
        raise BadQuestion(f"invalid {name}: {value[:50]!r} is not a whole number from {least} to {most}")
    return int(value)


def yes(request: web.Request, name: str) -> bool:
    """'true' or 'True'; absent is false."""
    value = request.query.get(name, "false").lower()
    if value not in ("true", "false"):
        raise BadQuestion(f"invalid {name}: {value[:50]!r} is neither true nor false")
    return value == "true"


def listed(request: web.Request, name: str) -> tuple[str, ...]:
    """A comma-separated list, in upper case; empty when absent."""
    return tuple(part.strip().upper() for part in request.query.get(name, "").split(",") if part.strip())


def when(request: web.Request, name: str, *, end_of_day: bool = False) -> datetime | None:
    """A time or a date; None when absent."""
    value = request.query.get(name)
    return parse_time(name, value, end_of_day=end_of_day) if value else None
