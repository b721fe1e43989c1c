"""Seconds of a rendered report beside the floor of its parts, and beside the two stock commands.

All three run the daily report's notebook on the same journal, each in a fresh process, in turn, and the best of each
counts. The floor is one process that executes the notebook with nbclient and exports it with its figures: no
parameter checks, no archive, no comparison, no protection against a dying kernel. The stock commands are papermill's
and nbconvert's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from athena.playbooks.registry import PLAYBOOKS
from tests.benchmarks.rows import Row
from tests.playbooks.days import DAY, busy

FLOOR = """
import sys
sys.modules["rfc3987_syntax"] = None  # builds parsers for seconds, for nothing that is needed here
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
given = nbformat.v4.new_code_cell(f"trading_date, journal = {sys.argv[2]!r}, {sys.argv[3]!r}")
at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
notebook.cells.insert(at + 1, given)
NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
import plotly.io
from nbconvert import HTMLExporter
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        figure = output.get("data", {}).pop("application/vnd.plotly.v1+json", None)
        if figure:
            drawn = plotly.io.to_html(figure, full_html=False, include_plotlyjs=False, validate=False)
            output["data"] = {"text/html": drawn}
exporter = HTMLExporter(template_name="basic", exclude_input=True, mathjax_url="", require_js_url="")
body, _ = exporter.from_notebook_node(notebook)
assert body.count("Plotly.newPlot") == 5, body.count("Plotly.newPlot")
open(sys.argv[4], "w", encoding="utf-8").write(body)
"""


def rows(rounds: int = 3) -> list[Row]:
    """The benchmark's rows; takes about half a minute a round."""
    with tempfile.TemporaryDirectory(prefix="athena-bench-") as name:
        folder = Path(name)
        journal = busy(folder / "j.sqlite3")
        ours, floor, stock = _best(
            rounds, [lambda: _ours(folder, journal), lambda: _floor(folder, journal), lambda: _stock(folder, journal)]
        )
        together = _timed([sys.executable, "-m", "athena.cli", "render-all", "--json"], folder, journal)
    label, many = "daily report, from command to published page", f"all {len(PLAYBOOKS)} playbooks in parallel"
    return [
        Row(label, ours, "s", "one process, execute and export", floor, ours / floor, "≤ 1.25"),
        Row(label, ours, "s", "papermill, then nbconvert, as they are", stock, ours / stock, "< 1"),
        Row(many, together, "s", bound="≤ 40 s on two cores"),
    ]


def _ours(folder: Path, journal: Path) -> float:
    given = ["-p", f"trading_date={DAY}", "-p", f"journal={journal}"]
    return _timed([sys.executable, "-m", "athena.cli", "playbook", "daily-report", *given, "--json"], folder, journal)


def _floor(folder: Path, journal: Path) -> float:
    notebook = str(PLAYBOOKS["daily_report"].path)
    return _timed([sys.executable, "-c", FLOOR, notebook, DAY, str(journal), str(folder / "f.html")], folder, journal)


def _stock(folder: Path, journal: Path) -> float:
    notebook, made = str(PLAYBOOKS["daily_report"].path), str(folder / "stock.ipynb")
    given = ["-p", "trading_date", DAY, "-p", "journal", str(journal)]
    papermill = [sys.executable, "-m", "papermill", notebook, made, *given, "--no-progress-bar"]
    nbconvert = [sys.executable, "-m", "nbconvert", "--to", "html", made]
    return _timed(papermill, folder, journal) + _timed(nbconvert, folder, journal)


def _best(rounds: int, measures: Sequence[Callable[[], float]]) -> list[float]:
    """The least of each, taken in turn so that a busy machine is busy for all."""
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [min(times) for times in zip(*taken, strict=True)]


def _timed(command: Sequence[str], folder: Path, journal: Path) -> float:
    home = folder / "home"
    place = home / "simulator" / "journal.sqlite3"  # where render-all's playbooks look by themselves
    if not place.exists():
        place.parent.mkdir(parents=True)
        place.write_bytes(journal.read_bytes())
    surroundings = {"ATHENA_HOME": str(home), "ATHENA_REPORTS": str(folder / "reports"), "JUPYTER_PLATFORM_DIRS": "1"}
    begun = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **surroundings}, cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{command[:4]} failed: {(done.stderr or done.stdout)[-2000:]}")
    return seconds


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        print(row)
