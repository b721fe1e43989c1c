"""The published daily report: files, addresses, changes, PDF, e-mail; and its pages as a person sees them, offline."""

import email
import email.policy
import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from athena.errors import PlaybookError
from athena.playbooks import chromium, publish
from athena.playbooks.archive import Archive
from tests.playbooks.conftest import CANARY, holds_no_secret
from tests.playbooks.days import DAY
from tests.playbooks.test_archive import put, result
from tests.support.programs import require

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def test_a_run_publishes_page_notebook_and_result_under_the_trading_day(rendered):
    """The run's own files in reports/<day>/; the result tells verdict, who, why, inputs; progress came cell by cell."""
    run = rendered.run
    assert run.exit_code == 0
    assert run.html.parent.name == DAY
    found = json.loads(run.result.read_text())
    assert (found["verdict"], found["figures"]) == ("ATTENTION", 5)
    assert (found["run"]["who"], found["run"]["why"]) == ("operator alice", "a test")
    assert found["run"]["journal_sequence"] > 0
    assert found["run"]["parameters"]["trading_date"] == DAY
    assert len(rendered.told) > 20
    assert rendered.told[-1][0] == rendered.told[-1][1]
    left = {path.name for path in rendered.reports.iterdir()}
    assert left == {".lock", ".runs.json", "2020-03-06", DAY, "assets", "index.html", "latest", "latest_good"}
    holds_no_secret(rendered.reports, CANARY)


def test_the_addresses_without_a_time_are_the_latest_runs(rendered):
    """The day's, the latest and the latest good are the run's own file; as of before it, the one before."""
    for folder in (DAY, "latest", "latest_good"):
        assert (rendered.reports / folder / "daily_report.html").samefile(rendered.run.html)
    assert (rendered.reports / "2020-03-06" / "daily_report.html").samefile(rendered.before.html)
    archive = Archive(rendered.reports)
    latest = archive.find("daily-report")
    assert archive.path(latest, "html") == rendered.run.html
    then = datetime.fromisoformat(latest.finished_at) - timedelta(milliseconds=1)
    assert archive.path(archive.find("daily_report", as_of=then), "html") == rendered.before.html
    assert archive.find("daily_report", trading_date=date(2020, 3, 6), successful=True).trading_date == "2020-03-06"
    with pytest.raises(PlaybookError, match="no run of 'daily_report' by 2020"):
        archive.find("daily_report", as_of=datetime(2020, 1, 1, tzinfo=UTC))


def test_the_page_fetches_nothing_but_the_archives_own_script(rendered):
    """No address of any network is in a src or href; the one script lies beside the days, by a relative link."""
    text = rendered.run.html.read_text()
    assert "default-src 'none'" in text
    for attribute in ("src=", "href="):
        assert f'{attribute}"http' not in text
        assert f'{attribute}"//' not in text
    (script,) = re.findall(r'<script nonce="[^"]+" src="([^"]+)"', text)
    assert (rendered.run.html.parent / script).resolve().parent == (rendered.reports / "assets").resolve()
    assert len(text) < 200_000


def test_what_changed_since_the_run_before_is_on_the_page_in_the_result_and_in_the_index(rendered):
    """Halts and the mended reconciliation show as fired and cleared, profit with its difference."""
    found = json.loads(rendered.run.result.read_text())["changes"]
    assert found["since"]["trading_date"] == "2020-03-06"
    rows = {row["check"]: (row["before"], row["after"]) for row in found["findings"]}
    assert rows["Is trading free of halts?"] == ("OK", "ATTENTION")
    assert rows["Does the broker agree?"] == ("ATTENTION", "OK")
    profit = next(row for row in found["numbers"] if row["name"] == "profit_usd")
    assert float(profit["after"]) - float(profit["before"]) == pytest.approx(float(profit["change"]))
    assert rendered.run.changed == found["words"]
    for page in (rendered.run.html, rendered.reports / "index.html"):
        assert found["words"] in page.read_text()
    assert json.loads(rendered.before.result.read_text())["changes"] is None


def test_the_email_has_tables_and_images_and_nothing_that_runs(rendered):
    """Verdict in the subject; one image a figure, where Chromium can draw them; no script, no variables, no address."""
    mail = email.message_from_bytes(rendered.run.email.read_bytes(), policy=email.policy.default)
    assert mail["Subject"].startswith("ATTENTION: daily report")
    html = mail.get_body(("html",)).get_content()
    assert "Next:" in mail.get_body(("plain",)).get_content()
    for word in ("<script", "var(", "http:", "https:", "onload"):
        assert word not in html
    assert html.count("<table") > 8
    images = [part["Content-ID"] for part in mail.walk() if part.get_content_type() == "image/png"]
    drawn = re.findall(r'src="cid:(figure-\d)"', html)
    assert [f"<{name}>" for name in drawn] == images
    assert len(drawn) == 5 if chromium.find() else "Figures are left out" in html


