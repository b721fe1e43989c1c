"""`athena send-alert` and `athena notifications`: tell people, and see what was told, what waits and what is dead."""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.config_tables import SEVERITIES
from athena.core import channels, outbox
from athena.core.delivery import Courier, Delivered
from athena.core.message import one_line
from athena.core.notifications import notify, send_email
from athena.errors import JournalError, NotificationError, SettingsError
from athena.journal.journal import Journal
from athena.live.vitals import age
from athena.ops.health import EXIT_CODES, words

COMPONENT = "courier"  # its heartbeat: {"sent", "problem"}
POLL_SECONDS, BEAT_SECONDS = 1.0, 5.0
_WORDS = {"queued": "waits", "sending": "on its way", "sent": "sent", "dead": "DEAD", "dismissed": "dismissed"}


def send_alert(settings: Settings, arguments: argparse.Namespace) -> int:
    """Queue a message, try to deliver it at once, and say what came of it on each channel."""
    text = " ".join(arguments.words).strip()
    if not text:
        raise SettingsError("send-alert needs a message.", 'For example: athena send-alert "Guard violation detected"')
    if arguments.to and arguments.key:
        raise SettingsError(
            "--to sends at once, whatever was sent before: --key means nothing to it.", "Leave one out."
        )
    if arguments.to:
        told = send_email(arguments.to, arguments.title or one_line(text), text, settings=settings)
        print(json.dumps({"sent": True, "told": told}) if arguments.json else f"sent    email    {told}")
        return 0
    title, body = (arguments.title, text) if arguments.title else (one_line(text), text if len(text) > 200 else "")
    made = notify(settings, severity=arguments.severity, title=title, body=body, dedup_key=arguments.key or None)
    if not (made.channels or made.repeated):
        raise SettingsError(
            "no channel is set up, so the message is in the journal and reached nobody.",
            f"Set {channels.SLACK_VARIABLE}, or smtp_host and email_to in [notifications] of athena.toml.",
        )
    if made.sent_at_once or made.repeated:
        print(json.dumps({"id": made.id, "repeated": made.repeated}) if arguments.json else repr(made))
        return 0
    with Journal.open(settings.journal_path, f"send-alert {settings.operator}") as journal:
        Courier(settings, journal, os.environ).deliver()
        rows = [row for row in outbox.deliveries(journal) if row["notification_id"] == made.id]
    if arguments.json:
        print(json.dumps({"id": made.id, "deliveries": [_plain(row) for row in rows]}))
    else:
        for row in rows:
            print(f"{_WORDS[row['status']]:<10} {row['channel']:<8} {row['error'] or ''}".rstrip())
        if any(row["status"] == "queued" for row in rows):
            print("  next: it is tried again by athena schedule, athena alerts serve or athena notifications deliver")
    return _exit_code(rows)


