"""Runs forked from one process: nothing leaks from one to the next, no secret is near, and its death harms none."""

import os
import signal
from dataclasses import replace

import pytest

from athena.config import Settings
from athena.playbooks import batch, nursery
from athena.playbooks.batch import render_all
from athena.playbooks.parameters import Kind, Parameter
from tests.playbooks.conftest import CANARY
from tests.playbooks.test_runner import RESULT, notebook

pytestmark = pytest.mark.skipif(not nursery.AVAILABLE, reason="forking after imports is safe on Linux only")
LOOK = """import os, pandas, athena.playbooks.kernel as kernel
assert not hasattr(pandas, "left_behind"), "another run's state"
pandas.left_behind = True
assert kernel.headless()
for process in ("self", str(os.getppid())):
    assert "APCA" not in open(f"/proc/{process}/environ").read() + "".join(os.environ)
"""
DRY = "assert dry_run is True"


def rendered(tmp_path, *playbooks):
    return render_all(
        playbooks, {}, reports=tmp_path / "reports", settings=Settings(home=tmp_path), who="alice", why="a test",
        at_once=1, environment={**os.environ, "APCA_API_SECRET_KEY": CANARY},
    )  # fmt: skip


def test_runs_share_no_state_and_no_secret_and_one_that_can_act_is_run_dry(tmp_path):
    """Two runs one after the other in one nursery each find a fresh kernel; dry_run is True whatever the default."""
    first, second = (notebook(tmp_path, LOOK, RESULT, name=name) for name in ("first", "second"))
    acting = replace(
        notebook(tmp_path, DRY, RESULT, name="acting"), reads_only=False,
        parameters=(*first.parameters, Parameter("dry_run", Kind.FLAG, False, "acts")),
    )  # fmt: skip
    outcomes = rendered(tmp_path, first, second, acting)
    assert [(one.name, one.failed, one.run.error) for one in outcomes] == [
        ("first", False, ""), ("second", False, ""), ("acting", False, ""),
    ]  # fmt: skip


def test_a_nursery_that_dies_harms_no_run(tmp_path, monkeypatch):
    """A run under way goes on to its end; the next finds no nursery, and starts as if there were none."""

    class Mortal(nursery.Nursery):
        def start(self):
            made = super().start()
            self._process.kill()
            return made

    monkeypatch.setattr(batch, "Nursery", Mortal)
    first, second = (notebook(tmp_path, LOOK, RESULT, name=name) for name in ("first", "second"))
    outcomes = rendered(tmp_path, first, second)
    assert [one.run.error for one in outcomes] == ["", ""]


def test_a_nursery_that_hangs_keeps_nobody_waiting(monkeypatch):
    """Stopped, it is asked for a worker: there is none after the limit, so that its runner starts one itself."""
    monkeypatch.setattr(nursery, "IMPORT_SECONDS", 0.3)
    with nursery.Nursery(dict(os.environ)) as hung:
        os.kill(hung._process.pid, signal.SIGSTOP)
        assert hung.start() is None
        assert hung.alive
        os.kill(hung._process.pid, signal.SIGKILL)
