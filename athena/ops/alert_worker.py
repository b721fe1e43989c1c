"""What is done about alerts: halt if their rule says so, run their playbook, tell people.

One thread halts and tells, which takes milliseconds; LANES threads run playbooks, which take seconds or hang. Only the
last lane takes what is not critical. Each step is journaled before the next: whoever comes after a crash goes on there.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from athena.config import Settings
from athena.core.alerts import Alert, AlertState, unfinished_alerts
from athena.errors import JournalError
from athena.journal.journal import Journal
from athena.ops.alert_acting import Acting
from athena.ops.alert_answer import Answers, Run
from athena.ops.alert_nursery import WarmWorkers
from athena.ops.alert_telling import Telling
from athena.playbooks.runner import run_playbook

log = logging.getLogger("athena.alerts")
LANES = 3  # more would only share the same cores
POLL_SECONDS, RETRY_SECONDS = 1.0, 2.0
NURSERY_RETRY_SECONDS = 60.0  # one that cannot start costs seconds of a core each time
PICTURES_SECONDS = 5.0  # a page is told without its mail's pictures when these take longer
_RANK = {"critical": 0, "warning": 1}


class AlertWorker:
    """Works off unfinished alerts until stopped. `problem` is what keeps it from it, in words.

    run, workers: what runs playbooks, and in which processes; without workers each run starts its own, cold.
    """

    def __init__(
        self, settings: Settings, journal: Journal, run: Run = run_playbook, workers: WarmWorkers | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._journal, self._workers, self._clock = journal, workers, clock
        self._acting = Acting(settings, journal)
        self._answers = Answers(settings, journal, run, workers)
        self._telling = Telling(settings, journal, clock())
        self._stop, self._choosing = threading.Event(), threading.Lock()
        self._news = [threading.Event() for _ in range(LANES + 1)]  # one a thread: something is to be done
        self._taken: dict[str, float] = {}  # alerts that a lane is at -> when they may be told all the same
        self._aside: dict[str, float] = {}  # alerts that could not be answered -> when they are tried again
        self.problem = ""

    def arrived(self) -> None:
        """Something new is in the journal."""
        for news in self._news:
            news.set()

    def stop(self) -> None:
        self._stop.set()
        self.arrived()

    def work(self) -> None:
        """Until `stop`. What goes wrong is told, and tried again: nothing of an alert is given up in silence."""
        loops: list[Callable[[], bool]] = [self._lane_of(critical_only=lane < LANES - 1) for lane in range(LANES)]
        threads = [
            threading.Thread(target=self._until_stopped, args=(loop, news), name="alerts-lane")
            for loop, news in zip(loops, self._news[1:], strict=True)
        ]
        threads.append(threading.Thread(target=self._keep_workers, name="alerts-workers", daemon=True))
        for thread in threads:
            thread.start()
        self._until_stopped(self.attend, self._news[0])
        for thread in threads[:LANES]:
            thread.join()
        if self._workers is not None:
            self._workers.close()

    def step(self) -> bool:
        """Do the most urgent thing there is; False when there is none. Raises JournalError, and then lost nothing."""
        return self.attend() or self.answer()

    def attend(self) -> bool:
        """What takes no time: halt what alerts' rules say, or tell people of some; False when there is none."""
        if self._acting.step():
            return True
        with self._choosing:
            now = time.monotonic()
            alerts, taken = self._open(), {one for one, free in self._taken.items() if now < free}
        task = self._telling.next(alerts, taken, self._clock())
        if task is None:
            if not self._aside:
                self.problem = ""
            return False
        self._do(task[1], {alert.id for alert in task[0]})
        return True

    def answer(self, critical_only: bool = False) -> bool:
        """Run the playbook that the most urgent alerts want; False when none waits that may be taken."""
        with self._choosing:
            group = most_urgent(self._waiting(), critical_only)
            ids = [alert.id for alert in group]
            self._taken |= dict.fromkeys(ids, math.inf)
        if not group:
            return False

        def paged() -> bool:
            self._taken |= dict.fromkeys(ids, time.monotonic() + PICTURES_SECONDS)
            return not self._waiting()

        try:
            self._do(lambda: self._answers.answer(group, paged), ids)
        finally:
            with self._choosing:
                self._taken = {one: free for one, free in self._taken.items() if one not in ids}
            self._news[0].set()
        return True

    def _do(self, task: Callable[[], None], ids: Iterable[str]) -> None:
        """Do it. Alerts that it fails for are set aside before that is raised, so that they hold up no others."""
        try:
            task()
        except JournalError:  # then it fails for all
            raise
        except Exception:
            self._aside |= dict.fromkeys(ids, time.monotonic() + RETRY_SECONDS)
            raise
        for one in ids:
            self._aside.pop(one, None)

    def _open(self) -> list[Alert]:
        """Unfinished alerts but for those set aside."""
        now = time.monotonic()
        return [alert for alert in unfinished_alerts(self._journal) if self._aside.get(alert.id, 0.0) <= now]

    def _waiting(self) -> list[Alert]:
        """Alerts without a page that no lane is at, what their rule asks for tried at least."""
        return [
            alert for alert in self._open()
            if alert.state in (AlertState.RECEIVED, AlertState.RUNNING) and alert.id not in self._taken
            and not self._acting.due(alert)
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- threads

    def _lane_of(self, critical_only: bool) -> Callable[[], bool]:
        return lambda: self.answer(critical_only)

    def _until_stopped(self, step: Callable[[], bool], news: threading.Event) -> None:
        while not self._stop.is_set():
            try:
                news.wait(POLL_SECONDS)
                news.clear()
                while not self._stop.is_set() and step():
                    pass
            except Exception as error:
                self.problem = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
                log.error("an alert waits", exc_info=error)
                self._stop.wait(RETRY_SECONDS if isinstance(error, JournalError) else 0)

    def _keep_workers(self) -> None:
        while self._workers is not None and not self._stop.is_set():
            try:
                ready = self._workers.prepare()
            except Exception:
                log.exception("no worker can be prepared: runs start their own")
                ready = False
            self._stop.wait(POLL_SECONDS if ready else NURSERY_RETRY_SECONDS)


def most_urgent(alerts: Sequence[Alert], critical_only: bool = False) -> list[Alert]:
    """All alerts that wait for the playbook the most urgent one wants, or for a run of it to be taken up again."""
    choice = [alert for alert in alerts if not critical_only or alert.severity == "critical"]
    if not choice:
        return []
    first = min(choice, key=lambda a: (_RANK.get(a.severity, 2), a.state is not AlertState.RUNNING))
    wanted = (first.state, first.run, first.playbook, first.drill)
    return [a for a in alerts if (a.state, a.run, a.playbook, a.drill) == wanted]
