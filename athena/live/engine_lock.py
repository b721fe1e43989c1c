"""One engine per live system, and one webhook: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from athena.errors import SettingsError


class EngineLock:
    """Context manager; raises SettingsError naming the process that holds it."""

    def __init__(self, folder: Path, file: str = "engine.lock", what: str = "an engine") -> None:
        self.path, self._what = folder / file, what
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            hint = "Choose a folder that can be written: ATHENA_HOME or --home."
            raise SettingsError(f"{self.path.parent} cannot be used: {error.strerror}.", hint) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise SettingsError(
                f"{self._what} already runs for {self.path.parent} (pid {pid}).",
                "Stop that one first, or give this one its own system: set ATHENA_ACCOUNT to another name.",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()  # the file stays: removing it would let two engines lock two files
