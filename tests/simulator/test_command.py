"""`athena simulator` as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BARS = "symbol,timestamp,open,high,low,close,volume\nSPY,2024-03-05T09:30:00-05:00,512.03,512.50,511.90,512.40,120000\n"


def test_a_replay_begins_where_its_files_begin(tmp_path: Path) -> None:
    """Without --start the venue opens five minutes before the first session that the files hold."""
    (tmp_path / "bars.csv").write_text(BARS)
    command = [sys.executable, "-m", "athena.cli", "simulator", "--port", "0", "--replay", "bars.csv"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as venue:
        assert venue.stdout is not None
        try:
            said = venue.stdout.readline() + venue.stdout.readline()
        finally:
            venue.terminate()
    assert "venue time 2024-03-05 09:25 New York" in said


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_one_message(port: str, tmp_path: Path) -> None:
    """No traceback and no unexpected failure: what is wrong, and exit 2."""
    command = [sys.executable, "-m", "athena.cli", "simulator", "--port", port]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert told.returncode == 2
    assert f"--port is {port}" in told.stderr
