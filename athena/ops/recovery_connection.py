"""Each way to the venue, tried and timed, with what it answered. No stream is opened: those are the engine's."""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import AthenaError, BrokerError
from athena.live.brokers.alpaca_health import HEADROOM_MIN, SKEW_SECONDS_MAX
from athena.ops.recovery import whole
from athena.ops.recovery_show import say, working

if TYPE_CHECKING:
    from athena.live.brokers.alpaca import AlpacaBroker
    from athena.live.brokers.handle import AlpacaHandle

    Handle = AlpacaBroker | AlpacaHandle


@dataclass(frozen=True)
class Trial:
    """One way to the venue: whether it works, how long it took, what was seen."""

    name: str
    verdict: Verdict
    milliseconds: float
    seen: str


def broker_connection_test(settings: Settings, arguments: argparse.Namespace) -> int:
    """Try them all, one after the other; exit 0 all work, 10 one has a problem, 5 one does not answer."""
    with working(arguments, f"trying {settings.venue}") as now:
        trials = asyncio.run(_try_all(settings, now))
    failed = [trial for trial in trials if trial.verdict is Verdict.STOP]
    warned = [trial for trial in trials if trial.verdict is not Verdict.OK]
    verdict = Verdict.STOP if failed else Verdict.ATTENTION if warned else Verdict.OK
    told = f"{settings.venue.upper()} at {settings.trading_url}: "
    told += f"{len(trials) - len(warned)} of {len(trials)} ways work"
    rows = [(t.name, t.verdict, f"{t.milliseconds:.1f} ms", t.seen) for t in trials]
    then = ""
    if failed:
        start = (
            "athena simulator" if settings.venue == "simulator" else "check network, keys and the venue's status page"
        )
        then = f"{start}; first to mend: {failed[0].name}"
    facts = {"url": settings.trading_url, "trials": [asdict(trial) for trial in trials]}
    code = say(arguments, verdict, told, facts, [("", ("way", "verdict", "took", "seen"), rows)], then)
    return BrokerError.exit_code if failed else code


async def _try_all(settings: Settings, now: Callable[[str], None]) -> list[Trial]:
    from athena.live.brokers.alpaca import AlpacaBroker

    broker = AlpacaBroker.get_instance(settings)
    ways: tuple[tuple[str, Callable[[], Awaitable[tuple[Verdict, str]]]], ...] = (
        ("network", lambda: _network(settings.trading_url, settings.connect_timeout_seconds)),
        ("network, data", lambda: _network(settings.data_url, settings.connect_timeout_seconds)),
        ("key and account", lambda: _account(broker)),
        ("clock", lambda: _clock(broker)),
        ("open orders", lambda: _orders(broker)),
        ("positions", lambda: _positions(broker)),
        ("executions", lambda: _fills(broker)),
        ("asset facts", lambda: _asset(broker, settings)),
        ("market data", lambda: _quotes(broker, settings)),
        ("request limit", lambda: _headroom(broker)),
        ("engine's streams", lambda: _streams(broker)),
    )
    trials = []
    try:
        for name, way in ways:
            now(f"trying {name}")
            began = time.perf_counter()
            try:
                verdict, seen = await way()
            except AthenaError as error:
                verdict, seen = Verdict.STOP, str(error)
            trials.append(Trial(name, verdict, (time.perf_counter() - began) * 1000, seen))
    finally:
        await broker.close()
    return trials


async def _network(url: str, seconds: float) -> tuple[Verdict, str]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def connect() -> str:
        with socket.create_connection((host, port), timeout=seconds) as made:
            return f"{host} is {made.getpeername()[0]}, port {port} is open"

    try:
        return Verdict.OK, await asyncio.to_thread(connect)
    except OSError as error:
        return Verdict.STOP, f"{host} port {port}: {error.strerror or error}"


async def _account(broker: Handle) -> tuple[Verdict, str]:
    account = await broker.get_account()
    flags = {
        "trading blocked": account.trading_blocked,
        "account blocked": account.account_blocked,
        "suspended by user": account.trade_suspended_by_user,
    }
    wrong = [name for name, raised in flags.items() if raised]
    verdict = Verdict.OK if account.status == "ACTIVE" and not wrong else Verdict.ATTENTION
    told = f"{account.account_number} {account.status}, buying power ${account.buying_power:,.2f}"
    return verdict, "; ".join([told, *wrong])


async def _clock(broker: Handle) -> tuple[Verdict, str]:
    asked = datetime.now(UTC)
    clock = await broker.get_clock()
    skew = (clock.at - (asked + (datetime.now(UTC) - asked) / 2)).total_seconds()
    market = f"{clock.at:%Y-%m-%d %H:%M:%S} UTC, market {'open' if clock.is_open else 'closed'}"
    if broker.venue == "simulator":
        return Verdict.OK, f"{market}, {clock.speed:g} times real time"
    verdict = Verdict.OK if abs(skew) <= SKEW_SECONDS_MAX else Verdict.ATTENTION
    return verdict, f"{market}, {skew:+.2f} s from this machine's clock"


async def _orders(broker: Handle) -> tuple[Verdict, str]:
    return Verdict.OK, f"{len(whole(await broker.get_orders('open'), 'orders'))} open orders, all readable"


async def _positions(broker: Handle) -> tuple[Verdict, str]:
    return Verdict.OK, f"{len(whole(await broker.get_positions(), 'positions'))} positions, all readable"


async def _fills(broker: Handle) -> tuple[Verdict, str]:
    since = (await broker.get_clock()).at - timedelta(days=1)
    return Verdict.OK, f"{len(whole(await broker.get_fills(since), 'fills'))} in the last day, all readable"


async def _asset(broker: Handle, settings: Settings) -> tuple[Verdict, str]:
    symbol = settings.symbols[0] if settings.symbols else "AAPL"
    asset = await broker.get_asset(symbol)
    if asset is None:
        return Verdict.ATTENTION, f"the venue has no {symbol}: athena clean-watchlist"
    return Verdict.OK, f"{symbol} is {asset.name}, {'tradable' if asset.tradable else 'NOT tradable'}"


async def _quotes(broker: Handle, settings: Settings) -> tuple[Verdict, str]:
    quotes = await broker.get_quotes(settings.symbols)
    missing = sorted(set(settings.symbols) - set(quotes))
    told = f"{len(quotes)} of {len(settings.symbols)} symbols have a quote (feed {settings.data_feed})"
    return (Verdict.ATTENTION, f"{told}, none for {', '.join(missing)}") if missing else (Verdict.OK, told)


async def _headroom(broker: Handle) -> tuple[Verdict, str]:
    room = broker.headroom
    if room.remaining is None:
        return Verdict.OK, "the venue does not tell"
    verdict = Verdict.OK if room.remaining >= HEADROOM_MIN else Verdict.ATTENTION
    return verdict, f"{room.remaining} of {room.limit} requests left this minute"


async def _streams(broker: Handle) -> tuple[Verdict, str]:
    told = ", ".join(f"{name} {state}" for name, state in broker.streams.items())
    if broker.state.value == "connected":
        return Verdict.OK, f"{told}; up {broker.get_uptime():.0f} s"
    return Verdict.ATTENTION, f"{told or 'not seen'}; {getattr(broker, 'reason', broker.state.value)}"
