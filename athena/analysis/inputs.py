"""What every analysis asks of its inputs first: aware, sorted, unique times; the columns it needs; numbers.

A wrong input is a ValueError that names it. `answered` turns that into an assessment whose verdict is UNKNOWN, so that
a playbook ends with a verdict; wrong *calls* (an unknown `kind`) stay errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt
import pandas as pd

from athena.analysis.assessment import Assessment, Finding, Section, Verdict
from athena.model import NEW_YORK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
P = ParamSpec("P")


def check_times(index: Any, what: str, *, unique: bool = True) -> pd.DatetimeIndex:
    """The index if it holds aware, known, sorted times (and no repeats); else ValueError that says which."""
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError(f"{what} has no times ({type(index).__name__}); give it an index of aware times")
    if index.tz is None:
        raise ValueError(f"{what} has naive times; give them a time zone")
    if index.hasnans:
        raise ValueError(
            f"{what} has {int(np.asarray(index.isna()).sum())} missing times; drop those rows knowingly first"
        )
    if not index.is_monotonic_increasing:
        raise ValueError(f"{what} is unsorted; sort it by time first")
    if unique and not index.is_unique:
        again = index[index.duplicated()][0]
        raise ValueError(f"{what} has repeated times, {again} first; drop the repeats first")
    return index


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raises ValueError naming the columns that are missing."""
    if missing := [name for name in columns if name not in frame.columns]:
        raise ValueError(f"{what} lacks the columns {', '.join(missing)}")


def floats(values: Any) -> Floats:
    """Decimals, numbers or None as floats; what is missing is NaN."""
    return np.asarray(pd.to_numeric(pd.Series(values).astype(object), errors="coerce"), dtype=float)


def simple_returns(data: pd.DataFrame, *, kind: str, what: str = "the returns") -> pd.DataFrame:
    """Simple returns, time by symbol, missing where unknown.

    kind: 'prices' (a price must be positive; a return across a missing price is missing) or 'returns' (fractions).
    Raises TypeError on another kind, ValueError on bad times, repeated symbols, infinite or impossible values.
    """
    if kind not in ("prices", "returns"):
        raise TypeError(f"kind is {kind!r}; say kind='prices' or kind='returns' (simple, not logarithmic)")
    check_times(data.index, what)
    if not data.columns.is_unique:
        raise ValueError(f"{what} names a symbol twice: {data.columns[data.columns.duplicated()][0]}")
    values = data.to_numpy(dtype=float, na_value=np.nan)
    bad = np.isinf(values) | ((values <= 0) if kind == "prices" else (values < -1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{what}: {data.columns[column]} is {values[row, column]} at {data.index[row]}, no {kind[:-1]}"
        )
    if kind == "returns":
        return pd.DataFrame(values, data.index, data.columns)
    return pd.DataFrame(values[1:] / values[:-1] - 1, data.index[1:], data.columns)


def sessions(index: pd.DatetimeIndex) -> Ints:
    """Positions at which each New York date's points begin, in order; dates without points are not there."""
    if not len(index):
        return np.empty(0, dtype=np.int64)
    first, last = index[0].tz_convert(NEW_YORK).normalize(), index[-1].tz_convert(NEW_YORK).normalize()
    days = pd.date_range(first, last, freq="D").tz_convert(index.tz).as_unit(index.unit)
    found: Ints = np.unique(index.searchsorted(days, side="left")).astype(np.int64)
    return found[found < len(index)]


def by_session(curve: pd.Series) -> pd.Series:
    """The last point of each New York date."""
    starts = sessions(pd.DatetimeIndex(curve.index))
    return curve.iloc[np.append(starts[1:], len(curve)) - 1] if len(starts) else curve


def answered(title: str) -> Callable[[Callable[P, Assessment]], Callable[P, Assessment]]:
    """Makes an assessment of a ValueError: UNKNOWN, with what was wrong as its reason."""

    def decorate(assess: Callable[P, Assessment]) -> Callable[P, Assessment]:
        @wraps(assess)
        def answer(*args: P.args, **kwargs: P.kwargs) -> Assessment:
            try:
                return assess(*args, **kwargs)
            except ValueError as error:
                return unknown(title, f"{str(error)[:1].upper()}{str(error)[1:]}.")

        return answer

    return decorate


def unknown(title: str, reason: str, action: str = "Mend the input named here, then run this again.") -> Assessment:
    """An assessment that could not be made, and why."""
    finding = Finding("Can the inputs be judged?", Verdict.UNKNOWN, "no", "yes", reason, action)
    return Assessment(
        title, Verdict.UNKNOWN, reason, action, None, (finding,), {"inputs": Section("What is wrong?", reason)}, {}, {}
    )
