"""What the webhook tells Prometheus where an engine cannot any more: whether people are told, and how it ended.

An engine that is stopped has no metrics page, and neither has one that died. Its last word in the journal tells the two
apart, and the exchange's calendar whether somebody should miss it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from athena.config import Settings
from athena.core.trading_days import TradingDays
from athena.errors import AthenaError
from athena.journal.journal import Journal
from athena.live.metrics_families import gauge
from athena.live.metrics_telling import telling
from athena.live.vitals import Beat, beat
from athena.model import trading_date


class WebhookMetrics(Collector):
    """The webhook's own refusals, whether people are told, and how the engine ended, where one ever ran."""

    def __init__(self, settings: Settings, journal: Journal, refused: int) -> None:
        self._settings, self._journal, self._refused = settings, journal, refused

    def collect(self) -> Iterator[Metric]:
        """Raises JournalError."""
        yield CounterMetricFamily(
            "athena_alerts_deliveries_refused", "Deliveries the webhook did not take.", self._refused
        )
        yield from telling(self._journal, self._settings)
        yield from self._engine()

    def _engine(self) -> Iterator[Metric]:
        engine = beat(self._journal)
        if engine is None:
            return
        yield gauge("engine_stopped", "1 when the engine's last word was that it stops, in good order.", engine.stopped)
        try:
            opened = in_session(engine, TradingDays.load(self._settings))
        except AthenaError:  # the calendar is broken, which the schedule tells of: then nobody knows
            return
        yield gauge("exchange_open", "1 in the exchange's regular session, by the venue's clock and calendar.", opened)


def in_session(engine: Beat, days: TradingDays) -> bool:
    """Whether the exchange's session is on, the venue's time carried on since the engine's last word."""
    passed = timedelta(seconds=engine.age_seconds * float(engine.details.get("speed") or 1))
    now = (engine.venue_at or engine.at) + passed
    day = days.on(trading_date(now))
    return day is not None and day.opens <= now < day.closes


def page(settings: Settings, journal: Journal, refused: int) -> bytes:
    """The webhook's metrics page; `refused`: deliveries it did not take. Raises JournalError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WebhookMetrics(settings, journal, refused))
    return generate_latest(registry)
