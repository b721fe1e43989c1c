"""Real receivers on loopback: a Slack-shaped webhook and a mail server, each of which can be told to misbehave."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


class Slack(ThreadingHTTPServer):
    """`with Slack() as slack:` an incoming webhook at `slack.url`; `texts` is what it took.

    `answers` are statuses (or (status, headers)) given to the next posts before it behaves; `hang` is an event to wait
    for before answering; `quotes` makes its refusals quote the address.
    """

    daemon_threads = True

    def __init__(self, port=0):
        self.bodies, self.texts, self.answers, self.hang, self.quotes = [], [], [], None, False
        super().__init__(("127.0.0.1", port), _Post)
        self.url = f"http://127.0.0.1:{self.server_port}/services/T0/B0/canary-slack-secret"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        if self.hang is not None:
            self.hang.set()
        self.shutdown()
        self.server_close()


class _Post(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.bodies.append((self.path, self.headers["Content-Type"], body))
        if server.hang is not None:
            server.hang.wait(30)
            return
        status, headers = 200, {}
        if server.answers:
            answer = server.answers.pop(0)
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
        else:
            server.texts.append(body.get("text") or body.get("message"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        refusal = f"Cannot POST {self.path}" if server.quotes else "no_service <script>"
        self.wfile.write(b"ok" if status == 200 else refusal.encode())

    def log_message(self, *_):
        pass


class MailBox:
    """`with MailBox() as box:` a mail server on `box.port`; `box.mails` are (recipients, message bytes) it took.

    `refused` has its answers to recipients it does not take. `tls` is a server's SSL context: it speaks TLS from the
    first byte, or with `starttls` insists on it before a login.
    """

    def __init__(self, user="", password="", tls=None, starttls=False):
        self.mails, self.answers, self.refused = [], [], {}
        options = {"hostname": "127.0.0.1", "port": 0}
        if user:
            options |= {
                "authenticator": lambda *a: _auth(a[-1].login == user.encode() and a[-1].password == password.encode()),
                "auth_require_tls": False,
                "auth_required": True,
            }
        if tls is not None:
            options |= {"tls_context": tls, "require_starttls": True} if starttls else {"ssl_context": tls}
        self._controller = _Free(self, **options)

    def __enter__(self):
        self._controller.start()
        self.port = self._controller.port
        return self

    def __exit__(self, *_):
        self._controller.stop()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.answers:
            return self.answers.pop(0)
        self.mails.append((list(envelope.rcpt_tos), envelope.content))
        return "250 taken"


class _Free(Controller):
    """On a free port: aiosmtpd asks itself at the configured one whether it listens."""

    def factory(self):
        return SMTP(self.handler, **self.SMTP_kwargs)

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def _auth(right):
    from aiosmtpd.smtp import AuthResult

    return AuthResult(success=right, handled=False)
