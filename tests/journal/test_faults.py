from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from athena.errors import JournalCorrupt, JournalError
from athena.journal import Journal, sqlite
from tests.journal.facts import EVERY_KIND, VENUE_AT


def filled(journal: Journal) -> None:
    for kind, payload in EVERY_KIND:
        journal.append(kind, payload, VENUE_AT)


def alter(path: Path, sql: str) -> None:
    raw = sqlite3.connect(path)
    raw.execute(sql)
    raw.commit()
    raw.close()


@pytest.mark.parametrize(
    ("sql", "broken", "problem"),
    [
        ("UPDATE events SET payload = replace(payload, '66.50', '66.51') WHERE sequence = 6", 6, "was changed"),
        ("UPDATE events SET actor = 'nobody' WHERE sequence = 1", 1, "was changed"),
        ("DELETE FROM events WHERE sequence = 4", 4, "event 4 is missing; the next one is 5"),
        ("UPDATE events SET previous_hash = hash WHERE sequence = 9", 9, "does not follow"),
    ],
)
def test_verify_names_the_first_broken_event(journal: Journal, sql: str, broken: int, problem: str) -> None:
    """A changed field, a lost row, a forged link: the first broken sequence and what is wrong; rebuild refuses."""
    filled(journal)
    alter(journal.path, sql)
    found = journal.verify()
    assert (found.ok, found.first_broken) == (False, broken)
    assert problem in found.problem
    with pytest.raises(JournalCorrupt, match=problem):
        journal.rebuild()


def test_a_damaged_page_is_corruption(journal: Journal, path: Path) -> None:
    """Noise over the file's pages is JournalCorrupt with the path and a next step, from opening or verifying."""
    filled(journal)
    journal.close()
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for offset in range(4096, size, 4096):
            file.seek(offset)
            file.write(b"\xde\xad" * 512)
    with pytest.raises(JournalCorrupt, match=r"damaged|cannot be") as damage, Journal.open(path, "a") as opened:
        opened.verify()
    assert str(path) in damage.value.message
    assert "restore" in damage.value.hint.lower()


def test_a_text_file_is_no_journal(path: Path) -> None:
    """A file that is not a database, and a database that is not a journal, are told apart and left alone."""
    path.parent.mkdir()
    path.write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(JournalCorrupt, match="is not a database"):
        Journal.open(path, "a")
    path.unlink()
    alter(path, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(JournalError, match="is a database, but not a journal"):
        Journal.open(path, "a")


def test_a_full_disk_loses_nothing_and_says_so(journal: Journal) -> None:
    """When no page can be added the append fails clearly, earlier events stay, and space makes it work again."""
    journal.append("note", {"text": "kept"})
    pages = journal._connection.execute("PRAGMA page_count").fetchall()[0][0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with pytest.raises(JournalError, match=r"is full.*Free space"):
        journal.append("note", {"text": "x" * 100_000})
    journal._connection.execute("PRAGMA max_page_count = 100000").fetchall()
    assert journal.append("note", {"text": "after"}).sequence == 2
    assert journal.verify().ok


def test_a_locked_journal_is_told_after_the_wait(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's write transaction that does not end gives an error naming the file and how to find the holder."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)  # a constant of the code, shortened: 5 s would only be slower
    locked = pytest.raises(JournalError, match=r"stayed locked.*fuser")
    with Journal.open(path, "engine") as other, other.transaction(), locked:
        journal.append("note", {})
    assert journal.append("note", {}).sequence == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_an_unlinked_journal_refuses_to_write(journal: Journal, path: Path, replaced: bool) -> None:
    """SQLite would go on writing into a file nobody can see; the journal refuses, replaced file included."""
    path.unlink()
    if replaced:
        Journal.open(path, "someone").close()
    assert not journal.in_place()
    with pytest.raises(JournalError, match="removed or replaced"):
        journal.append("note", {})
    with pytest.raises(JournalError, match="removed or replaced"):
        journal.heartbeat("engine", {})


def test_a_missing_journal_is_no_empty_one(path: Path) -> None:
    """Reading where there is no journal is an error that says how to get one, and makes nothing."""
    with pytest.raises(JournalError, match=r"there is no journal at .*athena engine"):
        Journal.open(path, "a", read_only=True)
    assert not path.parent.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A path through a file gives one clear message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="no journal can be made at"):
        Journal.open(tmp_path / "file" / "journal.sqlite3", "a")


def test_read_only_never_writes(journal: Journal, path: Path) -> None:
    """A read-only journal reads, refuses to append and to beat, and its connection refuses SQL that writes."""
    journal.append("note", {})
    with Journal.open(path, "analyst", read_only=True) as reader:
        assert reader.head()[0] == 1
        assert "read only" in repr(reader)
        for write in (lambda: reader.append("note", {}), lambda: reader.heartbeat("x", {})):
            with pytest.raises(JournalError, match="read only"):
                write()
        with pytest.raises(JournalError, match="cannot be written"):
            reader.query("DELETE FROM events")


def test_a_read_only_folder_is_read_and_not_written() -> None:
    """Where the user may not write, reading works and writing fails with whose rights to look at."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "journal.sqlite3"
        with Journal.open(path, "engine") as writer:
            writer.append("note", {})
            path.chmod(0o444)
            for side in ("-wal", "-shm"):
                path.with_name(path.name + side).chmod(0o444)
            folder.chmod(0o555)
            told = _as_nobody(lambda: _try(path))
            folder.chmod(0o755)
    assert told == "read 1; wrote: cannot be written"


def test_a_fork_needs_its_own_journal(journal: Journal) -> None:
    """A child that inherits the parent's connection is refused before it can damage the file."""

    def child() -> str:
        try:
            journal.append("note", {})
        except JournalError as error:
            return error.message
        return "appended"

    assert "before a fork" in _in_child(child)
    assert journal.append("note", {}).sequence == 1


def _try(path: Path) -> str:
    with Journal.open(path, "analyst", read_only=True) as reader:
        head = reader.head()[0]
    try:
        with Journal.open(path, "analyst") as writer:
            writer.append("note", {})
    except JournalError as error:
        return f"read {head}; wrote: {'cannot be written' if 'cannot be written' in error.message else error}"
    return "appended"


def _as_nobody(work: Callable[[], str]) -> str:
    """In a child without root's powers: root may write what is read only."""

    def dropped() -> str:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return _in_child(dropped)


def _in_child(work: Callable[[], str]) -> str:
    read_end, write_end = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            told = work()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write_end, told.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told
