"""Chromium, where it is installed: a page as PDF, and its figures as images. Without network, without a profile."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from athena.errors import PlaybookError
from athena.playbooks.secrets import clean_environment

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_SECONDS = 60.0
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--proxy-server=127.0.0.1:9",  # nothing listens there: whatever asks for an address gets none
    "--virtual-time-budget=20000",  # as long as scripts may take to draw; not waited for when they are done
)
_IMAGE = re.compile(r'<img[^>]*data-image="(\d+)"[^>]*src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


def find() -> str | None:
    """The browser's path, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def need(purpose: str) -> str:
    """The browser's path; raises PlaybookError saying what it is needed for."""
    found = find()
    if found is None:
        raise PlaybookError(
            f"{purpose} needs Chromium, which is not installed.", "Install it (Debian: apt-get install chromium)."
        )
    return found


def pdf(page: Path, target: Path) -> None:
    """Prints a page, figures drawn, to `target`: the page as a desk sees it, scaled to paper. Raises PlaybookError."""
    _run(["--window-size=1024,1400", "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri()])
    if not target.exists() or not target.read_bytes().startswith(b"%PDF"):
        raise PlaybookError(f"Chromium made no PDF of {page}.", "Open the page in a browser and print it there.")


def images(page: Path) -> dict[int, bytes]:
    """The PNG images that the scripts of `page` put into `<img data-image=N>`. Raises PlaybookError."""
    dom = _run(["--dump-dom", page.resolve().as_uri()])
    return {int(number): base64.b64decode(data) for number, data in _IMAGE.findall(dom)}


def _run(arguments: Sequence[str]) -> str:
    profile = tempfile.mkdtemp(prefix="ath-chromium-")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # as root its sandbox refuses to start
    command = [need("this"), *_FLAGS, *root, f"--user-data-dir={profile}", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env=clean_environment(os.environ),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PlaybookError(f"Chromium took longer than {TIMEOUT_SECONDS:.0f} s.", "Try again without it.") from None
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["no word of why"]
        raise PlaybookError(f"Chromium failed ({done.returncode}): {words[0][:300]}", "Try again without it.")
    return done.stdout
