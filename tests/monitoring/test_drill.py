"""A drill ends well only where its message arrived: a queued one told nobody."""

import threading
from argparse import Namespace
from contextlib import contextmanager
from dataclasses import replace

import pytest

from athena.config_tables import Notifications
from athena.core.delivery import Courier
from athena.journal.journal import Journal
from athena.ops.alert_drill import drill
from athena.ops.alert_server import AlertServer, token_of
from athena.ops.notifications import follow
from tests.monitoring.answering import Runs, working
from tests.support.receivers import Slack


@contextmanager
def served(made, environment):
    """The webhook with its worker and courier, as `athena alerts serve` has them."""
    stop = threading.Event()
    with Journal.open(made.journal_path, "a") as mine, Journal.open(made.journal_path, "b") as other:
        courier = Courier(made, mine, environment)
        delivering = threading.Thread(target=follow, args=(courier, mine, stop, lambda line: None))
        with working((made, other), Runs(made)) as worker, AlertServer(made, mine, token_of(made), worker.arrived) as s:
            mine.heartbeat("alerts", {"url": s.url, "alertmanager_url": made.alertmanager_url, "problem": ""})
            delivering.start()
            try:
                yield
            finally:
                stop.set()
                delivering.join(30)


@pytest.mark.parametrize(
    ("channel", "answers", "code", "words"),
    [
        (True, [], 0, "sent      slack"),
        (True, [403], 12, "dead      slack Slack answered 403"),
        (False, [], 12, "SLACK_WEBHOOK_URL where athena alerts serve runs"),
    ],
)
def test_a_drill_succeeds_only_where_somebody_was_told(live, capsys, monkeypatch, channel, answers, code, words):
    """Taken by Slack: 0. An address that was revoked, or no channel at all: 12, and what to do."""
    made, _ = live
    monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
    with Slack() as slack:
        slack.answers = answers
        made = made if channel else replace(made, notifications=Notifications())
        with served(made, {"SLACK_WEBHOOK_URL": slack.url}):
            assert drill(made, Namespace(name="EngineDown", symbol="", direct=True, json=False)) == code
            assert words in capsys.readouterr().out
            assert len(slack.texts) == (code == 0)
