"""The second approver: with `require_second_approver` on, one operator asks to resume or to loosen a limit, another
approves, from any process; only then it takes effect.

A request is a journal event bound to what its maker saw (the halts and the flag's nonce, or the limit's value); when
that has changed, or its time is over, it is refused. Approving and taking effect are one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from athena.errors import ApprovalNeeded, GuardError

if TYPE_CHECKING:
    from athena.journal.journal import Journal, Transaction

SETTING = "require_second_approver"
LINE = "second approver"
EXPIRY = timedelta(minutes=15)
RESUME, LIMIT = "resume", "limit"
_EVENTS = (  # the last condition names the small index of rare events
    "SELECT kind, at, payload FROM events WHERE kind IN ('approval.requested', 'approval.given')"
    " AND kind NOT IN ('order.intended', 'order.updated', 'fill', 'equity') ORDER BY sequence"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What one operator asks of another. `facts` are what it is bound to; `approved_by` is "" while it waits."""

    id: str
    action: str
    what: str
    facts: Mapping[str, Any]
    requested_by: str
    os_user: str
    requested_at: datetime
    expires_at: datetime
    approved_by: str = ""

    @property
    def pending(self) -> bool:
        return not self.approved_by and datetime.now(UTC) < self.expires_at

    def __str__(self) -> str:
        left = max(0.0, (self.expires_at - datetime.now(UTC)).total_seconds())
        state = f"approved by {self.approved_by}" if self.approved_by else f"{left / 60:.0f} min left" * (left > 0)
        return f"{self.id}  {self.what}, asked by {self.requested_by} ({self.os_user}); {state or 'expired'}"


def required(reader: Journal | Transaction) -> bool:
    """True while a second operator must approve."""
    row = reader.one("SELECT value FROM limits WHERE name = ? AND target = ''", (SETTING,))
    return row is not None and row["value"] == "true"


def requests(reader: Journal | Transaction) -> tuple[Request, ...]:
    """Every request of this journal, oldest first, with who approved it."""
    from athena.journal.codec import decode

    found: dict[str, Request] = {}
    for row in reader.query(_EVENTS):
        p = decode(row["payload"])
        if row["kind"] == "approval.requested":
            found[p["id"]] = Request(
                p["id"], p["action"], p["what"], p["facts"], p["by"], p["os_user"], datetime.fromisoformat(row["at"]),
                datetime.fromisoformat(p["expires_at"]),
            )  # fmt: skip
        elif p["id"] in found:
            r = found[p["id"]]
            found[p["id"]] = Request(
                r.id, r.action, r.what, r.facts, r.requested_by, r.os_user, r.requested_at, r.expires_at, p["by"]
            )
    return tuple(found.values())


def ask(tx: Transaction, action: str, what: str, facts: Mapping[str, Any], by: str) -> ApprovalNeeded:
    """File a request, or find the same one waiting; the error to raise once that is durable."""
    from athena.journal.codec import plain

    stated = plain(facts)
    same = [r for r in requests(tx) if r.pending and (r.action, r.facts, r.requested_by) == (action, stated, by)]
    if same:
        request_id = same[-1].id
    else:
        request_id = os.urandom(3).hex()
        payload = {"id": request_id, "action": action, "what": what, "facts": stated, "by": by, "os_user": os_user()}
        tx.append("approval.requested", payload | {"expires_at": datetime.now(UTC) + EXPIRY})
    minutes = EXPIRY.total_seconds() / 60
    return ApprovalNeeded(
        f"{what}: a second operator must approve it; nothing has changed.",
        f"Another operator, within {minutes:.0f} minutes: athena approve {request_id}",
        request_id,
    )


def find(reader: Journal | Transaction, request_id: str) -> Request:
    """The request of that id, or of an unambiguous beginning of it. Raises GuardError."""
    found = [r for r in requests(reader) if request_id and r.id.startswith(request_id.lower())]
    if len(found) != 1:
        which = "names no request" if not found else "names several requests"
        raise GuardError(f"'{request_id}' {which}.", "athena requests lists them.")
    return found[0]


def check(request: Request, by: str) -> None:
    """Raise GuardError when `by` cannot approve it: approved before, expired, or their own."""
    if request.approved_by:
        raise GuardError(f"Request {request.id} was approved by {request.approved_by} already.", "Nothing was done.")
    if not request.pending:
        raise GuardError(f"Request {request.id} expired at {request.expires_at:%H:%M:%S} UTC.", "Ask again.")
    if by.strip().casefold() == request.requested_by.strip().casefold():
        raise GuardError(
            f"{by} asked for it, so another operator must approve it.", "ATHENA_OPERATOR says who you are."
        )


def give(tx: Transaction, request_id: str, by: str) -> Request:
    """Approve inside the transaction that makes it take effect, as `check` allows there."""
    request = find(tx, request_id)
    check(request, by)
    tx.append("approval.given", {"id": request.id, "by": by, "os_user": os_user(), "what": request.what})
    return request


def stale(request_id: str, why: str) -> GuardError:
    """The error for a request whose facts have changed since it was made."""
    return GuardError(f"Request {request_id} is stale: {why}.", "Look at athena status, then ask again.")


def os_user() -> str:
    """Who this process runs as, by the system and not by the environment."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # no passwd entry in some containers
        return f"uid-{os.getuid()}"
