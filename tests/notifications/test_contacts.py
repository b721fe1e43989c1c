"""Whom to call stands on the page and the mail of every STOP, with what is not set said."""

from datetime import UTC, datetime

import pytest

from athena.playbooks import manifest, pages
from athena.playbooks.registry import find


def record(settings, verdict):
    answer = {"verdict": verdict, "reason": "because", "action": "do", "facts": {"trading_date": "2020-03-09"}}
    outcome = {"error": None, "result": answer, "figures": 0, "seconds": {}}
    values = (find("drawdown_assessment"), {}, outcome, "alice", "a test", 1, datetime.now(UTC), 1.0)
    return {**manifest.build(*values, settings.contacts), "changes": None}


@pytest.mark.parametrize("verdict", ["OK", "ATTENTION", "STOP", "UNKNOWN"])
def test_a_stop_says_whom_to_call(settings, verdict):
    """Only a STOP has them, in page and mail alike, as numbers to tap; a role left empty says how to fill it."""
    made = record(settings, verdict)
    for html in (pages.report(made, "<p>body</p>"), pages.mail(made, "<p>body</p>", "")):
        assert ("Trading team lead" in html) == (verdict == "STOP")
        assert ('<a href="tel:+15550100">+1 555 0100</a>' in html) == (verdict == "STOP")
        assert html.count("not set; [contacts] in athena.toml") == (3 if verdict == "STOP" else 0)
