"""Report pages as a person sees them: in Chromium, offline, wide and narrow, light and dark."""

import os

import pytest

from athena.config import Settings
from athena.playbooks.runner import run_playbook
from tests.playbooks.days import busy
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


@pytest.fixture(scope="module")
def browser():
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=[True, False], ids=["single-file", "shared-script"])
def page_file(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    run = run_playbook(
        "daily_report",
        {"journal": busy(folder / "j.sqlite3")},
        reports=folder / "reports",
        settings=Settings(home=folder),
        who="tester",
        why="to be looked at",
        single_file=request.param,
        environment=os.environ,
    )
    assert run.succeeded, run.error
    return run.html


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_every_figure_is_drawn_offline_without_a_word_on_the_console(browser, page_file, width, scheme):
    """Five figures, no request, no console message, nothing wider than the screen."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_function("document.querySelectorAll('[data-figure]:not([data-drawn])').length === 0", timeout=20_000)
    assert page.locator("[data-drawn] svg.main-svg").first.is_visible()
    assert page.locator("[data-drawn]").count() == 5
    assert page.locator("[data-verdict]").first.inner_text().startswith("ATTENTION")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
    context.close()


def test_a_script_smuggled_into_an_output_does_not_run(browser, page_file, tmp_path):
    """Without the page's nonce, a script element stays inert."""
    smuggled = page_file.read_text().replace(
        '<div class="notebook">', '<div class="notebook"><script>window.evil = 1</script>'
    )
    target = tmp_path / "page.html"
    target.write_text(smuggled)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(target.as_uri())
    assert page.evaluate("window.evil") is None
    context.close()
