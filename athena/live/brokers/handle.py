"""Alpaca from a process without the engine: its own reads, the connection's state by the journal, never a stream."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from athena.config import Settings
from athena.errors import BrokerError, JournalError
from athena.live.brokers.alpaca_health import look
from athena.live.brokers.alpaca_rest import AlpacaRest
from athena.live.brokers.base import BrokerHealth, Listener
from athena.live.verdict import Approved
from athena.live.vitals import Beat
from athena.model import BrokerState

RECONNECT_SECONDS = 30.0


class AlpacaHandle(AlpacaRest):
    """A handle to the live system's broker.

    Account, orders, positions, quotes and cancels are asked of the venue directly. State and uptime are the engine's,
    from its heartbeat in the journal: without a live engine the state is DISCONNECTED, and `reason` says why.
    """

    _handles: ClassVar[dict[tuple[str, str, str], AlpacaHandle]] = {}

    @classmethod
    def get_instance(cls, settings: Settings | None = None) -> AlpacaHandle:
        settings = settings or Settings.load()
        key = (str(settings.journal_path), settings.trading_url, settings.key_id)
        return cls._handles.setdefault(key, cls(settings))

    @property
    def state(self) -> BrokerState:
        return self._look()[0]

    @property
    def reason(self) -> str:
        """Why the state is what it is, in words."""
        return self._look()[1]

    @property
    def streams(self) -> dict[str, str]:
        return dict(self._look()[2].get("streams", {}))

    def get_uptime(self) -> float:
        """Seconds the engine's broker has been connected; 0 when it is not, or there is no engine."""
        state, _, details = self._look()
        if state is not BrokerState.CONNECTED or "since" not in details:
            return 0.0
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(details["since"])).total_seconds())

    async def reconnect(self) -> bool:
        """Have the engine open its connections anew; True when it is connected afterwards.

        Raises EngineNotRunning when there is no engine, AthenaError when it did not answer in time.
        """
        from athena.journal import Journal
        from athena.live.commands import request

        if not self.settings.journal_path.exists():
            self._no_engine()
        journal = Journal.open(self.settings.journal_path, actor=f"operator {self.settings.operator}")
        try:
            return (await request(journal, "reconnect", timeout=RECONNECT_SECONDS)).ok
        finally:
            journal.close()

    async def health_check(self) -> BrokerHealth:
        """The venue as seen from here, and the engine's connection as its heartbeat tells it."""
        state, reason, details = self._look()
        problems = [] if state is BrokerState.CONNECTED else [reason]
        return await look(self, state, self.get_uptime(), dict(details.get("streams", {})), problems)

    async def submit(self, approved: Approved) -> NoReturn:
        raise BrokerError("a handle sends no orders: only the engine does.", "Ask the engine, e.g. athena flatten.")

    async def connect(self, listener: Listener) -> NoReturn:
        raise BrokerError("a handle opens no streams: Alpaca allows one per account.", "Start athena engine.")

    async def subscribe(self, symbols: Iterable[str]) -> NoReturn:
        raise BrokerError("a handle opens no streams: Alpaca allows one per account.", "Start athena engine.")

    async def close(self) -> None:
        """Close this handle's own connections; the engine's stay."""
        for key in [key for key, handle in self._handles.items() if handle is self]:
            del self._handles[key]
        self._lanes.close()

    def _look(self) -> tuple[BrokerState, str, dict[str, Any]]:
        """State, reason and details by the journal's heartbeats, read afresh."""
        from athena.journal import Journal
        from athena.live.vitals import beat

        path = self.settings.journal_path
        if not path.exists():
            return BrokerState.DISCONNECTED, "engine: not running, and it never ran here", {}
        try:
            journal = Journal.open(path, actor=f"operator {self.settings.operator}", read_only=True)
        except JournalError as error:
            return BrokerState.DISCONNECTED, f"the journal cannot be read: {error}", {}
        try:
            engine, broker = beat(journal), beat(journal, "broker")
        finally:
            journal.close()
        if engine is None or broker is None:
            return BrokerState.DISCONNECTED, "engine: not running, and it never ran here", {}
        return _judge(engine, broker)

    def _no_engine(self) -> NoReturn:
        from athena.errors import EngineNotRunning

        raise EngineNotRunning("engine: not running, and it never ran here.", "Start it: athena engine.")

    def _repr_html_(self) -> str:
        from html import escape

        state, reason, details = self._look()
        left = (
            f"{details.get('rate_limit_remaining', '?')} of {details.get('rate_limit', '?')}" if details else "not told"
        )
        streams = ", ".join(f"{name} {word}" for name, word in details.get("streams", {}).items()) or "none heard of"
        rows = [("venue", self.venue), ("state", state.value), ("up", f"{self.get_uptime():.0f} s"),
                ("streams", streams), ("requests left", left), ("as of", reason)]  # fmt: skip
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table><caption><b>broker alpaca</b></caption>{cells}</table>"

    def __repr__(self) -> str:
        state, reason, _ = self._look()
        return f"<alpaca {self.venue}, handle: {state.value}, up {self.get_uptime():.0f} s; {reason}>"


def _judge(engine: Beat, broker: Beat) -> tuple[BrokerState, str, dict[str, Any]]:
    if not engine.alive:
        return BrokerState.DISCONNECTED, f"engine: not running, {engine.silence}", {}
    if not broker.fresh:
        return BrokerState.DISCONNECTED, f"the engine says nothing of its broker, {broker.silence}", {}
    details = broker.details
    try:
        state = BrokerState(str(details.get("state")))
    except ValueError:
        return BrokerState.ERROR, f"the engine's heartbeat says {details.get('state')!r}", details
    reasons = "; ".join(f"{name}: {why}" for name, why in details.get("reasons", {}).items())
    return state, f"engine heartbeat {broker.age_seconds:.1f} s ago{'; ' + reasons if reasons else ''}", details
