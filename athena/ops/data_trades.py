"""Trade history: downloaded from the venue a file a day, and merged with other sources."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core import trade_history as history
from athena.core.trade_history import COLUMNS, Source, Trade
from athena.errors import BrokerUnavailable, JournalError, RateLimited, SettingsError
from athena.journal.codec import decimal_text, to_text
from athena.journal.journal import Journal
from athena.journal.snapshots import sha256_of
from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.alpaca_fields import Malformed
from athena.model import Account, trading_date
from athena.ops.recovery import check_account
from athena.ops.recovery_show import Table, say, working

if TYPE_CHECKING:
    from athena.live.brokers.alpaca_rest import AlpacaRest

PAGE = 100
PAGES_MAX = 10_000
_MANIFEST = "manifest.json"
_SETTLED = timedelta(days=1)  # a day's executions may still be corrected on the next


def download_trades(settings: Settings, arguments: argparse.Namespace) -> int:
    """One file per day with executions; a day that is over is asked for once. Exit 5 where the venue stopped answering.

    What was finished stays: the same command goes on from there.
    """
    folder = settings.folder / "downloads"
    with working(arguments, "asking the venue for the date") as now:
        done, asked, trades = asyncio.run(_download(settings, folder, arguments.days, arguments.format, now))
    rows = [(day, facts["trades"], facts["file"] or "no trades", facts["sha256"][:16]) for day, facts in done.items()]
    total = sum(facts["trades"] for facts in done.values())
    told = f"{total:,} trades of {len(done)} days in {folder}; {asked} days asked for now ({trades:,} trades)"
    if amended := sum(facts.get("amended", 0) for facts in done.values()):
        told += f"; {amended} were busted or corrected afterwards, which the files do not tell: athena reconcile"
    tables: list[Table] = [("", ("day", "trades", "file", "SHA-256"), [row for row in rows if row[1]])]
    facts = {"folder": str(folder), "days": done, "asked_now": asked}
    return say(arguments, Verdict.OK, told, facts, tables, "athena merge-trade-data")


async def _download(
    settings: Settings, folder: Path, days: int, suffix: str, now: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], int, int]:
    from athena.live.brokers.alpaca import AlpacaBroker

    broker = AlpacaBroker.get_instance(settings)
    try:
        _same_account(settings, await broker.get_account())
        today = trading_date((await broker.get_clock()).at)
        manifest, names = _manifest(folder), _client_ids(settings)
        asked = trades = 0
        found: dict[str, dict[str, Any]] = {}
        for back in range(days, -1, -1):
            day = today - timedelta(days=back)
            if day.weekday() >= 5:
                continue
            key = day.isoformat()
            if not _kept(folder, manifest.get(key), suffix):
                now(f"{key}: asking for executions ({asked} days, {trades:,} trades so far)")
                told = await _day(broker, day, now)
                rows = [_trade(row, names) for row in told if not wire.amends(row)]
                final, amended = day < today - _SETTLED, len(told) - len(rows)
                manifest[key] = _write(folder, day, rows, suffix, final=final, amended=amended)
                asked, trades = asked + 1, trades + len(rows)
            found[key] = manifest[key]
        return found, asked, trades
    finally:
        await broker.close()


async def _day(broker: AlpacaRest, day: date, now: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every page of one New York day's executions, oldest first. Waits where the rate limit says so."""
    query: dict[str, Any] = {"date": day.isoformat(), "direction": "asc", "page_size": PAGE}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(PAGES_MAX):
        try:
            page = await broker._get("activities", "/account/activities/FILL", query)
        except RateLimited as error:
            now(f"{day}: the venue's rate limit, waiting {error.retry_after_seconds:.0f} s")
            await asyncio.sleep(error.retry_after_seconds)
            continue
        if not isinstance(page, list) or not all(isinstance(row, dict) and row.get("id") for row in page):
            raise BrokerUnavailable(f"executions of {day}: the answer is not understood.", "Nothing of it was kept.")
        before = len(found)
        found |= {str(row["id"]): row for row in page}
        if len(page) < PAGE:
            return list(found.values())
        if len(found) == before:
            break
        query["page_token"] = page[-1]["id"]
    raise BrokerUnavailable(f"executions of {day}: the venue's pages do not end.", "Try again later.")


def _trade(row: dict[str, Any], names: dict[str, str]) -> Trade:
    order = str(row.get("order_id") or "")
    try:
        fill = wire.fill(row, names.get(order) or "unknown")
    except Malformed as error:
        raise BrokerUnavailable(f"execution {row.get('id')} cannot be read: {error}.", "Nothing was kept.") from error
    facts = {"execution_id": fill.execution_id, "at": to_text(fill.at), "symbol": fill.symbol, "side": fill.side.value}
    amounts = {name: decimal_text(getattr(fill, name)) for name in ("quantity", "price", "fee")}
    ids = {"broker_order_id": order, "client_order_id": names.get(order, "")}
    return history.canonical({**facts, **amounts, **ids})


