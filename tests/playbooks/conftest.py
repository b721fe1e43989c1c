"""One archive with two real runs of the daily report, shared by every test that only looks at it."""

import os
from types import SimpleNamespace

import pytest

from athena.config import Settings
from athena.playbooks import chromium
from athena.playbooks.runner import run_playbook
from tests.playbooks.days import DAY, busy

CANARY = "canary-5f0c<&\"'"


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Two runs, of 6 March and then of the busy 9 March with a PDF and an e-mail; a canary is among the secrets."""
    folder, told = tmp_path_factory.mktemp("rendered"), []
    journal = busy(folder / "j.sqlite3")
    options = {
        "reports": folder / "reports",
        "settings": Settings(home=folder),
        "who": "operator alice",
        "why": "a test",
        "environment": {**os.environ, "APCA_API_SECRET_KEY": CANARY, "SOME_TOKEN": CANARY},
        "progress": lambda *step: told.append(step),
    }
    before = run_playbook("daily_report", {"journal": journal, "trading_date": "2020-03-06"}, **options)
    extras = {"pdf": chromium.find() is not None, "email": True}
    run = run_playbook("daily_report", {"journal": journal, "trading_date": DAY}, **options, **extras)
    assert before.succeeded, before.error
    assert run.succeeded, run.error
    return SimpleNamespace(folder=folder, reports=folder / "reports", before=before, run=run, told=told)


def holds_no_secret(reports, secret=CANARY):
    """Asserts that no published file holds the secret in any spelling."""
    import json

    spellings = {secret, json.dumps(secret)[1:-1], secret.split("<")[0]}
    for path in reports.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            assert not any(spelling in text for spelling in spellings), path
