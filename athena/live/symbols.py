"""Do the configured symbols exist at the venue? Asked before anything runs, not at the first order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from athena.config import Settings
from athena.errors import SettingsError
from athena.live.brokers.base import Asset
from athena.live.strategies.base import Strategy

SYMBOLS_MAX = 100  # asked one by one, of two hundred requests a minute; the rest is judged at its first order
AT_ONCE = 4


class Assets(Protocol):
    """What is needed of a broker here."""

    async def get_asset(self, symbol: str) -> Asset | None: ...


@dataclass(frozen=True)
class WrongSymbol:
    """A configured symbol that cannot be traded: why, and which strategies and settings name it."""

    symbol: str
    why: str
    named_by: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.symbol} (of {', '.join(self.named_by)}) {self.why}"


async def wrong_symbols(broker: Assets, settings: Settings, strategies: Iterable[Strategy]) -> list[WrongSymbol]:
    """The configured symbols the venue does not have, or does not let trade. Raises BrokerError when not answered."""
    named: dict[str, list[str]] = {}
    for strategy in strategies:
        for symbol in strategy.symbols:
            named.setdefault(symbol, []).append(f"strategy {strategy.name}")
    for symbol in settings.symbols:
        named.setdefault(symbol, []).append("the setting symbols")
    turn = asyncio.Semaphore(AT_ONCE)

    async def ask(symbol: str) -> Asset | None:
        async with turn:
            return await broker.get_asset(symbol)

    names = list(named)[:SYMBOLS_MAX]
    wrong = []
    for symbol, asset in zip(names, await asyncio.gather(*map(ask, names)), strict=True):
        if asset is None or not asset.tradable:
            why = "is unknown to the venue" if asset is None else "is not tradable at the venue"
            wrong.append(WrongSymbol(symbol, why, tuple(named[symbol])))
    return wrong


def refuse(wrong: list[WrongSymbol]) -> None:
    """Raise SettingsError naming every wrong symbol and who asked for it; nothing for an empty list."""
    if wrong:
        raise SettingsError(
            f"{'; '.join(map(str, wrong))}: nothing was started.",
            "Mend athena.toml (athena clean-watchlist shows what depends on it), or start with --safe-mode.",
        )
