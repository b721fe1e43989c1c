"""Alpaca over REST: every read, the cancels, and the account's own kill switch, each on the lane it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote as url_quote

from athena.config import Settings
from athena.errors import AuthenticationFailed, BrokerError, BrokerUnavailable, OrderRejected
from athena.live.brokers import alpaca_wire as wire
from athena.live.brokers.alpaca_fields import Malformed, cut, text
from athena.live.brokers.alpaca_lanes import Lanes
from athena.live.brokers.base import Asset, CancelResult, Rows, Timeframe, Unreadable
from athena.live.brokers.http import READ_ATTEMPTS, Lane, ask
from athena.model import Account, Bar, CashFlow, Clock, Fill, Order, Position, Quote

T = TypeVar("T")
Row = TypeVar("Row")
log = logging.getLogger(__name__)

ORDERS_PAGE = 500
ACTIVITIES_PAGE = 100
MOST_PAGES = 1000  # a venue that pages in circles must not keep us for ever
KNOWN_ORDERS = 100_000
LOOKUPS_MAX = 5


class AlpacaRest:
    """What can be asked of Alpaca without a stream; shared by the engine's broker and by handles."""

    name = "alpaca"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.venue = settings.venue
        self._lanes = Lanes(settings)
        self.headroom = self._lanes.headroom
        self._rest_answers = True
        self._client_ids: dict[str, str] = {}  # broker order id -> client order id: activities know only the first

    async def get_account(self) -> Account:
        raw = await self._get("account", "/account")
        return self._parsed("account", raw, lambda row: wire.account(row, self.venue))

    async def get_clock(self) -> Clock:
        raw = await self._get("clock", "/clock")
        return self._parsed("clock", raw, lambda row: wire.clock(row, self.headroom.speed))

    async def get_calendar(self, start: date, end: date) -> dict[date, tuple[str, str]]:
        """The venue's own trading days from one date to another, with open and close as HH:MM in New York."""
        query = {"start": start.isoformat(), "end": end.isoformat()}
        return self._parsed("calendar", await self._get("calendar", "/calendar", query), _calendar)

    async def get_positions(self) -> Rows[Position]:
        return self._rows("positions", await self._get("positions", "/positions"), wire.position)

    async def get_orders(
        self, status: str = "open", after: datetime | None = None, symbols: Iterable[str] | None = None
    ) -> Rows[Order]:
        query: dict[str, Any] = {"status": status, "limit": ORDERS_PAGE, "direction": "asc", "nested": "false"}
        if symbols is not None:
            query["symbols"] = ",".join(symbols)
            if not query["symbols"]:
                return Rows()
        found: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = await self._get("orders", "/orders", query | ({"after": wire.rfc3339(after)} if after else {}))
            if not isinstance(page, list):
                break
            before = len(found)
            found |= {str(row.get("id")) if isinstance(row, dict) else repr(row): row for row in page}
            if len(page) < ORDERS_PAGE:
                return self._rows("orders", list(found.values()), self._order)
            if len(found) == before:
                break
            last = self._parsed("orders", page[-1], wire.order).submitted_at
            # `after` is exclusive: step back a little, so that orders of the same instant are not passed over.
            after = last - timedelta(microseconds=1) if last else after
        raise BrokerUnavailable("orders: the venue's pages do not end.", "Ask for fewer: a later `after`.")

    async def get_order(self, client_order_id: str) -> Order | None:
        raw = await self._find("order", "/orders:by_client_order_id", {"client_order_id": client_order_id})
        return None if raw is None else self._parsed("order", raw, self._order)

    async def get_fills(self, after: datetime | None) -> Rows[Fill]:
        raw = await self._activities("/account/activities/FILL", {}, after)
        raw = [row for row in raw if not (isinstance(row, dict) and wire.amends(row))]
        await self._learn_client_ids([row for row in raw if isinstance(row, dict)])
        return self._rows("fills", raw, lambda row: wire.fill(row, self._client_ids.get(str(row.get("order_id")), "")))

    async def get_cash_flows(self, after: datetime | None) -> Rows[CashFlow]:
        raw = await self._activities("/account/activities", {"activity_types": wire.CASH_FLOW_TYPES}, after)
        kept = [row for row in raw if not (isinstance(row, dict) and row.get("status") == "canceled")]
        return self._rows("cash flows", kept, wire.cash_flow)

    async def get_quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        query = {"symbols": ",".join(symbols), "feed": self.settings.data_feed}
        if not query["symbols"]:
            return {}
        raw = await self._get("quotes", "/stocks/quotes/latest", query, lane=self._lanes.data)
        found: dict[str, Quote] = {}
        for symbol, row in self._mapping("quotes", raw, "quotes").items():
            try:
                if quote := wire.quote(symbol, row):
                    found[symbol] = quote
            except Malformed as error:
                self._report(Unreadable("quotes", f"{symbol}: {error}", cut(row)))
        return found

    async def get_bars(
        self, symbols: Iterable[str], start: datetime, end: datetime, timeframe: Timeframe = "1Day"
    ) -> dict[str, tuple[Bar, ...]]:
        query = {
            "symbols": ",".join(symbols),
            "timeframe": wire.timeframe(timeframe),
            "start": wire.rfc3339(start),
            "end": wire.rfc3339(end),
            "feed": self.settings.data_feed,
            "adjustment": "split",  # unasked, Alpaca tells raw prices: a split of ten would be a fall of 90 %
            "limit": 10_000,
        }
        found: dict[str, list[Bar]] = {}
        for _ in range(MOST_PAGES):
            raw = await self._get("bars", "/stocks/bars", query, lane=self._lanes.data)
            for symbol, rows in self._mapping("bars", raw, "bars").items():
                bars = self._rows("bars", rows, lambda row, symbol=symbol: wire.bar(symbol, row))  # type: ignore[misc]
                found.setdefault(symbol, []).extend(bars)
            if not raw.get("next_page_token"):
                return {symbol: tuple(bars) for symbol, bars in found.items()}
            query["page_token"] = raw["next_page_token"]
        raise BrokerUnavailable("bars: the venue's pages do not end.", "Ask for a shorter time.")

    async def get_asset(self, symbol: str) -> Asset | None:
        raw = await self._find("asset", f"/assets/{url_quote(symbol, safe='')}")
        return None if raw is None else self._parsed("asset", raw, wire.asset)

    async def cancel(self, broker_order_id: str) -> CancelResult:
        """Ask for a cancel; 404 and 422 (gone, or final already) come back as the result they are."""
        try:
            await self._ask(self._lanes.urgent, "cancel", lambda client: client.cancel_order_by_id(broker_order_id), 1)
        except OrderRejected as error:
            if error.status in {404, 422} and error.code:
                return CancelResult(broker_order_id, error.status, error.message)
            raise
        return CancelResult(broker_order_id, 204)

    async def cancel_all(self) -> Rows[CancelResult]:
        raw = await self._ask(self._lanes.urgent, "cancel all", lambda client: client.cancel_orders(), 1)
        return self._rows("cancels", [] if raw is None else raw, wire.cancel_result)

    async def close_position(self, symbol: str) -> str:
        """The venue's own close of a whole position, which cannot overshoot it; what it answered, in words.

        For an emergency without an engine: it passes neither guard nor journal. Asked once. Raises OrderRejected.
        """
        path = f"/positions/{url_quote(symbol, safe='')}"
        raw = await self._ask(self._lanes.urgent, f"close {symbol}", lambda client: client.delete(path), 1)
        order = self._parsed("order", raw, self._order)
        return f"order {order.broker_order_id} {order.status.value}"

    async def suspend_trading(self, suspend: bool) -> bool:
        """The account's own switch: the whole configuration is sent, as Alpaca wants, and read back.

        To suspend waits for no rate limit, and tries each request once: who must be sure asks again.
        """
        lane, path, attempts = self._lanes.urgent, "/account/configurations", 1 if suspend else READ_ATTEMPTS
        current = await self._get("configuration", path, None, lane, attempts)
        if not isinstance(current, dict):
            raise BrokerUnavailable(f"configuration: not understood: {cut(current)}.")
        body = current | {"suspend_trade": suspend}
        await self._ask(lane, "configuration", lambda client: client.patch(path, body), 1)
        now = await self._get("configuration", path, None, lane, attempts)
        return isinstance(now, dict) and now.get("suspend_trade") is True

    # ------------------------------------------------------------------------------------------- asking, and reading

    async def _ask(self, lane: Lane[Any], what: str, function: Callable[[Any], T], attempts: int = READ_ATTEMPTS) -> T:
        """One request on a lane; outside the data lane its outcome also tells whether the venue answers."""
        if lane is self._lanes.data:
            return await ask(lane, self._lanes.data_headroom, f"{self.name} {what}", function, attempts)
        try:
            answer = await ask(lane, self.headroom, f"{self.name} {what}", function, attempts)
        except BrokerError as error:
            self._note_answer(not isinstance(error, (BrokerUnavailable, AuthenticationFailed)), str(error))
            raise
        self._note_answer(True, "requests are answered")
        return answer

    async def _get(
        self, what: str, path: str, query: dict[str, Any] | None = None, lane: Lane[Any] | None = None,
        attempts: int = READ_ATTEMPTS,
    ) -> Any:  # fmt: skip
        return await self._ask(lane or self._lanes.reads, what, lambda client: client.get(path, query), attempts)

    async def _find(self, what: str, path: str, query: dict[str, Any] | None = None) -> Any:
        """The object, or None when the venue itself, and not some proxy, says there is none."""
        try:
            return await self._get(what, path, query)
        except OrderRejected as error:
            if error.status == 404 and error.code:
                return None
            raise

    async def _activities(self, path: str, query: dict[str, Any], after: datetime | None) -> list[Any]:
        query = query | {"direction": "asc", "page_size": ACTIVITIES_PAGE}
        if after is not None:
            query["after"] = wire.rfc3339(after)
        found: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = await self._get("activities", path, query)
            if not isinstance(page, list):
                raise BrokerUnavailable(f"activities: a list is expected, not {cut(page)}.")
            before = len(found)
            found |= {str(row.get("id")) if isinstance(row, dict) else repr(row): row for row in page}
            if len(page) < ACTIVITIES_PAGE:
                return list(found.values())
            if len(found) == before or not isinstance(page[-1], dict):
                break
            query["page_token"] = page[-1].get("id")
        raise BrokerUnavailable("activities: the venue's pages do not end.", "Ask for fewer: a later `after`.")

    async def _learn_client_ids(self, fills: list[dict[str, Any]]) -> None:
        """Find the client order ids of these fills' orders: many by the list of orders, the rest one by one."""

        def unknown() -> list[str]:
            return sorted({str(row.get("order_id")) for row in fills} - self._client_ids.keys())

        if len(unknown()) > LOOKUPS_MAX:
            first = min(
                str(row.get("transaction_time")) for row in fills if row.get("order_id") not in self._client_ids
            )
            with suppress(ValueError):  # a time that cannot be read: one by one then
                await self.get_orders("all", after=datetime.fromisoformat(first) - timedelta(days=1))
        for order_id in unknown():
            raw = await self._find("order", f"/orders/{url_quote(order_id, safe='')}")
            if raw is not None:
                self._parsed("order", raw, self._order)

    def _order(self, raw: Any) -> Order:
        doubts: list[str] = []
        order = wire.order(raw, doubts)
        self._know(order)
        for doubt in wire.unreadable("order", doubts, raw):
            self._report(doubt)
        return order

    def _know(self, order: Order) -> None:
        if len(self._client_ids) >= KNOWN_ORDERS:
            self._client_ids.pop(next(iter(self._client_ids)))
        self._client_ids[order.broker_order_id] = order.client_order_id

    def _rows(self, source: str, raw: Any, parse: Callable[[Any], Row]) -> Rows[Row]:
        try:
            rows = wire.rows(source, raw, parse)
        except Malformed as error:
            raise BrokerUnavailable(f"{self.name} {error}.", "The venue's answer is not understood.") from error
        for row in rows.unreadable:
            self._report(row)
        return rows

    def _parsed(self, source: str, raw: Any, parse: Callable[[Any], T]) -> T:
        try:
            return parse(raw)
        except Malformed as error:
            self._report(Unreadable(source, str(error), cut(raw)))
            raise BrokerUnavailable(f"{self.name} {source}: not understood: {error}.") from error

    def _mapping(self, source: str, raw: Any, key: str) -> dict[str, Any]:
        if not isinstance(raw, dict) or not isinstance(raw.get(key) or {}, dict):
            raise BrokerUnavailable(f"{self.name} {source}: an object is expected, not {cut(raw)}.")
        return raw.get(key) or {}

    # ---------------------------------------------------------------------------------- what a subclass may listen to

    def _report(self, unreadable: Unreadable) -> None:
        """Something of the venue's could not be read; never lost in silence."""
        log.warning("%s: %s: %s", unreadable.source, unreadable.reason, unreadable.raw)

    def _note_answer(self, answered: bool, reason: str) -> None:
        self._rest_answers = answered


def _calendar(raw: Any) -> dict[date, tuple[str, str]]:
    if not isinstance(raw, list):
        raise Malformed(f"a list is expected, not {cut(raw)}")
    return {date.fromisoformat(text(row, "date")): (text(row, "open"), text(row, "close")) for row in raw}
