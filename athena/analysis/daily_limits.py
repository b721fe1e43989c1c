"""How much of each limit a day used, where the record can tell, and on which basis it was measured."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd

from athena.analysis import execution, style
from athena.analysis.daily_facts import DayFacts
from athena.analysis.tables import rows_of

COLUMNS = [
    "name",
    "target",
    "limit",
    "used",
    "unit",
    "basis",
    "headroom",
    "used_fraction",
    "limit_number",
    "used_number",
    "by",
]


def limit_use(facts: DayFacts) -> pd.DataFrame:
    """One row a limit: as written, as used, headroom in its unit; numbers are None where use is not measured here.

    Overrides (`symbol:AAPL`, `strategy:x`) are measured on their own part of the day.
    """
    rows = []
    for limit in rows_of(facts.record.limits.sort_values(["name", "target"])):
        value = _number(limit.value)
        unit, write = _unit(limit.name)
        measure = _MEASURES.get(limit.name)
        found = measure(facts, limit.target or "") if measure and value is not None else None
        if found is None or value is None:
            shown = write(value) if value is not None else _words(limit.value)
            rows.append(
                [
                    limit.name,
                    limit.target or "",
                    shown,
                    style.MISSING,
                    unit,
                    "not measured here",
                    None,
                    None,
                    value,
                    None,
                    limit.changed_by,
                ]
            )
            continue
        used, basis = found
        fraction = used / value if value > 0 else (0.0 if used == 0 else float("inf"))
        rows.append(
            [
                limit.name,
                limit.target or "",
                write(value),
                write(used),
                unit,
                basis,
                write(value - used),
                fraction,
                value,
                used,
                limit.changed_by,
            ]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _words(value: Any) -> str:
    """A limit that is no number: off, yes or no, symbols, a choice."""
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _unit(name: str) -> tuple[str, style.Format]:
    if name.endswith("_dollars"):
        return "$", style.whole_usd
    if "bps" in name:
        return "bps", style.bps
    if "seconds" in name:
        return "s", style.bps
    if name.endswith("_percent"):
        return "%", _plain
    return "", _plain


def _plain(value: float) -> str:
    """A number as it was set: 60, 0.75."""
    return style.count(value) if value == int(value) else f"{value:g}"


def _part(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """The rows a limit's target speaks of; '' is all of them."""
    if not target:
        return frame
    column, _, name = target.partition(":")
    return frame[frame[column] == name] if column in frame else frame.iloc[:0]


def _loss(facts: DayFacts, target: str) -> tuple[float, str] | None:
    opening = facts.record.opening_equity
    if target or facts.curve.empty or opening is None:
        return None
    after = facts.curve[facts.curve.index >= opening[0]]
    flows = facts.record.cash_flows
    before = (flows["trading_date"] == facts.record.trading_date) & (flows["at"] <= opening[0])
    base = float(opening[1]) - float(sum(flows.loc[before & flows["is_transfer"].astype(bool), "amount"], Decimal(0)))
    if after.empty:
        return None
    return max(0.0, base - float(after.min())), "worst since the open, realised and unrealised"


def _position(facts: DayFacts, target: str) -> tuple[float, str] | None:
    held = _part(facts.positions, target)
    if held["value"].isna().any():
        return None
    values = held.groupby("symbol")["value"].sum().abs()
    if values.empty:
        return 0.0, "flat at the close"
    return float(values.max()), f"{values.astype(float).idxmax()} at the close"


def _orders_per_minute(facts: DayFacts, target: str) -> tuple[float, str]:
    orders = _part(facts.record.orders, target)
    sent = orders.loc[~orders["status"].isin(["refused", "not_sent"]), "intended_venue_at"].dropna()
    return float(execution.busiest_minute(sent)), "busiest 60 s of venue time"


def _losing_run(facts: DayFacts, target: str) -> tuple[float, str]:
    gains = facts.realised.loc[_part(facts.fills, target).index]
    return float(execution.longest_losing_run(gains)), "closing fills in a row at a loss"


def _slippage(facts: DayFacts, target: str) -> tuple[float, str] | None:
    worst = execution.slippage(_part(facts.fills, target), ["symbol"])["cost_bps"].max()
    return None if pd.isna(worst) else (max(0.0, float(worst)), "worst symbol, weighted")


def _notional(facts: DayFacts, target: str) -> tuple[float, str] | None:
    orders = _part(facts.record.orders, target)
    sent = orders[~orders["status"].isin(["refused", "not_sent"])]
    price = pd.to_numeric(sent["limit_price"]).fillna(pd.to_numeric(sent["decision_price"])).astype(float)
    worth = (price * pd.to_numeric(sent["quantity"]).astype(float)).dropna()
    return (float(worth.max()), "largest order sent") if len(worth) else None


_MEASURES: dict[str, Callable[[DayFacts, str], tuple[float, str] | None]] = {
    "max_daily_loss_dollars": _loss,
    "max_position_per_symbol_dollars": _position,
    "max_orders_per_minute": _orders_per_minute,
    "max_consecutive_losses": _losing_run,
    "max_slippage_bps": _slippage,
    "max_order_notional_dollars": _notional,
}
