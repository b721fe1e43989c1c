"""Every notebook as an analyst runs it first: opened with its defaults and run from top to bottom, by nbmake."""

import os
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_every_notebook_runs_with_its_defaults_where_there_is_no_live_system(tmp_path):
    """On a machine without journal, engine or venue no notebook ends in a traceback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "APCA_", "PYTEST_"))}
    nowhere = {"ATHENA_HOME": str(tmp_path / "home"), "ATHENA_SIMULATOR_URL": "http://127.0.0.1:9"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "-q",
        "--nbmake",
        str(NOTEBOOKS),
    ]
    result = subprocess.run(command, env=kept | nowhere, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-3000:]
    assert f"{len(list(NOTEBOOKS.glob('*.ipynb')))} passed" in result.stdout
