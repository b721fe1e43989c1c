"""Starts the kernel of a headless playbook: `python -m athena.playbooks.kernel -f FILE`. Never used by JupyterLab."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

SERVING = False  # True in the kernel of a headless run


def block_slow_imports() -> None:
    """Keeps `rfc3987_syntax` out of this process.

    It comes with jsonschema's optional formats, builds parsers for 2 to 3 s when imported, and nothing in a notebook's
    schema uses what it checks. jsonschema takes its absence in its stride.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def headless() -> bool:
    """True in the runner's kernel, where nobody can click."""
    return SERVING


def serve(arguments: Sequence[str]) -> None:
    """Blocks slow imports, imports what every playbook needs while the runner is still starting, then serves."""
    global SERVING
    SERVING = True
    block_slow_imports()
    import pandas  # noqa: F401 (warm before the first cell)
    import plotly.graph_objects  # noqa: F401
    from ipykernel.kernelapp import IPKernelApp

    import athena.playbooks.books.slippage_analysis
    import athena.playbooks.books.trading_halt  # noqa: F401 (with these two, most of what any playbook imports)

    IPKernelApp.launch_instance(argv=list(arguments))


def become_kernel(connection_file: str, folder: str, parent: int) -> None:
    """In a forked child: serve until told to stop, or until the parent is gone; never returns."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        os.chdir(folder)
        serve(("-f", connection_file, "--HistoryManager.hist_file=:memory:", f"--IPKernelApp.parent_handle={parent}"))
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    from athena.playbooks import kernel

    kernel.serve(sys.argv[1:])  # in the module that others import, so that `headless` speaks of it