def _write(folder: Path, day: date, trades: list[Trade], suffix: str, *, final: bool, amended: int) -> dict[str, Any]:
    """The day's file and its line in the manifest, each whole or not at all."""
    manifest = _manifest(folder)
    path = folder / f"trades-{day.isoformat()}.{suffix}"
    if trades:
        history.write_file(path, trades)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    facts = {"trades": len(trades), "file": path.name if trades else "", "final": final, "format": suffix}
    facts["amended"] = amended
    manifest[day.isoformat()] = facts | {"sha256": sha256_of(path) if trades else ""}
    draft = folder / f".{_MANIFEST}.draft"
    draft.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(folder / _MANIFEST)
    return manifest[day.isoformat()]


def _kept(folder: Path, facts: dict[str, Any] | None, suffix: str) -> bool:
    """True when the day is over and its file is there as it was written."""
    if not facts or not facts.get("final") or (facts["file"] and facts.get("format") != suffix):
        return False
    path = folder / facts["file"]
    return not facts["file"] or (path.is_file() and sha256_of(path) == facts["sha256"])


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _same_account(settings: Settings, account: Account) -> None:
    """Raise SettingsError where the key opens another account than the journal's; without a journal any will do."""
    with suppress(JournalError), Journal.open(settings.journal_path, "download-trades", read_only=True) as journal:
        check_account(journal, account)


def _client_ids(settings: Settings) -> dict[str, str]:
    """Client order ids by broker order id, as far as the journal knows them: activities carry only the latter."""
    try:
        with Journal.open(settings.journal_path, "download-trades", read_only=True) as journal:
            rows = journal.query(
                "SELECT broker_order_id, client_order_id FROM orders WHERE broker_order_id IS NOT NULL"
            )
    except JournalError:
        return {}  # the downloads matter most when the journal is gone
    return {row["broker_order_id"]: row["client_order_id"] for row in rows}


def merge_trade_data(settings: Settings, arguments: argparse.Namespace) -> int:
    """Merge into one file; exit 10 when sources contradict each other or something looks told twice."""
    folder = settings.folder / "downloads"
    output: Path = arguments.output or folder / "merged.csv"
    files = arguments.files or sorted(path for path in folder.glob("trades-*") if path.suffix in {".csv", ".parquet"})
    if output.resolve() in {path.resolve() for path in files}:
        raise SettingsError(f"--output {output} is one of the sources.", "Name another file.")
    with working(arguments, "reading"):
        sources = [Source(path.name, history.read_file(path, arguments.zone)) for path in arguments.files]
        if not arguments.files and files:
            sources = [Source("downloads", [trade for path in files for trade in history.read_file(path, "")])]
        if not arguments.no_journal:
            with Journal.open(settings.journal_path, "merge-trade-data", read_only=True) as journal:
                sources.insert(0, Source("journal", history.journal_trades(journal)))
        names = [source.name for source in sources]
        if arguments.prefer and arguments.prefer not in names:
            raise SettingsError(f"--prefer is '{arguments.prefer}'; the sources are {', '.join(names) or 'none'}.")
        if not sources:
            raise SettingsError("there is nothing to merge.", "athena download-trades, or name files.")
        merged = history.merge(sources, arguments.prefer)
        history.write_file(output, merged.trades, (*COLUMNS, "sources"))
    left = [conflict for conflict in merged.conflicts if not conflict.chosen]
    told = f"{len(merged.trades):,} trades of {len(sources)} sources in {output}"
    if merged.conflicts:
        told += f"; {len(merged.conflicts)} contradict, {len(left)} of them left out"
    if merged.lookalikes:
        told += f"; {len(merged.lookalikes)} look told twice (both are in)"
    count = [(s.name, f"{len(s.trades):,}", f"{len(merged.alone.get(s.name, ())):,}", merged.repeated.get(s.name, 0))
             for s in sources]  # fmt: skip
    clashes = [
        (c.execution_id, name, *(f"{trade[f]}{'  <' if f in c.fields else ''}" for f in history.COMPARED), c.chosen)
        for c in merged.conflicts
        for name, trade in c.told.items()
    ]
    twins = [(*(one[f] for f in history.COMPARED), one["sources"], other["sources"])
             for one, other in merged.lookalikes]  # fmt: skip
    tables: list[Table] = [
        ("sources", ("source", "trades", "known to it alone", "told twice"), count),
        ("contradictions (< differs)", ("execution", "source", *history.COMPARED, "taken"), clashes),
        ("look like one trade told twice", (*history.COMPARED, "in", "and in"), twins),
    ]
    facts = {
        "output": str(output), "trades": len(merged.trades), "alone": merged.alone,
        "conflicts": [{"execution_id": c.execution_id, "fields": c.fields, "told": c.told, "chosen": c.chosen}
                      for c in merged.conflicts],
        "lookalikes": merged.lookalikes,
    }  # fmt: skip
    bad = bool(left or merged.lookalikes)
    then = "choose for contradictions: --prefer SOURCE; --json shows all of each" if left else "athena recalc-metrics"
    return say(arguments, Verdict.ATTENTION if bad else Verdict.OK, told, facts, tables, then)
