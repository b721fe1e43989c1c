"""The REST routes as alpaca-py and a plain client meet them; Alpaca's description judges every answer on its way."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus
from alpaca.trading.enums import TimeInForce as Tif
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TrailingStopOrderRequest,
)

from athena.simulator.synthetic import SyntheticTape
from tests.simulator.conftest import Rest, data_client, eventually, trading_client
from tests.support.simulator import KEY, SECRET, RunningSimulator, running_simulator

SELL, BUY = OrderSide.SELL, OrderSide.BUY


def test_account_and_configurations_through_alpaca_py(simulator: RunningSimulator) -> None:
    """TradingClient reads the account, switches trading off and on, and the account says so."""
    client = trading_client(simulator)
    account = client.get_account()
    assert account.cash == account.equity == "100000"
    assert account.status.value == "ACTIVE"
    settings = client.get_account_configurations()
    settings.suspend_trade = True
    assert client.set_account_configurations(settings).suspend_trade is True
    assert client.get_account().trade_suspended_by_user is True


@pytest.mark.parametrize(
    "request_",
    [
        MarketOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY),
        MarketOrderRequest(symbol="KO", notional=250.5, side=BUY, time_in_force=Tif.DAY),
        MarketOrderRequest(symbol="KO", qty=0.25, side=BUY, time_in_force=Tif.DAY),
        LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.GTC, limit_price=20.5),
        LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, limit_price=20, extended_hours=True),
        LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.IOC, limit_price=20),
        LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.FOK, limit_price=20),
        LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.CLS, limit_price=20),
        StopOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, stop_price=99),
        StopLimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, stop_price=99, limit_price=100),
        TrailingStopOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, trail_percent=5),
        TrailingStopOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, trail_price=2.5),
    ],
    ids=lambda request: f"{request.type.value}-{request.time_in_force.value}",
)
def test_each_order_type_is_taken_as_asked(simulator: RunningSimulator, request_: Any) -> None:
    """An order of each type and time in force arrives with exactly the fields it was sent with."""
    client = trading_client(simulator)
    order = client.submit_order(request_)
    for name in ("qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent"):
        asked = getattr(request_, name, None)
        assert asked is None or Decimal(str(getattr(order, name))) == Decimal(str(asked)), name
    assert (order.type, order.time_in_force, order.side) == (request_.type, request_.time_in_force, BUY)
    assert bool(order.extended_hours) is bool(request_.extended_hours)
    found = client.get_order_by_client_id(order.client_order_id)
    assert found.id == order.id


def test_a_market_order_fills_at_once_and_moves_money(simulator: RunningSimulator) -> None:
    """A marketable order is filled when the answer to it is read, and cash and position agree with the fill."""
    client = trading_client(simulator)
    sent = client.submit_order(MarketOrderRequest(symbol="KO", qty=10, side=BUY, time_in_force=Tif.DAY))
    order = client.get_order_by_id(sent.id)
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, "10")
    position = client.get_open_position("KO")
    assert (position.qty, position.qty_available, position.side.value) == ("10", "10", "long")
    assert Decimal(client.get_account().cash) == 100_000 - 10 * Decimal(str(order.filled_avg_price))


def test_replace_and_cancel(simulator: RunningSimulator) -> None:
    """A replacement is a new order that names the old one; cancel-all answers a row for each; 204 for a single one."""
    client = trading_client(simulator)
    old = client.submit_order(LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, limit_price=20))
    new = client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=7, limit_price=21.5))
    assert (new.qty, new.limit_price, new.replaces) == ("7", "21.5", old.id)
    assert client.get_order_by_id(old.id).replaced_by == new.id
    client.cancel_order_by_id(new.id)
    assert client.get_order_by_id(new.id).status is OrderStatus.CANCELED
    for price in (20, 21):
        request = LimitOrderRequest(symbol="KO", qty=5, side=BUY, time_in_force=Tif.DAY, limit_price=price)
        client.submit_order(request)
    assert [row.status for row in client.cancel_orders()] == [200, 200]
    assert client.get_orders() == []


def test_order_list_filters(rest: Rest, simulator: RunningSimulator) -> None:
    """The list obeys status, symbols, side, limit, direction, after and until."""
    sent = [
        rest.order(type="limit", limit_price="20").json(),
        rest.order(type="limit", limit_price="30", symbol="AAPL").json(),
        rest.order(qty="1").json(),
    ]
    ids = [order["id"] for order in sent]

    def listed(**query: Any) -> list[str]:
        return [order["id"] for order in rest.get("/v2/orders", params=query).json()]

    assert listed() == [ids[1], ids[0]]
    assert listed(status="closed") == [ids[2]]
    assert listed(status="all", direction="asc") == ids
    assert listed(status="all", limit=1) == [ids[2]]
    assert listed(status="all", symbols="AAPL,MSFT") == [ids[1]]
    assert listed(status="all", side="sell", nested="True") == []
    assert listed(status="all", after=sent[0]["submitted_at"]) == [ids[2], ids[1]]
    assert listed(status="all", until=sent[1]["submitted_at"]) == [ids[0]]
    request = GetOrdersRequest(status=QueryOrderStatus.ALL, symbols=["AAPL"], after=datetime(2020, 3, 9, tzinfo=UTC))
    assert [str(order.id) for order in trading_client(simulator).get_orders(request)] == [ids[1]]


def test_closing_positions(simulator: RunningSimulator) -> None:
    """A position closes in part by quantity or percentage, and all of them at once with their orders cancelled."""
    client = trading_client(simulator)
    for symbol in ("KO", "XOM"):
        client.submit_order(MarketOrderRequest(symbol=symbol, qty=20, side=BUY, time_in_force=Tif.DAY))
    assert {position.symbol for position in client.get_all_positions()} == {"KO", "XOM"}
    part = client.close_position("KO", ClosePositionRequest(qty="5"))
    assert isinstance(part, Order)
    assert (part.side, part.qty) == (SELL, "5")
    client.close_position("KO", ClosePositionRequest(percentage="20"))
    assert client.get_open_position("KO").qty == "12"
    client.submit_order(LimitOrderRequest(symbol="XOM", qty=20, side=SELL, time_in_force=Tif.DAY, limit_price=500))
    refused = {row.symbol: row.status for row in client.close_all_positions(cancel_orders=False)}
    assert refused == {"KO": 200, "XOM": 403}
    rows = client.close_all_positions(cancel_orders=True)
    assert [(row.symbol, row.status) for row in rows] == [("XOM", 200)]
    eventually(lambda: client.get_all_positions() == [], "positions stayed open")


def test_a_short_position_is_negative(rest: Rest) -> None:
    """Selling what is not held makes a short position: side short, negative quantity and value."""
    rest.order(side="sell", qty="4")
    position = rest.get("/v2/positions/KO").json()
    assert (position["side"], position["qty"]) == ("short", "-4")
    assert Decimal(position["market_value"]) < 0
    assert rest.get(f"/v2/positions/{position['asset_id']}").json()["symbol"] == "KO"


def test_clock_calendar_and_assets(simulator: RunningSimulator, rest: Rest) -> None:
    """The clock is the venue's, in New York time, with its speed told; the calendar knows early closes and holidays."""
    client = trading_client(simulator)
    clock = client.get_clock()
    assert clock.is_open
    assert clock.next_close == datetime(2020, 3, 9, 20, tzinfo=UTC)
    raw = rest.get("/v2/clock")
    assert raw.json()["timestamp"].endswith("-04:00")
    assert raw.headers["X-Simulator-Speed"] == "1"
    days = client.get_calendar(GetCalendarRequest(start=date(2019, 11, 27), end=date(2019, 11, 30)))
    assert [f"{day.date} {day.close:%H:%M}" for day in days] == ["2019-11-27 16:00", "2019-11-29 13:00"]
    asset = client.get_asset("KO")
    assert asset.tradable
    assert client.get_asset(str(asset.id)).symbol == "KO"
    assert {"KO", "ZZDEL"} <= {one.symbol for one in client.get_all_assets()}
    active = rest.get("/v2/assets", params={"status": "active", "asset_class": "us_equity"}).json()
    assert "ZZDEL" not in {one["symbol"] for one in active}


