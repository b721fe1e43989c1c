"""The trading WebSocket, `/stream`: authenticate, listen, and trade_updates of one account, in binary frames."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from athena.simulator import wire
from athena.simulator.access import VENUE, Venue, credentials, problem
from athena.simulator.account import VenueAccount
from athena.simulator.errors import VenueError
from athena.simulator.faults import Harmed, Line
from athena.simulator.orders import TradeUpdate
from athena.simulator.outbox import Outbox

STREAMS = {"trade_updates", "account_updates"}


@dataclass(eq=False, slots=True)
class Connection:
    """One client: its account once authenticated, and the streams it listens to."""

    outbox: Outbox
    venue: Venue
    key: str | None = None
    streams: set[str] = field(default_factory=set)

    def send(self, stream: str, data: dict[str, Any]) -> None:
        """Queues one message; trade updates pass through the faults first."""
        message = {"stream": stream, "data": data}
        leaving = self.venue.faults.messages(stream, message) if stream == "trade_updates" else (message,)
        for out in leaving:
            if isinstance(out, Harmed):
                self.outbox.put_harmed(_frame(out.message), out)
            else:
                self.outbox.put(_frame(out))

    def on_update(self, update: TradeUpdate) -> None:
        """The exchange's callback."""
        if "trade_updates" in self.streams:
            self.send("trade_updates", wire.trade_update(update))
            self.venue.count("trade_updates")


class TradeStream:
    """All trading connections of the venue, one per account; a second one is refused at the handshake with 429.

    A client that gives no key at the handshake (alpaca-py does not) is refused there when every account is connected
    already; where another account is free, it is let in, and cut off once it says that it is the connected one.
    """

    def __init__(self, auth_seconds: float, frames_waiting_max: int) -> None:
        self._auth_seconds = auth_seconds
        self._frames_waiting_max = frames_waiting_max
        self.connections: dict[str, Connection] = {}
        self.line = Line()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One client's whole connection."""
        venue = request.app[VENUE]
        if self.line.down:
            return problem(503, 50310000, "service unavailable")
        given = credentials(request.headers, venue.keys)
        taken = given[0] in self.connections if given else len(self.connections) >= len(venue.keys)
        if taken or self.line.refuses:
            return problem(429, 42910000, "connection limit exceeded")
        socket = web.WebSocketResponse(heartbeat=30.0, max_msg_size=1 << 20, autoping=False)
        await socket.prepare(request)
        outbox = Outbox(request, socket, self._frames_waiting_max, farewell=None, line=self.line)
        connection = Connection(outbox, venue)
        unsubscribe = None
        try:
            account = await self._authenticate(connection)
            if account is not None and connection.key is not None:
                self.connections[connection.key] = connection
                unsubscribe = venue.exchange.subscribe(account, connection.on_update)
                _confirm(connection)
                await self._converse(connection)
        finally:
            if unsubscribe is not None:
                unsubscribe()
            if connection.key and self.connections.get(connection.key) is connection:
                del self.connections[connection.key]
            await outbox.close()
        return socket

    def drop(self) -> None:
        """Resets every connection."""
        for connection in list(self.connections.values()):
            connection.outbox.drop()

    async def close(self) -> None:
        """Ends every connection."""
        await asyncio.gather(*(connection.outbox.close(code=1001) for connection in list(self.connections.values())))

    async def _authenticate(self, connection: Connection) -> VenueAccount | None:
        """Waits for the right key, some seconds; a wrong one may be followed by another. None: the connection ends."""
        deadline = asyncio.get_running_loop().time() + self._auth_seconds
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    message = await _receive(connection)
            except TimeoutError:
                return None
            if message is None:
                return None
            try:
                key, secret = _offered(message)
                account = connection.venue.exchange.account(key, secret)
            except VenueError:
                action = message.get("action")
                connection.send("authorization", {"status": "unauthorized", "action": action})
                continue
            if key in self.connections:
                return None
            connection.key = key
            return account

    async def _converse(self, connection: Connection) -> None:
        while (message := await _receive(connection)) is not None:
            action, data = message.get("action"), message.get("data")
            if action in ("authenticate", "auth"):
                _confirm(connection)
            elif action == "listen" and isinstance(data, dict) and isinstance(data.get("streams"), list):
                # The list replaces what was listened to before.
                connection.streams = {stream for stream in data["streams"] if stream in STREAMS}
                connection.send("listening", {"streams": sorted(connection.streams)})
            else:
                connection.send("listening", {"error": "invalid message"})


def _frame(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _confirm(connection: Connection) -> None:
    connection.send("authorization", {"status": "authorized", "action": "authenticate"})


def _offered(message: dict[str, Any]) -> tuple[str, str]:
    """Key and secret of an authenticate message, in Alpaca's first form or its newer flat one."""
    data = message.get("data")
    if message.get("action") == "authenticate" and isinstance(data, dict):
        return str(data.get("key_id", "")), str(data.get("secret_key", ""))
    if message.get("action") == "auth":
        return str(message.get("key", "")), str(message.get("secret", ""))
    return "", ""


async def _receive(connection: Connection) -> dict[str, Any] | None:
    """The next message, a JSON object (text or binary); anything else reads as an empty one. None at the end."""
    incoming = await connection.outbox.receive()
    if incoming.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        return None
    try:
        message = json.loads(incoming.data)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
