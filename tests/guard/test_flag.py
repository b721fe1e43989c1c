"""The flag refuses whatever may have happened to its file, and the guardian notices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from athena.errors import GuardError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_flag import SIZE, GuardFlag, H, L, R, claim_engine
from athena.live.verdict import Approved
from athena.model import Mode
from tests.guard.conftest import NOON, intent, until


@pytest.fixture
def flag(tmp_path: Path) -> GuardFlag:
    """A flag that allows."""
    made = GuardFlag.open(tmp_path / "journal.sqlite3")
    made.acknowledge(made.halt())
    made.renew()
    assert made.allows()
    return made


def test_new_flag_refuses(tmp_path: Path) -> None:
    """A flag nobody has written, as after a reboot, refuses."""
    assert not GuardFlag.open(tmp_path / "journal.sqlite3").allows()


@pytest.mark.parametrize("word", [H, R, L])
@pytest.mark.parametrize("value", [0, 1])
def test_zero_or_foreign_word_refuses(flag: GuardFlag, word: int, value: int) -> None:
    """Any word that is zero, or another's, refuses."""
    flag.words[word] = value
    assert not flag.allows()


def test_half_written_nonce_refuses(flag: GuardFlag) -> None:
    """A torn halt, half old and half new, is not the acknowledged one."""
    flag.words[H] = flag.words[R] & 0xFFFFFFFF00000000 | 0xDEADBEEF
    assert not flag.allows()


def test_lease_runs_out(flag: GuardFlag) -> None:
    """Without a guardian nothing is allowed once the lease has passed."""
    flag.renew(0.0)
    assert not flag.allows()
    assert flag.lease_seconds <= 0


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * SIZE])
def test_truncated_or_emptied_file_refuses(flag: GuardFlag, content: bytes) -> None:
    """A file cut short or zeroed under a mapping is opened by the next process as a refusing one."""
    Path(flag.path).write_bytes(content)
    fresh = GuardFlag(Path(flag.path))
    assert not fresh.allows()
    assert os.path.getsize(flag.path) == SIZE


@pytest.mark.parametrize("damage", ["unlinked", "replaced", "truncated"])
def test_mapping_of_a_lost_file_is_noticed(flag: GuardFlag, damage: str) -> None:
    """The old mapping still says yes; comparing the file says that it is not the one any more."""
    path = Path(flag.path)
    if damage == "truncated":
        os.truncate(path, 0)
    else:
        path.unlink()
        if damage == "replaced":
            path.write_bytes(b"\0" * SIZE)
    assert not flag.is_current()


def test_flags_of_lost_journals_are_swept(tmp_path: Path) -> None:
    """A new flag removes those whose journal is gone; one vouched for, young, or whose journal is there, stays."""
    there, gone, vouched, young = (
        tmp_path / name / "journal.sqlite3" for name in ("there", "gone", "vouched", "young")
    )
    there.parent.mkdir()
    there.touch()
    flags = [GuardFlag.open(journal) for journal in (there, gone, vouched, young)]
    flags[2].renew(60)
    for flag in flags[:3]:
        os.utime(flag.path, (0, 0))
    new = GuardFlag.open(tmp_path / "new.sqlite3")
    assert [Path(flag.path).exists() for flag in flags] == [True, False, True, True]
    for flag in (*flags, new):
        Path(flag.path).unlink(missing_ok=True)
        flag.close()


def test_foreign_folder_is_not_used(tmp_path: Path) -> None:
    """A folder others may write into is refused with its name."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(GuardError, match="not yours alone"):
        GuardFlag(folder / "x.flag")


@pytest.mark.parametrize("damage", ["unlink", "replace", "zero", "truncate"])
def test_engine_refuses_and_guardian_recovers_halted(
    engine: ExecutionGuard, handle: ExecutionGuard, damage: str
) -> None:
    """However the flag's file goes, no order passes, and the new file's halt is on record within two seconds."""
    path = Path(engine.flag.path)
    if damage == "zero":
        for word in (H, R, L):
            engine.flag.words[word] = 0
    elif damage == "truncate":
        os.truncate(path, 8)  # not 0: reading past the end of the last page would kill the process, which refuses too
        os.truncate(path, SIZE)
    else:
        path.unlink()
        if damage == "replace":
            path.write_bytes(b"\0" * SIZE)
    assert not engine.admit(intent(), NOON)
    until(lambda: any("died" in halt.reason for halt in handle.halts()))
    assert not engine.admit(intent(), NOON)
    assert handle.flag.words[H] == engine.flag.words[H]


def test_unlinked_journal_refuses_until_restart(engine: ExecutionGuard) -> None:
    """SQLite would go on writing into the unlinked file; the guard sees it before the next order."""
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    engine.settings.journal_path.unlink()
    assert not engine.admit(intent(), NOON)
    with engine.sending(verdict) as clear:
        assert not clear
    until(lambda: bool(engine.gate.broken))
    assert not engine.flag.allows()


def test_expired_lease_refuses_in_the_engine(engine: ExecutionGuard) -> None:
    """An engine whose guardian stopped refuses at once, though nothing was halted."""
    verdict = engine.admit(intent(), NOON)
    assert isinstance(verdict, Approved)
    engine.stop_guardian()
    with engine.sending(verdict) as clear:
        assert not clear
    refused = engine.check(intent(), NOON)
    assert refused is not None
    assert refused.code == "GUARD_UNSURE"
    assert engine.get_status().mode is Mode.ACTIVE
    assert not engine.get_status().passes


def test_one_engine_per_journal(tmp_path: Path) -> None:
    """A second engine is refused with the first one's pid; its death frees the place at once."""
    journal = tmp_path / "journal.sqlite3"
    code = "import sys, time; from pathlib import Path; from athena.live.guard_flag import claim_engine\n"
    code += "claim_engine(Path(sys.argv[1])); print('claimed', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(journal)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(GuardError, match=str(other.pid)):
            claim_engine(journal)
        other.kill()
    os.close(claim_engine(journal))
