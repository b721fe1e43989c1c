"""One headless run in a process of its own: `python -m athena.playbooks.worker`, the order's path on its input.

It starts its kernel and imports what it needs, then waits for the order. Executes the notebook, finds its result,
exports its outputs as HTML, and writes `outcome.json`. It has no secrets, publishes nothing, and judges only what
happened: exception, exit, missing result.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

RESULT = "application/vnd.athena.result+json"  # athena.playbooks.record.MIMETYPE, without importing pandas here
ERROR_TAG = "papermill-error-cell-tag"


def main(*, forks: bool = False) -> None:
    """Prepares, waits for an order and runs it; without one (whoever started it is gone) it ends.

    The outcome says whether the run succeeded, so that the exit code is only for dying. forks: this process came from
    the nursery, and its kernel is forked from it.
    """
    from jupyter_core.utils import run_sync

    from athena.playbooks.engine import fork_kernel, start_kernel
    from athena.playbooks.kernel import block_slow_imports

    block_slow_imports()
    sockets = Path(tempfile.mkdtemp(prefix="ath-"))  # short: a socket's path holds 107 bytes
    try:
        kernel = fork_kernel(sockets) if forks else start_kernel(sockets, dict(os.environ))
        threading.Thread(target=_prepare, daemon=True).start()
        order_path = sys.stdin.readline().strip()
        if order_path:
            _run(json.loads(Path(order_path).read_text(encoding="utf-8")), kernel)
        else:
            run_sync(kernel.shutdown_kernel)(now=True)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _run(order: dict[str, Any], kernel: Any) -> None:
    folder = Path(order["folder"])
    notebook, error, seconds = execute(order, folder, kernel)
    result, figures, body = None, 0, ""
    if notebook is not None:
        result = find_result(notebook)
        error = error or silent_failure(notebook, result)
        begun = time.perf_counter()
        from athena.playbooks.export import body_of

        body, figures = body_of(notebook, None if error is None else error["cell"])
        seconds["export"] = time.perf_counter() - begun
    (folder / "body.html").write_text(body, encoding="utf-8")
    outcome = {"error": error, "result": result, "figures": figures, "seconds": seconds}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def execute(order: dict[str, Any], folder: Path, kernel: Any) -> tuple[Any, dict[str, Any] | None, dict[str, float]]:
    """The executed notebook, what went wrong if anything did, and how long it took; the notebook is kept either way."""
    from athena.playbooks.engine import NAME, register

    begun, output = time.perf_counter(), folder / order["output"]
    reached = register(kernel, _tell)
    import nbformat
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    started = time.perf_counter()
    error = None
    try:
        execute_notebook(
            order["notebook"],
            str(output),
            parameters=order["parameters"],
            engine_name=NAME,
            kernel_name=NAME,
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=True,  # what a dead kernel had shown is kept
            start_timeout=60,
            execution_timeout=order["cell_timeout_seconds"],
        )
    except PapermillExecutionError as failure:
        error = _error(failure.ename, failure.evalue, reached["cell"], failure.traceback)
    except Exception as failure:  # a dead kernel, a timeout: whatever stopped the run is its outcome
        error = _error(type(failure).__name__, str(failure), reached["cell"], [])
    seconds = {"start": started - begun, "execute": time.perf_counter() - started}
    read: Any = nbformat.read
    notebook = read(output, as_version=4) if output.exists() else None
    if error and error["cell"] is not None and notebook is not None:
        code = [cell for cell in notebook.cells if ERROR_TAG not in cell.metadata.get("tags", [])]
        error["source"] = code[error["cell"]].source if 0 <= error["cell"] < len(code) else ""
    return notebook, error, seconds


def _prepare() -> None:
    """Imports what running and exporting need, while nothing else is to be done."""
    import nbconvert  # noqa: F401
    import papermill.execute  # noqa: F401


def _error(kind: str, message: str, cell: int | None, traceback: list[str]) -> dict[str, Any]:
    return {"kind": kind, "message": message[-4000:], "cell": cell, "source": "", "traceback": traceback}


def find_result(notebook: Any) -> dict[str, Any] | None:
    """The result the notebook ended with; None where it did not get there, or ended with something else."""
    for cell in reversed(notebook.cells):
        for output in reversed(cell.get("outputs", [])):
            found = output.get("data", {}).get(RESULT)
            if found is not None:
                return found if isinstance(found, dict) and found.get("verdict") else None
    return None


def silent_failure(notebook: Any, result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A run that raised nothing and still failed: a cell left by sys.exit, or no result at the end."""
    cells = [cell for cell in notebook.cells if ERROR_TAG not in cell.metadata.get("tags", [])]
    for index, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            if output.get("output_type") == "error":
                found = _error(output.ename, output.evalue or "the cell left the notebook", index, output.traceback)
                return {**found, "source": cell.source}
    if result is None:
        last = max((i for i, cell in enumerate(cells) if cell.cell_type == "code"), default=None)
        message = "the notebook ended without record(report): it reached no verdict"
        return {**_error("MissingResult", message, last, []), "source": "" if last is None else cells[last].source}
    return None


def _tell(cell: int, total: int, label: str) -> None:
    """One line of progress to the runner."""
    print(json.dumps({"progress": [cell, total, label]}), flush=True)


if __name__ == "__main__":
    main()
