"""Starts the kernel of a headless playbook: `python -m athena.playbooks.kernel -f FILE`. Never used by JupyterLab."""

from __future__ import annotations

import sys


def block_slow_imports() -> None:
    """Keeps `rfc3987_syntax` out of this process.

    It comes with jsonschema's optional formats, builds parsers for 2 to 3 s when imported, and nothing in a notebook's
    schema uses what it checks. jsonschema takes its absence in its stride.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def main() -> None:
    """Blocks slow imports, imports what every playbook needs while the runner is still starting, then serves."""
    block_slow_imports()
    import pandas  # noqa: F401 (warm before the first cell)
    import plotly.graph_objects  # noqa: F401
    from ipykernel.kernelapp import IPKernelApp

    import athena.playbooks.books.slippage_analysis
    import athena.playbooks.books.trading_halt  # noqa: F401 (with these two, most of what any playbook imports)

    IPKernelApp.launch_instance()


if __name__ == "__main__":
    main()
