"""JupyterLab at the control room, on loopback behind a token; with a simulator and an engine where none runs.

Whatever this started ends with it. The engine of a paper or live account is its operator's: it is never started here.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import time
from pathlib import Path

import athena
from athena.config import Settings, toml_files
from athena.errors import AthenaError, SettingsError
from athena.journal.journal import Journal
from athena.live.vitals import beat
from athena.ops.processes import Processes, answers

ROOM = Path("notebooks") / "control_room.ipynb"
PORT, PORTS_TRIED = 8888, 20
_OTHER_PORT = "Use the JupyterLab that runs there, or give another: athena lab --port 9999."
_PARTS = Path(athena.__path__[0]) / "widgets" / "lab"  # Athena's part of JupyterLab, and what it is told


def lab(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, then 0; 1 when JupyterLab ended by itself. Raises AthenaError when it does not start."""
    port, token = _port(arguments.port), os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    browser = not arguments.no_browser and _has_screen()
    with Processes(settings.folder / "logs", _environment(settings, token)) as processes:
        started = _system(settings, processes)
        page = _page()
        processes.start("jupyter", *_options(port, page, browser=browser), module="jupyterlab")
        processes.wait("jupyter", lambda: answers(f"http://127.0.0.1:{port}/api"), "answering")
        _say(f"JupyterLab: http://127.0.0.1:{port}{page}{'&' if '?' in page else '?'}token={token}")
        if not (browser or arguments.no_browser):
            _say(f"  no screen here; from another machine: ssh -L {port}:127.0.0.1:{port} HERE, then that address")
        _say(f"  logs: {processes.folder}; Ctrl-C ends {' and '.join(['JupyterLab', *started])}")
        return _watch(processes, started)


def _watch(processes: Processes, started: list[str]) -> int:
    """Until Ctrl-C, or JupyterLab ends by itself; one of ours that dies meanwhile is told, once."""
    mourned: set[str] = set()
    try:
        while processes.alive("jupyter"):
            for name in started:
                if not processes.alive(name) and name not in mourned:
                    mourned.add(name)
                    print(f"{name} ENDED: {processes.last_words(name)}", file=sys.stderr, flush=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        _say(f"\nending {' and '.join(['JupyterLab', *started])}")
        return 0
    print(f"JupyterLab ended: {processes.last_words('jupyter')}", file=sys.stderr, flush=True)
    return 1


def _system(settings: Settings, processes: Processes) -> list[str]:
    """Start what is missing of a practising system; names what was started, and says what runs already or failed."""
    running = engine_says(settings) == "running"
    if settings.venue != "simulator":
        _say(
            f"venue {settings.venue}, account {settings.account_name}: engine {'runs' if running else 'is not running'}"
        )
        if not running:
            _say("  it is yours to start: athena engine")
        return []
    started: list[str] = []
    try:
        if answers(settings.simulator_url + "/v2/clock"):
            _say(f"simulator at {settings.simulator_url} runs already")
        else:
            state = settings.folder / "simulator-state.jsonl"  # the journal outlives this: so must its positions
            processes.start("simulator", "simulator", "--state", str(state))
            started.append("simulator")
            processes.wait("simulator", lambda: answers(settings.simulator_url + "/v2/clock"), "answering")
            _say(f"simulator started at {settings.simulator_url}")
        if running:
            _say("engine runs already")
        else:
            processes.start("engine", "engine")
            started.append("engine")
            processes.wait("engine", lambda: engine_says(settings) == "running", "reconciled with the venue")
            _say("engine started; trading is halted until you resume it")
        if not settings.strategies:
            _say("  no strategies are configured, so nothing trades by itself; README shows an athena.toml")
    except AthenaError as error:  # a control room that shows what is wrong is better than none
        print(f"{error.message}\n  next: {error.hint}", file=sys.stderr, flush=True)
    return started


def engine_says(settings: Settings) -> str:
    """What the engine says of itself, "" where none lives."""
    if not settings.journal_path.exists():
        return ""
    with Journal.open(settings.journal_path, actor="lab", read_only=True) as journal:
        heard = beat(journal)
    return str(heard.details.get("state", "")) if heard is not None and heard.alive else ""


def _environment(settings: Settings, token: str) -> dict[str, str]:
    """Kernels and the server speak of the live system this command was told of; the token is in no process list."""
    told = os.environ.get("JUPYTER_CONFIG_PATH")
    return {
        "ATHENA_HOME": str(settings.home.absolute()),
        "ATHENA_OPERATOR": settings.operator,
        "ATHENA_REPORTS": str(settings.reports.absolute()),  # a kernel's folder is its notebook's
        "ATHENA_WORKING_FOLDER": str(toml_files(settings.home)[1].absolute().parent),
        **({"ATHENA_BACKUPS": str(settings.backups.absolute())} if settings.backups else {}),
        **({"ATHENA_ACCOUNT": settings.account} if settings.account else {}),
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_PATH": f"{_PARTS / 'config'}{os.pathsep + told if told else ''}",
    }


def _options(port: int, page: str, *, browser: bool) -> list[str]:
    return [
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={Path.cwd()}", f"--LabApp.default_url={page}",
        f"--LabApp.extra_labextensions_path={_PARTS}",  # this tree's own, whatever was installed before
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",  # nothing is fetched, and no question covers the page
        f"--ServerApp.open_browser={browser}", *(["--allow-root"] if os.getuid() == 0 else []),
    ]  # fmt: skip


def _page() -> str:
    """The page to open: the control room, or JupyterLab itself where this folder has none."""
    if ROOM.exists():
        return f"/lab/tree/{ROOM.as_posix()}?athena=open"  # Athena's part of JupyterLab runs it
    _say(f"there is no {ROOM} in {Path.cwd()}: opening JupyterLab itself. HALT is in its top bar all the same")
    return "/lab"


def _port(asked: int | None) -> int:
    """The port asked for, else the first free one from the default on. Raises SettingsError naming one in use."""
    if asked is not None and not 0 < asked < 65_536:
        raise SettingsError(f"--port is {asked}; a port is a number from 1 to 65535.")
    for port in [asked] if asked is not None else range(PORT, PORT + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if asked is not None:
                    raise SettingsError(f"port {port} is in use ({error.strerror}).", _OTHER_PORT) from None
                _say(f"port {port} is in use; trying the next")
                continue
        return port
    raise SettingsError(f"no port from {PORT} to {PORT + PORTS_TRIED - 1} is free.", _OTHER_PORT)


def _has_screen() -> bool:
    """Whether a graphical browser could open; one of text would take this terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _say(line: str) -> None:
    print(line, flush=True)
