"""Executions from several sources as one table: which agree, which are known to one alone, which contradict.

    merged = merge([Source("journal", rows), Source("downloads", more)])
    merged.trades, merged.conflicts, merged.alone, merged.lookalikes

A trade is a mapping of text with the `COLUMNS`; amounts stay text, so that nothing is rounded on the way.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from athena.errors import SettingsError
from athena.journal.codec import to_text
from athena.journal.journal import Journal

COLUMNS = ("execution_id", "at", "symbol", "side", "quantity", "price", "fee", "broker_order_id", "client_order_id")
COMPARED = ("symbol", "side", "quantity", "price", "at")
_ALIASES = {
    "execution_id": ("execution_id", "id", "trade_id", "activity_id"),
    "at": ("at", "time", "timestamp", "transaction_time", "filled_at", "date"),
    "symbol": ("symbol", "ticker"),
    "side": ("side", "action"),
    "quantity": ("quantity", "qty", "shares"),
    "price": ("price", "fill_price"),
    "fee": ("fee", "commission"),
    "broker_order_id": ("broker_order_id", "order_id"),
    "client_order_id": ("client_order_id",),
}
_SIDES = {"buy": "buy", "b": "buy", "bot": "buy", "sell": "sell", "s": "sell", "sld": "sell", "sell_short": "sell"}
Trade = dict[str, str]


@dataclass(frozen=True)
class Source:
    """A named list of trades."""

    name: str
    trades: Sequence[Trade]


@dataclass(frozen=True, slots=True)
class Conflict:
    """One execution told differently: `told` maps each source to its trade, `fields` names what differs."""

    execution_id: str
    fields: tuple[str, ...]
    told: dict[str, Trade]
    chosen: str = ""


@dataclass(frozen=True)
class Merged:
    """The trades in order of time, what contradicts, what only one source knows, and what looks like one told twice."""

    trades: list[Trade]
    conflicts: list[Conflict]
    alone: dict[str, list[str]]
    lookalikes: list[tuple[Trade, Trade]]
    repeated: dict[str, int] = field(default_factory=dict)


def merge(sources: Sequence[Source], prefer: str = "") -> Merged:
    """Join by execution id. A contradicted trade is left out of `trades`, unless `prefer` names a source that tells it.

    Trades without an id are kept apart from all others and compared by what they look like.
    """
    told: dict[str, dict[str, Trade]] = {}
    repeated: dict[str, int] = {}
    conflicts: list[Conflict] = []
    for source in sources:
        for number, trade in enumerate(source.trades):
            identity = trade["execution_id"] or f"({source.name} row {number + 1})"
            first = told.setdefault(identity, {}).setdefault(source.name, trade)
            if first is not trade:
                repeated[source.name] = repeated.get(source.name, 0) + 1
                if fields := _differing([first, trade]):
                    again = {source.name: first, f"{source.name}, told again": trade}
                    conflicts.append(Conflict(identity, fields, again))
    bad = {conflict.execution_id for conflict in conflicts}
    alone: dict[str, list[str]] = {source.name: [] for source in sources} if len(sources) > 1 else {}
    kept: list[Trade] = []
    for identity, by_source in told.items():
        fields = _differing(list(by_source.values()))
        if fields:
            chosen = prefer if prefer in by_source and identity not in bad else ""
            conflicts.append(Conflict(identity, fields, by_source, chosen))
            if chosen:
                kept.append(_labelled(by_source[chosen], by_source))
            continue
        if len(by_source) == 1 and alone:
            alone[next(iter(by_source))].append(identity)
        if identity not in bad:
            kept.append(_labelled(_fullest(by_source.values()), by_source))
    kept.sort(key=lambda trade: (trade["at"], trade["execution_id"]))
    return Merged(kept, conflicts, alone, _lookalikes(kept), repeated)


def journal_trades(journal: Journal) -> list[Trade]:
    """The journal's fills; corrections are no executions and are left out."""
    rows = journal.query("SELECT * FROM fills WHERE source IS NULL OR source != 'correction' ORDER BY at, sequence")
    return [canonical({name: str(row[name] or "") for name in COLUMNS}) for row in rows]


def canonical(trade: Trade) -> Trade:
    """The trade with one text for each amount, so that 10 and 10.0 agree."""
    return trade | {name: f"{Decimal(trade[name] or 0).normalize():f}" for name in ("quantity", "price", "fee")}


