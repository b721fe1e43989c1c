"""Delivers what the outbox holds: `Courier(settings, journal).deliver()`, from any process, never the order thread.

Channels are independent: each has a thread of its own, and a hanging one holds up no other, not even its later
messages where the next pass is not to wait for it (`patience_seconds`). What was sent and could not be recorded (a full
disk) is recorded by the same courier's next pass, before anything else is claimed.
"""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from athena.config import Settings
from athena.core import channels, message, outbox
from athena.core.channel_apprise import send_apprise
from athena.core.channels import Fate, Outcome
from athena.core.outbox import Claim
from athena.errors import JournalError
from athena.journal.journal import Journal

BATCH_MAX = 30  # of one channel in one pass
CHANNELS_MAX = 32  # at once
_LEASE_SLACK_SECONDS = 30.0
Send = Callable[[Claim], Outcome]


@dataclass(frozen=True)
class Delivered:
    """One attempt as it ended: the delivery, its message's title, what it is now (sent, queued, dead), and why."""

    id: str
    channel: str
    severity: str
    title: str
    status: str
    told: str

    def __str__(self) -> str:
        word = {"queued": "later"}.get(self.status, self.status)
        return f"{word:<6} {self.channel:<8} {self.severity:<8} {self.title}: {self.told}"


class Courier:
    """Sends what is due and records what became of it; safe to run in as many processes as one likes."""

    def __init__(
        self, settings: Settings, journal: Journal, environment: Mapping[str, str],
        *, now: Callable[[], datetime] = lambda: datetime.now(UTC), jitter: Callable[[], float] = random.random,
        send: Send | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._journal = settings, journal
        self._now, self._jitter, self._send = now, jitter, send or by_channel(settings, environment)
        self._lease_seconds = deadline_seconds(settings) + _LEASE_SLACK_SECONDS
        self._unrecorded: queue.SimpleQueue[tuple[Claim, Outcome]] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(CHANNELS_MAX, thread_name_prefix="notify")
        self._busy: dict[str, Future[list[Delivered]]] = {}
        self._closed = False

    def deliver(self, patience_seconds: float | None = None) -> list[Delivered]:
        """One pass over all channels; what was attempted. Raises JournalError where nothing can be claimed.

        With `patience_seconds` a channel that takes longer goes on by itself; a later pass returns what came of it.
        """
        done = [self._record(*self._unrecorded.get()) for _ in range(self._unrecorded.qsize())]
        for channel in outbox.channels_due(self._journal, self._now(), lease_seconds=self._lease_seconds):
            if channel not in self._busy:
                self._busy[channel] = self._pool.submit(self._channel, channel)
        wait(self._busy.values(), patience_seconds)
        for channel in [channel for channel, found in self._busy.items() if found.done()]:
            done += self._busy.pop(channel).result()
        return done

    def close(self) -> list[Delivered]:
        """Begin no further message, wait for those under way, and return what came of them."""
        self._closed = True
        return [one for found in self._busy.values() for one in found.result()]

    def _channel(self, channel: str) -> list[Delivered]:
        """The due deliveries of one channel, one after the other; a channel that fails is left alone till later."""
        done: list[Delivered] = []
        lease = self._lease_seconds
        for _ in range(BATCH_MAX):
            if self._closed:
                break
            until = _uptime() + lease
            claim = outbox.claim(
                self._journal, channel, self._now(), lease_seconds=lease,
                per_minute=self._settings.notifications.per_minute,
            )  # fmt: skip
            if claim is None:
                break
            outcome = attempt(claim, self._send, deadline_seconds(self._settings), until)
            done.append(self._record(claim, outcome))
            if outcome.fate in {Fate.LATER, Fate.UNSURE}:
                break
        return done

    def _record(self, claim: Claim, outcome: Outcome) -> Delivered:
        facts = (claim.id, claim.channel, claim.message.severity, claim.message.title)
        try:
            status, told = outbox.finish(
                self._journal, claim, outcome, self._now(),
                give_up_hours=self._settings.notifications.give_up_hours, jitter=self._jitter,
            )  # fmt: skip
        except JournalError as error:
            self._unrecorded.put((claim, outcome))
            return Delivered(*facts, outcome.fate, f"{outcome.told}; NOT RECORDED YET: {error.message}")
        return Delivered(*facts, status, told)


def by_channel(settings: Settings, environment: Mapping[str, str]) -> Send:
    """Sends a claim by the channel it names, with the secrets of `environment`."""

    def send(claim: Claim) -> Outcome:
        lacking = channels.missing(claim.channel, settings.notifications, environment)
        if lacking:
            return Outcome(Fate.LATER, f"{lacking} where messages are delivered")
        if claim.channel == "slack":
            url, text = environment[channels.SLACK_VARIABLE], message.chat(claim.message, settings)
            return channels.post_slack(url, text, settings.notifications.timeout_seconds)
        if claim.channel == "email":
            to = (claim.recipient,) if claim.recipient else settings.notifications.email_to
            mail = message.mail(claim.message, settings, to)
            return channels.send_mail(mail, settings.notifications, environment.get(channels.PASSWORD_VARIABLE, ""))
        url, severity = environment[channels.apprise_variable(claim.channel)], claim.message.severity
        told = replace(claim.message, repeat=claim.message.repeat or claim.attempts > 1)
        title, body = message.subject(told, settings), "\n".join(message.paragraphs(told, settings))
        return send_apprise(url, claim.channel, title, body, severity)

    return send


def deadline_seconds(settings: Settings) -> float:
    """Of one attempt as a whole: connecting, greeting and handing over have the settings' time-out each."""
    return 3 * settings.notifications.timeout_seconds


def attempt(claim: Claim, send: Send, limit_seconds: float, until: float) -> Outcome:
    """What became of one attempt, UNSURE where it does not end in time: a receiver may trickle its answer for ever.

    until: uptime at which the claim's lease ends. A process that stood still for so long sends nothing any more:
    another has the message by then.
    """
    answer: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def run() -> None:
        try:
            late = Outcome(Fate.LATER, "this process stood still for longer than its claim on the message holds")
            answer.put(send(claim) if _uptime() < until else late)
        except Exception as error:  # a defect on the way out; its words may hold an address
            answer.put(Outcome(Fate.UNSURE, f"the attempt failed unexpectedly ({type(error).__name__})"))

    threading.Thread(target=run, name=f"notify-{claim.channel}", daemon=True).start()
    try:
        return answer.get(timeout=limit_seconds)
    except queue.Empty:
        return Outcome(Fate.UNSURE, f"no end within {limit_seconds:g} s")


def _uptime() -> float:
    """Seconds that no clock change touches, a machine's sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def past_the_journal(
    settings: Settings, what: message.Message, to: Sequence[str], environment: Mapping[str, str]
) -> list[Delivered]:
    """Send at once, all channels side by side, with no record: for a critical message that cannot be queued."""
    send, limit = by_channel(settings, environment), deadline_seconds(settings)
    claims = [Claim(f"{what.id}.{channel}", "", channel, what, what.at, 1, 0) for channel in to]
    with ThreadPoolExecutor(len(claims), thread_name_prefix="notify") as pool:
        outcomes = list(pool.map(lambda claim: attempt(claim, send, limit, math.inf), claims))
    return [
        Delivered(claim.id, claim.channel, what.severity, what.title, outcome.fate, outcome.told)
        for claim, outcome in zip(claims, outcomes, strict=True)
    ]
