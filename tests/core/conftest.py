from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from athena.config import Settings
from athena.journal import Journal


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, operator="alice")


@pytest.fixture
def journal(settings: Settings) -> Iterator[Journal]:
    with Journal.open(settings.journal_path, "engine") as opened:
        yield opened
