"""Each day's figures from the fills alone, beside what was journaled at the time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core.curve import TOLERANCE, Point, rebuild_curve
from athena.errors import JournalError
from athena.journal.codec import day_of, from_text
from athena.journal.journal import Journal
from athena.model import ZERO, CashFlow
from athena.ops.recovery_show import say, working


@dataclass(frozen=True)
class DayMetrics:
    """A trading date. Dollars; drawdown in percent of the day's peak; slippage in bps, positive is cost, None unknown.

    `equity` and `pnl` are worked out from fills, flows and marks; the journaled ones are what was recorded then.
    """

    trading_date: str
    equity: Decimal
    journaled_equity: Decimal
    pnl: Decimal
    journaled_pnl: Decimal
    drawdown_percent: Decimal
    orders_sent: int
    fill_rate: float | None
    fills: int
    slippage_bps: float | None

    @property
    def differs(self) -> bool:
        """True where the journaled figures are not what the fills give, by more than a cent."""
        gaps = (self.equity - self.journaled_equity, self.pnl - self.journaled_pnl)
        return any(abs(gap) > TOLERANCE for gap in gaps)


def recalc_metrics(settings: Settings, arguments: argparse.Namespace) -> int:
    """Work every day out again; exit 10 when the journaled equity of a day differs from it."""
    with (
        Journal.open(settings.journal_path, "recalc-metrics", read_only=True) as journal,
        working(arguments, "working the days out from their fills"),
    ):
        days = day_metrics(journal)[-arguments.days :]
    wrong = [day for day in days if day.differs]
    told = f"{len(days)} trading days worked out again"
    told += f"; {len(wrong)} differ from what was journaled" if wrong else "; all are as journaled, to the cent"
    headings = ("day", "P&L", "equity", "drawdown", "sent", "filled", "fills", "slippage", "")
    facts = {"days": [{**asdict(day), "differs": day.differs} for day in days]}
    verdict = Verdict.ATTENTION if wrong else Verdict.OK
    then = "athena rebuild-equity-curve shows the points; with --apply it corrects them" if wrong else ""
    return say(arguments, verdict, told, facts, [("", headings, [_row(day) for day in days])], then)


def day_metrics(journal: Journal) -> list[DayMetrics]:
    """The metrics of every trading date with equity points, oldest first. Raises JournalError when there is none."""
    by_day: dict[str, list[Point]] = {}
    for point in rebuild_curve(journal):
        by_day.setdefault(day_of(point.venue_at), []).append(point)
    account = journal.one("SELECT opening_equity, bound_at FROM account")
    if account is None or not by_day:
        raise JournalError(f"{journal.path} has no equity recorded.", "Start the engine.")
    flows = journal.query("SELECT * FROM cash_flows")
    moved = [CashFlow(r["id"], r["kind"], Decimal(r["amount"]), from_text(r["at"])) for r in flows]
    rates, costs = _outcomes(journal), _slippage(journal)
    before = stored_before = Decimal(account["opening_equity"])
    found, until = [], str(account["bound_at"])
    for day, points in sorted(by_day.items()):
        last = max(points, key=lambda point: (point.venue_at, point.sequence))
        stored = last.stored["equity"] or ZERO
        since, until = until, last.venue_at  # of nights and weekends too: the close that first has the money
        transfers = sum((f.amount for r, f in zip(flows, moved, strict=True)
                         if f.is_transfer and since < r["at"] <= until), ZERO)  # fmt: skip
        sent, rate = rates.get(day, (0, None))
        count, cost = costs.get(day, (0, None))
        equity = last.rebuilt["equity"]
        found.append(
            DayMetrics(
                day,
                equity,
                stored,
                equity - before - transfers,
                stored - stored_before - transfers,
                _drawdown(before, points),
                sent,
                rate,
                count,
                cost,
            )
        )
        before, stored_before = equity, stored
    return found


def _drawdown(opening: Decimal, points: Sequence[Point]) -> Decimal:
    """The deepest fall from the day's running peak, its opening included, in percent."""
    peak, worst = opening, ZERO
    for point in points:
        equity = point.rebuilt["equity"]
        peak = max(peak, equity)
        worst = max(worst, (peak - equity) / peak * 100) if peak > 0 else worst
    return worst


def _outcomes(journal: Journal) -> dict[str, tuple[int, float | None]]:
    from athena.analysis.execution import outcomes
    from athena.core.frames import orders

    table = outcomes(orders(journal), "trading_date")
    return {f"{r['trading_date']:%Y-%m-%d}": (int(r["sent"]), _known(r["fill_rate"])) for _, r in table.iterrows()}


def _slippage(journal: Journal) -> dict[str, tuple[int, float | None]]:
    from athena.analysis.execution import slippage, with_slippage
    from athena.core.frames import fills

    frame = fills(journal)
    table = slippage(with_slippage(frame[frame["source"] != "correction"]), ["trading_date"])
    counts = ((r, int(r["fills"]) + int(r["unmeasured"])) for _, r in table.iterrows())
    return {f"{r['trading_date']:%Y-%m-%d}": (count, _known(r["cost_bps"])) for r, count in counts}


def _known(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _row(day: DayMetrics) -> tuple[str, ...]:
    journaled = f"DIFFERS: P&L {day.journaled_pnl:+,.2f}, equity {day.journaled_equity:,.2f} were journaled"
    return (
        day.trading_date, f"{day.pnl:+,.2f}", f"{day.equity:,.2f}", f"{day.drawdown_percent:.2f} %",
        str(day.orders_sent), "" if day.fill_rate is None else f"{day.fill_rate:.0%}", str(day.fills),
        "unknown" if day.slippage_bps is None else f"{day.slippage_bps:+.1f} bps", journaled * day.differs,
    )  # fmt: skip
