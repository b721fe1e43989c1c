"""Mean reversion: fade a mid that strays from its own average, leave when it comes back.

Signal: z = (mid - EWMA) / sqrt(EW variance), both with one half-life in venue seconds (West 1979's recursion).
Enters against |z| > enter_z with a limit at the touch. Leaves with a gain when |z| < leave_z, and at `take_profit_bps`
or `stop_bps` from the entry whatever z is; is flat before the close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from athena.live.strategies.base import Context, check_common, shares_for
from athena.model import ZERO, Fill, OrderIntent, Quote


@dataclass(frozen=True, slots=True)
class MeanReversionParameters:
    """Dollars per order and at most held in a symbol; z-scores; basis points from the entry; venue seconds."""

    dollars: float = 2_000.0
    position_dollars_max: float = 4_000.0
    half_life_seconds: float = 900.0
    enter_z: float = 2.0
    leave_z: float = 0.4
    take_profit_bps: float = 20.0
    stop_bps: float = 80.0
    cooldown_seconds: float = 420.0
    warmup_seconds: float = 900.0
    cancel_after_seconds: float = 90.0
    flat_before_close_seconds: float = 900.0

    def check(self) -> str:
        if self.half_life_seconds <= 0:
            return f"half_life_seconds is {self.half_life_seconds:g}; it must be positive"
        if not 0 <= self.leave_z < self.enter_z:
            return f"leave_z {self.leave_z:g} must be at least 0 and less than enter_z {self.enter_z:g}"
        return check_common(self)


@dataclass(slots=True)
class _State:
    mean: float
    variance: float
    since: datetime
    at: datetime
    decided_at: datetime | None = None


class MeanReversion:
    """A `Strategy`; one running mean and variance per symbol, started anew each session."""

    def __init__(self, name: str, symbols: tuple[str, ...], parameters: MeanReversionParameters) -> None:
        self.name, self.symbols, self.parameters = name, symbols, parameters
        self.cancel_after_seconds = parameters.cancel_after_seconds
        self._states: dict[str, _State] = {}

    def on_quote(self, quote: Quote, context: Context) -> Sequence[OrderIntent]:
        """At most one order per quote: to enter, to add, or to leave."""
        p = self.parameters
        mid = (float(quote.bid) + float(quote.ask)) / 2
        state = self._updated(quote, mid)
        if context.working or (quote.at - state.since).total_seconds() < p.warmup_seconds:
            return ()
        if state.decided_at and (context.now - state.decided_at).total_seconds() < p.cooldown_seconds:
            return ()
        deviation = math.sqrt(state.variance)
        z = (mid - state.mean) / deviation if deviation > 0 else 0.0
        quantity, reason = self._wanted(z, mid, context)
        if quantity == 0:
            return ()
        state.decided_at = context.now
        return (context.order(quote, quantity, reason, quote.ask if quantity > 0 else quote.bid),)

    def on_fill(self, fill: Fill) -> None:
        """Positions come with the context; nothing to remember."""

    def _wanted(self, z: float, mid: float, context: Context) -> tuple[Decimal, str]:
        p, held = self.parameters, context.position
        if context.seconds_to_close < p.flat_before_close_seconds:
            return -held, "flat before the close"
        gain = context.gain_bps(mid)
        if held != 0:
            if gain >= p.take_profit_bps or gain <= -p.stop_bps:
                return -held, f"{gain:+.0f} bps since the entry"
            if gain > 0 and (abs(z) < p.leave_z or z * float(held) > 0):
                return -held, f"back at the average, z {z:+.2f}"
        if abs(z) < p.enter_z:
            return ZERO, ""
        shares = shares_for(p.dollars, mid)
        if (abs(float(held)) + float(shares)) * mid > p.position_dollars_max:
            return ZERO, ""
        return (-shares if z > 0 else shares), f"away from the average, z {z:+.2f}"

    def _updated(self, quote: Quote, mid: float) -> _State:
        state = self._states.get(quote.symbol)
        if state is None or (quote.at - state.at).total_seconds() > 6 * 3600:  # a new session
            state = self._states[quote.symbol] = _State(mid, 0.0, quote.at, quote.at)
            return state
        seconds = (quote.at - state.at).total_seconds()
        if seconds > 0:
            weight = 1 - 0.5 ** (seconds / self.parameters.half_life_seconds)
            step = mid - state.mean
            state.mean += weight * step
            state.variance = (1 - weight) * (state.variance + weight * step * step)
            state.at = quote.at
        return state
