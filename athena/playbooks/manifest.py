"""What a run leaves for machines: the playbook's answer, and who ran it, why, on what, when, and how it ended."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from athena.config_tables import ROLES, Contact
from athena.errors import JournalError
from athena.model import trading_date
from athena.playbooks.playbook import Playbook

SCHEMA = 1
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def journal_state(values: Mapping[str, Any]) -> tuple[str, int]:
    """The latest trading day in the run's journal and its last sequence; ("", 0) where there is none to read.

    The playbook itself says what is wrong with a journal; the runner only needs a name for the folder.
    """
    from athena.journal import Journal

    path = values.get("journal")
    if not path:
        return "", 0
    latest = (
        "SELECT max(d) FROM (SELECT max(trading_date) d FROM trading_days UNION SELECT max(trading_date) FROM equity)"
    )
    try:
        with Journal.open(Path(str(path)), "playbook runner", read_only=True) as journal:
            row = journal.one(latest)
            return (row[0] if row and row[0] else ""), journal.head()[0]
    except JournalError:
        return "", 0


def build(
    playbook: Playbook,
    values: Mapping[str, Any],
    outcome: Mapping[str, Any],
    who: str,
    why: str,
    sequence: int,
    started_at: datetime,
    seconds: float,
    contacts: Sequence[Contact],
) -> dict[str, Any]:
    """The result file's content. A failed run is UNKNOWN, whatever the notebook had said before it failed."""
    error, answer = outcome["error"], outcome["result"] or {}
    if error:
        error = {**error, "traceback": [_ANSI.sub("", line) for line in error["traceback"]]}
        error["message"] = _ANSI.sub("", f"{error['kind']}: {error['message']}")
        told = {
            "verdict": "UNKNOWN",
            "reason": f"The playbook failed before its verdict. {error['message'].splitlines()[0][:300]}",
            "action": "Read the failing cell below, mend its cause, and run the playbook again.",
        }
    else:
        told = {key: answer[key] for key in ("verdict", "reason", "action")}
    day = answer.get("facts", {}).get("trading_date") or values.get("trading_date") or trading_date(datetime.now(UTC))
    return {
        "athena_result": SCHEMA,
        "playbook": playbook.name,
        "question": playbook.question,
        "trading_date": str(date.fromisoformat(str(day)[:10])),
        **told,
        "as_of": answer.get("as_of"),
        "figures": outcome["figures"],
        "numbers": answer.get("numbers", {}),
        "findings": answer.get("findings", []),
        "tables": answer.get("tables", {}),
        "facts": answer.get("facts", {}),
        "contacts": _whom_to_call(contacts) if error or told["verdict"] == "STOP" else [],
        "run": {
            "succeeded": not error,
            "error": error,
            "who": who,
            "why": why,
            "parameters": dict(values),
            "source_sha256": hashlib.sha256(playbook.path.read_bytes()).hexdigest(),
            "journal_sequence": answer.get("facts", {}).get("sequence", sequence),
            "started_at": started_at.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": round(seconds, 2),
            "steps_seconds": {key: round(value, 2) for key, value in outcome["seconds"].items()},
            "athena": _version(),
            "python": sys.version.split()[0],
        },
    }


def _whom_to_call(contacts: Sequence[Contact]) -> list[dict[str, str]]:
    return [{**asdict(one), "role": ROLES[one.role]} for one in contacts]


def _version() -> str:
    try:
        return version("athena")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
