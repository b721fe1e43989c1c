"""Symbols: the venue's facts of each, kept and compared, and a watchlist without those that no longer trade."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from athena.analysis.assessment import Verdict
from athena.config import Settings
from athena.core import symbols
from athena.core.symbols import Dependents
from athena.errors import AthenaError, JournalError, SettingsError
from athena.journal.journal import Journal
from athena.live.brokers.base import Asset
from athena.ops.recovery_show import Table, say, working

FILE = "symbols.json"
_FACTS = ("name", "exchange", "tradable", "shortable", "fractionable", "marginable", "easy_to_borrow")


def update_symbols(settings: Settings, arguments: argparse.Namespace) -> int:
    """Keep the facts in `<folder>/symbols.json` and show what changed; exit 10 when a symbol cannot be traded."""
    needed, assets = _look(settings, arguments)
    kept, now = _kept(settings), {name: _facts(asset) for name, asset in assets.items()}
    changes = [
        (name, fact, _word(kept[name].get(fact)), _word(facts.get(fact)))
        for name, facts in now.items()
        if name in kept
        for fact in ("found", *_FACTS)
        if kept[name].get(fact) != facts.get(fact)
    ]
    new = sorted(set(now) - set(kept))
    _save(settings, now)
    bad = [name for name in now if _wrong(assets[name])]
    told = f"{len(now)} symbols asked for, {len(new)} new, {len(changes)} facts changed, {len(bad)} cannot be traded"
    rows = [(name, _wrong(assets[name]) or "tradable", _flags(assets[name]), needed[name]) for name in sorted(now)]
    tables: list[Table] = [
        ("changed", ("symbol", "fact", "was", "is"), changes),
        ("", ("symbol", "", "facts", "needed by"), rows),
    ]
    facts = {"file": str(settings.folder / FILE), "symbols": now, "changes": changes, "new": new, "not_tradable": bad}
    verdict = Verdict.ATTENTION if bad else Verdict.OK
    return say(arguments, verdict, told, facts, tables, "athena clean-watchlist" if bad else "")


def clean_watchlist(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show symbols that cannot be traded and what depends on them; --apply takes them out of athena.toml.

    Those with shares or open orders stay: their prices are needed. Exit 10 while some are listed.
    """
    needed, assets = _look(settings, arguments)
    bad = {name: _wrong(asset) for name, asset in assets.items() if _wrong(asset)}
    configured = {name for name in bad if needed[name].watched or needed[name].strategies}
    gone = {name for name in configured if not needed[name].in_use}
    plan = _plan(settings, gone)
    rows = [(name, bad[name], needed[name], _what(needed[name], name in gone)) for name in sorted(bad)]
    tables: list[Table] = [("", ("symbol", "why", "needed by", "what happens"), rows)]
    facts: dict[str, Any] = {
        "symbols": {name: {"why": bad[name], "dependents": asdict(needed[name])} for name in bad},
        "removable": sorted(gone), "files": [str(path) for path, _ in plan], "applied": False,
    }  # fmt: skip
    if not bad:
        return say(arguments, Verdict.OK, f"all {len(assets)} symbols can be traded", facts)
    told = f"{len(bad)} of {len(assets)} symbols cannot be traded"
    if not arguments.apply:
        names = " and ".join(str(path) for path, _ in plan)
        then = f"athena clean-watchlist --apply rewrites {names}" if plan else "nothing that --apply could take out"
        return say(arguments, Verdict.ATTENTION, told, facts, tables, then)
    backups = [str(_rewrite(path, text)) for path, text in plan]
    facts |= {"applied": bool(backups), "backups": backups}
    told += f"; {len(gone)} taken out of {len(plan)} file(s), kept before as {', '.join(backups)}" if backups else ""
    left = sorted(set(bad) - gone)
    told += f"; {', '.join(left)} stay" if left else ""
    verdict = Verdict.ATTENTION if left or not backups else Verdict.OK
    return say(arguments, verdict, told, facts, tables, "restart the engine: it reads athena.toml at its start")


def _look(settings: Settings, arguments: argparse.Namespace) -> tuple[dict[str, Dependents], dict[str, Asset | None]]:
    try:
        with Journal.open(settings.journal_path, "symbols", read_only=True) as journal:
            needed = symbols.dependents(settings, journal)
    except JournalError:
        needed = symbols.dependents(settings, None)  # before the first start there is only the configuration
    with working(arguments, f"asking {settings.venue} for {len(needed)} symbols"):
        return needed, asyncio.run(_assets(settings, sorted(needed)))


async def _assets(settings: Settings, names: list[str]) -> dict[str, Asset | None]:
    """The venue's facts of each, None where it says it has no such symbol. Raises BrokerError: no answer is no fact."""
    from athena.live.brokers.alpaca import AlpacaBroker

    broker = AlpacaBroker.get_instance(settings)
    try:
        return {name: await broker.get_asset(name) for name in names}
    finally:
        await broker.close()


def _wrong(asset: Asset | None) -> str:
    if asset is None:
        return "the venue has no such symbol"
    return "" if asset.tradable else "not tradable (delisted or suspended)"


def _what(needed: Dependents, goes: bool) -> str:
    if goes:
        return "goes from athena.toml"
    if needed.in_use:
        return f"stays: close and cancel first (athena close-position {needed.symbol}), or call the broker"
    return f"not in athena.toml; its limits: athena limits NAME VALUE --symbol {needed.symbol}"


def _plan(settings: Settings, gone: set[str]) -> list[tuple[Path, str]]:
    """The settings files that would change, with their new text. Raises SettingsError when one cannot be edited."""
    if gone and os.environ.get("ATHENA_SYMBOLS"):
        raise SettingsError("the watchlist is in ATHENA_SYMBOLS, which a file cannot change.", "Change the variable.")
    plan = []
    for path in symbols.files(settings.home):
        text = path.read_text(encoding="utf-8")
        try:
            made = symbols.without_symbols(text, gone)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error.message}", error.hint) from error
        if empty := symbols.emptied_strategies(text, gone) if made != text else []:
            raise SettingsError(
                f"{path}: strategy {empty[0]} would be left without symbols.",
                "Take the strategy out, or give it others.",
            )
        if made != text:
            plan.append((path, made))
    return plan


def _rewrite(path: Path, text: str) -> Path:
    """Keep the file as it was beside it, then put the new text in its place in one step; the backup's path."""
    try:
        backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.bak")
        backup.write_bytes(path.read_bytes())
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)
    except OSError as error:
        raise AthenaError(f"{path} could not be rewritten: {error.strerror}.", "It is as it was.") from error
    return backup


def _facts(asset: Asset | None) -> dict[str, Any]:
    if asset is None:
        return {"found": False}
    return {"found": True} | {name: getattr(asset, name) for name in _FACTS}


def _flags(asset: Asset | None) -> str:
    if asset is None:
        return ""
    names = ("shortable", "easy_to_borrow", "fractionable", "marginable")
    return ", ".join([asset.exchange, *(name.replace("_", " ") for name in names if getattr(asset, name))])


def _word(value: Any) -> str:
    return {True: "yes", False: "no", None: "unknown"}.get(value, str(value)) if not isinstance(value, str) else value


def _kept(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((settings.folder / FILE).read_text(encoding="utf-8"))["symbols"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _save(settings: Settings, facts: dict[str, dict[str, Any]]) -> None:
    path = settings.folder / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{FILE}.draft")
        text = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "symbols": facts}, indent=1)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise AthenaError(f"{path} cannot be written: {error.strerror}.", "Check rights and space.") from error
