"""Several playbooks at once, each in processes of its own, as many together as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from athena.config import Settings
from athena.errors import AthenaError
from athena.playbooks import runner, workers
from athena.playbooks.playbook import Playbook

Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """One playbook of a batch: its run, or why there is none."""

    name: str
    run: runner.PlaybookRun | None
    error: str = ""

    @property
    def failed(self) -> bool:
        return self.run is None or not self.run.succeeded


def render_all(
    playbooks: Sequence[Playbook],
    given: Mapping[str, object],
    *,
    reports: Path,
    settings: Settings,
    who: str,
    why: str,
    progress: Progress | None = None,
    at_once: int | None = None,
    single_file: bool = False,
    environment: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Run playbooks that only read, and return what came of each, in their order; one's failure is only its own.

    `given` are parameters for those that take them. Threads only wait here: kernels and exports are processes.
    `progress(name, cell, cells, label)`; an interrupt ends the runs under way and is raised again.
    """

    def one(playbook: Playbook) -> Outcome:
        takes = {parameter.name for parameter in playbook.parameters}
        told = (lambda *step: progress(playbook.name, *step)) if progress else None
        try:
            run = runner.run_playbook(
                playbook,
                {name: value for name, value in given.items() if name in takes},
                reports=reports,
                settings=settings,
                who=who,
                why=why,
                progress=told,
                single_file=single_file,
                environment=environment,
            )
        except AthenaError as error:
            return Outcome(playbook.name, None, str(error))
        return Outcome(playbook.name, run)

    pool = ThreadPoolExecutor(at_once or os.cpu_count() or 1)
    try:
        return list(pool.map(one, (playbook for playbook in playbooks if playbook.reads_only)))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        workers.end_all()
        raise
