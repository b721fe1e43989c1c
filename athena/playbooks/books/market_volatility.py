"""Is the market fit to trade in? Volatility, spread, volume, gaps and the market-wide move, against usual."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pandas as pd

from athena.analysis import market_conditions, style
from athena.analysis.assessment import Assessment, Section
from athena.analysis.tables import Column
from athena.errors import AthenaError
from athena.journal.codec import from_text
from athena.model import trading_date
from athena.playbooks.books import checks, market, pictures
from athena.playbooks.books.system import System
from athena.playbooks.books.telling import answers, reframe, table, unknown

TITLE = "Market conditions"
QUESTIONS = {
    "symbols": "How wild is each symbol, against usual for this time of day?",
    "quotes": "What are the quotes and spreads now?",
}

SPREAD_WINDOW = timedelta(minutes=5)  # without a quote in it nothing is said of spreads now


@answers(TITLE, QUESTIONS)
def assess(
    system: System, symbols: str = "", sessions: int = 12, minutes: int = 5, index: str = market.INDEX
) -> Assessment:
    """The symbols given (comma-separated), else those held and configured, at the venue's time now."""
    names = [name.strip().upper() for name in symbols.split(",") if name.strip()] or market.symbols(system)
    now, is_open = _clock(system)
    quotes = _quotes(system)
    quotes = quotes[quotes["at"] <= now]
    shown = latest(system, names)
    try:
        bars = market.bars(system, [*names, index], sessions=sessions, minutes=minutes)
    except AthenaError as error:
        told = unknown(
            TITLE, QUESTIONS, system, f"The venue gave no prices: {error.message}", "`athena check-brokers`."
        )
        return replace(told, sections={**told.sections, "quotes": shown})
    has_index = bool((bars["symbol"] == index).any())
    judged = market_conditions.assess(
        bars[bars["symbol"].isin(names) | (bars["symbol"] == index)],
        now,
        quotes=quotes if len(quotes) and quotes["at"].iloc[-1] > now - SPREAD_WINDOW else None,
        market=index if has_index else None,
        market_open=is_open,
    )
    told = reframe(judged, TITLE, QUESTIONS, system, *([checks.market_data(system)] if is_open else []))
    words = "" if is_open else " The market is closed: what is judged is the last half hour before."
    return replace(told, sections={**told.sections, "quotes": shown}, reason=told.reason + words)


def _clock(system: System) -> tuple[datetime, bool]:
    """The venue's time and whether it is open: asked, else the engine's last word and the exchange's sessions."""
    if system.alive:
        with suppress(AthenaError):
            clock = system.ask(lambda broker: broker.get_clock())
            return clock.at, clock.is_open
    now = system.venue_now or system.read_at
    session = system.days.on(trading_date(now))
    return now, session is not None and session.opens <= now < session.closes


def _quotes(system: System) -> pd.DataFrame:
    """The quotes that the journal kept with each order and fill, and the latest of the engine."""
    rows = system.journal.query(
        "SELECT symbol, intended_venue_at AS at, bid, ask FROM orders"
        " WHERE bid IS NOT NULL AND intended_venue_at IS NOT NULL"
        " UNION ALL SELECT symbol, at, bid, ask FROM fills WHERE bid IS NOT NULL"
        " UNION ALL SELECT symbol, venue_at, bid, ask FROM marks WHERE bid IS NOT NULL"
    )
    frame = pd.DataFrame([tuple(row) for row in rows], columns=["symbol", "at", "bid", "ask"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True, format="ISO8601")
    frame[["bid", "ask"]] = frame[["bid", "ask"]].astype(float)
    return frame.sort_values("at", ignore_index=True)


def latest(system: System, names: list[str]) -> Section:
    """The engine's latest quotes of these symbols, with their spread and age."""
    rows = []
    for row in system.journal.query("SELECT * FROM marks WHERE bid IS NOT NULL AND ask IS NOT NULL ORDER BY symbol"):
        if row["symbol"] in names:
            bid, ask = float(row["bid"]), float(row["ask"])
            age = (datetime.now(UTC) - from_text(row["at"])).total_seconds()
            rows.append([row["symbol"], bid, ask, (ask - bid) / (ask + bid) * 2e4, from_text(row["venue_at"]), age])
    columns = [
        Column("symbol", "Symbol"),
        Column("bid", "Bid", style.usd),
        Column("ask", "Ask", style.usd),
        Column("spread", "Spread, bps", style.bps),
        Column("at", "Quoted", style.moment),
        Column("age", "Age", style.span),
    ]
    found = table("Latest quotes of the engine", rows, *columns, empty="The engine left no quotes.")
    wide = {row[0]: row[3] for row in sorted(rows, key=lambda row: -row[3])}
    draw = partial(pictures.bars, wide, "Spread, bps of the mid", form=",.1f") if wide else None
    return Section(QUESTIONS["quotes"], "Age is of machine time: an old quote refuses orders.", (found,), draw)
