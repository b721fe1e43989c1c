"""One timed look at Alpaca, for the engine's broker and for handles."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from athena.errors import AthenaError
from athena.live.brokers.alpaca_rest import AlpacaRest
from athena.live.brokers.base import BrokerHealth
from athena.model import BrokerState, Clock

SKEW_SECONDS_MAX = 2.0
HEADROOM_MIN = 20


async def look(
    broker: AlpacaRest, state: BrokerState, uptime: float, streams: dict[str, str], problems: list[str]
) -> BrokerHealth:
    """One timed look at the venue; a failure is a problem in the answer, not an exception."""
    problems = list(problems)
    latency = skew = market_open = account = None
    asked = time.time()
    try:
        begun = time.perf_counter()
        clock = await broker.get_clock()
        latency = time.perf_counter() - begun
        skew, market_open = _skew_seconds(clock, asked, time.time(), broker.venue == "simulator"), clock.is_open
        account = await broker.get_account()
    except AthenaError as error:
        problems.append(str(error))
    if skew is not None and abs(skew) > SKEW_SECONDS_MAX:
        problems.append(f"clocks differ by {skew:.1f} s")
    room = broker.headroom
    if room.remaining is not None and room.remaining < HEADROOM_MIN:
        problems.append(f"only {room.remaining} requests left this minute")
    if account is not None:
        flags = {
            "trading is blocked": account.trading_blocked,
            "the account is blocked": account.account_blocked,
            "trading is suspended by the user": account.trade_suspended_by_user,
            f"the account is {account.status}": account.status != "ACTIVE",
        }
        problems += [word for word, set_ in flags.items() if set_]
    return BrokerHealth(
        broker=broker.name,
        venue=broker.venue,
        state=state,
        checked_at=datetime.now(UTC),
        uptime_seconds=uptime,
        latency_seconds=latency,
        clock_skew_seconds=skew,
        speed=room.speed,
        rate_limit=room.limit,
        rate_limit_remaining=room.remaining,
        account_number=account.account_number if account else "",
        account_status=account.status if account else "",
        market_open=market_open,
        streams=streams,
        problems=tuple(problems),
    )


def _skew_seconds(clock: Clock, asked_at: float, answered_at: float, simulated: bool) -> float | None:
    """The venue's clock minus ours, in the middle of the request; None when the venue lives in a time of its own."""
    skew = clock.at.timestamp() - (asked_at + answered_at) / 2
    elsewhere = simulated and abs(skew) > 86_400
    return None if clock.speed != 1 or elsewhere else skew
