"""`athena lab`: what it starts it says and ends; a port in use and a missing notebook are told in words."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

from athena.cli import main
from athena.config import Settings
from athena.ops.lab import _environment, engine_says
from athena.ops.processes import answers, free_port


def test_a_port_in_use_is_said_with_the_next_step(capsys, tmp_path):
    """Asked for by number, no other port is taken in silence; nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["lab", "--port", str(taken.getsockname()[1]), "--home", str(tmp_path)]) == 2
    assert "is in use" in (told := capsys.readouterr().err)
    assert "athena lab --port" in told
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_none_is_refused(capsys, tmp_path):
    """99999 is no port, and says so."""
    assert main(["lab", "--port", "99999", "--home", str(tmp_path)]) == 2
    assert "1 to 65535" in capsys.readouterr().err


def test_kernels_load_the_settings_of_the_folder_it_was_started_in(tmp_path, monkeypatch):
    """A notebook's folder has no athena.toml; relative folders are the command's."""
    (tmp_path / "athena.toml").write_text('symbols = ["NVDA"]\nbackups = "b"')
    monkeypatch.chdir(tmp_path)
    told = _environment(Settings.load({}, home=tmp_path), "")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    seen = Settings.load(told)
    assert (seen.symbols, seen.backups) == (("NVDA",), tmp_path / "b")


def test_simulator_and_engine_are_started_and_ended_with_it(tmp_path):
    """With nothing running: each start is told, the address works with its token, and Ctrl-C leaves nothing behind."""
    settings = Settings.load({}, home=tmp_path / "home", simulator_url=f"http://127.0.0.1:{free_port()}")
    names = {"ATHENA_HOME": str(settings.home), "ATHENA_SIMULATOR_URL": settings.simulator_url}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATHENA_", "JUPYTER_TOKEN"))}
    command = [sys.executable, "-m", "athena.cli", "lab", "--no-browser", "--port", str(free_port())]
    lab = subprocess.Popen(
        command, cwd=tmp_path, env=kept | names | {"ATHENA_METRICS_PORT": "0"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        told = ""
        for line in lab.stdout:
            told += line
            if "Ctrl-C ends" in line:
                break
        for each in (
            "simulator started",
            "engine started; trading is halted",
            "there is no notebooks/control_room.ipynb",
        ):
            assert each in told, told
        address = re.search(r"http://127\.0\.0\.1:\S+token=\w+", told)[0]
        with urllib.request.urlopen(address, timeout=20) as page:
            assert page.status == 200
        assert engine_says(settings) == "running"
        lab.send_signal(signal.SIGINT)
        told, _ = lab.communicate(timeout=60)
        assert lab.returncode == 0, told
        assert engine_says(settings) == ""
        assert not answers(settings.simulator_url + "/v2/clock")
    finally:
        if lab.poll() is None:
            lab.terminate()
            lab.wait(30)
