from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from athena.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path, "operator alice") as opened:
        yield opened
