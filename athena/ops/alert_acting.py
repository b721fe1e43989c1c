"""The one thing an alert may do to trading: make it stricter. Nothing here resumes, clears or raises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from athena.config import Settings
from athena.core.alerts import Alert, unfinished_alerts
from athena.core.notifications import notify
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard
from athena.model import Mode, Scope
from athena.ops.alert_message import halt_failed
from athena.ops.alert_rules import symbol_of

log = logging.getLogger("athena.alerts")
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt at a halt; after the last, people are told


class Acting:
    """Sets the halts that alerts' rules ask for. One that cannot be set is tried again, and then told as critical."""

    def __init__(self, settings: Settings, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._journal, self._clock = settings, journal, clock
        self._failed: dict[str, tuple[int, float]] = {}  # alert -> how often, and when it is tried again
        self._lock = threading.Lock()

    def due(self, alert: Alert) -> bool:
        """Whether what its rule asks for is still to be done, and was not tried yet."""
        return alert.asks and alert.id not in self._failed

    def step(self) -> bool:
        """Halt what alerts' rules say; False when none asks now. Raises JournalError."""
        done = False
        with self._lock:
            for alert in unfinished_alerts(self._journal):
                failed, again = self._failed.get(alert.id, (0, 0.0))
                if not alert.asks or self._clock() < again:
                    continue
                try:
                    outcome = act(self._settings, alert)
                except Exception as error:
                    log.exception("%s: %s could not be halted", alert.name, target(alert))
                    why = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
                    pause = PAUSES[failed] if failed < len(PAUSES) else PAUSES[-1]
                    self._failed[alert.id] = (failed + 1, self._clock() + pause)
                    if failed < len(PAUSES):
                        continue
                    outcome = f"the halt of {target(alert)} FAILED: {why}"
                    message = halt_failed(alert, symbol_of(alert.labels), why)
                    notify(self._settings, **message, dedup_key=f"alert {alert.id} not halted", journal=self._journal)
                self._journal.append("alert.acted", {"id": alert.id, "outcome": outcome})
                self._failed.pop(alert.id, None)
                done = True
        return done


def act(settings: Settings, alert: Alert) -> str:
    """Halt what the alert's rule says, unless its own halt stands; what came of it, in words. Raises AthenaError."""
    what = target(alert)
    if alert.drill:
        return f"drill: would have halted {what}"
    symbol = symbol_of(alert.labels) if alert.action == "halt_symbol" else ""
    guard = ExecutionGuard.get_instance(settings)
    scope, owner = Scope.SYMBOL if symbol else Scope.GLOBAL, f"alert {alert.name}"
    # Another's halt is no reason to leave it: it may expire, or be lifted by what set it.
    wanted = (scope, symbol, Mode.HALTED, owner)
    if any((halt.scope, halt.target, halt.mode, halt.owner) == wanted for halt in guard.halts()):
        return f"{what} is halted by this alert already"
    made = guard.halt(f"{owner}: {alert.summary}", scope=scope, target=symbol, owner=owner)
    return f"halted {what}, journal row {made.id}"


def target(alert: Alert) -> str:
    """What its rule halts, in words."""
    return symbol_of(alert.labels) if alert.action == "halt_symbol" else "all trading"
