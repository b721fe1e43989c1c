"""Everything that is SQLite's: connecting, locking, versions, and what its errors mean to an operator.

Another database takes the place of this module; the rest of the journal speaks portable SQL.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from athena.errors import JournalCorrupt, JournalError
from athena.journal.timing import COMMITS

REVISION: Final = "0008"  # the schema this code speaks; a test holds it to alembic's head
BEGIN_READ, BEGIN_WRITE = "BEGIN", "BEGIN IMMEDIATE"
BUSY_SECONDS = 5.0
_NAP_SECONDS = 0.0003
Row = sqlite3.Row
Connection = sqlite3.Connection
DriverError = sqlite3.Error


def connect(path: Path, *, read_only: bool = False, synchronous: str = "FULL", create: bool = False) -> Connection:
    """An autocommit connection to `path`. Raises JournalError with the next step."""
    mode = "rwc" if create else "rw"
    if read_only and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        mode = "ro"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", BUSY_SECONDS, isolation_level=None, check_same_thread=False,
            uri=True, cached_statements=256,
        )  # fmt: skip
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous = {synchronous}").close()
        if read_only:
            connection.execute("PRAGMA query_only = ON").close()
        elif connection.execute("PRAGMA journal_mode").fetchall()[0][0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if not read_only:
            connection.execute("PRAGMA busy_timeout = 0").close()  # `execute` does the waiting
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    return connection


def execute(connection: Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """Run a statement, waiting for others' locks up to `BUSY_SECONDS`.

    SQLite's own waiting sleeps up to 100 ms between tries and starves for seconds beside writers that rest for
    microseconds; a halt cannot have that. Short naps get in within milliseconds.
    """
    deadline = None
    while True:
        try:
            return connection.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            now = time.monotonic()
            deadline = deadline or now + BUSY_SECONDS
            if now > deadline:
                raise
            time.sleep(_NAP_SECONDS)


def scratch(like: Connection) -> Connection:
    """An empty in-memory database with the tables of `like`."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    for (sql,) in like.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC").fetchall():
        connection.execute(sql)
    return connection


def revision(connection: Connection, path: Path) -> str | None:
    """The schema version stored in the database, None in an empty one; JournalError if it is something else."""
    try:
        found = execute(connection, "SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {row[0] for row in found}
        if not tables:
            return None
        if "alembic_version" not in tables or "events" not in tables:
            raise JournalError(
                f"{path} is a database, but not a journal.", "Check ATHENA_HOME and ATHENA_ACCOUNT, or move it away."
            )
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return str(rows[0][0]) if rows else None


def primary_key(connection: Connection, table: str) -> list[str]:
    """Names of the columns that identify a row."""
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})").fetchall() if row["pk"]]


def data_version(connection: Connection) -> int:
    """Changes when another connection has committed."""
    return int(execute(connection, "PRAGMA data_version").fetchall()[0][0])


def sound(connection: Connection, path: Path) -> None:
    """Read every page; raises JournalCorrupt naming the first damage."""
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchall()[0][0]
    except sqlite3.Error as error:
        raise explain(error, path) from error
    if found != "ok":
        raise JournalCorrupt(f"{path} is damaged: {found}.", _RESTORE)


_RESTORE = "Stop the engine, keep the file and its -wal as they are, and restore the last snapshot into a new file."
_MEANINGS: tuple[tuple[str, type[JournalError], str, str], ...] = (
    ("SQLITE_FULL", JournalError, "the disk under {path} is full", "Free space; nothing was written, trading refuses."),
    ("SQLITE_NOTADB", JournalCorrupt, "{path} is not a database", "Move it away or restore a snapshot; never edit it."),
    ("SQLITE_CORRUPT", JournalCorrupt, "{path} has damaged pages", _RESTORE),
    ("SQLITE_BUSY", JournalError, "{path} stayed locked for 5 s", "See who holds it: fuser -v {path}"),
    ("SQLITE_LOCKED", JournalError, "{path} stayed locked for 5 s", "See who holds it: fuser -v {path}"),
    ("SQLITE_READONLY", JournalError, "{path} or its folder cannot be written", "Check owner and rights of both."),
    ("SQLITE_CANTOPEN", JournalError, "{path} cannot be opened", "Check that it exists and the rights of its folder."),
    ("SQLITE_IOERR", JournalError, "the disk under {path} fails", "Check the disk and its space (dmesg, df)."),
    ("SQLITE_CONSTRAINT", JournalError, "{path} already has it, or a value is missing", ""),
)  # fmt: skip


def explain(error: BaseException, path: Path) -> JournalError:
    """The operator's words for a driver's error, which is counted."""
    COMMITS.failed()
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, kind, message, hint in _MEANINGS:
        if name.startswith(prefix):
            return kind(f"{message.format(path=path)} ({error}).", hint.format(path=path))
    return JournalError(f"{path}: {error}.", "If it repeats, run athena verify-journal.")


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path` now, None if there is none."""
    try:
        found: Any = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
