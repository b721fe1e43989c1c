"""The one thing an alert may do to trading: make it stricter. Nothing here resumes, clears or raises."""

from __future__ import annotations

from athena.config import Settings
from athena.core.alerts import Alert
from athena.errors import AthenaError
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Scope
from athena.ops.alert_rules import symbol_of


def act(settings: Settings, alert: Alert) -> str:
    """Halt what the alert's rule says, unless its own halt stands; what came of it, in words. Never raises."""
    symbol = symbol_of(alert.labels) if alert.action == "halt_symbol" else ""
    what = symbol or "all trading"
    if alert.drill:
        return f"drill: would have halted {what}"
    guard = ExecutionGuard.get_instance(settings)
    scope, owner = Scope.SYMBOL if symbol else Scope.GLOBAL, f"alert {alert.name}"
    try:
        # Another's halt is no reason to leave it: it may expire, or be lifted by what set it.
        wanted = (scope, symbol, Mode.HALTED, owner)
        if any((halt.scope, halt.target, halt.mode, halt.owner) == wanted for halt in guard.halts()):
            return f"{what} is halted by this alert already"
        made = guard.halt(f"{owner}: {alert.summary}", scope=scope, target=symbol, owner=owner)
    except AthenaError as error:
        return f"{what} could NOT be halted: {error.message}"
    return f"halted {what}, journal row {made.id}"