def test_history_through_alpaca_py(simulator: RunningSimulator) -> None:
    """Bars (minute, day, week), quotes and trades arrive for several symbols, and never from the venue's future."""
    client = data_client(simulator)
    morning, now = datetime(2020, 3, 9, 13, 30, tzinfo=UTC), datetime(2020, 3, 9, 14, 5, tzinfo=UTC)
    minutes = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=["KO", "XOM"], timeframe=TimeFrame.Minute, start=morning)
    )
    assert set(minutes.data) == {"KO", "XOM"}
    times = [bar.timestamp for bar in minutes["KO"]]
    assert len(times) >= 29
    assert times == sorted(times)
    assert times[-1] + timedelta(minutes=1) <= now
    days = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="KO", timeframe=TimeFrame.Day, start=datetime(2020, 3, 2, tzinfo=UTC))
    )["KO"]
    weeks = client.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="KO", timeframe=TimeFrame(1, TimeFrameUnit.Week), start=datetime(2020, 3, 2, tzinfo=UTC)
        )
    )["KO"]
    assert [day.timestamp.day for day in days] == [2, 3, 4, 5, 6, 9]
    assert weeks[0].close == days[4].close
    assert weeks[0].volume == sum(day.volume for day in days[:5])
    quotes = client.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="KO", start=morning, limit=5))["KO"]
    assert len(quotes) == 5
    assert all(quote.bid_price < quote.ask_price for quote in quotes)
    trades = client.get_stock_trades(StockTradesRequest(symbol_or_symbols="KO", start=morning, limit=3, sort="desc"))[
        "KO"
    ]
    assert trades[0].timestamp > trades[2].timestamp > morning.replace(minute=59)


