"""Telling people of alerts: at once, and then at most once in ten minutes about the same one.

One that comes and goes would wake people each time. What fires within QUIET of the last message that it fires is held:
its halt is set and its page made as ever, and the next message says how it stands then and how often it fired in
between. That it is over is told once it has been for as long: who was told so hears at once when it fires again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

from athena.config import Settings
from athena.core.alerts import Alert, AlertState, Identity
from athena.core.notifications import notify
from athena.journal.codec import to_text
from athena.journal.journal import Journal
from athena.live.vitals import beat
from athena.ops.alert_message import ended, found, without_page

QUIET = timedelta(minutes=10)
FIRST_WORD_AFTER = timedelta(seconds=20)  # a critical alert without its page by then is told without
_WAITING = (AlertState.RECEIVED, AlertState.RUNNING)
Task = tuple[Sequence[Alert], Callable[[], None]]


def key_of_run(run: str) -> str:
    """The key of the message that tells of a run."""
    return f"alert run {run}"


class Telling:
    """Chooses whom to tell of what, and tells it; each message is queued in the transaction that says so.

    begun: when this process began to answer alerts; those that came before were not its to answer.
    """

    def __init__(self, settings: Settings, journal: Journal, begun: datetime) -> None:
        self._settings, self._journal, self._begun = settings, journal, begun
        self._first_told: set[str] = set()

    def next(self, alerts: Sequence[Alert], taken: Collection[str], now: datetime) -> Task | None:
        """Alerts that something is to be done about now, and the doing; None when there are none.

        alerts: all that are unfinished, oldest first; taken: those a run is under way for, which have to wait.
        """
        if not alerts:
            return None
        quiet = self._told_since(now - QUIET)
        free = [alert for alert in alerts if alert.id not in taken]
        paged = [alert for alert in free if alert.state is AlertState.PAGE]
        if paged:
            group = [alert for alert in paged if alert.run == paged[0].run]
            held = [alert for alert in group if alert.identity in quiet]
            return (held, partial(self._hold, held)) if held else (group, partial(self._tell, group, alerts))
        known: dict[Identity, list[Alert]] = {}
        for alert in alerts:
            known.setdefault(alert.identity, []).append(alert)
        settled = [
            same for identity, same in known.items() if identity not in quiet and all(alert.was_told for alert in same)
        ]
        ends = [same for same in settled if self._over(same[-1], now)]
        if ends := [same for same in ends if same[-1].drill == ends[0][-1].drill]:
            return [*chain(*ends)], partial(self._tell_ends, ends)
        if again := next((same for same in settled if same[-1].firing), None):
            return again, partial(self._tell_again, again)
        late = [alert for alert in alerts if self._late(alert, now) and alert.identity not in quiet]
        return (late, partial(self._first_word, late)) if late else None

    def _told_since(self, moment: datetime) -> set[Identity]:
        rows = self._journal.query("SELECT DISTINCT labels FROM alerts WHERE notified_at > ?", (to_text(moment),))
        return {frozenset(json.loads(row["labels"]).items()) for row in rows}

    def _hold(self, group: Sequence[Alert]) -> None:
        self._journal.append("alert.held", {"ids": [alert.id for alert in group]})

    def _tell(self, group: Sequence[Alert], alerts: Sequence[Alert]) -> None:
        """Tell of a run, and with it of what was held about the same alerts."""
        about = {alert.identity for alert in group}
        before = [alert for alert in alerts if alert.identity in about and alert.was_told]
        self._queue(found(group, self._settings, before), key_of_run(group[0].run), [*before, *group])

    def _tell_again(self, same: Sequence[Alert]) -> None:
        """Tell that an alert fires that came back within minutes of the last message about it."""
        *before, last = same
        self._queue(found([last], self._settings, before), f"alert {last.id} again", same)

    def _tell_ends(self, ends: Sequence[Sequence[Alert]]) -> None:
        """Tell of alerts that are over, each with its earlier firings that were held."""
        engine = beat(self._journal)
        silence = "" if engine is None or engine.alive else engine.silence
        held = [sum(alert.state is AlertState.HELD for alert in same) for same in ends]
        message = ended([same[-1] for same in ends], held, silence)
        self._queue(message, f"alert {ends[0][-1].id} ended", [*chain(*ends)])

    def _queue(self, message: dict[str, object], key: str, told: Sequence[Alert]) -> None:
        """The message, and that these alerts, and the end of those that ended, are told, in one transaction."""
        with self._journal.transaction() as tx:
            notify(self._settings, **message, dedup_key=key, tx=tx)  # type: ignore[arg-type]
            if firings := [alert.id for alert in told if alert.state is not AlertState.NOTIFIED]:
                tx.append("alert.notified", {"ids": firings})
            if ends := [alert.id for alert in told if not alert.firing]:
                tx.append("alert.told_resolved", {"ids": ends})

    def _over(self, alert: Alert, now: datetime) -> bool:
        """Whether it ended a while ago, and whether the engine said since that it lives, or is known to be silent.

        Metrics end with the engine, and then nobody knows whether what they told of is over.
        """
        if alert.resolved_at is None or alert.resolved_at > now - QUIET:
            return False
        engine = beat(self._journal)
        return engine is None or not engine.alive or engine.at >= alert.resolved_at

    def _late(self, alert: Alert, now: datetime) -> bool:
        return (
            alert.severity == "critical" and alert.firing and alert.state in _WAITING
            and max(alert.received_at, self._begun) < now - FIRST_WORD_AFTER and alert.id not in self._first_told
        )  # fmt: skip

    def _first_word(self, late: Sequence[Alert]) -> None:
        """Tell, without their page and once, of critical alerts that wait for it still."""
        notify(self._settings, **without_page(late), dedup_key=f"alert {late[0].id} waits", journal=self._journal)
        self._first_told.update(alert.id for alert in late)
