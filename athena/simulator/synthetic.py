"""The default market: intraday paths that end each day at the real close of twenty stocks in the spring of 2020.

A day's numbers depend on (seed, symbol, date) alone, never on what was asked before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from importlib.resources import files

import numpy as np

from athena.errors import SimulatorError
from athena.simulator import sessions
from athena.simulator.assets import ASSETS
from athena.simulator.paths import Anchor, make_day
from athena.simulator.symbol_day import UNIT, Ints, SymbolDay, dollars
from athena.simulator.tape import DayTape, Shock

ANCHOR_FILE = "daily_close_2019-12_2020-06.csv"
_CENT = Decimal("0.01")
_HALF_WINDOW = 4  # days each side whose returns give a day's volatility


class SyntheticTape(DayTape):
    """A market made up between real daily closes (rounded to the cent), the same for everyone with the same seed.

    Quotes change at most once a second, prints sum a second's trades. The file's first date only serves as a previous
    close. `symbols` narrows the tape; SimulatorError names a symbol it has no closes for.
    """

    def __init__(
        self, seed: int = 1, symbols: Sequence[str] | None = None, shocks: Iterable[Shock] = (), *, cache_days: int = 64
    ) -> None:
        dates, closes = _anchors()
        unknown = [symbol for symbol in symbols or () if symbol not in closes]
        if unknown:
            raise SimulatorError(
                f"The synthetic tape has no closes for {', '.join(map(repr, unknown))}.", f"It has {', '.join(closes)}."
            )
        self.seed = seed
        self._dates = dates
        self._closes = closes
        days = [_session(day) for day in dates[1:]]
        super().__init__(ASSETS, symbols or tuple(closes), days, shocks, cache_days)

    def _load(self, symbol: str, index: int) -> SymbolDay:
        # `index` counts sessions, which begin with the file's second date.
        closes = self._closes[symbol]
        volatility, correlation = _statistics(symbol)
        anchor = Anchor(
            asset=self.assets[symbol],
            session=self._days[index],
            previous_date=self._dates[index],
            previous_close=int(closes[index]),
            close=int(closes[index + 1]),
            volatility=float(volatility[index]),
            correlation=correlation,
        )
        return make_day(self.seed, anchor)

    def _close(self, symbol: str, index: int) -> Decimal | None:
        day = self._days[index]
        if any(shock.touches(symbol, day.open, day.close) for shock in self.shocks):
            return super()._close(symbol, index)
        return dollars(int(self._closes[symbol][index + 1]))

    def previous_close(self, symbol: str, at: datetime) -> Decimal | None:
        """The real close of the session before the New York date of `at`, rounded to the cent."""
        found = super().previous_close(symbol, at)
        return dollars(int(self._closes[symbol][0])) if found is None else found

    def __repr__(self) -> str:
        first, last = self._days[0].date, self._days[-1].date
        return f"<SyntheticTape seed {self.seed}, {len(self.symbols)} symbols, {first} to {last}>"


def _session(day: date) -> sessions.Session:
    found = sessions.session_on(day)
    if found is None:
        raise SimulatorError(f"The anchor file has a close for {day}, which is no trading day.", "Reinstall Athena.")
    return found


@lru_cache(maxsize=1)
def _anchors() -> tuple[list[date], dict[str, Ints]]:
    """Dates and closes by symbol, in `UNIT`s and whole cents."""
    text = files("athena.simulator").joinpath("data", ANCHOR_FILE).read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    closes = {
        asset.symbol: np.array([_units(Decimal(row[asset.anchor]) * asset.scale) for row in rows])
        for asset in ASSETS.values()
        if asset.anchor
    }
    return [date.fromisoformat(row["date"]) for row in rows], closes


def _units(price: Decimal) -> int:
    return int(price.quantize(_CENT, ROUND_HALF_EVEN) * UNIT)


@lru_cache(maxsize=64)
def _statistics(symbol: str) -> tuple[Ints, float]:
    """(a day's volatility from the returns around it, correlation of the returns with the average of all stocks)."""
    returns = {name: np.diff(np.log(closes)) for name, closes in _anchors()[1].items()}
    market = np.mean([series for name, series in returns.items() if ASSETS[name].anchor == name], axis=0)
    mine = returns[symbol]
    window = np.ones(2 * _HALF_WINDOW + 1)
    variance = np.convolve(mine**2, window, "same") / np.convolve(np.ones_like(mine), window, "same")
    return np.maximum(np.sqrt(variance), 0.006), float(np.clip(np.corrcoef(mine, market)[0, 1], 0.1, 0.95))
