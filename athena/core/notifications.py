"""Telling people: `notify` queues a message that will arrive, `send_email` and `send_slack` send one now.

    notify(settings, severity="critical", title="Daily loss limit reached", dedup_key="loss 2020-03-09", run=run)

`notify` writes to the journal and returns; whoever runs a `Courier` (athena schedule, athena alerts serve, athena
notifications --deliver) sends. Where the journal cannot be written, a critical message is sent at once instead.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

from athena.config import Settings
from athena.config_tables import SEVERITIES, addresses
from athena.core import channels, outbox
from athena.core.channels import Fate, Outcome
from athena.core.delivery import Delivered, past_the_journal
from athena.core.message import Message, one_line, writable
from athena.errors import JournalError, NotificationError, SettingsError, did_you_mean
from athena.journal.journal import Journal, Transaction

BODY_MAX = 8_000
_told_at_once: set[str] = set()  # keys of this process that were sent past the journal


class Page(Protocol):
    """What a message needs of a playbook's run."""

    @property
    def name(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def succeeded(self) -> bool: ...
    @property
    def error(self) -> str: ...
    @property
    def html(self) -> Path: ...
    @property
    def email(self) -> Path | None: ...


@dataclass(frozen=True)
class Notification:
    """What came of `notify`: queued, a repeat of one queued before, or sent past a journal that cannot be written."""

    id: str
    severity: str
    title: str
    channels: tuple[str, ...]
    repeated: bool = False
    sent_at_once: tuple[Delivered, ...] = ()

    def __repr__(self) -> str:
        if self.repeated:
            return f"<Notification {self.id} was queued before: {self.title}>"
        if self.sent_at_once:
            return f"<Notification past the journal: {'; '.join(map(str, self.sent_at_once))}>"
        where = ", ".join(self.channels) or "nowhere: no channel is set up"
        return f"<Notification {self.id} {self.severity} queued for {where}: {self.title}>"


def notify(
    settings: Settings, *, severity: str, title: str, body: str = "", dedup_key: str | None = None,
    run: Page | None = None, page: Path | str | None = None, mail: Path | str | None = None,
    journal: Journal | None = None, tx: Transaction | None = None, environment: Mapping[str, str] | None = None,
) -> Notification:  # fmt: skip
    """Queue a message for every channel of its severity; it is durable when this returns.

    dedup_key: a message with a key used before is not queued again, ever: put into it what makes the message one, such
    as an alert's fingerprint and start. run: adds a playbook's verdict, its page and its mail; page and mail: the same
    by path. tx: queue within the transaction of the cause; journal: an open one to use. Texts may be anything: they
    are escaped where they are shown. Raises SettingsError on a wrong severity or an empty title, JournalError where
    the journal cannot be written and the message is not critical or could not be sent at once either.
    """
    if severity not in SEVERITIES:
        hint = did_you_mean(severity, SEVERITIES)
        raise SettingsError(f"severity is '{severity}'; it is one of {', '.join(SEVERITIES)}.", hint)
    title = one_line(title)
    if not title:
        raise SettingsError("a message needs a title.")
    environment = os.environ if environment is None else environment
    if run is not None:
        body, page, mail = "\n\n".join(filter(None, (_verdict(run), body))), page or run.html, mail or run.email
    body = writable(body)
    body = body if len(body) <= BODY_MAX else body[: BODY_MAX - 1] + "…"
    files = {name: str(Path(path).resolve()) if path else "" for name, path in (("page", page), ("mail", mail))}
    chosen = settings.notifications.channels(severity)
    to = channels.set_up(settings.notifications, environment) if chosen is None else chosen

    def put(tx: Transaction) -> Notification:
        identity, new = outbox.queue(
            tx, severity=severity, title=title, body=body, channels=to, dedup_key=dedup_key, **files
        )
        return Notification(identity, severity, title, to, repeated=not new)

    if tx is not None:
        return put(tx)
    try:
        if journal is not None:
            with journal.transaction() as own:
                return put(own)
        with Journal.open(settings.journal_path, f"notify {settings.operator}") as opened, opened.transaction() as own:
            return put(own)
    except JournalError as error:
        if severity != "critical" or not to:
            raise
        now = Message(
            f"unrecorded-{secrets.token_hex(4)}", severity, title, body, datetime.now(UTC), files["page"], files["mail"]
        )
        told = Notification(now.id, severity, title, to)
        return _at_once(settings, now, told, dedup_key, error, environment)


def send_email(to: str | list[str], subject: str, body: str, *, settings: Settings | None = None) -> str:
    """Send one mail now, and return what the mail server said; a failure is raised, never returned.

    to: an address, several with commas, or a list. Raises SettingsError where no mail server is set or an address is
    none, NotificationError where the mail was not sent, or nobody knows.
    """
    settings = settings or Settings.load()
    recipients = addresses("to", to)
    if not settings.notifications.smtp_host:
        raise SettingsError(
            "no mail server is set, so nothing was sent.",
            'In athena.toml: [notifications] smtp_host = "mail.company.com", smtp_user = "athena"; '
            f"the password in {channels.PASSWORD_VARIABLE}.",
        )
    mail = EmailMessage()
    mail["Subject"], mail["From"] = one_line(subject), settings.notifications.email_from
    mail["To"], mail["Date"] = ", ".join(recipients), datetime.now(UTC)
    mail.set_content(writable(body))
    outcome = channels.send_mail(mail, settings.notifications, os.environ.get(channels.PASSWORD_VARIABLE, ""))
    return _or_raise(outcome)


def send_slack(text: str, *, settings: Settings | None = None) -> str:
    """Post {"text": text} to SLACK_WEBHOOK_URL now, and return what Slack said; a failure is raised.

    Raises SettingsError where SLACK_WEBHOOK_URL is not set, NotificationError where it was not posted or nobody knows.
    """
    settings = settings or Settings.load()
    url = os.environ.get(channels.SLACK_VARIABLE, "")
    if not url:
        raise SettingsError(
            f"{channels.SLACK_VARIABLE} is not set, so nothing was sent.",
            "Make an incoming webhook in Slack and put its address into that variable; never into a file.",
        )
    return _or_raise(channels.post_slack(url, text, settings.notifications.timeout_seconds))


def _or_raise(outcome: Outcome) -> str:
    if outcome.fate is Fate.SENT:
        return outcome.told
    doubt = "It may have arrived: look before you send it again." if outcome.fate is Fate.UNSURE else ""
    raise NotificationError(f"{outcome.told}.", doubt or "Nothing was sent. athena send-alert queues it and tries on.")


def _verdict(run: Page) -> str:
    if not run.succeeded:
        return f"{run.name.replace('_', ' ')} FAILED: {run.error}"
    return f"{run.verdict}: {run.reason}\nNext: {run.action}" if run.action else f"{run.verdict}: {run.reason}"


def _at_once(settings: Settings, now: Message, told: Notification, key: str | None, why: JournalError,
             environment: Mapping[str, str]) -> Notification:  # fmt: skip
    """A critical message although the journal cannot be written: the full disk may be what it is about."""
    if key is not None and key in _told_at_once:
        return replace(told, repeated=True)
    sent = past_the_journal(settings, now, told.channels, environment)
    if not any(one.status in {Fate.SENT, Fate.UNSURE} for one in sent):
        words = "; ".join(f"{one.channel}: {one.told}" for one in sent)
        raise JournalError(f"the message was neither recorded nor sent. {why.message} {words}.", why.hint) from why
    if key is not None:
        _told_at_once.add(key)
    return replace(told, sent_at_once=tuple(sent))
