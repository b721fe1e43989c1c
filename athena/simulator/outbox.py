"""One WebSocket's way out: a bounded queue and the one task that sends from it, so no slow client stalls the venue."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

CLOSE_SECONDS = 1.0


class Outbox:
    """Frames waiting for one client. When `bound` wait the client is too slow: told `farewell`, if any, and cut off."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, bound: int, farewell: bytes | str | None
    ) -> None:
        self._transport = request.transport
        self._socket = socket
        self._queue: asyncio.Queue[bytes | str] = asyncio.Queue(bound)
        self._farewell = farewell
        self._ended = False
        self._sender = asyncio.create_task(self._send_all())

    def put(self, frame: bytes | str) -> None:
        """Queues a frame (bytes leave binary, str as text); never waits. After the end, frames vanish."""
        if self._ended:
            return
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self._ended = True
            self._sender.cancel()
            self._sender = asyncio.create_task(self._cut_off())

    async def close(self, code: int = 1000) -> None:
        """Sends what waits, for a moment at most, then closes the socket."""
        if not self._ended:
            self._ended = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), CLOSE_SECONDS)
            self._sender.cancel()
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self._socket.close(code=code), CLOSE_SECONDS)

    async def _send_all(self) -> None:
        while True:
            frame = await self._queue.get()
            with suppress(ConnectionError):  # the client went away: its reader, not the sender, ends the connection
                await self._send(frame)
            self._queue.task_done()

    async def _send(self, frame: bytes | str) -> None:
        if isinstance(frame, bytes):
            await self._socket.send_bytes(frame)
        else:
            await self._socket.send_str(frame)

    async def _cut_off(self) -> None:
        # The client's buffers are full, so the farewell may not leave either: the wait is short and the end abrupt.
        # (aiohttp shares one drain future: the cancelled sender may have cancelled ours too. Hence `finally`.)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._farewell is not None:
                    await self._send(self._farewell)
                await self._socket.close(code=1008, message=b"slow client")
        except (TimeoutError, ConnectionError):
            pass
        finally:
            if self._transport is not None:
                self._transport.abort()
