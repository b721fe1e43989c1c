"""The demo cleans up after itself. (That its story is true is shown by `make demo`, which CI runs.)"""

import os
import signal
import subprocess
import sys

import pytest

from athena.ops.processes import Processes
from tests.engine.processes import wait_for


def children_of(folder):
    """Processes whose environment names the demo's own folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environment:
                if f"ATHENA_HOME={folder}".encode() in environment.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_ctrl_c_stops_everything_the_demo_started(tmp_path):
    """Interrupted in mid-session, the demo ends with 130 and leaves no simulator and no engine behind."""
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [sys.executable, "-m", "athena.cli", "demo", "--folder", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        wait_for(lambda: len(children_of(folder / "home")) >= 2, "simulator and engine", 90)
        demo.send_signal(signal.SIGINT)
        told, _ = demo.communicate(timeout=40)
    finally:
        demo.kill()
    assert demo.returncode == 130, told
    assert "Traceback" not in told
    assert children_of(folder / "home") == []


def test_a_ctrl_c_between_the_birth_of_a_child_and_its_entry_on_the_books_leaves_nothing(tmp_path, monkeypatch):
    """Interrupted at the very moment a process has started, the block still stops it, and says it was interrupted."""
    born = []

    def popen(*arguments, **options):
        born.append(real(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return born[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt), Processes(tmp_path, {}) as processes:
        processes.launch("sleeper", "sleep", "60")
    with pytest.raises(KeyboardInterrupt), Processes(tmp_path, {}) as processes:
        processes.run("simulator", "--port", "0")
    assert [child.returncode for child in born] == [-signal.SIGTERM, -signal.SIGTERM]


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path):
    """A folder with somebody's files in it is refused, and nothing in it is touched."""
    (tmp_path / "precious.txt").write_text("mine")
    command = [sys.executable, "-m", "athena.cli", "demo", "--folder", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert "not a demo's folder" in result.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"
