"""The parts around the engine, judged for health-check: metrics, alerts, messages, schedule, backups, contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from athena.config import Settings
from athena.config_tables import ROLES
from athena.core import channels, outbox, schedule
from athena.core.alerts import active_alerts
from athena.core.decisions import Severity
from athena.journal import snapshots
from athena.journal.codec import to_text
from athena.journal.journal import Journal
from athena.live import vitals
from athena.live.components import Component

OK, ATTENTION, STOP, UNKNOWN = Severity.OK, Severity.ATTENTION, Severity.STOP, Severity.UNKNOWN
WAIT_SECONDS = 1.0
OUTBOX_SECONDS_MAX = 300.0
SERVICE_SILENT_SECONDS = 30.0
BACKUPS_LATE = 3  # times the settings' pause between two
CLOCK_SECONDS_MAX = 2.0


def parts(journal: Journal, settings: Settings, environment: dict[str, str]) -> list[Component]:
    """Everything that is read from the journal and the disk."""
    return [
        _metrics(journal),
        _webhook(journal),
        _outbox(journal, settings, environment),
        _schedule(journal, settings),
        _backups(journal, settings),
        contacts(settings),
    ]


def troubles(journal: Journal, settings: Settings) -> tuple[str, ...]:
    """What around the engine waits for a person, a line each: messages nobody got, a service that fell silent."""
    found = [_stuck(journal), _webhook(journal), _schedule(journal, settings)]
    bad = [one for one in found if one is not None and one.verdict is not OK]
    return tuple(f"{one.name}: {one.seen} → {one.next_action}" for one in bad)


def servers(settings: Settings, watched: bool) -> list[Callable[[], Component]]:
    """Prometheus and Alertmanager, each a question to be asked beside the others; `watched`: they are expected."""
    usual = Settings()  # an address of one's own is asked for
    return [
        partial(_server, name, url, watched or url != default)
        for name, url, default in (
            ("Prometheus", settings.prometheus_url, usual.prometheus_url),
            ("Alertmanager", settings.alertmanager_url, usual.alertmanager_url),
        )
    ]


def asked(questions: Sequence[Callable[[], Component]]) -> list[Component]:
    """The answers of all, asked at once."""
    with ThreadPoolExecutor(len(questions)) as pool:
        return [one.result() for one in [pool.submit(question) for question in questions]]


def contacts(settings: Settings) -> Component:
    """Whether everybody of the playbook's list can be reached."""
    empty = [ROLES[one.role] for one in settings.contacts if not one.known]
    if not empty:
        return Component("contacts", OK, ", ".join(one.name or one.role for one in settings.contacts))
    told = "none is set" if len(empty) == len(ROLES) else f"not set: {', '.join(empty)}"
    return Component("contacts", ATTENTION, told, None, "[contacts] in athena.toml: name, phone, email")


def clock(skew_seconds: float | None) -> Component:
    """This machine's clock beside the venue's; None where the venue keeps a time of its own, or does not answer."""
    if skew_seconds is None:
        return Component("clock", OK, "the venue keeps its own time, or was not asked")
    if abs(skew_seconds) <= CLOCK_SECONDS_MAX:
        return Component("clock", OK, f"{skew_seconds:+.1f} s from the venue's")
    return Component("clock", ATTENTION, f"{skew_seconds:+.1f} s from the venue's", None, "timedatectl; is NTP on?")


def _metrics(journal: Journal) -> Component:
    heard = vitals.beat(journal, "metrics")
    if heard is None:
        return Component("metrics", UNKNOWN, "never served", None, "athena engine")
    details, since = heard.details, heard.age_seconds
    if details["problem"]:
        return Component("metrics", ATTENTION, details["problem"], since, "set ATHENA_METRICS_PORT to another")
    if since > 4 * vitals.STALE_SECONDS:
        told = f"{details['url']} until the engine stopped"
        return Component("metrics", UNKNOWN, told, since, "athena engine")
    return Component("metrics", OK, details["url"], since)


