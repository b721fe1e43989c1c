"""The append-only, hash-chained journal of the live system and the tables folded from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from athena.journal.event import Event as Event
    from athena.journal.journal import Journal as Journal
    from athena.journal.journal import Transaction as Transaction

__all__ = ["Event", "Journal", "Transaction"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from athena.journal import journal

        return getattr(journal, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
