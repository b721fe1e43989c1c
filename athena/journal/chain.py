"""The hash chain: every event carries the hash of the one before, so a changed, lost or inserted row shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

GENESIS = "0" * 64


def link(previous: str, fields: Sequence[object]) -> str:
    """Hash of an event: `fields` are sequence, at, venue_at, kind, actor, host, pid and the payload's JSON.

    Newlines separate them; no field may hold one, which JSON's escapes and the journal's checks ensure.
    """
    text = "\n".join("" if field is None else str(field) for field in fields)
    return sha256(f"{previous}\n{text}".encode()).hexdigest()


def first_break(rows: Iterable[Sequence[object]]) -> tuple[int, str, int | None, str]:
    """Walk whole event rows in order: (events read, last hash, first broken sequence or None, what is wrong)."""
    count, previous, expected = 0, GENESIS, 1
    for *fields, previous_hash, own in rows:
        if fields[0] != expected:
            return count, previous, expected, f"event {expected} is missing; the next one is {fields[0]}"
        if previous_hash != previous:
            return count, previous, expected, f"event {expected} does not follow from the one before it"
        if link(previous, fields) != own:
            return count, previous, expected, f"event {expected} was changed after it was written"
        count, previous, expected = count + 1, str(own), expected + 1
    return count, previous, None, ""
