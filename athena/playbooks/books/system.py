"""The live system as a playbook sees it: one read-only journal, the guard's flag, and a venue asked within seconds.

    system = connect(journal)
    system                      # account, paper or live, the venue's clock, the age of what is known

Nothing here writes. What is missing is a `problem`, told in words; a playbook's verdict is then UNKNOWN.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from athena.analysis import style
from athena.config import Settings
from athena.core.portfolio import Portfolio
from athena.core.trading_days import TradingDays
from athena.errors import AthenaError, BrokerUnavailable, JournalError
from athena.journal import Journal
from athena.journal.codec import from_text
from athena.live.vitals import beat
from athena.model import OrderStatus, trading_date

if TYPE_CHECKING:
    from athena.live.guard_flag import GuardFlag
    from athena.live.guard_rules import Halt, Rules

Answer = TypeVar("Answer")
ASK_SECONDS = 8.0  # for one question to the venue, connecting included
BY_HAND = (
    "Where the keys are, run `athena broker-reconciliation` and `athena check-brokers`, or this notebook in `make lab`."
)
FINAL = tuple(status.value for status in OrderStatus if status.is_final)


@dataclass
class System:
    """A live system's journal and, where it answers, its venue; `problem` says in words why the journal cannot tell."""

    path: Path
    settings: Settings
    read_at: datetime
    problem: str = ""
    hint: str = ""
    opened: Journal | None = field(default=None, repr=False)
    broker: Any = None
    silent: str = ""  # why the venue is not asked (any more)
    unwatched: str = ""  # why Prometheus is not asked (any more)

    @property
    def journal(self) -> Journal:
        """The read-only journal; raises JournalError where there is none."""
        if self.opened is None:
            raise JournalError(self.problem, self.hint)
        return self.opened

    # ------------------------------------------------------------------------------------------- what the journal knows

    @property
    def account(self) -> dict[str, Any]:
        row = self.journal.one("SELECT * FROM account WHERE id = 1")
        return dict(row) if row else {}

    @property
    def venue(self) -> str:
        """The venue of the journal's account, else the settings'."""
        return str(self.account.get("venue") or self.settings.venue) if self.opened else self.settings.venue

    @cached_property
    def days(self) -> TradingDays:
        """The exchange's sessions as the schedule knows them; raises SettingsError on a wrong calendar.toml."""
        return TradingDays.load(self.settings)

    def heartbeat(self, component: str = "engine") -> tuple[float | None, dict[str, Any]]:
        """Seconds of machine time since a component's last sign of life, and what it said; None when it never ran."""
        heard = beat(self.journal, component)
        return (None, {}) if heard is None else (heard.age_seconds, heard.details)

    @property
    def alive(self) -> bool:
        """True while the engine gives signs of life."""
        heard = beat(self.journal)
        return heard is not None and heard.alive

    @property
    def engine_words(self) -> str:
        """Whether the engine runs and, if not, since when."""
        heard = beat(self.journal)
        if heard is None:
            return "never ran here"
        if heard.alive:
            return f"running, pid {heard.pid}"
        if heard.age_seconds < 0:
            return f"not running, {heard.silence}"
        return f"not running, {'stopped' if heard.stopped else 'last heard of'} {style.span(heard.age_seconds)} ago"

    @property
    def venue_now(self) -> datetime | None:
        """The venue's time by the engine's last word, carried on while it lives; None where nothing is known."""
        heard = beat(self.journal)
        if heard is not None and heard.venue_now is not None:
            return heard.venue_now
        row = self.journal.one("SELECT max(venue_at) FROM equity")
        return from_text(row[0]) if row and row[0] else None

    @property
    def day(self) -> date | None:
        """The latest trading date the journal knows."""
        row = self.journal.one(
            "SELECT max(d) FROM"
            " (SELECT max(trading_date) d FROM trading_days UNION SELECT max(trading_date) FROM equity)"
        )
        return date.fromisoformat(row[0]) if row and row[0] else None

    @property
    def sequence(self) -> int:
        return self.journal.head()[0]

    def portfolio(self) -> Portfolio:
        """Positions, cash and profit. Raises JournalError while no account is bound."""
        return Portfolio.from_journal(self.journal)

    def open_orders(self) -> list[Any]:
        slots = ", ".join("?" * len(FINAL))
        return self.journal.query(f"SELECT * FROM orders WHERE status NOT IN ({slots}) ORDER BY intended_at", FINAL)

    # ------------------------------------------------------------------------------------------------------- the guard

    def rules(self) -> Rules:
        """Halts and limits as the journal holds them."""
        from athena.live.guard_rules import Rules

        return Rules.load(self.journal)

    def halts(self) -> tuple[Halt, ...]:
        return self.rules().halts

    def limits(self) -> dict[str, Any]:
        """Every limit as it binds everything."""
        from athena.live.limits import effective

        return dict(effective(self.rules().values))

    def flag(self) -> GuardFlag | None:
        """The guard's flag as it is mapped now; None where there is none: it is not made by looking."""
        from athena.live.guard_flag import SIZE, GuardFlag, flag_path

        path = flag_path(self.path)
        return GuardFlag(path) if path.exists() and path.stat().st_size >= SIZE else None

    # ------------------------------------------------------------------------------------------------------- the venue

    def ask(self, question: Callable[[Any], Awaitable[Answer]], *, seconds: float = ASK_SECONDS) -> Answer:
        """The venue's answer, in a notebook's running loop too; `question` gets the broker's handle.

        Raises BrokerUnavailable (also when it was silent once before), and any other BrokerError.
        """
        if self.silent:
            raise BrokerUnavailable(self.silent)
        if self.opened is not None and self.venue != self.settings.venue:
            raise BrokerUnavailable(self.keyless, BY_HAND)

        async def bounded() -> Answer:
            broker = self.broker
            if broker is None:
                from athena.live.brokers.alpaca import AlpacaBroker

                broker = AlpacaBroker.get_instance(self.settings)
            return await asyncio.wait_for(question(broker), seconds)

        try:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(asyncio.run, bounded()).result()
        except TimeoutError:
            self.silent = f"the venue did not answer within {seconds:.0f} s."
            raise BrokerUnavailable(self.silent) from None
        except BrokerUnavailable as error:
            self.silent = error.message
            raise

    @property
    def keyless(self) -> str:
        """Why the venue of this journal is not asked from here; "" where it may be.

        Such a process is one outside that live system's own runs, which read the venue through their runner's window.
        """
        if self.opened is None or self.venue == self.settings.venue:
            return ""
        return f"{self.venue} is not asked, for this process has no keys; only the journal is read. {BY_HAND}"

    def ask_own(self, question: Callable[[Any], Awaitable[Answer]]) -> Answer:
        """`ask`, once it is certain that the venue's account is the journal's. Raises BrokerUnavailable otherwise."""
        theirs = self.ask(lambda broker: broker.get_account()).account_number
        ours = self.account.get("account_number", theirs)
        if theirs != ours:
            raise BrokerUnavailable(f"the venue answers for account {theirs}; the journal is {ours}'s.")
        return self.ask(question)

    # -------------------------------------------------------------------------------------------------------- showing

    @property
    def facts(self) -> dict[str, Any]:
        """What a playbook's record says of its source."""
        if self.opened is None:
            return {"trading_date": trading_date(self.read_at), "journal": str(self.path), "read_at": self.read_at}
        day, account = self.day, self.account
        return {
            "trading_date": day or trading_date(self.read_at),
            "journal": str(self.path),
            "sequence": self.sequence,
            "venue": self.venue,
            "account_number": account.get("account_number"),
            "engine": self.engine_words,
            "venue_time": self.venue_now,
            "read_at": self.read_at,
            "by": self.settings.operator,
        }

    def _lines(self) -> list[tuple[str, str]]:
        if self.opened is None:
            return [("journal", self.problem), ("next", self.hint)]
        account, money = self.account, "REAL MONEY" if self.venue == "live" else "no real money"
        return [
            ("account", f"{account.get('account_number') or 'none bound yet'} at {self.venue.upper()} ({money})"),
            ("engine", self.engine_words),
            ("venue time", style.moment(self.venue_now)),
            ("journal", f"{self.path}, {self.sequence:,} events"),
            ("read at", f"{self.read_at:%Y-%m-%d %H:%M:%S} UTC"),
            *([("note", self.keyless)] if self.keyless else []),
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{label:<11} {value}" for label, value in self._lines())

    def _repr_html_(self) -> str:
        told = " · ".join(f"{escape(label)} <b>{style.marked(value)}</b>" for label, value in self._lines())
        return f'<style>{style.CSS}</style><div class="athena"><p class="soft">{told}</p></div>'


def connect(journal: str = "", *, settings: Settings | None = None, broker: Any = None) -> System:
    """The live system of a journal's path; "" is the settings' own. Never raises: what is wrong is its `problem`.

    A path `<home>/<account>/journal.sqlite3` brings that home's settings with it, unless `settings` are given. `broker`
    stands in for the venue.
    """
    now = datetime.now(UTC)
    path = Path(journal).expanduser().resolve() if journal else None
    try:
        settings = settings or settings_of(path)
    except AthenaError as error:
        return System(
            path or Path(os.devnull), Settings(), now, f"The settings cannot be used: {error.message}", error.hint
        )
    path = path or settings.journal_path
    try:
        opened = Journal.open(path, "playbook", read_only=True)
    except JournalError as error:
        return System(path, settings, now, f"The journal cannot be read: {error.message}", error.hint, broker=broker)
    return System(path, settings, now, opened=opened, broker=broker)


def settings_of(path: Path | None) -> Settings:
    """The settings of a journal's live system, see `connect`; None is the settings' own. Raises SettingsError."""
    if path is None:
        return Settings.load()
    if path.name != "journal.sqlite3":
        return replace(Settings.load(), account=path.stem)
    return replace(Settings.load(home=path.parent.parent), account=path.parent.name)
