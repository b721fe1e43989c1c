"""Prices for the analyses: the venue's bars, else the marks the journal kept; the source is always said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from athena.core import frames
from athena.errors import AthenaError
from athena.journal.codec import decode
from athena.model import NEW_YORK
from athena.playbooks.books.system import System

BARS = ["symbol", "at", "open", "high", "low", "close", "volume"]
POINTS_MAX = 6000  # equity points read for their marks
INDEX = "SPY"


@dataclass(frozen=True)
class Returns:
    """Simple returns by aware time and symbol, none of them across a night, and where they are from in words."""

    frame: pd.DataFrame
    source: str

    def market(self, index: str) -> tuple[pd.Series, str]:
        """The index' returns; without it the mean of three symbols or more (missing for fewer); and which it is."""
        if index in self.frame and self.frame[index].notna().any():
            return self.frame[index], index
        if self.frame.shape[1] < 3:
            return self.frame.mean(axis=1) * float("nan"), f"no {index}, and too few symbols to stand for a market"
        return self.frame.mean(axis=1), f"the mean of {self.frame.shape[1]} symbols (no {index} here)"


def symbols(system: System) -> list[str]:
    """What is held or configured, in order."""
    held = [position.symbol for position in system.portfolio().positions()]
    return sorted({*held, *system.settings.symbols})


def bars(system: System, names: Iterable[str], *, sessions: int, minutes: int) -> pd.DataFrame:
    """The regular sessions' bars of the venue up to its time now, as floats: BARS. Raises BrokerError."""
    now = system.venue_now or system.read_at
    start = now - timedelta(days=sessions * 7 / 5 + 4)
    length: Any = "1Day" if minutes >= 390 else timedelta(minutes=minutes)
    wanted = sorted(set(names))
    found = system.ask(lambda broker: broker.get_bars(wanted, start, now, length), seconds=20.0)
    rows = [
        [symbol, bar.at, float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume)]
        for symbol, own in found.items()
        for bar in own
    ]
    frame = pd.DataFrame(rows, columns=BARS)
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    if minutes < 390 and len(frame):
        day = frame["at"].dt.tz_convert(NEW_YORK).dt.date
        hours = {each: system.days.on(each) for each in day.unique()}
        opens = pd.to_datetime(day.map({each: h and h.opens for each, h in hours.items()}), utc=True)
        closes = pd.to_datetime(day.map({each: h and h.closes for each, h in hours.items()}), utc=True)
        frame = frame[(frame["at"] >= opens) & (frame["at"] < closes)]
    return frame.sort_values(["at", "symbol"], ignore_index=True)


def returns(system: System, names: Sequence[str], *, sessions: int = 30, minutes: int = 30) -> Returns:
    """Returns of these symbols within the sessions; from the journal's marks where the venue does not answer."""
    try:
        found = bars(system, names, sessions=sessions, minutes=minutes)
        why = "the venue has no bars of them"
    except AthenaError as error:
        found, why = pd.DataFrame(columns=BARS), error.message.rstrip(".")
    if len(found):
        closes = found.pivot(index="at", columns="symbol", values="close")
        return Returns(
            _within_days(closes), f"{minutes}-minute bars of {len(set(_days(closes)))} sessions, from the venue"
        )
    kept = marks(system)
    kept = kept.resample(f"{minutes}min").last().dropna(how="all") if len(kept) else kept
    kept = kept[[name for name in kept.columns if name in names]]
    source = f"the marks of the journal's equity points, each {minutes} minutes ({why})"
    return Returns(_within_days(kept), source)


def marks(system: System) -> pd.DataFrame:
    """The price each equity point valued each position at: aware venue time × symbol, missing while not held."""
    rows = system.journal.query(
        "SELECT q.venue_at, e.payload FROM equity q JOIN events e USING (sequence) ORDER BY q.sequence DESC LIMIT ?",
        (POINTS_MAX,),
    )
    found = {row["venue_at"]: decode(row["payload"]).get("marks") or {} for row in reversed(rows)}
    frame = pd.DataFrame.from_dict(found, orient="index").astype(float)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.index, utc=True, format="ISO8601"))
    return frame.sort_index()


def equity_of(system: System, day: date | None) -> pd.Series:
    """The equity of one New York date by venue time; empty where there is none."""
    if day is None or not system.account:
        return pd.Series(dtype=float)
    curve = frames.equity_curve(system.journal)
    return pd.Series(curve[_days(curve) == day])


def _days(frame: pd.DataFrame | pd.Series) -> Any:
    return pd.DatetimeIndex(frame.index).tz_convert(NEW_YORK).date


def _within_days(closes: pd.DataFrame) -> pd.DataFrame:
    if closes.empty:
        return closes
    by_day = closes.groupby(_days(closes))
    moved = closes / by_day.shift(1) - 1
    return moved[by_day.cumcount().to_numpy() > 0]
