"""What the journal says of a live system's parts: alive, stopped, silent, or from a clock that was set back."""

from datetime import UTC, datetime, timedelta

import pytest

from athena.errors import EngineNotRunning
from athena.journal import Journal, telemetry
from athena.live import vitals
from athena.live.commands import require_engine
from athena.live.startup_report import last_run


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "home" / "journal.sqlite3", "engine") as made:
        yield made


class Clock:
    """Stands in for `datetime` where heartbeats are written: this machine, so many seconds off."""

    def __init__(self, seconds):
        self.seconds = seconds

    def now(self, zone):
        return datetime.now(zone) + timedelta(seconds=self.seconds)


def beat(journal, monkeypatch, state="running", seconds=0.0, component="engine"):
    monkeypatch.setattr(telemetry, "datetime", Clock(seconds))
    journal.heartbeat(component, {"state": state}, datetime(2020, 3, 9, 14, tzinfo=UTC))
    return vitals.beat(journal, component)


def test_only_a_young_heartbeat_that_is_no_goodbye_is_a_sign_of_life(journal, monkeypatch):
    """Running now lives; stopped a moment ago, silent for long, and dated in the future do not, each in its words."""
    assert vitals.beat(journal) is None
    assert beat(journal, monkeypatch).alive
    for state, seconds, told in (("stopped", 0, "it stopped at"), ("running", -60, "60 s ago"),
                                 ("running", 3600, "in the future: look at this clock")):  # fmt: skip
        heard = beat(journal, monkeypatch, state, seconds)
        assert not heard.alive
        assert told in heard.silence
        with pytest.raises(EngineNotRunning, match=told):
            require_engine(journal)


def test_a_start_after_the_clock_was_set_back_says_so(journal, monkeypatch):
    """The crashed engine's last word lies in the future: the report names the clock and no negative age."""
    journal.append("engine.started", {"version": "1", "safe_mode": False, "speed": "1", "clean": True})
    beat(journal, monkeypatch, seconds=3600)
    assert "this clock was set back" in str(last_run(journal))


def test_venue_time_goes_on_while_the_engine_lives_and_stands_when_it_is_dead(journal, monkeypatch):
    """Carried on from the last word at the venue's speed; a dead engine's last word stays what it was."""
    then = datetime(2020, 3, 9, 14, tzinfo=UTC)
    assert beat(journal, monkeypatch).venue_now >= then
    assert beat(journal, monkeypatch, seconds=-60).venue_now == then
