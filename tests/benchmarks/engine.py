"""Quotes through the engine's `process`, guard and two strategies included, beside reading the same tape alone."""

import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from athena.config_tables import StrategySettings
from athena.live.brokers.base import QuoteReceived
from athena.live.deciding import Deciders
from athena.live.strategies import make_strategies
from tests.benchmarks.rows import Row
from tests.engine.session import START, SYMBOLS, Trading

SECONDS = 3000


def rows():
    with tempfile.TemporaryDirectory() as name:
        strategies = (
            StrategySettings("reversion", "mean_reversion", SYMBOLS, {}),
            StrategySettings("breakout", "momentum", SYMBOLS, {}),
        )
        trading = Trading(Path(name))
        try:
            made = make_strategies(replace(trading.settings, strategies=strategies))
            tape = trading.exchange.tape
            began = time.perf_counter()
            times = [START + timedelta(seconds=second) for second in range(1, SECONDS)]
            quotes = [tape.quote(symbol, at) for at in times for symbol in SYMBOLS]
            reading = len(quotes) / (time.perf_counter() - began)
            halted = _rate(trading, quotes)
            thinking = _rate(_with(trading, made), quotes)
        finally:
            trading.close()
    beside = "reading the tape alone"
    return [
        Row("engine, one idle strategy", halted, "quotes/s", beside, reading, reading / halted),
        Row("engine, two strategies on each quote", thinking, "quotes/s", beside, reading, reading / thinking),
    ]


def _with(trading, strategies):
    engine = trading.engine
    engine.deciders = Deciders(strategies, engine.journal, engine.book)
    return trading


def _rate(trading, quotes):
    began = time.perf_counter()
    for quote in quotes:
        trading.engine.process(QuoteReceived(quote))
    return len(quotes) / (time.perf_counter() - began)