def read_file(path: Path, zone: str = "") -> list[Trade]:
    """Trades of a CSV or Parquet file with a heading for each of time, symbol, side, quantity and price.

    Raises SettingsError naming file, row and value: a time without a zone when no `zone` is given, no number, no side.
    """
    if not path.is_file():
        raise SettingsError(f"there is no file {path}.", "athena download-trades makes some.")
    try:
        rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}.", "CSV with a heading, or Parquet, is expected."
        ) from error
    if not rows:
        return []
    headings = {name.strip().lower(): name for name in rows[0] if name}
    columns = {name: next((headings[a] for a in aliases if a in headings), None) for name, aliases in _ALIASES.items()}
    if missing := [name for name in COMPARED if columns[name] is None]:
        raise SettingsError(f"{path} has no column for {', '.join(missing)}; it has {', '.join(headings)}.")
    return [_trade(path, number, row, columns, zone) for number, row in enumerate(rows, 2)]


def write_file(path: Path, trades: Sequence[Trade], columns: Sequence[str] = COLUMNS) -> None:
    """Trades as CSV or Parquet, by the name's ending; whole or not at all, the same bytes for the same trades."""
    draft = path.with_name(f".{path.name}.draft")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: pa.array([trade.get(name, "") for trade in trades], pa.string()) for name in columns})
        pq.write_table(table, draft)
    else:
        with draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(trades)
    draft.replace(path)


def _differing(trades: Sequence[Trade]) -> tuple[str, ...]:
    """What they contradict each other in; a venue's stream, its list and a statement cut one time differently."""
    first = trades[0]
    return tuple(
        name
        for name in COMPARED
        if any(
            trade[name] != first[name] and not (name == "at" and _near(trade[name], first[name])) for trade in trades
        )
    )


def _fullest(trades: Iterable[Trade]) -> Trade:
    """One trade with every field any of the agreeing sources has."""
    whole: Trade = {}
    for trade in trades:
        whole |= {name: value for name, value in trade.items() if value and not whole.get(name)}
    return {name: whole.get(name, "") for name in COLUMNS}


def _labelled(trade: Trade, by_source: Iterable[str]) -> Trade:
    return {**trade, "sources": "+".join(by_source)}


def _lookalikes(trades: Sequence[Trade]) -> list[tuple[Trade, Trade]]:
    """A trade without an id beside an equal one (symbol, side, quantity, price) within a second: likely the same."""
    by_look: dict[tuple[str, ...], list[Trade]] = {}
    for trade in trades:
        by_look.setdefault(tuple(trade[name] for name in ("symbol", "side", "quantity", "price")), []).append(trade)
    return [
        (one, other)
        for group in by_look.values()
        for one in group
        if not one["execution_id"]
        for other in group
        if other is not one and (other["execution_id"] or id(other) > id(one)) and _near(one["at"], other["at"])
    ]


def _near(one: str, other: str) -> bool:
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) <= 1


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _trade(path: Path, number: int, row: dict[str, Any], columns: dict[str, str | None], zone: str) -> Trade:
    told = {name: "" if heading is None else str(row.get(heading) or "").strip() for name, heading in columns.items()}
    where = f"{path} row {number}"
    side = _SIDES.get(told["side"].lower())
    if side is None:
        raise SettingsError(f"{where}: side is '{told['side']}'; buy or sell.")
    amounts = {name: _number(where, name, told[name] or "0") for name in ("quantity", "price", "fee")}
    at = _time(where, told["at"], zone)
    return {**told, **amounts, "side": side, "symbol": told["symbol"].upper(), "at": at}


def _number(where: str, name: str, text: str) -> str:
    try:
        number = Decimal(text.replace(",", "").removeprefix("$"))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise SettingsError(f"{where}: {name} is '{text}'; a number is expected.")
    return f"{abs(number).normalize():f}" if name == "quantity" else f"{number.normalize():f}"


def _time(where: str, text: str, zone: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{where}: the time is '{text}'; 2020-03-09T13:30:00Z is expected.") from None
    if at.tzinfo is None:
        if not zone:
            raise SettingsError(f"{where}: '{text}' has no time zone.", "Say which: --zone America/New_York")
        try:
            at = at.replace(tzinfo=ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError):
            raise SettingsError(f"--zone is '{zone}'; a name like America/New_York is expected.") from None
    return to_text(at)