def _server(name: str, url: str, expected: bool) -> Component:
    """Whether it says that it is ready. Where it is not expected, its absence is no fault."""
    import http.client

    where = urlsplit(url)
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.hostname or "", where.port, timeout=WAIT_SECONDS)
    try:
        connection.request("GET", f"{where.path}/-/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if not expected:
            return Component(name, OK, f"none at {where.netloc}; nobody asked for one")
        why = getattr(error, "strerror", None) or "no answer in time"
        return Component(name, ATTENTION, f"{where.netloc}: {why}", None, "make monitor")
    finally:
        connection.close()
    if status == 200:
        return Component(name, OK, f"ready at {where.netloc}")
    return Component(name, ATTENTION, f"{where.netloc} answers {status}", None, f"look at {name}'s own log")


def _webhook(journal: Journal) -> Component:
    heard = vitals.beat(journal, "alerts")
    if heard is None:
        return Component("alerts webhook", OK, "never served; nobody asked for it")
    since, left = heard.age_seconds, heard.details.get("unfinished", 0)
    if since > SERVICE_SILENT_SECONDS:
        told = f"silent, {left} alerts unfinished"
        return Component("alerts webhook", STOP if left else ATTENTION, told, since, "athena alerts serve")
    if heard.details.get("problem"):
        return Component("alerts webhook", ATTENTION, heard.details["problem"], since, "athena alerts")
    if lost := [alert.name for alert in active_alerts(journal) if alert.unheard()]:
        told = f"UNKNOWN whether it fires: {', '.join(lost)}; Alertmanager repeats it no more"
        return Component("alerts webhook", ATTENTION, told, since, "make monitor, then athena alerts --firing")
    return Component("alerts webhook", OK, f"{heard.details.get('url')}, {left} unfinished", since)


def _stuck(journal: Journal) -> Component | None:
    """Dead letters are messages nobody got; a queue that only grows has nobody to deliver it."""
    found = outbox.state(journal)
    since = None if found.oldest_at is None else vitals.age(found.oldest_at)
    if found.dead:
        told = f"{found.dead} dead letters, {found.waiting} waiting: {found.last_error}"
        return Component("messages", STOP, told, since, "athena notifications, then its retry all, or dismiss ID")
    if since is not None and since > OUTBOX_SECONDS_MAX:
        told = f"{found.waiting} waiting: {found.last_error or 'nobody delivers'}"
        return Component("messages", ATTENTION, told, since, "athena notifications deliver")
    return None


def _outbox(journal: Journal, settings: Settings, environment: dict[str, str]) -> Component:
    if (stuck := _stuck(journal)) is not None:
        return stuck
    named = channels.set_up(settings.notifications, environment)
    explicit = any(settings.notifications.channels(name) for name in ("info", "warning", "critical"))
    if not named and not explicit:
        told = "no channel is set up here: critical messages reach nobody"
        return Component("messages", ATTENTION, told, None, "SLACK_WEBHOOK_URL, or [notifications] in athena.toml")
    found = outbox.state(journal)
    since = None if found.oldest_at is None else vitals.age(found.oldest_at)
    return Component("messages", OK, f"{found.waiting} waiting, none dead; {', '.join(named) or 'as set'}", since)


def _schedule(journal: Journal, settings: Settings) -> Component:
    """The last and the next run; a schedule that ran once is expected to go on."""
    heard, runs = vitals.beat(journal, "schedule"), schedule.known(journal, 1)
    last = f"{runs[0]['job']} {runs[0]['trading_date']} {runs[0]['status']}" if runs else "nothing has run"
    if heard is None:
        return Component("schedule", OK, f"{last}, by hand" if runs else "never ran; nobody asked for it")
    coming = heard.details.get("next_at")
    then = f"next {heard.details['next']} {coming[5:16].replace('T', ' ')} UTC" if coming else "the next is not known"
    since = heard.age_seconds
    if heard.details.get("problem"):
        return Component("schedule", ATTENTION, heard.details["problem"], since, "athena schedule --list")
    busy = runs and runs[0]["status"] == "running" and runs[0]["lease_until"] > to_text(datetime.now(UTC))
    if heard.details.get("once") and heard.overdue_seconds > settings.schedule.catch_up_minutes * 60 and not busy:
        told = f"{then}, and nobody came; {last}"
        return Component("schedule", ATTENTION, told, since, "crontab -l, or systemctl --user list-timers")
    if since > SERVICE_SILENT_SECONDS and not heard.details.get("once") and not busy:
        return Component("schedule", ATTENTION, f"silent; {last}", since, "athena schedule")
    if runs and runs[0]["status"] in {"failed", "missed", "interrupted"}:
        return Component("schedule", ATTENTION, f"{last}; {then}", since, f"athena schedule --run {runs[0]['job']}")
    return Component("schedule", OK, f"{last}; {then}", since)


def _backups(journal: Journal, settings: Settings) -> Component:
    found = snapshots.list_snapshots(settings.backup_folder / snapshots.FOLDER)
    if not found:
        if journal.head()[0] == 0 or vitals.beat(journal) is None:
            return Component("backups", OK, "none yet; the engine makes them")
        return Component("backups", ATTENTION, "none", None, "athena snapshot")
    since = (datetime.now(UTC) - found[0].taken_at).total_seconds()
    told = f"{len(found)} snapshots, the last to event {found[0].sequence:,}"
    heard = vitals.beat(journal)
    late = since > BACKUPS_LATE * settings.snapshot_minutes * 60 and heard is not None and heard.alive
    return Component("backups", ATTENTION if late else OK, told, since, "athena snapshot" if late else "")
