"""Venues that misbehave on purpose: a stub whose answers go wrong, and a wire that goes dead."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

HTML = "<html><head><title>Bad gateway</title></head><body>sorry</body></html>"


class FaultyVenue:
    """Takes orders by REST like Alpaca, except where `faults[(method, path)]` names a fault; counts what it received.

    Faults: hang, reset (before taking), taken+reset, taken+hang, taken+html, taken+504 (the order was taken all the
    same), or any dict {"status", "body", "headers"} as the answer. A list of faults is used up one by one.
    """

    def __init__(self) -> None:
        self.faults: dict[tuple[str, str], Any] = {}
        self.received: list[tuple[str, str]] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.headers: dict[str, str] = {}
        self.released = asyncio.Event()
        self.url = ""

    def count(self, method: str, path: str) -> int:
        return self.received.count((method, path))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.path
        self.received.append((method, path))
        fault = self.faults.get((method, path))
        if isinstance(fault, list):
            fault = fault.pop(0) if fault else None
        taken = isinstance(fault, str) and fault.startswith("taken+")
        answer: web.StreamResponse | None = None
        if fault is None or taken:
            answer = await self.answer(request)
        if isinstance(fault, dict):
            return web.Response(status=fault["status"], text=fault.get("body", ""), headers=fault.get("headers"))
        ending = str(fault or "").removeprefix("taken+")
        if ending == "hang":
            await self.released.wait()
        if ending in {"hang", "reset"}:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if ending == "html":
            return web.Response(text=HTML, content_type="text/html")
        if ending == "504":
            return web.Response(status=504, text=HTML, content_type="text/html")
        assert answer is not None
        answer.headers.update(self.headers)
        return answer

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method == "POST" and path == "/v2/orders":
            asked = await request.json()
            if asked["client_order_id"] in self.orders:
                return refusal(422, 40010001, "client_order_id must be unique")
            order = self.orders[asked["client_order_id"]] = wire_order(**asked)
            return web.json_response(order)
        if path == "/v2/orders:by_client_order_id":
            found = self.orders.get(request.query["client_order_id"])
            return web.json_response(found) if found else refusal(404, 40410000, "order not found for X")
        if path.startswith("/v2/orders/") and request.method == "DELETE":
            return web.Response(status=204)
        if path == "/v2/orders":
            return web.json_response(list(self.orders.values()))
        if path == "/v2/positions":
            return web.json_response([])
        if path == "/v2/clock":
            now = datetime.now(UTC).isoformat()
            return web.json_response({"timestamp": now, "is_open": True, "next_open": now, "next_close": now})
        return refusal(404, 40410000, "endpoint not found")


def wire_order(**asked: Any) -> dict[str, Any]:
    """An order as Alpaca writes it."""
    now = datetime.now(UTC).isoformat()
    order = {
        "id": str(uuid4()),
        "client_order_id": str(uuid4()),
        "created_at": now,
        "updated_at": now,
        "submitted_at": now,
        "symbol": "AAPL",
        "qty": "10",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "type": "market",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": None,
        "status": "accepted",
        "extended_hours": False,
    }
    return order | asked


def refusal(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def json_fault(status: int, code: int, message: str, **headers: str) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"code": code, "message": message}), "headers": headers}


@contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop running in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def faulty_venue() -> Iterator[FaultyVenue]:
    venue = FaultyVenue()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", venue.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def stop(runner: web.AppRunner) -> None:
        venue.released.set()
        await asyncio.sleep(0.01)
        await runner.cleanup()

    with own_loop() as loop:
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield venue
        finally:
            asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)


class Wire:
    """TCP connections to `port` that can go dead: frozen, they carry nothing either way and close nothing."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def freeze(self) -> None:
        self._flowing.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        ways = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, far_writer):
            end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    with own_loop() as loop:
        server = asyncio.run_coroutine_threadsafe(wire.start(), loop).result(10)
        try:
            yield wire
        finally:

            async def stop() -> None:
                server.close()
                for task in list(wire._tasks):
                    task.cancel()
                await asyncio.sleep(0.05)

            asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
