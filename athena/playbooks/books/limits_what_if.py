"""What would other limits have refused? Every journaled order through the guard's own checks again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from athena.analysis import limits_replay
from athena.analysis.assessment import Assessment, Section
from athena.errors import GuardError, SettingsError
from athena.live.limits import LIMITS, Value, parse, show
from athena.playbooks.books import pictures
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answers, reframe
from athena.playbooks.proposing import replayed

TITLE = "Limits, what if"
QUESTIONS = {
    "effects": "What would each have refused?",
    "orders": "Which orders?",
    "days": "On which days?",
}
HALVED = (
    "max_position_per_symbol_dollars",
    "max_gross_exposure_dollars",
    "max_order_notional_dollars",
    "max_orders_per_minute",
)
Key = tuple[str, str]


@answers(TITLE, QUESTIONS)
def assess(system: System, changes: str = "") -> Assessment:
    """Each change alone and all together over the whole record; "" tries half of the limits on size and rate.

    changes: "max_position_per_symbol_dollars=5000; max_slippage_bps@symbol:XOM=25". Raises SettingsError.
    """
    from athena.live.limit_replay import NOT_REPLAYED, load_record, replay

    current = system.limits()
    wanted = read(changes) if changes.strip() else _halved(current)
    if unfit := [name for name, _ in wanted if name in NOT_REPLAYED]:
        raise SettingsError(f"{unfit[0]} cannot be replayed.", "The journal does not keep what it compares.")
    record = load_record(system.journal)
    frames = {_label(key): replayed(replay(record, {key: value})) for key, value in wanted.items()}
    if len(wanted) > 1:
        frames[limits_replay.ALL] = replayed(replay(record, wanted))
    said = {_label(key): f"{show(key[0], current[key[0]])} to {show(key[0], value)}" for key, value in wanted.items()}
    baseline = replayed(replay(record))
    judged = limits_replay.assess(baseline, frames, said, {"changes": said})
    whole = frames.get(limits_replay.ALL, next(iter(frames.values()), baseline))
    effects = judged.sections["effects"]
    counts = {label: float(len(limits_replay.newly_refused(frame, baseline))) for label, frame in frames.items()}
    if len(baseline) and counts:
        draw = partial(pictures.bars, counts, "Orders newly refused")
        effects = replace(effects, draw=draw)
    sections = {**judged.sections, "effects": effects, "days": _days(whole, baseline)}
    if limits_replay.ALL not in frames and frames:
        sections["orders"] = _orders(whole, baseline)
    told = Assessment(
        judged.title,
        judged.verdict,
        judged.reason,
        "Apply one with `athena limits NAME VALUE --reason WHY`, or leave them.",
        judged.as_of,
        judged.findings,
        sections,
        judged.numbers,
        judged.facts,
    )
    return reframe(told, TITLE, QUESTIONS, system)


def read(text: str) -> dict[Key, Value]:
    """`name=value; name@symbol:AAPL=value` as limits; raises SettingsError naming what is wrong."""
    found: dict[Key, Value] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        left, equals, value = (piece.strip() for piece in part.partition("="))
        name, _, target = (piece.strip() for piece in left.partition("@"))
        if not equals:
            raise SettingsError(f"'{part}' is no change of a limit.", "Write name=value, or name@symbol:AAPL=value.")
        try:
            found[name, target] = parse(name, value, target=target)
        except GuardError as error:
            raise SettingsError(error.message, error.hint) from None
    return found


def _halved(current: dict[str, Any]) -> dict[Key, Value]:
    """Half of the limits on size and rate, as the operators' playbook does in an emergency."""
    found: dict[Key, Value] = {}
    for name in HALVED:
        value = current.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found[name, ""] = max(1, value // 2)
        elif isinstance(value, Decimal):
            found[name, ""] = max(value / 2, Decimal(LIMITS[name].low))
    return found


def _label(key: Key) -> str:
    return f"{key[0]} {key[1]}".strip()


def _orders(candidate: pd.DataFrame, baseline: pd.DataFrame) -> Section:
    refused = limits_replay.newly_refused(candidate, baseline)
    return Section(QUESTIONS["orders"], f"{len(refused)} orders under this change.", (limits_replay._orders(refused),))


def _days(candidate: pd.DataFrame, baseline: pd.DataFrame) -> Section:
    """Orders newly refused by trading day: is it every day, or one bad one?"""
    refused = limits_replay.newly_refused(candidate, baseline)
    if refused.empty:
        return Section(QUESTIONS["days"], "On none.")
    counts = refused.groupby("trading_date").size()
    values = {str(day) if isinstance(day, date) else str(day)[:10]: float(n) for day, n in counts.items()}
    days = baseline["trading_date"].nunique()
    words = f"{len(refused)} orders on {len(values)} of {days} days, under all changes together."
    return Section(QUESTIONS["days"], words, (), partial(pictures.bars, values, "Orders newly refused"))
