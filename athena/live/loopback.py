"""A small HTTP server on loopback, in threads of its own: the engine's metrics and the webhook for alerts are two."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

log = logging.getLogger("athena.http")
CONNECTIONS_MAX = 8
_HOSTS = {"127.0.0.1", "localhost"}


class LoopbackServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 (port 0: a free one) from `with` on. Raises OSError when the port is taken."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, page: type[Page]) -> None:
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(("127.0.0.1", port), page)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True).start()
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
        log.info("a reader went away", exc_info=True)


class Page(BaseHTTPRequestHandler):
    """Asked for by a name that is not this machine's it says nothing: a web page may not read it."""

    timeout = 5.0  # of a silent client
    headers_seconds = 10.0  # of one that says its headers letter by letter: eight such would keep everyone else out

    def handle_one_request(self) -> None:
        self._late = threading.Timer(self.headers_seconds, self._cut)
        self._late.daemon = True
        self._late.start()
        try:
            super().handle_one_request()
        finally:
            self._late.cancel()

    def parse_request(self) -> bool:
        try:
            return super().parse_request()
        finally:
            self._late.cancel()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    @property
    def ours(self) -> bool:
        """Whether it was asked for by this machine's name; where not, that was answered."""
        host = urlsplit(f"//{self.headers.get('Host') or 'localhost'}").hostname
        if host in _HOSTS:
            return True
        self.answer(421, "ask for 127.0.0.1\n")
        return False

    def answer(self, status: int, body: str | bytes, kind: str = "text/plain; charset=utf-8", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line each."""
