"""Changing limits at the command line: all is checked first, then each change is shown with its journal row."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from athena.config import Settings
from athena.errors import SettingsError
from athena.live.execution_guard import ExecutionGuard
from athena.live.guard_rules import Rules
from athena.live.limits import LIMITS, Value, parse, show

SIZES = tuple(name for name, limit in LIMITS.items() if limit.scaled)
RATE = "max_orders_per_minute"


@dataclass(frozen=True)
class Change:
    """One limit, before and after; `sequence` is its journal event, None in a rehearsal."""

    name: str
    target: str
    before: Value
    after: Value
    sequence: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "limit": self.name, "target": self.target, "before": show(self.name, self.before),
            "after": show(self.name, self.after), "sequence": self.sequence,
        }  # fmt: skip


def reduce_position_sizes(settings: Settings, arguments: argparse.Namespace) -> int:
    """Multiply every limit on size, overrides included, by a factor between 0 and 1."""
    factor = arguments.factor
    if not 0 < factor < 1:
        raise SettingsError(
            f"--factor is {factor}; it reduces, so it is above 0 and below 1.", "To raise one: athena limits NAME VALUE"
        )
    reason = arguments.reason or f"position sizes reduced to {factor} of what they were"
    made = scale(settings, SIZES, lambda value: value * factor, reason, dry_run=arguments.dry_run)
    _show(arguments, made, f"position sizes × {factor}", settings)
    if not arguments.json:
        _too_large(settings, made)
    return 0


def adjust_order_frequency(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take a percentage off the order rate, of everything and of every override."""
    percent = arguments.reduce_by
    if not 0 < percent < 100:
        raise SettingsError(
            f"--reduce-by is {percent}; it is a percentage above 0 and below 100.", "To stop all orders: athena halt"
        )
    reason = arguments.reason or f"order frequency reduced by {percent} %"
    keep = 1 - percent / 100
    made = scale(settings, (RATE,), lambda value: value * keep, reason, dry_run=arguments.dry_run)
    _show(arguments, made, f"order frequency − {percent} %", settings)
    return 0


def scale(
    settings: Settings, names: Sequence[str], new: Callable[[Decimal], Decimal], reason: str, *, dry_run: bool
) -> list[Change]:
    """The named limits and their overrides, changed by a function; those that are off stay off."""
    rules = Rules.load(ExecutionGuard.get_instance(settings).journal)
    keys = [(name, "") for name in names] + sorted(key for key in rules.values if key[0] in names and key[1])
    wanted: list[tuple[str, str, Value]] = []
    for name, target in keys:
        before = rules.value(name, target)
        if isinstance(before, Decimal | int) and not isinstance(before, bool):
            after = new(Decimal(before))
            wanted.append((name, target, after if isinstance(before, int) else _rounded(after)))
    return change(settings, wanted, reason, dry_run=dry_run)


def change(settings: Settings, wanted: Sequence[tuple[str, str, Value]], reason: str, *, dry_run: bool) -> list[Change]:
    """Check every change, then make them one by one through the guard. Raises GuardError before the first."""
    guard = ExecutionGuard.get_instance(settings)
    rules = Rules.load(guard.journal)
    checked = [(name, target, rules.value(name, target), parse(name, v, target=target)) for name, target, v in wanted]
    made = []
    for name, target, before, after in checked:
        sequence = None
        if not dry_run and after != before:
            guard.set_limit(name, after, target=target, reason=reason)
            sequence = _sequence(guard, name, target)
        made.append(Change(name, target, before, after, sequence))
    return made


def _rounded(value: Decimal) -> Decimal:
    """To the cent, or the hundredth of a share, without idle zeros."""
    return Decimal(f"{value.quantize(Decimal('0.01'), ROUND_DOWN).normalize():f}")


def _sequence(guard: ExecutionGuard, name: str, target: str) -> int | None:
    """The journal event of the change just made."""
    found = None
    for event in guard.journal.events(after=max(0, guard.journal.head()[0] - 50), kinds=["limit.set"]):
        if event.payload["name"] == name and (event.payload.get("target") or "") == target:
            found = event.sequence
    return found


def _show(arguments: argparse.Namespace, made: list[Change], title: str, settings: Settings) -> None:
    if arguments.json:
        print(json.dumps({"dry_run": arguments.dry_run, "changes": [one.to_dict() for one in made]}))
        return
    tell_changes(made, f"{title} on {settings.account_name}", dry_run=arguments.dry_run)
    print("next: athena review-guard-config" if not arguments.dry_run else "rehearsed: nothing was changed")


def tell_changes(made: list[Change], title: str, *, dry_run: bool) -> None:
    """Each change, before and after, with its journal row."""
    print(f"{'WOULD CHANGE' if dry_run else 'CHANGED'}: {title}")
    for one in made:
        name = f"{one.name} {one.target.replace(':', ' ')}".strip()
        row = "unchanged" if one.after == one.before else f"journal row {one.sequence}" if one.sequence else "rehearsal"
        print(f"  {name:44} {show(one.name, one.before):>16} -> {show(one.name, one.after):<16} {row}")


def _too_large(settings: Settings, made: list[Change]) -> None:
    """Positions beyond the new limit: they stay, and only orders that make them smaller pass."""
    from athena.core.portfolio import Portfolio
    from athena.journal.journal import Journal

    bounds = {c.target: c.after for c in made if c.name == "max_position_per_symbol_dollars"}
    with Journal.open(settings.journal_path, "limits", read_only=True) as journal:
        for position in Portfolio.from_journal(journal).positions():
            own = [v for t, v in bounds.items() if t in {"", f"symbol:{position.symbol}"} and isinstance(v, Decimal)]
            value = position.market_value
            if value is not None and own and abs(value) > min(own):
                print(
                    f"  note: {position.symbol} is worth ${abs(value):,.2f}, above its limit: it may only shrink"
                    f" (athena close-position {position.symbol})"
                )
