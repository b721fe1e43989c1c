"""The market-data WebSocket, `/v2/{feed}`: welcome, auth, subscriptions, and frames that are arrays of messages.

Clients that say `Content-Type: application/msgpack` (alpaca-py does) get binary msgpack, others JSON text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgpack
from aiohttp import WSMessage, WSMsgType, web

from athena.simulator import wire
from athena.simulator.access import VENUE, Venue, credentials, problem
from athena.simulator.errors import VenueError
from athena.simulator.faults import Harmed, Line
from athena.simulator.outbox import Outbox

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
ELSEWHERE = {"orderbooks", "news"}  # channels of Alpaca's other feeds
ALL_FEEDS = ("iex", "sip", "delayed_sip", "boats", "overnight", "otc", "test")
SUBSCRIBED_FEEDS = ("iex", "sip", "delayed_sip", "test")
IEX_SYMBOLS_MAX = 30

ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}


def error(code: int) -> dict[str, Any]:
    """A data-stream error message by Alpaca's code."""
    return {"T": "error", "code": code, "msg": ERRORS[code]}


class Refused(Exception):
    """The connection ends with this error code."""

    def __init__(self, code: int) -> None:
        super().__init__(ERRORS[code])
        self.code = code


@dataclass(eq=False, slots=True)
class Connection:
    """One client: its encoding, its account once authenticated, what it subscribed to."""

    outbox: Outbox
    binary: bool
    feed: str
    venue: Venue
    key: str | None = None
    wanted: dict[str, set[str]] = field(default_factory=lambda: {channel: set() for channel in CHANNELS})

    def send(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Queues one frame of messages, after the faults had their way with each."""
        together: list[Any] = []
        for message in messages:
            for out in self.venue.faults.messages("market_data", message):
                if isinstance(out, Harmed):
                    self._put(together)
                    together = []
                    self.outbox.put_harmed(encode([out.message], self.binary), out)
                else:
                    together.append(out)
        self._put(together)

    def _put(self, messages: list[Any]) -> None:
        if messages:
            self.outbox.put(encode(messages, self.binary))

    def wants(self, channel: str, symbol: str) -> bool:
        wanted = self.wanted[channel]
        return symbol in wanted or "*" in wanted


def encode(messages: list[Any], binary: bool) -> bytes | str:
    """A frame: an array of messages, times as msgpack's timestamp extension or as RFC 3339 text."""
    if binary:
        return bytes(msgpack.packb(messages, datetime=True))
    return json.dumps(messages, default=_text)


def _text(value: object) -> str:
    return wire.time(value) if isinstance(value, datetime) else str(value)


class MarketStream:
    """All data connections of the venue: one per key, each served by `handle`, all fed by `publish`."""

    def __init__(self, auth_seconds: float, frames_waiting_max: int) -> None:
        self._auth_seconds = auth_seconds
        self._frames_waiting_max = frames_waiting_max
        self.connections: set[Connection] = set()
        self.line = Line()

    def wanted(self, channels: Iterable[str], symbols: Iterable[str]) -> set[str]:
        """Which of the tape's symbols anyone wants on any of the channels."""
        asked: set[str] = set()
        for connection in self.connections:
            for channel in channels:
                asked |= connection.wanted[channel]
        return set(symbols) if "*" in asked else asked & set(symbols)

    def publish(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """Sends (channel, message) pairs to whoever wants them, one frame per client; how many messages were queued."""
        sent = 0
        ready = list(messages)
        for connection in self.connections if ready else ():
            batch = [message for channel, message in ready if connection.wants(channel, message["S"])]
            if batch:
                connection.send(batch)
                sent += len(batch)
        return sent

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One client's whole connection."""
        feed = request.match_info["feed"]
        if feed not in ALL_FEEDS:
            raise web.HTTPNotFound
        if self.line.down:
            return problem(503, None, "service unavailable")
        binary = request.headers.get("Content-Type", "").startswith("application/msgpack")
        socket = web.WebSocketResponse(heartbeat=30.0, max_msg_size=1 << 20, autoping=False)
        await socket.prepare(request)
        venue = request.app[VENUE]
        outbox = Outbox(request, socket, self._frames_waiting_max, encode([error(407)], binary), self.line)
        connection = Connection(outbox, binary, feed, venue)
        connection.send([{"T": "success", "msg": "connected"}])
        try:
            by_headers = credentials(request.headers, venue.keys)
            if by_headers:
                self._authenticate(connection, *by_headers)
            await self._converse(connection)
        except Refused as refusal:
            connection.send([error(refusal.code)])
        finally:
            self.connections.discard(connection)
            await outbox.close()
        return socket

    def drop(self) -> None:
        """Resets every connection."""
        for connection in list(self.connections):
            connection.outbox.drop()

    async def close(self) -> None:
        """Ends every connection."""
        await asyncio.gather(*(connection.outbox.close(code=1001) for connection in list(self.connections)))

    async def _converse(self, connection: Connection) -> None:
        deadline = asyncio.get_running_loop().time() + self._auth_seconds
        while True:
            try:
                async with asyncio.timeout_at(None if connection.key else deadline):
                    incoming = await connection.outbox.receive()
            except TimeoutError:
                raise Refused(404) from None
            if incoming.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            request = _decode(incoming)
            if request is None:
                connection.send([error(400)])
            else:
                self._act(connection, request)

    def _act(self, connection: Connection, request: dict[str, Any]) -> None:
        action = request.get("action")
        if action == "auth":
            if connection.key:
                connection.send([error(403)])
            else:
                self._authenticate(connection, str(request.get("key", "")), str(request.get("secret", "")))
        elif action not in ("subscribe", "unsubscribe"):
            connection.send([error(400)])
        elif not connection.key:
            raise Refused(401)
        else:
            connection.send([self._subscribe(connection, request, add=action == "subscribe")])

    def _authenticate(self, connection: Connection, key: str, secret: str) -> None:
        try:
            connection.venue.exchange.account(key, secret)
        except VenueError:
            raise Refused(402) from None
        if connection.feed not in SUBSCRIBED_FEEDS:
            raise Refused(409)
        if self.line.refuses or any(other.key == key for other in self.connections):
            raise Refused(406)
        connection.key = key
        self.connections.add(connection)
        connection.send([{"T": "success", "msg": "authenticated"}])

    def _subscribe(self, connection: Connection, request: dict[str, Any], add: bool) -> dict[str, Any]:
        """Applies the request as a whole or not at all; the answer lists every channel as it now stands."""
        changes = {name: value for name, value in request.items() if name != "action" and value}
        if any(name in ELSEWHERE for name in changes):
            return error(410)
        wanted = {channel: set(symbols) for channel, symbols in connection.wanted.items()}
        for name, symbols in changes.items():
            if name not in wanted or not isinstance(symbols, list) or not all(isinstance(s, str) for s in symbols):
                return error(400)
            if add:
                wanted[name] |= set(symbols)
            else:
                wanted[name] -= wanted[name] if "*" in symbols else set(symbols)
        if connection.feed == "iex" and max(len(wanted["trades"]), len(wanted["quotes"])) > IEX_SYMBOLS_MAX:
            return error(405)
        connection.wanted = wanted
        return {"T": "subscription", **{channel: sorted(symbols) for channel, symbols in wanted.items()}}


def _decode(incoming: WSMessage) -> dict[str, Any] | None:
    """A client's message, msgpack or JSON; None when it is neither or not a map."""
    try:
        decode = msgpack.unpackb if incoming.type is WSMsgType.BINARY else json.loads
        message = decode(incoming.data)
    except (ValueError, msgpack.UnpackException):
        return None
    return message if isinstance(message, dict) else None
