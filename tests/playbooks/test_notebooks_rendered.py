"""Each playbook by a real kernel, once, and its page as a person sees it: offline, wide and narrow, light and dark."""

import os

import nbformat
import pytest

from athena.config import Settings
from athena.playbooks.batch import render_all
from athena.playbooks.registry import PLAYBOOKS, find
from tests.playbooks.situations import ACTING, BOOKS, situation
from tests.support.programs import require

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
FIGURES = {
    "trading_halt": 2, "broker_disconnection": 1, "pre_market": 1, "market_open": 1, "post_market": 1,
    "drawdown_assessment": 3, "correlation_matrix": 0, "slippage_analysis": 5, "market_volatility": 0,
    "order_rejections": 1, "guard_review": 2, "limits_what_if": 2, "crash_recovery": 2, "data_recovery": 1,
    "monitoring": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every playbook headless with its defaults on a busy journal; the engine dead, the venue dead."""
    home = tmp_path_factory.mktemp("home")
    situation("engine dead", home)
    (home / "athena.toml").write_text('simulator_url = "http://127.0.0.1:9"\n')
    settings = Settings.load(home=home)

    outcomes = render_all(
        [find(name) for name in BOOKS], {}, reports=home / "reports", settings=settings, who="tester",
        why="to be looked at", environment={**os.environ, "ATHENA_HOME": str(home)}, at_once=2,
    )  # fmt: skip
    assert not [outcome.error for outcome in outcomes if outcome.run is None]
    return {outcome.name: outcome.run for outcome in outcomes}


@pytest.fixture(scope="module")
def browser():
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", BOOKS)
def test_a_headless_run_with_defaults_reaches_its_verdict_with_engine_and_venue_dead(runs, name):
    """No traceback; UNKNOWN, or worse, or what the journal alone can say; the question is the page's title."""
    run = runs[name]
    assert run.succeeded, run.error
    assert run.verdict in {"OK", "ATTENTION", "STOP", "UNKNOWN"}
    assert run.reason
    assert run.action
    assert find(name).question in run.html.read_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
@pytest.mark.parametrize("name", BOOKS)
def test_its_page_is_whole_offline(runs, browser, name, width, scheme):
    """Every figure drawn, no word on the console, no request, nothing wider than the screen, the verdict first."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.set_default_timeout(90_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(runs[name].html.as_uri())
    page.wait_for_function("document.querySelectorAll('[data-figure]:not([data-drawn])').length === 0")
    assert page.locator("[data-drawn]").count() == FIGURES[name]
    assert page.locator("[data-verdict]").first.inner_text().startswith(runs[name].verdict)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
    context.close()


@pytest.mark.parametrize("name", ["trading_halt", "pre_market"])
def test_by_hand_in_jupyters_own_kernel(tmp_path, monkeypatch, name):
    """With the defaults, no runner: every cell runs, the last leaves the result; a checklist shows its buttons."""
    from nbclient import NotebookClient

    situation("engine alive", tmp_path)
    monkeypatch.setenv("ATHENA_HOME", str(tmp_path))
    monkeypatch.setenv("ATHENA_SIMULATOR_URL", "http://127.0.0.1:9")
    notebook = nbformat.read(find(name).path, as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    result = notebook.cells[-1].outputs[-1]["data"]["application/vnd.athena.result+json"]
    assert result["verdict"] in {"ATTENTION", "STOP", "UNKNOWN"}
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert ("application/vnd.jupyter.widget-view+json" in kinds) == (name == "pre_market")


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_reads_as_the_style_says(name):
    """The registry's question first, then whether it can act; safe defaults; the record last."""
    playbook = PLAYBOOKS[name]
    cells = nbformat.read(playbook.path, as_version=4).cells
    assert cells[0].source.startswith(f"# {playbook.question}")
    assert ("**Can act**" in cells[0].source) == (name in ACTING) == (not playbook.reads_only)
    assert ("**Reads only" in cells[0].source) == (name not in ACTING)
    defaults = {parameter.name: parameter.default for parameter in playbook.parameters}
    if name in ACTING:
        assert (defaults["dry_run"], defaults["confirm"]) == (True, "")
    assert all("  # " in line for line in cells[1].source.splitlines())
    assert cells[-1].source.startswith("record(")
    assert "**Next:**" in cells[-2].source
    named = [word for word in PLAYBOOKS if f"`{word}`" in cells[-2].source]
    assert named
    assert name not in named
