"""HALT in a real JupyterLab in a real Chromium, against a running simulator and engine whose strategies want to trade.

One browser page lives through all of it, in order. Each step leaves a screenshot in `artifacts/control-room/`.
"""

import itertools
import os
import signal
import time
from pathlib import Path

import nbformat
import pytest

import athena
from tests.engine.processes import desk, trade, wait_for
from tests.support.programs import require
from tests.widgets.jupyter import jupyter

pytestmark = pytest.mark.timeout(300)  # starting it all takes long on a busy machine
SHOTS = Path(__file__).parents[2] / "artifacts" / "control-room"
PARTS = Path(athena.__path__[0]) / "widgets" / "lab"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
REFUSED = "SELECT COALESCE(SUM(times), 0) FROM violations WHERE code = 'GUARD_HALTED'"
LATE_NS = 250_000_000  # no order reaches the venue later than this after the click
numbers = itertools.count(1)
BUTTON, BAR = ".athena-box .athena-halt", ".athena-bar .athena-halt"
CELLS = (
    "from athena.widgets.halt_button import HaltButton\nbutton = HaltButton()\nbutton",
    "import time\ntime.sleep(3600)",
)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with desk(tmp_path_factory.mktemp("live"), speed=120) as made:
        made.start_ready()
        yield made


@pytest.fixture(scope="module")
def lab(live, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "work").mkdir()
    nbformat.write(notebook, folder / "work" / "halt.ipynb")
    environment = {
        "ATHENA_HOME": str(live.home), "ATHENA_SIMULATOR_URL": live.url, "ATHENA_OPERATOR": "alice",
        "JUPYTER_CONFIG_PATH": str(PARTS / "config"),
    }  # fmt: skip
    options = ("--LabApp.expose_app_in_browser=True",)
    options += ("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",)
    options += (f"--LabApp.extra_labextensions_path={PARTS}",)
    with jupyter(folder, environment, *options, kind="jupyterlab") as made:
        yield made


@pytest.fixture(scope="module")
def browser():
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser, lab):
    """The notebook with the button, opened and run."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(90_000)
    page.goto(f"{lab.url}lab/tree/halt.ipynb?token={lab.token}")
    page.wait_for_selector(BAR)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    run_cell(page, 0)
    page.wait_for_selector(BUTTON)
    return page


@pytest.fixture(autouse=True)
def picture(request, page):
    """What a person sees at the end of each step, whatever came of it."""
    yield
    photograph(page, request.node.name.removeprefix("test_").removeprefix("a_").replace("_", " "))


def photograph(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{next(numbers):02} {name}.png")


def run_cell(page, number):
    """Run a cell, once its kernel can take it: JupyterLab loses what is run while it still connects."""
    page.evaluate(
        """async (number) => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
            panel.content.activeCellIndex = number;
            window.jupyterapp.commands.execute("notebook:run-cell");
        }""",
        number,
    )


def click(page, selector):
    """A real click where the element is; the boot time just before it."""
    box = page.locator(selector).bounding_box()
    at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return at


def refused(live):
    with live.journal() as journal:
        return journal.one(REFUSED)[0]


def halts(live, page, selector, proof):
    """Click while strategies trade; the proof shown, how long it took, and nothing late at the venue."""
    trade(live)
    before = refused(live)
    clicked = click(page, selector)
    page.wait_for_function(f"document.querySelector('{proof}')?.innerText.match(/HALTED .*journal #/)")
    seconds = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - clicked) / 1e9
    wait_for(lambda: refused(live) > before, "an order refused after the click")
    assert [post for post in live.posts() if post["boottime_ns"] > clicked + LATE_NS] == []
    print(f"proof on the screen {seconds:.2f} s after the click")


def kernel_of(lab):
    """The process of the lab's kernel."""
    for entry in Path("/proc").iterdir():
        try:
            child = entry.name.isdigit() and f"\nPPid:\t{lab.process.pid}\n" in (entry / "status").read_text()
            if child and b"ipykernel" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    return 0


def test_the_button_is_there_with_the_state_beside_it(live, page):
    """Venue and mode in words, in the notebook and in JupyterLab's top bar."""
    page.wait_for_function("document.querySelector('.athena-box .athena-state').innerText.includes('HALTED')")
    state = page.inner_text(".athena-box .athena-state")
    assert "SIMULATOR, no real money" in state
    assert "SIMULATOR" in page.inner_text(".athena-bar")
    assert page.get_attribute(BUTTON, "aria-label") == "Halt all trading now"


def test_a_click_halts_while_a_cell_sleeps(live, page):
    """The kernel is busy for an hour; the click does not wait for it."""
    run_cell(page, 1)
    page.wait_for_selector(".jp-InputPrompt >> text=[*]")
    halts(live, page, BUTTON, ".athena-box .athena-proof")


def test_the_reason_is_given_after_the_click(live, page):
    """The reason is typed below the proof, and its row is shown."""
    page.fill(".athena-box .athena-reason input", "spreads look wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector(".athena-box >> text=/Reason recorded, journal #\\d+/")
    with live.journal() as journal:
        noted = [event for event in journal.events(kinds=("note",)) if event.payload.get("halt")]
    assert noted[-1].payload["reason"] == "spreads look wrong"
    assert noted[-1].actor == "operator alice in halt.ipynb"


def test_a_click_halts_while_the_kernel_is_stopped(live, lab, page):
    """SIGSTOP: the kernel runs nothing at all."""
    kernel = kernel_of(lab)
    os.kill(kernel, signal.SIGSTOP)
    try:
        halts(live, page, BUTTON, ".athena-box .athena-proof")
    finally:
        os.kill(kernel, signal.SIGCONT)


def test_a_click_halts_with_the_kernel_dead(live, lab, page):
    """SIGKILL: button and state live on in the page, and in the top bar."""
    trade(live)
    os.kill(kernel_of(lab), signal.SIGKILL)
    halts(live, page, BUTTON, ".athena-box .athena-proof")
