from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from athena.core import frames
from athena.journal import Journal
from tests.journal.facts import EVERY_KIND, VENUE_AT

READERS = (
    frames.orders, frames.fills, frames.equity, frames.violations, frames.cash_flows, frames.halts, frames.commands,
    frames.reconciliations, frames.events,
)  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_a_frame_has_the_same_columns_and_types_empty_or_full(journal: Journal, read: object) -> None:
    """Every frame: aware times, float money, decoded JSON; an empty one keeps columns and dtypes of time and money."""
    empty = read(journal)  # type: ignore[operator]
    for kind, payload in EVERY_KIND:
        journal.append(kind, payload, VENUE_AT)
    full = read(journal)  # type: ignore[operator]
    assert len(full)
    assert not len(empty)
    assert list(full.columns) == list(empty.columns)
    for name in full.columns:
        if isinstance(full[name].dtype, pd.DatetimeTZDtype) or full[name].dtype == float:
            assert full[name].dtype.kind == empty[name].dtype.kind, name
        assert "at" not in name.split("_")[-1:] or isinstance(full[name].dtype, pd.DatetimeTZDtype), name


def test_frames_are_cut_by_day_or_by_time(journal: Journal) -> None:
    """A trading date, or start and end with the end left out; both at once is an error."""
    for day in range(3):
        at = VENUE_AT + timedelta(days=day)
        journal.append("equity", {"equity": 100 + day, "cash": 1, "marks": {}}, at)
    assert list(frames.equity(journal, day=date(2020, 3, 10))["equity"]) == [101.0]
    cut = frames.equity(journal, start=VENUE_AT, end=VENUE_AT + timedelta(days=2))
    assert list(cut["equity"]) == [100.0, 101.0]
    with pytest.raises(ValueError, match="not both"):
        frames.equity(journal, day=date(2020, 3, 10), start=VENUE_AT)


def test_events_are_cut_by_kind(journal: Journal) -> None:
    """Only the kinds asked for, with their payloads as dicts."""
    for kind, payload in EVERY_KIND:
        journal.append(kind, payload, VENUE_AT)
    found = frames.events(journal, ["note", "fill"])
    assert list(found["kind"]) == ["fill", "fill", "note"]
    assert found["payload"].iloc[0]["execution_id"] == "x1"
