"""Lifting restrictions from any process: resuming after the checklist, and loosening a limit; with a second approver
where that is required.

What takes effect, its approval and its record are one journal commit. Tightening needs no one's leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from athena.errors import AthenaError, GuardError, JournalError, ResumeRefused
from athena.live import approvals
from athena.live.guard_checklist import Line, checklist
from athena.live.guard_flag import GuardFlag, H
from athena.live.guard_halting import Resumed, adopt, clear_halts
from athena.live.guard_rules import Halt, Rules
from athena.live.limits import LIMITS, Value, check_order, effective, loosens, parse, show, to_json

if TYPE_CHECKING:
    from athena.journal.journal import Journal, Transaction

_ORPHAN_SECONDS = 1.0


def resume(
    flag: GuardFlag, journal: Journal, seen: Sequence[str], *, by: str, reason: str, where: str,
    override: bool = False, all_of: Callable[[Halt], bool] | None = None, request: approvals.Request | None = None,
) -> Resumed:  # fmt: skip
    """Clear the halts `seen` if the checklist holds, or by `override`; `request` is the one being approved by `by`.

    Raises ResumeRefused (a line fails, a halt came meanwhile), ApprovalNeeded (asked; nothing cleared), GuardError.
    """
    nonce = flag.words[H]
    second = _second_approver(by, request, flag)
    who = by if request is None else f"{request.requested_by}, approved by {by}"
    try:
        cleared, remaining, checks = clear_halts(
            flag, journal, seen, by=who, reason=reason or "resumed", override=override,
            checklist=checklist(flag, second), all_of=all_of,
        )  # fmt: skip
    except ResumeRefused as refused:
        if refused.failed != (approvals.LINE,):
            raise
        facts = {"halts": sorted(seen), "nonce": str(nonce), "where": where, "reason": reason}
        with journal.transaction() as tx:
            needed = approvals.ask(tx, approvals.RESUME, f"resume {where}: {reason or 'no reason'}", facts, by)
        raise needed from None
    overridden = override and any(not line.holds for line in checks)
    return Resumed(cleared, remaining, overridden, flag.lease_seconds > 0, checks)


def ready(flag: GuardFlag, journal: Journal, halts: tuple[Halt, ...], by: str) -> tuple[Line, ...]:
    """The checklist for clearing these halts now, without clearing them; a journal that cannot be locked is a line."""
    try:
        with journal.transaction() as tx:
            return checklist(flag, _second_approver(by, None, flag))(tx, halts)
    except JournalError as error:
        return (Line("journal writable", False, error.message, error.hint),)


def _second_approver(
    by: str, request: approvals.Request | None, flag: GuardFlag
) -> Callable[[Transaction], Line | None]:
    def line(tx: Transaction) -> Line | None:
        if request is not None:
            given = approvals.give(tx, request.id, by)
            if str(flag.words[H]) != given.facts["nonce"]:
                raise approvals.stale(given.id, "everything was halted again since")
            return Line(approvals.LINE, True, f"{given.requested_by} asked, {by} approves")
        if not approvals.required(tx):
            return None
        return Line(approvals.LINE, False, "no other operator has approved", "athena resume asks for it.")

    return line


def wait_for_no_orphan(flag: GuardFlag, journal: Journal) -> None:
    """Raise ResumeRefused when the flag holds a halt that no row explains: it is being set, or its setter died."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while (seen := flag.words[H]) and journal.one("SELECT 1 FROM halts WHERE nonce = ?", (str(seen),)) is None:
        if time.monotonic() >= deadline:
            found = adopt(flag, journal)
            raise ResumeRefused(
                f"an unrecorded halt was found: {found}.", "It is recorded now; look, then resume.", ("no newer halt",)
            )
        time.sleep(0.02)


def reconcile_now(journal: Journal) -> None:
    """Ask the running engine to reconcile, so that the checklist judges this moment; its failure shows there."""
    from athena.live.commands import request_sync

    try:
        request_sync(journal, "reconcile", timeout=20)
    except AthenaError:
        pass


def set_limit(
    flag: GuardFlag, journal: Journal, name: str, value: Any, *, target: str = "", by: str, reason: str = "",
    override: bool = False, request: approvals.Request | None = None, seen: tuple[Value] | None = None,
) -> Value:  # fmt: skip
    """Change one limit, from the next order on in every process; `seen` is the value it must still have.

    Raises GuardError (no such limit, value or target; a stale request), ApprovalNeeded (asked; nothing changed).
    """
    kind, _, key = target.partition(":")
    target = f"symbol:{key.upper()}" if kind == "symbol" else target
    new, needed = parse(name, value, target=target), None
    with journal.transaction() as tx:
        rules = Rules.load(journal)
        if seen is not None and (now := rules.value(name, target)) != seen[0]:
            told = f"{name} is {show(name, now)} by now; you were shown {show(name, seen[0])}. Nothing was changed."
            raise GuardError(told, "Look at who changed it and why, then decide again.")
        check_order(_effective(rules.values | {(name, target): new}, kind, key))
        previous = to_json(rules.value(name, target))
        fresh = bool(target) and (name, target) not in rules.values  # a first override can only tighten
        guarded = not fresh and loosens(name, rules.value(name, target), new) and approvals.required(tx)
        facts = {"name": name, "target": target, "value": to_json(new), "previous": previous, "reason": reason}
        if request is not None:
            given = approvals.give(tx, request.id, by)
            if given.facts["previous"] != previous:
                raise approvals.stale(given.id, f"{name} is {show(name, rules.value(name, target))} by now")
            by, guarded = f"{given.requested_by}, approved by {by}", False
        if guarded and not override:
            of = f" of {target.replace(':', ' ')}" if target else ""
            what = f"{name}{of} from {show(name, rules.value(name, target))} to {show(name, new)}"
            what += f": {reason}" if reason else ""
            needed = approvals.ask(tx, approvals.LIMIT, what, facts, by)
        else:
            if guarded:
                facts |= {"override": True, "reason": f"OVERRIDE of {approvals.LINE}: {reason}".rstrip(": ")}
            tx.append("limit.set", facts | {"by": by})
    if needed is not None:
        raise needed
    flag.announce_change()
    return new


def first_limits(flag: GuardFlag, journal: Journal, limits: Any, by: str) -> None:
    """Limits from the settings, for those that nobody has set yet; what would need an approval is asked for."""
    from athena.errors import ApprovalNeeded

    known = Rules.load(journal).values
    own = sorted(limits, key=lambda name: name == approvals.SETTING)  # the rule binds changes, not its own beginning
    for name in own:
        if name not in LIMITS or (name, "") not in known:
            try:
                set_limit(flag, journal, name, limits[name], by=by, reason="settings")
            except ApprovalNeeded:
                continue


def _effective(values: dict[tuple[str, str], Value], kind: str, key: str) -> dict[str, Value]:
    return effective(values, key.upper() if kind == "symbol" else "", key if kind == "strategy" else "")


def approve_limit(flag: GuardFlag, journal: Journal, request: approvals.Request, by: str) -> Value:
    """Approve a request to change a limit; it takes effect with this."""
    facts = request.facts
    if request.action != approvals.LIMIT:
        raise GuardError(f"Request {request.id} is not about a limit.")
    return set_limit(
        flag, journal, facts["name"], facts["value"], target=facts["target"], by=by, reason=facts["reason"],
        request=request,
    )  # fmt: skip
