"""The work after the close: each step does it, reads it back, may be repeated, and fails as an outcome."""

import json
from pathlib import Path

import pytest

from athena.config import Settings
from athena.core.archive_files import FOLDER, manifests
from athena.errors import SettingsError
from athena.journal import Journal
from athena.journal.snapshots import list_snapshots
from athena.playbooks import after_close
from athena.playbooks.after_close import State
from tests.playbooks.days import DAY
from tests.playbooks.situations import place, situation

WHO = {"who": "schedule", "why": "a test"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    situation("busy", tmp_path)
    (tmp_path / "simulator" / "engine.log").write_text("a line\n")
    return Settings(home=tmp_path, reports=tmp_path / "reports", operator="alice")


def test_all_steps_but_the_report_leave_what_they_say_and_may_be_repeated(settings):
    """Days and logs archived, limits proposed and journaled, a snapshot that holds it all; the second time the same."""
    wanted = ("trades", "logs", "limits", "snapshot")
    for _ in range(2):
        done = {one.step: one for one in after_close.run(settings, **WHO, only=wanted)}
        assert list(done) == list(wanted)
        assert {one.state for one in done.values()} == {State.DONE}, done
    assert DAY in manifests(settings.folder / FOLDER)
    assert list((settings.folder / "archive").glob("*/engine.log-*.gz"))
    with Journal.open(settings.journal_path, "test", read_only=True) as journal:
        note = list(journal.events(kinds=("note",)))[-1]
        assert note.actor == "schedule"
        assert note.payload["proposals"] == done["limits"].facts["proposals"] != []
        assert list_snapshots(settings.backup_folder / "snapshots")[0].sequence == journal.head()[0]
        assert not list(journal.events(after=note.sequence - 1, kinds=("limit.set",)))


def test_a_running_day_waits_and_a_missing_journal_fails_in_words(settings, tmp_path):
    """Before the close trades wait, saying until when; without a journal every step fails, and none raises."""
    other = Settings(home=tmp_path / "other", reports=tmp_path / "other-reports")
    situation("busy", tmp_path / "other")
    with Journal.open(place(tmp_path / "other"), "engine") as journal:
        journal.append("equity", {"equity": 1, "cash": 1, "marks": {}}, _noon())
    [waiting] = after_close.run(other, **WHO, only=("trades",))
    assert waiting.state is State.WAITS
    assert "2020-03-10 waits for its close at 16:00" in waiting.told
    nothing = Settings(home=tmp_path / "nothing")
    for one in after_close.run(nothing, **WHO, only=("trades", "limits", "snapshot")):
        assert one.state is State.FAILED
        assert "there is no journal" in one.told
        assert json.dumps(one.to_dict())


def test_a_harmed_archive_is_a_failure_that_names_the_file(settings):
    """A file that was changed under the archive is told, and written anew from the journal."""
    [_] = after_close.run(settings, **WHO, only=("trades",))
    part = next((settings.folder / FOLDER / "fills").glob("*/part.parquet"))
    part.write_bytes(b"not parquet")
    [harmed] = after_close.run(settings, **WHO, only=("trades",))
    assert harmed.state is State.FAILED
    assert str(part) in harmed.told


def test_an_unknown_step_is_refused_before_the_first(settings):
    """A typo does nothing and names the nearest step."""
    with pytest.raises(SettingsError, match="'snapshots' is no post-market step") as told:
        after_close.run(settings, **WHO, only=("trades", "snapshots"))
    assert "snapshot" in told.value.hint
    assert not (settings.folder / FOLDER).exists()


def _noon():
    from datetime import UTC, datetime

    return datetime(2020, 3, 10, 16, tzinfo=UTC)
