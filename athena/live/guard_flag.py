"""The fast flag: five shared words that every process of this account maps, and that refuse when in doubt.

    H  nonce of the latest global halt; anyone may write it, at any time, without asking
    R  nonce of the halt that the last approved resume acknowledged
    L  lease: the engine's guardian promises to be watching until this boot time (ns)
    E  random; rewritten after every change of halts or limits, so that the engine reloads before its next check
    S  boot time (ns) at which the oldest order now on its way to the venue began to be sent; 0 when none is

Orders may pass only if H is set, R equals H and the lease has not run out. A zero, torn, missing or old word refuses.
The file lives in memory (it must not survive a reboot), one word per cache line. Standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import time
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from athena.errors import GuardError

SIZE = 4096
H, R, L, E, S = 8, 16, 24, 32, 40  # indices of 8-byte words, 64 bytes apart: one word per cache line
LEASE_SECONDS = 2.0
_OWNER_AT, _OWNER_BYTES = SIZE // 2, SIZE // 2 - 1  # where the file says whose it is: the journal's path
_SWEPT_MOST = 64
_SWEPT_AFTER_SECONDS = 60.0  # a halt set a moment ago for a place without a journal is still somebody's

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS's monotonic clock counts sleep as well


def boottime_ns() -> int:
    """Nanoseconds since boot, suspended time included; the same clock in every process, never set back."""
    return time.clock_gettime_ns(_CLOCK)


def new_nonce() -> int:
    """A random word, never zero."""
    return int.from_bytes(os.urandom(8), "little") | 1


class GuardFlag:
    """The mapped words of one account; `words[H]` reads one in 0.1 µs, and a store of one word is never torn."""

    __slots__ = ("_descriptor", "_identity", "_map", "path", "words")

    def __init__(self, path: Path) -> None:
        self._descriptor = descriptor = _open_private(path)
        try:
            facts = os.fstat(descriptor)
            if facts.st_size < SIZE:  # new, or truncated: the zeros that fill it refuse
                os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        except OSError as error:
            os.close(descriptor)
            raise GuardError(
                f"The guard flag {path} cannot be mapped: {error}.", "Free memory in its folder."
            ) from error
        self.path = str(path)
        self.words = memoryview(self._map).cast("Q")
        self._identity = (facts.st_dev, facts.st_ino)

    @classmethod
    def open(cls, journal_path: Path) -> GuardFlag:
        """Map the flag that belongs to a journal, creating it (refusing) when there is none. Raises GuardError."""
        path = flag_path(journal_path)
        fresh = not path.exists()
        flag = cls(path)
        if fresh:
            os.pwrite(flag._descriptor, os.fsencode(os.path.realpath(journal_path))[:_OWNER_BYTES], _OWNER_AT)
            _sweep(path)
        return flag

    def allows(self, now_ns: int | None = None) -> bool:
        """True only if the latest halt is acknowledged and the guardian's lease stands."""
        halted = self.words[H]
        return halted != 0 and self.words[R] == halted and (boottime_ns() if now_ns is None else now_ns) < self.words[L]

    def is_current(self) -> bool:
        """True while the path still names the file mapped here, whole: a mapping outlives its file without a sign."""
        try:
            facts = os.stat(self.path)
        except OSError:
            return False
        return (facts.st_dev, facts.st_ino) == self._identity and facts.st_size >= SIZE

    def is_whole(self) -> bool:
        """True while reading the mapping is safe; past the end of a cut file it would kill the process."""
        return os.fstat(self._descriptor).st_size >= SIZE

    def halt(self, nonce: int | None = None) -> int:
        """Refuse from now on, in every process; the nonce written is what a resume must acknowledge."""
        nonce = nonce or new_nonce()
        self.words[H] = nonce
        return nonce

    def acknowledge(self, nonce: int) -> None:
        """A resume that is durable acknowledges the halt it saw; harmless when a newer halt has been written."""
        self.words[R] = nonce

    def renew(self, seconds: float = LEASE_SECONDS) -> None:
        self.words[L] = boottime_ns() + int(seconds * 1e9)

    def expire(self) -> None:
        self.words[L] = 0

    @property
    def lease_seconds(self) -> float:
        """Seconds the lease still stands; negative when it has run out."""
        return (self.words[L] - boottime_ns()) / 1e9

    def announce_change(self) -> None:
        """Make the engine reload halts and limits before its next check."""
        self.words[E] = new_nonce()

    def close(self) -> None:
        self.words.release()
        self._map.close()
        os.close(self._descriptor)


def flag_path(journal_path: Path) -> Path:
    """Where the flag of a journal lives: in memory, private to the user, another one after every boot."""
    uid = os.getuid()
    folder = Path("/dev/shm")
    if sys.platform != "linux" or not folder.is_dir():
        import tempfile  # takes a twentieth of the time a halt has

        folder = Path(tempfile.gettempdir())
    digest = blake2b(os.fsencode(os.path.realpath(journal_path)), digest_size=8).hexdigest()
    return folder / f"athena-{uid}" / f"{digest}-{_boot_id()}.flag"


def _sweep(own: Path) -> None:
    """Remove other, older flags whose journal is gone and that no engine vouches for; at most a few, never raising."""
    try:
        with os.scandir(own.parent) as entries:
            others = (e for e in entries if e.name.endswith(".flag") and e.name != own.name)
            born = own.stat().st_mtime  # a moment ago, by the clock that dates the others
            old = (e.path for e in others if born - e.stat().st_mtime > _SWEPT_AFTER_SECONDS)
            found = list(islice(old, _SWEPT_MOST))
        for path in found:
            with open(path, "rb") as file:
                content = file.read(SIZE)
            owner = content[_OWNER_AT : _OWNER_AT + _OWNER_BYTES].rstrip(b"\0")
            lease = int.from_bytes(content[8 * L : 8 * L + 8], sys.byteorder)
            if owner and lease < boottime_ns() and not os.path.lexists(owner):
                os.unlink(path)
    except OSError:
        pass  # it is only tidiness


def claim_engine(journal_path: Path) -> int:
    """A descriptor whose lock says that this process is the journal's engine; it falls with the process.

    Raises GuardError when another process has it.
    """
    descriptor = _open_private(flag_path(journal_path).with_suffix(".engine"))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        who = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise GuardError(
            f"Another engine (pid {who}) has {journal_path}.", "Stop it first, or give this one its own ATHENA_ACCOUNT."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:  # not Linux: the temporary folder is emptied at boot, and the lease has run out anyway
        return "boot"


def _open_private(path: Path) -> int:
    """A descriptor of the file, made if missing; nobody else's file or folder is ever used."""
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        folder = os.lstat(path.parent)
        if folder.st_uid != os.getuid() or folder.st_mode & 0o022:
            raise GuardError(f"The guard flag's folder {path.parent} is not yours alone.", "Remove it and start again.")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise GuardError(f"The guard flag {path} cannot be opened: {error}.", "See who made that path.") from error
