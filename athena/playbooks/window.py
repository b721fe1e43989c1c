"""A window on the venue for runs without keys: on loopback, for this process's own runs, and for reading only.

Alpaca has no keys that only read, and whoever could change a notebook could trade with its keys. So the keys stay in
the runner; a run gets the window's address and a password that opens nothing else:

    run (no keys) --GET /trading/v2/account--> window (runner, keys) --GET /v2/account--> venue

Anything but GET is refused. The window lives as long as the process that opened it. It keeps a notebook's code from
trading, by mistake or on purpose, with what it was given; a program that searches this user's other processes and files
for keys is not held back by it.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from athena.config import Settings

_TOLD = ("Content-Type", "Location", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID")


class Window:
    """Listens on a free loopback port, in threads of its own, from the moment it is made."""

    def __init__(self, settings: Settings) -> None:
        self.password = secrets.token_urlsafe(24)
        self._settings = settings
        self._origins = {"trading": settings.trading_url, "data": settings.data_url}
        self._session = requests.Session()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, name="window", daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a run needs to look through it."""
        return {
            "ATHENA_VENUE": self._settings.venue,
            "ATHENA_WINDOW_URL": f"http://127.0.0.1:{self._server.server_port}",
            "APCA_API_KEY_ID": "window",
            "APCA_API_SECRET_KEY": self.password,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._session.close()

    def look(self, path: str, password: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the venue's answer to `/trading/v2/...` or `/data/v2/...`, or the refusal."""
        if not hmac.compare_digest(password.encode(), self.password.encode()):
            return _refusal(401, "this window is another process's.")
        part, _, rest = path.removeprefix("/").partition("/")
        if part not in self._origins:
            return _refusal(404, f"the window shows /trading/ and /data/, not /{part}/.")
        s = self._settings
        try:
            answer = self._session.get(
                f"{self._origins[part]}/{rest}",
                headers={"APCA-API-KEY-ID": s.key_id, "APCA-API-SECRET-KEY": s.secret_key},
                timeout=(s.connect_timeout_seconds, s.read_timeout_seconds),
                allow_redirects=False,  # keys go to the venue and nowhere else
            )
        except requests.RequestException as error:
            return _refusal(504, f"the venue cannot be reached ({type(error).__name__}).")
        return answer.status_code, {n: answer.headers[n] for n in _TOLD if n in answer.headers}, answer.content


_opening = threading.Lock()
_open: dict[tuple[str, ...], Window] = {}


def window(settings: Settings) -> Window:
    """This process's window on the venue of these settings, opened at the first call."""
    key = (settings.venue, settings.trading_url, settings.key_id, settings.secret_key)
    with _opening:
        return _open.get(key) or _open.setdefault(key, Window(settings))


def _handler(window: Window) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60  # a connection nobody uses

        def do_GET(self) -> None:
            self._answer(*window.look(self.path, self.headers.get("APCA-API-SECRET-KEY", "")))

        def do_POST(self) -> None:
            self.close_connection = True  # its body is not read
            self._answer(*_refusal(405, "a playbook's run only reads; act by the command, or in make lab."))

        do_PUT = do_PATCH = do_DELETE = do_POST

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nothing: the venue's paths name the account's orders."""

    return Handler


def _refusal(status: int, message: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()
