"""The second approver at the command line: what waits for approval, and approving it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from athena.config import Settings
from athena.live.approvals import Request, find, os_user
from athena.live.execution_guard import ExecutionGuard, Resumed


def requests(settings: Settings, arguments: argparse.Namespace) -> int:
    """List what waits for another operator's approval."""
    waiting = ExecutionGuard.get_instance(settings).requests()
    if arguments.json:
        print(json.dumps({"requests": [_facts(request) for request in waiting]}))
        return 0
    for request in waiting:
        print(request)
    names = " ".join(request.id for request in waiting)
    print(f"next: another operator: athena approve {names}" if waiting else "nothing waits for approval")
    return 0


def approve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Approve another operator's requests; each takes effect at once, or is refused and stays as it was.

    With --json a line each.
    """
    guard = ExecutionGuard.get_instance(settings)
    for request in [find(guard.journal, one) for one in arguments.id]:
        _approve(settings, guard, request, as_json=arguments.json)
    return 0


def _approve(settings: Settings, guard: ExecutionGuard, request: Request, *, as_json: bool) -> None:
    made = guard.approve(request.id)
    venue = ""
    if isinstance(made, Resumed) and request.facts["where"] == "everything":
        from athena.ops.control import _lift_suspension

        venue = _lift_suspension(settings)
    if as_json:
        cleared = [halt.id for halt in made.cleared] if isinstance(made, Resumed) else []
        print(json.dumps(_facts(request) | {"approved_by": settings.operator, "cleared": cleared, "venue": venue}))
        return
    print(f"APPROVED: {request.what}")
    print(f"  asked by {request.requested_by} ({request.os_user}), approved by {settings.operator} ({os_user()})")
    if request.os_user == os_user():
        print("  NOTE: both used the same system user; the record says so")
    if isinstance(made, Resumed):
        print(made)
    if venue:
        print(venue)


def _facts(request: Request) -> dict[str, Any]:
    return {
        "id": request.id, "action": request.action, "what": request.what, "requested_by": request.requested_by,
        "os_user": request.os_user, "expires_at": request.expires_at.isoformat(),
    }  # fmt: skip
