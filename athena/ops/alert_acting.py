"""The one thing an alert may do to trading: make it stricter. Nothing here resumes, clears or raises."""

from __future__ import annotations

from athena.config import Settings
from athena.core.alerts import Alert
from athena.errors import AthenaError
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Scope
from athena.ops.alert_rules import symbol_of


def act(settings: Settings, alert: Alert) -> str:
    """Halt what the alert's rule says, unless it is halted already; what came of it, in words. Never raises."""
    symbol = symbol_of(alert.labels) if alert.action == "halt_symbol" else ""
    what = symbol or "all trading"
    if alert.drill:
        return f"drill: would have halted {what}"
    guard = ExecutionGuard.get_instance(settings)
    scope = Scope.SYMBOL if symbol else Scope.GLOBAL
    try:
        for halt in guard.halts():
            everything = halt.scope is Scope.GLOBAL
            if halt.mode is Mode.HALTED and (everything or (symbol and (halt.scope, halt.target) == (scope, symbol))):
                return f"{what} was halted already, by {halt.owner}"
        made = guard.halt(
            f"alert {alert.name}: {alert.summary}", scope=scope, target=symbol, owner=f"alert {alert.name}"
        )
    except AthenaError as error:
        return f"{what} could NOT be halted: {error.message}"
    return f"halted {what}, journal row {made.id}"
