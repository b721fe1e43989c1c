"""The venue: accounts, matching against the tape, and time.

One object, used from one thread (the server's loop): nothing here locks. Given the tape, the clock's times and the
seed, everything is determined, ids included, however often `advance` is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from hmac import compare_digest
from pathlib import Path
from typing import Any, Protocol

from athena.errors import SimulatorError
from athena.model import OrderStatus, trading_date
from athena.simulator import margin
from athena.simulator.account import AccountConfigurations, AccountSummary, VenueAccount
from athena.simulator.activities import CashActivity, FillActivity
from athena.simulator.assets import Asset
from athena.simulator.book import AccountRow, Book, DayClose, Ledger
from athena.simulator.errors import VenueError, unauthorized, unprocessable
from athena.simulator.floor import INSTANT, Floor
from athena.simulator.holding import Holding
from athena.simulator.margin import Funds
from athena.simulator.matching import Taken
from athena.simulator.orders import OrderReplacement, OrderRequest, TradeUpdate, VenueOrder
from athena.simulator.positions import VenuePosition
from athena.simulator.state import Key, StateFile, decode, encode
from athena.simulator.tape import Tape
from athena.simulator.timetable import Phase, boundaries

__all__ = [
    "AccountConfigurations",
    "AccountSummary",
    "Exchange",
    "OrderReplacement",
    "OrderRequest",
    "TradeUpdate",
    "VenueAccount",
    "VenueError",
    "VenueOrder",
    "VenuePosition",
]

OPENING_CASH = Decimal(100_000)
Callback = Callable[[TradeUpdate], None]


class Now(Protocol):
    """A clock of venue time."""

    def now(self) -> datetime: ...


class Exchange:
    """Matches every account's orders against `tape` as `clock` goes; with `state_path`, survives its process.

    `keys` maps key ids to secrets: each gets an account with `opening_cash` dollars unless the state file has it.
    Raises SimulatorError for a state file that cannot be read or used, or that is ahead of the clock
    (`state.saved_at(path)` says where to start it).
    """

    def __init__(
        self,
        tape: Tape,
        clock: Now,
        state_path: Path | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        opening_cash: Decimal = OPENING_CASH,
        seed: int = 0,
    ) -> None:
        self.tape = tape
        self.ledger = Ledger(seed)
        self._clock = clock
        self._opening_cash = opening_cash
        self._floor = Floor(tape, clock.now())
        self._accounts: dict[str, VenueAccount] = {}
        self._books: dict[str, Book] = {}
        self._secrets: dict[str, str] = {}
        self._callbacks: dict[str, list[Callback]] = {}
        self._undelivered: deque[tuple[Book, TradeUpdate]] = deque()
        self._delivering = False
        self.assets = dict(tape.assets)  # of its own: a listing may end while the venue runs
        self._symbols = {asset.id: asset.symbol for asset in tape.assets.values()}
        self.keeps_canceling: Callable[[Book, VenueOrder], bool] | None = None
        self._state = None if state_path is None else StateFile(state_path)
        if self._state is not None:
            try:
                self._load(self._state)
            except BaseException:
                self._state.close()
                raise
        self._boundaries = boundaries(self.at)
        self._next = next(self._boundaries)
        for key_id, secret in (keys or {}).items():
            self.open_account(key_id, secret)

    @property
    def at(self) -> datetime:
        """The venue time up to which everything is done."""
        return self._floor.at

    # Accounts

    def open_account(self, key_id: str, secret: str, cash: Decimal | None = None) -> VenueAccount:
        """The account of `key_id`, made with `cash` dollars where there is none; `secret` is what opens it."""
        self.advance()
        self._secrets[key_id] = secret
        if key_id not in self._accounts:
            account_id = self.ledger.unique()
            opening = self._opening_cash if cash is None else cash
            number = f"PA{account_id.replace('-', '')[:10].upper()}"
            book = Book(key_id, account_id, number, self.at, opening, self.ledger, cash=opening)
            self._add(book)
            book.note()
            self.commit()
        return self._accounts[key_id]

    def account(self, key_id: str, secret: str) -> VenueAccount:
        """The account the key opens; VenueError 401 for a wrong one."""
        known = self._secrets.get(key_id)
        if known is None or not compare_digest(known.encode(), secret.encode()):
            raise unauthorized()
        return self._accounts[key_id]

    def accounts(self) -> tuple[VenueAccount, ...]:
        return tuple(self._accounts.values())

    def books(self) -> tuple[Book, ...]:
        """Every account's book, for what the venue itself does to them."""
        return tuple(self._books.values())

    def account_of(self, book: Book) -> VenueAccount:
        return self._accounts[book.key_id]

    def subscribe(self, account: VenueAccount, callback: Callback) -> Callable[[], None]:
        """`callback` gets each later update of the account once, in order, after it is durable; returns unsubscribe.

        It may itself order and cancel; it must not raise.
        """
        callbacks = self._callbacks.setdefault(account.key_id, [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return unsubscribe

    # Time

    def advance(self) -> None:
        """Brings matching, expiries and stops up to the clock, through every session in between."""
        now = self._clock.now()
        if now <= self.at:
            return
        while self._next.at <= now:
            self._floor.run(self._next.at - INSTANT)
            self._floor.cross(self._next)
            if self._next.phase is Phase.POST:
                self._close_day()
            self._next = next(self._boundaries)
        self._floor.run(now)
        self.commit()

    def commit(self) -> None:
        """Makes what happened durable, then tells it. Raises SimulatorError when it cannot be written: nothing is
        told then, and the next commit tries again."""
        ledger = self.ledger
        if ledger.changes and self._state is not None:
            self._state.write([(key, _row(fact)) for key, fact in ledger.changes.items()] + [self._own_row()])
        ledger.changes.clear()
        self._undelivered.extend(ledger.updates)
        ledger.updates.clear()
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._undelivered:
                book, update = self._undelivered.popleft()
                for callback in tuple(self._callbacks.get(book.key_id, ())):
                    callback(update)
        finally:
            self._delivering = False

    def close(self) -> None:
        """Writes what is pending and the time, and lets go of the state file."""
        if self._state is not None:
            self.commit()
            self._state.write([self._own_row()])
            self._state.close()
            self._state = None

    # The market as accounts see it

    def asset(self, symbol_or_id: str) -> Asset | None:
        return self.assets.get(self._symbols.get(symbol_or_id, symbol_or_id))

    def price(self, symbol: str, at: datetime) -> Decimal:
        """The last trade price, or the close before; VenueError 422 for a symbol that never had one."""
        try:
            trade = self.tape.trade(symbol, at)
            price = trade.price if trade is not None else self.tape.previous_close(symbol, at)
        except SimulatorError:  # listed, but not on this tape
            price = None
        if price is None:
            raise unprocessable(f'asset "{symbol}" has no price yet')
        return price

    def funds(self, book: Book) -> Funds:
        return margin.funds(book, lambda symbol: self.price(symbol, self.at), self._maintenance)

    # What accounts ask for

    def enter(self, book: Book, order: VenueOrder) -> VenueOrder:
        """Puts a checked order on the floor; the order as it was accepted."""
        entered = self._floor.enter(book, order)
        self.commit()
        return entered if entered.status is OrderStatus.ACCEPTED else order

    def cancel(self, book: Book, orders: Iterable[VenueOrder]) -> None:
        """Cancels open orders; where a fault's `keeps_canceling` takes one over, it ends later and otherwise."""
        for order in orders:
            if self.keeps_canceling is None or not self.keeps_canceling(book, order):
                self._floor.cancel(book, order)
        self.commit()

    def end(self, book: Book, order: VenueOrder) -> None:
        """Cancels an order for good."""
        self._floor.cancel(book, order)
        self.commit()

    # Helpers

    def _maintenance(self, symbol: str) -> Decimal:
        return self.assets[symbol].maintenance_margin_percent / 100

    def _close_day(self) -> None:
        for book in self._books.values():
            funds = self.funds(book)
            book.close_day(DayClose(trading_date(self.at), self.at, funds.equity, funds.maintenance_margin))

    def _add(self, book: Book) -> None:
        self._books[book.key_id] = book
        self._accounts[book.key_id] = VenueAccount(self, book)
        self._floor.books.append(book)

    def _own_row(self) -> tuple[Key, dict[str, Any]]:
        return ("exchange", ""), {"at": self.at.isoformat(), "counter": self.ledger.counter}

    def _load(self, state: StateFile) -> None:
        try:
            for (kind, key), row in state.facts.items():
                self._take_in(kind, key, row)
        except (KeyError, TypeError, ValueError) as error:
            raise SimulatorError(
                f"The state file {state.path} holds something that cannot be read: {error!r}.",
                "Put a copy of it back, or move it away to start with new accounts.",
            ) from error
        state.facts.clear()

    def _take_in(self, kind: str, key: str, row: dict[str, Any]) -> None:
        owner = self._books.get(key.rpartition("/")[0])
        if kind == "exchange":
            saved = datetime.fromisoformat(row["at"])
            if saved > self._clock.now():
                raise SimulatorError(
                    f"The state file is at {saved}, later than the clock ({self._clock.now()}).",
                    "Start the clock there or after, or use another state file.",
                )
            self._floor.at = saved
            self.ledger.counter = row["counter"]
        elif kind == "account":
            values = decode(AccountRow, row)
            named = {name: getattr(values, name) for name in AccountRow.__slots__}
            self._add(Book(**named, ledger=self.ledger))
        elif kind == "order":
            order = decode(VenueOrder, row)
            self._books[order.account_key].keep(order)
        elif kind == "taken":
            self._floor.liquidity.taken[key] = decode(Taken, row)
        elif kind == "configurations":
            self._books[key].configurations = decode(AccountConfigurations, row)
        elif owner is None:
            raise KeyError(key)
        elif kind == "holding":
            owner.holdings[row["symbol"]] = decode(Holding, row)
        elif kind == "activity":
            fill = row["activity_type"] == "FILL"
            owner.activities.append(decode(FillActivity, row) if fill else decode(CashActivity, row))
        elif kind == "day":
            owner.days.append(decode(DayClose, row))
        else:
            raise ValueError(f"unknown kind {kind}")


def _row(fact: Any) -> dict[str, Any]:
    return fact.row() if isinstance(fact, Book) else encode(fact)
