"""Papermill's engine for playbooks: this interpreter's kernel, on sockets in a private folder, started early."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from jupyter_client.connect import write_connection_file
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import run_sync

from athena.playbooks.kernel import become_kernel, block_slow_imports

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


def fork_kernel(folder: Path) -> Any:
    """The same, forked from this process, which has imported what it needs and has no threads yet; Linux only."""
    connection_file = str(folder / "c.json")
    write_connection_file(connection_file, transport="ipc", ip=str(folder / "k"), key=os.urandom(16).hex().encode())
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_kernel(connection_file, str(folder), parent)
    manager = AsyncKernelManager(kernel_name=NAME, kernel_spec_manager=_OneKernel(), connection_file=connection_file)
    manager.load_connection_file()
    provisioner = LocalProvisioner(kernel_id=uuid4().hex, kernel_spec=manager.kernel_spec, parent=manager)
    provisioner.process, provisioner.pid = _Child(pid), pid  # type: ignore[assignment]
    manager.provisioner = provisioner
    return manager


class _Child:
    """A forked kernel, as much of a Popen as its provisioner asks for."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int | None:
        while self.poll() is None:
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


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
