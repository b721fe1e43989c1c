"""Snapshots and heads: whole, hashed, restored elsewhere, and a lost tail that shows."""

import shutil
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from athena.config import Settings
from athena.errors import JournalCorrupt, JournalError
from athena.journal import Journal, snapshots
from athena.journal.codec import to_text
from athena.journal.head import check_heads, head_log, read_heads, record_head
from athena.journal.restored import Doubt, last_restored, restore
from tests.journal import facts


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, operator="alice")


@pytest.fixture
def journal(settings):
    with Journal.open(settings.journal_path, "engine") as opened:
        for number in range(50):
            opened.append("order.intended", facts.intended(f"c{number}"))
        yield opened


def folder(settings):
    return settings.backup_folder / snapshots.FOLDER


def test_a_snapshot_is_the_journal_up_to_its_head_and_says_so(settings, journal):
    """Its name has time and sequence, its card head and hash, and a check reads it through."""
    made = snapshots.snapshot_now(journal, settings, "test")
    assert (made.sequence, made.head) == journal.head()
    assert made.path.name.endswith("-000000000050.sqlite3")
    assert snapshots.check(made.path) == made
    assert snapshots.list_snapshots(folder(settings)) == [made]
    assert made.sha256 == snapshots.sha256_of(made.path)
    assert not list(folder(settings).glob(".taking-*"))


def test_a_writer_goes_on_while_snapshots_are_taken_and_each_is_whole(settings, journal):
    """Beside a busy writer every snapshot holds, and no commit waits as long as a snapshot takes."""
    stop, slowest, failed = threading.Event(), [0.0], []

    def write():
        number = 0
        with Journal.open(settings.journal_path, "writer") as own:
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    own.append("note", {"text": f"{number} " + "x" * 2000})
                except JournalError as error:
                    failed.append(error)
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [snapshots.take(settings.journal_path, folder(settings), "busy") for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert not failed
    assert slowest[0] < 0.5
    assert made[-1].sequence > made[0].sequence >= 50
    assert all(snapshots.check(one.path).head == one.head for one in snapshots.list_snapshots(folder(settings)))
    assert journal.verify().ok


@pytest.mark.parametrize("damage", ["truncated", "one byte", "no card", "other card", "chain"])
def test_a_damaged_snapshot_is_refused_and_nothing_is_restored(settings, journal, tmp_path, damage):
    """Whatever is wrong with it, the new file is not made."""
    path, to = snapshots.snapshot_now(journal, settings).path, tmp_path / "new.sqlite3"
    card = path.with_name(path.name + ".json")
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:-4096])
    elif damage == "one byte":
        path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    elif damage == "no card":
        card.unlink()
    elif damage == "other card":
        card.write_text(card.read_text().replace('"sequence": 50', '"sequence": 51'))
    else:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE events SET payload = replace(payload, 'cheap', 'dear') WHERE sequence = 7")
        connection.commit()
        connection.close()
        text = card.read_text().replace(snapshots.list_snapshots(folder(settings))[0].sha256, snapshots.sha256_of(path))
        card.write_text(text)
    with pytest.raises(JournalCorrupt) as refused:
        restore(path, to, who="bob", reason="test")
    assert refused.value.hint
    assert not to.exists()


def test_a_restore_makes_a_working_journal_and_never_writes_over_one(settings, journal, tmp_path):
    """The copy says in its chain who restored what and why, and takes events; an existing file or WAL is refused."""
    made, to = snapshots.snapshot_now(journal, settings), tmp_path / "there" / "new.sqlite3"
    journal.append("note", {"text": "after"})
    card, doubt = restore(made.path, to, who="operator bob", reason="the disk died")
    assert (card, doubt) == (made, Doubt((), (), ()))
    with Journal.open(to, "bob") as restored:
        mark = last_restored(restored)
        assert (mark.sequence, mark.previous_hash, mark.actor) == (made.sequence + 1, made.head, "operator bob")
        facts = {"source": made.path.name, "as_of": to_text(made.taken_at), "reason": "the disk died"}
        assert facts.items() <= mark.payload.items()
        restored.append("note", {"text": "goes on"})
        assert restored.verify().ok
    before = to.read_bytes()
    for target in (to, settings.journal_path):
        with pytest.raises(JournalError, match="never writes over"):
            restore(made.path, target, who="bob", reason="test")
    assert to.read_bytes() == before
    stale = tmp_path / "stale.sqlite3"
    stale.with_name("stale.sqlite3-wal").write_bytes(b"an earlier file's")
    with pytest.raises(JournalError, match="-wal exists"):
        restore(made.path, stale, who="bob", reason="test")
    assert snapshots.check(made.path)


def test_retention_keeps_the_newest_one_a_day_and_those_before_migrations(settings, journal, tmp_path):
    """Twelve hours apart for forty days: the newest three, the last of each of thirty days, the migration's."""
    place, now = tmp_path / "kept", datetime(2026, 3, 31, 12, tzinfo=UTC)
    place.mkdir()
    real = snapshots.snapshot_now(journal, settings)
    for number in range(80):
        at = now - timedelta(hours=12 * number)
        reason = snapshots.BEFORE_MIGRATION if number == 79 else ""
        path = place / f"journal-{at:%Y%m%dT%H%M%SZ}-000000000050.sqlite3"
        shutil.copyfile(real.path, path)
        text = real.path.with_name(real.path.name + ".json").read_text()
        text = text.replace(f"{real.taken_at:%Y-%m-%dT%H:%M:%S.%f}", f"{at:%Y-%m-%dT%H:%M:%S.%f}")
        path.with_name(path.name + ".json").write_text(text.replace('"reason": ""', f'"reason": "{reason}"'))
    removed = snapshots.prune(place, 3, 30, now)
    left = snapshots.list_snapshots(place)
    assert len(left) + len(removed) == 80
    assert [one.taken_at for one in left[:3]] == [now - timedelta(hours=12 * n) for n in range(3)]
    days = {one.taken_at.date() for one in left}
    assert len(days) == 32  # thirty days back from noon touch 31 dates; and the migration's
    assert left[-1].reason == snapshots.BEFORE_MIGRATION
    assert len(list(place.iterdir())) == 2 * len(left)


