"""Mail over TLS, received: from the first byte as on port 465, and by STARTTLS; by a certificate that holds.

And Slack's https behind a proxy, which may be gone, refuse, or break off with the message.
"""

import socket
import ssl
import subprocess
import threading
from dataclasses import replace

import pytest

from athena.core.channels import Fate, post_slack
from athena.core.delivery import Courier
from athena.core.notifications import notify
from tests.support.programs import require
from tests.support.receivers import MailBox


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes a self-signed certificate for a name; its file and a server's context with it."""

    def make(name):
        folder = tmp_path_factory.mktemp("certificate")
        key, made = folder / "key.pem", folder / "certificate.pem"
        command = [
            require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=mail", "-addext", f"subjectAltName={name}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made, key)
        return made, context

    return make


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")  # it is on loopback
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_mail_is_taken_over_tls_by_a_server_whose_certificate_holds_and_by_no_other(
    settings, journal, monkeypatch, certificate, security
):
    """Authority and name are checked: unknown, or for another host, and nothing is handed over, the password least."""
    trusted, context = certificate("IP:127.0.0.1")
    other, elsewhere = certificate("DNS:mail.company.com")
    environment = {"ATHENA_SMTP_PASSWORD": "s3cret"}

    def deliver(box):
        set_up = replace(settings.notifications, smtp_port=box.port, smtp_security=security, smtp_user="athena")
        there = replace(settings, notifications=set_up)
        notify(there, severity="warning", title="Slippage is high", journal=journal, environment=environment)
        [one, *_] = Courier(there, journal, environment).deliver()
        return one

    for authority, server, why in ((None, context, "self-signed"), (other, elsewhere, "IP address mismatch")):
        if authority is not None:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with MailBox("athena", "s3cret", tls=server, starttls=security == "starttls") as box:
            one = deliver(box)
        assert (one.status, box.mails) == ("queued", [])
        assert "its certificate does not hold" in one.told
        assert why in one.told
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with MailBox("athena", "s3cret", tls=context, starttls=security == "starttls") as box:
        one = deliver(box)
        assert one.status == "sent", one.told
        [(recipients, content)] = box.mails
    assert recipients == ["desk@company.com", "risk@company.com"]
    assert b"Slippage is high" in content


def test_a_proxy_that_is_gone_is_tried_on_and_one_that_breaks_off_with_the_message_is_in_doubt(
    monkeypatch, certificate
):
    """Not reached, or no tunnel: certainly not sent, so tried for a day. Cut after the post: it may have arrived."""
    trusted, context = certificate("DNS:hooks.slack.invalid")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    monkeypatch.setenv("no_proxy", "")
    posts = []

    def proxy(server, answer):
        with server.accept()[0] as client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 " + answer + b"\r\n\r\n")
            if answer.startswith(b"200"):
                with context.wrap_socket(client, server_side=True) as secured:
                    posts.append(secured.recv(4096))

    def post(answer=b""):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            working = threading.Thread(target=proxy, args=(server, answer), daemon=True)
            if answer:
                working.start()
            else:
                server.close()
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
            outcome = post_slack("https://hooks.slack.invalid/services/T0/B0/canary", "hi", 10)
            if answer:
                working.join(10)
            return outcome

    for gone in (post(), post(b"407 Proxy Authentication Required")):
        assert gone.fate is Fate.LATER
        assert "the proxy is not there, or refuses" in gone.told
    assert posts == []
    assert post(b"200 OK").fate is Fate.UNSURE
    assert posts[0].startswith(b"POST /services/")
