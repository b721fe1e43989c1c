"""The runner: what it refuses, how it fails, what it publishes, and what never gets into a file."""

import json
import os
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from athena.config import Settings
from athena.errors import SettingsError
from athena.playbooks.archive import Archive
from athena.playbooks.batch import render_all
from athena.playbooks.parameters import Kind, Parameter, check
from athena.playbooks.playbook import Playbook
from athena.playbooks.registry import PLAYBOOKS
from athena.playbooks.runner import run_playbook, surroundings
from athena.playbooks.secrets import clean_environment, redact
from tests.playbooks.conftest import CANARY, holds_no_secret
from tests.playbooks.days import DAY

RESULT = """from datetime import date
from athena.analysis.assessment import Assessment, Verdict
from athena.playbooks.record import record
facts = {"trading_date": date(2020, 3, 9)}
record(Assessment("T", Verdict.OK, "All is well.", "Nothing.", None, (), {}, {"n": 1}, facts))"""


def run(tmp_path, given, playbook="daily_report", **options):
    options = {"who": "operator alice", "why": "a test", **options}
    return run_playbook(playbook, given, reports=tmp_path / "reports", settings=Settings(home=tmp_path), **options)


def notebook(tmp_path, *cells, name="trial", **options):
    """A playbook of these code cells, with the parameters `word` and `trading_date`."""
    made = [
        new_markdown_cell("# Trial"),
        new_code_cell('word: str = ""\ntrading_date: str = ""', metadata={"tags": ["parameters"]}),
    ]
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[*made, *(new_code_cell(cell) for cell in cells)]), path)
    takes = (Parameter("word", Kind.TEXT, "", "a word"), Parameter("trading_date", Kind.DATE, "", "a day"))
    return Playbook(name, "Does it?", "A trial.", takes, notebook=path, **options)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"trading_dat": DAY}, "trading_date"),
        ({"trading_date": "9 March"}, "YYYY-MM-DD"),
        ({"journal": 7}, "journal"),
    ],
)
def test_parameters_are_refused_before_anything_runs(tmp_path, given, says):
    """An unknown name names its nearest, a wrong value its kind; no report folder appears."""
    with pytest.raises(SettingsError, match=says):
        run(tmp_path, given)
    assert not (tmp_path / "reports").exists()


def test_an_unknown_playbook_or_a_run_by_nobody_is_refused(tmp_path):
    """The nearest playbook is named; who and why are not optional."""
    with pytest.raises(SettingsError, match="daily_report"):
        run(tmp_path, {}, "daly-report")
    with pytest.raises(SettingsError, match="why"):
        run(tmp_path, {}, why=" ")


FAILURES = {
    "exception": ("raise ValueError('the tape is torn: ' + word)", 30, "ValueError: the tape is torn"),
    "dead-kernel": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 30, "DeadKernel"),
    "timeout": ("import time; time.sleep(90)", 2, "Timeout"),
    "exit-0": ("import sys; sys.exit(0)", 30, "SystemExit"),
    "no-result": ("1 + 1", 30, "MissingResult"),
}
SECRETS = {"APCA_API_SECRET_KEY": CANARY, "OTHER": "plain-but-not-needed"}


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A run that succeeds, then five of the same playbook at once that each fail in their own way."""
    folder = tmp_path_factory.mktemp("trials")
    environment = {**os.environ, **SECRETS}
    good = notebook(folder, "import os; print(sorted(os.environ), word)", RESULT)
    given = {"word": CANARY, "trading_date": DAY}
    first = run(folder, given, good, environment=environment)
    broken = []
    for name, (cell, timeout, _) in FAILURES.items():
        made = notebook(folder, cell, name=name)
        broken.append(replace(good, notebook=made.notebook, cell_timeout_seconds=timeout))
    acting = replace(good, reads_only=False)
    outcomes = render_all(
        [*broken, acting], given, reports=folder / "reports", settings=Settings(home=folder), who="operator alice",
        why="a test", at_once=3, environment=environment,
    )  # fmt: skip
    return first, dict(zip(FAILURES, outcomes, strict=True))


@pytest.mark.parametrize("kind", FAILURES)
def test_a_run_that_reached_no_verdict_failed_and_its_page_says_so_first(trials, kind):
    """Dead kernel, timeout, sys.exit(0), no result: UNKNOWN, exit 8, the guilty cell on top, the good run linked."""
    first, outcomes = trials
    outcome, (cell, _, says) = outcomes[kind], FAILURES[kind]
    result = outcome.run
    assert outcome.failed
    assert (result.succeeded, result.verdict, result.exit_code) == (False, "UNKNOWN", 8)
    assert says in result.error
    page = result.html.read_text()
    assert page.index("FAILED") < page.index('class="notebook"')
    assert cell.split("(")[0].split(";")[0] in page
    assert first.html.name in page
    assert 'href="#contacts">whom to call' in page
    assert 'id="contacts"' not in first.html.read_text()


def test_runs_of_one_playbook_at_the_same_time_are_all_kept_whole(trials):
    """Six runs, six pages of their own; the address is that of the one that ended last, the good one stays good."""
    first, outcomes = trials
    runs = [outcome.run for outcome in outcomes.values()]
    reports = first.html.parent.parent
    entries = Archive(reports).entries()
    assert len({run.html for run in runs}) == 5
    assert {reports / f"{entry.stem}.html" for entry in entries} == {first.html, *(run.html for run in runs)}
    assert (reports / "latest" / "trial.html").samefile(reports / f"{entries[0].stem}.html")
    assert (reports / "latest_good" / "trial.html").samefile(first.html)
    for outcome in runs:
        assert json.loads(outcome.result.read_text())["run"]["error"]["message"] == outcome.error
    assert not list(reports.glob(".run-*"))


def test_the_kernel_has_no_secret_to_show(trials):
    """A cell that prints its environment prints no secret, and no published file holds one, failed runs' neither."""
    first, _ = trials
    assert not set(SECRETS) & set(clean_environment({**os.environ, **SECRETS}))
    assert first.succeeded, first.error
    assert "APCA" not in first.notebook.read_text()
    assert "[redacted]" in first.html.read_text()
    holds_no_secret(first.html.parent.parent)


