"""Papermill's engine for playbooks: this interpreter's kernel, on sockets in a private folder, started early."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from athena.playbooks.kernel import block_slow_imports

NAME = "athena"
Progress = Callable[[int, int, str], None]


class _OneKernel(KernelSpecManager):
    """Knows only this interpreter's kernel, whatever kernels the machine has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "athena.playbooks.kernel", "-f", "{connection_file}"]
        command += ["--HistoryManager.hist_file=:memory:"]
        return KernelSpec(argv=command, display_name="Athena", language="python")


def start_kernel(folder: Path, environment: Mapping[str, str]) -> Any:
    """Starts a kernel whose sockets lie in `folder` (short path, mode 700) and returns its manager; does not wait."""
    manager = AsyncKernelManager(
        kernel_name=NAME,
        kernel_spec_manager=_OneKernel(),
        transport="ipc",
        ip=str(folder / "k"),
        connection_file=str(folder / "c.json"),
    )
    run_sync(manager.start_kernel)(env=dict(environment), cwd=str(folder))
    return manager


def register(kernel: Any, progress: Progress) -> dict[str, int]:
    """Registers the engine with papermill for one run; the returned dict's `cell` is the index last started."""
    block_slow_imports()
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    reached = {"cell": -1}

    class PlaybookEngine(NBClientEngine):  # type: ignore[misc]
        """Runs on the kernel already started, and says which cell it is at."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            start, total = nb_man.cell_start, len(nb_man.nb.cells)

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                reached["cell"] = -1 if cell_index is None else cell_index
                progress(reached["cell"] + 1, total, _label(cell))
                start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            client = PapermillNotebookClient(
                nb_man,
                km=kernel,
                kernel_name=kernel_name,
                timeout=options.get("execution_timeout"),
                startup_timeout=options.get("start_timeout", 60),
            )
            return client.execute(cleanup_kc=True)

        @classmethod
        def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
            return name or NAME

        @classmethod
        def nb_language(cls, nb: Any, language: str | None = None) -> str:
            return "python"

    papermill_engines.register(NAME, PlaybookEngine)
    return reached


def _label(cell: Any) -> str:
    """The first words of a cell, for people watching."""
    lines = [line.strip("# ") for line in cell.get("source", "").splitlines() if line.strip("# ")]
    return lines[0][:60] if lines else ""
