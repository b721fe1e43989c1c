"""How a message leaves the machine: Slack-shaped webhooks and mail (and `channel_apprise`). Each says what came of it.

Secrets are read from the environment at the moment of sending and appear in no outcome, log or repr.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import getaddresses
from enum import StrEnum
from urllib.parse import urlsplit

from athena.config_tables import Notifications

SLACK_VARIABLE, PASSWORD_VARIABLE, APPRISE_PREFIX = "SLACK_WEBHOOK_URL", "ATHENA_SMTP_PASSWORD", "ATHENA_APPRISE_"
SLACK_MAX = 3_500  # characters; longer texts are cut by Slack without a word
_ANSWER_BYTES = 300
_SECRET_MIN = 6  # characters; shorter parts of an address are words such as T0 or hooks
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Fate(StrEnum):
    """What became of one attempt."""

    SENT = "sent"
    LATER = "later"  # certainly not delivered; worth another try
    REFUSED = "refused"  # certainly not delivered, and the same message will not be
    UNSURE = "unsure"  # it was handed over and no answer came: it may have arrived


@dataclass(frozen=True)
class Outcome:
    """One attempt's fate in words; `retry_after_seconds` where the receiver asked for a pause.

    left_out: where it was sent, the recipients of a mail that the server did not take it for, and what it said of each.
    """

    fate: Fate
    told: str
    retry_after_seconds: float | None = None
    left_out: tuple[tuple[str, Outcome], ...] = ()


def apprise_variable(channel: str) -> str:
    """The environment variable with the Apprise address of a named channel: pager is ATHENA_APPRISE_PAGER."""
    return APPRISE_PREFIX + channel.upper()


def set_up(notifications: Notifications, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The channels that could send from here: slack, email, and those with an ATHENA_APPRISE_ address."""
    found = ["slack"] if environment.get(SLACK_VARIABLE) else []
    found += ["email"] if notifications.smtp_host and notifications.email_to else []
    names = sorted(name for name, value in environment.items() if name.startswith(APPRISE_PREFIX) and value)
    return (*found, *(name.removeprefix(APPRISE_PREFIX).lower() for name in names))


def missing(channel: str, notifications: Notifications, environment: Mapping[str, str]) -> str:
    """What must be set before `channel` can send; "" when nothing is missing."""
    if channel == "slack":
        return "" if environment.get(SLACK_VARIABLE) else f"{SLACK_VARIABLE} is not set"
    if channel == "email":
        wanted = {"smtp_host": notifications.smtp_host, "email_to": notifications.email_to}
        return "; ".join(f"notifications.{name} is not set" for name, value in wanted.items() if not value)
    return "" if environment.get(apprise_variable(channel)) else f"{apprise_variable(channel)} is not set"


def post_slack(url: str, text: str, timeout_seconds: float) -> Outcome:
    """POST {"text": text} as Slack's incoming webhooks take it; `text` is Slack's own mark-up."""
    import requests

    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        return Outcome(Fate.REFUSED, f"{SLACK_VARIABLE} is no https:// address")
    try:
        answer = requests.post(
            url, json={"text": text[:SLACK_MAX]}, timeout=timeout_seconds, allow_redirects=False, stream=True
        )
    except requests.exceptions.ConnectTimeout:
        return Outcome(Fate.LATER, f"Slack cannot be reached: no connection within {timeout_seconds:g} s")
    except requests.exceptions.ReadTimeout:
        return Outcome(Fate.UNSURE, f"Slack took the message and did not answer within {timeout_seconds:g} s")
    except requests.exceptions.SSLError:
        return Outcome(Fate.LATER, "Slack's certificate does not hold")
    except requests.exceptions.ConnectionError as error:
        if _never_connected(error):
            proxied = isinstance(error, requests.exceptions.ProxyError)
            why = "the proxy is not there, or refuses" if proxied else "connection refused or no such host"
            return Outcome(Fate.LATER, f"Slack cannot be reached: {why}")
        return Outcome(Fate.UNSURE, "Slack broke the connection before it answered")
    except (requests.exceptions.RequestException, ValueError) as error:  # an address that is none
        return Outcome(Fate.REFUSED, f"{SLACK_VARIABLE} cannot be used ({type(error).__name__})")
    with answer:
        return _answered(answer.status_code, answer.headers.get("Retry-After", ""), _said(answer, url))


