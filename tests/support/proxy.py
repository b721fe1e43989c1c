"""A faulty network in front of a port, its loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from athena.simulator.proxy import FaultProxy
from tests.support.faulty_venue import own_loop

Result = TypeVar("Result")


@dataclass(frozen=True)
class RunningProxy:
    """`do(proxy.cut)`, `do(proxy.half_open, "to_client")`: every verb on the proxy's own loop."""

    proxy: FaultProxy
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1)

    def do(self, verb: Callable[..., Result], *arguments: object, **options: object) -> Result:
        async def run() -> Result:
            return verb(*arguments, **options)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


@contextmanager
def running_proxy(upstream: int) -> Iterator[RunningProxy]:
    """A FaultProxy on a free port in front of `upstream`."""
    with own_loop() as loop:
        proxy = FaultProxy(upstream)
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
        try:
            yield RunningProxy(proxy, loop)
        finally:
            asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
