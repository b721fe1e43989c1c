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
    print(f"next: another operator: athena approve {waiting[-1].id}" if waiting else "nothing waits for approval")
    return 0


def approve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Approve another operator's request; what was asked takes effect at once, or is refused and stays as it was."""
    guard = ExecutionGuard.get_instance(settings)
    request = find(guard.journal, arguments.id)
    made = guard.approve(request.id)
    venue = ""
    if isinstance(made, Resumed) and request.facts["where"] == "everything":
        from athena.ops.control import _lift_suspension

        venue = _lift_suspension(settings)
    if arguments.json:
        cleared = [halt.id for halt in made.cleared] if isinstance(made, Resumed) else []
        print(json.dumps(_facts(request) | {"approved_by": settings.operator, "cleared": cleared, "venue": venue}))
        return 0
    print(f"APPROVED: {request.what}")
    print(f"  asked by {request.requested_by} ({request.os_user}), approved by {settings.operator} ({os_user()})")
    if request.os_user == os_user():
        print("  NOTE: both used the same system user; the record says so")
    if isinstance(made, Resumed):
        print(made)
    if venue:
        print(venue)
    return 0


def _facts(request: Request) -> dict[str, Any]:
    return {
        "id": request.id, "action": request.action, "what": request.what, "requested_by": request.requested_by,
        "os_user": request.os_user, "expires_at": request.expires_at.isoformat(),
    }  # fmt: skip
