"""Faults: what may go wrong between the venue and its clients, and how each looks from outside.

| kind | what the client sees |
|---|---|
| latency | the answer `seconds` late; `moment` after: the order stands meanwhile |
| hang | no answer; the connection stays open `seconds` (or until the client leaves), then breaks |
| reset | the connection is reset: before the venue took the request, or after |
| status | an Alpaca error body with `status` (500, 503, 504 ...; a 429 says that the window ends in `seconds`) |
| html | a gateway's HTML page with `status`, 200 if none is named |
| stream_drop | the stream's connection is reset, once |
| stream_mute | the socket stays open and nothing comes; pings are answered, or not (`pings` false) |
| stream_refuse | no new connection: HTTP 429 (trading), error 406 after authentication (data) |
| stream_restart | all streams reset; for `lasts_seconds` their handshakes get HTTP 503. REST goes on |
| message_drop, message_duplicate | a stream's message never comes, or comes twice |
| message_delay | it comes `seconds` late, and all behind it wait for it |
| message_reorder | it comes `seconds` late, and those behind it overtake it |
| message_unknown | it carries a word no client knows: an order status or event (`word`), a data message's type |
| message_malformed | the frame is cut in half |
| data_stale | data, by stream and REST, stands still as of the fault's begin; trading goes on |
| trading_stale | trade updates are held back and all come when it ends; REST and data are true |
| cancel_race | a cancel gets 204, then a (partial) fill comes, then `canceled` |
| trade_bust, trade_correct | the last fill is taken back, or gets another `price` or `quantity`: update and activity |
| symbol_halt | no trades, quotes of size zero, a status on the data stream; orders rest |
| symbol_delist | the asset is inactive: its open orders end `rejected`, new ones get 422 |
| no_buying_power | the account's buying power reads 0, opening orders get 403 |
| trading_blocked | the account reads `trading_blocked`, every order gets 403 |
| clock_skew | GET /v2/clock and every Date header are `seconds` off |
| external_order, external_close | an order from another session of the account, with an id that is not ours |

`fault_model` says which fields each takes, `fault_desk` when one acts, `fault_effects` what it does to the venue.
A halt ends at its time or with the day; it cannot be lifted before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from athena.simulator.clock import Now

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Faults(Protocol):
    """What may go wrong with single requests and messages; the exchange itself is never touched here."""

    async def request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers `request`, normally by `await handler(request)`; before and after it there is room for harm."""
        ...

    def messages(self, stream: str, message: Any) -> Iterable[Any]:
        """What leaves in place of `message` on `stream` ("trade_updates" or "market_data"): normally it alone.

        A message that leaves late or broken is wrapped in `Harmed`.
        """
        ...


class NoFaults:
    """The well-behaved venue."""

    async def request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request)

    def messages(self, stream: str, message: Any) -> Iterable[Any]:
        return (message,)


@dataclass(frozen=True, slots=True)
class Harmed:
    """A stream's message that leaves `late_seconds` late (overtaken by those behind it, or not), or cut in half."""

    message: Any
    late_seconds: float = 0.0
    overtaken: bool = False
    broken: bool = False


@dataclass(slots=True)
class Line:
    """What is wrong with all connections of a stream now. Faults set it; the stream and its outboxes obey it."""

    mute: bool = False
    answers_pings: bool = True
    refuses: bool = False
    down: bool = False
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flowing.set()


class FeedClock:
    """The time up to which market data is told: the venue's, or where a stale feed stopped."""

    def __init__(self, clock: Now) -> None:
        self._clock = clock
        self.stopped_at: datetime | None = None

    @property
    def speed(self) -> float:
        return self._clock.speed

    def now(self) -> datetime:
        return self.stopped_at or self._clock.now()
