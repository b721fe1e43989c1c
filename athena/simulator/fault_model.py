"""One fault, and what is checked before it is taken."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from athena.errors import SimulatorError, did_you_mean
from athena.model import Side


class Kind(StrEnum):
    """Every fault the venue knows; `faults` says what a client sees of each."""

    LATENCY = "latency"
    HANG = "hang"
    RESET = "reset"
    STATUS = "status"
    HTML = "html"
    MESSAGE_DROP = "message_drop"
    MESSAGE_DUPLICATE = "message_duplicate"
    MESSAGE_DELAY = "message_delay"
    MESSAGE_REORDER = "message_reorder"
    MESSAGE_UNKNOWN = "message_unknown"
    MESSAGE_MALFORMED = "message_malformed"
    STREAM_DROP = "stream_drop"
    STREAM_MUTE = "stream_mute"
    STREAM_REFUSE = "stream_refuse"
    STREAM_RESTART = "stream_restart"
    DATA_STALE = "data_stale"
    TRADING_STALE = "trading_stale"
    CANCEL_RACE = "cancel_race"
    TRADE_BUST = "trade_bust"
    TRADE_CORRECT = "trade_correct"
    SYMBOL_HALT = "symbol_halt"
    SYMBOL_DELIST = "symbol_delist"
    NO_BUYING_POWER = "no_buying_power"
    TRADING_BLOCKED = "trading_blocked"
    CLOCK_SKEW = "clock_skew"
    EXTERNAL_ORDER = "external_order"
    EXTERNAL_CLOSE = "external_close"


K = Kind
REQUESTS = frozenset({K.LATENCY, K.HANG, K.RESET, K.STATUS, K.HTML})
MESSAGES = frozenset(kind for kind in Kind if kind.startswith("message_"))
ACTIONS = frozenset({K.STREAM_DROP, K.TRADE_BUST, K.TRADE_CORRECT, K.EXTERNAL_ORDER, K.EXTERNAL_CLOSE})

SECONDS_MAX = 10_000_000.0

_WHEN = "kind after_seconds at clock lasts_seconds"
_SOME = f"{_WHEN} symbol probability skip count"
_REQUEST = f"{_SOME} moment method path account"
_MESSAGE = f"{_SOME} stream event"
_FIELDS: dict[Kind, str] = {
    K.LATENCY: f"{_REQUEST} seconds",
    K.HANG: f"{_REQUEST} seconds",
    K.RESET: _REQUEST,
    K.STATUS: f"{_REQUEST} status seconds",
    K.HTML: f"{_REQUEST} status",
    K.MESSAGE_DROP: _MESSAGE,
    K.MESSAGE_DUPLICATE: _MESSAGE,
    K.MESSAGE_DELAY: f"{_MESSAGE} seconds",
    K.MESSAGE_REORDER: f"{_MESSAGE} seconds",
    K.MESSAGE_UNKNOWN: f"{_MESSAGE} word",
    K.MESSAGE_MALFORMED: _MESSAGE,
    K.STREAM_DROP: f"{_WHEN} stream",
    K.STREAM_MUTE: f"{_WHEN} stream pings",
    K.STREAM_REFUSE: f"{_WHEN} stream",
    K.CANCEL_RACE: f"{_SOME} account quantity seconds",
    K.TRADE_BUST: f"{_WHEN} account symbol",
    K.TRADE_CORRECT: f"{_WHEN} account symbol price quantity",
    K.SYMBOL_HALT: f"{_WHEN} symbol",
    K.SYMBOL_DELIST: f"{_WHEN} symbol",
    K.NO_BUYING_POWER: f"{_WHEN} account",
    K.TRADING_BLOCKED: f"{_WHEN} account",
    K.CLOCK_SKEW: f"{_WHEN} seconds",
    K.EXTERNAL_ORDER: f"{_WHEN} account symbol side quantity price client_order_id",
    K.EXTERNAL_CLOSE: f"{_WHEN} account symbol",
}
_REQUIRED: dict[Kind, str] = {
    K.LATENCY: "seconds",
    K.STATUS: "status",
    K.CLOCK_SKEW: "seconds",
    K.SYMBOL_HALT: "symbol",
    K.SYMBOL_DELIST: "symbol",
    K.EXTERNAL_ORDER: "symbol side quantity",
    K.EXTERNAL_CLOSE: "symbol",
}
_CHOICES = {
    "clock": ("machine", "venue"),
    "moment": ("before", "after"),
    "stream": ("", "trading", "data"),
    "word": ("status", "event"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. It begins `after_seconds` of its clock (or `at` a venue time) and lasts until removed or used up.

    Filters left empty match everything; `path` is a pattern (`/v2/orders*`). Of what matches the first `skip` pass, the
    next are hit with `probability`, `count` of them at most (0: no end). `moment` says whether the venue had taken the
    request. Actions (a drop, a bust, another session's order) happen once, and wait until there is something to act on.
    Raises SimulatorError for a field that means nothing to the kind, a missing one, or a value out of range.
    """

    kind: Kind
    after_seconds: float = 0.0
    at: datetime | None = None
    clock: str = "machine"
    lasts_seconds: float | None = None
    moment: str = "before"
    method: str = ""
    path: str = ""
    account: str = ""
    symbol: str = ""
    stream: str = ""
    event: str = ""
    probability: float = 1.0
    skip: int = 0
    count: int = 0
    seconds: float | None = None
    status: int | None = None
    word: str = "status"
    pings: bool = True
    side: Side | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    client_order_id: str = ""

    def __post_init__(self) -> None:
        allowed = fields_of(self.kind)
        for name in self.given():
            if name not in allowed:
                hint = did_you_mean(name, allowed, f"It takes {', '.join(allowed[1:])}.")
                raise SimulatorError(f"'{name}' means nothing to the fault '{self.kind}'.", hint)
        for name in _REQUIRED.get(self.kind, "").split():
            if name not in self.given():
                raise SimulatorError(f"The fault '{self.kind}' needs '{name}'.")
        if self.kind is K.TRADE_CORRECT and self.price is None and self.quantity is None:
            raise SimulatorError("The fault 'trade_correct' needs 'price' or 'quantity'.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                said = f"A fault's {name} is '{getattr(self, name)}'."
                raise SimulatorError(said, f"It is one of {', '.join(filter(None, choices))}.")
        self._check_ranges()

    @property
    def on_venue_time(self) -> bool:
        """True when the venue's clock says when it begins and ends."""
        return self.clock == "venue" or self.at is not None

    def given(self) -> dict[str, Any]:
        """The fields that were set, by name."""
        every = {item.name: getattr(self, item.name) for item in fields(self)}
        standard = {item.name: item.default for item in fields(self) if item.default is not MISSING}
        return {name: value for name, value in every.items() if name == "kind" or value != standard.get(name)}

    def _check_ranges(self) -> None:
        least = -SECONDS_MAX if self.kind is K.CLOCK_SKEW else 0.0
        ranges = {
            "after_seconds": (0.0, SECONDS_MAX),
            "lasts_seconds": (0.001, SECONDS_MAX),
            "seconds": (least, SECONDS_MAX),
            "probability": (0.0, 1.0),
            "skip": (0, math.inf),
            "count": (0, math.inf),
            "status": (200, 599),
            "quantity": (Decimal("1e-9"), math.inf),
            "price": (Decimal("1e-4"), math.inf),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise SimulatorError(f"A fault's {name} must lie from {low} to {high}, got {value}.")
        if self.at is not None and self.at.tzinfo is None:
            raise SimulatorError(f"A fault's time needs a zone, got {self.at}.")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Faults laid when the venue starts, and the seed of every chance in them and in those laid later."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0


def fields_of(kind: Kind) -> list[str]:
    """The fields a kind of fault takes, `kind` first."""
    return _FIELDS.get(kind, _WHEN).split()
