"""The time schedules follow: the machine's for paper and live, the simulator's own for it, at whatever speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from athena.config import Settings
from athena.live.venue_clock import FollowedClock

FOLLOW_SECONDS = 5.0


class Time(Protocol):
    """Tells the time a schedule follows, and how fast that runs."""

    @property
    def speed(self) -> float: ...
    def __call__(self) -> datetime: ...


class MachineTime:
    """The machine's time, which the schedules of paper and live follow."""

    speed = 1.0

    def __call__(self) -> datetime:
        return datetime.now(UTC)


class SimulatorTime:
    """The simulator's time and speed, as `GET /v2/clock` tells them."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float]) -> None:
        from athena.live.brokers.alpaca import AlpacaBroker

        self._followed, self._broker = FollowedClock(monotonic), AlpacaBroker.get_instance(settings)
        self._monotonic, self._asked_at = monotonic, float("-inf")

    @property
    def speed(self) -> float:
        return self._followed.speed

    def __call__(self) -> datetime:
        if (asked := self._monotonic()) - self._asked_at > FOLLOW_SECONDS:
            self._followed.follow(asyncio.run(self._broker.get_clock()), asked, self._monotonic())
            self._asked_at = asked
        return self._followed.now()


def clock(settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> Time:
    """The time that schedules of these settings follow."""
    return SimulatorTime(settings, monotonic) if settings.venue == "simulator" else MachineTime()
