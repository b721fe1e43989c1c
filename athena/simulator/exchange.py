"""The venue: accounts, matching against the tape, and time. One object, used from one thread (the server's loop)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from athena.simulator.account import VenueAccount
from athena.simulator.orders import TradeUpdate


class Now(Protocol):
    """A clock of venue time."""

    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class VenueAsset:
    """One listing as GET /v2/assets tells it; the id derives from the symbol."""

    id: str
    symbol: str
    name: str
    exchange: str = "NASDAQ"
    status: str = "active"
    tradable: bool = True
    marginable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True


class Exchange:
    """Matches every account's orders against `tape` as `clock` goes; with `state_path`, survives its process.

    `keys` maps key ids to secrets: each gets an account with `opening_cash` dollars unless the state file has it.
    Raises SimulatorError for a state file that cannot be read.
    """

    def __init__(
        self,
        tape: Any,
        clock: Now,
        state_path: Path | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        opening_cash: Decimal = Decimal(100_000),
        seed: int = 0,
    ) -> None:
        raise NotImplementedError

    def open_account(self, key_id: str, secret: str, cash: Decimal | None = None) -> VenueAccount:
        """The account of `key_id`, made with `cash` dollars where there is none; `secret` is what opens it."""
        raise NotImplementedError

    def account(self, key_id: str, secret: str) -> VenueAccount:
        """The account the key opens; VenueError 401 for a wrong one."""
        raise NotImplementedError

    def accounts(self) -> tuple[VenueAccount, ...]:
        raise NotImplementedError

    def subscribe(self, account: VenueAccount, callback: Callable[[TradeUpdate], None]) -> Callable[[], None]:
        """`callback` gets each later update of the account once, in order, after it is durable; returns unsubscribe."""
        raise NotImplementedError

    def advance(self) -> None:
        """Brings matching, expiries and stops up to the clock."""
        raise NotImplementedError

    def assets(self) -> tuple[VenueAsset, ...]:
        raise NotImplementedError

    def asset(self, symbol_or_id: str) -> VenueAsset | None:
        raise NotImplementedError

    def close(self) -> None:
        """Writes what is pending and lets go of the state file."""
        raise NotImplementedError
