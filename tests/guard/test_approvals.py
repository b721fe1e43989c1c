"""The second approver: one asks, another approves, and only what was asked takes effect."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from athena.config import Settings
from athena.errors import ApprovalNeeded, GuardError, ResumeRefused
from athena.live import approvals
from athena.live.execution_guard import ExecutionGuard, Resumed
from athena.live.limits import LIMITS, Value, loosens
from athena.model import Scope
from tests.guard.conftest import D, heard, reconciled, settings_in

LIMIT = "max_order_quantity"


@pytest.fixture
def bob(settings: Settings, handle: ExecutionGuard) -> Iterator[ExecutionGuard]:
    """Another operator, of a system where a second approver is required; `handle` is the first, "tester"."""
    handle.set_limit(approvals.SETTING, True)
    guard = ExecutionGuard(replace(settings, operator="bob"))
    yield guard
    guard.close()


def asked(guard: ExecutionGuard, act: str = "resume") -> str:
    with pytest.raises(ApprovalNeeded) as needed:
        guard.resume(reason="fine") if act == "resume" else guard.set_limit(LIMIT, 20_000, reason="busy day")
    assert needed.value.request in needed.value.hint
    return needed.value.request


def test_resume_waits_for_another_operator(engine: ExecutionGuard, handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """The request changes nothing; the other's approval clears exactly the halts asked for, with both names."""
    halt = handle.halt("look")
    other = handle.halt("odd", scope=Scope.SYMBOL, target="AAPL")
    reconciled(handle)
    request = asked(handle)
    assert not engine.flag.allows()
    assert [waiting.id for waiting in bob.requests()] == [request]
    made = bob.approve(request)
    assert isinstance(made, Resumed)
    assert ([h.id for h in made.cleared], [h.id for h in made.remaining]) == ([halt.id], [other.id])
    assert engine.flag.allows()
    row = handle.journal.one("SELECT cleared_by, cleared_reason FROM halts WHERE id = ?", (halt.id,))
    assert row is not None
    assert tuple(row) == ("tester, approved by bob", "fine")
    (given,) = handle.journal.events(kinds=["approval.given"])
    assert (given.payload["by"], given.payload["os_user"]) == ("bob", approvals.os_user())
    with pytest.raises(GuardError, match="approved by bob already"):
        bob.approve(request)


def test_nobody_approves_their_own(handle: ExecutionGuard, bob: ExecutionGuard, settings: Settings) -> None:
    """The one who asked cannot approve, however the name is written; the same request is filed once."""
    handle.halt("look")
    request = asked(handle)
    assert asked(handle) == request
    for name in ("tester", " Tester "):
        guard = ExecutionGuard(replace(settings, operator=name))
        with pytest.raises(GuardError, match="another operator"):
            guard.approve(request)
        guard.close()
    assert len(handle.halts()) == 1


def test_checklist_still_holds_at_the_approval(
    engine: ExecutionGuard, handle: ExecutionGuard, bob: ExecutionGuard
) -> None:
    """What broke between asking and approving refuses, and leaves the request to be approved later."""
    handle.halt("look")
    reconciled(handle)
    request = asked(handle)
    heard(handle, state="reconnecting")
    with pytest.raises(ResumeRefused, match="broker is reconnecting"):
        bob.approve(request)
    heard(handle)
    assert isinstance(bob.approve(request), Resumed)


