"""Asking the engine: a command is a journaled row, its answer another. Standard library only; any process may ask.

result = await request(journal, "close_position", {"symbol": "AAPL"}, timeout=30)
if not result.ok: print(result.message)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from athena.errors import AthenaError, EngineNotRunning, did_you_mean
from athena.live.vitals import beat

if TYPE_CHECKING:
    from athena.journal.journal import Journal

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "ping": (),
    "reconcile": (),
    "reconnect": (),
    "subscribe": ("symbols",),
    "cancel_order": ("client_order_id",),
    "cancel_all": (),
    "close_position": ("symbol",),
    "flatten": (),
    "test_order": ("symbol", "side"),
    "stop": (),
}
"""What an engine can be asked, with the arguments each needs."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"cancel_all": ("symbol",), "test_order": ("limit_price", "exit")}
"""What else each takes. A `reason` goes with any, for the record; an argument that nobody reads is refused."""

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class CommandResult(Mapping[str, Any]):
    """What the engine answered. It is also the mapping of its details; `message` says in a sentence what was done."""

    id: str
    name: str
    ok: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        return str(self.details.get("message", ""))

    def __getitem__(self, key: str) -> Any:
        return self.details[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.details)

    def __len__(self) -> int:
        return len(self.details)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"{self.name}: {'done' if self.ok else 'FAILED'}. {self.message}".rstrip()


def require_engine(journal: Journal) -> dict[str, Any]:
    """The live engine's heartbeat details; raises EngineNotRunning telling when it was last heard of."""
    heard = beat(journal)
    hint = "Start it: athena engine."
    if heard is None:
        raise EngineNotRunning("engine: not running, and it never ran on this journal.", hint)
    if not heard.alive:
        raise EngineNotRunning(f"engine: not running, {heard.silence}.", hint)
    return heard.details


async def request(
    journal: Journal,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109  # it is also the command's expiry, which the engine honours
) -> CommandResult:
    """Ask and wait for the answer.

    Raises EngineNotRunning when none is alive, or it dies meanwhile; AthenaError for an unknown command or when no
    answer came in time: then the command expires, and is not begun after that.
    """
    command_id, deadline = _ask(journal, name, dict(arguments or {}), timeout)
    while True:
        if (result := _answer(journal, command_id, name, deadline, timeout)) is not None:
            return result
        await asyncio.sleep(POLL_SECONDS)


def request_sync(
    journal: Journal, name: str, arguments: Mapping[str, Any] | None = None, timeout: float = 30.0
) -> CommandResult:
    """`request` for those without a loop."""
    command_id, deadline = _ask(journal, name, dict(arguments or {}), timeout)
    while (result := _answer(journal, command_id, name, deadline, timeout)) is None:
        time.sleep(POLL_SECONDS)
    return result


def _ask(journal: Journal, name: str, arguments: dict[str, Any], timeout: float) -> tuple[str, float]:
    if name not in COMMANDS:
        raise AthenaError(f"'{name}' is not a command of the engine.", did_you_mean(name, COMMANDS))
    for needed in COMMANDS[name]:
        if not arguments.get(needed):
            raise AthenaError(f"{name} needs {needed}.")
    taken = (*COMMANDS[name], *OPTIONAL.get(name, ()), "reason")
    for given in arguments.keys() - set(taken):
        raise AthenaError(f"{name} takes no '{given}'. Nothing was asked.", did_you_mean(given, taken))
    require_engine(journal)
    command_id = uuid4().hex
    expires = datetime.now(UTC) + timedelta(seconds=timeout)
    payload = {"id": command_id, "name": name, "arguments": arguments, "expires_at": expires}
    journal.append("command.requested", payload)
    return command_id, time.monotonic() + timeout


def _answer(journal: Journal, command_id: str, name: str, deadline: float, timeout: float) -> CommandResult | None:
    row = journal.one("SELECT status, result FROM commands WHERE id = ?", (command_id,))
    if row is not None and row["status"] != "requested":
        details = json.loads(row["result"] or "{}")
        return CommandResult(command_id, name, row["status"] == "done", details)
    if time.monotonic() < deadline:
        return None
    require_engine(journal)
    raise AthenaError(
        f"the engine did not finish {name} within {timeout:g} s (command {command_id[:8]}).",
        "It may be under way: look at athena status before asking again.",
    )
