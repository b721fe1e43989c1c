"""The engine's page for Prometheus: http://127.0.0.1:8090/metrics, with /-/healthy and /-/ready beside it.

Loopback only, in threads of its own: a scrape takes some milliseconds and the engine's loop is not to wait for it.
Where the port is taken the engine goes on without, says so, and tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import AthenaError, JournalError
from athena.live.loopback import LoopbackServer, Page

if TYPE_CHECKING:
    from athena.live.engine import Engine
    from athena.live.metrics import LiveMetrics

log = logging.getLogger("athena.engine")
BEAT_SECONDS, RETRY_SECONDS = 5.0, 2.0
COMPONENT = "metrics"  # its heartbeat: {"url", "problem"}
_live: dict[Any, LiveMetrics] = {}  # by journal, of the engines of this process


async def serve_metrics(engine: Engine, announce: Callable[[str], None]) -> None:
    """Serve one engine's metrics until cancelled. Whatever goes wrong here is told, and never stops trading."""
    from athena.live.metrics import LiveMetrics

    settings, journal, told = engine.settings, engine.journal, ""
    metrics = LiveMetrics(settings, since=journal.head()[0])
    _live[settings.journal_path] = metrics
    try:
        while True:
            try:
                with MetricsServer(settings.metrics_port, metrics) as server:
                    while True:
                        journal.heartbeat(COMPONENT, {"url": server.url, "problem": ""}, engine.clock.now())
                        told = ""
                        await asyncio.sleep(BEAT_SECONDS)
            except (OSError, AthenaError) as error:
                problem = f"no metrics on port {settings.metrics_port}: {getattr(error, 'strerror', None) or error}"
                log.warning("%s", problem)
                with suppress(AthenaError):
                    journal.heartbeat(COMPONENT, {"url": "", "problem": problem}, engine.clock.now())
                if told != problem and engine.is_open:  # after the line that says that it is ready
                    announce(f"{problem}; set ATHENA_METRICS_PORT to another, trading is not affected")
                    told = problem
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        _live.pop(settings.journal_path, None)
        metrics.close()


def live_metrics(settings: Settings) -> LiveMetrics | None:
    """The metrics of this process's own engine; None where no engine of these settings runs here."""
    return _live.get(settings.journal_path)


class MetricsServer(LoopbackServer):
    """The engine's page on a loopback port (0: a free one), from `with` on. Raises OSError when the port is taken."""

    def __init__(self, port: int, metrics: LiveMetrics) -> None:
        from prometheus_client import CollectorRegistry

        self.metrics, self.registry = metrics, CollectorRegistry(auto_describe=False)
        self.registry.register(metrics)
        super().__init__(port, _MetricsPage)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"


class _MetricsPage(Page):
    """GET only."""

    server: MetricsServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self.ours:
            return
        try:
            match path:
                case "/metrics":
                    self._metrics()
                case "/-/healthy":
                    self._healthy()
                case "/-/ready":
                    missing = self.server.metrics.readiness()
                    self.answer(503 if missing else 200, "\n".join(missing or ["ready"]) + "\n")
                case _:
                    self.answer(404, "there are /metrics, /-/healthy and /-/ready\n")
        except OSError:
            raise
        except Exception:
            log.exception("%s failed", path)
            self.answer(500, "failed; the engine's log says why\n")

    def _metrics(self) -> None:
        from prometheus_client import generate_latest

        text = generate_latest(self.server.registry)
        self.answer(200, text, "text/plain; version=0.0.4; charset=utf-8")

    def _healthy(self) -> None:
        from athena.live.vitals import STALE_SECONDS

        try:
            age = self.server.metrics.liveness()
        except JournalError as error:
            return self.answer(503, f"{error.message}\n")
        healthy = age is not None and age <= STALE_SECONDS
        told = "the engine never said that it lives" if age is None else f"the engine's heartbeat is {age:.1f} s old"
        self.answer(200 if healthy else 503, f"{told}\n")
