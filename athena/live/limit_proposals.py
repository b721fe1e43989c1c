"""Next day's limits from evidence: one rule a limit, each with its reason in numbers. Pure: evidence in, proposals out.

A proposal grows a limit by a quarter at most and at most halves it, so that one odd day does not stop the strategies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from statistics import median
from typing import Any

from athena.live.limits import LIMITS, Value, effective, show

GROWTH_MAX, SHRINK_MIN = Decimal("1.25"), Decimal("0.5")  # of what it is now, in one day
LOSS_OF_EQUITY = (Decimal("0.005"), Decimal("0.02"))  # the daily loss limit stays within these shares of equity
TYPICAL_DAYS = 3  # a losing day three times as bad as a typical day is where to stop
POSITION_OF_LOSS = Decimal("0.25")  # a two-sigma day in one position costs at most this share of the loss limit
VOLUME_SHARE = Decimal("0.005")  # one order against a symbol's median day
COLLAR_SIGMAS = 6  # of five minutes
FIVE_MINUTES_A_DAY = 78
BUSY_FACTOR = 2
VOLATILE = 1.25  # times the median: such a symbol gets an override of its own


@dataclass(frozen=True)
class Evidence:
    """What the rules look at. P&L in dollars by trading date, oldest first; volatility is of one day, as a fraction."""

    equity: Decimal | None
    daily_pnl: Mapping[date, Decimal]
    volatility: Mapping[str, float]
    volume: Mapping[str, Decimal] = field(default_factory=dict)  # median shares a day
    busiest_minute: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict)  # where each figure is from, in words


@dataclass(frozen=True)
class Proposal:
    """A changed limit, and why. `current` is what binds now; `target` is '' or `symbol:AAPL`."""

    name: str
    target: str
    current: Value
    proposed: Decimal | int
    reason: str

    @property
    def tightens(self) -> bool:
        return not isinstance(self.current, Decimal | int) or self.proposed < self.current

    @property
    def label(self) -> str:
        return f"{self.name} {self.target.replace(':', ' ')}".strip()

    def __str__(self) -> str:
        change = f"{show(self.name, self.current)} → {show(self.name, self.proposed)}"
        return f"{self.label}: {change}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Only JSON's types."""
        return {
            "limit": self.name, "target": self.target, "current": show(self.name, self.current),
            "proposed": show(self.name, self.proposed), "value": f"{self.proposed}", "reason": self.reason,
        }  # fmt: skip


def propose(evidence: Evidence, values: Mapping[tuple[str, str], Value]) -> tuple[Proposal, ...]:
    """Every limit the evidence would change; `values` are the limits as set, overrides included."""
    current = effective(values)
    found = [*_loss(evidence, current)]
    loss = next((p.proposed for p in found if p.name == "max_daily_loss_dollars"), current["max_daily_loss_dollars"])
    found += _positions(evidence, values, Decimal(loss))  # type: ignore[arg-type]
    found += _order_sizes(evidence, values, found)
    found += _collar(evidence, current)
    found += _rate(evidence, current)
    return tuple(p for p in found if p.proposed != p.current)


def _loss(evidence: Evidence, current: Mapping[str, Value]) -> Iterator[Proposal]:
    days = list(evidence.daily_pnl.values())
    if evidence.equity is None or evidence.equity <= 0 or not days:
        return
    typical = Decimal(median([abs(pnl) for pnl in days]))
    low, high = (share * evidence.equity for share in LOSS_OF_EQUITY)
    wanted = min(max(TYPICAL_DAYS * typical, low), high)
    why = f"a typical day moves ${typical:,.2f} ({len(days)} days); {TYPICAL_DAYS} such days"
    why += f", within {LOSS_OF_EQUITY[0]:.1%} and {LOSS_OF_EQUITY[1]:.0%} of ${evidence.equity:,.0f}"
    recent = sum(days[-3:], Decimal(0))
    if recent < 0 and len(days) >= 3:
        wanted = max(wanted * Decimal("0.75"), low)
        why += f"; a quarter less, for the last three days lost ${-recent:,.2f}"
    yield _proposal("max_daily_loss_dollars", "", current["max_daily_loss_dollars"], wanted, why)


