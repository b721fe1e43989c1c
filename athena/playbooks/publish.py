"""From a run's folder to the archive: compared with the run before, secrets struck out, renamed into place, indexed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from athena.playbooks import pages
from athena.playbooks.archive import Archive, Entry, stamp
from athena.playbooks.changes import changes
from athena.playbooks.secrets import redact

_SUFFIXES = ("ipynb", "html", "json")
_EMPTY = '{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}'


def publish(
    folder: Path, reports: Path, record: dict[str, Any], *, secrets: Sequence[str], single_file: bool
) -> dict[str, Path]:
    """Writes `<trading date>/<playbook>.<when>.{ipynb,html,json}`, renews addresses and index; returns the paths.

    What was published before is never touched: a failed run takes an address, not a page.
    """
    record = json.loads(redact(json.dumps(record), secrets))  # before it is compared with what was published before
    name, target = record["playbook"], reports / record["trading_date"]
    target.mkdir(parents=True, exist_ok=True)
    notebook, body = folder / f"{name}.ipynb", folder / "body.html"
    archive = Archive(reports)
    with archive.only_one():
        entries = archive.entries()
        while (target / f"{name}.{stamp(record)}.json").exists():  # two runs that ended in the same millisecond
            ended = datetime.fromisoformat(record["run"]["finished_at"]) + timedelta(milliseconds=1)
            record["run"]["finished_at"] = ended.isoformat(timespec="milliseconds")
        previous = archive.before(record, entries)
        record["changes"] = _since(archive, previous, record) if previous and record["run"]["succeeded"] else None
        texts = {
            "ipynb": notebook.read_text(encoding="utf-8") if notebook.exists() else _EMPTY,  # it died before it wrote
            "html": pages.report(
                record,
                body.read_text(encoding="utf-8") if body.exists() else "",
                script=None if single_file else pages.shared_script(reports),
                previous=f"../{previous.stem}.html" if previous else "",
            ),
            "json": json.dumps(record, indent=1, ensure_ascii=False),
        }
        paths = {suffix: target / f"{name}.{stamp(record)}.{suffix}" for suffix in _SUFFIXES}
        for suffix in _SUFFIXES:
            made = folder / f"final.{suffix}"
            made.write_text(redact(texts[suffix], secrets), encoding="utf-8")
        for suffix in _SUFFIXES:
            os.replace(folder / f"final.{suffix}", paths[suffix])
        entries = archive.entries()
        archive.renew_addresses(name, entries)
        write_index(reports, entries)
    return paths


def add(reports: Path, name: str, result: Path, extra: Path) -> Path:
    """Puts one more file beside a published run's others, and its addresses with them; returns its place."""
    archive, target = Archive(reports), result.with_suffix(extra.suffix)
    with archive.only_one():
        os.replace(extra, target)
        archive.renew_addresses(name, archive.entries())
    return target


def write_index(reports: Path, entries: Sequence[Entry] | None = None) -> Path:
    """Renews `index.html` from the results found; one that cannot be read is listed as such."""
    found = Archive(reports).entries() if entries is None else entries
    made = reports / f".index-{os.getpid()}.html"
    made.write_text(pages.index(found), encoding="utf-8")
    index = reports / "index.html"
    os.replace(made, index)
    return index


def _since(archive: Archive, previous: Entry, record: dict[str, Any]) -> dict[str, Any] | None:
    try:
        before = json.loads(archive.path(previous, "json").read_text(encoding="utf-8"))
        return changes(before, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it was pruned or torn meanwhile; then there is nothing to compare with
