"""A live system for the tests of alerts."""

from dataclasses import replace

import pytest

from athena.config import Settings
from athena.config_tables import Notifications
from athena.journal.journal import Journal
from athena.live.execution_guard import ExecutionGuard

CHANNELS = Notifications(info=("slack",), warning=("slack",), critical=("slack",))


@pytest.fixture
def live(tmp_path):
    """Settings of a live system with a journal, and that journal."""
    made = replace(
        Settings.load({}, home=tmp_path / "home"), reports=tmp_path / "reports", alerts_port=0, notifications=CHANNELS
    )
    with Journal.open(made.journal_path, "test") as journal:
        yield made, journal
    ExecutionGuard.get_instance(made).close()
