"""What a change of one limit would have done to today's orders: the guard's own checks on the journal's own record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from athena.journal.journal import Journal
from athena.live.limit_replay import NOT_REPLAYED, Judged, load_record, replay
from athena.live.limits import Value, parse, show

NAMED_MOST = 5


@dataclass(frozen=True)
class Effect:
    """How many of the last trading day's orders a change would newly refuse, and newly let pass, in words."""

    judged: int
    refused: tuple[Judged, ...]
    passed: tuple[Judged, ...]
    lines: tuple[str, ...]


def effect(path: Path, name: str, text: str, target: str) -> Effect:
    """Judge the last trading day's orders again. Raises GuardError for a limit or value that is none."""
    value = parse(name, text, target=target)
    if name in NOT_REPLAYED:
        told = f"{name} cannot be replayed: the journal does not keep what it compares."
        return Effect(0, (), (), (told,))
    with Journal.open(path, "control room", read_only=True) as journal:
        record = load_record(journal)
    before, after = replay(record), replay(record, {(name, target): value})
    if not before:
        return Effect(0, (), (), ("No order was journaled yet.",))
    day = before[-1].trading_date
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old.trading_date == day]
    refused = tuple(new for old, new in pairs if not old.replayed and new.replayed)
    passed = tuple(new for old, new in pairs if old.replayed and not new.replayed)
    return Effect(len(pairs), refused, passed, _lines(name, value, len(pairs), f"{day}", refused, passed))


def _lines(
    name: str, value: Value, judged: int, day: str, refused: tuple[Judged, ...], passed: tuple[Judged, ...]
) -> tuple[str, ...]:
    head = f"With {name} at {show(name, value)}, of the {judged} orders of {day}:"
    lines = [head, f"{len(refused)} more would have been refused, {len(passed)} more would have passed."]
    for one in refused[:NAMED_MOST]:
        lines.append(
            f"refused: {one.side} {one.quantity:f} {one.symbol}: {one.replayed}, {one.observed} of {one.limit}"
        )
    if len(refused) > NAMED_MOST:
        lines.append(f"… and {len(refused) - NAMED_MOST} more")
    return tuple(lines)