def _positions(evidence: Evidence, values: Mapping[tuple[str, str], Value], loss: Decimal) -> Iterator[Proposal]:
    """A two-sigma day in one position costs at most a quarter of the day's loss limit."""
    if not evidence.volatility:
        return
    name, budget, of_all = "max_position_per_symbol_dollars", loss * POSITION_OF_LOSS, Decimal("Infinity")
    typical = median(evidence.volatility.values())
    said = f"two sigma in one position may cost ${budget:,.0f}"
    if typical > 0:
        why = f"{said}; the median symbol moves {typical:.2%} a day"
        proposal = _proposal(name, "", effective(values)[name], budget / (2 * Decimal(str(typical))), why)
        of_all = Decimal(proposal.proposed)
        yield proposal
    for symbol, sigma in sorted(evidence.volatility.items()):
        if typical > 0 and sigma > VOLATILE * typical:
            why = f"{said}; {symbol} moves {sigma:.2%} a day, the median symbol {typical:.2%}"
            bound = effective(values, symbol)[name]
            proposal = _proposal(name, f"symbol:{symbol}", bound, budget / (2 * Decimal(str(sigma))), why)
            if proposal.proposed < of_all:  # the strictest wins: a laxer override would do nothing
                yield proposal


def _order_sizes(
    evidence: Evidence, values: Mapping[tuple[str, str], Value], found: Sequence[Proposal]
) -> Iterator[Proposal]:
    """An order is at most half a position, and a small part of the symbol's volume."""
    of_all = next((p for p in found if p.name == "max_position_per_symbol_dollars" and not p.target), None)
    if of_all is not None:
        name = "max_order_notional_dollars"
        why = f"half of the position limit of ${of_all.proposed:,.0f}: two orders to build one"
        yield _proposal(name, "", effective(values)[name], Decimal(of_all.proposed) / 2, why)
    for symbol, volume in sorted(evidence.volume.items()):
        now = effective(values, symbol)["max_order_quantity"]
        wanted = volume * VOLUME_SHARE
        if isinstance(now, Decimal) and wanted < now:
            why = f"{VOLUME_SHARE:.1%} of the {volume:,.0f} shares that {symbol} trades on a median day"
            yield _proposal("max_order_quantity", f"symbol:{symbol}", now, wanted, why)


def _collar(evidence: Evidence, current: Mapping[str, Value]) -> Iterator[Proposal]:
    if not evidence.volatility:
        return
    worst = max(evidence.volatility, key=lambda symbol: evidence.volatility[symbol])
    sigma = Decimal(str(evidence.volatility[worst]))
    five = sigma / Decimal(FIVE_MINUTES_A_DAY).sqrt() * 10_000
    wanted = min(max(five * COLLAR_SIGMAS, Decimal(50)), Decimal(500))
    why = f"{COLLAR_SIGMAS} sigma of five minutes in {worst}, which moves {sigma:.2%} a day; from 50 to 500"
    yield _proposal("price_collar_bps", "", current["price_collar_bps"], wanted, why)


def _rate(evidence: Evidence, current: Mapping[str, Value]) -> Iterator[Proposal]:
    if not evidence.busiest_minute:
        return
    wanted = Decimal(max(BUSY_FACTOR * evidence.busiest_minute, 10))
    why = f"{BUSY_FACTOR} times the busiest minute, which had {evidence.busiest_minute} orders; at least 10"
    yield _proposal("max_orders_per_minute", "", current["max_orders_per_minute"], wanted, why)


def _proposal(name: str, target: str, current: Value, wanted: Decimal, why: str) -> Proposal:
    """Rounded down to two figures, in bounded steps, and inside the guard's bounds."""
    limit = LIMITS[name]
    if isinstance(current, Decimal | int) and wanted > current * GROWTH_MAX:
        wanted, why = current * GROWTH_MAX, f"{why}; grown by a quarter at most"
    if isinstance(current, Decimal | int) and wanted < current * SHRINK_MIN:
        wanted, why = current * SHRINK_MIN, f"{why}; halved at most"
    digits = max(wanted.adjusted() - 1, -2)
    rounded = wanted.quantize(Decimal(1).scaleb(digits), ROUND_FLOOR)
    held = min(max(rounded, Decimal(limit.low)), Decimal(limit.high))
    value: Decimal | int = int(held) if limit.unit.value == "count" else Decimal(f"{held:f}")
    return Proposal(name, target, current, value, why)
