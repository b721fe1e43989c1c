"""Runs a playbook headless and publishes it: `run_playbook("daily_report", {...}, who=..., why=...)`.

Parameters are checked first. The notebook runs in a process of its own with no secrets, and reads the venue through
a window that refuses orders; its verdict comes from what happened, never from the notebook's metadata; files appear
whole in `reports/YYYY-MM-DD/` or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from athena.config import Settings, toml_files
from athena.errors import PlaybookError, SettingsError
from athena.playbooks import chromium, mail, manifest, pages, parameters, publish, secrets, workers
from athena.playbooks.playbook import Playbook
from athena.playbooks.registry import find
from athena.playbooks.window import window
from athena.playbooks.workers import Progress, Worker


@dataclass(frozen=True)
class PlaybookRun:
    """What one run came to. `succeeded` is about the run; `verdict` is the playbook's, UNKNOWN where it failed."""

    name: str
    verdict: str
    reason: str
    action: str
    succeeded: bool
    trading_date: date
    notebook: Path
    html: Path
    result: Path
    seconds: float
    error: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    changed: str = ""  # since the run before, in words
    pdf: Path | None = None
    email: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 when the playbook reached its verdict, whatever it is; a failed run has PlaybookError's."""
        return 0 if self.succeeded else PlaybookError.exit_code

    def __str__(self) -> str:
        head = f"{self.verdict}: {self.reason}" if self.succeeded else f"FAILED: {self.error}"
        return f"{self.name} {self.trading_date} {head} ({self.seconds:.1f} s) {self.html}"


