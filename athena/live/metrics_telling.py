"""Whether people are told: messages, alerts and services that wait or are silent.

On the engine's page and on the webhook's: an engine that is gone cannot tell that nobody heard of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import Metric

from athena.config import Settings
from athena.core import outbox
from athena.core.alerts import unfinished_alerts
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.live.metrics_counts import CHANNELS, OTHER
from athena.live.metrics_families import gauge, labelled
from athena.live.vitals import age, beat

_DEAD = (  # by the index of what is unsent
    "SELECT channel, MAX(finished_at) AS at FROM deliveries WHERE status <> 'sent' AND status = 'dead' GROUP BY channel"
)


def telling(journal: Journal, settings: Settings) -> Iterator[Metric]:
    """What is still to be told, what will not be, and who is silent. Raises JournalError."""
    oldest = outbox.state(journal).oldest_at
    told = "Since the oldest message that waits was queued; 0 without one."
    yield gauge("outbox_oldest_age_seconds", told, age(oldest) if oldest else 0.0)
    dead = dict.fromkeys(CHANNELS, 0.0)
    for row in journal.query(_DEAD):
        channel = row["channel"] if row["channel"] in CHANNELS else OTHER
        dead[channel] = max(dead[channel], from_text(row["at"]).timestamp())
    told = "When the newest of the dead letters there are now became one; 0: there is none."
    yield labelled("last_dead_letter_timestamp_seconds", told, "channel", dead)
    unfinished = unfinished_alerts(journal)
    yield gauge("alerts_unfinished", "Alerts whose page or message, or end, is still to be told.", len(unfinished))
    waiting = [alert.received_at for alert in unfinished if not alert.was_told]
    told = "Since the oldest alert came whose page or message is still to come; 0 without one."
    yield gauge("alerts_oldest_unfinished_age_seconds", told, age(min(waiting)) if waiting else 0.0)
    yield from _services(journal, settings)


def _services(journal: Journal, settings: Settings) -> Iterator[Metric]:
    """Signs of life of webhook and schedule, where they ever ran here; a run under way is one of the latter.

    A schedule that cron or systemd begins is left out until it did not come when it said it would.
    """
    heard = [one for one in (beat(journal, "alerts"), beat(journal, "schedule")) if one is not None and not one.stopped]
    patience = settings.schedule.catch_up_minutes * 60
    staying = [one for one in heard if not one.details.get("once") or one.overdue_seconds > patience]
    ages = {one.component: max(0.0, one.age_seconds) for one in staying}
    lease = journal.one("SELECT MAX(lease_until) FROM schedule_runs WHERE status = 'running'")
    if "schedule" in ages and lease and lease[0] and from_text(lease[0]) > datetime.now(UTC):
        ages["schedule"] = 0.0
    yield labelled("service_heartbeat_age_seconds", "Since a service said that it lives.", "service", ages)
