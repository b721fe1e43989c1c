"""Where faults come in: around each REST request, and on each message a stream is about to send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Faults(Protocol):
    """What may go wrong between the venue and its client; the exchange itself is never touched."""

    async def request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers `request`, normally by `await handler(request)`; before and after it there is room for harm."""
        ...

    def messages(self, stream: str, message: Any) -> Iterable[Any]:
        """What leaves in place of `message` on `stream` ("trade_updates" or "market_data"): normally it alone."""
        ...


class NoFaults:
    """The well-behaved venue."""

    async def request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    def messages(self, stream: str, message: Any) -> Iterable[Any]:
        return (message,)
