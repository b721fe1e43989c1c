"""The data API's facts in Alpaca's words: prices and sizes are numbers, field names one or two letters.

`at` says how a time is written: as text for REST, left alone for the stream, whose encoder knows times.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from athena.model import Bar, Quote, Trade
from athena.simulator.wire import Json, time

At = Callable[[datetime], Any]


def quote(quote: Quote, at: At = time) -> Json:
    """A quote; sizes in shares, exchange V (IEX), tape C."""
    return {
        "t": at(quote.at),
        "bx": "V",
        "bp": float(quote.bid),
        "bs": int(quote.bid_size),
        "ax": "V",
        "ap": float(quote.ask),
        "as": int(quote.ask_size),
        "c": ["R"],
        "z": "C",
    }


def trade(trade: Trade, at: At = time) -> Json:
    """A print; its id is its time in microseconds, unique within a symbol."""
    microseconds = int(trade.at.timestamp()) * 1_000_000 + trade.at.microsecond
    return {
        "t": at(trade.at),
        "x": "V",
        "p": float(trade.price),
        "s": int(trade.size),
        "c": ["@"],
        "i": microseconds,
        "z": "C",
    }


def bar(bar: Bar, at: At = time) -> Json:
    """A bar."""
    return {
        "t": at(bar.at),
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": int(bar.volume),
        "n": bar.trade_count,
        "vw": float(bar.close if bar.vwap is None else bar.vwap),
    }


def as_is(at: datetime) -> datetime:
    """The time itself, for the stream."""
    return at


def json(fact: Bar | Quote | Trade, at: At = time) -> Json:
    """Any of them."""
    if isinstance(fact, Quote):
        return quote(fact, at)
    return trade(fact, at) if isinstance(fact, Trade) else bar(fact, at)


def status(symbol: str, halted: bool, at: datetime) -> Json:
    """A trading status of the stream: halted or resumed."""
    code, message = ("H", "Trading Halt") if halted else ("T", "Trading Resumption")
    reason = ("T12", "Trading Halted; For Information Requested by Listing Market") if halted else ("", "")
    return {"T": "s", "S": symbol, "sc": code, "sm": message, "rc": reason[0], "rm": reason[1], "z": "C", "t": at}
