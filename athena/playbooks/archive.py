"""The archive of runs: what was run and came of it, the latest, the latest that succeeded, as of a moment; retention.

    reports/index.html                            every run, searchable
    reports/<trading day>/<playbook>.<when>.*     one run, never changed again; its .json comes last
    reports/<trading day>/<playbook>.*            the day's latest run
    reports/latest/<playbook>.*                   the latest run of the latest trading day
    reports/latest_good/<playbook>.*              the latest that reached its verdict
    reports/assets/                               the plotly script that the pages share

"Latest" is by trading day, then by when the run ended. The addresses without a time are hard links, renewed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from athena.errors import PlaybookError, did_you_mean

SUFFIXES = ("ipynb", "html", "pdf", "eml", "json")  # the result last: who finds it finds the rest
_ABANDONED = timedelta(days=1)  # a folder of a run that was killed, and files without their result


@dataclass(frozen=True)
class Entry:
    """One run in the archive. `stem` is its path in the archive without suffix; `finished_at` is ISO text, UTC."""

    stem: str
    playbook: str
    question: str
    trading_date: str
    verdict: str
    reason: str
    succeeded: bool
    finished_at: str
    who: str
    inputs: str  # its parameters but for the trading day, as text: runs are compared only where these agree
    changed: str  # what changed since the run before it, in words

    @property
    def order(self) -> tuple[str, str]:
        return self.trading_date, self.finished_at


class Archive:
    """The runs kept under a folder. Reading needs no lock; publishing and pruning hold `only_one`."""

    def __init__(self, reports: Path) -> None:
        self.reports = reports

    def entries(self) -> list[Entry]:
        """Every run, the latest first; a result that cannot be read is listed as UNKNOWN."""
        cache, kept = self._cached(), {}
        found = []
        for path in self.reports.glob("????-??-??/*.*Z.json"):
            stem = f"{path.parent.name}/{path.stem}"
            try:
                stat = path.stat()
            except FileNotFoundError:  # pruned meanwhile
                continue
            mark = [stat.st_mtime_ns, stat.st_size]
            entry = cache.get(stem, (None, None))
            known = entry[1] if entry[0] == mark else asdict(_read(path, stem))
            kept[stem] = (mark, known)
            found.append(Entry(**known))
        if kept != cache:
            try:
                _replace(self.reports / ".runs.json", json.dumps(kept))
            except OSError:
                pass  # an archive that may only be read is read in full each time
        return sorted(found, key=lambda entry: entry.order, reverse=True)

    def matching(
        self,
        playbook: str = "",
        *,
        trading_date: date | None = None,
        successful: bool = False,
        as_of: datetime | None = None,
    ) -> list[Entry]:
        """Runs, the latest first; of a playbook, of a trading day, that succeeded, ended by `as_of`: each if asked."""
        name, until = playbook.replace("-", "_"), None if as_of is None else as_of.astimezone(UTC)
        return [
            entry
            for entry in self.entries()
            if (not name or entry.playbook == name)
            and (trading_date is None or entry.trading_date == trading_date.isoformat())
            and (entry.succeeded or not successful)
            and (until is None or (entry.finished_at and datetime.fromisoformat(entry.finished_at) <= until))
        ]

    def find(
        self,
        playbook: str,
        *,
        trading_date: date | None = None,
        successful: bool = False,
        as_of: datetime | None = None,
    ) -> Entry:
        """The latest run of a playbook among those `matching`. Raises PlaybookError when there is none."""
        if found := self.matching(playbook, trading_date=trading_date, successful=successful, as_of=as_of):
            return found[0]
        entries, name = self.entries(), playbook.replace("-", "_")
        day, until = trading_date or "", None if as_of is None else as_of.astimezone(UTC)
        asked = [f"of {day}" if day else "", "that succeeded" if successful else ""]
        asked.append(f"by {until:%Y-%m-%d %H:%M:%S} UTC" if until else "")
        words = " ".join(word for word in asked if word)
        hint = did_you_mean(name, {entry.playbook for entry in entries} - {name}, f"Run it: `athena playbook {name}`.")
        raise PlaybookError(f"{self.reports} has no run of '{name}'{' ' if words else ''}{words}.", hint)

    def before(self, record: dict[str, Any], entries: Iterable[Entry]) -> Entry | None:
        """The successful run that came before this one, by trading day and time, with the same parameters."""
        order = (record["trading_date"], record["run"]["finished_at"])
        same = (record["playbook"], inputs_of(record))
        return next((e for e in entries if e.succeeded and e.order < order and (e.playbook, e.inputs) == same), None)

    def path(self, entry: Entry, suffix: str) -> Path:
        return self.reports / f"{entry.stem}.{suffix}"

    def renew_addresses(self, playbook: str, entries: Iterable[Entry]) -> None:
        """Points the addresses without a time at the latest runs of a playbook; takes away those that lead nowhere."""
        latest: dict[str, Entry] = {}
        for entry in (e for e in entries if e.playbook == playbook):  # the latest first
            latest.setdefault(entry.trading_date, entry)
            latest.setdefault("latest", entry)
            if entry.succeeded:
                latest.setdefault("latest_good", entry)
        for folder in {"latest", "latest_good", *latest}:
            for suffix in SUFFIXES:
                source = self.path(latest[folder], suffix) if folder in latest else None
                _address(self.reports / folder / f"{playbook}.{suffix}", source)

    def prune(self, keep_days: int, now: datetime) -> list[Entry]:
        """Deletes runs that ended more than so many days ago, but never a playbook's latest or latest good one."""
        limit = (now - timedelta(days=keep_days)).astimezone(UTC)
        with self.only_one():
            entries = self.entries()
            kept: set[tuple[str, str]] = set()
            gone = []
            for entry in entries:  # the latest first
                marks = {(entry.playbook, "latest"), *([(entry.playbook, "good")] if entry.succeeded else [])}
                first = bool(marks - kept)
                kept |= marks
                if not first and (not entry.finished_at or datetime.fromisoformat(entry.finished_at) < limit):
                    gone.append(entry)
            for entry in gone:
                for suffix in reversed(SUFFIXES):
                    self.path(entry, suffix).unlink(missing_ok=True)
            self._sweep(now)
            left = [entry for entry in entries if entry not in gone]
            for entry in gone:
                if not any(e.trading_date == entry.trading_date and e.playbook == entry.playbook for e in left):
                    for suffix in SUFFIXES:
                        (self.reports / entry.trading_date / f"{entry.playbook}.{suffix}").unlink(missing_ok=True)
            for name in {entry.playbook for entry in gone}:
                self.renew_addresses(name, left)
            for folder in {self.reports / entry.trading_date for entry in gone}:
                if not any(folder.iterdir()):
                    folder.rmdir()
        return gone

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """One publisher at a time in this archive, across threads and processes."""
        with (self.reports / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _sweep(self, now: datetime) -> None:
        """Removes what killed runs left behind."""
        old = (now - _ABANDONED).timestamp()
        for folder in self.reports.glob(".run-*"):
            if folder.stat().st_mtime < old:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.reports.glob("????-??-??/*.*Z.*"):
            result = path.with_name(path.name.rsplit(".", 1)[0] + ".json")
            if not result.exists() and path.stat().st_mtime < old:
                path.unlink(missing_ok=True)

    def _cached(self) -> dict[str, Any]:
        """What was read of each result before, by its time and size; only a shortcut, so anything wrong is no harm."""
        try:
            found = json.loads((self.reports / ".runs.json").read_text(encoding="utf-8"))
            return {stem: (mark, known) for stem, (mark, known) in found.items() if Entry(**known)}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def stamp(record: dict[str, Any]) -> str:
    """The part of a run's file names that says when it ended: 20261122T140501123Z."""
    ended = datetime.fromisoformat(record["run"]["finished_at"]).astimezone(UTC)
    return f"{ended:%Y%m%dT%H%M%S%f}"[:-3] + "Z"


def inputs_of(record: dict[str, Any]) -> str:
    """A run's parameters but for its trading day."""
    given = {key: value for key, value in record["run"]["parameters"].items() if key != "trading_date"}
    return json.dumps(given, sort_keys=True)


def _read(path: Path, stem: str) -> Entry:
    name = path.stem.rsplit(".", 1)[0]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        run, changes = found["run"], found.get("changes") or {}
        return Entry(
            stem=stem,
            playbook=str(found["playbook"]),
            question=str(found["question"]),
            trading_date=path.parent.name,
            verdict=str(found["verdict"]),
            reason=str(found["reason"]),
            succeeded=run["succeeded"] is True,
            finished_at=datetime.fromisoformat(run["finished_at"]).isoformat(timespec="milliseconds"),
            who=str(run["who"]),
            inputs=inputs_of(found),
            changed=changes.get("words", ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        day, why = path.parent.name, "The result file cannot be read."
        return Entry(stem, name, name, day, "UNKNOWN", why, False, "", "", "", "")


def _address(target: Path, source: Path | None) -> None:
    if source is None or not source.exists():
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    made = target.with_name(f".{target.name}-{os.getpid()}")
    made.unlink(missing_ok=True)
    try:
        os.link(source, made)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, made)
    os.replace(made, target)


def _replace(path: Path, text: str) -> None:
    made = path.with_name(f"{path.name}-{os.getpid()}-{id(text):x}")
    made.write_text(text, encoding="utf-8")
    os.replace(made, path)