def test_the_pdf_is_a_pdf_beside_the_page(rendered):
    """Several pages, under the run's own name and its addresses."""
    require("chromium")
    assert rendered.run.pdf == rendered.run.html.with_suffix(".pdf")
    assert (
        rendered.run.pdf.read_bytes().count(b"/Type /Page\n") + rendered.run.pdf.read_bytes().count(b"/Type/Page") > 1
    )
    assert (rendered.reports / "latest" / "daily_report.pdf").samefile(rendered.run.pdf)


def test_without_chromium_a_pdf_is_refused_in_words(monkeypatch):
    """The message names Chromium and how to get it."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PlaybookError, match=r"Chromium, which is not installed.*apt-get") as refused:
        chromium.need("a PDF")
    assert refused.value.exit_code == 8


def test_what_is_published_is_never_touched_again(rendered, tmp_path):
    """A second publication of the same moment gets a time of its own, and the first stays as it was."""
    record = json.loads(rendered.run.result.read_text())
    first = publish.publish(_folder(tmp_path / "1"), tmp_path / "reports", record, secrets=[], single_file=False)
    kept = first["json"].read_bytes()
    second = publish.publish(_folder(tmp_path / "2"), tmp_path / "reports", record, secrets=[], single_file=False)
    assert first["json"] != second["json"]
    assert first["json"].read_bytes() == kept
    assert [entry.changed for entry in Archive(tmp_path / "reports").entries()] == [
        "still ATTENTION, no number moved",
        "",
    ]


def _folder(path):
    path.mkdir(parents=True)
    (path / "body.html").write_text("<p>body</p>")
    return path


@pytest.fixture(scope="module")
def browser():
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=[True, False], ids=["single-file", "shared-script"])
def page_file(request, rendered, tmp_path_factory):
    """The shared run's page as it was published, and the same run published as one file, far from any archive."""
    if not request.param:
        return rendered.reports / "latest" / "daily_report.html"
    folder = tmp_path_factory.mktemp("single")
    text = rendered.run.html.read_text()
    start, end = text.index('<div class="notebook">') + 22, text.index('<section id="changes">')
    (folder / "body.html").write_text(text[start:end].rsplit("</div>", 1)[0])
    record = json.loads(rendered.run.result.read_text())
    paths = publish.publish(folder, folder / "reports", record, secrets=[], single_file=True)
    return shutil.copy(paths["html"], folder / "alone.html")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_every_figure_is_drawn_offline_without_a_word_on_the_console(browser, page_file, width, scheme):
    """Five figures, no request, no console message, nothing wider than the screen."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.set_default_timeout(90_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path(page_file).as_uri())
    page.wait_for_function("document.querySelectorAll('[data-figure]:not([data-drawn])').length === 0")
    assert page.locator("[data-drawn] svg.main-svg").first.is_visible()
    assert page.locator("[data-drawn]").count() == 5
    assert page.locator("[data-verdict]").first.inner_text().startswith("ATTENTION")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
    context.close()


def test_the_index_is_searched_offline_and_shows_latest_good_and_as_of(browser, tmp_path):
    """Words narrow the rows, the choice leaves one a playbook, a time shows what was the latest then."""
    archive = Archive(tmp_path / "reports")
    for day, age, good, name in (
        ("2020-03-05", 3, True, "trial"), ("2020-03-06", 2, True, "trial"), ("2020-03-06", 1, False, "trial"),
        ("2020-03-06", 1, True, "other"),
    ):  # fmt: skip
        put(archive, result(day, age, name=name, verdict="OK" if good else "UNKNOWN", succeeded=good))
    context = browser.new_context(viewport={"width": 420, "height": 900}, offline=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((archive.reports / "index.html").as_uri())
    seen = lambda: [  # noqa: E731 (asked again after each change)
        (row.get_attribute("data-playbook"), row.get_attribute("data-day"), row.get_attribute("data-good"))
        for row in page.locator("#runs tr:visible").all()
    ]
    assert len(seen()) == 3  # the latest of each day
    page.select_option("[name=which]", "all")
    assert len(seen()) == 4
    page.select_option("[name=which]", "good")
    assert sorted(seen()) == [("other", "2020-03-06", "yes"), ("trial", "2020-03-06", "yes")]
    page.fill("[name=asof]", "2026-11-20T00:00")
    assert seen() == [("trial", "2020-03-05", "yes")]
    page.fill("[name=asof]", "")
    page.fill("[name=words]", "OTHER 2020")
    assert seen() == [("other", "2020-03-06", "yes")]
    assert "1 of 4" in page.locator("#count").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert said == []
    context.close()


def test_a_script_smuggled_into_an_output_does_not_run(browser, page_file, tmp_path):
    """Without the page's nonce, a script element stays inert."""
    smuggled = (
        Path(page_file)
        .read_text()
        .replace('<div class="notebook">', '<div class="notebook"><script>window.evil = 1</script>')
    )
    target = tmp_path / "page.html"
    target.write_text(smuggled)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(target.as_uri())
    assert page.evaluate("window.evil") is None
    context.close()
