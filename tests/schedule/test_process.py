"""The schedule as it is run: its own process, a real simulator whose morning passes, a page, people who are told."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from athena.config import Settings
from athena.core import schedule
from athena.journal import Journal
from tests.engine.processes import wait_for
from tests.support.receivers import Slack
from tests.support.simulator import running_simulator

EARLY = datetime(2020, 3, 9, 11, 59, tzinfo=UTC)  # a minute before 8:00 in New York
SPEED = 12  # five seconds till then: the process is up and waits


@pytest.mark.timeout(120)
def test_at_eight_the_playbook_runs_by_itself_and_slack_has_its_verdict(tmp_path):
    """From a minute before eight: the page is on disk, Slack has verdict and page, once, and the run is done."""
    with Slack() as slack, running_simulator(start=EARLY, speed=SPEED) as simulator:
        environment = {
            "ATHENA_HOME": str(tmp_path / "home"), "ATHENA_REPORTS": str(tmp_path / "reports"),
            "ATHENA_SIMULATOR_URL": simulator.url, "SLACK_WEBHOOK_URL": slack.url,
        }  # fmt: skip
        settings = Settings.load(environment)
        Journal.open(settings.journal_path, "test").close()
        process = subprocess.Popen(
            [sys.executable, "-m", "athena.cli", "schedule"], env={**os.environ, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(lambda: slack.texts or process.poll() is not None, "the morning's message", 90)
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    [text] = slack.texts
    verdict = re.search(r"ATHENA.*: Pre-market 2020-03-09: (\w+)\n", text)[1]
    page = Path(re.search(r"Page: (.+\.html)", text)[1])
    assert page.is_relative_to(tmp_path / "reports")
    record = json.loads(page.with_suffix(".json").read_text())
    assert (record["playbook"], record["verdict"]) == ("pre_market", verdict)
    assert record["run"]["why"] == "due at 08:00 New York"
    assert verdict in page.read_text()
    with Journal.open(settings.journal_path, "test", read_only=True) as journal:
        [run] = schedule.known(journal)
        assert (run["id"], run["status"], run["attempts"]) == ("pre_market 2020-03-09", "done", 1)
        assert journal.verify().ok
