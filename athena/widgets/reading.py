"""Reads the live system for a control room, once a second, so that it costs the journal next to nothing.

One connection of its own, read only. A look first asks whether anything was committed (one statement); then it reads
the heartbeats and prices, and of everything else only what the kinds of the new events say has changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from athena.config import Settings
from athena.core.alerts import active_alerts
from athena.core.portfolio import Portfolio
from athena.errors import AthenaError
from athena.journal.codec import from_text
from athena.journal.journal import Journal
from athena.live.guard_book import Book
from athena.live.guard_flag import SIZE, GuardFlag, H, R, flag_path
from athena.live.guard_load import load_book
from athena.live.guard_status import read_status
from athena.live.vitals import beat
from athena.model import CashFlow, Fill, Side
from athena.ops.status import assemble
from athena.widgets.lists import read_lists
from athena.widgets.snapshot import Lists, Snapshot, Trouble, aged

PAGE = 2_000
_NEW = f"SELECT sequence, kind, payload FROM events WHERE sequence > ? ORDER BY sequence LIMIT {PAGE}"
_TRADING = (
    "order.intended",
    "order.updated",
    "fill",
    "equity",
    "cash_flow",
    "correction",
    "day.opened",
    "account.bound",
)
_ACCOUNT = frozenset({"account.bound", "correction", "equity.corrected"})  # after these the portfolio is folded anew


class Reader:
    """The journal and the flag of one live system, looked at again and again; `read` never raises."""

    def __init__(self, settings: Settings, path: Path | None = None) -> None:
        self.settings = settings
        self.path = path or settings.journal_path
        self.looks = 0
        self._journal: Journal | None = None
        self._flag: GuardFlag | None = None
        self._portfolio: Portfolio | None = None
        self._book: Book | None = None
        self._seen: tuple[Any, ...] = ()
        self._last = Snapshot(datetime.now(UTC), settings.account_name, settings.venue, settings.operator)

    def read(self) -> Snapshot:
        """The system now; where it cannot be read, what was last known, with the trouble and its beginning."""
        self.looks += 1
        try:
            self._last = self._look(datetime.now(UTC))
        except AthenaError as error:
            self._last = self._failed(error.message, error.hint)
        except Exception as error:  # a defect must be seen in the room, and must not end its thread
            self._last = self._failed(f"{type(error).__name__}: {error}", "athena verify-journal; athena health-check")
        return self._last

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        for opened in (self._journal, self._flag):
            if opened is not None:
                opened.close()
        self._journal, self._flag, self._portfolio, self._book, self._seen = None, None, None, None, ()

    def _failed(self, what: str, hint: str) -> Snapshot:
        self.close()
        before = self._last.trouble
        since = before.since if before else datetime.now(UTC)
        return replace(self._last, trouble=Trouble(what, hint, since))

    def _look(self, now: datetime) -> Snapshot:
        journal = self._open()
        flag = self._mapped()
        words = () if flag is None else (flag.words[H], flag.words[R], flag.lease_seconds > 0)
        last = self._last
        seen = (*words, *_alive(last, now))
        if not journal.changed() and seen == self._seen and last.trouble is None:
            return last  # nothing was committed, nothing died: only ages have moved, and those are the view's
        with journal.reading():
            engine, broker = beat(journal), beat(journal, "broker")
            kinds, sequence = self._new_events(journal)
            if self._portfolio is not None:
                self._portfolio.remark(journal)
            mapped = flag if flag is not None else _NoFlag()
            told = engine is not None and engine.alive and mapped.lease_seconds > 0 and engine.details.get("guard")
            book = None if told else self._own_book(journal, kinds)
            guard = read_status(mapped, journal, self.settings.account_name, self.settings.venue, book)  # type: ignore[arg-type]
            status = assemble(self.settings, journal, guard, self._portfolio)
            lists = read_lists(journal, kinds, last.lists if last.status is not None else Lists())
            alerts = tuple(active_alerts(journal))
        made = Snapshot(
            now, self.settings.account_name, status.venue, self.settings.operator, status, engine,
            broker, lists, alerts, sequence, self._readonly(status.venue),
        )  # fmt: skip
        self._seen = (*words, *_alive(made, now))
        return made

    def _open(self) -> Journal:
        """The connection, renewed when the file at the path is another one by now. Raises JournalError."""
        if self._journal is None or not self._journal.in_place():
            self.close()
            self._journal = Journal.open(self.path, "control room", read_only=True)
            self._last = replace(self._last, sequence=0, lists=Lists())
        return self._journal

    def _mapped(self) -> GuardFlag | None:
        """The flag as it is mapped now; None where there is none: looking does not make one."""
        if self._flag is not None and self._flag.is_current():
            return self._flag
        if self._flag is not None:
            self._flag.close()
        path = flag_path(self.path)
        self._flag = GuardFlag(path) if path.exists() and path.stat().st_size >= SIZE else None
        return self._flag

    def _own_book(self, journal: Journal, kinds: frozenset[str]) -> Book:
        """How much of each limit is used, where no engine tells it: worked out again only after what changes it."""
        if self._book is None or any(kind in kinds for kind in _TRADING):
            self._book = load_book(journal)
        return self._book

    def _new_events(self, journal: Journal) -> tuple[frozenset[str], int]:
        """The kinds journaled since the last look, taken into the portfolio; everything at the first look."""
        after = self._last.sequence
        if self._portfolio is None:
            head = journal.head()[0]
            if journal.one("SELECT 1 FROM account") is not None:
                self._portfolio = Portfolio.from_journal(journal)
            if after == 0 or self._last.status is None:
                return ALL, head
        kinds: set[str] = set()
        while rows := journal.query(_NEW, (after,)):
            for _, kind, payload in rows:
                kinds.add(kind)
                self._take(kind, payload)
            after = rows[-1]["sequence"]
            if len(rows) < PAGE:
                break
        if kinds & _ACCOUNT:
            self._portfolio = Portfolio.from_journal(journal)
        return frozenset(kinds), after

    def _take(self, kind: str, payload: str) -> None:
        if self._portfolio is None or kind not in ("fill", "cash_flow"):
            return
        p = json.loads(payload)
        if kind == "fill":
            self._portfolio.apply_fill(_fill(p))
        else:
            self._portfolio.apply_cash_flow(CashFlow(p["id"], p["kind"], Decimal(p["amount"]), from_text(p["at"])))

    def _readonly(self, venue: str) -> str:
        """Why this kernel can only look: a copy of a journal, or the account of another venue."""
        if self.path.resolve() != self.settings.journal_path.resolve():
            return f"{self.path.name} is no live system's journal.sqlite3: a copy is only read."
        if venue != self.settings.venue:
            return f"the journal is an account of {venue.upper()}; this kernel has the keys of {self.settings.venue}."
        return ""


def _alive(snapshot: Snapshot, now: datetime) -> list[bool]:
    """Of engine and broker: what time alone changes."""
    return [found is not None and found.alive for found in (aged(snapshot.engine, now), aged(snapshot.broker, now))]


class _Everything(frozenset[str]):
    """Every kind there is: what the first look reads."""

    def __contains__(self, kind: object) -> bool:
        return True


ALL: frozenset[str] = _Everything()


class _NoFlag:
    """No flag is mapped: everything is refused, and nobody vouches."""

    words: Mapping[int, int] = {H: 0, R: 0}
    lease_seconds = 0.0

    def allows(self) -> bool:
        return False


def _fill(p: Mapping[str, Any]) -> Fill:
    return Fill(
        p["execution_id"], p["client_order_id"], p.get("broker_order_id") or "", p["symbol"], Side(p["side"]),
        Decimal(p["quantity"]), Decimal(p["price"]), from_text(p["at"]), p.get("strategy") or "",
        Decimal(p.get("fee") or 0),
    )  # fmt: skip
