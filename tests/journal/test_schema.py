from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from athena.errors import JournalError
from athena.journal import Journal, migrate, sqlite
from athena.journal.migrate import alembic_config
from athena.journal.schema import metadata


def test_the_code_speaks_the_newest_schema() -> None:
    """The revision the open path checks is alembic's head."""
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [sqlite.REVISION]


def test_migrations_lead_to_the_described_schema(journal: Journal, path: Path) -> None:
    """A migrated journal has exactly the tables, columns, keys and indexes of `schema`, conditions included."""
    described = create_engine("sqlite://")
    with create_engine(f"sqlite:///{path}").connect() as migrated, described.connect() as wanted:
        assert compare_metadata(MigrationContext.configure(migrated), metadata) == []
        metadata.create_all(wanted)
        ours, theirs = inspect(migrated), inspect(wanted)
        for table in metadata.tables:
            assert ours.get_pk_constraint(table) == theirs.get_pk_constraint(table)
            assert [(c["name"], str(c["type"]), c["nullable"]) for c in ours.get_columns(table)] == [
                (c["name"], str(c["type"]), c["nullable"]) for c in theirs.get_columns(table)
            ]

        def shapes(connection: object) -> dict[str, tuple[bool, str]]:
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")  # type: ignore[attr-defined]
            return {
                name: ("WITHOUT ROWID" in sql, sql.partition(" WHERE ")[2])
                for name, sql in rows
                if name != "alembic_version"
            }

        assert shapes(migrated) == shapes(wanted)


def test_a_new_journal_is_what_the_migrations_make() -> None:
    """The script that makes one at once says what alembic says, statement for statement."""
    assert migrate.NEW.read_text() == migrate.script(), "after a migration: migrate.NEW.write_text(migrate.script())"


def test_a_newer_schema_is_refused(journal: Journal, path: Path) -> None:
    """A journal a newer Athena wrote is left alone, with what to do."""
    journal.close()
    _set_revision(path, "9999")
    with pytest.raises(JournalError, match=rf"schema 9999; this Athena knows {sqlite.REVISION}\. Use the newer"):
        Journal.open(path, "operator alice")


def test_an_older_schema_is_migrated_unless_read_only(path: Path) -> None:
    """A journal without its tables yet gets them when opened for writing; a reader is told."""
    path.parent.mkdir()
    sqlite3.connect(path).close()
    with pytest.raises(JournalError, match="older schema"):
        Journal.open(path, "operator alice", read_only=True)
    with Journal.open(path, "operator alice") as journal:
        assert journal.append("note", {}).sequence == 1


def test_an_older_journal_keeps_its_rows(path: Path) -> None:
    """A journal of the first schema, with a violation in it, is migrated on opening; its tables still fold alike."""
    path.parent.mkdir()
    connection = sqlite.connect(path, create=True)
    command.upgrade(alembic_config(connection), "0001")
    connection.close()
    with Journal.open(path, "operator alice") as journal:
        journal.append("violation", {"code": "x", "message": "again", "times": 7})
        assert [row["times"] for row in journal.query("SELECT times FROM violations")] == [7]
        assert journal.verify().ok


def test_two_processes_may_make_the_same_journal(path: Path) -> None:
    """Creation publishes a whole journal or none, and the second maker uses the first's."""
    migrate.create(path)
    with Journal.open(path, "engine") as first:
        first.append("note", {})
        migrate.create(path)
        assert first.in_place()
        assert first.head()[0] == 1
    assert [item.name for item in path.parent.iterdir() if not item.name.startswith("journal")] == []


def _set_revision(path: Path, revision: str) -> None:
    raw = sqlite3.connect(path)
    raw.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    raw.commit()
    raw.close()
