"""What keeps a journal recoverable while the engine runs: its head recorded outside it, snapshots on schedule."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from athena.errors import JournalError
from athena.journal.head import record_head
from athena.journal.snapshots import snapshot_if_due

if TYPE_CHECKING:
    from athena.config import Settings
    from athena.journal.journal import Journal

log = logging.getLogger("athena.engine")
HEAD_SECONDS, SNAPSHOT_SECONDS = 1.0, 60.0


class Keeper:
    """Both jobs, each in a thread so that no disk holds the loop up; `problems` are for the heartbeat, by job."""

    def __init__(self, journal: Journal, settings: Settings) -> None:
        self._journal, self._settings = journal, settings
        self.problems: dict[str, str] = {}

    async def heads(self) -> None:
        """Record the head each second, for ever."""
        while True:
            await self._try("head", record_head)
            await asyncio.sleep(HEAD_SECONDS)

    async def snapshots(self) -> None:
        """Take a snapshot whenever one is due, for ever."""
        while True:
            await asyncio.sleep(SNAPSHOT_SECONDS)
            await self._try("snapshot", snapshot_if_due)

    def last_head(self) -> None:
        """At the stop: what was written last is the head."""
        with suppress(JournalError):
            record_head(self._journal, self._settings, force=True)

    async def _try(self, job: str, work: object) -> None:
        try:
            await asyncio.to_thread(work, self._journal, self._settings)  # type: ignore[arg-type]
            self.problems.pop(job, None)
        except JournalError as error:
            if job not in self.problems:
                log.error("%s: %s", job, error)
            self.problems[job] = str(error)
