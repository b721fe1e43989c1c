"""Making a journal, and migrating an old one through alembic. Imported only when a journal is missing or old."""

from __future__ import annotations

import fcntl
import os
import sqlite3 as driver
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from athena.errors import AthenaError, JournalError
from athena.journal import snapshots, sqlite

NEW = Path(__file__).parent / "new_journal.sql"  # what all migrations make of an empty file, at once; see `script`


def create(path: Path) -> None:
    """A new, empty journal at `path`, whole or not at all; harmless when another process makes it first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-journal-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            connection = sqlite.connect(draft, create=True)
            try:
                connection.executescript(NEW.read_text(encoding="utf-8"))
                if sqlite.revision(connection, draft) != sqlite.REVISION:
                    _run_alembic(connection)  # a migration was added, and the script not written again
            finally:
                connection.close()
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
    except OSError as error:
        raise JournalError(
            f"no journal can be made at {path}: {error.strerror}.",
            "Check the folder's rights and space, and ATHENA_HOME.",
        ) from error
    except sqlite.DriverError as error:
        raise sqlite.explain(error, path) from error


def upgrade(path: Path, found: str | None, *, read_only: bool) -> None:
    """Bring the journal at `path` to this code's schema. Raises JournalError when it is newer or may not be written."""
    if found is not None and found > sqlite.REVISION:
        raise JournalError(
            f"{path} has schema {found}; this Athena knows {sqlite.REVISION}.", "Use the newer Athena that wrote it."
        )
    if read_only:
        raise JournalError(f"{path} has the older schema {found}.", "Open it once for writing, which migrates it.")
    with _alone(path):
        connection = sqlite.connect(path)
        try:
            if (now := sqlite.revision(connection, path)) != sqlite.REVISION:
                if now is not None:
                    snapshots.take(path, path.parent / snapshots.FOLDER, snapshots.BEFORE_MIGRATION)
                _run_alembic(connection)
        except AthenaError:
            raise
        except Exception as error:
            raise JournalError(f"{path} could not be migrated from {found}: {error}", "It is unchanged.") from error
        finally:
            connection.close()


def script() -> str:
    """The text `new_journal.sql` must have: an empty journal as the migrations make it; a test holds it to that."""
    connection = driver.connect(":memory:", isolation_level=None)
    connection.row_factory = driver.Row
    try:
        _run_alembic(connection)
        return "".join(f"{line}\n" for line in connection.iterdump())
    finally:
        connection.close()


def _run_alembic(connection: sqlite.Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: sqlite.Connection | None = None):  # type: ignore[no-untyped-def]  # alembic is heavy
    """Alembic's configuration for the packaged migrations, on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process migrates a journal."""
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
