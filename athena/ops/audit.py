"""What the guard refused and did, and who changed what: read from the journal, its chain verified."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from athena.config import Settings
from athena.core.rejections import violation
from athena.errors import JournalError, SettingsError
from athena.journal.codec import to_text
from athena.journal.journal import Journal
from athena.live.limits import LIMITS, parse, show
from athena.live.verdict import Code

if TYPE_CHECKING:
    from athena.journal.event import Event

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AUDITED = (
    "halt.set", "halt.cleared", "limit.set", "command.requested", "command.finished", "engine.started",
    "engine.stopped", "account.bound", "note", "approval.requested", "approval.given",
    "journal.restored",
)  # fmt: skip


def violations(settings: Settings, arguments: argparse.Namespace) -> int:
    """List violations with their counts and what the matrix recommends for each kind."""
    where, values = _since(arguments.since)
    if arguments.code:
        where, values = [*where, "code = ?"], [*values, _code(arguments.code)]
    for name in ("symbol", "strategy"):
        if given := getattr(arguments, name):
            where, values = [*where, f"{name} = ?"], [*values, given]
    sql = "SELECT * FROM violations" + (f" WHERE {' AND '.join(where)}" if where else "") + " ORDER BY sequence"
    with Journal.open(settings.journal_path, "violations", read_only=True) as journal:
        rows = [dict(row) for row in journal.query(sql, values)]
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["code"]] += row["times"]
    if arguments.json:
        grouped = [{"code": code, "count": n} | violation(code).to_dict() for code, n in counts.most_common()]
        for group in grouped:
            del group["rows"]
        print(json.dumps({"count": counts.total(), "by_code": grouped, "violations": rows}))
        return 0
    _show_violations(settings, rows, counts, arguments)
    return 0


def audit(settings: Settings, arguments: argparse.Namespace) -> int:
    """List halts, resumes, limits, commands and engine starts with who, when and why; exit 3 on a broken chain."""
    begin, by = _machine_since(arguments.since), arguments.by.lower()
    with Journal.open(settings.journal_path, "audit", read_only=True) as journal:
        checked = journal.verify()
        halts = {row["id"]: dict(row) for row in journal.query("SELECT * FROM halts")}
        asked = {row["id"]: row["name"] for row in journal.query("SELECT id, name FROM commands")}
        events = [e for e in journal.events(kinds=AUDITED) if begin is None or e.at >= begin]
    lines = [_audited(event, halts, asked) for event in events]
    lines = [line for line in lines if by in f"{line['who']} {line['actor']}".lower()]
    if arguments.kind:
        lines = [line for line in lines if arguments.kind in line["kind"]]
    if arguments.json:
        print(json.dumps({"ok": checked.ok, "chain": str(checked), "lines": lines}, default=str))  # fmt: skip
        return 0 if checked.ok else JournalError.exit_code
    _show_audit(settings, lines, checked)
    return 0 if checked.ok else JournalError.exit_code


def _audited(event: Event, halts: dict[str, dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
    p = event.payload
    who = p.get("by") or p.get("owner") or event.actor
    loud = bool(p.get("override"))
    match event.kind:
        case "halt.set":
            where = p.get("target") or "everything"
            what = f"{p['mode'].replace('_', '-')} {where} ({p['origin']})"
        case "halt.cleared":
            halt = halts.get(p["id"], {})
            where = halt.get("target") or "everything"
            verb = "OVERRODE the checklist and resumed" if loud else "resumed"
            what = f"{verb} {where}, halted by {halt.get('owner', '?')}"
        case "limit.set":
            name, target = p["name"], (p.get("target") or "").replace(":", " ")
            what = f"{name} {target}".strip() + f": {_shown(name, p.get('previous'))} -> {_shown(name, p['value'])}"
        case "approval.requested" | "approval.given":
            what = f"{'asked' if event.kind.endswith('requested') else 'approved'}: {p['what']} ({p['os_user']})"
        case "command.requested":
            given = ", ".join(f"{k} {v}" for k, v in p["arguments"].items())
            what = f"asked for {p['name']} {given}".strip()
        case "command.finished":
            what = f"{asked.get(p['id'], 'command')} {p['status']}: {p.get('result', {}).get('message', '')}"
        case "engine.started":
            what = f"engine started{'' if p.get('clean', True) else ' after a crash'}"
        case "engine.stopped":
            what = "engine stopped"
        case "journal.restored":
            what = f"journal restored from {p['source']}, as of {p['as_of'][:16].replace('T', ' ')} UTC"
        case "account.bound":
            what = f"bound account {p['account_number']} of {p['venue']}"
        case _:
            what = str(p.get("text", ""))[:200]
    reason = str(p.get("reason") or "")
    return {
        "sequence": event.sequence, "at": to_text(event.at), "kind": event.kind, "who": who, "actor": event.actor,
        "host": event.host, "pid": event.pid, "what": what, "reason": reason, "override": loud,
    }  # fmt: skip


def _shown(name: str, value: Any) -> str:
    if name not in LIMITS:
        return str(value)
    try:
        return show(name, parse(name, value))
    except Exception:  # a value from another version, still worth showing
        return str(value)


def since(text: str) -> timedelta | date | datetime:
    """'90m', '2h', '3d' of machine time; a trading date; or a local time. Raises SettingsError."""
    if (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())) and found[2] in _UNITS:
        return timedelta(**{_UNITS[found[2]]: float(found[1])})
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(
            f"--since is '{text}'.", "Give 30m, 2h or 3d, a trading date like 2020-03-09, or '2020-03-09 14:30'."
        ) from None
    return at.date() if len(text.strip()) == 10 else at


def _since(text: str) -> tuple[list[str], list[str]]:
    if not text:
        return [], []
    found = since(text)
    if isinstance(found, timedelta):
        return ["at >= ?"], [to_text(datetime.now(UTC) - found)]
    if isinstance(found, datetime):
        return ["at >= ?"], [to_text(found.astimezone(UTC))]
    return ["trading_date >= ?"], [found.isoformat()]


def _machine_since(text: str) -> datetime | None:
    if not text:
        return None
    found = since(text)
    if isinstance(found, timedelta):
        return datetime.now(UTC) - found
    at = found if isinstance(found, datetime) else datetime(found.year, found.month, found.day)  # noqa: DTZ001  # local
    return at.astimezone(UTC)


def _code(text: str) -> str:
    wanted = text.upper().replace("-", "_")
    if wanted in Code.__members__:
        return wanted
    near = get_close_matches(wanted, list(Code.__members__), 1, 0.4)
    raise SettingsError(f"'{text}' is not a code.", f"Did you mean {near[0]}?" if near else ", ".join(Code.__members__))


def _show_violations(
    settings: Settings, rows: list[dict[str, Any]], counts: Counter[str], arguments: argparse.Namespace
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not rows:
        console.print(f"no violations on {settings.account_name}{' that match' if _filtered(arguments) else ''}")
        return
    total = counts.total()
    console.print(f"{total} violation{'s' * (total != 1)} on {settings.account_name}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("code", "count", "symbols", "recommended", "by itself"):
        table.add_column(heading, justify="right" if heading == "count" else "left", overflow="fold")
    for code, count in counts.most_common():
        names = sorted({row["symbol"] for row in rows if row["code"] == code and row["symbol"]})
        advice = violation(code).row
        table.add_row(code, str(count), ", ".join(names), advice.recommended, advice.automatic)
    console.print(table)
    shown = rows[-arguments.last :]
    console.print(f"the last {len(shown)}:" if len(shown) < len(rows) else "each:")
    for row in shown:
        at = datetime.fromisoformat(row["at"]).astimezone()
        venue = f" ({row['trading_date']})" if row["trading_date"] else ""
        compared = f" ({row['observed']} against {row['limit_value']})" if row["limit_value"] else ""
        who = f" {row['strategy']}" if row["strategy"] else ""
        console.print(
            f"  {row['sequence']} {at:%Y-%m-%d %H:%M:%S}{venue} {row['code']} {row['symbol'] or ''}{who}:"
            f" {row['message']}{compared} -> {row['action'] or 'refused'}", markup=False,
        )  # fmt: skip


def _filtered(arguments: argparse.Namespace) -> bool:
    return bool(arguments.since or arguments.code or arguments.symbol or arguments.strategy)


def _show_audit(settings: Settings, lines: list[dict[str, Any]], checked: Any) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, table = Console(highlight=False), Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("row", "at", "who", "what", "why"):
        table.add_column(heading, justify="right" if heading == "row" else "left", overflow="fold")
    for line in lines:
        at = datetime.fromisoformat(line["at"]).astimezone()
        who = line["who"] if line["who"] in line["actor"] else f"{line['who']} (written by {line['actor']})"
        style = "red" if line["override"] else ""
        told = map(escape, (who, line["what"], line["reason"]))
        table.add_row(str(line["sequence"]), f"{at:%Y-%m-%d %H:%M:%S}", *told, style=style)
    word = "[green bold]OK[/]" if checked.ok else "[red bold]BROKEN[/]"
    console.print(f"{word} {settings.account_name}: {escape(str(checked))}")
    overridden = sum(line["override"] for line in lines)
    console.print(
        f"{len(lines)} change{'s' * (len(lines) != 1)}" + (f", [red]{overridden} overrides[/]" if overridden else "")
    )
    console.print(table)
