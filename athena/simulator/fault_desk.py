"""When a fault acts: begin and end on the machine's or the venue's clock, which requests and messages it hits, the log.

Each fault has chances of its own, drawn from the seed and its number for each thing that matches it, so the same faults
laid in the same order meet the same requests with the same harm.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aiohttp import web

from athena.errors import SimulatorError
from athena.model import OrderStatus
from athena.simulator import wire
from athena.simulator.access import KEY
from athena.simulator.book import Book
from athena.simulator.errors import VenueError
from athena.simulator.fault_effects import Effects, NotYet, check, refusal
from athena.simulator.fault_messages import harmed
from athena.simulator.fault_model import ACTIONS, MESSAGES, REQUESTS, Fault, Kind
from athena.simulator.fault_requests import answer_with_faults, symbol_of
from athena.simulator.faults import Handler
from athena.simulator.orders import VenueOrder

log = logging.getLogger(__name__)

LOG_LINES = 1000
CONTROL = frozenset({"success", "error", "subscription"})
STREAMS = {"trade_updates": "trading", "market_data": "data"}


@dataclass(eq=False, slots=True)
class Laid:
    """A fault at the desk: waiting, active, done (used up or over) or removed; how often it matched and acted."""

    id: str
    fault: Fault
    chance: random.Random
    begins: float
    state: str = "waiting"
    ends: float | None = None
    matched: int = 0
    acted: int = 0
    last: str = ""

    def hits(self) -> bool:
        """One thing matched: is it hit?"""
        self.matched += 1
        lucky = self.chance.random() >= self.fault.probability
        if self.matched <= self.fault.skip or lucky:
            return False
        self.acted += 1
        return True

    @property
    def used_up(self) -> bool:
        return 0 < self.fault.count <= self.acted

    def row(self) -> dict[str, Any]:
        told = {name: _plain(value) for name, value in self.fault.given().items()}
        counts = {"state": self.state, "matched": self.matched, "acted": self.acted}
        return {"id": self.id, **told, **counts, **({"last": self.last} if self.last else {})}


@dataclass(slots=True)
class FaultDesk:
    """Keeps the faults of one venue; satisfies Faults. `log_path` gets one JSON line for each thing done.

    Raises SimulatorError when the log cannot be written.
    """

    effects: Effects
    seed: int = 0
    log_path: Path | None = None
    machine: Callable[[], float] = time.monotonic
    lines: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _every: dict[str, Laid] = field(default_factory=dict)
    _live: list[Laid] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self.effects.exchange.keeps_canceling = self._keeps_canceling
        if self.log_path is not None:
            try:
                self.log_path.open("a").close()
            except OSError as error:
                reason = f"The fault log {self.log_path} cannot be written: {error.strerror}."
                raise SimulatorError(reason, "Name a file in a directory that exists.") from None

    def check(self, fault: Fault) -> None:
        """Raises SimulatorError for a symbol or an account this venue does not have."""
        check(fault, self.effects.exchange)

    def lay(self, fault: Fault) -> Laid:
        """Takes a fault; one that is due begins at once. Raises SimulatorError as `check` does."""
        self.check(fault)
        self._number += 1
        chance = random.Random(f"{self.seed}:{self._number}")
        begins = self._now(fault) + fault.after_seconds if fault.at is None else fault.at.timestamp()
        laid = Laid(str(self._number), fault, chance, begins)
        self._every[laid.id] = laid
        self._live.append(laid)
        self.note(laid, "laid")
        self.tick()
        return laid

    def remove(self, fault_id: str = "") -> list[Laid]:
        """Ends one fault, or all; what they did stays done. SimulatorError for an id there is not."""
        if fault_id and fault_id not in self._every:
            raise SimulatorError(f"There is no fault with the id '{fault_id}'.", f"There are {', '.join(self._every)}.")
        ended = [laid for laid in self._live if fault_id in ("", laid.id)]
        for laid in ended:
            self._end(laid, "removed")
        self.effects.hold(self._active())
        return ended

    def report(self) -> list[dict[str, Any]]:
        """Every fault laid since the start, with its state."""
        return [laid.row() for laid in self._every.values()]

    def tick(self) -> None:
        """Begins what is due, tries actions, ends what is over."""
        changed = False
        for laid in tuple(self._live):
            now = self._now(laid.fault)
            if laid.state == "waiting" and now >= laid.begins:
                laid.state, changed = "active", True
                if laid.fault.lasts_seconds is not None:
                    laid.ends = laid.begins + laid.fault.lasts_seconds
                self.note(laid, "began")
                self.effects.begin(laid.fault)
            if laid.state == "active" and laid.fault.kind in ACTIONS:
                self._act(laid)
            if laid.state == "active" and laid.ends is not None and now >= laid.ends:
                self._end(laid, "over")
            changed |= laid.state == "done"
        if changed:
            self.effects.hold(self._active())

    def note(self, laid: Laid, what: str, **facts: Any) -> None:
        """One line of the log: what was done, to what, when by both clocks."""
        line = {
            "unix_ns": time.time_ns(),
            "venue_at": wire.time(self.effects.clock.now()),
            "fault": laid.id,
            "kind": laid.fault.kind.value,
            "what": what,
            **{name: value for name, value in facts.items() if value not in (None, "")},
        }
        self.lines.append(line)
        if self.log_path is not None:
            try:
                with self.log_path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, default=str) + "\n")
            except OSError as error:
                log.error("the fault log %s: %s", self.log_path, error)

    def acted(self, laid: Laid, **facts: Any) -> None:
        """A line of what a fault did, and its end where that was all it was to do."""
        self.note(laid, "acted", **facts)
        if laid.used_up:
            self._end(laid, "used up")

    # What passes through

    async def request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The request's answer, after every fault that hits it."""
        hit: list[Laid] = []
        if not request.path.startswith("/simulator/"):
            asked = [laid for laid in self._active_of(REQUESTS) if _filters(laid.fault, request)]
            symbol = await symbol_of(request) if any(laid.fault.symbol for laid in asked) else ""
            hit = [laid for laid in asked if laid.fault.symbol in ("", symbol) and laid.hits()]
        return await answer_with_faults(self, hit, request, handler)

    def messages(self, stream: str, message: Any) -> Iterator[Any]:
        """What leaves in place of a message, after every fault that hits it."""
        leaving = [message]
        for laid in self._active_of(MESSAGES):
            event, symbol = _event(stream, message)
            fault = laid.fault
            wanted = fault.event == event if fault.event else event not in CONTROL
            if wanted and fault.stream in ("", STREAMS[stream]) and fault.symbol in ("", symbol) and laid.hits():
                leaving = [out for one in leaving for out in harmed(fault, stream, one)]
                self.acted(laid, stream=STREAMS[stream], event=event, symbol=symbol, **_named(stream, message))
        return iter(leaving)

    def _keeps_canceling(self, book: Book, order: VenueOrder) -> bool:
        """The exchange asks whether a cancel is to race a fill."""
        if order.status is OrderStatus.PENDING_CANCEL:
            return True
        for laid in self._active_of({Kind.CANCEL_RACE}):
            fault = laid.fault
            if fault.symbol in ("", order.symbol) and fault.account in ("", book.key_id) and laid.hits():
                self.acted(laid, symbol=order.symbol, client_order_id=order.client_order_id)
                self.effects.race(book, order, fault)
                return True
        return False

    # Helpers

    def _now(self, fault: Fault) -> float:
        return self.effects.clock.now().timestamp() if fault.on_venue_time else self.machine()

    def _active(self) -> list[Fault]:
        return [laid.fault for laid in self._live if laid.state == "active"]

    def _active_of(self, kinds: Collection[Kind]) -> list[Laid]:
        live = (laid for laid in self._live if laid.fault.kind in kinds)
        return [laid for laid in live if laid.state == "active" and not laid.used_up]

    def _act(self, laid: Laid) -> None:
        try:
            laid.last = self.effects.act(laid.fault)
        except NotYet:
            return
        except VenueError as error:
            laid.last = refusal(error)
        laid.acted += 1
        self.acted(laid, done=laid.last)
        self._end(laid, "used up")

    def _end(self, laid: Laid, why: str) -> None:
        laid.state = "removed" if why == "removed" else "done"
        if laid in self._live:
            self._live.remove(laid)
            self.note(laid, why)


def _filters(fault: Fault, request: web.Request) -> bool:
    return (
        fault.method in ("", request.method)
        and (not fault.path or fnmatchcase(request.path, fault.path))
        and fault.account in ("", request.get(KEY))
    )


def _event(stream: str, message: Any) -> tuple[str, str]:
    """A message's event or type, and its symbol."""
    if stream == "trade_updates":
        return message["data"]["event"], message["data"]["order"]["symbol"]
    return message.get("T", ""), message.get("S", "")


def _named(stream: str, message: Any) -> dict[str, Any]:
    if stream != "trade_updates":
        return {}
    data = message["data"]
    return {"client_order_id": data["order"]["client_order_id"], "execution_id": data.get("execution_id")}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)
