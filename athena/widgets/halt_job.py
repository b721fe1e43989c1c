"""One halt asked for from a page, and its proof read back: the flag's word, the journal's row, the cancels.

The flag is set first and at once. The rest runs in a thread: a locked journal or a hung engine keeps nobody waiting,
and what is not known yet is said to be not known yet. Standard library and the guard only: the Jupyter server has it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.errors import AthenaError, SettingsError
from athena.live.guard_flag import GuardFlag, H, R, new_nonce
from athena.live.guard_halting import new_halt, open_journal, set_halt, wait_for_sends
from athena.model import OrderStatus, Scope
from athena.widgets.asked import HaltAsked, actor

if TYPE_CHECKING:
    from athena.journal.journal import Journal

CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.02
_KEPT_MOST = 256
_FINAL = tuple(status.value for status in OrderStatus if status.is_final)
_OPEN = (
    "SELECT client_order_id, symbol, strategy FROM orders WHERE purpose = 'strategy' AND strategy <> 'external'"
    f" AND status NOT IN ({', '.join(repr(status) for status in _FINAL)})"
)


class HaltJob:
    """One halt under way: `snapshot()` is what is proven so far, `finished` comes when nothing more will."""

    def __init__(self, settings: Settings, asked: HaltAsked) -> None:
        self.settings, self.asked = settings, asked
        self.reason = asked.reason or "HALT pressed; the reason is given after"
        self.nonce = new_nonce()
        self.id = f"halt-{self.nonce:016x}"
        self.at = datetime.now(UTC)
        self.finished: Future[None] = Future()
        self._lock = threading.Lock()
        parts = ("flag", "journal", "sends", "cancels")
        self._proof: dict[str, dict[str, Any]] = {name: {"ok": None, "text": "under way"} for name in parts}
        self._doubt = ""
        self._flag_set()

    @property
    def _everything(self) -> bool:
        return self.asked.scope is Scope.GLOBAL

    def _flag_set(self) -> None:
        """The flag before anything else, and read back through the path every process uses."""
        if not self._everything:
            self._tell("flag", True, "not used for a single symbol or strategy")
            return
        try:
            with flag_of(self.settings) as flag:
                flag.halt(self.nonce)
            with flag_of(self.settings) as flag:
                stands = flag.words[H] != 0 and flag.words[R] != flag.words[H]
            self._tell("flag", stands, "flag set" if stands else "the flag was lifted again at once by somebody else")
        except (AthenaError, OSError, ValueError) as error:
            self._tell("flag", False, f"FLAG NOT SET: {error}")

    def run(self) -> None:
        """Journal the halt, wait for orders on their way, follow the cancels; never raises."""
        try:
            with flag_of(self.settings) as flag:
                self._run(flag)
        except Exception as error:  # a flag that cannot be opened must not keep the journal from having it
            for name, part in self._proof.items():
                if part["ok"] is None:
                    self._tell(name, False, f"{name}: {type(error).__name__}: {error}")
        finally:
            if not self.finished.done():
                self.finished.set_result(None)

    def _run(self, flag: GuardFlag) -> None:
        journal: Journal | None = None

        def opened() -> Journal:
            nonlocal journal
            journal = open_journal(self.settings.journal_path, actor(self.settings, self.asked.notebook))
            return journal

        try:
            halt = new_halt(
                self.reason, scope=self.asked.scope, target=self.asked.target, owner=self.settings.operator,
                nonce=self.nonce, id=self.id,
            )  # fmt: skip
            set_halt(flag, opened, halt, wait=False)
            assert journal is not None
            self._read_back(journal)
            self._follow(flag, journal)
        except AthenaError as error:
            self._tell("journal", False, f"JOURNAL FAILED: {error}")
            self._tell("cancels", False, "cancels unknown without the journal; an emergency stop asks the venue itself")
            self._sends(flag)
        finally:
            if journal is not None:
                journal.close()

    def _read_back(self, journal: Journal) -> None:
        """The row as any other process would read it now, with the sequence of its event."""
        row = journal.one("SELECT cleared_at FROM halts WHERE id = ?", (self.id,))
        event = journal.one(
            "SELECT sequence FROM events WHERE kind = 'halt.set' AND sequence > ? AND payload LIKE ?"
            " AND kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity') ORDER BY sequence DESC LIMIT 1",
            (journal.head()[0] - 10_000, f'%"{self.id}"%'),
        )
        if row is None or event is None:
            self._tell("journal", False, "JOURNAL FAILED: the row is not there when read back")
        else:
            self._tell("journal", True, f"journal #{event['sequence']}", halt=self.id, sequence=event["sequence"])

    def _follow(self, flag: GuardFlag, journal: Journal) -> None:
        """Which orders were open, and what became of each, until all are final or nobody is there to cancel them."""
        asked = self.asked
        rows = journal.query(_OPEN)
        ids = [r["client_order_id"] for r in rows if self._everything or r[str(asked.scope)] == asked.target]
        deadline, sends = time.monotonic() + CANCEL_SECONDS, threading.Thread(target=self._sends, args=(flag,))
        sends.start()
        while True:
            states = _states(journal, ids)
            left = [state for state in states if state not in _FINAL]
            answering = flag.is_current() and flag.lease_seconds > 0
            waiting = left and answering and self.settings.cancel_on_halt and time.monotonic() < deadline
            self._cancels(states, left, answering, waiting=bool(waiting))
            if not waiting:
                break
            time.sleep(_POLL_SECONDS)
        if asked.target:
            from athena.ops.control import doubt_of

            self._doubt = doubt_of(self.settings, asked.scope, asked.target)
        sends.join()

    def _sends(self, flag: GuardFlag) -> None:
        clean, detail = wait_for_sends(flag)
        self._tell("sends", clean, "no order on its way" if clean else detail)

    def _cancels(self, states: list[str], left: list[str], answering: bool, *, waiting: bool) -> None:
        all_, open_ = len(states), len(left)
        counts = {"open_before": all_, "open_now": open_, "cancelled": states.count("canceled")}
        counts["filled"] = states.count("filled")
        orders, noun = f"{open_} order{'' if open_ == 1 else 's'}", "order" if all_ == 1 else "orders"
        if not all_:
            self._tell("cancels", True, "no open orders", **counts)
        elif not open_:
            fates = {"cancelled": counts["cancelled"], "filled first": counts["filled"]}
            fates["never left"] = all_ - sum(fates.values())
            told = ", ".join(f"{count} {fate}" for fate, count in fates.items() if count)
            every = f"{all_} of {all_} {noun} cancelled" if counts["cancelled"] == all_ else f"{all_} {noun}: {told}"
            self._tell("cancels", True, every, **counts)
        elif waiting:
            self._tell("cancels", None, f"{orders} of {all_} being cancelled", **counts)
        elif not self.settings.cancel_on_halt:
            self._tell("cancels", False, f"{orders} STILL OPEN: cancel_on_halt is off", **counts)
        elif not answering:
            self._tell("cancels", False, f"{orders} MAY BE OPEN AT THE VENUE: the engine does not answer", **counts)
        else:
            why = f"not confirmed within {CANCEL_SECONDS:.0f} s"
            self._tell("cancels", False, f"{orders} of {all_} STILL OPEN: {why}", **counts)

    def _tell(self, part: str, ok: bool | None, text: str, **facts: Any) -> None:
        with self._lock:
            self._proof[part] = {"ok": ok, "text": text, **facts}

    @property
    def halted(self) -> bool | None:
        """Whether trading is stopped where it was asked: True by flag or journal, None while that is under way."""
        with self._lock:
            flag, journal = self._proof["flag"]["ok"], self._proof["journal"]["ok"]
        return bool(flag or journal) if self._everything else journal

    def binds(self) -> bool:
        """True while this halt still does what it was asked for, so that a repeated click need not make another."""
        if not self.finished.done():
            return True
        if not self.halted:
            return False
        try:
            if self._everything:
                with flag_of(self.settings) as flag:
                    return flag.words[R] != flag.words[H]
            with open_journal(self.settings.journal_path, "halt") as journal:
                return journal.one("SELECT 1 FROM halts WHERE id = ? AND cleared_at IS NULL", (self.id,)) is not None
        except (AthenaError, OSError):
            return False

    def snapshot(self) -> dict[str, Any]:
        """What is proven so far, as JSON has it; `text` says it in one line, `next` what to do."""
        halted, done = self.halted, self.finished.done()
        with self._lock:
            proof = {name: dict(part) for name, part in self._proof.items()}
        return {
            "key": self.asked.key, "account": self.settings.account_name, "operator": self.settings.operator,
            "scope": str(self.asked.scope), "target": self.asked.target, "reason": self.reason,
            "reason_given": bool(self.asked.reason), "id": self.id, "at": self.at.isoformat(),
            "halted": halted, "done": done, **proof, "doubt": self._doubt,
            "text": self._sentence(halted, proof), "next": self._next(halted, proof),
        }  # fmt: skip

    def _sentence(self, halted: bool | None, proof: Mapping[str, Mapping[str, Any]]) -> str:
        what = f" {self.asked.target}" if self.asked.target else ""
        word = {True: "HALTED", False: "NOT HALTED", None: "HALTING"}[halted]
        parts = [proof["flag"]["text"]] if self._everything else []
        parts.append("journal under way" if proof["journal"]["ok"] is None else proof["journal"]["text"])
        parts.append("cancels under way" if proof["cancels"]["text"] == "under way" else proof["cancels"]["text"])
        if proof["sends"]["ok"] is False:
            parts.append(f"NOT CLEAN: {proof['sends']['text']}")
        return f"{word}{what} {self.at.astimezone():%H:%M:%S}: " + ", ".join(parts)

    def _next(self, halted: bool | None, proof: Mapping[str, Mapping[str, Any]]) -> str:
        if halted is False:
            return "In a terminal now: athena halt. If that fails too: athena emergency-stop."
        if proof["journal"]["ok"] is False:
            return "The flag holds until this machine restarts. Mend the journal, then halt again to record it."
        if proof["cancels"]["ok"] is False or proof["sends"]["ok"] is False:
            return "See what the venue has; an emergency stop cancels there without the engine."
        return ""


class Halts:
    """The halts asked for in this process, by the key of their click: a click storm is one halt."""

    def __init__(self, workers: int = 8) -> None:
        self._jobs: OrderedDict[str, HaltJob] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="athena-halt")

    def begin(self, settings: Settings, asked: HaltAsked) -> HaltJob:
        """The halt of this key, begun unless one of that key still binds. The flag is set when this returns."""
        with self._lock:
            job = self._jobs.get(asked.key)
            if job is not None and job.asked == asked and job.settings.folder == settings.folder and job.binds():
                return job
            job = self._jobs[asked.key] = HaltJob(settings, asked)
            while len(self._jobs) > _KEPT_MOST:
                self._jobs.popitem(last=False)
        self._pool.submit(job.run)
        return job

    def find(self, key: str) -> HaltJob | None:
        return self._jobs.get(key)


@contextmanager
def flag_of(settings: Settings) -> Iterator[GuardFlag]:
    """The flag every process of this live system opens now; closed at the end."""
    flag = GuardFlag.open(settings.journal_path)
    try:
        yield flag
    finally:
        flag.close()


def annotate(settings: Settings, halt: str, reason: str, notebook: str) -> int:
    """Journal the reason of a halt given after it: a note beside it, for history is never edited. Its sequence.

    Raises SettingsError for an unknown halt or no reason, JournalError where it cannot be written.
    """
    if not reason:
        raise SettingsError("the reason is empty.", "Say in a few words why.")
    with open_journal(settings.journal_path, actor(settings, notebook)) as journal:
        if journal.one("SELECT 1 FROM halts WHERE id = ?", (halt,)) is None:
            raise SettingsError(f"'{halt}' is not a halt of this journal.", "Look again: athena status.")
        facts = {"text": f"reason of {halt}: {reason}", "halt": halt, "reason": reason, "by": settings.operator}
        return journal.append("note", facts).sequence


def _states(journal: Journal, ids: list[str]) -> list[str]:
    found: list[str] = []
    for begin in range(0, len(ids), 500):
        page = ids[begin : begin + 500]
        marks = ", ".join("?" * len(page))
        found += [r[0] for r in journal.query(f"SELECT status FROM orders WHERE client_order_id IN ({marks})", page)]
    return found
