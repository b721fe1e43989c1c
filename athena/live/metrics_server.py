"""The engine's page for Prometheus: http://127.0.0.1:8090/metrics, with /-/healthy and /-/ready beside it.

Loopback only, in threads of its own: a scrape takes some milliseconds and the engine's loop is not to wait for it.
Where the port is taken the engine goes on without, says so, and tries again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from athena.config import Settings
from athena.errors import AthenaError, JournalError

if TYPE_CHECKING:
    from athena.live.engine import Engine
    from athena.live.metrics import LiveMetrics

log = logging.getLogger("athena.engine")
BEAT_SECONDS, RETRY_SECONDS = 5.0, 2.0
CONNECTIONS_MAX = 8
COMPONENT = "metrics"  # its heartbeat: {"url", "problem"}
_HOSTS = {"127.0.0.1", "localhost"}
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


class MetricsServer(ThreadingHTTPServer):
    """The page on a loopback port (0: a free one), from `with` on. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, port: int, metrics: LiveMetrics) -> None:
        from prometheus_client import CollectorRegistry

        self.metrics, self.registry = metrics, CollectorRegistry(auto_describe=False)
        self.registry.register(metrics)
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(("127.0.0.1", port), _Page)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/metrics"

    def __enter__(self) -> MetricsServer:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="metrics", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Each in a thread; those beyond CONNECTIONS_MAX are turned away."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("a reader of the metrics went away", exc_info=True)


class _Page(BaseHTTPRequestHandler):
    """GET only; asked for by a name that is not this machine's it says nothing (a web page may not read it)."""

    server: MetricsServer
    timeout = 5.0  # of a silent reader

    def do_GET(self) -> None:
        host = urlsplit(f"//{self.headers.get('Host') or 'localhost'}").hostname
        path = self.path.partition("?")[0]
        if host not in _HOSTS:
            return self._answer(421, "ask for 127.0.0.1\n")
        try:
            match path:
                case "/metrics":
                    self._metrics()
                case "/-/healthy":
                    self._healthy()
                case "/-/ready":
                    missing = self.server.metrics.readiness()
                    self._answer(503 if missing else 200, "\n".join(missing or ["ready"]) + "\n")
                case _:
                    self._answer(404, "there are /metrics, /-/healthy and /-/ready\n")
        except OSError:
            raise
        except Exception:
            log.exception("%s failed", path)
            self._answer(500, "failed; the engine's log says why\n")

    def _metrics(self) -> None:
        from prometheus_client import generate_latest

        text = generate_latest(self.server.registry)
        self._answer(200, text, "text/plain; version=0.0.4; charset=utf-8")

    def _healthy(self) -> None:
        from athena.live.vitals import STALE_SECONDS

        try:
            age = self.server.metrics.liveness()
        except JournalError as error:
            return self._answer(503, f"{error.message}\n")
        healthy = age is not None and age <= STALE_SECONDS
        told = "the engine never said that it lives" if age is None else f"the engine's heartbeat is {age:.1f} s old"
        self._answer(200 if healthy else 503, f"{told}\n")

    def _answer(self, status: int, body: str | bytes, kind: str = "text/plain; charset=utf-8") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""
