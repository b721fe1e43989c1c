"""The runner: what it refuses, how it fails, what it publishes, and what never gets into a file."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from athena.config import Settings
from athena.errors import SettingsError
from athena.playbooks.parameters import Kind, Parameter, check
from athena.playbooks.publish import write_index
from athena.playbooks.registry import PLAYBOOKS, Playbook
from athena.playbooks.runner import run_playbook
from athena.playbooks.secrets import clean_environment, redact
from tests.playbooks.days import DAY, busy

CANARY = "canary-5f0c<&\"'"
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


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """One real run of the daily report on a busy journal, a canary among the secrets."""
    folder = tmp_path_factory.mktemp("run")
    journal, told = busy(folder / "j.sqlite3"), []
    environment = {**os.environ, "APCA_API_SECRET_KEY": CANARY, "SOME_TOKEN": CANARY}
    result = run(folder, {"journal": journal}, environment=environment, progress=lambda *step: told.append(step))
    return result, told


def test_a_run_publishes_page_notebook_and_result_under_the_trading_day(report):
    """Three files in reports/<day>/; the result tells verdict, who, why, inputs; nothing else is left behind."""
    result, told = report
    assert result.succeeded, result.error
    assert result.exit_code == 0
    assert result.html.parent.name == DAY
    found = json.loads(result.result.read_text())
    assert (found["verdict"], found["figures"]) == ("ATTENTION", 5)
    assert (found["run"]["who"], found["run"]["why"]) == ("operator alice", "a test")
    assert found["run"]["journal_sequence"] > 0
    assert found["run"]["parameters"]["trading_date"] == DAY
    assert len(told) > 10
    assert told[-1][0] == told[-1][1]
    reports = result.html.parent.parent
    assert sorted(path.name for path in reports.iterdir()) == [".lock", DAY, "index.html"]
    assert "ATTENTION" in (reports / "index.html").read_text()


def test_the_page_fetches_nothing(report):
    """No address of any network is in a src or href; the content policy forbids everything but the page itself."""
    page = re.sub(r"<script nonce=.*?</script>", "", report[0].html.read_text(), flags=re.DOTALL)
    assert "default-src 'none'" in page
    for attribute in ("src=", "href="):
        assert f'{attribute}"http' not in page
        assert f'{attribute}"//' not in page


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


@pytest.mark.parametrize(
    ("cell", "timeout", "says"),
    [
        ("raise ValueError('the tape is torn: ' + word)", 30, "ValueError: the tape is torn"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 30, "DeadKernel"),
        ("import time; time.sleep(90)", 2, "Timeout"),
        ("import sys; sys.exit(0)", 30, "SystemExit"),
        ("1 + 1", 30, "MissingResult"),
    ],
    ids=["exception", "dead-kernel", "timeout", "exit-0", "no-result"],
)
def test_a_run_that_reached_no_verdict_failed_and_its_page_says_so_first(tmp_path, cell, timeout, says):
    """Dead kernel, timeout, sys.exit(0), no result: UNKNOWN, exit 8, the guilty cell at the top, the canary nowhere."""
    playbook = notebook(tmp_path, cell, cell_timeout_seconds=timeout)
    environment = {**os.environ, "APCA_API_SECRET_KEY": CANARY}
    result = run(tmp_path, {"word": CANARY}, playbook, environment=environment)
    assert (result.succeeded, result.verdict, result.exit_code) == (False, "UNKNOWN", 8)
    assert says in result.error
    page = result.html.read_text()
    assert page.index("FAILED") < page.index('class="notebook"')
    assert cell.split("(")[0].split(";")[0] in page
    published(result, CANARY)


def published(result, secret):
    """Asserts that no published file holds the secret in any spelling."""
    spellings = {secret, json.dumps(secret)[1:-1], secret.split("<")[0]}
    for path in result.html.parent.parent.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            assert not any(spelling in text for spelling in spellings), path


def test_the_kernel_has_no_secret_to_show(tmp_path, report):
    """A cell that prints its whole environment prints no secret, and the report's files hold none either."""
    published(report[0], CANARY)
    secrets = {"APCA_API_SECRET_KEY": CANARY, "OTHER": "plain-but-not-needed"}
    assert not set(secrets) & set(clean_environment({**os.environ, **secrets}))
    playbook = notebook(tmp_path, "import os; print(sorted(os.environ), word)", RESULT)
    result = run(tmp_path, {"word": CANARY}, playbook, environment={**os.environ, **secrets})
    assert result.succeeded, result.error
    assert "APCA" not in result.notebook.read_text()
    assert "[redacted]" in result.html.read_text()
    published(result, CANARY)


def test_a_failed_run_keeps_the_last_good_one_beside_it(tmp_path):
    """Good, failed, good again: the first good page survives the failure and goes when it is no longer needed."""
    good, bad = notebook(tmp_path, RESULT), notebook(tmp_path, "raise OSError('no disk')", name="broken")
    broken = Playbook(good.name, good.question, good.answers, good.parameters, notebook=bad.notebook)
    first = run(tmp_path, {"trading_date": DAY}, good)
    failed = run(tmp_path, {"trading_date": DAY}, broken)
    assert (first.succeeded, failed.succeeded, failed.html) == (True, False, first.html)
    kept = failed.html.with_name("trial.last_good.json")
    assert kept.with_suffix(".html").name in failed.html.read_text()
    assert json.loads(kept.read_text())["verdict"] == "OK"
    assert "(failed)" in (tmp_path / "reports" / "index.html").read_text()
    assert run(tmp_path, {"trading_date": DAY}, good).succeeded
    assert not kept.exists()


def test_a_missing_journal_is_a_report_that_says_so(tmp_path):
    """No journal: the run succeeds, its verdict is UNKNOWN, and the page says what to do."""
    result = run(tmp_path, {"journal": tmp_path / "none.sqlite3"})
    assert (result.succeeded, result.verdict) == (True, "UNKNOWN")
    assert "no journal" in result.reason
    assert 'data-verdict="UNKNOWN"' in result.html.read_text()


def test_the_index_lists_a_result_it_cannot_read_as_unknown(tmp_path):
    """A torn result file neither breaks the index nor disappears from it."""
    (tmp_path / DAY).mkdir()
    (tmp_path / DAY / "daily_report.json").write_text('{"verdict": "OK"')
    page = write_index(tmp_path).read_text()
    assert "UNKNOWN" in page
    assert "cannot be read" in page


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