def notifications(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the outbox, deliver what is due, make dead letters due again, or put them away."""
    if arguments.action == "dismiss":
        return _dismiss(settings, arguments)
    if arguments.reason:
        raise SettingsError("only dismiss takes a reason.", "athena notifications dismiss ID... --reason WHY")
    if arguments.action == "retry":
        return _retry(settings, arguments)
    if arguments.ids:
        raise SettingsError(f"'{arguments.ids[0]}' is too much here.", "athena notifications retry ID...")
    if arguments.action == "deliver":
        return _deliver(settings, arguments)
    with Journal.open(settings.journal_path, "notifications", read_only=True) as journal:
        status = ("dead",) if arguments.dead else ("queued", "sending") if arguments.waiting else ()
        rows, state = outbox.deliveries(journal, status=status, last=arguments.last), outbox.state(journal)
    set_up = channels.set_up(settings.notifications, os.environ)
    if arguments.json:
        told = {"waiting": state.waiting, "dead": state.dead, "channels": list(set_up)}
        print(json.dumps(told | {"deliveries": [_plain(row) for row in rows]}))
        return _state_code(state)
    dead = f"[red bold]{state.dead} dead[/]" if state.dead else "none dead"
    head = f"{state.waiting} waiting, {dead}; channels set up here: {', '.join(set_up) or '[yellow]none[/]'}"
    _table(head, rows)
    if state.dead:
        print(
            "  next: mend the channel, then athena notifications retry all; what need not arrive: dismiss ID --reason"
        )
    return _state_code(state)


def follow(courier: Courier, journal: Journal, stop: threading.Event, tell: Callable[[Delivered | str], None]) -> None:
    """Deliver until `stop`: a pass a second, a heartbeat every five. What keeps it from delivering is said once.

    A hanging channel is not waited for, so that it delays no message of another.
    """
    sent, told, beats = 0, "", BEAT_SECONDS
    while not stop.is_set():
        problem = ""
        try:
            for one in courier.deliver(POLL_SECONDS):
                sent += one.status == "sent"
                tell(one)
            if beats >= BEAT_SECONDS:
                journal.heartbeat(COMPONENT, {"sent": sent, "problem": ""})
                beats = 0.0
        except JournalError as error:
            problem = f"nothing can be delivered: {error}"
        except Exception as error:  # no memory for a thread: whoever waits for messages must not wait for ever
            problem = f"nothing can be delivered: {type(error).__name__}: {error}"
        if problem and problem != told:
            tell(problem)
        told = problem
        stop.wait(POLL_SECONDS)
        beats += POLL_SECONDS
    with suppress(JournalError):
        for one in courier.close():
            tell(one)


def warn_if_nobody_is_told(settings: Settings, tell: Callable[[str], None]) -> None:
    """Says it where whatever is found out here would reach nobody: no channel is set up or asked for."""
    asked_for = any(settings.notifications.channels(severity) for severity in SEVERITIES)
    if not asked_for and not channels.set_up(settings.notifications, os.environ):
        tell(f"NOBODY IS TOLD: no channel is set up. Set {channels.SLACK_VARIABLE}, or smtp_host and email_to")


def _deliver(settings: Settings, arguments: argparse.Namespace) -> int:
    def tell(one: Delivered | str) -> None:
        print(json.dumps(vars(one)) if arguments.json and isinstance(one, Delivered) else one, flush=True)

    with Journal.open(settings.journal_path, f"courier {settings.operator}") as journal:
        courier = Courier(settings, journal, os.environ)
        if arguments.follow:
            follow(courier, journal, threading.Event(), tell)
        done = courier.deliver()
        for one in done:
            tell(one)
        state = outbox.state(journal)
    if not done and not arguments.json:
        print(f"nothing is due; {state.waiting} waiting, {state.dead} dead")
    return _state_code(state) if done else 0


def _chosen(journal: Journal, arguments: argparse.Namespace) -> list[str]:
    """The deliveries that are named, or every dead letter. Raises SettingsError where one neither waits nor is dead."""
    action = arguments.action
    if not arguments.ids:
        raise SettingsError(f"{action} needs to know what.", f"athena notifications {action} ID..., or {action} all")
    dead = [row["id"] for row in outbox.deliveries(journal, status=("dead",), last=10_000)]
    waiting = [row["id"] for row in outbox.deliveries(journal, status=("queued",), last=10_000)]
    if arguments.ids == ["all"]:
        return dead
    for identity in arguments.ids:
        if identity not in (*dead, *waiting):
            raise SettingsError(
                f"'{identity}' neither waits nor is dead. NOTHING WAS DONE.", "athena notifications lists them."
            )
    return list(arguments.ids)


def _dismiss(settings: Settings, arguments: argparse.Namespace) -> int:
    if not arguments.reason.strip():
        raise SettingsError(
            "dismiss needs a reason. NOTHING WAS DONE.",
            'For example: athena notifications dismiss ID --reason "it is in the channel, twice"',
        )
    with Journal.open(settings.journal_path, f"operator {settings.operator}") as journal:
        chosen = _chosen(journal, arguments)
        outbox.dismiss(journal, chosen, settings.operator, one_line(arguments.reason))
        rows = [row for row in outbox.deliveries(journal, last=10_000) if row["id"] in chosen]
    if arguments.json:
        print(json.dumps({"deliveries": [_plain(row) for row in rows]}))
    else:
        print("\n".join(f"{_WORDS[row['status']]:<10} {row['id']}" for row in rows) or "nothing is dead")
    return _exit_code(rows)


def _retry(settings: Settings, arguments: argparse.Namespace) -> int:
    with Journal.open(settings.journal_path, f"operator {settings.operator}") as journal:
        chosen = _chosen(journal, arguments)
        outbox.retry(journal, chosen, settings.operator)
        done = Courier(settings, journal, os.environ).deliver() if chosen else []
        rows = [row for row in outbox.deliveries(journal, last=10_000) if row["id"] in chosen]
    if arguments.json:
        print(json.dumps({"retried": chosen, "attempted": [vars(one) for one in done]}))
    else:
        print("\n".join(map(str, done)) or ("nothing is dead" if not chosen else "due now"))
    return _exit_code(rows)


def _table(head: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(head)
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("delivery", "", "age", "severity", "message"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"delivery", "age"})
    for row in rows:
        colour = {"dead": "red", "sent": "green", "dismissed": "dim"}.get(row["status"], "yellow")
        why = f"\n[dim]{escape(row['error'])}[/]" if row["error"] else ""
        state = f"[{colour}]{_WORDS[row['status']]}[/]"
        said = escape(one_line(row["title"], 120)) + why
        table.add_row(row["id"], state, words(age(datetime.fromisoformat(row["at"]))), row["severity"], said)
    console.print(table)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    wanted = ("id", "channel", "status", "severity", "title", "at", "attempts", "next_at", "finished_at", "error")
    return {name: row[name] for name in wanted}


def _exit_code(rows: list[dict[str, Any]]) -> int:
    states = {row["status"] for row in rows}
    if "dead" in states:
        return NotificationError.exit_code
    return EXIT_CODES[Verdict.ATTENTION] if states & {"queued", "sending"} else 0


def _state_code(state: outbox.OutboxState) -> int:
    return NotificationError.exit_code if state.dead else EXIT_CODES[Verdict.ATTENTION] if state.waiting else 0