def test_a_run_loads_the_settings_that_its_runner_did(tmp_path, monkeypatch):
    """Those of the working folder's file and of every variable, tables too, though the kernel's folder is another."""
    told = {"ATHENA_HOME": "home", "ATHENA_SNAPSHOT_MINUTES": "15", "ATHENA_DATA_FEED": "sip", "ATHENA_REPORTS": "r"}
    lines = ('symbols = ["NVDA"]', 'backups = "b"', "metrics_port = 8191", '[contacts.team_lead]\nname = "A"')
    (tmp_path / "athena.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(told)
    secret = {"ATHENA_HEARTBEAT_URL": "http://h/secret", "ATHENA_ALLOW_LIVE": "yes", "ATHENA_KEY_ID": "k"}
    seen = surroundings(settings, settings.reports, told | secret)
    (tmp_path / "kernel").mkdir()
    monkeypatch.chdir(tmp_path / "kernel")
    assert not secret.keys() & seen.keys()
    folders = {name: tmp_path / getattr(settings, name) for name in ("home", "reports", "backups")}
    assert Settings.load(seen) == replace(settings, **folders)
    assert surroundings(settings, tmp_path / "r", seen)["ATHENA_WORKING_FOLDER"] == str(tmp_path), "of a run in a run"


def test_a_missing_journal_is_a_report_that_says_so(tmp_path):
    """No journal: the run succeeds, its verdict is UNKNOWN, and the page says what to do."""
    result = run(tmp_path, {"journal": tmp_path / "none.sqlite3"})
    assert (result.succeeded, result.verdict) == (True, "UNKNOWN")
    assert "no journal" in result.reason
    assert 'data-verdict="UNKNOWN"' in result.html.read_text()


def test_secrets_are_struck_out_however_they_are_written():
    """As they are, in JSON, in HTML."""
    for form in (CANARY, json.dumps({"a": CANARY}), "canary-5f0c&lt;&amp;&quot;&#x27;"):
        assert "5f0c" not in redact(form, [CANARY])


@pytest.mark.parametrize(
    ("kind", "given", "taken"),
    [
        (Kind.WHOLE, "7", 7),
        (Kind.NUMBER, "2.5", 2.5),
        (Kind.FLAG, "false", False),
        (Kind.DATE, "", ""),
        (Kind.TEXT, "007", "007"),
    ],
)
def test_values_are_read_in_their_kind_and_no_other(kind, given, taken):
    """Text stays text, 'false' is not true, an empty date is allowed."""
    assert check((Parameter("p", kind, taken, ""),), {"p": given}) == {"p": taken}


@pytest.mark.parametrize(
    ("kind", "given"), [(Kind.NUMBER, "nan"), (Kind.NUMBER, "inf"), (Kind.WHOLE, 1.5), (Kind.FLAG, "perhaps")]
)
def test_values_of_no_meaning_are_refused(kind, given):
    """NaN and infinity are not numbers to run with."""
    with pytest.raises(SettingsError):
        check((Parameter("p", kind, 0, ""),), {"p": given})


@pytest.mark.parametrize("playbook", PLAYBOOKS.values(), ids=lambda playbook: playbook.name)
def test_a_notebook_is_thin_clean_and_has_its_registered_parameters(playbook):
    """At most 15 cells and 40 lines, no logic, no outputs; its parameters cell equals the registry's schema."""
    cells = nbformat.read(playbook.path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    lines = [line for cell in code for line in cell.source.splitlines() if line.strip()]
    assert len(cells) <= 15
    assert len(lines) <= 40
    assert not any(line.lstrip().startswith(("def ", "for ", "while ", "try:", "class ")) for line in lines)
    assert not any(cell.outputs or cell.execution_count for cell in code)
    space: dict = {}
    exec(next(cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])), space)
    assert {p.name: p.default for p in playbook.parameters} == {k: space[k] for k in space["__annotations__"]}


def test_reports_can_not_be_written_is_one_clear_message(tmp_path):
    """A file where the folder should be: PlaybookError, not a traceback."""
    from athena.errors import PlaybookError

    (tmp_path / "reports").write_text("")
    with pytest.raises(PlaybookError, match="cannot be written"):
        run(tmp_path, {"journal": Path("none")})
