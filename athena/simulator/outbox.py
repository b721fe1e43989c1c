"""One WebSocket at the venue: a bounded queue out and the one task that sends from it; no slow client stalls the venue.

What is wrong with the stream's `Line` happens here: a mute one sends nothing, a stale one keeps its frames back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from aiohttp import WSMessage, WSMsgType, web

from athena.simulator.faults import Harmed, Line

CLOSE_SECONDS = 1.0


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Ends a connection the hard way: RST, and what was not sent yet is lost."""
    if isinstance(transport, asyncio.WriteTransport):
        ends: socket.socket | None = transport.get_extra_info("socket")
        if ends is not None:
            with suppress(OSError):
                ends.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class Outbox:
    """Frames waiting for one client. When `bound` wait the client is too slow: told `farewell`, if any, and cut off."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, bound: int, farewell: bytes | str | None, line: Line
    ) -> None:
        self._transport = request.transport
        self._socket = socket
        self._line = line
        self._queue: asyncio.Queue[tuple[bytes | str, float]] = asyncio.Queue(bound)
        self._farewell = farewell
        self._ended = False
        self._sender = asyncio.create_task(self._send_all())

    def put(self, frame: bytes | str, late_seconds: float = 0.0) -> None:
        """Queues a frame (bytes leave binary, str as text); never waits. After the end, frames vanish.

        A late frame holds up those behind it.
        """
        if self._ended:
            return
        try:
            self._queue.put_nowait((frame, asyncio.get_running_loop().time() + late_seconds))
        except asyncio.QueueFull:
            self._ended = True
            self._sender.cancel()
            self._sender = asyncio.create_task(self._cut_off())

    def put_harmed(self, frame: bytes | str, harm: Harmed) -> None:
        """Queues a frame the way a fault wants it."""
        frame = frame[: len(frame) // 2] if harm.broken else frame
        if harm.overtaken:
            asyncio.get_running_loop().call_later(harm.late_seconds, self.put, frame)
        else:
            self.put(frame, harm.late_seconds)

    async def receive(self) -> WSMessage:
        """The client's next message. Its pings are answered here, unless the line is too mute for that."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.PING:
                if self._line.answers_pings:
                    await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return message

    def drop(self) -> None:
        """Resets the connection, without a word."""
        self._ended = True
        self._sender.cancel()
        reset(self._transport)

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
            frame, due = await self._queue.get()
            if (early := due - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(early)
            await self._line.flowing.wait()
            if not self._line.mute:
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
