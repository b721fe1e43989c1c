"""What a message says: one text for chat, one mail with the report's table and images in it and its page attached."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from athena.config import Settings
from athena.core.channels import SLACK_MAX

_HEADS = {"info": "ℹ️ ATHENA", "warning": "⚠️ ATHENA WARNING", "critical": "🚨 ATHENA CRITICAL"}
_COLOURS = {"info": "#1f5fa8", "warning": "#8a5a00", "critical": "#b3261e"}
_SCRIPT = re.compile(r'<script\b([^>]*?)\ssrc="\.\./assets/([\w.-]+)"([^>]*)></script>')
MAY_REPEAT = "This may be a repeat: nobody knows whether it arrived before."


@dataclass(frozen=True)
class Message:
    """One notification as queued; `page` and `mail` are files of a published report, or empty."""

    id: str
    severity: str
    title: str
    body: str
    at: datetime
    page: str = ""
    mail: str = ""
    repeat: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, repeat: bool = False) -> Message:
        at = datetime.fromisoformat(row["at"])
        texts = (row["title"], row["body"], at, row["page"] or "", row["mail"] or "")
        return cls(row["notification_id"], row["severity"], *texts, repeat=repeat)


def writable(text: str) -> str:
    """The text with question marks for what is no character: bytes of another encoding, from a command line."""
    return text.encode(errors="replace").decode()


def one_line(text: str, limit: int = 200) -> str:
    """The text without line breaks and control characters, cut with an ellipsis."""
    flat = " ".join(re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", writable(text)).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def subject(message: Message, settings: Settings) -> str:
    """The subject of a mail: how grave, what, and of which live system."""
    return f"{_HEADS[message.severity].split(' ', 1)[1]}: {message.title} [{settings.account_name}]"


def paragraphs(message: Message, settings: Settings) -> list[str]:
    """The message after its head line: body, page, what it is about, contacts where it is critical."""
    said = [message.body] if message.body else []
    said += [f"Page: {link(message.page, settings)}"] if message.page else []
    about = f"{settings.account_name}, venue {settings.venue.upper()}, {message.at:%Y-%m-%d %H:%M:%S} UTC"
    said.append(f"{about}. {MAY_REPEAT}" if message.repeat else about)
    if message.severity == "critical":
        said.append("\n".join(["Contacts", *map(str, settings.contacts)]))
    return said


def chat(message: Message, settings: Settings) -> str:
    """The text for Slack. Its mark-up characters are escaped: alert text is not ours, and <!channel> wakes everyone.

    What Slack would cut off is cut from the body, so that page and contacts are always there.
    """
    said = [f"{_HEADS[message.severity]}: {message.title}", *paragraphs(message, settings)]
    said = [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in said]
    over = len("\n".join(said)) - SLACK_MAX
    if over > 0 and message.body:
        said[1] = re.sub(r"&\w*$", "", said[1][: -over - 1]) + "…"
    return "\n".join(said)


def link(page: str, settings: Settings) -> str:
    """Where people find a page: under reports_url, else its path on this machine."""
    base = settings.notifications.reports_url
    if not base:
        return page
    try:
        relative = Path(page).resolve().relative_to(settings.reports.resolve())
    except ValueError:
        return page
    return f"{base.rstrip('/')}/{quote(relative.as_posix())}"


def mail(message: Message, settings: Settings, to: Sequence[str]) -> EmailMessage:
    """The message as mail: the report's own mail with the alert above its verdict, its page attached; or plain."""
    made = _report(message.mail)
    said = paragraphs(message, settings)
    if made is None:
        made = EmailMessage()
        made.set_content("\n\n".join([message.title, *said]) + "\n")
        made.add_alternative(_alone(message, said), subtype="html")
    else:
        _above(made, message, said)
    for header in ("Subject", "From", "To", "Message-ID", "Date"):
        del made[header]
    made["Subject"] = subject(message, settings)
    made["From"] = settings.notifications.email_from
    made["To"] = ", ".join(to)
    made["Date"] = message.at
    made["Message-ID"] = f"<{message.id}@{settings.account_name}.athena>"  # a repeat is recognised as one
    if message.severity == "critical":
        made["X-Priority"] = "1"
    _attach(made, message.page)
    return made


def _report(path: str) -> EmailMessage | None:
    if not path:
        return None
    try:
        found = message_from_bytes(Path(path).read_bytes(), policy=policy.default)
    except OSError:  # pruned meanwhile; the message says the same in words
        return None
    return found if isinstance(found, EmailMessage) and found.get_body(("html",)) is not None else None


def _above(made: EmailMessage, message: Message, said: list[str]) -> None:
    """Puts the alert over the report, in both of its bodies."""
    plain, html = made.get_body(("plain",)), made.get_body(("html",))
    if plain is not None:
        _rewrite(plain, "\n\n".join([message.title, *said, plain.get_content()]), "plain")
    if html is not None:
        page = html.get_content()
        if 'class="contacts"' in page:  # the report has them already
            said = [text for text in said if not text.startswith("Contacts\n")]
        _rewrite(html, re.sub(r"<body[^>]*>", lambda found: found[0] + _block(message, said), page, count=1), "html")


def _rewrite(part: MIMEPart, text: str, kind: str) -> None:
    identity = part["Content-ID"]
    part.set_content(text, subtype=kind, charset="utf-8")
    if identity:
        part["Content-ID"] = identity


def _block(message: Message, said: list[str]) -> str:
    colour = _COLOURS[message.severity]
    lines = "".join(f'<p style="margin:6px 0;white-space:pre-line">{escape(text)}</p>' for text in said)
    return (
        f'<div style="border-left:4px solid {colour};padding:2px 12px;margin:0 0 16px;overflow-wrap:anywhere">'
        f'<p style="margin:4px 0;font-size:17px;font-weight:bold;color:{colour}">{escape(message.title)}</p>'
        f"{lines}</div>"
    )


def _alone(message: Message, said: list[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body style="margin:0;padding:16px;'
        f'font-family:system-ui,sans-serif;font-size:14px;line-height:1.45">{_block(message, said)}</body></html>'
    )


def _attach(made: EmailMessage, page: str) -> None:
    """The page as one file that opens by itself: the script that all pages share is put into it."""
    if not page:
        return
    path = Path(page)
    try:
        text = path.read_text(encoding="utf-8")
        text = _SCRIPT.sub(lambda found: _inline(found, path.parent.parent / "assets"), text)
    except (OSError, UnicodeDecodeError):
        return
    made.add_attachment(text.encode(), maintype="text", subtype="html", filename=path.name)


def _inline(found: re.Match[str], assets: Path) -> str:
    script = (assets / found[2]).read_text(encoding="utf-8")
    return f"<script{found[1]}{found[3]}>{script}</script>"