def _never_connected(error: BaseException) -> bool:
    """Whether no request left: urllib3 tells a proxy that cannot be reached as one that broke off with the message."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, ProxyError):
        reason = reason.original_error
    never = isinstance(reason, (NewConnectionError, ConnectTimeoutError, SSLError))
    return never or str(reason).startswith("Tunnel connection failed")


def _said(answer: object, url: str) -> str:
    """The first words of an answer, on one line; the address, which is a secret, is struck where it is quoted."""
    try:
        found: bytes = next(answer.iter_content(_ANSWER_BYTES + len(url)), b"")  # type: ignore[attr-defined]
    except Exception:  # the status alone is the answer; its body may be cut
        return ""
    text, parts = found.decode(errors="replace"), urlsplit(url)
    for secret in sorted({url, parts.path, parts.query, *parts.path.split("/")}, key=len, reverse=True):
        text = text.replace(secret, "…") if len(secret) >= _SECRET_MIN else text
    return re.sub(r"[^\x20-\x7e…]+", " ", text).strip()[:_ANSWER_BYTES]


def _answered(status: int, retry_after: str, said: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome(Fate.SENT, f"Slack took it ({status})")
    told = f"Slack answered {status}{f': {said}' if said else ''}"
    if status == 429 or status >= 500 or status == 408:
        wait = float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()) else None
        return Outcome(Fate.LATER, told, wait)
    return Outcome(Fate.REFUSED, told)


def send_mail(mail: EmailMessage, notifications: Notifications, password: str) -> Outcome:
    """Hand one message to the mail server of the settings; its To names the recipients."""
    to = [address for _, address in getaddresses(mail.get_all("To", []))]
    server = f"{notifications.smtp_host}:{notifications.smtp_port}"
    try:
        smtp = _connect(notifications, password)
    except smtplib.SMTPAuthenticationError as error:
        return Outcome(Fate.LATER, f"{server} refused the user or ATHENA_SMTP_PASSWORD ({error.smtp_code})")
    except smtplib.SMTPNotSupportedError:
        return Outcome(Fate.LATER, f"{server} does not offer what smtp_security or smtp_user asks for")
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(Fate.LATER, f"{server} cannot be used: {_words(error)}")
    try:
        return _hand_over(smtp, mail, notifications.email_from, to, server)
    finally:
        smtp.close()


def _connect(notifications: Notifications, password: str) -> smtplib.SMTP:
    host, port, limit = notifications.smtp_host, notifications.smtp_port, notifications.timeout_seconds
    context = ssl.create_default_context()
    if notifications.smtp_security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=limit, context=context)
    else:
        smtp = smtplib.SMTP(host, port, timeout=limit)
    try:
        if notifications.smtp_security == "starttls":
            smtp.starttls(context=context)
        if notifications.smtp_user:
            smtp.login(notifications.smtp_user, password)
        return smtp
    except BaseException:
        smtp.close()
        raise


def _hand_over(smtp: smtplib.SMTP, mail: EmailMessage, sender: str, to: list[str], server: str) -> Outcome:
    """The envelope and the message. Only a message that was sent whole and not answered is unsure."""
    import email.policy

    try:
        smtp.ehlo_or_helo_if_needed()
        code, said = smtp.mail(sender)
        if code != 250:
            return _smtp(server, "MAIL", code, said)
        refused = {address: answer for address in to if (answer := smtp.rcpt(address))[0] not in (250, 251)}
        if len(refused) == len(to):
            soonest = min(to, key=lambda address: refused[address][0], default="")  # 450 may be taken later, 550 not
            return _smtp(server, f"for {soonest}", *refused[soonest]) if to else Outcome(Fate.REFUSED, "no recipient")
        code, said = smtp.docmd("DATA")
        if code != 354:
            return _smtp(server, "DATA", code, said)
        data = mail.as_bytes(policy=email.policy.SMTP)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(Fate.LATER, f"{server} broke off before the message: {_words(error)}")
    try:
        smtp.send(re.sub(rb"(?m)^\.", b"..", data) + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"))
        code, said = smtp.getreply()
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(Fate.UNSURE, f"{server} did not answer after the message: {_words(error)}")
    if code != 250:
        return _smtp(server, "the message", code, said)
    try:
        smtp.quit()
    except (OSError, smtplib.SMTPException):
        pass  # it has the message already
    told = "".join(f"; not for {address} ({answer[0]})" for address, answer in refused.items())
    left_out = tuple((address, _smtp(server, f"for {address}", *answer)) for address, answer in refused.items())
    return Outcome(Fate.SENT, f"{server} took it{told}", left_out=left_out)


def _smtp(server: str, what: str, code: int, said: bytes) -> Outcome:
    words = re.sub(r"[^\x20-\x7e]+", " ", said.decode(errors="replace"))[:_ANSWER_BYTES]
    return Outcome(Fate.REFUSED if code >= 500 else Fate.LATER, f"{server} answered {code} ({what}): {words}")


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}; SSL_CERT_FILE may name an authority of your own"
    return str(getattr(error, "strerror", None) or type(error).__name__)
