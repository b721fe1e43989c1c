"""Several playbooks at once, each in processes of its own, as many together as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from athena.config import Settings
from athena.errors import AthenaError
from athena.playbooks import runner, workers
from athena.playbooks.nursery import AVAILABLE, Nursery
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
    """Run playbooks, and return what came of each, in their order; one's failure is only its own.

    Those that can act are run with dry_run=True, whatever is given; one without that parameter is left out. `given` are
    parameters for those that take them. Threads only wait here: kernels and exports are processes.
    `progress(name, cell, cells, label)`; an interrupt ends the runs under way and is raised again.
    """

    def one(playbook: Playbook, nursery: Nursery | None) -> Outcome:
        told = (lambda *step: progress(playbook.name, *step)) if progress else None
        values = {name: value for name, value in given.items() if name in _names(playbook)}
        try:
            run = runner.run_playbook(
                playbook,
                values if playbook.reads_only else values | {"dry_run": True},
                reports=reports,
                settings=settings,
                who=who,
                why=why,
                progress=told,
                single_file=single_file,
                environment=environment,
                worker=None if nursery is None else nursery.start(),
            )
        except AthenaError as error:
            return Outcome(playbook.name, None, str(error))
        return Outcome(playbook.name, run)

    chosen = [playbook for playbook in playbooks if playbook.reads_only or "dry_run" in _names(playbook)]
    pool = ThreadPoolExecutor(at_once or os.cpu_count() or 1)
    forks = Nursery(runner.surroundings(settings, reports, environment)) if AVAILABLE and len(chosen) > 1 else None
    try:
        with forks or nullcontext() as nursery:
            return list(pool.map(partial(one, nursery=nursery), chosen))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        workers.end_all()
        raise


def _names(playbook: Playbook) -> set[str]:
    return {parameter.name for parameter in playbook.parameters}
