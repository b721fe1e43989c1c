"""Momentum: go with a mid that leaves its recent channel, step out when it falls back through a shorter one.

Channel: highest and lowest mid of the last complete `bar_seconds` bars. Enters with market orders past the long channel
by `buffer_bps`. Leaves with a gain at the opposite side of the short channel, and at `take_profit_bps` or `stop_bps`
from the entry; holds overnight unless told otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice

from athena.live.strategies.base import Context, check_common, shares_for
from athena.model import ZERO, Fill, OrderIntent, Quote


@dataclass(frozen=True, slots=True)
class MomentumParameters:
    """Dollars per order and at most held in a symbol; bars; basis points from the entry; venue seconds."""

    dollars: float = 2_500.0
    position_dollars_max: float = 2_600.0
    bar_seconds: float = 60.0
    enter_bars: int = 30
    leave_bars: int = 12
    buffer_bps: float = 2.0
    take_profit_bps: float = 25.0
    stop_bps: float = 90.0
    cooldown_seconds: float = 600.0
    warmup_seconds: float = 1_800.0
    cancel_after_seconds: float = 90.0
    flat_before_close_seconds: float = 0.0

    def check(self) -> str:
        if self.bar_seconds <= 0:
            return f"bar_seconds is {self.bar_seconds:g}; it must be positive"
        if not 1 <= self.leave_bars <= self.enter_bars <= 1000:
            return f"leave_bars {self.leave_bars} must be at least 1 and at most enter_bars {self.enter_bars} (1000)"
        if self.buffer_bps < 0:
            return f"buffer_bps is {self.buffer_bps:g}; it must not be negative"
        return check_common(self)


@dataclass(slots=True)
class _State:
    since: datetime
    bar_at: datetime
    high: float
    low: float
    highs: deque[float] = field(default_factory=deque)
    lows: deque[float] = field(default_factory=deque)
    decided_at: datetime | None = None


class Momentum:
    """A `Strategy`; one channel per symbol, started anew each session."""

    def __init__(self, name: str, symbols: tuple[str, ...], parameters: MomentumParameters) -> None:
        self.name, self.symbols, self.parameters = name, symbols, parameters
        self.cancel_after_seconds = parameters.cancel_after_seconds
        self._states: dict[str, _State] = {}

    def on_quote(self, quote: Quote, context: Context) -> Sequence[OrderIntent]:
        """At most one order per quote: to enter or to leave."""
        p = self.parameters
        mid = (float(quote.bid) + float(quote.ask)) / 2
        state = self._updated(quote, mid)
        if context.working or (quote.at - state.since).total_seconds() < p.warmup_seconds or len(state.highs) < 2:
            return ()
        if state.decided_at and (context.now - state.decided_at).total_seconds() < p.cooldown_seconds:
            return ()
        quantity, reason = self._wanted(state, mid, context)
        if quantity == 0:
            return ()
        state.decided_at = context.now
        return (context.order(quote, quantity, reason),)

    def on_fill(self, fill: Fill) -> None:
        """Positions come with the context; nothing to remember."""

    def _wanted(self, state: _State, mid: float, context: Context) -> tuple[Decimal, str]:
        p, held = self.parameters, context.position
        if context.seconds_to_close < p.flat_before_close_seconds:
            return -held, "flat before the close"
        if held != 0:
            gain = context.gain_bps(mid)
            if gain >= p.take_profit_bps or gain <= -p.stop_bps:
                return -held, f"{gain:+.0f} bps since the entry"
            if gain <= 0:
                return ZERO, ""
            skip = max(0, len(state.highs) - p.leave_bars)
            if held > 0 and mid < min(islice(state.lows, skip, None)):
                return -held, f"below the low of {p.leave_bars} bars"
            if held < 0 and mid > max(islice(state.highs, skip, None)):
                return -held, f"above the high of {p.leave_bars} bars"
            return ZERO, ""
        if context.seconds_to_close < p.warmup_seconds:
            return ZERO, ""
        buffer = mid * p.buffer_bps / 10_000
        shares = shares_for(min(p.dollars, p.position_dollars_max), mid)
        if mid > max(state.highs) + buffer:
            return shares, f"above the high of {len(state.highs)} bars"
        if mid < min(state.lows) - buffer:
            return -shares, f"below the low of {len(state.lows)} bars"
        return ZERO, ""

    def _updated(self, quote: Quote, mid: float) -> _State:
        state = self._states.get(quote.symbol)
        if state is None or (quote.at - state.bar_at).total_seconds() > 6 * 3600:  # a new session
            state = self._states[quote.symbol] = _State(quote.at, quote.at, mid, mid)
            state.highs, state.lows = (deque(maxlen=self.parameters.enter_bars) for _ in range(2))
        elif (quote.at - state.bar_at).total_seconds() >= self.parameters.bar_seconds:
            state.highs.append(state.high)
            state.lows.append(state.low)
            state.bar_at, state.high, state.low = quote.at, mid, mid
        else:
            state.high, state.low = max(state.high, mid), min(state.low, mid)
        return state