def test_a_newer_halt_makes_the_request_stale(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """Another halt after the asking, or the asked one cleared by another way, is not what was asked for."""
    handle.halt("look")
    request = asked(handle)
    handle.halt("again")
    with pytest.raises(GuardError, match="halted again since"):
        bob.approve(request)
    handle.resume(override=True, reason="by hand")
    with pytest.raises(ResumeRefused, match="does not stand any more"):
        bob.approve(request)


def test_an_expired_request_is_refused(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """A request older than its time is not listed and not approved."""
    handle.halt("look")
    facts = {"halts": [h.id for h in handle.halts()], "nonce": "1", "where": "everything", "reason": ""}
    payload = {"id": "abc123", "action": "resume", "what": "w", "facts": facts, "by": "tester", "os_user": "x"}
    handle.journal.append("approval.requested", payload | {"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    assert bob.requests() == ()
    with pytest.raises(GuardError, match="expired"):
        bob.approve("abc")
    with pytest.raises(GuardError, match="names no request"):
        bob.approve("nonsense")


def test_override_does_without_and_says_so(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """An override resumes or raises alone, and the journal has OVERRIDE with the name."""
    halt = handle.halt("look")
    assert handle.resume(reason="alone", override=True).override
    row = handle.journal.one("SELECT cleared_reason FROM halts WHERE id = ?", (halt.id,))
    assert row is not None
    assert row[0] == "OVERRIDE of second approver: alone"
    handle.set_limit(LIMIT, 20_000, reason="alone", override=True)
    *_, last = handle.journal.events(kinds=["limit.set"])
    assert (last.payload["override"], last.payload["reason"]) == (True, "OVERRIDE of second approver: alone")


def test_raising_waits_and_lowering_does_not(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """A stricter value takes effect at once; a looser one when approved; a value changed meanwhile is stale."""
    handle.set_limit(LIMIT, 500)
    request = asked(handle, "limit")
    assert handle.limits()[LIMIT] == 500
    assert bob.approve(request) == 20_000
    assert bob.limits()[LIMIT] == 20_000
    row = handle.journal.one("SELECT changed_by, reason FROM limits WHERE name = ?", (LIMIT,))
    assert row is not None
    assert tuple(row) == ("tester, approved by bob", "busy day")
    handle.set_limit(LIMIT, 400)
    request = asked(handle, "limit")
    handle.set_limit(LIMIT, 300)
    with pytest.raises(GuardError, match="stale"):
        bob.approve(request)


def test_an_override_of_a_symbol_may_be_set_and_not_loosened(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """A first override can only tighten, so it needs no one; taking it further or off does."""
    handle.set_limit("max_slippage_bps", 40, target="symbol:AAPL")
    for looser in (41, "off"):
        with pytest.raises(ApprovalNeeded):
            handle.set_limit("max_slippage_bps", looser, target="symbol:AAPL")


def test_the_rule_itself_is_guarded(handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """Turning the second approver off needs a second approver."""
    with pytest.raises(ApprovalNeeded) as needed:
        handle.set_limit(approvals.SETTING, False)
    bob.approve(needed.value.request)
    handle.set_limit(LIMIT, 20_000)
    assert handle.limits()[LIMIT] == 20_000


def test_automatic_lifts_need_no_one(engine: ExecutionGuard, handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """The system lifts its own halts as before: approval is about what people do."""
    from athena.model import Origin

    engine.halt("gone", origin=Origin.CONNECTIVITY)
    assert engine.lift(Origin.CONNECTIVITY, "back")
    assert engine.flag.allows()


@pytest.mark.parametrize(
    ("name", "before", "after", "looser"),
    [
        ("max_order_quantity", D(10), D(11), True),
        ("max_order_quantity", D(10), D(9), False),
        ("max_order_quantity", D(10), D(10), False),
        ("max_slippage_bps", D(10), None, True),
        ("max_slippage_bps", None, D(10), False),
        ("min_buying_power_dollars", D(10), D(9), True),
        ("min_buying_power_dollars", D(10), D(11), False),
        ("duplicate_order_window_seconds", D(10), D(9), True),
        ("allow_short", False, True, True),
        ("allow_short", True, False, False),
        ("prevent_self_crossing", True, False, True),
        ("trading_session", "regular", "any", True),
        ("trading_session", "any", "extended", False),
        ("allowed_symbols", ("AAPL",), ("AAPL", "MSFT"), True),
        ("allowed_symbols", ("AAPL",), None, True),
        ("allowed_symbols", None, ("AAPL",), False),
        ("restricted_symbols", ("AAPL",), (), True),
        ("restricted_symbols", (), ("AAPL",), False),
    ],
)
def test_what_counts_as_looser(name: str, before: Value, after: Value, looser: bool) -> None:
    """A change is looser exactly when something passes that did not before; of every kind of limit."""
    assert loosens(name, before, after) is looser


def test_no_change_is_not_looser() -> None:
    """Setting any limit to what it is loosens nothing."""
    assert not [name for name, limit in LIMITS.items() if loosens(name, limit.default, limit.default)]


def test_settings_cannot_loosen_behind_the_rule(handle: ExecutionGuard, bob: ExecutionGuard, tmp_path: Path) -> None:
    """A limit edited in the settings before an engine's start is asked for, not applied."""
    guard = ExecutionGuard(settings_in(tmp_path, limits={LIMIT: 50_000, "max_open_orders": 5}))
    guard.start()
    assert (guard.limits()[LIMIT], guard.limits()["max_open_orders"]) == (10_000, 5)
    assert [request.facts["name"] for request in bob.requests()] == [LIMIT]
    guard.close()


def test_from_two_shells(settings: Settings, handle: ExecutionGuard, bob: ExecutionGuard) -> None:
    """`athena limits`, `athena requests` and `athena approve` of two operators do it between processes."""
    handle.set_limit(LIMIT, 500)

    def athena(operator: str, *words: str) -> subprocess.CompletedProcess[str]:
        where = ("--home", str(settings.home), "--operator", operator)
        command = [sys.executable, "-m", "athena.cli", *words, *where]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=settings.home)

    tried = athena("alice", "limits", LIMIT, "20000")
    assert tried.returncode == 4, tried
    request = tried.stderr.split("athena approve ")[1].split()[0]
    assert request in athena("alice", "requests").stdout
    assert athena("alice", "approve", request).returncode == 4
    done = athena("carol", "approve", request)
    assert (done.returncode, handle.limits()[LIMIT]) == (0, 20_000), done
    assert "asked by alice" in done.stdout
    assert "approved by carol" in done.stdout
