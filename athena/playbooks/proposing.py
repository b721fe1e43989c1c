"""Next day's limits: the evidence from journal and venue, and each proposal over every journaled order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from athena.analysis.assessment import Assessment
from athena.config import Settings
from athena.errors import AthenaError
from athena.journal.journal import Journal
from athena.live.limit_proposals import Evidence, Proposal
from athena.model import is_transfer

if TYPE_CHECKING:
    import pandas as pd

    from athena.journal.event import Event

DAYS = 20
SAMPLE = timedelta(minutes=5)


def gather(settings: Settings, journal: Journal, record: Sequence[Event], *, ask_venue: bool = True) -> Evidence:
    """Equity and P&L from the journal; volatility and volume from the venue's daily bars, else journaled prices."""
    from athena.analysis.execution import busiest_minute
    from athena.core import frames

    pnl = daily_pnl(journal)
    last = journal.one("SELECT equity FROM equity ORDER BY sequence DESC LIMIT 1")
    orders = frames.orders(journal)
    sent = orders.loc[~orders["status"].isin(["refused", "not_sent"]), "intended_venue_at"].dropna()
    symbols = sorted({str(e.payload["symbol"]) for e in record if e.kind == "order.intended"})
    sources = {"profit": f"{len(pnl)} journaled days"}
    volatility, volume, why = _bars(settings, symbols, record) if ask_venue and symbols else ({}, {}, "not asked")
    if volatility:
        sources["volatility"] = sources["volume"] = f"the venue's daily bars, {DAYS} days"
    else:
        volatility = _journaled_volatility(record)
        sources["volatility"] = f"prices in the journal every five minutes, nights left out ({why})"
        sources["volume"] = f"not known ({why})"
    equity = Decimal(last["equity"]) if last else None
    return Evidence(equity, pnl, volatility, volume, busiest_minute(sent) or None, sources)


def daily_pnl(journal: Journal) -> dict[date, Decimal]:
    """Profit by trading date, deposits and withdrawals left out: the day's last equity against its opening."""
    found: dict[date, Decimal] = {}
    for row in journal.query("SELECT * FROM trading_days ORDER BY trading_date"):
        day = row["trading_date"]
        end = journal.one("SELECT * FROM equity WHERE trading_date = ? ORDER BY sequence DESC LIMIT 1", (day,))
        span = (row["opened_at"], "" if end is None else end["venue_at"])
        flows = journal.query("SELECT kind, amount FROM cash_flows WHERE at > ? AND at <= ?", span)
        amounts = ((kind, Decimal(amount)) for kind, amount in flows)
        paid = sum((amount for kind, amount in amounts if is_transfer(kind, amount)), Decimal(0))
        if end is not None:
            found[date.fromisoformat(day)] = Decimal(end["equity"]) - Decimal(row["opening_equity"]) - paid
    return found


def what_if(record: Sequence[Event], wanted: Sequence[Proposal], facts: dict[str, Any]) -> Assessment:
    """Each proposal alone and all together, over every journaled order, through the guard's own checks."""
    from athena.analysis.limits_replay import ALL, assess
    from athena.live.limit_replay import replay
    from athena.live.limits import show

    together: dict[tuple[str, str], Any] = {}
    candidates: dict[str, pd.DataFrame] = {}
    for one in wanted:
        together[one.name, one.target] = one.proposed
        candidates[one.label] = replayed(replay(record, {(one.name, one.target): one.proposed}))
    if len(wanted) > 1:
        candidates[ALL] = replayed(replay(record, together))
    changes = {p.label: f"{show(p.name, p.current)} to {show(p.name, p.proposed)}" for p in wanted}
    return assess(replayed(replay(record)), candidates, changes, facts)


def replayed(judged: Sequence[Any]) -> pd.DataFrame:
    """What a replay answered, one row an order."""
    import pandas as pd

    from athena.live.limit_replay import Judged

    names = list(Judged.__slots__)
    return pd.DataFrame([[getattr(one, name) for name in names] for one in judged], columns=names)


def _bars(
    settings: Settings, symbols: list[str], record: Sequence[Event]
) -> tuple[dict[str, float], dict[str, Decimal], str]:
    """One day's volatility and the median volume of each symbol by the venue's bars up to the last journaled moment."""
    from athena.live.brokers.alpaca import AlpacaBroker
    from athena.live.check_order import wait

    end = max((e.venue_at for e in record if e.venue_at is not None), default=None)
    if end is None:
        return {}, {}, "the journal knows no venue time"
    try:
        bars = wait(AlpacaBroker.get_instance(settings).get_bars(symbols, end - timedelta(days=DAYS * 3 // 2), end))
    except AthenaError:
        return {}, {}, "the venue could not be asked"
    known = {symbol: rows[-DAYS:] for symbol, rows in bars.items() if len(rows) > 5}
    volatility = {symbol: _sigma([float(bar.close) for bar in rows]) for symbol, rows in known.items()}
    volume = {symbol: Decimal(median(bar.volume for bar in rows)) for symbol, rows in known.items()}
    return volatility, volume, "" if known else "it has too few bars"


def _sigma(closes: list[float]) -> float:
    """Standard deviation of daily log returns, about zero."""
    from math import log, sqrt

    returns = [log(b / a) for a, b in pairwise(closes) if a > 0 and b > 0]
    return sqrt(sum(r * r for r in returns) / len(returns)) if returns else 0.0


def _journaled_volatility(record: Sequence[Event]) -> dict[str, float]:
    """Of one session: the root of the mean over days of the sum of squared five-minute log returns."""
    from math import log, sqrt

    from athena.model import trading_date

    prices: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    for event in record:
        at, p = event.venue_at, event.payload
        if at is None:
            continue
        if event.kind == "equity":
            found = {symbol: float(price) for symbol, price in p["marks"].items()}
        elif event.kind in {"order.intended", "order.refused"} and p.get("bid") and p.get("ask"):
            found = {p["symbol"]: (float(p["bid"]) + float(p["ask"])) / 2}
        else:
            continue
        for symbol, price in found.items():
            series = prices[symbol]
            if price > 0 and (not series or at - series[-1][0] >= SAMPLE):
                series.append((at, price))
    volatility = {}
    for symbol, series in prices.items():
        days: dict[date, float] = defaultdict(float)
        counts: dict[date, int] = defaultdict(int)
        for (before, a), (at, b) in pairwise(series):
            if trading_date(before) == trading_date(at):
                days[trading_date(at)] += log(b / a) ** 2
                counts[trading_date(at)] += 1
        full = [total for day, total in days.items() if counts[day] >= 10]
        if full:
            volatility[symbol] = sqrt(sum(full) / len(full))
    return volatility