def test_one_is_due_after_its_time_and_only_when_something_happened(settings, journal):
    """The engine may ask as often as it likes."""
    first = snapshots.snapshot_if_due(journal, settings)
    assert first is not None
    assert snapshots.snapshot_if_due(journal, settings) is None
    later = datetime.now(UTC) + timedelta(minutes=61)
    assert snapshots.snapshot_if_due(journal, settings, later) is None
    journal.append("note", {"text": "something"})
    assert snapshots.snapshot_if_due(journal, settings, later).sequence == 51
    journal.append("note", {"text": "more"})
    earlier = datetime.now(UTC) - timedelta(hours=3)  # the clock was set back: none for three hours would be a gap
    assert snapshots.snapshot_if_due(journal, settings, earlier).sequence == 52


def test_a_journal_with_a_broken_chain_gives_no_snapshot(settings, journal):
    """A copy of altered events must not look like a good state to go back to."""
    other = sqlite3.connect(settings.journal_path)
    other.execute("UPDATE events SET actor = 'mallory' WHERE sequence = 9")
    other.commit()
    other.close()
    with pytest.raises(JournalCorrupt, match="event 9 was changed"):
        snapshots.snapshot_now(journal, settings)
    assert snapshots.list_snapshots(folder(settings)) == []


def test_a_folder_that_cannot_be_written_is_one_message(journal, tmp_path):
    """Where the folder's name is a file's, the journal stays as it is and nothing pretends."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="no snapshot can be made"):
        snapshots.take(journal.path, tmp_path / "file", "")


def cut_tail(path, keep):
    """What a lost or restored disk does: the last events and their rows are gone, and all else is consistent."""
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM events WHERE sequence > ?", (keep,))
    connection.commit()
    connection.close()
    with Journal.open(path, "cutter") as journal:
        journal.rebuild()


def test_a_lost_tail_is_noticed_and_named_though_the_chain_holds(settings, journal):
    """The chain of what remains is perfect; only the head kept outside tells that 12 events are missing."""
    assert record_head(journal, settings, force=True)
    cut_tail(settings.journal_path, 38)
    assert journal.verify().ok
    found = check_heads(journal, settings)
    assert not found.ok
    assert "ends at event 38" in found.problem
    assert "12 event(s) are missing" in found.problem


def test_a_tail_written_anew_is_noticed_too(settings, journal):
    """After a lost tail other events take its numbers; their hashes are not the recorded ones."""
    record_head(journal, settings, force=True)
    cut_tail(settings.journal_path, 40)
    for number in range(20):
        journal.append("note", {"text": str(number)})
    found = check_heads(journal, settings)
    assert not found.ok
    assert "event 50 is not the one recorded" in found.problem


def test_an_accepted_head_ends_the_complaint_and_the_next_loss_is_noticed_again(settings, journal):
    """An operator may go on with a shorter journal, by a record; from there on everything counts again."""
    for _ in range(3):  # whole stretches of the tail were recorded, as an engine does every second
        record_head(journal, settings, force=True)
        journal.append("note", {"text": "x"})
    cut_tail(settings.journal_path, 49)
    for _ in range(2):
        journal.append("note", {"text": "accepted"})
        record_head(journal, settings, force=True, word="accepted")
        assert check_heads(journal, settings).ok
    for number in range(20):
        journal.append("note", {"text": str(number)})
    record_head(journal, settings, force=True)
    assert check_heads(journal, settings).ok
    cut_tail(settings.journal_path, 41)
    assert not check_heads(journal, settings).ok


def test_heads_are_recorded_at_most_once_a_second_and_a_torn_line_harms_none(settings, journal):
    """The engine may call after every event; a crash in the middle of a line costs that line."""
    log = head_log(journal.path, settings)
    assert record_head(journal, settings)
    journal.append("note", {"text": "x"})
    assert not record_head(journal, settings)
    assert len(read_heads(log)) == 1
    with log.open("a") as file:
        file.write("2026-01-01T00:00:00.000000Z 99 abc")
    assert record_head(journal, settings, force=True)
    assert [head.sequence for head in read_heads(log)] == [50, 51]
    assert check_heads(journal, settings).ok


def test_the_backup_folder_may_be_elsewhere(journal, settings, tmp_path):
    """Snapshots and heads on another disk, under the account's name."""
    elsewhere = Settings(home=settings.home, backups=tmp_path / "disk")
    made = snapshots.snapshot_now(journal, elsewhere)
    assert made.path.parent == tmp_path / "disk" / "simulator" / "snapshots"
    assert (tmp_path / "disk" / "simulator" / "heads.log").exists()


def test_a_migration_is_preceded_by_a_snapshot(journal, settings):
    """The journal as it was is kept before its schema changes."""
    from athena.journal import migrate

    connection = sqlite3.connect(settings.journal_path)
    connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError):  # there is no such revision to migrate from; the snapshot comes first
        migrate.upgrade(settings.journal_path, "0000", read_only=False)
    kept = snapshots.list_snapshots(settings.journal_path.parent / snapshots.FOLDER)
    assert [one.reason for one in kept] == [snapshots.BEFORE_MIGRATION]
    assert kept[0].sequence == 50
