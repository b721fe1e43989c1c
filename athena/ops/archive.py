"""Closed trading days to Parquet, part of every post-market routine; what is archived already costs next to nothing."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.errors import SettingsError
from athena.ops.recovery_show import Table, existing_journal, say, working

if TYPE_CHECKING:
    from athena.core.archive import Archived


def archive_trades(settings: Settings, arguments: argparse.Namespace) -> int:
    """Archive what is closed and has news; exit 10 when files were harmed or the journal lacks archived rows."""
    from athena.core.archive import archive_days
    from athena.core.archive_files import FOLDER
    from athena.core.sessions import not_over

    if arguments.date and arguments.all:
        raise SettingsError("--date and --all contradict each other.", "Give one of them.")
    chosen = _chosen(arguments.date)
    began = time.monotonic()
    thorough = arguments.all or chosen is not None
    with existing_journal(settings) as journal, working(arguments, "asking what is archived") as now:
        before, waits = not_over(journal, settings)
        if chosen is not None and chosen >= before:
            hint = waits or f"By the venue's time {before} is the first day that is not over."
            raise SettingsError(f"{chosen} is not over; a running day is never archived.", hint)
        done = list(
            archive_days(
                journal, settings.folder, before, chosen, thorough=thorough,
                on_day=lambda day, number, count: now(f"{day}: day {number} of {count}"),
            )
        )  # fmt: skip
    if chosen is not None and not done:
        raise SettingsError(f"the journal has nothing of {chosen}.", "Ask for a trading day of this account.")
    written, wrong = [one for one in done if one.written], [one for one in done if _bad(one)]
    folder = settings.folder / FOLDER
    told = f"{len(written)} of {len(done)} closed days archived in {folder} in {time.monotonic() - began:.1f} s"
    told += ", read back and compared with the journal" if written else ""
    if len(done) - len(written) - len(wrong) > 0:
        told += f"; {'all others hold' if thorough else 'the others are there already'}"
    told += f"; {len(wrong)} need your attention" if wrong else ""
    told += f"; {waits}" if waits else ""
    headings = ("day", "fills", "orders", "equity", "violations", "notional", "KB", "journal to", "")
    shown = done if chosen else [one for one in done if one.written or _bad(one)]
    tables: list[Table] = [("", headings, [_row(one, f"{folder}/") for one in shown])]
    facts: dict[str, Any] = {
        "folder": str(folder), "archived": len(written), "closed_days": len(done), "waits": waits,
        "days": [asdict(one) for one in done],
    }  # fmt: skip
    then = (
        "find out who or what did it (the disk, a restored snapshot); athena verify-journal checks the journal"
        if wrong
        else ""
    )
    return say(arguments, Verdict.ATTENTION if wrong else Verdict.OK, told, facts, tables, then)


def _chosen(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise SettingsError(f"--date is '{text}'; 2020-03-09 is expected.") from None


def _bad(one: Archived) -> bool:
    return one.before in {"files harmed", "the journal has less"}


def _row(one: Archived, below: str) -> tuple[Any, ...]:
    why = one.why.replace(below, "")
    if one.manifest is None:
        return (one.trading_date, "", "", "", "", "", "", "", f"NOT ARCHIVED: {why}")
    parts = one.manifest.tables
    counts = (f"{parts[name].rows:,}" for name in ("fills", "orders", "equity", "violations"))
    size = sum(part.size for part in parts.values())
    notional = f"{float(parts['fills'].sums['notional_usd']):,.2f}"
    words = {"not archived": "new", "the journal has news": "written anew: the journal had more"}
    how = words.get(one.before, one.before)
    if _bad(one):
        how = f"{'written anew' if one.written else 'KEPT AS IT WAS'}: {why}"
    return (one.trading_date, *counts, notional, f"{size / 1000:,.0f}", f"#{one.manifest.journal_sequence}", how)
