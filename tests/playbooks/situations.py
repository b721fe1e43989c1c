"""Live systems to look at: busy, empty, missing, engine dead, engine alive, each with the venue dead or given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

from athena.errors import BrokerUnavailable
from athena.journal import Journal
from athena.playbooks.books.system import connect
from tests.playbooks.days import busy

BOOKS = (
    "trading_halt",
    "broker_disconnection",
    "pre_market",
    "market_open",
    "post_market",
    "drawdown_assessment",
    "correlation_matrix",
    "slippage_analysis",
    "market_volatility",
    "order_rejections",
    "guard_review",
    "monitoring",
    "limits_what_if",
    "crash_recovery",
    "data_recovery",
)
ACTING = (
    "trading_halt", "broker_disconnection", "post_market", "order_rejections", "crash_recovery", "data_recovery",
)  # fmt: skip


class Dead:
    """A venue that refuses every connection."""

    def __getattr__(self, name):
        async def refused(*arguments, **keywords):
            raise BrokerUnavailable("cannot connect to 127.0.0.1:9.", "athena simulator")

        return refused


def book(name):
    return import_module(f"athena.playbooks.books.{name}")


def place(folder: Path) -> Path:
    """Where the journal of a live system named `simulator` lies under a home."""
    path = folder / "simulator" / "journal.sqlite3"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def beat(path: Path, *, ago: float = 0.0, state: str = "connected", **details) -> None:
    """Signs of life of engine and broker, so many seconds of machine time ago."""
    told = {"mode": "active", "speed": 1, "session": "regular", "strategies": {}, "state": "running", **details}
    streams = {"trading": state, "data": "connected"}
    with Journal.open(path, "engine") as journal:
        now = datetime(2020, 3, 9, 20, 0, tzinfo=UTC)
        journal.heartbeat("engine", told, now)
        journal.heartbeat("broker", {"state": state, "streams": streams, "uptime_seconds": 12.0, "reasons": {}}, now)
    if ago:
        age(path, ago)


def age(path: Path, seconds: float) -> None:
    """Make the latest heartbeats older."""
    import sqlite3

    from athena.journal.codec import to_text

    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE heartbeats SET at = ?", (to_text(datetime.now(UTC) - timedelta(seconds=seconds)),))
    connection.close()


def situation(name: str, folder: Path) -> Path:
    """The journal's path in one of the five situations."""
    path = place(folder)
    if name == "missing":
        return path
    if name == "empty":
        Journal.open(path, "engine").close()
        return path
    busy(path)
    if name == "engine dead":
        beat(path, ago=600)
    if name == "engine alive":
        beat(path)
    return path


def look(path: Path, broker=None):
    return connect(str(path), broker=broker or Dead())
