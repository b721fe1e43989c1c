"""A network that fails on command: TCP connections to a venue on loopback, cut, slowed down or gone silent.

What goes wrong here neither end can see but by waiting: it is below HTTP and WebSocket, where `faults` cannot reach.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from athena.errors import SimulatorError
from athena.simulator.outbox import reset

CHUNK_BYTES = 16_384
SLICES = 20  # a throttled way sends so many pieces a second
WAYS = ("to_venue", "to_client")


class FaultProxy:
    """Forwards 127.0.0.1:`port` to a port of this machine, for better or worse; `upstream` may be changed meanwhile.

    `latency_seconds` and `bytes_per_second` (0: as fast as it goes) may be set at any time and hold for every byte that
    arrives from then on. Everything happens on the event loop that called `start`.
    """

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream = upstream
        self.port = port
        self.latency_seconds = 0.0
        self.bytes_per_second = 0
        self.refuses = False
        self.accepted = 0
        self._flowing = {way: asyncio.Event() for way in WAYS}
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.heal()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections stand."""
        return len(self._connections)

    async def start(self) -> None:
        """Listens. Raises SimulatorError where the port cannot be had."""
        try:
            self._server = await asyncio.start_server(self._arrive, "127.0.0.1", self.port)
        except OSError as error:
            raise SimulatorError(f"Port {self.port} cannot be had: {error.strerror}.") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Resets what stands and lets go of the port. Harmless when repeated."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What may go wrong

    def cut(self, *, stay_down: bool = False) -> int:
        """Resets every connection, both ends of it; how many. `stay_down` resets new ones too, until `heal`."""
        self.refuses = stay_down
        standing = tuple(self._connections)
        for connection in standing:
            connection.reset()
        return len(standing)

    def half_open(self, *ways: str) -> None:
        """Silence until `heal`: connections stand and new ones are accepted, but nothing passes, not even an end.

        `ways` narrows it to "to_venue" (requests are lost) or "to_client" (the venue takes them, no answer returns).
        As in a real partition, what was on its way arrives when it heals.
        """
        for way in ways or WAYS:
            self._flowing[way].clear()

    def throttle(self, bytes_per_second: int) -> None:
        """So many bytes a second, each way and connection; 0 lifts it."""
        self.bytes_per_second = bytes_per_second

    def heal(self) -> None:
        """Everything passes again, at once."""
        self.refuses, self.latency_seconds, self.bytes_per_second = False, 0.0, 0
        for flowing in self._flowing.values():
            flowing.set()

    # One connection

    def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuses:
            reset(writer.transport)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            await self._flowing["to_venue"].wait()
            far_reader, connection.far = await asyncio.open_connection("127.0.0.1", self.upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry("to_venue", reader, connection.far))
                group.create_task(self._carry("to_client", far_reader, writer))
        except* OSError:
            connection.reset()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _carry(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All bytes one way, in order, each as late and as slow as it is to be; then the end, as it was: FIN or RST."""
        loop = asyncio.get_running_loop()
        ended_by: list[OSError] = []
        waiting: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue(64)

        async def read() -> None:
            while True:
                try:
                    data = await reader.read(CHUNK_BYTES)
                except OSError as error:
                    ended_by.append(error)
                    data = b""
                await waiting.put((data, loop.time() + self.latency_seconds))
                if not data:
                    return

        async def write() -> None:
            while True:
                data, due = await waiting.get()
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                if not data:
                    await self._flowing[way].wait()
                    if ended_by:
                        raise ended_by[0]
                    with suppress(OSError):
                        writer.write_eof()
                    return
                while data:
                    rate = self.bytes_per_second
                    piece = data[: max(1, rate // SLICES)] if rate else data
                    data = data[len(piece) :]
                    if rate:
                        await asyncio.sleep(len(piece) / rate)
                    await self._flowing[way].wait()
                    writer.write(piece)
                    await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(write())


class _Connection:
    """Both ends of one connection; the far one is there once the venue took it."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None

    def reset(self) -> None:
        for end in (self.near, self.far):
            reset(None if end is None else end.transport)

    def close(self) -> None:
        for end in (self.near, self.far):
            if end is not None:
                end.close()
