"""The exchange's state file: what was acknowledged survives SIGKILL, and a damaged file is refused, never emptied.

One line is one acknowledged change: a checksum and JSON [[kind, key, facts], ...], written and fsynced at once. The
last facts of a (kind, key) are its state, so reading is a dictionary update; opening also writes the file anew without
what is superseded. A last line without its newline was never acknowledged, and is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from errno import ENOSPC
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints
from zlib import crc32

from athena.errors import SimulatorError
from athena.simulator.decimals import plain

FORMAT = {"format": "athena simulator state", "version": 1}
Key = tuple[str, str]
T = TypeVar("T")


class StateFile:
    """The file at `path`, made when missing, held by this process alone until `close`.

    `facts` is what it held when opened. Raises SimulatorError when it is damaged, in use, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            previous = _locked(path)
            try:
                self.facts: dict[Key, dict[str, Any]] = {} if previous is None else _read(path)
                self._fd = _rewrite(path, self.facts)
                self._size = os.fstat(self._fd).st_size
            finally:
                if previous is not None:
                    os.close(previous)
        except OSError as error:
            raise _unwritable(path, error) from error

    def write(self, changes: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Makes the changes durable, all or none."""
        line = _line([[*key, facts] for key, facts in changes])
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            os.fdatasync(self._fd)
        except OSError as error:
            # Nothing half-written may stay in front of the next line.
            os.ftruncate(self._fd, self._size)
            raise _unwritable(self.path, error) from error
        self._size += len(line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def saved_at(path: Path) -> datetime | None:
    """The venue time a state file was last written at, where its clock must go on; None without a file."""
    if not path.exists():
        return None
    text = _read(path).get(("exchange", ""), {}).get("at")
    return None if text is None else datetime.fromisoformat(text)


def _locked(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SimulatorError(
            f"The state file {path} is in use by another simulator.", "Stop that one, or name another file."
        ) from None
    return fd


def _read(path: Path) -> dict[Key, dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    facts: dict[Key, dict[str, Any]] = {}
    for number, line in enumerate(lines[:-1], start=1):
        checksum, _, text = line.partition(b" ")
        try:
            if int(checksum, 16) != crc32(text):
                raise ValueError("its checksum does not match")
            content = json.loads(text)
            if number == 1:
                if content != FORMAT:
                    raise ValueError(f"it begins with {content!r}")
                continue
            facts.update({(kind, key): row for kind, key, row in content})
        except (ValueError, TypeError) as error:
            raise _damaged(path, number, str(error)) from error
    if len(lines) < 2:
        raise _damaged(path, 1, "it is empty" if not lines[0] else "it has no complete line")
    return facts


def _rewrite(path: Path, facts: dict[Key, dict[str, Any]]) -> int:
    """Writes the file anew beside the old one and puts it in its place; the new file's descriptor, locked."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(_line(FORMAT))
        for (kind, key), row in facts.items():
            file.write(_line([[kind, key, row]]))
    os.fsync(fd)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return fd


def _line(content: object) -> bytes:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%08x %b\n" % (crc32(text), text)


def _damaged(path: Path, line: int, what: str) -> SimulatorError:
    return SimulatorError(
        f"The state file {path} is damaged at line {line}: {what}.",
        "Put a copy of it back, or move it away to start with new accounts.",
    )


def _unwritable(path: Path, error: OSError) -> SimulatorError:
    return SimulatorError(
        f"The state file {path} cannot be written: {error.strerror or error}.", "Free space, or name another file."
    )


class _Field(NamedTuple):
    name: str
    kind: type
    optional: bool


_shapes: dict[Any, tuple[_Field, ...]] = {}


def encode(fact: Any) -> dict[str, Any]:
    """A dataclass of strings, numbers, booleans, Decimals, times, dates and enums as JSON; None is left out."""
    row: dict[str, Any] = {}
    for name, _, _ in _shape(type(fact)):
        value = getattr(fact, name)
        if value is None:
            continue
        kind = type(value)
        if kind is Decimal:
            value = plain(value)
        elif kind in (datetime, date):
            value = value.isoformat()
        row[name] = value
    return row


def decode(cls: type[T], row: Mapping[str, Any]) -> T:
    """The dataclass again. Raises SimulatorError for a row that is not one."""
    values: dict[str, Any] = {}
    try:
        for name, kind, optional in _shape(cls):
            if name in row:
                values[name] = _value(kind, row[name])
            elif optional:
                values[name] = None
        return cls(**values)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise SimulatorError(
            f"The state file holds a {cls.__name__} that cannot be read: {error}.",
            "It may be from another version: move it away to start with new accounts.",
        ) from error


def _value(kind: Any, value: Any) -> Any:
    if kind in (datetime, date):
        return kind.fromisoformat(value)
    if kind is Decimal or issubclass(kind, StrEnum):
        return kind(value)
    return value


def _shape(cls: Any) -> tuple[_Field, ...]:
    """The fields of a dataclass and the one type each holds beside None."""
    if cls in _shapes:
        return _shapes[cls]
    hints = get_type_hints(cls)
    shape = []
    for item in fields(cls):
        hint = hints[item.name]
        kinds = [kind for kind in get_args(hint) if isinstance(kind, type)]
        kind = hint if isinstance(hint, type) else next((kind for kind in kinds if kind is not type(None)), str)
        shape.append(_Field(item.name, kind, type(None) in kinds))
    _shapes[cls] = tuple(shape)
    return _shapes[cls]
