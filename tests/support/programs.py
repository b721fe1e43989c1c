"""Programs outside Python that some tests need: skipped with a reason where absent, a failure under CI."""

import os
import shutil

import pytest


def require(program: str, package: str = "") -> str:
    """The path of a program; without it the test is skipped, or fails where CI is set."""
    found = shutil.which(program)
    if found:
        return found
    reason = f"{program} is not installed (Debian: apt-get install {package or program})"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI must run everything")
    pytest.skip(reason)