def test_latest_and_snapshots(simulator: RunningSimulator, rest: Rest) -> None:
    """The latest quote, trade and bar and the snapshot agree, for several symbols and by the path of one."""
    client = data_client(simulator)
    both = ["KO", "XOM"]
    assert set(client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=both))) == set(both)
    assert client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))["KO"].price > 0
    assert client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="KO"))["KO"].volume > 0
    snapshot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=both))["KO"]
    assert snapshot.previous_daily_bar.timestamp < snapshot.daily_bar.timestamp < snapshot.latest_quote.timestamp
    for path in ("quotes/latest", "trades/latest", "bars/latest", "snapshot"):
        assert rest.get(f"/v2/stocks/ko/{path}").json()["symbol"] == "KO"
    for kind in ("bars", "quotes", "trades"):
        one = rest.get(f"/v2/stocks/KO/{kind}", params={"timeframe": "5Min", "limit": 3}).json()
        assert len(one[kind]) == 3
        assert one["next_page_token"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("kind", ["bars", "trades"])
def test_pages_put_together_are_the_whole(rest: Rest, kind: str, sort: str) -> None:
    """Small pages over two symbols, followed by their tokens, give each row of the whole answer once, in order."""
    query = {"symbols": "XOM,KO", "timeframe": "1Min", "start": "2020-03-06T20:50:00Z", "sort": sort}
    query["end"] = "2020-03-09T13:35:00Z" if kind == "bars" else "2020-03-06T21:00:00Z"
    whole = rest.get(f"/v2/stocks/{kind}", params={**query, "limit": 10_000}).json()
    assert whole["next_page_token"] is None
    assert all(len(rows) > 300 for rows in whole[kind].values())
    pages: dict[str, list[Any]] = {}
    token = None
    while True:
        page = rest.get(f"/v2/stocks/{kind}", params={**query, "limit": 397, "page_token": token}).json()
        for symbol, rows in page[kind].items():
            pages.setdefault(symbol, []).extend(rows)
        token = page["next_page_token"]
        if token is None:
            break
    assert pages == whole[kind]


def test_activities_pages(rest: Rest) -> None:
    """FILL activities page by the last id, by type in the path or the query; deposits are activities of their own."""
    for _ in range(5):
        rest.order(qty="1")
    rest.post("/simulator/deposit", json={"amount": "500.25"})
    fills = rest.get("/v2/account/activities/FILL", params={"direction": "asc"}).json()
    assert [fill["qty"] for fill in fills] == ["1"] * 5
    pages: list[str] = []
    while page := rest.get(
        "/v2/account/activities",
        params={"activity_types": "FILL", "direction": "asc", "page_size": 2, "page_token": pages[-1] if pages else ""},
    ).json():
        pages += [fill["id"] for fill in page]
    assert pages == [fill["id"] for fill in fills]
    flows = rest.get("/v2/account/activities", params={"category": "non_trade_activity"}).json()
    assert "500.25" in [flow["net_amount"] for flow in flows]
    after = rest.get("/v2/account/activities/FILL", params={"after": fills[-1]["transaction_time"]}).json()
    assert after == []


def test_portfolio_history(simulator: RunningSimulator, rest: Rest) -> None:
    """The history has as many equities as times, and a deposit is not a profit."""
    rest.post("/simulator/deposit", json={"amount": 1000})
    history = trading_client(simulator).get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min"))
    assert len(history.timestamp) == len(history.equity) == len(history.profit_loss) > 0
    assert all(abs(profit) < 1 for profit in history.profit_loss)
    assert rest.get("/v2/account").json()["cash"] == "101000"


def test_two_accounts_do_not_see_each_other(tape: SyntheticTape) -> None:
    """Each key has its own account, orders and money."""
    with running_simulator(tape=tape, keys={"A": "a-secret", "B": "b-secret"}) as simulator:
        first, second = Rest(simulator.url, "A", "a-secret"), Rest(simulator.url, "B", "b-secret")
        order = first.order().json()
        assert second.get("/v2/orders", params={"status": "all"}).json() == []
        assert second.get(f"/v2/orders/{order['id']}").status_code == 404
        assert first.get("/v2/account").json()["id"] != second.get("/v2/account").json()["id"]


def test_shocks_and_state(tape: SyntheticTape) -> None:
    """A shock laid by the admin route widens the next quotes; the state tells venue time, speed and phase."""
    with running_simulator(tape=SyntheticTape(7, ("KO",)), manual=True) as simulator:
        rest = Rest(simulator.url)
        before = rest.get("/v2/stocks/KO/quotes/latest").json()["quote"]
        shock = rest.post("/simulator/shocks", json={"symbol": "KO", "seconds": 60, "spread_multiple": 50})
        assert shock.status_code == 200
        simulator.set_time(simulator.clock.now() + timedelta(seconds=5))
        after = rest.get("/v2/stocks/KO/quotes/latest").json()["quote"]
        assert after["ap"] - after["bp"] > 5 * (before["ap"] - before["bp"])
        state = rest.get("/simulator/state").json()
        assert (state["phase"], state["speed"], state["symbols"]) == ("open", 1, ["KO"])
        simulator.set_time(datetime(2020, 3, 9, 20, 1, tzinfo=UTC))
        state = rest.get("/simulator/state").json()
        assert (state["phase"], state["is_open"]) == ("after_hours", False)


def test_order_log_has_a_line_for_each_order_request(tape: SyntheticTape, tmp_path: Path) -> None:
    """Every POST, PATCH and DELETE that reaches the venue is a line with its times, client order id and outcome."""
    log = tmp_path / "orders.jsonl"
    with running_simulator(tape=tape, order_log=log) as simulator:
        rest = Rest(simulator.url)
        order = rest.order(type="limit", limit_price="20", client_order_id="mine-1").json()
        rest.order(client_order_id="mine-2", qty="0")
        rest.delete(f"/v2/orders/{order['id']}")
        rest.get("/v2/orders")
        Rest(simulator.url, "WRONG", "x").order(client_order_id="mine-3")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["method"], line["client_order_id"], line["outcome"].split()[0]) for line in lines] == [
        ("POST", "mine-1", "200"),
        ("POST", "mine-2", "422"),
        ("DELETE", "mine-1", "204"),
        ("POST", None, "401"),
    ]
    assert all(later["boottime_ns"] > earlier["boottime_ns"] for earlier, later in pairwise(lines))
    assert [line["account"] for line in lines] == [KEY, KEY, KEY, None]


def test_accounts_survive_a_restart(tape: SyntheticTape, tmp_path: Path) -> None:
    """With a state file, a venue started again has the positions, the open orders and the money it had."""
    state = tmp_path / "venue.state"
    with running_simulator(tape=tape, state_path=state) as simulator:
        rest = Rest(simulator.url)
        rest.order()
        rest.order(type="limit", limit_price="20", client_order_id="resting")
        cash = rest.get("/v2/account").json()["cash"]
    with running_simulator(tape=tape, state_path=state) as simulator:
        rest = Rest(simulator.url)
        assert rest.get("/v2/account").json()["cash"] == cash
        assert rest.get("/v2/positions/KO").json()["qty"] == "10"
        assert [order["client_order_id"] for order in rest.get("/v2/orders").json()] == ["resting"]


def test_basic_and_bearer_open_the_account_too(simulator: RunningSimulator) -> None:
    """HTTP Basic with key and secret, and a bearer token equal to the secret, are as good as the two headers."""
    rest = Rest(simulator.url)
    rest.headers.clear()
    assert rest.get("/v2/account", auth=(KEY, SECRET)).status_code == 200
    assert rest.get("/v2/account", headers={"Authorization": f"Bearer {SECRET}"}).status_code == 200
