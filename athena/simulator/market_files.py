"""Reads a user's market files, CSV or Parquet, into arrays; refuses the first bad row with file, line and reason.

Files are read in pieces, so that millions of rows cost little more memory than their numbers do.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from athena.errors import SimulatorError
from athena.simulator import sessions
from athena.simulator.symbol_day import UNIT, Ints, micros, midnight, moment

ROWS_AT_ONCE = 200_000
BARS = ("open", "high", "low", "close", "volume", "trade_count")
QUOTES = ("bid", "ask", "bid_size", "ask_size")
_NAMES = {"bid_price": "bid", "ask_price": "ask"}  # alpaca-py's names for the same
_OPTIONAL = {"trade_count"}
_UNUSED = {"vwap", "bid_exchange", "ask_exchange", "conditions", "tape"}  # in alpaca-py's tables; accepted, not used
_PRICES = {"open", "high", "low", "close", "bid", "ask"}
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_SYMBOL = re.compile(r"[A-Z][A-Z0-9./]{0,14}")
_HINT = "Correct the file and start again; nothing of it was used."
_OLDEST, _NEWEST = datetime(1990, 2, 1, tzinfo=UTC), datetime(2100, 12, 1, tzinfo=UTC)
_LATEST = 16 * 3600 * 1_000_000  # 20:00, from the extended open


@dataclass(slots=True)
class Series:
    """One symbol's rows: `at` in microseconds, columns in ten-thousandths of a dollar or whole shares."""

    at: list[Ints] = field(default_factory=list)
    columns: dict[str, list[Ints]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MarketFile:
    """What one file holds: `kind` is 'bars' or 'quotes'."""

    path: Path
    kind: str
    series: dict[str, Series]


def read(path: Path, rows_at_once: int = ROWS_AT_ONCE) -> MarketFile:
    """The rows of a file, checked; SimulatorError names file, line (Parquet: row) and reason of the first bad one."""
    pieces = (_parquet if path.suffix.lower() in (".parquet", ".pq") else _csv)(path, rows_at_once)
    series: dict[str, Series] = {}
    last: dict[str, int] = {}
    kind = ""
    try:
        for frame in pieces:
            frame = frame.rename(columns=_NAMES)
            kind = kind or _kind(path, list(frame.columns))
            _take(path, frame, kind, series, last)
    except OSError as error:
        raise SimulatorError(
            f"Cannot read the market file {path}: {error.strerror or error}.", "Check the path."
        ) from error
    if not series:
        raise SimulatorError(f"The market file {path} holds no rows.", "It needs a header and at least one row.")
    return MarketFile(path, kind, series)


def _kind(path: Path, names: list[str]) -> str:
    for kind, columns in (("bars", BARS), ("quotes", QUOTES)):
        if columns[0] not in names:
            continue
        needed = {"symbol", "timestamp", *columns}
        missing = sorted(needed - _OPTIONAL - set(names))
        unknown = sorted(set(names) - needed - _UNUSED)
        twice = sorted({name for name in names if names.count(name) > 1})
        for what, found in (("lacks", missing), ("has the unknown", unknown), ("repeats the", twice)):
            if found:
                raise SimulatorError(
                    f"The market file {path}, line 1: a file of {kind} {what} column(s) {', '.join(map(repr, found))}.",
                    f"Its columns are {', '.join(['symbol', 'timestamp', *columns])}.",
                )
        return kind
    raise SimulatorError(
        f"The market file {path}, line 1: neither bars nor quotes, its columns are {', '.join(map(repr, names))}.",
        f"Bars: symbol, timestamp, {', '.join(BARS)}. Quotes: symbol, timestamp, {', '.join(QUOTES)}.",
    )


def _take(path: Path, frame: pd.DataFrame, kind: str, series: dict[str, Series], last: dict[str, int]) -> None:
    """Checks a piece and adds its numbers to `series`; `last` carries each symbol's latest time on."""
    blank = (frame.isna() | (frame == "")).all(axis=1)
    if blank.any():  # an empty line ends many a file
        frame = frame[~blank]
    if frame.empty:
        return
    names = [name for name in (BARS if kind == "bars" else QUOTES) if name in frame.columns]
    codes, symbols = pd.factorize(frame["symbol"])
    at, no_zone, no_time = _times(frame["timestamp"])
    numbers = {name: pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float) for name in names}
    misnamed = np.array([not _SYMBOL.fullmatch(str(symbol)) for symbol in symbols], dtype=bool)
    checks: list[tuple[Ints, str]] = [
        ((codes < 0) | misnamed[codes], "the symbol '{symbol}' is not one"),
        (no_zone, "the time '{timestamp}' has no zone; write it as 2020-03-09T09:30:00-04:00"),
        (no_time, "'{timestamp}' is not an ISO 8601 time"),
    ]
    for name, values in numbers.items():
        checks.append((~np.isfinite(values), f"{name} is not a number: '{{{name}}}'"))
        low, what = (0.5 / UNIT, "not above zero") if name in _PRICES else (0, "negative")
        checks.append((~(values >= low), f"{name} is {what}: {{{name}}}"))
        checks.append((~(values <= 1e12), f"{name} is beyond reason: {{{name}}}"))
    if kind == "bars":
        top = np.maximum(numbers["open"], numbers["close"])
        bottom = np.minimum(numbers["open"], numbers["close"])
        checks.append((~(numbers["high"] >= top), "high {high} lies below open {open} or close {close}"))
        checks.append((~(numbers["low"] <= bottom), "low {low} lies above open {open} or close {close}"))
    else:
        checks.append((~(numbers["bid"] <= numbers["ask"]), "bid {bid} is above ask {ask}"))
    checks.append((_closed(at, kind), "{timestamp} lies outside 04:00 to 20:00 New York of a trading day"))
    before = _before(codes, symbols, at, last)
    if kind == "bars":
        checks.append((at <= before, "{symbol} at {timestamp} does not come after the symbol's bar before it"))
    else:
        checks.append((at < before, "{symbol} at {timestamp} comes before the symbol's quote before it"))
    _refuse_first(path, frame, checks)

    for code, symbol in enumerate(symbols):
        rows = np.flatnonzero(codes == code)
        mine = series.setdefault(str(symbol), Series(columns={name: [] for name in names}))
        mine.at.append(at[rows])
        last[str(symbol)] = int(at[rows[-1]])
        for name, values in numbers.items():
            scale = UNIT if name in _PRICES else 1
            mine.columns[name].append(np.rint(values[rows] * scale).astype(np.int64))


