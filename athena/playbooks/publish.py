"""From a run's folder to the archive: secrets struck out, page made, files renamed into place, index renewed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from athena.playbooks import pages
from athena.playbooks.secrets import redact

SUFFIXES = ("ipynb", "html", "json")  # the result last: who finds it finds the rest


def publish(
    folder: Path, reports: Path, record: dict[str, Any], *, secrets: Sequence[str], single_file: bool
) -> dict[str, Path]:
    """Writes `reports/<trading date>/<playbook>.{ipynb,html,json}` and renews `reports/index.html`; returns the paths.

    A failed run takes a good one's place only after keeping that as `<playbook>.last_good.*`, linked from its page.
    """
    name, target = record["playbook"], reports / record["trading_date"]
    target.mkdir(parents=True, exist_ok=True)
    if not (folder / f"{name}.ipynb").exists():  # the run died before papermill wrote anything
        (folder / f"{name}.ipynb").write_text(
            '{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}', encoding="utf-8"
        )
    body = folder / "body.html"
    with _only_one(reports):
        kept = _keep_good(target, name) if not record["run"]["succeeded"] else _good(target, name)
        page = pages.report(
            record,
            body.read_text(encoding="utf-8") if body.exists() else "",
            script=None if single_file else pages.shared_script(reports),
            last_good=f"{name}.last_good.html" if kept and not record["run"]["succeeded"] else "",
        )
        texts = {
            "ipynb": (folder / f"{name}.ipynb").read_text(encoding="utf-8"),
            "html": page,
            "json": json.dumps(record, indent=1, ensure_ascii=False),
        }
        paths = {suffix: target / f"{name}.{suffix}" for suffix in SUFFIXES}
        for suffix in SUFFIXES:
            made = folder / f"final.{suffix}"
            made.write_text(redact(texts[suffix], secrets), encoding="utf-8")
        for suffix in SUFFIXES:
            os.replace(folder / f"final.{suffix}", paths[suffix])
        if record["run"]["succeeded"]:
            for suffix in SUFFIXES:
                (target / f"{name}.last_good.{suffix}").unlink(missing_ok=True)
        write_index(reports)
    return paths


def write_index(reports: Path) -> Path:
    """Renews `index.html` from the result files found; a file that cannot be read is listed as such."""
    rows: list[dict[str, Any]] = []
    for path in sorted(reports.glob("????-??-??/*.json"), reverse=True):
        if ".last_good" in path.name:
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            keys = ("playbook", "question", "trading_date", "verdict", "reason")
            row: dict[str, Any] = {key: str(found[key]) for key in keys}
            row |= {
                "succeeded": found["run"]["succeeded"],
                "finished_at": found["run"]["finished_at"],
                "who": found["run"]["who"],
            }
        except (OSError, ValueError, KeyError, TypeError):
            row = {"playbook": path.stem, "question": path.stem, "trading_date": path.parent.name, "verdict": "UNKNOWN"}
            row |= {"reason": "The result file cannot be read.", "succeeded": False, "finished_at": "", "who": ""}
        rows.append({**row, "link": f"{path.parent.name}/{path.stem}.html"})
    made = reports / f".index-{os.getpid()}.html"
    made.write_text(pages.index(rows), encoding="utf-8")
    index = reports / "index.html"
    os.replace(made, index)
    return index


def _keep_good(target: Path, name: str) -> bool:
    """Moves the files of a good run aside before a failed one takes their names."""
    try:
        good = json.loads((target / f"{name}.json").read_text(encoding="utf-8"))["run"]["succeeded"]
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    for suffix in SUFFIXES if good else ():
        if (target / f"{name}.{suffix}").exists():
            os.replace(target / f"{name}.{suffix}", target / f"{name}.last_good.{suffix}")
    return _good(target, name)


def _good(target: Path, name: str) -> bool:
    return (target / f"{name}.last_good.html").exists()


@contextmanager
def _only_one(reports: Path) -> Iterator[None]:
    """One publisher at a time in this archive, across processes."""
    with (reports / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
