"""Messages: queueing in the journal beside a bare insert; delivering beside bare posts to the same receiver."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import requests

from athena.config import Settings
from athena.core.delivery import Courier
from athena.core.notifications import notify
from athena.core.outbox import state
from athena.journal.journal import Journal
from tests.benchmarks.journal import _rate, _raw
from tests.benchmarks.rows import Row
from tests.support.receivers import Slack

MESSAGES = 300


def rows():
    with tempfile.TemporaryDirectory() as name, Slack() as slack:
        home = Path(name)
        settings = Settings(home=home, notifications=replace(Settings().notifications, per_minute=1_000_000))
        environment = {"SLACK_WEBHOOK_URL": slack.url}
        with Journal.open(settings.journal_path, actor="bench") as journal:
            raw = _raw(home / "raw.sqlite3", MESSAGES)
            queued = _rate(lambda number: _queue(settings, journal, environment, number), MESSAGES)
            raw = (raw + _raw(home / "again.sqlite3", MESSAGES)) / 2
            session = {"text": "Slippage is high " + "x" * 300}
            bare = _rate(lambda _: requests.post(slack.url, json=session, timeout=10), MESSAGES)
            courier, began = Courier(settings, journal, environment), time.perf_counter()
            while courier.deliver():
                pass
            delivered = MESSAGES / (time.perf_counter() - began)
            if len(slack.texts) != 2 * MESSAGES or state(journal).waiting:
                raise RuntimeError(f"{len(slack.texts)} of {2 * MESSAGES} messages arrived")
    return [
        Row("messages queued, durable", queued, "messages/s", "raw sqlite3, one row a commit", raw, raw / queued),
        Row(
            "delivered, two durable commits each", delivered, "messages/s", "bare requests.post", bare, bare / delivered
        ),
    ]


def _queue(settings, journal, environment, number):
    notify(
        settings, severity="warning", title=f"Slippage is high {number}", body="x" * 300, dedup_key=f"key {number}",
        journal=journal, environment=environment,
    )  # fmt: skip