def _refuse_first(path: Path, frame: pd.DataFrame, checks: list[tuple[Ints, str]]) -> None:
    """Raises for the earliest bad row; of several faults in it, the first in `checks`."""
    faults = [(int(np.flatnonzero(bad)[0]), order) for order, (bad, _) in enumerate(checks) if bad.any()]
    if faults:
        row, order = min(faults)
        values = {str(name): "" if pd.isna(value) else str(value)[:40] for name, value in frame.iloc[row].items()}
        line = int(frame.index[row])
        where = f"line {line + 2}" if frame.attrs["text"] else f"row {line + 1}"
        raise SimulatorError(f"The market file {path}, {where}: {checks[order][1].format(**values)}.", _HINT)


def _times(column: pd.Series) -> tuple[Ints, Ints, Ints]:
    """(microseconds, where a zone is missing, where it is no time at all)."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        parsed, no_zone = column.dt.tz_convert("UTC"), np.zeros(len(column), dtype=bool)
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        parsed, no_zone = column.dt.tz_localize("UTC"), np.ones(len(column), dtype=bool)
    else:
        text = column.astype(str)
        parsed = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
        no_zone = ~text.str.contains(_ZONE).to_numpy(dtype=bool) & parsed.notna().to_numpy()
    at = parsed.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
    return at, no_zone, parsed.isna().to_numpy()


def _closed(at: Ints, kind: str) -> Ints:
    """True where the exchange is closed; a bar at New York's midnight of a trading day stands for that day."""
    known = at[(at > micros(_OLDEST)) & (at < micros(_NEWEST))]
    if not len(known):
        return np.ones(len(at), dtype=bool)
    first, final = (sessions.new_york_date(moment(int(edge))) for edge in (known.min(), known.max()))
    days = list(sessions.sessions_between(first, final))
    # The sentinel day in front keeps an instant before the first session out without a special case.
    starts = np.array([0, *(micros(day.extended_open) for day in days)])
    inside: Ints = (at >= 0) & (at <= starts[starts.searchsorted(at, "right") - 1] + _LATEST)
    if kind == "bars":
        inside |= np.isin(at, [micros(midnight(day.date)) for day in days])
    return ~inside


def _before(codes: Ints, symbols: pd.Index, at: Ints, last: dict[str, int]) -> Ints:
    """For each row the time of the same symbol's row before it; the far past where there is none."""
    past = np.iinfo(np.int64).min
    order = np.argsort(codes, kind="stable")
    before = np.full(len(at), past)
    same = codes[order[1:]] == codes[order[:-1]]
    before[order[1:]] = np.where(same, at[order[:-1]], past)
    for code, symbol in enumerate(symbols):
        before[np.argmax(codes == code)] = last.get(str(symbol), past)
    return before


def _csv(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Pieces of text cells; the index counts lines after the header, empty ones too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            with pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                index_col=False,
                encoding="utf-8-sig",
                chunksize=rows,
            ) as reader:
                for frame in reader:
                    frame.attrs["text"] = True
                    yield frame
    except pd.errors.ParserWarning as error:
        raise SimulatorError(f"The market file {path}, line 2: more fields than the header names.", _HINT) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise SimulatorError(f"The market file {path} is no CSV: {reason}.", _HINT) from error


def _parquet(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Pieces of a Parquet file; the index counts rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        count = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows):
                frame = batch.to_pandas(ignore_metadata=True)
                frame.index = pd.RangeIndex(count, count + len(frame))
                count += len(frame)
                frame.attrs["text"] = False
                yield frame
    except pa.ArrowInvalid as error:
        raise SimulatorError(f"The market file {path} is no Parquet: {error}.", _HINT) from error