def run_playbook(
    name: str | Playbook,
    given: Mapping[str, object] | None = None,
    *,
    reports: Path,
    settings: Settings,
    who: str,
    why: str,
    progress: Progress | None = None,
    environment: Mapping[str, str] | None = None,
    single_file: bool = False,
    pdf: bool = False,
    email: bool = False,
    worker: Worker | None = None,
    told: Callable[[PlaybookRun], bool] | None = None,
) -> PlaybookRun:
    """Run a playbook, publish it under `reports`, and return what it came to; a failed run is returned, not raised.

    Raises SettingsError on an unknown playbook or parameter, a wrong value, or an empty who or why, before anything
    runs; PlaybookError where `reports` cannot be written. `progress(cell, cells, label)` is called as it goes.
    Pages share the script in `reports/assets/`; `single_file` puts it into the page, for sending. `pdf` and `email`
    add a PDF (refused at once where Chromium is not installed) and an `.eml` with tables and images. `worker` is one
    from `reserve`, used where it is fit; it has its environment already. `told` is called once the page is published;
    it says whether there is time for PDF and e-mail.
    """
    playbook = name if isinstance(name, Playbook) else find(name)
    for label, text in (("who", who), ("why", why)):
        if not text.strip():
            raise SettingsError(f"a playbook run needs to know {label}.", f"Pass {label}=...")
    if pdf:
        chromium.need("a PDF")
    values, sequence = _values(playbook, given or {}, settings)
    surroundings = os.environ if environment is None else environment
    begun, started_at = time.perf_counter(), datetime.now(UTC)
    try:
        reports.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".run-", dir=reports.resolve()))
    except OSError as error:
        raise PlaybookError(
            f"reports cannot be written to {reports}: {error.strerror}.", "Free or mend the disk."
        ) from error
    try:
        if worker is None or not worker.fit:
            worker = reserve(settings, reports, surroundings)
        pages.prepare()  # while the worker starts, this process only waits
        order = {
            "notebook": str(playbook.path),
            "parameters": dict(values),
            "folder": str(folder),
            "output": f"{playbook.name}.ipynb",
            "cell_timeout_seconds": playbook.cell_timeout_seconds,
        }
        outcome = workers.work(worker, order, progress)
        seconds = time.perf_counter() - begun
        private = () if settings.venue == "simulator" else (settings.secret_key, window(settings).password)
        struck = secrets.secret_values(surroundings, private)
        record = manifest.build(playbook, values, outcome, who, why, sequence, started_at, seconds, settings.contacts)
        files = publish.publish(folder, reports, record, secrets=struck, single_file=single_file)
        if told is None or told(published(files["json"], time.perf_counter() - begun)):
            _extras(folder, reports, files, struck, pdf=pdf, email=email)
    except OSError as error:
        raise PlaybookError(
            f"the report cannot be written: {error}.", "Free or mend the disk, then run again."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return published(files["json"], time.perf_counter() - begun)


def _values(playbook: Playbook, given: Mapping[str, object], settings: Settings) -> tuple[dict[str, Any], int]:
    """The checked parameters, journal and day written out, and the journal's sequence now; 0 where none is read."""
    values = parameters.check(playbook.parameters, given)
    if values.get("journal") == "":
        values["journal"] = str(settings.journal_path.resolve())
    day, sequence = manifest.journal_state(values)
    if values.get("trading_date") == "" and day:
        values["trading_date"] = day  # so that rendering it again tomorrow still means this day
    return values, sequence


def published(result: Path, seconds: float) -> PlaybookRun:
    """A run as it was published, read from its result file."""
    clean = json.loads(result.read_text(encoding="utf-8"))
    beside = {suffix: result.with_suffix(f".{suffix}") for suffix in ("ipynb", "html", "pdf", "eml")}
    return PlaybookRun(
        name=clean["playbook"],
        verdict=clean["verdict"],
        reason=clean["reason"],
        action=clean["action"],
        succeeded=clean["run"]["succeeded"],
        trading_date=date.fromisoformat(clean["trading_date"]),
        notebook=beside["ipynb"],
        html=beside["html"],
        result=result,
        seconds=seconds,
        error=clean["run"]["error"]["message"] if clean["run"]["error"] else "",
        numbers=clean["numbers"],
        changed=(clean["changes"] or {}).get("words", ""),
        pdf=beside["pdf"] if beside["pdf"].exists() else None,
        email=beside["eml"] if beside["eml"].exists() else None,
    )


def reserve(settings: Settings, reports: Path, environment: Mapping[str, str] | None = None) -> Worker:
    """A worker of this live system, started and waiting, for one run soon; `end()` it where none comes."""
    return workers.start(surroundings(settings, reports, environment))


def surroundings(settings: Settings, reports: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a run's processes see of the environment: no secret of ours, and which live system they speak of."""
    known = os.environ if environment is None else environment
    return secrets.clean_environment(known) | _system(settings, reports, known)


def _extras(
    folder: Path, reports: Path, files: Mapping[str, Path], struck: Sequence[str], *, pdf: bool, email: bool
) -> dict[str, Path]:
    """A published run's PDF and e-mail, made from what was published."""
    made = {}
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    if pdf:
        try:
            chromium.pdf(files["html"], folder / "page.pdf")
        except PlaybookError as error:
            raise PlaybookError(
                f"The page is published ({files['html']}), its PDF is not: {error.message}", error.hint
            ) from error
        made["pdf"] = publish.add(reports, record["playbook"], files["json"], folder / "page.pdf")
    if email:
        body = folder / "body.html"
        text = secrets.redact(body.read_text(encoding="utf-8"), struck) if body.exists() else ""
        (folder / "mail.eml").write_bytes(bytes(mail.message(record, text, folder)))
        made["eml"] = publish.add(reports, record["playbook"], files["json"], folder / "mail.eml")
    return made


def _system(settings: Settings, reports: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Which live system a kernel speaks of: it runs in another folder, and may have been given other settings."""
    named = {"HOME": settings.home.resolve(), "REPORTS": reports.resolve(), "OPERATOR": settings.operator}
    named |= {"VENUE": settings.venue, "PROMETHEUS_URL": settings.prometheus_url}
    named["WORKING_FOLDER"] = toml_files(settings.home, known)[1].absolute().parent
    if settings.backups:
        named["BACKUPS"] = settings.backups.resolve()
    if settings.account:
        named["ACCOUNT"] = settings.account
    if settings.venue == "simulator":  # its address is loopback's, and no secret
        named["SIMULATOR_URL"] = settings.simulator_url
    seen = {} if settings.venue == "simulator" else window(settings).environment
    return {f"ATHENA_{name}": str(value) for name, value in named.items()} | seen
